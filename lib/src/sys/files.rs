//! Files that only we see: in memory, and folders for their owner alone.

use std::ffi::CStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// A file in memory, from its beginning: unlike a pipe it has an end, and any size. `name` is for whoever looks into
/// `/proc`.
///
/// # Errors
/// What the system says.
pub fn in_memory(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    let mut file = File::from(nix::sys::memfd::memfd_create(name, flags)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Makes a folder, and those above it, where they are not there: for its owner alone.
///
/// # Errors
/// What the system says.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
