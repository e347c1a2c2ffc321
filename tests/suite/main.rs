//! The suite: the built binaries as a user meets them, in pipes, FIFOs, terminals and under signals.

mod docs;
mod harness;
mod live;
mod merge;
mod progress;
mod readme;
mod replay;
mod spawn;
mod tee;
mod wait;
