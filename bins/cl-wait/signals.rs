//! Signals as descriptors.

use harmony::sys::process::is_ignored;
use nix::sys::epoll::EpollFlags;
use nix::sys::signal::{Signal, raise};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The signals that end the wait, and the one that suspends it.
const HEARD: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGTSTP];

/// The signals we listen to.
pub struct Signals {
    heard: Vec<(i32, UnixStream)>,
    over: Arc<AtomicBool>,
}

/// What a signal asks for.
pub enum Asked {
    /// To end, by this signal.
    End(i32),
    /// We were suspended for this long.
    Suspended(Duration),
}

impl Signals {
    /// Begins to listen; a signal that was ignored when we began stays so.
    pub fn listen() -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let mut heard = Vec::new();
        for signal in HEARD {
            if signal != SIGTERM && is_ignored(signal) {
                continue;
            }
            // Once we are wrapping up, a further signal ends us on the spot.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&over))?;
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal, write)?;
            heard.push((signal, read));
        }
        Ok(Self { heard, over })
    }

    /// Has the signals told by their place, through this.
    pub fn watch(
        &self,
        mut watch: impl FnMut(std::os::fd::BorrowedFd<'_>, EpollFlags, u32) -> io::Result<bool>,
    ) -> io::Result<()> {
        for (i, (_, read)) in self.heard.iter().enumerate() {
            watch(read.as_fd(), EpollFlags::EPOLLIN, i as u32)?;
        }
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.heard.len() as u32
    }

    /// What the signal at that place asks for.
    pub fn take(&mut self, at: u32) -> Option<Asked> {
        let (signal, read) = self.heard.get_mut(at as usize)?;
        let mut bytes = [0; 64];
        // One suspension, however often it was asked for.
        while read.read(&mut bytes).is_ok_and(|count| count > 0) {}
        if *signal != SIGTSTP {
            return Some(Asked::End(*signal));
        }
        let before = Instant::now();
        raise(Signal::SIGSTOP).ok()?;
        Some(Asked::Suspended(before.elapsed()))
    }

    /// Further signals do what they do by default.
    pub fn over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
