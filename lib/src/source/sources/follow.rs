//! Following sources: files that grow, names that come to mean something new, folders that fill.

use super::{Id, Sources, Todo};
use crate::line::Name;
use crate::source::folder::{self, Entry};
use crate::source::input::Input;
use crate::source::place::{self, Place};
use crate::source::watch::Change;
use std::io;
use std::path::{Path, PathBuf};

/// A source that is not there yet.
#[derive(Debug)]
pub(super) struct Awaited {
    /// The name for its lines that have none, and the one that the user gave.
    pub name: Name,
    pub given: Option<Name>,
    /// What to call it.
    pub shown: String,
}

impl Sources {
    /// Opens what a user named; what is not there is waited for, where files are followed and its folder is there.
    pub(super) fn open_or_await(&mut self, path: &Path, source: Awaited) {
        let mut input = Input::open(path);
        if is_missing(&input) && self.watch_place(path) {
            // It may have come before the watch was set up.
            input = Input::open(path);
            if is_missing(&input) {
                self.todo.push_back(Todo::Awaited(source.shown.clone()));
                self.awaited.insert(key(path), source);
                return;
            }
        }
        self.open(Some(path), source.name, source.shown, true, input);
    }

    /// Watches for a path to appear; false where that cannot be.
    fn watch_place(&mut self, path: &Path) -> bool {
        // A link whose target is missing appears under another name.
        let dangling = path.symlink_metadata().is_ok();
        let path = key(path);
        match (&mut self.watch, path.parent()) {
            (Some(watch), Some(folder)) if !dangling => watch.folder(folder).is_ok(),
            _ => false,
        }
    }

    /// Something is there under a name that is waited for.
    fn arrive(&mut self, path: PathBuf, source: Awaited) {
        if path.is_dir() {
            self.add_folder(&path, source.given);
            return;
        }
        let input = Input::open(&path);
        if is_missing(&input) {
            self.awaited.insert(path, source);
        } else {
            self.open(Some(&path), source.name, source.shown, true, input);
        }
    }

    pub(super) fn watch_file(&mut self, id: Id) {
        let Some(watch) = &mut self.watch else { return };
        let source = &self.list[id];
        let Some(input) = &source.input else { return };
        let mut watched = Ok(());
        if input.regular {
            watched = watch.file(&input.own_path(), id);
        }
        if let Some(folder) = source.path.as_deref().and_then(Path::parent) {
            watched = watched.and(watch.folder(folder));
        }
        if let Err(error) = watched {
            self.todo.push_back(Todo::Failed(source.shown.clone(), error));
        }
    }

    pub(super) fn add_folder(&mut self, path: &Path, outer: Option<Name>) {
        if let Some(watch) = &mut self.watch {
            if let Err(error) = watch.folder(path) {
                self.todo
                    .push_back(Todo::Failed(Place::Path(path.to_owned()).to_string(), error));
                return;
            }
            self.folders.insert(path.to_owned(), outer.clone());
        }
        self.scan(path, outer.as_ref());
    }

    fn scan(&mut self, path: &Path, outer: Option<&Name>) {
        match folder::list(path) {
            Ok(entries) => {
                for (path, kind) in entries {
                    self.add_entry(&path, kind, outer);
                }
            }
            Err(error) => self.todo.push_back(Todo::Failed(path.display().to_string(), error)),
        }
    }

    fn add_entry(&mut self, path: &Path, kind: Entry, outer: Option<&Name>) {
        let name = folder::nested(outer, &place::stem(path));
        match kind {
            Entry::Folder if !self.folders.contains_key(path) => self.add_folder(path, Some(name)),
            Entry::Source if self.spares_fifos && !path.is_file() => {}
            Entry::Source if !self.paths.contains_key(path) => {
                let name = place::free(name, |name| self.taken.contains(name));
                self.taken.insert(name.clone());
                let input = Input::open(path);
                self.open(Some(path), name, path.display().to_string(), false, input);
            }
            _ => {}
        }
    }

    /// Takes what the watches tell.
    pub(super) fn hear(&mut self) -> io::Result<()> {
        let changes = match &mut self.watch {
            Some(watch) => watch.changes()?,
            None => return Ok(()),
        };
        for change in changes {
            match change {
                Change::Grown(id) => self.again(id),
                Change::Named(path) => {
                    if let Some(source) = self.awaited.remove(&path) {
                        self.arrive(path, source);
                    } else if let Some(&id) = self.paths.get(&path) {
                        self.list[id].replaced = true;
                        self.again(id);
                    } else if let Some(outer) = path.parent().and_then(|folder| self.folders.get(folder)).cloned()
                        && let Some(kind) = folder::entry(&path)
                    {
                        self.add_entry(&path, kind, outer.as_ref());
                    }
                }
                Change::Everything => {
                    for id in 0..self.list.len() {
                        self.list[id].replaced = true;
                        self.again(id);
                    }
                    for (path, source) in std::mem::take(&mut self.awaited) {
                        self.arrive(path, source);
                    }
                    for (path, outer) in self.folders.clone() {
                        self.scan(&path, outer.as_ref());
                    }
                }
            }
        }
        Ok(())
    }

    /// Has a followed regular file read on.
    fn again(&mut self, id: Id) {
        let regular = self.list[id].input.as_ref().is_some_and(|input| input.regular);
        if regular && !self.files.contains(&id) {
            self.files.push_back(id);
        }
    }

    /// No byte is left in a source for now, or for ever. True when it has been set up to be read on at once.
    pub(super) fn at_end(&mut self, id: Id) -> bool {
        let source = &mut self.list[id];
        let Some(input) = source.input.as_mut() else {
            return false;
        };
        let path = source.path.clone();
        if self.watch.is_none() {
            self.leave(id);
        } else if input.regular {
            let shrunk = match (input.state(), input.position()) {
                (Ok((_, _, length)), Ok(position)) => length < position,
                _ => false,
            };
            if shrunk && input.rewind().is_ok() {
                self.tail(id);
                return true;
            }
            if std::mem::take(&mut source.replaced)
                && let Some(path) = path
            {
                return self.reopen(id, &path);
            }
        } else if input.fifo
            && let Some(path) = path
        {
            // The next writer is a new beginning: a descriptor opened afresh has not hung up. The old one is closed
            // after that, so that what a writer has put in meanwhile stays.
            return self.reopen(id, &path);
        } else {
            self.leave(id);
        }
        false
    }

    /// Opens what a path means now in place of what it meant; false when it means nothing else.
    fn reopen(&mut self, id: Id, path: &Path) -> bool {
        let fresh = match Input::open(path) {
            Ok(fresh) => fresh,
            Err(error) => {
                // A FIFO whose name is gone can have no further writer; a file may be made anew.
                if error.kind() != io::ErrorKind::NotFound {
                    let shown = self.list[id].shown.clone();
                    self.todo.push_back(Todo::Failed(shown, error));
                }
                if self.list[id].input.as_ref().is_some_and(|input| input.fifo) {
                    self.leave(id);
                }
                return false;
            }
        };
        let same = match (self.list[id].input.as_ref().map(Input::state), fresh.state()) {
            (Some(Ok(old)), Ok(new)) => (old.0, old.1) == (new.0, new.1),
            _ => false,
        };
        if same && fresh.regular {
            return false;
        }
        self.tail(id);
        match self.enlist(id, &fresh) {
            Ok(waits) => {
                self.close(id);
                self.list[id].regular = fresh.regular;
                self.list[id].input = Some(fresh);
                self.watch_file(id);
                if !waits && !self.files.contains(&id) {
                    self.files.push_back(id);
                }
                true
            }
            Err(error) => {
                let shown = self.list[id].shown.clone();
                self.todo.push_back(Todo::Failed(shown, error));
                self.leave(id);
                false
            }
        }
    }
}

fn is_missing(input: &io::Result<Input>) -> bool {
    input
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The path as the watch on its folder will tell it.
pub(super) fn key(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => Path::new(".").join(name),
        _ => path.to_owned(),
    }
}
