//! Following sources: files that grow, names that come to mean something new, folders that fill.

use super::{Id, Sources, Todo};
use crate::line::Name;
use crate::source::folder::{self, Entry};
use crate::source::input::Input;
use crate::source::place::{self, Place};
use crate::source::watch::Change;
use std::io;
use std::path::{Path, PathBuf};

impl Sources {
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
                    if let Some(&id) = self.paths.get(&path) {
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
        let Ok(fresh) = Input::open(path) else {
            // A FIFO whose name is gone can have no further writer; a file may be made anew.
            if self.list[id].input.as_ref().is_some_and(|input| input.fifo) {
                self.leave(id);
            }
            return false;
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

/// The path as the watch on its folder will tell it.
pub(super) fn key(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => Path::new(".").join(name),
        _ => path.to_owned(),
    }
}
