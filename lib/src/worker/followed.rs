//! A file without a name that a worker writes and we follow; what was passed on is given back to the disk.

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::statvfs::fstatvfs;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much of the file stays behind what was passed on before its blocks are given back.
const PUNCH: u64 = 1 << 20;

/// A folder with less free space than this is not begun in.
const ROOM: u64 = 64 << 20;

/// With less free space than this, a write may have failed.
const FULL: u64 = 64 << 10;

/// How often to look, where the system tells nobody of growth any more.
const LOOK: Duration = Duration::from_millis(25);

/// Tells of the growth of files.
#[derive(Debug)]
pub(super) struct Growth(Option<Inotify>);

impl Growth {
    /// One for all files of a worker: a user may have few of them (128 by default).
    pub(super) fn new() -> Self {
        Self(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok())
    }

    /// What is readable when a file may have grown.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// How long to wait at most before looking, where nothing tells of growth.
    pub(super) fn look(&self) -> Option<Duration> {
        self.0.is_none().then_some(LOOK)
    }

    /// Forgets what was told, before looking whether there is any growth.
    pub(super) fn clear(&self) {
        if let Some(inotify) = &self.0 {
            while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
    }

    fn watch(&mut self, file: &File) {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watched = |inotify: &Inotify| inotify.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY).is_ok();
        self.0 = self.0.take().filter(watched);
    }
}

/// A file, and how far it was read.
#[derive(Debug)]
pub(super) struct Followed {
    file: File,
    at: u64,
    punched: u64,
    /// Whether something was read since the free space was looked at.
    fresh: bool,
    harm: Option<&'static str>,
}

impl Followed {
    /// Makes a file: ours, and the worker's descriptor.
    ///
    /// # Errors
    /// When the system has no descriptor or memory left.
    pub(super) fn create(growth: &mut Growth) -> io::Result<(Self, OwnedFd)> {
        let file = match nameless() {
            Some(file) => file,
            // No folder is ours to write, or all are nearly full: memory is what is left.
            None => File::from(nix::sys::memfd::memfd_create(
                c"cl-spawn",
                nix::sys::memfd::MFdFlags::MFD_CLOEXEC,
            )?),
        };
        growth.watch(&file);
        let worker = file.as_fd().try_clone_to_owned()?;
        let followed = Self {
            file,
            at: 0,
            punched: 0,
            fresh: false,
            harm: None,
        };
        Ok((followed, worker))
    }

    /// Reads what there is; 0 where that is nothing.
    ///
    /// # Errors
    /// What the system says of the file.
    pub(super) fn take(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match self.file.read_at(space, self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if count == 0 {
            return self.look(space);
        }
        self.fresh = true;
        self.at += count as u64;
        if self.at - self.punched >= PUNCH + 4096 {
            // Before space is given back, it can be seen whether there was too little.
            self.look_for_space();
            self.give_back();
        }
        Ok(count)
    }

    /// Why output may be missing, where that is known.
    pub(super) fn harm(&self) -> Option<&'static str> {
        self.harm
    }

    /// Looks what became of the file when there is nothing more to read.
    fn look(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.fresh) {
            self.look_for_space();
        }
        if self.file.metadata()?.len() >= self.at {
            return Ok(0);
        }
        // The worker, or a shell's `>/dev/stderr`, has cut it: what it writes now begins at its new end.
        self.harm = Some("the worker cut the file that takes its output: some may be missing");
        (self.at, self.punched) = (0, 0);
        let count = self.file.read_at(space, 0)?;
        self.at += count as u64;
        Ok(count)
    }

    fn look_for_space(&mut self) {
        if free(&self.file).is_some_and(|free| free < FULL) {
            self.harm = Some("the disk for temporary files was full: output may be missing");
        }
    }

    /// Gives the blocks of what was read back to the file system. One that cannot keeps them until the end.
    fn give_back(&mut self) {
        let end = self.at & !4095;
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let _ = fallocate(&self.file, flags, self.punched as i64, (end - self.punched) as i64);
        self.punched = end;
    }
}

/// A file without a name, in the first folder for temporary files that has room.
fn nameless() -> Option<File> {
    let folders = [std::env::temp_dir(), PathBuf::from("/var/tmp")];
    let mut files = folders.iter().filter_map(|folder| unlinked(folder).ok());
    files.find(|file| free(file).is_none_or(|free| free >= ROOM))
}

fn unlinked(folder: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let append = OFlag::O_APPEND.bits();
    let file = options.custom_flags(OFlag::O_TMPFILE.bits() | append).open(folder);
    if file.is_ok() {
        return file;
    }
    // A file system that has no files without a name.
    let named = folder.join(format!(".cl-spawn-{}", std::process::id()));
    let file = options.create_new(true).custom_flags(append).open(&named)?;
    std::fs::remove_file(&named)?;
    Ok(file)
}

/// Bytes that may still be written where this file lies; `None` where there is no bound.
fn free(file: &File) -> Option<u64> {
    let stat = fstatvfs(file).ok()?;
    let blocks = if nix::unistd::geteuid().is_root() {
        stat.blocks_free()
    } else {
        stat.blocks_available()
    };
    (stat.blocks() > 0).then(|| blocks.saturating_mul(stat.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn followed() -> (Followed, File) {
        let (followed, worker) = Followed::create(&mut Growth::new()).unwrap();
        (followed, File::from(worker))
    }

    fn take_all(followed: &mut Followed) -> Vec<u8> {
        let (mut all, mut space) = (Vec::new(), [0; 5000]);
        loop {
            match followed.take(&mut space).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&space[..count]),
            }
        }
    }

    #[test]
    fn what_was_passed_on_takes_no_space() {
        use std::os::unix::fs::MetadataExt;
        let (mut followed, mut worker) = followed();
        let block = vec![7u8; 1 << 20];
        for _ in 0..8 {
            worker.write_all(&block).unwrap();
            assert_eq!(take_all(&mut followed).len(), block.len());
        }
        let meta = followed.file.metadata().unwrap();
        assert_eq!(meta.len(), 8 << 20);
        assert!(meta.blocks() * 512 <= 3 << 20, "{} blocks are held", meta.blocks());
    }

    #[test]
    fn a_file_that_was_cut_goes_on_and_says_so() {
        let (mut followed, mut worker) = followed();
        worker.write_all(b"before").unwrap();
        assert_eq!(take_all(&mut followed), b"before");
        worker.set_len(0).unwrap();
        worker.write_all(b"new").unwrap();
        assert_eq!(take_all(&mut followed), b"new");
        assert!(followed.harm().is_some());
        assert_eq!(take_all(&mut followed), b"");
    }

    #[test]
    fn without_a_teller_there_is_a_clock() {
        assert!(Growth(None).look().is_some());
        assert!(Growth::new().look().is_none());
        let (mut followed, worker) = Followed::create(&mut Growth(None)).unwrap();
        File::from(worker).write_all(b"x").unwrap();
        assert_eq!(take_all(&mut followed), b"x");
    }
}
