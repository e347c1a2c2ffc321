//! Rotation: a file that is full becomes `file.1`, the one before it `file.2`, and so on.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, renameat};
use nix::sys::stat::fstatat;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::str::FromStr;

/// When to begin a new file, and how many old ones to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The most bytes in one file, unless a single line has more.
    pub size: u64,
    /// How many old files are kept; all without a number.
    pub keep: Option<u32>,
}

impl FromStr for Rotation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (size, keep) = match text.split_once(',') {
            Some((size, keep)) => (size, Some(keep)),
            None => (text, None),
        };
        let keep = keep.map(|keep| match keep.parse() {
            Ok(0) | Err(_) => Err(format!("'{keep}' is no number of files to keep: write 1 or more")),
            Ok(number) => Ok(number),
        });
        Ok(Self {
            size: crate::units::size(size)?,
            keep: keep.transpose()?,
        })
    }
}

impl Rotation {
    /// Whether a line that begins with `next` bytes starts a new file, `size` bytes being in the present one.
    pub(super) fn due(&self, size: u64, next: usize) -> bool {
        size > 0 && size.saturating_add(next as u64) > self.size
    }

    /// Moves `name` in the folder `dir` out of the way.
    ///
    /// # Errors
    /// When a file cannot be renamed.
    pub(super) fn shift(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut numbered = OsString::from(name);
            numbered.push(format!(".{number}"));
            numbered
        };
        let mut last = 0;
        while self.keep.is_none_or(|keep| last < keep) {
            match fstatat(dir, numbered(last + 1).as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(_) => last += 1,
                Err(Errno::ENOENT) => break,
                Err(error) => return Err(error.into()),
            }
        }
        // The oldest that may be kept is overwritten by the one before it.
        let from = if self.keep == Some(last) {
            last.saturating_sub(1)
        } else {
            last
        };
        for number in (1..=from).rev() {
            renameat(dir, numbered(number).as_os_str(), dir, numbered(number + 1).as_os_str())?;
        }
        renameat(dir, name, dir, numbered(1).as_os_str())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn as_people_write_it() {
        let rotation = |size, keep| Ok(Rotation { size, keep });
        assert_eq!("1M".parse(), rotation(1 << 20, None));
        assert_eq!("10,3".parse(), rotation(10, Some(3)));
        for text in ["", ",", "0", "1M,0", "1M,", "1M,x", "1M,1,1"] {
            assert!(text.parse::<Rotation>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::open(dir.path()).unwrap();
        let rotate = |keep, text: &str| {
            std::fs::write(dir.path().join("f"), text).unwrap();
            Rotation { size: 1, keep }.shift(file.as_fd(), OsStr::new("f")).unwrap();
            let mut names: Vec<_> = std::fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            names.sort();
            names
                .iter()
                .map(|path| std::fs::read_to_string(path).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(rotate(Some(2), "a"), ["a"]);
        assert_eq!(rotate(Some(2), "b"), ["b", "a"]);
        assert_eq!(rotate(Some(2), "c"), ["c", "b"]);
        assert_eq!(rotate(None, "d"), ["d", "c", "b"]);
        assert_eq!(rotate(Some(1), "e"), ["e", "c", "b"]);
    }
}
