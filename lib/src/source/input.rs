//! One open source: how its bytes are had without ever being held up, and without a change for those who share it.

use crate::sys::fds::{self, What};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing any more (of a growing file: nothing yet).
    End,
}

/// How the descriptor is read.
#[derive(Debug)]
enum How {
    /// A descriptor of our own that does not block, or a regular file, which never does.
    Plain,
    /// An inherited pipe, read through a descriptor of our own on it: only the inherited one tells the end for sure.
    Reopened(File),
    /// An inherited socket: every read asks not to block.
    Socket,
    /// An inherited terminal, or a pipe that cannot be opened anew: looked at before each read.
    Looked,
}

/// One open source.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    how: How,
    /// Whether it is a FIFO that was opened by its path, where no writer may have been yet.
    pub fifo: bool,
    /// Whether it is a regular file.
    pub regular: bool,
}

impl Input {
    /// Opens a path: never waits for a writer.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
        let kind = fds::what(&file)?;
        Ok(Self {
            file,
            how: How::Plain,
            fifo: kind == What::Pipe,
            regular: kind == What::File,
        })
    }

    /// Takes a descriptor that was handed down to us; those who share it notice nothing.
    pub fn inherited(fd: RawFd) -> io::Result<Self> {
        let file = File::from(fds::dup_inherited(fd)?);
        let kind = fds::what(&file)?;
        let how = match kind {
            What::Pipe => {
                let options = File::options()
                    .read(true)
                    .custom_flags(OFlag::O_NONBLOCK.bits())
                    .clone();
                fds::reopen(&file, &options).map_or(How::Looked, How::Reopened)
            }
            What::Socket => How::Socket,
            What::File => How::Plain,
            What::Device | What::Other => How::Looked,
        };
        Ok(Self {
            file,
            how,
            fifo: false,
            regular: kind == What::File,
        })
    }

    /// The descriptor that tells when there is something to read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads what is there.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Got> {
        loop {
            let got = match &mut self.how {
                How::Plain => self.file.read(into),
                How::Reopened(own) => own.read(into),
                How::Socket => recv(self.file.as_raw_fd(), into, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from),
                How::Looked => {
                    let mut look = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
                    match poll(&mut look, PollTimeout::ZERO) {
                        Ok(0) => return Ok(Got::Nothing),
                        Ok(_) => self.file.read(into),
                        Err(error) => Err(error.into()),
                    }
                }
            };
            return match got {
                Ok(0) => Ok(Got::End),
                Ok(count) => Ok(Got::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
                // A terminal whose other side has gone, a peer that hung up: nothing more will come.
                Err(error) if self.ends(&error) => Ok(Got::End),
                Err(error) => Err(error),
            };
        }
    }

    fn ends(&self, error: &io::Error) -> bool {
        let code = error.raw_os_error().map(Errno::from_raw);
        matches!(
            (&self.how, code),
            (How::Looked, Some(Errno::EIO)) | (How::Socket, Some(Errno::ECONNRESET))
        ) || (code == Some(Errno::EIO) && fds::what(&self.file).is_ok_and(|kind| kind == What::Device))
    }

    /// Gives a pipe room for so many bytes, where it has less and may have more.
    pub fn widen(&self, room: i32) {
        let file = match &self.how {
            How::Reopened(own) => own,
            _ => &self.file,
        };
        fds::widen(file.as_fd(), room);
    }

    /// Which file it is, and how long: to tell that a name means another file now, or that this one shrank.
    pub fn state(&self) -> io::Result<(u64, u64, u64)> {
        let meta = self.file.metadata()?;
        Ok((meta.dev(), meta.ino(), meta.len()))
    }

    /// A path that leads to this very file, whatever its name means by now.
    pub fn own_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Goes back to the file's beginning.
    pub fn rewind(&mut self) -> io::Result<()> {
        io::Seek::rewind(&mut self.file)
    }

    /// Where in the file the next read begins.
    pub fn position(&mut self) -> io::Result<u64> {
        io::Seek::stream_position(&mut self.file)
    }
}
