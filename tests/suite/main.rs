//! The suite: the built binaries as a user meets them, in pipes, FIFOs, terminals and under signals.

mod docs;
mod harness;
mod live;
mod readme;
mod replay;
mod spawn;
mod progress;
mod merge;
mod wait;
