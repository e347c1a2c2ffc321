//! A time of day, as a descriptor that is readable when it has come, whatever happened to the clock meanwhile.

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A timer on the system's clock.
pub(super) struct Alarm {
    timer: TimerFd,
    at: f64,
}

impl Alarm {
    /// One for that Unix time, in seconds.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn at(at: f64) -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let alarm = Self {
            timer: TimerFd::new(ClockId::CLOCK_REALTIME, flags)?,
            at,
        };
        alarm.set()?;
        Ok(alarm)
    }

    fn set(&self) -> io::Result<()> {
        let at = TimeSpec::from_duration(Duration::from_secs_f64(self.at.clamp(1.0, 1e11)));
        // A clock that is set wakes us, too.
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        Ok(self.timer.set(Expiration::OneShot(at), flags)?)
    }

    /// To be called after a wake-up: what woke us shall not do so again.
    pub(super) fn heard(&self) {
        // Reading tells whether the clock was set, and then the timer has to be set anew.
        if self.timer.wait() == Err(Errno::ECANCELED) {
            let _ = self.set();
        }
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
