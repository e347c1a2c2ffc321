//! The terminal that a display is drawn on: never waited for, left as it was found.
//!
//! It is opened anew, so that O_NONBLOCK is ours alone. Its modes stay as they are unless keys are asked for: then it
//! hands out each key at once and shows none, until we end, stop, or somebody else sets modes of their own.

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError, TryLockError};
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
/// What leaves the other screen, before that.
const LEAVE: &[u8] = b"\x1b[?1049l";

/// A terminal to draw on.
#[derive(Debug)]
pub struct Terminal {
    shared: Arc<Shared>,
    /// What the terminal has not taken yet.
    pending: Vec<u8>,
    /// Says to [`wait_until_undrawn`] that the terminal is drawn on; where there are no locks, nobody is told.
    _drawn: Option<Flock<File>>,
}

/// What a panic has to know as well.
#[derive(Debug)]
struct Shared {
    file: File,
    /// Whether something is to be restored.
    touched: AtomicBool,
    /// Whether the other screen is shown.
    other: AtomicBool,
    /// The modes that were found and those that we set, while keys are ours.
    modes: Mutex<Option<(Termios, Termios)>>,
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
            shared: Arc::new(Shared {
                file,
                touched: AtomicBool::new(false),
                other: AtomicBool::new(false),
                modes: Mutex::new(None),
            }),
            pending: Vec::new(),
            _drawn: Flock::lock(drawn, FlockArg::LockSharedNonblock).ok(),
        };
        restore_on_panic(&terminal);
        Ok(terminal)
    }

    /// Its size now.
    pub fn size(&self) -> Size {
        Size::of(&self.shared.file).unwrap_or_else(Size::from_env)
    }

    /// Whether it is ours to draw on: a job in the background leaves the screen to others.
    pub fn foreground(&self) -> bool {
        self.shared.foreground()
    }

    /// Takes a frame and writes as much of it as the terminal takes now.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.shared.touched.store(true, Ordering::Relaxed);
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
            match (&self.shared.file).write(&self.pending) {
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

    /// Has a frame written that shows the other screen, or leaves it: it is left at the end in any case.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn write_on(&mut self, other: bool, bytes: &[u8]) -> io::Result<()> {
        self.shared.other.store(other, Ordering::Relaxed);
        self.write(bytes)
    }

    /// Takes the keys, where they are nobody else's: we are in the foreground, and no other program has the terminal
    /// hand them out one by one. Whether they are ours now.
    pub fn take_keys(&mut self) -> bool {
        if !self.foreground() {
            return false;
        }
        let Ok(now) = tcgetattr(&self.shared.file) else {
            return false;
        };
        let mut modes = self.shared.modes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, ours)) = &*modes {
            let still = same(ours, &now);
            if !still {
                // Whoever set others will put back what they found.
                *modes = None;
            }
            return still;
        }
        if !now.local_flags.contains(LocalFlags::ICANON) {
            return false;
        }
        let mut ours = now.clone();
        // Signals stay, and so does what turns our line feeds into new lines.
        ours.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        ours.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        // Reading never waits, so this does nothing, but it tells our modes from those of others.
        ours.control_chars[SpecialCharacterIndices::VTIME as usize] = OURS;
        let set = tcsetattr(&self.shared.file, SetArg::TCSANOW, &ours).is_ok();
        if set {
            self.shared.touched.store(true, Ordering::Relaxed);
            *modes = Some((now, ours));
        }
        set
    }

    /// Reads what keys have sent, if they are ours; 0 where there is nothing.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn read_keys(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if !self.take_keys() {
            return Ok(0);
        }
        match (&self.shared.file).read(bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(count),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Puts the modes back and shows the cursor and the usual screen again. What the terminal did not take of a frame is
    /// left out.
    pub fn restore(&mut self) {
        self.pending.clear();
        self.shared.restore();
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.file.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

/// As many tenths of a second nobody else waits between two keys.
const OURS: u8 = 73;

fn same(one: &Termios, other: &Termios) -> bool {
    one.local_flags == other.local_flags
        && one.input_flags == other.input_flags
        && one.output_flags == other.output_flags
        && one.control_chars == other.control_chars
}

impl Shared {
    fn foreground(&self) -> bool {
        match nix::unistd::tcgetpgrp(&self.file) {
            Ok(group) => group == nix::unistd::getpgrp(),
            // Not our controlling terminal: job control says nothing about it.
            Err(_) => true,
        }
    }

    fn restore(&self) {
        if !self.touched.swap(false, Ordering::Relaxed) {
            return;
        }
        // A panic may have come while they were looked at.
        let modes = match self.modes.try_lock() {
            Ok(mut modes) => modes.take(),
            Err(TryLockError::Poisoned(mut poisoned)) => poisoned.get_mut().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some((found, ours)) = modes
            && self.foreground()
            && tcgetattr(&self.file).is_ok_and(|now| same(&ours, &now))
        {
            // Keys that came too late are whoever's is next.
            let _ = tcsetattr(&self.file, SetArg::TCSANOW, &found);
        }
        // A terminal that takes nothing now has nobody looking at it.
        let mut bytes = Vec::with_capacity(LEAVE.len() + RESTORE.len());
        if self.other.swap(false, Ordering::Relaxed) {
            bytes.extend_from_slice(LEAVE);
        }
        bytes.extend_from_slice(RESTORE);
        let _ = (&self.file).write(&bytes);
    }
}

/// The release build aborts on a panic and runs no destructors; the hook comes first in both.
fn restore_on_panic(terminal: &Terminal) {
    static ONCE: Once = Once::new();
    static DRAWN: OnceLock<Arc<Shared>> = OnceLock::new();
    let _ = DRAWN.set(terminal.shared.clone());
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Some(shared) = DRAWN.get() {
                shared.restore();
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
    fn keys_are_taken_and_given_back() {
        let pty = openpty(None, None).unwrap();
        let modes = || tcgetattr(&pty.slave).unwrap();
        let found = modes();
        let mut terminal = Terminal::behind(pty.slave.as_fd()).unwrap();
        assert!(terminal.take_keys() && !same(&found, &modes()));
        let mut other = Terminal::behind(pty.slave.as_fd()).unwrap();
        assert!(!other.take_keys(), "they are somebody's");
        let mut master = File::from(pty.master.try_clone().unwrap());
        master.write_all(b"q").unwrap();
        let mut bytes = [0; 8];
        assert_eq!(terminal.read_keys(&mut bytes).unwrap(), 1);
        assert_eq!(terminal.read_keys(&mut bytes).unwrap(), 0);
        terminal.restore();
        assert!(same(&found, &modes()));
        // Modes that another program has set meanwhile are not touched.
        assert!(terminal.take_keys());
        let mut theirs = modes();
        theirs.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&pty.slave, SetArg::TCSANOW, &theirs).unwrap();
        assert!(!terminal.take_keys());
        drop(terminal);
        assert!(same(&theirs, &modes()));
    }

    #[test]
    fn what_is_no_terminal() {
        let null = File::open("/dev/null").unwrap();
        assert!(Terminal::behind(null.as_fd()).is_err());
        assert_eq!(Size::of(&null), None);
    }
}
