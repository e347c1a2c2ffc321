//! All sources in one epoll loop: blocks of whole lines as they come.

mod follow;
mod read;

use super::input::Input;
use super::place::{self, Named, Place};
use super::watch::Watch;
use crate::line::Name;
use follow::{Awaited, key};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use read::Read;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A source, by its place in the order of appearance.
pub type Id = usize;

/// How much is read at once.
const BLOCK: usize = 256 << 10;
/// What a pipe usually holds: one that was full has a writer that waits for us.
const FULL: usize = 64 << 10;
/// So many of those get more room; each user has a share of such memory, and a thousand pipes would use it up.
const WIDENED: usize = 16;
/// Half a line longer than this is not copied to the front of each block, but collected.
const SHORT: usize = 32 << 10;
/// What is told by epoll for those who are no sources.
const WATCH: u64 = u64::MAX;
const OTHER: u64 = 1 << 63;

/// What a look at the sources gave.
#[derive(Debug)]
pub enum Step<'a> {
    /// A source is open.
    Joined(Id),
    /// Whole lines of a source, each with its line feed.
    Lines(Id, &'a [u8]),
    /// A piece of a line that is longer than the cap.
    Piece {
        /// Of which source.
        id: Id,
        /// The piece, without line feed.
        bytes: &'a [u8],
        /// Whether the line ends with it.
        last: bool,
        /// Whether a line feed followed.
        eol: bool,
    },
    /// The last bytes of a source, or of one of its writers, that no line feed followed.
    Tail(Id, &'a [u8]),
    /// A source has ended.
    Left(Id),
    /// Something could not be opened or read.
    Failed(String, io::Error),
    /// What is to be followed is not there yet, and will be read once it is.
    Awaited(String),
    /// A foreign descriptor has something to tell.
    Other(u64),
    /// All that was there has been read; the next step may take long.
    Quiet,
    /// The time to wait is over.
    Late,
    /// No source is left.
    Ended,
}

/// One source.
#[derive(Debug)]
pub struct Source {
    /// The name for its lines that have none.
    pub name: Name,
    /// What to call it in messages and events.
    pub shown: String,
    /// Whether the user named it, rather than a folder that holds it.
    pub named: bool,
    /// Whether it is a regular file.
    pub regular: bool,
    /// Whether it was left before its end, by [`Sources::finish`].
    pub cut: bool,
    path: Option<PathBuf>,
    input: Option<Input>,
    /// What was read of a line that has not ended.
    carry: Vec<u8>,
    /// Whether the carried bytes belong to a line of which a piece has been given out.
    over_long: bool,
    paused: bool,
    /// Whether it was given more room.
    widened: bool,
    /// Whether the name means another file by now.
    replaced: bool,
}

impl Source {
    /// Whether more may come.
    pub fn is_open(&self) -> bool {
        self.input.is_some()
    }

    /// How long the file is now, in bytes; 0 of what is no regular file.
    pub fn length(&self) -> u64 {
        let input = self.input.as_ref().filter(|input| input.regular);
        let state = input.and_then(|input| input.state().ok());
        state.map_or(0, |(_, _, length)| length)
    }
}

/// Something to tell that needs no look at a descriptor.
#[derive(Debug)]
enum Todo {
    Joined(Id),
    /// Whole lines in the carry.
    Carried(Id),
    Tail(Id),
    Left(Id),
    Failed(String, io::Error),
    Awaited(String),
    Other(u64),
}

/// Where the bytes of a step lie.
enum Told {
    Block(Id, Range<usize>),
    Long(Id),
    Piece(Id, bool, bool),
    Todo(Todo),
    Quiet,
    Late,
    Ended,
}

/// All sources of a reader.
#[derive(Debug)]
pub struct Sources {
    list: Vec<Source>,
    epoll: Epoll,
    watch: Option<Watch>,
    cap: usize,
    block: Vec<u8>,
    long: Vec<u8>,
    todo: VecDeque<Todo>,
    ready: VecDeque<(Id, bool)>,
    /// Regular files with something left to read: one after the other.
    files: VecDeque<Id>,
    events: Vec<EpollEvent>,
    open: usize,
    widened: usize,
    held: bool,
    spares_fifos: bool,
    quiet: bool,
    taken: HashSet<Name>,
    /// What each path that is followed is: a source, or a folder with the name before those of its entries.
    paths: HashMap<PathBuf, Id>,
    folders: HashMap<PathBuf, Option<Name>>,
    /// What is to be followed once it is there.
    awaited: HashMap<PathBuf, Awaited>,
}

impl Sources {
    /// No source yet. With `follow`, files are read on as they grow, FIFOs when their writers come back, and folders
    /// as they fill. A line longer than `cap` bytes comes in pieces.
    ///
    /// # Errors
    /// When the system gives no epoll or inotify descriptor.
    pub fn new(follow: bool, cap: usize) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let watch = if follow { Some(Watch::new()?) } else { None };
        if let Some(watch) = &watch {
            epoll.add(watch.fd(), EpollEvent::new(EpollFlags::EPOLLIN, WATCH))?;
        }
        Ok(Self {
            list: Vec::new(),
            epoll,
            watch,
            cap: cap.max(SHORT),
            block: vec![0; BLOCK],
            long: Vec::new(),
            todo: VecDeque::new(),
            ready: VecDeque::new(),
            files: VecDeque::new(),
            events: vec![EpollEvent::empty(); 256],
            open: 0,
            widened: 0,
            held: false,
            spares_fifos: false,
            quiet: false,
            taken: HashSet::new(),
            paths: HashMap::new(),
            folders: HashMap::new(),
            awaited: HashMap::new(),
        })
    }

    /// Opens all these. What cannot be opened is told as a step, and the others flow.
    ///
    /// # Errors
    /// The name that was given to two sources.
    pub fn add(&mut self, sources: &[Named]) -> Result<(), Name> {
        raise_descriptor_limit();
        let names = place::names(sources)?;
        // Before anything of our own is opened, so that no number can come to mean a descriptor of ours.
        let mut inherited: HashMap<usize, io::Result<Input>> = HashMap::new();
        for (i, source) in sources.iter().enumerate() {
            if let Place::Inherited(fd) = source.place {
                inherited.insert(i, Input::inherited(fd));
            }
        }
        let is_folder = |place: &Place| matches!(place, Place::Path(path) if path.is_dir());
        let plain = sources
            .iter()
            .zip(&names)
            .filter(|(source, _)| !is_folder(&source.place));
        self.taken.extend(plain.map(|(_, name)| name.clone()));
        // One number stays free: to look into a folder, or to open a FIFO anew for its next writer.
        let spare = self.epoll.0.try_clone();
        for (i, (source, name)) in sources.iter().zip(names).enumerate() {
            let shown = source.place.to_string();
            match (&source.place, inherited.remove(&i)) {
                (_, Some(input)) => self.open(None, name, shown, true, input),
                (Place::Path(path), None) if is_folder(&source.place) => self.add_folder(path, source.name.clone()),
                (Place::Path(path), None) => {
                    let given = source.name.clone();
                    self.open_or_await(path, Awaited { name, given, shown });
                }
                (Place::Inherited(_), None) => {}
            }
        }
        drop(spare);
        Ok(())
    }

    /// Watches a descriptor that is no source: [`Step::Other`] tells when it has one of the events (errors and
    /// hang-ups are always told). False when it is of a kind that cannot be watched, as a regular file.
    ///
    /// # Errors
    /// When the system refuses for another reason.
    pub fn watch_also(&mut self, fd: BorrowedFd<'_>, events: EpollFlags, token: u32) -> io::Result<bool> {
        match self.epoll.add(fd, EpollEvent::new(events, OTHER | u64::from(token))) {
            Ok(()) => Ok(true),
            Err(Errno::EPERM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on waiting for foreign descriptors when no source is left: [`Step::Ended`] is told no more.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Leaves the FIFOs in folders to their readers: whoever only looks must not take a line from anybody.
    pub fn spare_fifos(&mut self) {
        self.spares_fifos = true;
    }

    /// A source.
    pub fn get(&self, id: Id) -> &Source {
        &self.list[id]
    }

    /// Whether something is waited for that is not there yet.
    pub fn awaits(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// All sources there have been.
    pub fn all(&self) -> &[Source] {
        &self.list
    }

    /// Leaves a regular file unread for now, or goes on with it.
    pub fn pause(&mut self, id: Id, paused: bool) {
        self.list[id].paused = paused;
    }

    /// Reads no more: what is left to tell are tails and leavings.
    pub fn finish(&mut self) {
        self.ready.clear();
        self.files.clear();
        self.folders.clear();
        self.awaited.clear();
        for id in 0..self.list.len() {
            if self.list[id].input.is_some() {
                self.list[id].cut = true;
                self.leave(id);
            }
        }
    }

    /// What is next; waits for it, at most this long.
    ///
    /// # Errors
    /// When waiting fails, which it does not on a sound system.
    pub fn next(&mut self, wait: Option<Duration>) -> io::Result<Step<'_>> {
        let told = loop {
            if let Some(todo) = self.todo.pop_front() {
                match todo {
                    Todo::Carried(id) => {
                        self.take_carried(id);
                        break Told::Long(id);
                    }
                    todo => break Told::Todo(todo),
                }
            }
            if let Some((id, hung_up)) = self.ready.pop_front() {
                match self.read(id, hung_up) {
                    Read::Told(told) => break told,
                    Read::More | Read::Over => continue,
                }
            }
            let file = self.files.iter().position(|&id| !self.list[id].paused);
            if let Some(at) = file
                && let Some(told) = self.read_file(at)
            {
                break told;
            }
            if !self.todo.is_empty() {
                continue;
            }
            if self.open == 0 && self.folders.is_empty() && self.awaited.is_empty() && !self.held {
                break Told::Ended;
            }
            let timeout = if file.is_some() || !self.quiet {
                Some(Duration::ZERO)
            } else {
                wait
            };
            if self.wait(timeout)? {
                self.quiet = false;
            } else if file.is_none() {
                if self.quiet {
                    break Told::Late;
                }
                self.quiet = true;
                break Told::Quiet;
            }
        };
        Ok(match told {
            Told::Block(id, range) => Step::Lines(id, &self.block[range]),
            Told::Long(id) => Step::Lines(id, &self.long),
            Told::Piece(id, last, eol) => Step::Piece {
                id,
                bytes: &self.long,
                last,
                eol,
            },
            Told::Quiet => Step::Quiet,
            Told::Late => Step::Late,
            Told::Ended => Step::Ended,
            Told::Todo(Todo::Joined(id)) => Step::Joined(id),
            Told::Todo(Todo::Left(id)) => Step::Left(id),
            Told::Todo(Todo::Failed(what, error)) => Step::Failed(what, error),
            Told::Todo(Todo::Awaited(shown)) => Step::Awaited(shown),
            Told::Todo(Todo::Other(token)) => Step::Other(token),
            Told::Todo(Todo::Tail(id) | Todo::Carried(id)) => {
                let source = &mut self.list[id];
                self.long = std::mem::take(&mut source.carry);
                if std::mem::take(&mut source.over_long) {
                    Step::Piece {
                        id,
                        bytes: &self.long,
                        last: true,
                        eol: false,
                    }
                } else {
                    Step::Tail(id, &self.long)
                }
            }
        })
    }

    /// Asks the system what is ready; false when the time was over before anything was.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |time| {
            // Rounded up, so that whoever waits for a moment does not come round just before it.
            let millis = time.as_micros().div_ceil(1000).min(i32::MAX as u128);
            EpollTimeout::try_from(millis as i32).unwrap_or(EpollTimeout::MAX)
        });
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let mut changed = false;
        for event in &self.events[..count] {
            match event.data() {
                WATCH => changed = true,
                other if other & OTHER != 0 => self.todo.push_back(Todo::Other(other & !OTHER)),
                id => {
                    let hung_up = event.events().intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
                    self.ready.push_back((id as Id, hung_up));
                }
            }
        }
        if changed {
            self.hear()?;
        }
        Ok(count > 0)
    }

    fn open(&mut self, path: Option<&Path>, name: Name, shown: String, named: bool, input: io::Result<Input>) {
        let id = self.list.len();
        let opened = input.and_then(|input| {
            let waits = self.enlist(id, &input)?;
            Ok((input, waits))
        });
        let (input, waits) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.todo.push_back(Todo::Failed(shown, error));
                return;
            }
        };
        let path = path.map(key);
        self.list.push(Source {
            name,
            shown,
            named,
            regular: input.regular,
            cut: false,
            path: path.clone(),
            input: Some(input),
            carry: Vec::new(),
            over_long: false,
            paused: false,
            widened: false,
            replaced: false,
        });
        self.open += 1;
        self.todo.push_back(Todo::Joined(id));
        if let Some(path) = path
            && self.watch.is_some()
        {
            self.paths.insert(path, id);
        }
        // What is written from here on is heard of; what was before is read first.
        self.watch_file(id);
        if !waits {
            self.files.push_back(id);
        }
    }

    /// Puts an input into the epoll set; false when it is one that is always ready, and is read straight.
    fn enlist(&self, id: Id, input: &Input) -> io::Result<bool> {
        match self
            .epoll
            .add(input.fd(), EpollEvent::new(EpollFlags::EPOLLIN, id as u64))
        {
            Ok(()) => Ok(true),
            Err(Errno::EPERM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn tail(&mut self, id: Id) {
        let source = &self.list[id];
        if !source.carry.is_empty() || source.over_long {
            self.todo.push_back(Todo::Tail(id));
        }
    }

    fn close(&mut self, id: Id) {
        if let Some(input) = self.list[id].input.take() {
            // An inherited descriptor stays open elsewhere, so closing ours would not take it out of the set.
            let _ = self.epoll.delete(input.fd());
            if let Some(watch) = &mut self.watch {
                watch.forget(id);
            }
        }
    }

    fn leave(&mut self, id: Id) {
        if self.list[id].input.is_none() {
            return;
        }
        self.tail(id);
        self.close(id);
        self.open -= 1;
        self.todo.push_back(Todo::Left(id));
    }
}

/// A thousand sources need more descriptors than the usual soft limit, which is there for programs that use select.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
