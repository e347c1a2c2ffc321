//! What a stream needs before it can start: its locks, in the order that all plans take them in, and its worktree.

use crate::worktree::{Tree, hold};
use harmony::cli::reason;
use harmony::sink::Bell;
use harmony::sys::files::private_folder;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a stream needs.
#[derive(Debug, Default)]
pub struct Needs {
    /// The files of its locks, in the order in which they are taken.
    locks: Vec<PathBuf>,
    tree: Option<Tree>,
}

/// What a stream has before it starts.
#[derive(Debug, Default)]
pub struct Held {
    /// Its locks, which are held as long as it runs.
    pub locks: Vec<OwnedFd>,
    /// The folder of its worktree.
    pub tree: Option<PathBuf>,
}

/// What a stream has; or why it cannot run.
pub type Ready = Result<Held, String>;

/// Those who wait for what they need, each in a thread: nobody can be told when a lock is free.
pub struct Waiting {
    sender: Sender<(usize, Ready)>,
    ready: Receiver<(usize, Ready)>,
    news: Bell,
    /// Whether nothing starts any more.
    over: Arc<AtomicBool>,
    /// How many are at something that is better not cut short.
    busy: Arc<AtomicUsize>,
}

impl Needs {
    /// What a stream with these locks and this worktree needs. `folder` is where the locks of all plans lie.
    ///
    /// # Errors
    /// In a few words, what keeps it from being told.
    pub fn new(folder: Option<&Path>, names: &[String], tree: Option<Tree>) -> Result<Self, String> {
        let mut locks = Vec::with_capacity(names.len() + 1);
        if !names.is_empty() {
            let folder = folder.ok_or("locks lie in $XDG_STATE_HOME or $HOME: set one of them")?;
            private_folder(folder).map_err(|error| format!("{}: {}", folder.display(), reason(&error)))?;
            let mut names: Vec<&String> = names.iter().collect();
            names.sort();
            locks.extend(names.into_iter().map(|name| folder.join(name)));
        }
        // After those with names, and only one: so nobody waits for another one in a circle.
        locks.extend(tree.as_ref().map(Tree::lock).transpose()?);
        Ok(Self { locks, tree })
    }

    /// Takes what is free; `None` where something must be waited for.
    pub fn at_once(&self) -> Option<Ready> {
        if self.tree.is_some() {
            return None;
        }
        let mut held = Held::default();
        for path in &self.locks {
            match hold(path, false) {
                Ok(lock) => held.locks.push(lock),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(Err(format!("{}: {}", path.display(), reason(&error)))),
            }
        }
        Some(Ok(held))
    }
}

impl Waiting {
    /// Nobody waits.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let (sender, ready) = channel();
        Ok(Self {
            sender,
            ready,
            news: Bell::new()?,
            over: Arc::default(),
            busy: Arc::default(),
        })
    }

    /// What is readable when somebody need not wait any more.
    pub fn news(&self) -> &Bell {
        &self.news
    }

    /// Waits for what a stream needs, elsewhere.
    pub fn wait(&self, at: usize, needs: Needs) {
        let (sender, news) = (self.sender.clone(), self.news.clone());
        let (over, busy) = (self.over.clone(), self.busy.clone());
        let begun = std::thread::Builder::new().name("locks".to_owned()).spawn(move || {
            let ready = get(needs, &over, &busy);
            let _ = sender.send((at, ready));
            news.ring();
        });
        if let Err(error) = begun {
            let _ = self.sender.send((at, Err(reason(&error))));
            self.news.ring();
        }
    }

    /// Who need not wait any more.
    pub fn ready(&self) -> Option<(usize, Ready)> {
        self.news.hush();
        self.ready.try_recv().ok()
    }

    /// Nothing starts any more: who waits for a lock waits in vain.
    pub fn over(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Whether anybody is at something that is better not cut short.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }
}

fn get(needs: Needs, over: &AtomicBool, busy: &AtomicUsize) -> Ready {
    let mut locks = Vec::with_capacity(needs.locks.len());
    for path in &needs.locks {
        locks.push(hold(path, true).map_err(|error| format!("{}: {}", path.display(), reason(&error)))?);
    }
    busy.fetch_add(1, Ordering::SeqCst);
    let made = match &needs.tree {
        Some(tree) if !over.load(Ordering::SeqCst) => tree.make(),
        _ => Ok(()),
    };
    busy.fetch_sub(1, Ordering::SeqCst);
    let tree = needs.tree.map(|tree| tree.path);
    made.map(|()| Held { locks, tree })
}
