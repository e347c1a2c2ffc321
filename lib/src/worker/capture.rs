//! How a worker's output is taken: into a file that we follow, through a pipe, or through a terminal.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, fallocate, fcntl};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

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
    /// A file, where we are in it, up to where it was punched out, and what tells of its growth.
    File {
        file: File,
        at: u64,
        punched: u64,
        growth: Inotify,
    },
    /// A pipe or a terminal.
    Stream(File),
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

/// How much of the file stays behind what was passed on before its blocks are given back.
const PUNCH: u64 = 1 << 20;
const PIPE_SIZE: i32 = 1 << 20;

impl Capture {
    /// Makes a capture: our end, and the worker's.
    ///
    /// # Errors
    /// When the system has no descriptor, terminal or space left.
    pub(super) fn open(self) -> io::Result<(Tap, OwnedFd)> {
        match self {
            Self::File => file(),
            Self::Pipe => pipe(),
            Self::Pty => pty(),
        }
    }
}

fn file() -> io::Result<(Tap, OwnedFd)> {
    let folder = std::env::temp_dir();
    let unlinked = File::options()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlag::O_TMPFILE.bits() | OFlag::O_APPEND.bits())
        .open(folder);
    let file = match unlinked {
        Ok(file) => file,
        // A file system that has no unlinked files, or a folder that is not ours to write.
        Err(_) => {
            let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
            File::from(nix::sys::memfd::memfd_create(c"cl-spawn", flags)?)
        }
    };
    let growth = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    growth.add_watch(
        format!("/proc/self/fd/{}", file.as_raw_fd()).as_str(),
        AddWatchFlags::IN_MODIFY,
    )?;
    let worker = file.as_fd().try_clone_to_owned()?;
    Ok((
        Tap::File {
            file,
            at: 0,
            punched: 0,
            growth,
        },
        worker,
    ))
}

fn pipe() -> io::Result<(Tap, OwnedFd)> {
    let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // More than the user's share of pipe memory is refused: then the pipe stays as it is.
    let _ = fcntl(&theirs, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((Tap::Stream(File::from(ours)), theirs))
}

fn pty() -> io::Result<(Tap, OwnedFd)> {
    let pair = nix::pty::openpty(None, None)?;
    let mut mode = nix::sys::termios::tcgetattr(&pair.slave)?;
    nix::sys::termios::cfmakeraw(&mut mode);
    nix::sys::termios::tcsetattr(&pair.slave, nix::sys::termios::SetArg::TCSANOW, &mode)?;
    for fd in [&pair.master, &pair.slave] {
        fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((Tap::Stream(File::from(pair.master)), pair.slave))
}

/// A terminal that never says anything, for a worker's stdin; our end must be kept.
pub(super) fn silent_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = nix::pty::openpty(None, None)?;
    for fd in [&pair.master, &pair.slave] {
        fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    Ok((pair.master, pair.slave))
}

impl Tap {
    /// The descriptor that is readable when [`Tap::take`] may give more.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::File { growth, .. } => growth.as_fd(),
            Self::Stream(file) => file.as_fd(),
        }
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// What the system says of the file or pipe.
    pub(super) fn take(&mut self, space: &mut [u8]) -> io::Result<Taken> {
        match self {
            Self::File { file, at, punched, .. } => {
                let count = loop {
                    match file.read_at(space, *at) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        other => break other?,
                    }
                };
                *at += count as u64;
                if *at - *punched >= PUNCH + 4096 {
                    give_back(file, punched, *at);
                }
                Ok(if count == 0 {
                    Taken::Nothing
                } else {
                    Taken::Bytes(count)
                })
            }
            Self::Stream(file) => loop {
                return match file.read(space) {
                    Ok(0) => Ok(Taken::End),
                    Ok(count) => Ok(Taken::Bytes(count)),
                    Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                        Some(Errno::EINTR) => continue,
                        Some(Errno::EAGAIN) => Ok(Taken::Nothing),
                        // A terminal whose last user has closed it.
                        Some(Errno::EIO) => Ok(Taken::End),
                        _ => Err(error),
                    },
                };
            },
        }
    }

    /// Forgets what was told of growth, before looking whether there is any.
    pub(super) fn clear(&self) {
        if let Self::File { growth, .. } = self {
            while growth.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
    }
}

/// Gives the blocks before `at` back to the file system. One that cannot keeps them until the end.
fn give_back(file: &File, punched: &mut u64, at: u64) {
    let end = at & !4095;
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let _ = fallocate(file, flags, *punched as i64, (end - *punched) as i64);
    *punched = end;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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
            let (mut tap, theirs) = capture.open().unwrap();
            let mut worker = File::from(theirs);
            let chunk = &bytes[..3000];
            worker.write_all(chunk).unwrap();
            assert_eq!(take_all(&mut tap), (chunk.to_vec(), Taken::Nothing), "{capture:?}");
            worker.write_all(b"\xff\x00\r\n\x04").unwrap();
            drop(worker);
            let (rest, end) = take_all(&mut tap);
            assert_eq!(rest, b"\xff\x00\r\n\x04", "{capture:?}");
            assert_eq!(
                end,
                if capture == Capture::File {
                    Taken::Nothing
                } else {
                    Taken::End
                }
            );
        }
    }

    #[test]
    fn a_file_that_was_passed_on_takes_no_space() {
        use std::os::unix::fs::MetadataExt;
        let (mut tap, theirs) = Capture::File.open().unwrap();
        let mut worker = File::from(theirs);
        let block = vec![7u8; 1 << 20];
        for _ in 0..8 {
            worker.write_all(&block).unwrap();
            assert_eq!(take_all(&mut tap).0.len(), block.len());
        }
        let Tap::File { file, .. } = &tap else { panic!("a file") };
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), 8 << 20);
        assert!(meta.blocks() * 512 <= 3 << 20, "{} blocks are held", meta.blocks());
    }
}
