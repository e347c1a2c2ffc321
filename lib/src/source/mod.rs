//! Where lines come from: stdin, an inherited descriptor, a FIFO, a regular or growing file, a folder of these.
//!
//! `place` reads what a user names, `input` opens and reads one descriptor, `folder` finds what a folder holds,
//! `watch` hears of files that grow and names that appear, [`Sources`] brings all of them together in one epoll loop
//! and gives out whole lines, and [`Intake`] makes any source's lines into lines of the stream.

mod folder;
mod input;
mod intake;
mod place;
mod sources;
mod stamped;
mod watch;

pub use intake::{Intake, Out, Registry};
pub use place::{Named, Place, parse};
pub use sources::{Id, Source, Sources, Step};
