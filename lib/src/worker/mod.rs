//! One worker: launch, capture, the stop ladder, reaping, accounting.
//!
//! Three parties share the work. The *warden* is a process of its own: it starts the worker, adopts whatever the worker
//! leaves behind, and ends all of it, also when we are gone. The *pump* is a thread that takes the worker's bytes to
//! the sink, and may be held up by it. The *supervisor* waits for signals, timers and the two others, and decides by
//! [`rules`], which is pure.

mod capture;
mod clock;
mod ending;
mod followed;
mod gauge;
mod order;
mod pump;
mod reading;
mod rules;
mod signals;
mod supervise;
mod tree;
mod warden;

pub use capture::Capture;
pub use ending::Ended;
pub use order::{Order, Played};
pub use pump::StderrTo;
pub use rules::Limits;
pub use supervise::run;
