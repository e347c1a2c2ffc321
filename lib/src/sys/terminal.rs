//! The terminal that a display is drawn on: never waited for, left as it was found.
//!
//! It is opened anew, so that O_NONBLOCK is ours alone; its modes stay as they are (no raw mode), and nothing is read
//! from it.

use nix::fcntl::{Flock, FlockArg, OFlag};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns, at least 1.
    pub columns: usize,
    /// Rows, at least 1.
    pub rows: usize,
}

impl Size {
    /// What a terminal that does not say is taken for.
    pub const USUAL: Self = Self { columns: 80, rows: 24 };

    /// The size that COLUMNS and LINES tell, where they do.
    pub fn from_env() -> Self {
        let number = |name: &str| {
            let value = std::env::var(name).ok()?.trim().parse().ok()?;
            (1..=10_000).contains(&value).then_some(value)
        };
        Self {
            columns: number("COLUMNS").unwrap_or(Self::USUAL.columns),
            rows: number("LINES").unwrap_or(Self::USUAL.rows),
        }
    }

    /// The size of the terminal behind a descriptor; `None` when it is none or does not know.
    pub fn of(fd: impl AsFd) -> Option<Self> {
        nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, nix::libc::winsize);
        let mut size = nix::libc::winsize {
            ws_row: 0,
            ws_col: 0,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the call fills the struct it is given and keeps no pointer to it.
        unsafe { window_size(fd.as_fd().as_raw_fd(), &mut size) }.ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then(|| Self {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        })
    }
}

/// What shows the cursor again and ends what a half-written frame may have begun.
const RESTORE: &[u8] = b"\x1b[?2026l\x1b[?7h\x1b[0m\x1b[?25h";

/// A terminal to draw on.
#[derive(Debug)]
pub struct Terminal {
    file: Arc<File>,
    /// What the terminal has not taken yet.
    pending: Vec<u8>,
    /// Whether something is to be restored.
    touched: Arc<AtomicBool>,
    /// Says to [`wait_until_undrawn`] that the terminal is drawn on; where there are no locks, nobody is told.
    _drawn: Option<Flock<File>>,
}

/// Waits until no [`Terminal`] is open on the terminal behind a descriptor, at most so long: what is then printed stands
/// below the last picture, not inside it. For what is no terminal there is nothing to wait for.
pub fn wait_until_undrawn(fd: BorrowedFd<'_>, limit: Duration) {
    if !fd.is_terminal() {
        return;
    }
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    let Ok(file) = super::fds::reopen(fd, &options) else {
        return;
    };
    let (told, undrawn) = std::sync::mpsc::channel();
    // The lock itself knows no time limit; a thread that still waits for it ends with the process.
    let waiting = std::thread::Builder::new().spawn(move || {
        let lock = Flock::lock(file, FlockArg::LockExclusive);
        drop(lock);
        let _ = told.send(());
    });
    if waiting.is_ok() {
        let _ = undrawn.recv_timeout(limit);
    }
}

impl Terminal {
    /// The terminal behind a descriptor, or else the controlling terminal when the descriptor's cannot be opened.
    ///
    /// # Errors
    /// When the descriptor is no terminal, or neither can be opened.
    pub fn behind(fd: BorrowedFd<'_>) -> io::Result<Self> {
        if !fd.is_terminal() {
            return Err(nix::errno::Errno::ENOTTY.into());
        }
        Self::open(&format!("/proc/self/fd/{}", fd.as_raw_fd())).or_else(|_| Self::controlling())
    }

    /// The controlling terminal.
    ///
    /// # Errors
    /// When there is none.
    pub fn controlling() -> io::Result<Self> {
        Self::open("/dev/tty")
    }

    fn open(path: &str) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).bits())
            .open(path)?;
        let drawn = file.try_clone()?;
        let terminal = Self {
            file: Arc::new(file),
            pending: Vec::new(),
            touched: Arc::default(),
            _drawn: Flock::lock(drawn, FlockArg::LockSharedNonblock).ok(),
        };
        restore_on_panic(&terminal);
        Ok(terminal)
    }

    /// Its size now.
    pub fn size(&self) -> Size {
        Size::of(&*self.file).unwrap_or_else(Size::from_env)
    }

    /// Whether it is ours to draw on: a job in the background leaves the screen to others.
    pub fn foreground(&self) -> bool {
        match nix::unistd::tcgetpgrp(&*self.file) {
            Ok(group) => group == nix::unistd::getpgrp(),
            // Not our controlling terminal: job control says nothing about it.
            Err(_) => true,
        }
    }

    /// Takes a frame and writes as much of it as the terminal takes now.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.touched.store(true, Ordering::Relaxed);
        self.pending.extend_from_slice(bytes);
        self.flush()
    }

    /// Whether part of a frame still waits for the terminal; no other may be begun then.
    pub fn busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what waits, as much as the terminal takes now.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match (&*self.file).write(&self.pending) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.pending.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Shows the cursor again. What the terminal did not take of a frame is left out.
    pub fn restore(&mut self) {
        self.pending.clear();
        restore(&self.file, &self.touched);
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

fn restore(file: &File, touched: &AtomicBool) {
    if touched.swap(false, Ordering::Relaxed) {
        let mut file = file;
        // A terminal that takes nothing now has nobody looking at it.
        let _ = file.write(RESTORE);
    }
}

/// The release build aborts on a panic and runs no destructors; the hook comes first in both.
fn restore_on_panic(terminal: &Terminal) {
    static ONCE: Once = Once::new();
    static DRAWN: OnceLock<(Arc<File>, Arc<AtomicBool>)> = OnceLock::new();
    let _ = DRAWN.set((terminal.file.clone(), terminal.touched.clone()));
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Some((file, touched)) = DRAWN.get() {
                restore(file, touched);
            }
            before(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::{Winsize, openpty};
    use std::io::Read;

    #[test]
    fn never_waits_and_restores() {
        let size = Winsize {
            ws_row: 10,
            ws_col: 33,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let mut terminal = Terminal::behind(pty.slave.as_fd()).unwrap();
        assert_eq!(terminal.size(), Size { columns: 33, rows: 10 });
        // Nobody reads the other end: the terminal is full at some point, and the call returns.
        while !terminal.busy() {
            terminal.write(&[b'x'; 4096]).unwrap();
        }
        let mut master = File::from(pty.master);
        let mut buffer = [0; 65536];
        while terminal.busy() {
            let _ = master.read(&mut buffer).unwrap();
            terminal.flush().unwrap();
        }
        drop(terminal);
        let mut seen = Vec::new();
        while !seen.ends_with(RESTORE) {
            let count = master.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
    }

    #[test]
    fn what_is_no_terminal() {
        let null = File::open("/dev/null").unwrap();
        assert!(Terminal::behind(null.as_fd()).is_err());
        assert_eq!(Size::of(&null), None);
    }
}
