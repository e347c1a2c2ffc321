//! A plan's run as whoever looks on sees it: its plan, its journal, and whether anything of it lives.
//!
//! Everything that a run has started holds a lock as long as it lives, and so does cl-run itself. Whoever asks for that
//! lock, to share it, gets it when all of them are gone; it is no hindrance to who resumes the run, for that one waits.

use super::folder::{HELD, JOURNAL, PLANS};
use crate::plan::{Act, Entry, Format, Graph, Journal, Plan, Stage, Status};
use crate::sink::Bell;
use crate::state::{State, Stream};
use crate::sys::fds::flock_shared;
use crate::view::clean;
use nix::fcntl::OFlag;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many bytes of a journal's beginning are known again: they hold the time at which it was begun.
const HEAD: usize = 128;

/// A plan's run, or a folder that may become that of one.
#[derive(Debug)]
pub struct Kept {
    folder: PathBuf,
    plan: Option<(Arc<Plan>, Arc<Graph>)>,
    journal: Journal,
    /// Which file the journal is, and how much of it is read.
    read: (u64, u64),
    /// How it begins: another one may have taken its place and its number, or was written over it.
    head: Vec<u8>,
    /// Whether anything of the run lives, as it was found last.
    lives: bool,
    follow: Option<Follow>,
}

/// What tells that there is something new, for any number of runs: of its kind a user has only some.
#[derive(Debug)]
pub struct News {
    epoll: Epoll,
    inotify: Inotify,
    bell: Bell,
}

impl News {
    /// News of no run yet.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let bell = Bell::new()?;
        epoll.add(&inotify, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Self { epoll, inotify, bell })
    }

    /// Has these events told as well. What is watched already stays so: a link may lead from one run to another.
    fn watch(&self, path: &Path, events: AddWatchFlags) -> io::Result<()> {
        let also = AddWatchFlags::from_bits_retain(nix::libc::IN_MASK_ADD);
        self.inotify.add_watch(path, events | also)?;
        Ok(())
    }

    /// What is readable when there may be something new.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Takes note that it was readable, which it then is no more; whether there may be something new of any of its runs,
    /// for [`Kept::look`] to read.
    pub fn hear(&self) -> bool {
        // It rings for nothing else than the end of all that a run has started.
        let mut news = self.bell.hush();
        while let Ok(events) = self.inotify.read_events()
            && !events.is_empty()
        {
            // What has no name is the journal itself; other names are those of streams.
            let ours = |name: &OsStr| name == JOURNAL || PLANS.iter().any(|format| name == format.file_name());
            news |= events.iter().any(|event| event.name.as_deref().is_none_or(ours));
        }
        news
    }
}

/// How a run is followed.
#[derive(Debug)]
struct Follow {
    news: Arc<News>,
    /// Whether somebody waits for the end of all that the run has started, and whether it has come.
    waits: bool,
    gone: Arc<AtomicBool>,
}

impl Kept {
    /// Reads what is there now.
    ///
    /// # Errors
    /// When the folder, or what lies in it, cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut kept = Self {
            folder: folder.to_owned(),
            plan: None,
            journal: Journal::default(),
            read: (0, 0),
            head: Vec::new(),
            lives: false,
            follow: None,
        };
        kept.look()?;
        Ok(kept)
    }

    /// The same, to be followed: there is `news` whenever there may be something new.
    ///
    /// # Errors
    /// When the folder cannot be read, or watched.
    pub fn follow(folder: &Path, news: &Arc<News>) -> io::Result<Self> {
        news.watch(folder, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
        let mut kept = Self::open(folder)?;
        kept.follow = Some(Follow {
            news: news.clone(),
            waits: false,
            gone: Arc::new(AtomicBool::new(false)),
        });
        // What was written before it was watched is read now.
        kept.look()?;
        Ok(kept)
    }

    /// What tells that there may be something new; nothing where the run is not followed.
    pub fn news(&self) -> Option<&News> {
        Some(&self.follow.as_ref()?.news)
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The journal, as far as it was read.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether anything of the run lives.
    pub fn lives(&self) -> bool {
        self.lives
    }

    /// The plan, once the run has begun.
    pub fn plan(&self) -> Option<&Plan> {
        let (plan, _) = self.plan.as_ref()?;
        Some(plan)
    }

    /// Where the run stands; nothing before it has begun, or where it is none of a plan.
    pub fn status(&self, state: &State) -> Option<Status> {
        self.status_of(&self.journal, self.lives, state)
    }

    /// Where it stood at a time, in Unix seconds.
    pub fn status_at(&self, time: f64, state: &State) -> Option<Status> {
        let mut journal = self.journal.clone();
        let before = journal.entries.len();
        journal.entries.retain(|entry| entry.ts <= time);
        // Something came later, so it lived then.
        self.status_of(&journal, self.lives || journal.entries.len() < before, state)
    }

    fn status_of(&self, journal: &Journal, lives: bool, state: &State) -> Option<Status> {
        let (plan, graph) = self.plan.as_ref()?;
        journal.begun()?;
        let ended = |name: &str| state.get(name).map(Stream::outcome);
        Some(Status::new(plan.clone(), graph.clone(), journal, lives, ended))
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn look(&mut self) -> io::Result<()> {
        self.watch()?;
        self.read()?;
        if self.goes_on() {
            self.find_life()?;
        } else {
            self.lives = false;
        }
        Ok(())
    }

    /// Whether the journal tells of a beginning, and of no end.
    fn goes_on(&self) -> bool {
        self.journal.begun().is_some() && self.journal.finished().is_none()
    }

    /// Finds out whether anything of a run lives whose end is not told, and has its end told where it is followed.
    fn find_life(&mut self) -> io::Result<()> {
        if let Some(follow) = &mut self.follow {
            follow.waits &= !follow.gone.swap(false, Ordering::Acquire);
            if follow.waits {
                return Ok(());
            }
        }
        loop {
            let began = self.journal.begun().map(|(ts, _)| ts);
            let Some(held) = file(&self.folder.join(HELD))? else {
                self.lives = false;
                return Ok(());
            };
            if let Err(error) = flock_shared(&held, false) {
                if error.kind() != ErrorKind::WouldBlock {
                    return Err(error);
                }
                self.lives = true;
                if let Some(follow) = &mut self.follow {
                    follow.wait_for_the_end(held);
                }
                return Ok(());
            }
            drop(held);
            // It is gone by now; what it wrote last may be the run's end, or somebody has gone on with it meanwhile.
            self.read()?;
            if !self.goes_on() || self.journal.begun().map(|(ts, _)| ts) == began {
                self.lives = false;
                return Ok(());
            }
        }
    }

    /// Has news of the journal told, once it is there: of the one that is there now, which may be another.
    fn watch(&self) -> io::Result<()> {
        let Some(Follow { news, .. }) = &self.follow else {
            return Ok(());
        };
        match news.watch(&self.folder.join(JOURNAL), AddWatchFlags::IN_MODIFY) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            watched => watched,
        }
    }

    /// Reads what the journal has that is new, and the plan where that may be another.
    fn read(&mut self) -> io::Result<()> {
        let Some(mut file) = file(&self.folder.join(JOURNAL))? else {
            return Ok(());
        };
        let about = file.metadata()?;
        let (inode, from) = self.read;
        if inode != about.ino() || about.len() < from || !self.begins_alike(&file) {
            (self.read, self.journal) = ((about.ino(), 0), Journal::default());
            self.head.clear();
        }
        file.seek(SeekFrom::Start(self.read.1))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // Half a line is one that is being written, or was when its writer was killed.
        text.truncate(memchr::memrchr(b'\n', &text).map_or(0, |feed| feed + 1));
        let known = self.journal.entries.len();
        self.journal.extend(&text);
        self.read.1 += text.len() as u64;
        let room = HEAD - self.head.len();
        self.head.extend(text.iter().take(room));
        let fresh = &self.journal.entries[known..];
        let tells = |entry: &Entry| matches!(entry.act, Act::Begin { .. } | Act::Add { .. });
        // Of a run that is copied here, its journal may come first.
        if fresh.iter().any(tells) || (self.plan.is_none() && self.journal.begun().is_some()) {
            self.plan = recall(&self.folder);
        }
        Ok(())
    }

    /// Whether a journal begins as the one does that was read.
    fn begins_alike(&self, file: &File) -> bool {
        let mut head = vec![0; self.head.len()];
        file.read_exact_at(&mut head, 0).is_ok() && head == self.head
    }
}

/// A regular file of the folder, open for reading; nothing where there is none. Nobody is waited for behind a FIFO.
fn file(path: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    let file = match options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// The plan in a run's folder, where it can be read.
fn recall(folder: &Path) -> Option<(Arc<Plan>, Arc<Graph>)> {
    let read = |format: Format| {
        let mut text = String::new();
        let file = file(&folder.join(format.file_name())).ok()?;
        file?.read_to_string(&mut text).ok()?;
        Some((text, format))
    };
    let (text, format) = PLANS.into_iter().find_map(read)?;
    let plan = Plan::recall(&text, format)?;
    let graph = Graph::new(&plan).ok()?;
    Some((Arc::new(plan), Arc::new(graph)))
}

impl Follow {
    /// Waits, in a thread, until all that holds this is gone, and rings then.
    fn wait_for_the_end(&mut self, held: File) {
        let (bell, gone) = (self.news.bell.clone(), self.gone.clone());
        // Without a thread the end of a killed run is not heard of; that of any other one is.
        let thread = std::thread::Builder::new().name("held".to_owned());
        let started = thread.spawn(move || {
            let _ = flock_shared(&held, true);
            drop(held);
            gone.store(true, Ordering::Release);
            bell.ring();
        });
        self.waits = started.is_ok();
    }
}

/// How to go on with a run that was cut short, as a word to whoever looks on; nothing of one that was not.
pub fn way_out(status: &Status, folder: &Path) -> Option<String> {
    let cut = status.stage == Stage::Cut;
    cut.then(|| format!("cl-run is gone before the run's end: go on with {}", resume(folder)))
}

/// The command that goes on with a run.
pub fn resume(folder: &Path) -> String {
    let folder = clean(&folder.to_string_lossy()).into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    match folder.chars().all(plain) {
        true => format!("cl-run --resume {folder}"),
        false => format!("cl-run --resume '{}'", folder.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::fs::write;

    const BEGIN: &str = "{\"ts\":1.0,\"act\":\"begin\",\"v\":1,\"plan\":\"p\",\"pid\":1}\n";

    fn add(path: &Path, text: &str) {
        use std::io::Write;
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until there may be something new, and reads it.
    fn news(kept: &mut Kept) {
        let news = kept.news().unwrap();
        let mut fds = [PollFd::new(news.fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1));
        news.hear();
        kept.look().unwrap();
    }

    #[test]
    fn what_no_run_has_written_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let begun = |plan: &str| {
            write(path("plan.toml"), plan).unwrap();
            Kept::open(folder.path()).unwrap().status(&State::default()).is_some()
        };
        let fifo = |name: &str| nix::unistd::mkfifo(&path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let good = "name='p'\n[stream.a]\nrun=['x']\n";
        fifo(JOURNAL);
        assert!(!begun(good));
        std::fs::remove_file(path(JOURNAL)).unwrap();
        add(&path(JOURNAL), BEGIN);
        fifo(HELD);
        assert!(begun(good));
        assert!(!begun("name='p'\n[stream.'<b>']\nrun=['x']\n"));
        assert!(!begun("name='p'\n[stream.a]\nafter=['a']\nrun=['x']\n"));
        assert!(!begun("]"));
        std::fs::remove_file(path("plan.toml")).unwrap();
        fifo("plan.toml");
        assert!(Kept::open(folder.path()).unwrap().plan().is_none());
    }

    #[test]
    fn a_run_is_heard_of_from_its_beginning_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let state = State::default();
        let mut kept = Kept::follow(folder.path(), &Arc::new(News::new().unwrap())).unwrap();
        assert!(kept.status(&state).is_none());
        write(path("plan.toml"), "name='p'\n[stream.a]\nrun=['x']\n").unwrap();
        let held = File::create(path(HELD)).unwrap();
        crate::sys::fds::flock(&held, true).unwrap();
        add(&path(JOURNAL), BEGIN);
        let stage = |kept: &Kept| kept.status(&state).map(|status| status.stage);
        while stage(&kept).is_none() {
            news(&mut kept);
        }
        assert_eq!(stage(&kept), Some(Stage::Going));
        assert_eq!(stage(&Kept::open(folder.path()).unwrap()), Some(Stage::Going));
        // Whoever held it is gone, without a word.
        drop(held);
        while kept.lives() {
            news(&mut kept);
        }
        let status = kept.status(&state).unwrap();
        assert_eq!(status.stage, Stage::Cut);
        let told = way_out(&status, Path::new("/a b")).unwrap();
        assert!(told.ends_with("cl-run --resume '/a b'"), "{told}");
        assert_eq!(stage(&Kept::open(folder.path()).unwrap()), Some(Stage::Cut));
        // Half a line is none.
        add(&path(JOURNAL), "{\"ts\":2.0,\"act\":\"finish\",");
        assert_eq!(stage(&Kept::open(folder.path()).unwrap()), Some(Stage::Cut));
        add(&path(JOURNAL), "\"verdict\":\"met\"}\n");
        while kept.journal().finished().is_none() {
            news(&mut kept);
        }
        let over = Stage::Over {
            verdict: "met".to_owned(),
            because: String::new(),
        };
        assert_eq!(stage(&kept), Some(over));
        assert_eq!(kept.status_at(1.5, &state).unwrap().stage, Stage::Going);
        // Another journal in its place is followed as the first one was: put there, or written over it.
        for ts in 3..7 {
            let begin = BEGIN.replace("1.0", &format!("{ts}.0"));
            if ts % 2 == 1 {
                write(path("other"), begin).unwrap();
                std::fs::rename(path("other"), path(JOURNAL)).unwrap();
            } else {
                // Longer than what was read of the one before.
                write(path(JOURNAL), begin + &"{}\n".repeat(100)).unwrap();
            }
            while stage(&kept) != Some(Stage::Cut) {
                news(&mut kept);
            }
            assert_eq!(kept.journal().begun().unwrap().0, f64::from(ts));
            add(&path(JOURNAL), "{\"ts\":9.0,\"act\":\"finish\",\"verdict\":\"met\"}\n");
            while kept.journal().finished().is_none() {
                news(&mut kept);
            }
        }
    }
}
