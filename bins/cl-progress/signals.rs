//! Signals as something to wait for.

use nix::libc::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// For a program that only copies: the first signal that asks us to end is noted in what is returned, the second one
/// ends the process. All of it happens in the handler, so that no end of input can come before it.
pub fn last_chance() -> io::Result<Arc<AtomicUsize>> {
    let (asked, armed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    for signal in ENDING {
        if harmony::sys::process::is_ignored(signal) {
            continue;
        }
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())?;
        signal_hook::flag::register(signal, armed.clone())?;
        signal_hook::flag::register_usize(signal, asked.clone(), signal as usize)?;
    }
    Ok(asked)
}

const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// Signals that concern a picture on a terminal.
pub const DRAWING: &[i32] = &[SIGTSTP, SIGCONT, SIGWINCH];

/// The signals that came, and a descriptor that tells of new ones.
#[derive(Debug)]
pub struct Signals {
    came: Vec<(i32, Arc<AtomicBool>)>,
    bell: UnixStream,
}

impl Signals {
    /// Catches the signals that ask us to end, and these, from now on; those that we were started with as ignored stay so.
    pub fn catch(more: &[i32]) -> io::Result<Self> {
        let (bell, ring) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let mut came = Vec::new();
        for &signal in ENDING.iter().chain(more) {
            if harmony::sys::process::is_ignored(signal) {
                continue;
            }
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, flag.clone())?;
            signal_hook::low_level::pipe::register(signal, ring.try_clone()?)?;
            came.push((signal, flag));
        }
        Ok(Self { came, bell })
    }

    /// Takes the signals that came since.
    pub fn take(&mut self) -> Vec<i32> {
        let mut bytes = [0; 64];
        while matches!((&self.bell).read(&mut bytes), Ok(1..)) {}
        let came = self.came.iter().filter(|(_, flag)| flag.swap(false, Ordering::Relaxed));
        came.map(|(signal, _)| *signal).collect()
    }

    /// Whether a signal asks us to end.
    pub fn ends(signal: i32) -> bool {
        ENDING.contains(&signal)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
