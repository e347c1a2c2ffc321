//! From stdin to stdout, byte for byte, with a copy of all that passes for whoever draws.
//!
//! Between pipes no byte is touched: tee(2) puts what arrived into a pipe of our own and splice(2) moves it on.
//! Elsewhere it is read and written. Our own pipe is all that lies between the flow and the picture: memory is bounded
//! by it, no byte is missing in the picture, and only when it is full does the flow wait, until the fold, which does
//! nothing but computing, has emptied it.

use harmony::cli::Failure;
use harmony::sys::fds::widen;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// How much is moved at once, and how large our own pipe is where the system lets us.
const BLOCK: usize = 1 << 20;
/// How large the pipes are made that we are between: with more than the usual 64 KiB a flood takes fewer turns.
const WIDE: i32 = 256 << 10;
/// How much is read at once where it has to be read.
const READ: usize = 128 << 10;

/// Why the flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// There is no more.
    Input,
    /// Nobody reads it any more.
    Reader,
}

/// Where the copy goes.
#[derive(Debug)]
pub struct Copy {
    pipe: OwnedFd,
    /// Told when the pipe is full, and at the end: its reader may be resting.
    wake: Arc<EventFd>,
}

/// A pipe for the copy: its reading end, and what the pump needs.
pub fn copy(wake: Arc<EventFd>) -> io::Result<(OwnedFd, Copy)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK)?;
    // 64 KiB do as well, with more waiting.
    let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(BLOCK as i32));
    Ok((read, Copy { pipe: write, wake }))
}

impl Copy {
    /// Waits until the pipe has room, and has its reader make some.
    fn wait(&self) -> io::Result<()> {
        self.wake.write(1)?;
        ready(&mut [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)])
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.wake.write(1);
    }
}

/// Moves all there is; ends when nothing more comes, or when nobody reads it.
pub fn run(copy: Option<Copy>) -> Result<Over, Failure> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    widen(&stdin, WIDE);
    widen(&stdout, WIDE);
    let mut pump = Pump {
        from: stdin.as_fd(),
        to: stdout.as_fd(),
        copy,
        buffer: Vec::new(),
    };
    loop {
        if pump.wait()? {
            return Ok(Over::Reader);
        }
        let moved = match pump.buffer.is_empty() {
            true => pump.spliced(),
            false => pump.read(),
        };
        match moved {
            Ok(Moved::Some) => {}
            Ok(Moved::Unable) => pump.buffer.resize(READ, 0),
            Ok(Moved::End) => return Ok(Over::Input),
            Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Over::Reader),
            Err(Trouble::Output(error)) => return Err(Failure::io("stdout", &error)),
            Err(Trouble::Input(error)) => return Err(Failure::io("stdin", &error)),
        }
    }
}

struct Pump<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    copy: Option<Copy>,
    /// Empty as long as the system moves the bytes.
    buffer: Vec<u8>,
}

enum Moved {
    Some,
    End,
    /// These descriptors cannot be spliced.
    Unable,
}

enum Trouble {
    Input(io::Error),
    Output(io::Error),
}

impl Pump<'_> {
    /// Waits until there is something to move; true when nobody reads our stdout.
    fn wait(&self) -> Result<bool, Failure> {
        let mut fds = [
            PollFd::new(self.from, PollFlags::POLLIN),
            PollFd::new(self.to, PollFlags::empty()),
        ];
        ready(&mut fds).map_err(|error| Failure::io("stdin", &error))?;
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        Ok(fds[1].revents().is_some_and(|events| events.intersects(gone)))
    }

    fn spliced(&self) -> Result<Moved, Trouble> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        let Some(copy) = &self.copy else {
            return match splice(self.from, None, self.to, None, BLOCK, SpliceFFlags::empty()) {
                Ok(0) => Ok(Moved::End),
                Ok(_) => Ok(Moved::Some),
                Err(Errno::EINTR) => Ok(Moved::Some),
                Err(Errno::EAGAIN) => room(self.to).map_err(Trouble::Output),
                Err(Errno::EINVAL) => Ok(Moved::Unable),
                Err(error) => Err(Trouble::Output(error.into())),
            };
        };
        let count = match tee(self.from, copy.pipe.as_fd(), BLOCK, flags) {
            Ok(0) => return Ok(Moved::End),
            Ok(count) => count,
            Err(Errno::EINTR) => return Ok(Moved::Some),
            // There is something to read, as we have been told: so it is the copy's pipe that is full.
            Err(Errno::EAGAIN) => {
                copy.wait().map_err(Trouble::Input)?;
                return Ok(Moved::Some);
            }
            Err(Errno::EINVAL) => return Ok(Moved::Unable),
            Err(error) => return Err(Trouble::Input(error.into())),
        };
        let mut left = count;
        while left > 0 {
            match splice(self.from, None, self.to, None, left, SpliceFFlags::SPLICE_F_MORE) {
                // Somebody else reads our stdin, too: what they took is not ours to pass on.
                Ok(0) => break,
                Ok(moved) => left -= moved,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    room(self.to).map_err(Trouble::Output)?;
                }
                // A file opened for appending takes no splice: what has been copied is read and written.
                Err(Errno::EINVAL) => return self.by_hand(left),
                Err(error) => return Err(Trouble::Output(error.into())),
            }
        }
        Ok(Moved::Some)
    }

    /// Passes on bytes whose copy has been made already.
    fn by_hand(&self, mut left: usize) -> Result<Moved, Trouble> {
        let mut buffer = vec![0; READ.min(left)];
        while left > 0 {
            let most = buffer.len().min(left);
            match nix::unistd::read(self.from, &mut buffer[..most]) {
                Ok(0) => break,
                Ok(count) => {
                    write_all(self.to, &buffer[..count]).map_err(Trouble::Output)?;
                    left -= count;
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(Trouble::Input(error.into())),
            }
        }
        Ok(Moved::Unable)
    }

    fn read(&mut self) -> Result<Moved, Trouble> {
        let count = match nix::unistd::read(self.from, &mut self.buffer) {
            Ok(0) => return Ok(Moved::End),
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(Moved::Some),
            Err(error) => return Err(Trouble::Input(error.into())),
        };
        write_all(self.to, &self.buffer[..count]).map_err(Trouble::Output)?;
        let Some(copy) = &self.copy else {
            return Ok(Moved::Some);
        };
        let mut rest = &self.buffer[..count];
        while !rest.is_empty() {
            match nix::unistd::write(&copy.pipe, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => copy.wait().map_err(Trouble::Input)?,
                Err(error) => return Err(Trouble::Input(error.into())),
            }
        }
        Ok(Moved::Some)
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                room(to)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until a descriptor that somebody made non-blocking takes more.
fn room(to: BorrowedFd<'_>) -> io::Result<Moved> {
    ready(&mut [PollFd::new(to, PollFlags::POLLOUT)])?;
    Ok(Moved::Some)
}

fn ready(fds: &mut [PollFd<'_>]) -> io::Result<()> {
    loop {
        match poll(fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}
