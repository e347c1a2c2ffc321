//! What a run waits for, and what it does when it is told something.

use super::{Run, signal};
use crate::end::Ending;
use crate::pump::Told;
use harmony::worker::Heard;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A signal that comes so soon after another is the same wish: `timeout` tells its child and then the child's group.
const SAME_WISH: Duration = Duration::from_millis(100);

impl Run<'_> {
    /// Waits until something happens.
    pub(super) fn wait(&mut self) {
        self.pump.rest();
        let wake = match self.ending {
            None => [self.timeout, self.grace].into_iter().flatten().min(),
            Some(_) => None,
        };
        let mut others = vec![self.nursery.fd(), self.pump.news().as_fd(), self.waiting.news().as_fd()];
        // At its end nothing more is taken in.
        others.extend(self.ending.is_none().then(|| self.additions.news().as_fd()));
        self.poll(&others, wake);
    }

    /// Waits for a signal, or for the end of a stream.
    pub fn wait_for_streams(&self) {
        self.poll(&[self.nursery.fd()], None);
    }

    /// Waits for a signal, or for what the pump tells.
    pub(super) fn wait_for_pump(&self) {
        self.poll(&[self.pump.news().as_fd()], None);
    }

    /// Waits for a signal, for one of these, or until then. What is not heeded afterwards must not be among them.
    fn poll(&self, others: &[BorrowedFd<'_>], wake: Option<Instant>) {
        let fds = self.signals.fds().into_iter().chain(others.iter().copied());
        let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let timeout = wake.map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left.min(i32::MAX as u128)).unwrap_or(PollTimeout::MAX)
        });
        // Whatever it was, what has happened is looked at.
        let _ = poll(&mut fds, timeout);
    }

    /// Heeds signals, and what the pump tells.
    pub(super) fn hear(&mut self) {
        while let Some(heard) = self.signals.next() {
            match heard {
                Heard::End(signal) => self.told_to_end(signal),
                Heard::Pause => self.pause(),
                Heard::Resume | Heard::Child => {}
            }
        }
        while let Some(told) = self.pump.heard() {
            match told {
                Told::Parked { at, parked: true } => drop(self.parked.insert(at)),
                Told::Parked { at, parked: false } => drop(self.parked.remove(&at)),
                Told::ReaderGone => self.end(Ending::ReaderGone),
                Told::Failed(error) => self.end(Ending::failed("stdout", &error)),
                Told::Done => {}
            }
        }
    }

    pub(super) fn told_to_end(&mut self, number: i32) {
        let before = self.asked.replace(Instant::now());
        if before.is_some_and(|at| at.elapsed() < SAME_WISH) {
            return;
        }
        let again = before.is_some();
        if self.ending.is_none() {
            self.end(Ending::Signal(number));
        } else {
            self.tell_all(signal(number));
        }
        if again && self.running.is_empty() {
            std::process::exit(128 + number);
        }
    }

    /// Ctrl-Z: the streams and we stop, and the time until we go on counts for nothing.
    pub(super) fn pause(&mut self) {
        let before = Instant::now();
        self.tell_all(Signal::SIGTSTP);
        // Who was told to go on meanwhile would wait for ever.
        if !self.signals.resumed() {
            let _ = nix::sys::signal::raise(Signal::SIGSTOP);
        }
        self.tell_all(Signal::SIGCONT);
        let pause = before.elapsed();
        for moment in [&mut self.timeout, &mut self.grace].into_iter().flatten() {
            *moment += pause;
        }
    }

    /// The signal that told us to end since this was asked last.
    pub fn stopped(&mut self) -> Option<i32> {
        let mut stopped = None;
        while let Some(heard) = self.signals.next() {
            match heard {
                Heard::End(signal) => stopped = Some(signal),
                Heard::Pause => self.pause(),
                Heard::Resume | Heard::Child => {}
            }
        }
        stopped
    }
}
