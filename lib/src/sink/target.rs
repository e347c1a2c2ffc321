//! What a SINK on a command line leads to, and how it is opened without waiting for anybody.

use super::{Bell, Outlet};
use crate::sys::fds::{What, dup_inherited, what};
use nix::fcntl::OFlag;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

/// What a sink is, once it is open.
#[derive(Debug)]
pub enum Target {
    /// A regular file (or a disk) of that name.
    File(File),
    /// A file that was handed down as a descriptor: it has no name to rotate by, and others may write to it.
    Inherited(File),
    /// Something that may refuse bytes for a while.
    Outlet(Outlet),
    /// A FIFO that nobody reads yet: the answer comes, and the bell rings, when somebody does.
    Awaited(Receiver<io::Result<Outlet>>),
}

/// Opens what `path` names: an existing FIFO or device, or a file, which is made, and emptied unless `append`.
///
/// # Errors
/// As the system says.
pub fn open(path: &Path, append: bool, bell: &Bell) -> io::Result<Target> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = File::options();
    options.create(true).mode(0o600).custom_flags(flags.bits());
    if append {
        options.append(true);
    } else {
        options.write(true).truncate(true);
    }
    match options.open(path) {
        Ok(file) => match what(&file)? {
            What::File | What::Other => Ok(Target::File(file)),
            _ => Ok(Target::Outlet(Outlet::own(file, bell)?)),
        },
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) && is_fifo(path) => Ok(await_reader(path, bell)),
        Err(error) => Err(error),
    }
}

/// What a descriptor leads to.
///
/// # Errors
/// When it is none that can be written.
pub fn over(fd: OwnedFd, bell: &Bell) -> io::Result<Target> {
    match what(&fd)? {
        What::File | What::Other => Ok(Target::Inherited(File::from(fd))),
        _ => Ok(Target::Outlet(Outlet::over(fd.as_fd(), bell)?)),
    }
}

/// Takes over the descriptors that paths like `/dev/fd/N` name, so that they end when their sink does; none for other
/// paths. To be called before we open anything ourselves, which might get the number of one that is not open.
pub fn handed_down(paths: &[PathBuf]) -> Vec<Option<io::Result<OwnedFd>>> {
    let numbers: Vec<_> = paths.iter().map(|path| descriptor(path)).collect();
    let open = |number| {
        Path::new(&format!("/proc/self/fd/{number}"))
            .symlink_metadata()
            .map(|_| number)
    };
    // All are looked at before the first copy takes a number.
    let open: Vec<_> = numbers.iter().map(|number| number.map(open)).collect();
    let copies = open
        .into_iter()
        .map(|open| open.map(|number| dup_inherited(number?)))
        .collect();
    for number in numbers.into_iter().flatten().filter(|number| *number > 2) {
        // Named twice, it is closed already.
        let _ = nix::unistd::close(number);
    }
    copies
}

/// The number in `/dev/fd/N` and its like. Such a file is not opened anew, which would empty it.
fn descriptor(path: &Path) -> Option<i32> {
    let path = path.to_str()?;
    let number = match path {
        "/dev/stdout" => "1",
        "/dev/stderr" => "2",
        _ => path
            .strip_prefix("/dev/fd/")
            .or_else(|| path.strip_prefix("/proc/self/fd/"))?,
    };
    number.parse().ok().filter(|number| *number >= 0)
}

fn is_fifo(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.file_type().is_fifo())
}

/// Opening a FIFO waits for its reader, and there is nothing to poll: so a thread waits.
fn await_reader(path: &Path, bell: &Bell) -> Target {
    let (sender, answer) = channel();
    let (path, bell) = (path.to_owned(), bell.clone());
    std::thread::spawn(move || {
        let opened = File::options()
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(&path)
            .and_then(|file| Outlet::own(file, &bell));
        if sender.send(opened).is_ok() {
            bell.ring();
        }
    });
    Target::Awaited(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_by_name() {
        for (path, number) in [
            ("/dev/fd/3", Some(3)),
            ("/dev/stdout", Some(1)),
            ("/proc/self/fd/12", Some(12)),
            ("/dev/fd/", None),
            ("/dev/fd/-1", None),
            ("/dev/fd/3/x", None),
            ("fd/3", None),
        ] {
            assert_eq!(descriptor(Path::new(path)), number, "{path}");
        }
    }
}
