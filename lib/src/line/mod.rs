//! The wire format: one line, its header, and the toolkit's own events (cl-stream(5)).
//!
//! `header` reads what every line begins with, `stamp` makes a worker's bytes into lines, `unwrap` makes lines into
//! the worker's bytes again, `event` holds what the toolkit says itself, `seq` notices holes.

mod compact;
mod event;
mod glob;
mod header;
mod json;
mod members;
mod name;
mod seq;
mod stamp;
mod unwrap;
#[cfg(test)]
mod values;
mod whole;

pub use event::{Bytes, Event, Exit, Outcome, Start, Usage, Verdict};
pub use glob::Glob;
pub use header::{Header, PREFIX, Ts, body, find_header, header, own_event, subtype};
pub use json::{Top, object};
pub use members::{Index, Waiting, Walk, parts};
pub use name::{MAX_NAME, Name, NameError};
pub use seq::{Hole, Sequence};
pub use stamp::{Stamper, stamp_as};
pub use unwrap::unwrap;
pub use whole::looks_whole;
