//! Time as the worker lives it: it stands still while we and the worker are paused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Active time since the start, shared by the threads.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    paused: AtomicU64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
            paused: AtomicU64::new(0),
        }
    }

    /// Active time since the start.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed().saturating_sub(self.pauses())
    }

    /// When, by the system's clock, that much active time will have passed, unless a pause comes between.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + self.pauses() + at
    }

    /// Leaves a pause out of the count.
    pub(super) fn skip(&self, pause: Duration) {
        self.paused.fetch_add(pause.as_micros() as u64, Ordering::Relaxed);
    }

    /// Wall-clock time since the start.
    pub(super) fn wall(&self) -> Duration {
        self.start.elapsed()
    }

    fn pauses(&self) -> Duration {
        Duration::from_micros(self.paused.load(Ordering::Relaxed))
    }
}
