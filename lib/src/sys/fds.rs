//! Descriptors: what they are, and how to own one without touching those who share it.

use nix::fcntl::{FcntlArg, fcntl};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What kind of thing a descriptor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A pipe or FIFO.
    Pipe,
    /// A regular file.
    File,
    /// A terminal or another character device.
    Device,
    /// A socket.
    Socket,
    /// Anything else.
    Other,
}

/// Looks what a descriptor leads to.
///
/// # Errors
/// When the descriptor is not open.
pub fn what(fd: impl AsFd) -> io::Result<What> {
    use nix::sys::stat::{SFlag, fstat};
    let mode = SFlag::from_bits_truncate(fstat(fd)?.st_mode & SFlag::S_IFMT.bits());
    Ok(match mode {
        SFlag::S_IFIFO => What::Pipe,
        SFlag::S_IFREG => What::File,
        SFlag::S_IFCHR => What::Device,
        SFlag::S_IFSOCK => What::Socket,
        _ => What::Other,
    })
}

/// Whether a write to what a descriptor leads to never waits for anybody: a file, or `/dev/null`.
pub fn takes_at_once(fd: impl AsFd) -> bool {
    use nix::sys::stat::{SFlag, fstat, makedev};
    fstat(fd).is_ok_and(|about| {
        let mode = SFlag::from_bits_truncate(about.st_mode & SFlag::S_IFMT.bits());
        mode == SFlag::S_IFREG || mode == SFlag::S_IFCHR && about.st_rdev == makedev(1, 3)
    })
}

/// Opens the thing behind a descriptor once more, with flags and an offset of its own.
///
/// # Errors
/// A socket cannot be opened again (ENXIO), nor can what we have no permission for.
pub fn reopen(fd: impl AsFd, options: &std::fs::OpenOptions) -> io::Result<std::fs::File> {
    options.open(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Gives a pipe room for so many bytes, where it has less and may have more; what is no pipe stays as it is.
pub fn widen(pipe: impl AsFd, room: i32) {
    if fcntl(&pipe, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| (0..room).contains(&size)) {
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(room));
    }
}

/// A second descriptor for one that was handed down to us and is known by its number, as in `/dev/fd/N`.
///
/// # Errors
/// When no descriptor of that number is open, or it is one of our own: those are closed on exec, inherited ones are not.
pub fn dup_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(nix::errno::Errno::EBADF.into());
    }
    // SAFETY: the number is borrowed for these two calls, and the system says so when nothing is open under it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl(borrowed, FcntlArg::F_GETFD)? & libc::FD_CLOEXEC != 0 {
        return Err(nix::errno::Errno::EBADF.into());
    }
    borrowed.try_clone_to_owned()
}

/// Takes the lock of flock(2) on a file, for as long as any descriptor of this open file is open, also in a child.
///
/// # Errors
/// `WouldBlock` where another one holds it and `wait` is not set; else what the system says.
pub fn flock(fd: impl AsFd, wait: bool) -> io::Result<()> {
    lock(fd, libc::LOCK_EX, wait)
}

/// The same, shared with all others who ask to share it.
///
/// # Errors
/// As [`flock`].
pub fn flock_shared(fd: impl AsFd, wait: bool) -> io::Result<()> {
    lock(fd, libc::LOCK_SH, wait)
}

fn lock(fd: impl AsFd, how: i32, wait: bool) -> io::Result<()> {
    let how = if wait { how } else { how | libc::LOCK_NB };
    loop {
        // SAFETY: flock takes two integers and touches no memory.
        match nix::errno::Errno::result(unsafe { libc::flock(fd.as_fd().as_raw_fd(), how) }) {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Lets a descriptor stay open in every program that is started from now on.
///
/// # Errors
/// When the system refuses.
pub fn stay_open(fd: impl AsFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    Ok(())
}

/// A descriptor that another process has sent us.
///
/// Only for numbers that recvmsg has just given: each of them once.
pub fn received(fd: RawFd) -> OwnedFd {
    // SAFETY: the system has just made this descriptor ours, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
