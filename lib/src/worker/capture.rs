//! How a worker's output is taken: into a file that we follow, through a pipe, or through a terminal.

use super::followed::{Followed, Growth};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A way to take a worker's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Into an unlinked file: the worker never waits, and a slow reader costs disk.
    File,
    /// Through a pipe: a slow reader holds the worker up.
    Pipe,
    /// Through a terminal in raw mode, for programs that buffer otherwise.
    Pty,
}

/// Our end of a capture.
#[derive(Debug)]
pub(super) enum Tap {
    /// A file that grows.
    File(Followed),
    /// A pipe or a terminal.
    Stream {
        /// Our end.
        file: File,
        /// Whether it is to hold more as soon as there is much to be read.
        narrow: bool,
    },
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nobody can write to it any more.
    End,
}

/// Our ends of a worker's stdout and stderr.
#[derive(Debug)]
pub(super) struct Taps {
    pub(super) out: Tap,
    pub(super) err: Tap,
    /// What tells of growth, where they are files.
    pub(super) growth: Option<Growth>,
}

/// What a pipe holds of which much is read, in bytes.
const PIPE_SIZE: i32 = 1 << 20;

impl Capture {
    /// Makes a capture of stdout, and one of stderr: our ends, and the worker's stdout and stderr.
    ///
    /// # Errors
    /// When the system has no descriptor, terminal or space left.
    pub(super) fn open(self) -> io::Result<(Taps, OwnedFd, OwnedFd)> {
        let (growth, (out, worker_out), (err, worker_err)) = match self {
            Self::File => {
                let mut growth = Growth::new();
                let (out, err) = (file(&mut growth)?, file(&mut growth)?);
                (Some(growth), out, err)
            }
            // A user has a share of pipe memory; what is said on stderr needs no more than an ordinary pipe.
            Self::Pipe => (None, pipe(true)?, pipe(false)?),
            Self::Pty => (None, pty()?, pipe(false)?),
        };
        Ok((Taps { out, err, growth }, worker_out, worker_err))
    }
}

fn file(growth: &mut Growth) -> io::Result<(Tap, OwnedFd)> {
    let (file, worker) = Followed::create(growth)?;
    Ok((Tap::File(file), worker))
}

fn pipe(narrow: bool) -> io::Result<(Tap, OwnedFd)> {
    let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let file = File::from(ours);
    Ok((Tap::Stream { file, narrow }, theirs))
}

fn pty() -> io::Result<(Tap, OwnedFd)> {
    let (ours, theirs) = silent_terminal()?;
    let mut mode = nix::sys::termios::tcgetattr(&theirs)?;
    nix::sys::termios::cfmakeraw(&mut mode);
    nix::sys::termios::tcsetattr(&theirs, nix::sys::termios::SetArg::TCSANOW, &mode)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let file = File::from(ours);
    Ok((Tap::Stream { file, narrow: false }, theirs))
}

/// A terminal that says nothing by itself: our end, which must be kept, and the worker's.
pub(super) fn silent_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = nix::pty::openpty(None, None)?;
    for fd in [&pair.master, &pair.slave] {
        fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    Ok((pair.master, pair.slave))
}

impl Tap {
    /// What is readable when [`Tap::take`] may give more; a file's growth is told elsewhere.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::File(_) => None,
            Self::Stream { file, .. } => Some(file.as_fd()),
        }
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// What the system says of the file or pipe.
    pub(super) fn take(&mut self, space: &mut [u8]) -> io::Result<Taken> {
        match self {
            Self::File(file) => Ok(match file.take(space)? {
                0 => Taken::Nothing,
                count => Taken::Bytes(count),
            }),
            Self::Stream { file, narrow } => {
                let mut closed = false;
                loop {
                    return match file.read(space) {
                        Ok(0) => Ok(Taken::End),
                        Ok(count) => {
                            if count == space.len() && std::mem::take(narrow) {
                                // More than the user's share of pipe memory is refused: then it stays as it is.
                                let _ = fcntl(&*file, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
                            }
                            Ok(Taken::Bytes(count))
                        }
                        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                            Some(Errno::EINTR) => continue,
                            Some(Errno::EAGAIN) => Ok(Taken::Nothing),
                            // A terminal whose last user has closed it. What was written just before that may be on its
                            // way yet: the kernel looks for bytes first, and then whether it is closed. The second time
                            // it was closed before the look.
                            Some(Errno::EIO) if !std::mem::replace(&mut closed, true) => continue,
                            Some(Errno::EIO) => Ok(Taken::End),
                            _ => Err(error),
                        },
                    };
                }
            }
        }
    }

    /// Why output may be missing, where that is known.
    pub(super) fn harm(&self) -> Option<&'static str> {
        match self {
            Self::File(file) => file.harm(),
            Self::Stream { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::io::Write;

    /// Readers that have to wait for a processor, and writers that close at once, as it must be for words to be missed.
    #[test]
    fn last_words_on_a_terminal_arrive() {
        let round = || {
            let (mut taps, theirs, _) = Capture::Pty.open().unwrap();
            let mut worker = File::from(theirs);
            let writing = std::thread::spawn(move || (0..20).for_each(|_| worker.write_all(&[b'x'; 100]).unwrap()));
            let mut all = 0;
            loop {
                match take_all(&mut taps.out) {
                    (bytes, Taken::End) => break all += bytes.len(),
                    (bytes, _) => all += bytes.len(),
                }
                let mut fds = [PollFd::new(taps.out.fd().unwrap(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::NONE).unwrap();
            }
            writing.join().unwrap();
            assert_eq!(all, 2000);
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| (0..50).for_each(|_| round())))));
    }

    /// Who says little takes nothing of its user's share.
    #[test]
    fn a_pipe_holds_more_when_much_comes() {
        let (mut taps, worker, _) = Capture::Pipe.open().unwrap();
        let size = |worker: &OwnedFd| fcntl(worker, FcntlArg::F_GETPIPE_SZ).unwrap();
        let first = size(&worker);
        File::from(worker.try_clone().unwrap())
            .write_all(&[b'x'; 4999])
            .unwrap();
        assert_eq!(take_all(&mut taps.out).0.len(), 4999);
        assert_eq!(size(&worker), first);
        File::from(worker.try_clone().unwrap())
            .write_all(&[b'x'; 5001])
            .unwrap();
        assert_eq!(take_all(&mut taps.out).0.len(), 5001);
        assert_eq!(size(&worker), PIPE_SIZE);
    }

    fn take_all(tap: &mut Tap) -> (Vec<u8>, Taken) {
        let (mut all, mut space) = (Vec::new(), [0; 5000]);
        loop {
            match tap.take(&mut space).unwrap() {
                Taken::Bytes(count) => all.extend_from_slice(&space[..count]),
                other => return (all, other),
            }
        }
    }

    #[test]
    fn each_way_gives_every_byte() {
        let bytes: Vec<u8> = (0..3000u32).flat_map(u32::to_le_bytes).collect();
        for capture in [Capture::File, Capture::Pipe, Capture::Pty] {
            let (mut taps, theirs, _) = capture.open().unwrap();
            let tap = &mut taps.out;
            let mut worker = File::from(theirs);
            let chunk = &bytes[..3000];
            worker.write_all(chunk).unwrap();
            assert_eq!(take_all(tap), (chunk.to_vec(), Taken::Nothing), "{capture:?}");
            worker.write_all(b"\xff\x00\r\n\x04").unwrap();
            drop(worker);
            let (rest, end) = take_all(tap);
            assert_eq!(rest, b"\xff\x00\r\n\x04", "{capture:?}");
            assert_eq!(
                end,
                if capture == Capture::File {
                    Taken::Nothing
                } else {
                    Taken::End
                }
            );
            assert_eq!(tap.harm(), None);
        }
    }
}
