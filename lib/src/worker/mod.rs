//! One worker: launch, capture, the stop ladder, reaping, accounting, and another attempt where one helps.
//!
//! Three parties share the work of an attempt. The *warden* is a process of its own: it starts the worker, adopts
//! whatever the worker leaves behind, and ends all of it, also when we are gone. The *pump* is a thread that takes the
//! worker's bytes to the stream's *voice*, and may be held up by its reader. The *supervisor* waits for signals, timers
//! and the two others, and decides by [`rules`], which is pure.
//!
//! The *course* of a run goes over its attempts: it adds up what they came to, tells other streams of limits, and
//! decides by [`again`], which is pure, what follows. A worker that is kept for many prompts has a *feed* of them.

mod again;
mod alarm;
mod capture;
mod clock;
mod course;
mod ending;
mod feed;
mod followed;
mod gauge;
mod order;
mod pump;
mod reading;
mod rules;
mod run;
mod signals;
mod supervise;
mod voice;
mod warden;
mod watch;

pub use again::Retries;
pub use capture::Capture;
pub use ending::Ended;
pub use order::{Attempt, Attempts, Frame, Order, Played, Prompts, Which};
pub use pump::StderrTo;
pub use run::run;
pub use signals::{Heard, Signals};
