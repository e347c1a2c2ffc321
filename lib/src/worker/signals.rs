//! The signals that we are sent, as descriptors to be watched.
//!
//! They are blocked from before the worker is launched, so that one that comes at that moment is heard a little later
//! rather than ending us half-way. Kernel and descriptor agree on what stop and continue mean: each takes back the
//! other where that was not heard yet.

use crate::sys::process;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What a signal asks of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// To end, by this signal.
    End(i32),
    /// To pause (Ctrl-Z).
    Pause,
    /// To go on.
    Resume,
    /// Nothing: a child of ours has changed its state.
    Child,
}

/// The blocked signals.
#[derive(Debug)]
pub struct Signals {
    asked: SignalFd,
    resumed: SignalFd,
}

impl Signals {
    /// Blocks the signals for this thread and those it starts, and watches them.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn block() -> io::Result<Self> {
        let mut asked = SigSet::empty();
        // A background job of a shell script is born with INT and QUIT ignored; it would run on when the rest of its
        // pipeline was ended. A hang-up that is ignored was asked for, by nohup.
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTSTP] {
            process::default_action(signal as i32)?;
            asked.add(signal);
        }
        if !process::is_ignored(Signal::SIGHUP as i32) {
            asked.add(Signal::SIGHUP);
        }
        // Ignored, it would not tell that the warden was stopped.
        process::default_action(libc::SIGCHLD)?;
        asked.add(Signal::SIGCHLD);
        let mut resumed = SigSet::empty();
        resumed.add(Signal::SIGCONT);
        asked.thread_block()?;
        resumed.thread_block()?;
        let watch = |set| SignalFd::with_flags(set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        Ok(Self {
            asked: watch(&asked)?,
            resumed: watch(&resumed)?,
        })
    }

    /// The descriptors that are readable when something was heard.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.asked.as_fd(), self.resumed.as_fd()]
    }

    /// What was heard next, if anything.
    pub fn next(&self) -> Option<Heard> {
        if let Ok(Some(signal)) = self.asked.read_signal() {
            let number = signal.ssi_signo as i32;
            return Some(match number {
                libc::SIGTSTP => Heard::Pause,
                libc::SIGCHLD => Heard::Child,
                number => Heard::End(number),
            });
        }
        self.resumed().then_some(Heard::Resume)
    }

    /// Whether we were told to go on since this was asked last.
    pub fn resumed(&self) -> bool {
        matches!(self.resumed.read_signal(), Ok(Some(_)))
    }
}
