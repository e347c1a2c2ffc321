//! Hearing of files that grow, names that come to mean another file, and entries that appear in folders.

use super::sources::Id;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A file that is read has more, or has become shorter.
    Grown(Id),
    /// A name in a folder now means something new.
    Named(PathBuf),
    /// Too much happened to be told one by one: look at everything again.
    Everything,
}

/// Watches on files and folders.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Inotify,
    files: HashMap<WatchDescriptor, Vec<Id>>,
    folders: HashMap<WatchDescriptor, Vec<PathBuf>>,
}

impl Watch {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?,
            files: HashMap::new(),
            folders: HashMap::new(),
        })
    }

    /// Watches one file for growth.
    pub fn file(&mut self, path: &Path, id: Id) -> io::Result<()> {
        let watch = self.inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        let ids = self.files.entry(watch).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
        Ok(())
    }

    /// Watches a folder for names that appear in it.
    pub fn folder(&mut self, path: &Path) -> io::Result<()> {
        let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        let watch = self.inotify.add_watch(path, events)?;
        let paths = self.folders.entry(watch).or_default();
        // The same folder may be known by several names.
        if !paths.iter().any(|known| known == path) {
            paths.push(path.to_owned());
        }
        Ok(())
    }

    /// Forgets a file that is read no more, or that another took the place of.
    pub fn forget(&mut self, id: Id) {
        let inotify = &self.inotify;
        self.files.retain(|watch, ids| {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                let _ = inotify.rm_watch(*watch);
            }
            !ids.is_empty()
        });
    }

    /// Takes what happened since.
    pub fn changes(&mut self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(nix::errno::Errno::EAGAIN) => return Ok(changes),
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    changes.push(Change::Everything);
                } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.folders.remove(&event.wd);
                    self.files.remove(&event.wd);
                } else if let Some(name) = &event.name
                    && let Some(paths) = self.folders.get(&event.wd)
                {
                    changes.extend(paths.iter().map(|path| Change::Named(path.join(name))));
                } else if let Some(ids) = self.files.get(&event.wd) {
                    changes.extend(ids.iter().map(|id| Change::Grown(*id)));
                }
            }
        }
    }

    /// The descriptor that tells when something happened.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
