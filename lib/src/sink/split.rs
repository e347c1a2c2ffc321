//! A run folder as a sink: each line goes to its stream's file, however many streams there are.
//!
//! A line is told by its header when it begins, and then passes as it comes. What one read brought for a stream is
//! written at once. Files are closed and opened again as the limit of descriptors asks.

use super::folder::Folder;
use super::lines::{Lines, Stretch};
use super::{Rotation, Syncer, Window};
use crate::line;
use nix::sys::resource::{Resource, getrlimit};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

/// Where lines without a header go.
pub const NO_STREAM: &str = "_";

/// How a run folder is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct SplitOptions {
    /// Go on behind what is in the files.
    pub append: bool,
    /// Begin new files at this size.
    pub rotation: Option<Rotation>,
}

/// A file for each stream.
#[derive(Debug)]
pub struct Split {
    folder: Folder,
    options: SplitOptions,
    lines: Lines,
    at: u64,
    names: HashMap<Box<str>, usize>,
    streams: Vec<Stream>,
    /// The stream of the line that is passing.
    current: usize,
    /// Streams that the present block has something for.
    touched: Vec<usize>,
    /// Streams whose file is open, and how many may be.
    open: Vec<usize>,
    most: usize,
    clock: u64,
}

#[derive(Debug, Default)]
struct Stream {
    name: Box<str>,
    file: Option<Arc<File>>,
    size: u64,
    /// When the file was last written.
    used: u64,
    /// Whether this run has opened the file before.
    begun: bool,
    /// Whether it failed: then it gets nothing more.
    dead: bool,
    /// Whether an `exit` is due, after which the file is brought to the disk.
    exits: bool,
    /// Whether something was written that has not been brought to the disk.
    unsynced: bool,
    /// What the present block has for it, as parts of the block.
    due: Vec<std::ops::Range<usize>>,
}

/// The kernel takes no more pieces in one call.
const PIECES: usize = 1024;

/// A stream that failed, and why.
pub type Failed = (String, io::Error);

impl Split {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub fn open(path: &Path, options: SplitOptions) -> io::Result<Self> {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(256, |(soft, _)| soft);
        Ok(Self {
            folder: Folder::open(path)?,
            options,
            lines: Lines::default(),
            at: 0,
            names: HashMap::new(),
            streams: Vec::new(),
            current: 0,
            touched: Vec::new(),
            open: Vec::new(),
            // The other half is for the sinks, and for whatever was handed down.
            most: (limit / 2).clamp(4, 1024) as usize,
            clock: 0,
        })
    }

    /// From which offset on the window is needed.
    pub fn needs(&self) -> u64 {
        self.at
    }

    /// Writes what has come; `last` when nothing follows. Streams that fail are told, and the others go on.
    pub fn take(&mut self, window: &Window, last: bool, syncer: Option<&Syncer>, failed: &mut Vec<Failed>) {
        let block = window.since(self.at);
        let mut rest = block;
        while let Some(stretch) = self.lines.next(&mut rest, last) {
            let from = block.len() - rest.len() - stretch.bytes.len();
            if stretch.begins {
                self.current = self.stream_of(&stretch);
                self.rotate_if_due(block, &stretch, syncer, failed);
                self.streams[self.current].exits |= syncer.is_some() && stretch.is_exit();
            }
            let stream = &mut self.streams[self.current];
            match stream.due.last_mut() {
                Some(due) if due.end == from => due.end += stretch.bytes.len(),
                _ => {
                    if stream.due.is_empty() {
                        self.touched.push(self.current);
                    }
                    stream.due.push(from..from + stretch.bytes.len());
                }
            }
        }
        self.at += (block.len() - rest.len()) as u64;
        for id in std::mem::take(&mut self.touched) {
            self.flush(id, block, syncer, failed);
        }
        if last && let Some(syncer) = syncer {
            self.sync_all(syncer, failed);
        }
    }

    fn sync_all(&mut self, syncer: &Syncer, failed: &mut Vec<Failed>) {
        for id in 0..self.streams.len() {
            if self.streams[id].unsynced && !self.streams[id].dead {
                match self.file(id, Some(syncer)) {
                    Ok(file) => syncer.sync(&self.streams[id].name, &file),
                    Err(error) => self.fail(id, error, failed),
                }
            }
        }
    }

    fn stream_of(&mut self, stretch: &Stretch<'_>) -> usize {
        let name = line::header(stretch.bytes).map_or(NO_STREAM, |header| header.stream);
        // Most lines follow one of their own stream.
        if self
            .streams
            .get(self.current)
            .is_some_and(|stream| *stream.name == *name)
        {
            return self.current;
        }
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let id = self.streams.len();
        self.names.insert(name.into(), id);
        self.streams.push(Stream {
            name: name.into(),
            ..Stream::default()
        });
        id
    }

    /// Writes what the block has for a stream.
    fn flush(&mut self, id: usize, block: &[u8], syncer: Option<&Syncer>, failed: &mut Vec<Failed>) {
        let due = std::mem::take(&mut self.streams[id].due);
        if !self.streams[id].dead
            && !due.is_empty()
            && let Err(error) = self.write(id, block, &due, syncer)
        {
            self.fail(id, error, failed);
        }
        // The list is kept for the next block.
        self.streams[id].due = due;
        self.streams[id].due.clear();
    }

    fn write(
        &mut self,
        id: usize,
        block: &[u8],
        due: &[std::ops::Range<usize>],
        syncer: Option<&Syncer>,
    ) -> io::Result<()> {
        let file = self.file(id, syncer)?;
        let mut slices = Vec::with_capacity(due.len().min(PIECES));
        for due in due.chunks(PIECES) {
            slices.clear();
            slices.extend(due.iter().map(|range| IoSlice::new(&block[range.clone()])));
            write_all(&file, &mut slices)?;
        }
        let stream = &mut self.streams[id];
        stream.size += due.iter().map(|range| range.len() as u64).sum::<u64>();
        stream.unsynced = true;
        if std::mem::take(&mut stream.exits)
            && let Some(syncer) = syncer
        {
            stream.unsynced = false;
            syncer.sync(&stream.name, &file);
        }
        Ok(())
    }

    fn fail(&mut self, id: usize, error: io::Error, failed: &mut Vec<Failed>) {
        let stream = &mut self.streams[id];
        stream.dead = true;
        stream.file = None;
        self.open.retain(|&open| open != id);
        failed.push((format!("{}.ndjson", stream.name), error));
    }

    /// The stream's file, open.
    fn file(&mut self, id: usize, syncer: Option<&Syncer>) -> io::Result<Arc<File>> {
        self.clock += 1;
        self.streams[id].used = self.clock;
        if let Some(file) = &self.streams[id].file {
            return Ok(file.clone());
        }
        while self.open.len() >= self.most {
            self.close_one();
        }
        let mut settled = false;
        let file = loop {
            match self.open_file(id) {
                // Once nothing is open but what waits for the disk, there is one more try.
                Err(error) if is_shortage(&error) && (self.give_back(syncer) || !settled) => {
                    settled = self.open.is_empty();
                }
                opened => break Arc::new(opened?),
            }
        };
        let stream = &mut self.streams[id];
        stream.size = file.metadata()?.len();
        stream.begun = true;
        stream.file = Some(file.clone());
        self.open.push(id);
        Ok(file)
    }

    fn open_file(&self, id: usize) -> io::Result<File> {
        let stream = &self.streams[id];
        let fresh = !self.options.append && !stream.begun;
        self.folder.place(&stream.name)?.open(fresh)
    }

    /// Makes room when there is no descriptor left; says whether there was anything to close.
    fn give_back(&mut self, syncer: Option<&Syncer>) -> bool {
        let some = !self.open.is_empty();
        self.most = self.open.len().saturating_sub(1).max(1);
        self.close_one();
        if let Some(syncer) = syncer {
            syncer.settle();
        }
        some
    }

    /// Closes the file that was not written for the longest time.
    fn close_one(&mut self) {
        let oldest = (0..self.open.len()).min_by_key(|&at| self.streams[self.open[at]].used);
        if let Some(at) = oldest {
            let id = self.open.swap_remove(at);
            self.streams[id].file = None;
        }
    }

    fn rotate_if_due(
        &mut self,
        block: &[u8],
        stretch: &Stretch<'_>,
        syncer: Option<&Syncer>,
        failed: &mut Vec<Failed>,
    ) {
        let Some(rotation) = self.options.rotation else {
            return;
        };
        let id = self.current;
        if self.streams[id].dead {
            return;
        }
        if !self.streams[id].begun {
            // How much an earlier run left in the file is only known when it is open.
            if let Err(error) = self.file(id, syncer) {
                return self.fail(id, error, failed);
            }
        }
        let waiting: usize = self.streams[id].due.iter().map(ExactSizeIterator::len).sum();
        if !rotation.due(self.streams[id].size + waiting as u64, stretch.bytes.len()) {
            return;
        }
        self.flush(id, block, syncer, failed);
        self.touched.retain(|&touched| touched != id);
        let shifted = self
            .folder
            .place(&self.streams[id].name)
            .and_then(|place| rotation.shift(place.folder.as_fd(), &place.name));
        if let Err(error) = shifted {
            return self.fail(id, error, failed);
        }
        self.open.retain(|&open| open != id);
        let stream = &mut self.streams[id];
        stream.size = 0;
        stream.unsynced = false;
        if let (Some(file), Some(syncer)) = (stream.file.take(), syncer) {
            syncer.sync(&stream.name, &file);
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut slices, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
