//! A queue on disk: a file without a name that gives back the room of what has been read.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that wait on disk.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    cap: u64,
    /// From where the next read is.
    read: u64,
    /// Where the next write goes.
    written: u64,
    /// Up to where the file takes no room any more.
    punched: u64,
    /// Whether the file system can give back room in the middle of a file.
    punches: bool,
}

const BLOCK: u64 = 4096;
const STRETCH: u64 = 64 << 10;

impl Spill {
    /// An empty queue in `$TMPDIR` that takes at most `cap` bytes of disk.
    ///
    /// # Errors
    /// When no file can be made there.
    pub(super) fn new(cap: u64) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile()?,
            cap,
            read: 0,
            written: 0,
            punched: 0,
            punches: true,
        })
    }

    /// How much disk is taken.
    pub(super) fn used(&self) -> u64 {
        self.written - self.punched
    }

    /// How many of so many bytes are best appended now: the page cache takes whole stretches of a file for less than such
    /// as begin or end in between.
    pub(super) fn stretch(&self, length: usize) -> usize {
        let end = (self.written + length as u64) / STRETCH * STRETCH;
        match end.saturating_sub(self.written) {
            0 => length,
            whole => whole as usize,
        }
    }

    /// Appends bytes: all of them, or as many as there is room for; then also why, `None` being the cap.
    pub(super) fn append(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let room = usize::try_from(self.cap.saturating_sub(self.used())).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        let mut done = 0;
        while done < bytes.len() {
            match self.file.write_at(&bytes[done..], self.written) {
                Ok(0) => return (done, Some(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    done += count;
                    self.written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    /// Takes back the last bytes appended.
    pub(super) fn retract(&mut self, count: usize) {
        self.written -= count as u64;
    }

    /// Reads the next bytes.
    ///
    /// # Errors
    /// As the disk says.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, self.read)?;
        self.read += bytes.len() as u64;
        if self.read == self.written {
            self.file.set_len(0)?;
            (self.read, self.written, self.punched) = (0, 0, 0);
        } else if self.punches && self.read - self.punched >= (self.cap / 8).clamp(BLOCK, 1 << 20) {
            self.punch();
        }
        Ok(())
    }

    fn punch(&mut self) {
        let until = self.read / BLOCK * BLOCK;
        if until <= self.punched {
            return;
        }
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(&self.file, flags, self.punched as i64, (until - self.punched) as i64) {
            Ok(()) => self.punched = until,
            Err(Errno::EINTR) => {}
            // What cannot be given back now is when the queue is empty.
            Err(_) => self.punches = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn gives_back_what_was_read() {
        let mut spill = Spill::new(1 << 20).unwrap();
        let block = vec![7; 64 << 10];
        let mut back = vec![0; 64 << 10];
        // Four times the cap passes through it, with half of it always waiting.
        for _ in 0..8 {
            assert_eq!(spill.append(&block).0, block.len());
        }
        for _ in 0..56 {
            assert_eq!(spill.append(&block).0, block.len());
            spill.read(&mut back).unwrap();
            assert_eq!(back, block);
            assert!(spill.used() <= 1 << 20);
        }
        if spill.punches {
            assert!(spill.file.metadata().unwrap().blocks() * 512 <= 1 << 20);
        }
        for _ in 0..8 {
            spill.read(&mut back).unwrap();
        }
        assert_eq!((spill.used(), spill.file.metadata().unwrap().len()), (0, 0));
    }

    #[test]
    fn the_cap_and_a_full_disk() {
        let mut spill = Spill::new(10).unwrap();
        assert!(matches!(spill.append(b"0123456"), (7, None)));
        assert!(matches!(spill.append(b"789ab"), (3, None)));
        spill.retract(2);
        let mut back = [0; 8];
        spill.read(&mut back).unwrap();
        assert_eq!(&back, b"01234567");

        spill.file = File::options().write(true).open("/dev/full").unwrap();
        let (count, why) = spill.append(b"x");
        assert_eq!(
            (count, why.and_then(|e| e.raw_os_error())),
            (0, Some(Errno::ENOSPC as i32))
        );
    }
}
