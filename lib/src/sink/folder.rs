//! A run folder: a file a stream, reached without ever following a symbolic link out of it.

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// A folder with a file for each stream.
#[derive(Debug)]
pub(super) struct Folder {
    root: OwnedFd,
}

/// Where a stream's file lies: its folder, open, and its name there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) name: OsString,
}

const FOLDER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NOFOLLOW);

impl Folder {
    /// Opens a folder, which is made where there is none, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // The folder itself may be reached by a link: its user named it.
        let root = File::options()
            .read(true)
            .custom_flags(OFlag::O_DIRECTORY.bits())
            .open(path)?;
        Ok(Self { root: root.into() })
    }

    /// Goes to where the file of a stream lies, making folders on the way.
    ///
    /// # Errors
    /// When a folder cannot be made, or is none, or is a link.
    pub(super) fn place(&self, stream: &str) -> io::Result<Place> {
        let mut folder = self.root.try_clone()?;
        let mut parts = stream.split('/');
        let name = parts.next_back().unwrap_or_default();
        for part in parts {
            let part = subfolder(part);
            folder = match openat(&folder, part.as_str(), FOLDER, Mode::empty()) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&folder, part.as_str(), Mode::S_IRWXU) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    openat(&folder, part.as_str(), FOLDER, Mode::empty())?
                }
                opened => opened?,
            };
        }
        Ok(Place {
            folder,
            name: format!("{name}.ndjson").into(),
        })
    }
}

impl Place {
    /// Opens the file for appending; `fresh` empties it.
    ///
    /// # Errors
    /// When it is no regular file (a link, a FIFO), or as the system says.
    pub(super) fn open(&self, fresh: bool) -> io::Result<File> {
        let mut flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_APPEND
            | OFlag::O_CLOEXEC
            | OFlag::O_NOFOLLOW
            | OFlag::O_NOCTTY
            | OFlag::O_NONBLOCK;
        flags.set(OFlag::O_TRUNC, fresh);
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = File::from(openat(self.folder.as_fd(), self.name.as_os_str(), flags, mode)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("not a regular file"))
        }
    }
}

/// The name of a stream's folder. A part that looks like one of our files is set apart from them: `a.ndjson` beside
/// the stream `a` becomes `a.ndjson.d`.
fn subfolder(part: &str) -> String {
    if part.contains(".ndjson") {
        format!("{part}.d")
    } else {
        part.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folders_and_files_never_meet() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("x/run")).unwrap();
        for stream in ["a", "a/b", "a.ndjson", "a.ndjson/b", "a.ndjson.d/b", "a.ndjson.1/c"] {
            folder.place(stream).unwrap().open(true).unwrap();
        }
        for path in [
            "a.ndjson",
            "a/b.ndjson",
            "a.ndjson.ndjson",
            "a.ndjson.d/b.ndjson",
            "a.ndjson.d.d/b.ndjson",
            "a.ndjson.1.d/c.ndjson",
        ] {
            let meta = dir.path().join("x/run").join(path).metadata().unwrap();
            assert_eq!(meta.permissions().mode() & 0o7777, 0o600, "{path}");
        }
        for path in ["x", "x/run", "x/run/a"] {
            let meta = dir.path().join(path).metadata().unwrap();
            assert_eq!(meta.permissions().mode() & 0o7777, 0o700, "{path}");
        }
    }

    #[test]
    fn links_and_fifos_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let folder = Folder::open(&run).unwrap();
        std::fs::write(dir.path().join("precious"), "p").unwrap();
        std::os::unix::fs::symlink("../precious", run.join("a.ndjson")).unwrap();
        std::os::unix::fs::symlink("..", run.join("b")).unwrap();
        nix::unistd::mkfifo(&run.join("c.ndjson"), Mode::S_IRWXU).unwrap();
        assert!(folder.place("a").unwrap().open(true).is_err());
        assert!(folder.place("b/c").is_err());
        assert!(folder.place("c").unwrap().open(true).is_err());
        assert_eq!(std::fs::read(dir.path().join("precious")).unwrap(), b"p");
        assert!(!dir.path().join("c.ndjson").exists());
    }
}
