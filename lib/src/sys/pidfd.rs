//! A process as a descriptor: its end can be waited for, and its number cannot come to mean another.

use nix::errno::Errno;
use nix::unistd::Pid;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Opens a process, of whatever parent; the descriptor is readable once the process has ended.
///
/// # Errors
/// ESRCH when there is no such process, EINVAL when the number is that of a thread.
pub fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the system just gave us this descriptor, and nothing else owns it. It is close-on-exec by itself.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_none() {
        assert!(open(Pid::this()).is_ok());
        let none = open(Pid::from_raw(i32::MAX)).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(Errno::ESRCH as i32));
    }
}
