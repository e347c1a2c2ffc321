//! A stdout that other writers may share: whole lines stay whole, whatever their length.
//!
//! The kernel keeps a write to a pipe whole only up to 4096 bytes. A lock on the descriptor that was handed down does
//! nothing, for all who inherited it share one open file; a lock on a descriptor of our own, opened anew on the same
//! pipe, keeps all of them apart.

use crate::sys::fds::{What, reopen, what};
use crate::sys::startup::was_closed;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// A place for whole lines.
#[derive(Debug)]
pub struct Shared {
    file: File,
    locked: bool,
}

impl Shared {
    /// Our stdout.
    ///
    /// # Errors
    /// `BrokenPipe` when it is a FIFO whose reader is gone already; otherwise when stdout is not open.
    pub fn stdout() -> io::Result<Self> {
        if was_closed(1) {
            return Err(nix::errno::Errno::EBADF.into());
        }
        Self::over(io::stdout().as_fd())
    }

    /// The thing behind a descriptor.
    ///
    /// # Errors
    /// As [`Shared::stdout`].
    pub fn over(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let kind = what(fd)?;
        if kind == What::Pipe {
            // Without O_NONBLOCK the opening would wait for a reader that may never come again.
            match reopen(fd, File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits())) {
                Ok(file) => {
                    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
                    return Ok(Self { file, locked: true });
                }
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENXIO as i32) => {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                // No permission (another user's pipe), or no /proc: go on without keeping others out.
                Err(_) => {}
            }
        }
        // A regular file's offset is shared by all who inherited it, and a write to it is whole.
        Ok(Self {
            file: File::from(fd.try_clone_to_owned()?),
            locked: false,
        })
    }

    /// Writes lines, all of them or until an error.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone; whatever else the system says.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.locked {
            self.lock(libc::F_WRLCK)?;
        }
        let written = self.write_all(lines);
        if self.locked {
            self.lock(libc::F_UNLCK)?;
        }
        written
    }

    /// The descriptor, to be watched.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody who shares this open file (a socket, a terminal) made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(
                        &mut [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)],
                        PollTimeout::NONE,
                    )
                    .or_else(again)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn lock(&self, kind: i32) -> io::Result<()> {
        let range = libc::flock {
            l_type: kind as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        loop {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&range)) {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn again(errno: nix::errno::Errno) -> nix::Result<i32> {
    if errno == nix::errno::Errno::EINTR {
        Ok(0)
    } else {
        Err(errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn long_lines_of_many_writers_stay_whole() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut reader = File::from(reader);
        let writers: Vec<_> = (0..4u8)
            .map(|i| {
                let mut shared = Shared::over(writer.as_fd()).unwrap();
                std::thread::spawn(move || {
                    let mut line = vec![b'a' + i; 30_000];
                    line.push(b'\n');
                    (0..50).for_each(|_| shared.write(&line).unwrap());
                })
            })
            .collect();
        drop(writer);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let lines: Vec<&[u8]> = all.split(|&b| b == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 200);
        assert!(
            lines
                .iter()
                .all(|line| line.len() == 30_000 && line.iter().all(|b| *b == line[0]))
        );
    }

    #[test]
    fn a_reader_that_is_gone_is_told() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let mut shared = Shared::over(writer.as_fd()).unwrap();
        assert_eq!(shared.write(b"x\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
