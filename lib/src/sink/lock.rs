//! The lock that keeps the lines of several writers on one pipe apart, taken without ever blocking the taker.
//!
//! It is the lock of [`super::Shared`]: an OFD lock on an open file of our own. When another writer holds it, a thread
//! waits in our stead (the lock belongs to the open file, not to the thread) and rings when it is ours.

use super::Bell;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel};

const FREE: u8 = 0;
const ASKED: u8 = 1;
const OURS: u8 = 2;
/// The file knows no locks: nobody is kept apart, nobody waits.
const NONE: u8 = 3;

/// The right to write a line.
#[derive(Debug)]
pub(super) struct LineLock {
    file: Arc<File>,
    state: Arc<AtomicU8>,
    bell: Bell,
    waiter: Option<Sender<()>>,
}

impl LineLock {
    pub(super) fn new(file: Arc<File>, bell: Bell) -> Self {
        Self {
            file,
            state: Arc::new(AtomicU8::new(FREE)),
            bell,
            waiter: None,
        }
    }

    /// Takes the lock, or sees to it that the bell rings once it is ours.
    pub(super) fn take(&mut self) -> bool {
        match self.state.load(Ordering::Acquire) {
            FREE => match fcntl(&*self.file, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK))) {
                Ok(_) => self.state.store(OURS, Ordering::Release),
                Err(Errno::EAGAIN | Errno::EACCES) => self.ask(),
                Err(_) => self.state.store(NONE, Ordering::Release),
            },
            ASKED => return false,
            _ => {}
        }
        self.state.load(Ordering::Acquire) != ASKED
    }

    /// Whether the answer to an earlier question is still out.
    pub(super) fn asked(&self) -> bool {
        self.state.load(Ordering::Acquire) == ASKED
    }

    /// Lets others write.
    pub(super) fn release(&mut self) {
        if self.state.load(Ordering::Acquire) == OURS {
            let _ = fcntl(&*self.file, FcntlArg::F_OFD_SETLK(&range(libc::F_UNLCK)));
            self.state.store(FREE, Ordering::Release);
        }
    }

    fn ask(&mut self) {
        self.state.store(ASKED, Ordering::Release);
        let (file, state, bell) = (self.file.clone(), self.state.clone(), self.bell.clone());
        let waiter = self.waiter.get_or_insert_with(|| {
            let (sender, asked) = channel();
            std::thread::spawn(move || {
                while asked.recv().is_ok() {
                    let now = loop {
                        match fcntl(&*file, FcntlArg::F_OFD_SETLKW(&range(libc::F_WRLCK))) {
                            Ok(_) => break OURS,
                            Err(Errno::EINTR) => {}
                            Err(_) => break NONE,
                        }
                    };
                    state.store(now, Ordering::Release);
                    bell.ring();
                }
            });
            sender
        });
        if waiter.send(()).is_err() {
            // The thread lives as long as its sender; were it gone, lines might mix, but they would flow.
            self.state.store(NONE, Ordering::Release);
        }
    }
}

fn range(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
