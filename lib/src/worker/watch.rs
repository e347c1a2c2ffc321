//! What is watched from the first attempt to the last: signals, our reader, what the other threads tell.

use super::gauge::Gauge;
use super::signals::{Heard, Signals};
use crate::sys::process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long it may take to say the last words when we are told a second time to end.
const HURRY: Duration = Duration::from_secs(1);

/// A signal that comes so soon after another is the same wish: `timeout` tells its child and then the child's group,
/// and a wrapper passes on what the terminal has told us already.
const SAME_WISH: Duration = Duration::from_millis(100);

/// Why a run is to end, whichever attempt it is at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Called {
    /// We were told to end.
    Signal(i32),
    /// Our reader went away.
    ReaderGone,
    /// The deadline passed.
    Deadline,
}

/// The watch over a run.
pub(super) struct Watch<'a> {
    pub(super) gauge: &'a Gauge,
    pub(super) signals: Signals,
    /// Our stdout, which tells when its reader goes away; `None` when it did.
    reader: Option<OwnedFd>,
    /// Why the run is to end, once it is.
    pub(super) called: Option<Called>,
    /// When we were told to end.
    asked: Option<Instant>,
    /// The signal that told us to end while we were at it, and when we do, whatever else may be.
    hurry: Option<(i32, Instant)>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(gauge: &'a Gauge, signals: Signals, reader: OwnedFd) -> Self {
        Self {
            gauge,
            signals,
            reader: Some(reader),
            called: None,
            asked: None,
            hurry: None,
        }
    }

    /// Waits until something happens, to one of `more` or to what is always watched, or until then. Whether our reader
    /// went away, which is told once, and only when asked for.
    pub(super) fn wait<'b>(&mut self, more: Vec<PollFd<'b>>, reader: bool, until: Option<Instant>) -> bool
    where
        'a: 'b,
    {
        let gone = {
            let [asked, resumed] = self.signals.fds();
            let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = vec![watch(asked), watch(resumed), watch(self.gauge.desk())];
            fds.extend(more);
            // An error or a hang-up is told without being asked for.
            let reader = self.reader.as_ref().filter(|_| reader);
            fds.extend(reader.map(|reader| PollFd::new(reader.as_fd(), PollFlags::empty())));
            let wake = until.into_iter().chain(self.hurry.map(|(_, at)| at)).min();
            let timeout = wake.map_or(PollTimeout::NONE, timeout);
            let woken = poll(&mut fds, timeout).is_ok();
            let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
            let told = fds
                .last()
                .filter(|_| woken && reader.is_some())
                .and_then(PollFd::revents);
            told.is_some_and(|told| told.intersects(gone))
        };
        if gone {
            self.reader = None;
            self.unheard();
        }
        if let Some((signal, at)) = self.hurry
            && at <= Instant::now()
        {
            std::process::exit(128 + signal);
        }
        gone
    }

    /// What was heard next; `ending` says whether we are about to end already, so that a wish to end is one to hurry.
    pub(super) fn heard(&mut self, ending: bool) -> Option<Heard> {
        loop {
            let heard = self.signals.next()?;
            if let Heard::End(signal) = heard {
                let before = self.asked.replace(Instant::now());
                if before.is_some_and(|at| at.elapsed() < SAME_WISH) {
                    continue;
                }
                self.called.get_or_insert(Called::Signal(signal));
                if before.is_some() || ending {
                    self.hurry.get_or_insert((signal, Instant::now() + HURRY));
                }
            }
            return Some(heard);
        }
    }

    /// Nobody takes what we write any more, for whatever reason.
    pub(super) fn unheard(&mut self) {
        self.called.get_or_insert(Called::ReaderGone);
    }

    /// Ctrl-Z: we stop, and the time until we go on counts for nothing.
    pub(super) fn pause(&self) {
        let before = Instant::now();
        // Who was told to go on meanwhile would wait for ever.
        if !self.signals.resumed() {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
        }
        self.gauge.clock.skip(before.elapsed());
    }

    /// Lets go of our stdin.
    pub(super) fn release_stdin() -> io::Result<()> {
        // Held open by us as well, it would keep whoever writes to it from seeing that nobody reads.
        match std::fs::File::open("/dev/null") {
            Ok(null) => process::replace(0, null.as_fd()),
            Err(_) => Ok(()),
        }
    }
}

/// The time until then, rounded up: waking too early would only mean to wait again.
fn timeout(at: Instant) -> PollTimeout {
    let left = at.saturating_duration_since(Instant::now());
    let left = left.as_millis() as i64 + i64::from(!left.subsec_nanos().is_multiple_of(1_000_000));
    PollTimeout::try_from(left.min(i64::from(i32::MAX))).unwrap_or(PollTimeout::MAX)
}
