//! What is waited for: stdin, run folders and files, processes.

use crate::OURS;
use harmony::cli::{Failure, reason};
use harmony::line::Ts;
use harmony::policy::More;
use harmony::run::{Kept, News};
use harmony::source::{Id, Named, Place, Source, Sources};
use harmony::state::State;
use harmony::sys::{pidfd, startup};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// A line longer than this is passed on, but not understood.
const LONGEST: usize = 64 << 20;

/// All that is waited for.
pub struct Input {
    pub sources: Sources,
    pub old: Old,
    processes: Vec<Process>,
    /// Folders, which hold plans' runs or may come to.
    pub runs: Vec<Kept>,
    /// Whether there is nothing else.
    pub only_runs: bool,
    kind: Kind,
    turns: bool,
}

/// What stood in the files when we began, as far as it is not read yet, in bytes.
#[derive(Debug)]
pub struct Old(Vec<u64>);

impl Old {
    fn look(sources: &Sources) -> Self {
        Self(sources.all().iter().map(Source::length).collect())
    }

    /// So many bytes of that source are read: how many of them are old.
    pub fn take(&mut self, id: Id, bytes: usize) -> usize {
        let Some(left) = self.0.get_mut(id) else {
            return 0;
        };
        let old = (bytes as u64).min(*left);
        *left -= old;
        old as usize
    }
}

/// What it is, which decides what may still come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stdin,
    Files,
    Processes,
}

struct Process {
    name: String,
    fd: OwnedFd,
}

impl Input {
    /// Whether it is a stream on stdin.
    pub fn is_stream(&self) -> bool {
        self.kind == Kind::Stdin
    }

    /// Opens the targets, stdin where there is none. With `turns`, no stream's end is waited for, so that of a stream on
    /// stdin tells nothing either.
    pub fn open(targets: &[OsString], turns: bool) -> Result<Self, Failure> {
        let mut processes = Vec::new();
        let mut named = Vec::new();
        let mut runs = Vec::new();
        let mut news = None;
        for target in targets {
            let shown = target.to_string_lossy();
            let none = |why: &str| Failure {
                message: format!("{shown}: {why}"),
                code: 127,
            };
            match Path::new(target).try_exists() {
                Ok(true) => {
                    let path = Path::new(target);
                    if path.is_dir() {
                        let news = match &mut news {
                            Some(news) => news,
                            none => none.insert(Arc::new(News::new().map_err(|error| failed("inotify", &error))?)),
                        };
                        runs.push(Kept::follow(path, news).map_err(|error| failed(&shown, &error))?);
                    }
                    named.push(Named {
                        name: None,
                        place: Place::Path(path.into()),
                    });
                }
                Err(error) => return Err(none(&reason(&error))),
                Ok(false) if shown.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let fd = shown.parse().map_err(|_| Errno::ESRCH.into());
                    let fd = fd.and_then(|pid| pidfd::open(Pid::from_raw(pid)));
                    processes.push(Process {
                        fd: fd.map_err(|_| none("no such process"))?,
                        name: shown.into_owned(),
                    });
                }
                Ok(false) => return Err(none("no such run folder, file or process")),
            }
        }
        let kind = match (named.is_empty(), processes.is_empty()) {
            (true, true) => Kind::Stdin,
            (true, false) => Kind::Processes,
            (false, _) => Kind::Files,
        };
        if kind == Kind::Stdin {
            let ours = |message: &str| Failure {
                message: message.to_owned(),
                code: OURS,
            };
            if startup::was_closed(0) {
                return Err(ours("stdin is closed: pipe a stream in, or name a run folder"));
            }
            if io::stdin().is_terminal() {
                return Err(ours("stdin is a terminal: pipe a stream in, or name a run folder"));
            }
            named.push(Named {
                name: None,
                place: Place::Inherited(0),
            });
        }
        let mut sources = Sources::new(kind == Kind::Files, LONGEST).map_err(|error| failed("sources", &error))?;
        if kind == Kind::Processes {
            sources.hold();
        }
        // Whoever waits takes no line from anybody.
        sources.spare_fifos();
        // No name was given, so none can be given twice.
        let _ = sources.add(&named);
        Ok(Self {
            old: Old::look(&sources),
            sources,
            processes,
            only_runs: !runs.is_empty() && runs.len() == targets.len(),
            runs,
            kind,
            turns,
        })
    }

    /// Has news of plans' runs told as [`harmony::source::Step::Other`] of `token`.
    pub fn watch_runs(&mut self, token: u32) -> io::Result<()> {
        // It is the same for all of them.
        let Some(news) = self.runs.first().and_then(Kept::news) else {
            return Ok(());
        };
        self.sources.watch_also(news.fd(), EpollFlags::EPOLLIN, token)?;
        Ok(())
    }

    /// Makes the processes streams, and has their ends told as [`harmony::source::Step::Other`] from `first` on.
    pub fn watch_processes(&mut self, state: &mut State, first: u32) -> io::Result<()> {
        for (i, process) in self.processes.iter().enumerate() {
            let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
            self.sources.watch_also(process.fd.as_fd(), events, first + i as u32)?;
            tell(state, process, 1, r#""start","agent":"plain""#);
        }
        Ok(())
    }

    /// The process of that number has ended.
    pub fn process_ended(&self, state: &mut State, at: usize) {
        if let Some(process) = self.processes.get(at) {
            let because = "it was not our child, so nobody told us its exit code";
            let end = format!(r#""exit","outcome":"unknown","because":"{because}","code":null,"signal":null"#);
            tell(state, process, 2, &end);
        }
    }

    /// Whether more may come from a target that is no folder.
    pub fn has_open_files(&self) -> bool {
        let mut all = self.sources.all().iter();
        self.sources.awaits() || all.any(|source| source.named && source.is_open())
    }

    /// What may still appear while the input goes on.
    pub fn more(&self) -> More {
        match self.kind {
            Kind::Stdin if !self.turns => More::Open,
            Kind::Stdin | Kind::Files => More::Perhaps,
            Kind::Processes => More::Seen,
        }
    }

    /// Closes everything, stdin itself included, so that whoever writes to us hears of it now.
    pub fn close(self) {
        drop(self);
        if let Ok(null) = std::fs::File::open("/dev/null") {
            let _ = harmony::sys::process::replace(0, null.as_fd());
        }
    }
}

/// Puts a line about a process into the picture, as if its stream had told it.
fn tell(state: &mut State, process: &Process, seq: u64, event: &str) {
    let Process { name, .. } = process;
    let ts = Ts::now().seconds();
    let head = format!(r#"{{"cl":{{"stream":"{name}","seq":{seq},"ts":{ts:.6}}}"#);
    state.line(format!(r#"{head},"type":"cl","subtype":{event}}}"#).as_bytes());
}

/// A failure of our own.
pub fn failed(what: &str, error: &io::Error) -> Failure {
    Failure {
        code: OURS,
        ..Failure::io(what, error)
    }
}
