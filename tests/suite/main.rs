//! The suite: the built binaries as a user meets them, in pipes, FIFOs, terminals and under signals.

mod harness;
mod tee;
mod wait;
