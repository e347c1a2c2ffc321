//! A plan's run as whoever looks on sees it: its plan, its journal, and whether anything of it lives.
//!
//! Everything that a run has started holds a lock as long as it lives, and so does cl-run itself. Whoever asks for that
//! lock, to share it, gets it when all of them are gone; it is no hindrance to who resumes the run, for that one waits.

use super::folder::{HELD, JOURNAL, PLANS};
use crate::plan::{Act, Format, Graph, Journal, Plan, Stage, Status};
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
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A plan's run, or a folder that may become that of one.
#[derive(Debug)]
pub struct Kept {
    folder: PathBuf,
    plan: Option<(Arc<Plan>, Arc<Graph>)>,
    journal: Journal,
    /// How much of the journal is read, and of which file.
    read: (u64, u64),
    /// Whether anything of the run lives, as it was found last.
    lives: bool,
    follow: Option<Follow>,
}

/// What tells that there is something new.
#[derive(Debug)]
struct Follow {
    epoll: Epoll,
    inotify: Inotify,
    bell: Bell,
    /// Whether the journal is there, and watched.
    watched: bool,
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
            lives: false,
            follow: None,
        };
        kept.look()?;
        Ok(kept)
    }

    /// The same, to be followed: [`Kept::fd`] is readable whenever there may be something new.
    ///
    /// # Errors
    /// When the folder cannot be read, or watched.
    pub fn follow(folder: &Path) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let bell = Bell::new()?;
        epoll.add(&inotify, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        inotify.add_watch(folder, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
        let mut kept = Self::open(folder)?;
        kept.follow = Some(Follow {
            epoll,
            inotify,
            bell,
            watched: false,
            waits: false,
            gone: Arc::new(AtomicBool::new(false)),
        });
        // What was written before it was watched is read now.
        kept.look()?;
        Ok(kept)
    }

    /// What is readable when there may be something new; nothing where the run is not followed.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.follow.as_ref()?.epoll.0.as_fd())
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
        self.hear()?;
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

    /// Takes note that [`Kept::fd`] was readable, which it then is no more; whether there may be something new, for
    /// [`Kept::look`] to read.
    ///
    /// # Errors
    /// When the journal cannot be watched.
    pub fn hear(&mut self) -> io::Result<bool> {
        let Some(follow) = &mut self.follow else {
            return Ok(false);
        };
        follow.bell.hush();
        let mut news = follow.gone.load(Ordering::Acquire);
        loop {
            let events = match follow.inotify.read_events() {
                Ok(events) if !events.is_empty() => events,
                _ => break,
            };
            // What has no name is the journal itself; other names are those of streams.
            let ours = |name: &OsStr| name == JOURNAL || PLANS.iter().any(|format| name == format.file_name());
            news |= events.iter().any(|event| event.name.as_deref().is_none_or(ours));
        }
        if !follow.watched {
            match follow
                .inotify
                .add_watch(&self.folder.join(JOURNAL), AddWatchFlags::IN_MODIFY)
            {
                Ok(_) => (follow.watched, news) = (true, true),
                Err(nix::errno::Errno::ENOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(news)
    }

    /// Reads what the journal has that is new, and the plan where that may be another.
    fn read(&mut self) -> io::Result<()> {
        let Some(mut file) = file(&self.folder.join(JOURNAL))? else {
            return Ok(());
        };
        let about = file.metadata()?;
        let (inode, from) = self.read;
        if inode != about.ino() || about.len() < from {
            (self.read, self.journal) = ((about.ino(), 0), Journal::default());
        }
        file.seek(SeekFrom::Start(self.read.1))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // Half a line is one that is being written, or was when its writer was killed.
        text.truncate(memchr::memrchr(b'\n', &text).map_or(0, |feed| feed + 1));
        let known = self.journal.entries.len();
        self.journal.extend(&text);
        self.read.1 += text.len() as u64;
        let fresh = &self.journal.entries[known..];
        if fresh
            .iter()
            .any(|entry| matches!(entry.act, Act::Begin { .. } | Act::Add { .. }))
        {
            self.plan = recall(&self.folder);
        }
        Ok(())
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
        let (bell, gone) = (self.bell.clone(), self.gone.clone());
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
        let mut fds = [PollFd::new(kept.fd().unwrap(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1));
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
        let mut kept = Kept::follow(folder.path()).unwrap();
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
    }
}
