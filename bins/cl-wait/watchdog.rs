//! The way out when our own reader stands still: a wait must end at its time also when it cannot write.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long our stdout may take nothing, once the wait is over, before we go.
const STUCK: u16 = 2000;

/// Watches over a wait that copies its input: such a one may be held up in the midst of a write.
pub struct Watchdog {
    suspended: Arc<AtomicU64>,
}

impl Watchdog {
    /// Begins to watch.
    pub fn start(deadline: Option<Instant>) -> io::Result<Self> {
        let mut signals = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            if !harmony::sys::process::is_ignored(signal) {
                let (read, write) = UnixStream::pair()?;
                signal_hook::low_level::pipe::register(signal, write)?;
                signals.push((signal, read));
            }
        }
        let suspended = Arc::new(AtomicU64::new(0));
        let also = Arc::clone(&suspended);
        std::thread::Builder::new().spawn(move || {
            let code = over(&signals, deadline, &also);
            // The wait itself ends now, and with it the process, unless it is held up.
            while writable() {
                std::thread::park_timeout(Duration::from_millis(100));
            }
            std::process::exit(code);
        })?;
        Ok(Self { suspended })
    }

    /// Leaves a suspension out of the count.
    pub fn skip(&self, pause: Duration) {
        self.suspended.fetch_add(pause.as_millis() as u64, Ordering::Relaxed);
    }
}

/// Waits for the deadline or a signal; the exit code that belongs to it.
fn over(signals: &[(i32, UnixStream)], deadline: Option<Instant>, suspended: &AtomicU64) -> i32 {
    loop {
        let left = deadline.map(|deadline| {
            let pauses = Duration::from_millis(suspended.load(Ordering::Relaxed));
            (deadline + pauses).saturating_duration_since(Instant::now())
        });
        if left.is_some_and(|left| left.is_zero()) {
            return 124;
        }
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_millis().clamp(1, i32::MAX as u128)).unwrap_or(PollTimeout::MAX)
        });
        let mut watched: Vec<PollFd<'_>> = signals
            .iter()
            .map(|(_, read)| PollFd::new(read.as_fd(), PollFlags::POLLIN))
            .collect();
        if poll(&mut watched, timeout).is_ok_and(|ready| ready > 0)
            && let Some(at) = watched.iter().position(|fd| fd.any() == Some(true))
        {
            return 128 + signals[at].0;
        }
    }
}

/// Whether stdout takes something within the time that it may.
fn writable() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
    !matches!(poll(&mut watched, PollTimeout::from(STUCK)), Ok(0))
}
