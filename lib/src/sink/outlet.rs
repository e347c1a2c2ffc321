//! A place that may refuse bytes for a while (pipe, FIFO, socket, terminal), written without ever blocking.
//!
//! O_NONBLOCK is never set on a descriptor that was handed down, for it would hold for everybody who shares it: the
//! thing is opened anew, and where that cannot be, written in a way that does not block all the same.

use super::Bell;
use super::lock::LineLock;
use crate::sys::fds::{What, reopen, what};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// So many bytes were taken, at least one.
    Took(usize),
    /// There is no room; poll for it.
    Full,
    /// Another writer is in the middle of a line; the bell will ring.
    Locked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// An open file of our own, with O_NONBLOCK.
    Own,
    /// Told at each write not to wait.
    Socket,
    /// Somebody else's open file: asked for room first, then given no more than certainly fits.
    Timid,
}

/// A place that may refuse bytes for a while.
#[derive(Debug)]
pub struct Outlet {
    file: Arc<File>,
    way: Way,
    lock: Option<LineLock>,
    /// Whether the last byte written was not the end of a line.
    mid: bool,
}

/// What POSIX promises of a pipe that has room.
const TIMID: usize = 4096;

impl Outlet {
    /// What a descriptor that was handed down leads to.
    ///
    /// # Errors
    /// When it is not open.
    pub fn over(fd: BorrowedFd<'_>, bell: &Bell) -> io::Result<Self> {
        let kind = what(fd)?;
        if kind != What::Socket {
            let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            // It fails for another user's pipe, without /proc, or when the reader is gone already; the latter shows later.
            if let Ok(file) = reopen(fd, File::options().write(true).custom_flags(flags.bits())) {
                return Ok(Self::new(file, Way::Own, kind, bell));
            }
        }
        let file = File::from(fd.try_clone_to_owned()?);
        let way = if kind == What::Socket { Way::Socket } else { Way::Timid };
        Ok(Self::new(file, way, kind, bell))
    }

    /// A file that we opened ourselves.
    ///
    /// # Errors
    /// When its flags cannot be set.
    pub fn own(file: File, bell: &Bell) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let kind = what(&file)?;
        Ok(Self::new(file, Way::Own, kind, bell))
    }

    fn new(file: File, way: Way, kind: What, bell: &Bell) -> Self {
        let file = Arc::new(file);
        // Only a pipe has many writers whose lines must not mix, and only an open file of our own locks others out.
        let lock = (kind == What::Pipe && way == Way::Own).then(|| LineLock::new(file.clone(), bell.clone()));
        Self {
            file,
            way,
            lock,
            mid: false,
        }
    }

    /// Writes what is taken now. No other cl tool gets between the bytes of a line.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone; whatever else the system says.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Wrote> {
        if let Some(lock) = &mut self.lock
            && !lock.take()
        {
            return Ok(Wrote::Locked);
        }
        let wrote = loop {
            match self.attempt(bytes) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.mid = bytes[count - 1] != b'\n';
                    break Ok(Wrote::Took(count));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(Wrote::Full),
                Err(error) => break Err(error),
            }
        };
        if !self.mid {
            self.release();
        }
        wrote
    }

    /// Whether others may write to the same place, and wait for our lines to end.
    pub(super) fn is_shared(&self) -> bool {
        self.lock.is_some()
    }

    /// Lets other writers in, even in the middle of a line.
    pub fn release(&mut self) {
        if let Some(lock) = &mut self.lock {
            lock.release();
        }
    }

    /// Whether another writer's line has to end first.
    pub fn locked_out(&self) -> bool {
        self.lock.as_ref().is_some_and(LineLock::asked)
    }

    fn attempt(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.way {
            Way::Own => (&*self.file).write(bytes),
            Way::Socket => Ok(send(
                self.file.as_raw_fd(),
                bytes,
                MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
            )?),
            Way::Timid => {
                let mut room = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut room, PollTimeout::ZERO) {
                    Ok(0) => Err(Errno::EAGAIN.into()),
                    Ok(_) => (&*self.file).write(&bytes[..bytes.len().min(TIMID)]),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    fn pipe() -> (File, OwnedFd) {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        (reader.into(), writer)
    }

    /// Writes until nothing is taken any more.
    fn fill(outlet: &mut Outlet) -> usize {
        let mut total = 0;
        while let Wrote::Took(count) = outlet.write(&[b'x'; 10_000]).unwrap() {
            total += count;
        }
        total
    }

    #[test]
    fn a_full_pipe_blocks_nobody_and_stays_blocking_for_others() {
        let (mut reader, writer) = pipe();
        let bell = Bell::new().unwrap();
        let mut outlet = Outlet::over(writer.as_fd(), &bell).unwrap();
        assert_eq!(outlet.way, Way::Own);
        let total = fill(&mut outlet);
        let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK));
        // The same without an open file of our own.
        let mut timid = Outlet::new(File::from(writer), Way::Timid, What::Pipe, &bell);
        assert_eq!(timid.write(b"y").unwrap(), Wrote::Full);
        reader.read_exact(&mut vec![0; total]).unwrap();
        assert_eq!(timid.write(&[b'y'; 10_000]).unwrap(), Wrote::Took(TIMID));
        assert!(fill(&mut timid) > 0);
        drop(reader);
        assert_eq!(timid.write(b"y").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(outlet.write(b"y").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_line_that_has_begun_locks_others_out() {
        let (_reader, writer) = pipe();
        let bell = Bell::new().unwrap();
        let mut one = Outlet::over(writer.as_fd(), &bell).unwrap();
        let mut two = Outlet::over(writer.as_fd(), &bell).unwrap();
        assert_eq!(one.write(b"begun").unwrap(), Wrote::Took(5));
        assert_eq!(two.write(b"x\n").unwrap(), Wrote::Locked);
        assert!(two.locked_out());
        assert_eq!(one.write(b" and ended\n").unwrap(), Wrote::Took(11));
        // The bell rings when the line may be written.
        poll(
            &mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)],
            PollTimeout::from(10_000u16),
        )
        .unwrap();
        assert!(!two.locked_out());
        assert_eq!(two.write(b"x\n").unwrap(), Wrote::Took(2));
        assert_eq!(one.write(b"y\n").unwrap(), Wrote::Took(2));
    }
}
