//! Being told to stop, as a descriptor that a loop can watch.

use super::process::is_ignored;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// INT, TERM and HUP as something to watch. The second one ends the process at once, whatever it is at.
#[derive(Debug)]
pub struct Stops {
    event: Arc<EventFd>,
    number: Arc<AtomicI32>,
}

impl Stops {
    /// Begins to watch. What was ignored when we were started stays ignored, as under nohup. At the second signal
    /// `last` is called, in another thread, and then the process ends with 128+N.
    ///
    /// To be called before any other thread is started, and by programs that start no others: the signals stay blocked.
    ///
    /// # Errors
    /// When the system gives no descriptor or no thread.
    pub fn watch(last: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .filter(|signal| !is_ignored(*signal as i32))
            .collect();
        let stops = Self {
            event: Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?),
            number: Arc::default(),
        };
        if set.iter().next().is_none() {
            return Ok(stops);
        }
        set.thread_block()?;
        let (event, number) = (stops.event.clone(), stops.number.clone());
        std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
            let Ok(first) = set.wait() else { return };
            number.store(first as i32, Ordering::Release);
            let _ = event.write(1);
            if let Ok(second) = set.wait() {
                last();
                std::process::exit(128 + second as i32);
            }
        })?;
        Ok(stops)
    }

    /// The signal that came first; `None` as long as none came.
    pub fn signal(&self) -> Option<Signal> {
        Signal::try_from(self.number.load(Ordering::Acquire)).ok()
    }

    /// Heard: not to be readable for that any more.
    pub fn hush(&self) {
        let _ = self.event.read();
    }

    /// Readable from the first signal on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
