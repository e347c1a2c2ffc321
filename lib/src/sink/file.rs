//! A file as a sink: it never refuses bytes for long, so it is written straight from the window.

use super::lines::Lines;
use super::{Rotation, Syncer, Window};
use nix::fcntl::OFlag;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that takes the stream.
#[derive(Debug)]
pub struct FileSink {
    file: Arc<File>,
    at: u64,
    /// When others write to it as well: only whole lines are written, each in one call, up to this length.
    whole: Option<u64>,
    /// Up to where no line was seen to end.
    scanned: u64,
    lines: Lines,
    rotation: Option<Rotating>,
}

#[derive(Debug)]
struct Rotating {
    rotation: Rotation,
    path: PathBuf,
    folder: File,
    name: OsString,
    size: u64,
}

impl FileSink {
    /// A file that is open already. When others may write to it, lines up to `whole` bytes stay whole.
    pub fn new(file: File, whole: Option<u64>) -> Self {
        Self {
            file: Arc::new(file),
            at: 0,
            whole,
            scanned: 0,
            lines: Lines::default(),
            rotation: None,
        }
    }

    /// The same file, rotated; `path` is what it was opened by.
    ///
    /// # Errors
    /// When its folder cannot be opened.
    pub fn rotated(mut self, rotation: Rotation, path: &Path) -> io::Result<Self> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = File::options()
            .read(true)
            .custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits())
            .open(parent.unwrap_or(Path::new(".")))?;
        self.rotation = Some(Rotating {
            rotation,
            path: path.to_owned(),
            folder,
            name: path.file_name().unwrap_or_default().to_owned(),
            size: self.file.metadata()?.len(),
        });
        Ok(self)
    }

    /// From which offset on the window is needed.
    pub fn needs(&self) -> u64 {
        self.at
    }

    /// Writes what has come; `last` when nothing follows.
    ///
    /// # Errors
    /// As the disk says.
    pub fn take(&mut self, window: &Window, last: bool, name: &str, syncer: Option<&Syncer>) -> io::Result<()> {
        let bytes = window.since(self.at);
        let bytes = &bytes[..self.due(window, last)];
        if self.rotation.is_none() && syncer.is_none() {
            return self.write(bytes);
        }
        let (mut rest, mut run, mut exits) = (bytes, 0, false);
        while let Some(stretch) = self.lines.next(&mut rest, last) {
            let before = bytes.len() - rest.len() - stretch.bytes.len();
            if let Some(rotating) = &self.rotation
                && stretch.begins
                && rotating
                    .rotation
                    .due(rotating.size + (before - run) as u64, stretch.bytes.len())
            {
                self.write(&bytes[run..before])?;
                run = before;
                self.rotate(name, syncer)?;
            }
            exits |= syncer.is_some() && stretch.is_exit();
        }
        self.write(&bytes[run..bytes.len() - rest.len()])?;
        if let Some(syncer) = syncer
            && (exits || last)
        {
            syncer.sync(name, &self.file);
        }
        Ok(())
    }

    /// How much of what has come is to be written now.
    fn due(&mut self, window: &Window, last: bool) -> usize {
        let waiting = window.head() - self.at;
        let Some(most) = self.whole.filter(|_| !last) else {
            return waiting as usize;
        };
        let from = self.scanned.max(self.at);
        self.scanned = window.head();
        match memchr::memrchr(b'\n', window.since(from)) {
            Some(feed) => (from - self.at) as usize + feed + 1,
            None if waiting > most => waiting as usize,
            None => 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        self.at += bytes.len() as u64;
        if let Some(rotating) = &mut self.rotation {
            rotating.size += bytes.len() as u64;
        }
        Ok(())
    }

    fn rotate(&mut self, name: &str, syncer: Option<&Syncer>) -> io::Result<()> {
        let Some(rotating) = &mut self.rotation else {
            return Ok(());
        };
        if let Some(syncer) = syncer {
            syncer.sync(name, &self.file);
        }
        rotating.rotation.shift(rotating.folder.as_fd(), &rotating.name)?;
        self.file = Arc::new(
            File::options()
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&rotating.path)?,
        );
        rotating.size = 0;
        Ok(())
    }
}
