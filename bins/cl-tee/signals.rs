//! The first signal asks us to wrap up, the second ends us.

use harmony::sys::process::is_ignored;
use nix::libc::SIGXFSZ;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Signals that ask us to end.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    first: Arc<AtomicUsize>,
}

impl Signals {
    /// Watches for them, but for those that we were told to ignore.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn watch(ignore_interrupts: bool) -> io::Result<Self> {
        let (wake, ring) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let first = Arc::new(AtomicUsize::new(0));
        let armed = Arc::new(AtomicBool::new(false));
        // A file that reaches the size limit (ulimit -f) is a sink that failed, and not our end.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            if is_ignored(signal) {
                continue;
            }
            if signal == SIGINT && ignore_interrupts {
                flag::register(signal, Arc::new(AtomicBool::new(false)))?;
                continue;
            }
            // In this order: the second signal ends us where it finds us, whatever we wait for.
            flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())?;
            flag::register(signal, armed.clone())?;
            flag::register_usize(signal, first.clone(), signal as usize)?;
            pipe::register(signal, ring.try_clone()?)?;
        }
        Ok(Self { wake, first })
    }

    /// The signal that came, if one did.
    pub fn take(&mut self) -> Option<u8> {
        let _ = self.wake.read(&mut [0; 16]);
        match self.first.load(Ordering::SeqCst) {
            0 => None,
            signal => u8::try_from(signal).ok(),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
