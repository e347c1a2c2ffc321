//! A run folder: a file a stream, reached without ever following a symbolic link out of it.

use crate::sys::files::private_folder;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// A folder with a file for each stream.
#[derive(Debug)]
pub struct Folder {
    root: Arc<OwnedFd>,
}

/// Where a stream's file lies: its folder, open, and its name there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: Arc<OwnedFd>,
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
    pub fn open(path: &Path) -> io::Result<Self> {
        private_folder(path)?;
        // The folder itself may be reached by a link: its user named it.
        let root = File::options()
            .read(true)
            .custom_flags(OFlag::O_DIRECTORY.bits())
            .open(path)?;
        Ok(Self {
            root: Arc::new(root.into()),
        })
    }

    /// Makes a stream's file anew, for reading and appending. One that is there is set aside: the first one as
    /// `NAME.ndjson.1`, the next as `NAME.ndjson.2`. Whoever writes to that one still does not write to this one.
    ///
    /// # Errors
    /// As the system says.
    pub fn begin(&self, stream: &str) -> io::Result<File> {
        let place = self.place(stream)?;
        let made = place.make();
        if !made
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
        {
            return made;
        }
        let exists = |name: &OsStr| fstatat(&place.folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        let numbered = |number: u32| {
            let mut name = place.name.clone();
            name.push(format!(".{number}"));
            name
        };
        let free = (1..=u32::MAX).map(numbered).find(|name| !exists(name));
        let aside = free.ok_or(io::ErrorKind::AlreadyExists)?;
        renameat(&place.folder, place.name.as_os_str(), &place.folder, aside.as_os_str())?;
        place.make()
    }

    /// Opens a stream's file for reading.
    ///
    /// # Errors
    /// When it is not there, or is no regular file.
    pub fn read(&self, stream: &str) -> io::Result<File> {
        let place = self.place(stream)?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = File::from(openat(&place.folder, place.name.as_os_str(), flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("not a regular file"))
        }
    }

    /// Goes to where the file of a stream lies, making folders on the way.
    ///
    /// # Errors
    /// When a folder cannot be made, or is none, or is a link.
    pub(super) fn place(&self, stream: &str) -> io::Result<Place> {
        let mut folder = self.root.clone();
        let mut parts = stream.split('/');
        let name = parts.next_back().unwrap_or_default();
        for part in parts {
            let part = subfolder(part);
            folder = Arc::new(match openat(&folder, part.as_str(), FOLDER, Mode::empty()) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&folder, part.as_str(), Mode::S_IRWXU) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    openat(&folder, part.as_str(), FOLDER, Mode::empty())?
                }
                opened => opened?,
            });
        }
        Ok(Place {
            folder,
            name: format!("{name}.ndjson").into(),
        })
    }
}

impl Place {
    /// Makes the file, for reading and appending.
    fn make(&self) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_APPEND | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        Ok(File::from(openat(&self.folder, self.name.as_os_str(), flags, mode)?))
    }

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
    fn what_was_there_is_set_aside() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let mut old = folder.begin("a/b").unwrap();
        old.write_all(b"1").unwrap();
        let mut new = folder.begin("a/b").unwrap();
        new.write_all(b"2").unwrap();
        old.write_all(b"1").unwrap();
        folder.begin("a/b").unwrap();
        let text = |name: &str| std::fs::read_to_string(dir.path().join("a").join(name)).unwrap();
        assert_eq!(text("b.ndjson.1"), "11");
        assert_eq!(text("b.ndjson.2"), "2");
        assert_eq!(folder.read("a/b").unwrap().metadata().unwrap().len(), 0);
        assert!(folder.read("a/c").is_err());
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
