//! Descriptors in a tokio runtime.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a descriptor.
///
/// # Errors
/// A regular file cannot be watched.
///
/// # Panics
/// Outside a runtime.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is returned, and stays the same for as long as that lives.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
