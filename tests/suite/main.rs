//! The suite: the built binaries as a user meets them, in pipes, FIFOs, terminals and under signals.

// A test that panics has failed, which is what is wanted.
#![allow(clippy::unwrap_used)]

mod browser;
mod docs;
mod harness;
mod hostile;
mod live;
mod merge;
mod outcomes;
mod pipelines;
mod plan;
mod progress;
mod readme;
mod replay;
mod roles;
mod run;
mod scale;
mod spawn;
mod tee;
mod wait;
