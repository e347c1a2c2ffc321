//! What is asked of a worker, and how its stream and each of its attempts begin.

use super::again::Retries;
use super::capture::Capture;
use super::pump::StderrTo;
use crate::agent::{self, Kind};
use crate::hold::{Account, Holds};
use crate::line::{Name, Start};
use crate::sink::Rope;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// What is asked, whatever the number of attempts.
#[derive(Debug)]
pub struct Order {
    /// The stream's name.
    pub stream: Name,
    /// The role it plays, to be told in `start`.
    pub role: Option<Played>,
    /// Where stderr goes.
    pub stderr: StderrTo,
    /// Bytes after which a line travels in pieces.
    pub max_line: usize,
    /// How long all attempts together may take.
    pub timeout: Option<Duration>,
    /// Between two rungs of the stop ladder.
    pub kill_after: Duration,
    /// Between two heartbeats of a silent stream.
    pub heartbeat: Option<Duration>,
    /// How many attempts there may be.
    pub retries: Retries,
    /// Where other streams tell of limits and refused keys, where that is to be told.
    pub holds: Option<Holds>,
    /// Whether to start in spite of what they tell.
    pub anyway: bool,
    /// The prompts of a worker that is kept for one after another.
    pub prompts: Option<Prompts>,
    /// Where [`crate::run::serve`] started us, and ends what we leave behind, so that no process is needed for that: what
    /// is rung after each write to the sink.
    pub served: Option<Rope>,
}

/// Where a kept worker's prompts come from.
#[derive(Debug)]
pub struct Prompts {
    /// The first one.
    pub first: Option<String>,
    /// One a line; its end is the end of all.
    pub source: File,
    /// What is put around a prompt that is plain text.
    pub frame: Frame,
}

/// Puts a prompt into its frame.
pub struct Frame(pub Box<dyn FnMut(&str) -> String>);

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Frame")
    }
}

/// Which attempt it is to be.
#[derive(Debug)]
pub struct Which<'a> {
    /// Counted from 1 over all workers.
    pub number: u32,
    /// Which worker: 0 is the one that was asked for, then what it falls back on.
    pub worker: usize,
    /// What the attempt before it came to, where the same worker made it.
    pub before: Option<&'a agent::Account>,
}

/// One attempt: what is started, and how it is read.
#[derive(Debug)]
pub struct Attempt {
    /// How its lines are read; `None` when its first line is to tell.
    pub kind: Option<Kind>,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Changes to the environment: `None` removes.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// Where it runs.
    pub cwd: Option<PathBuf>,
    /// Its niceness; 0 is ours.
    pub nice: i32,
    /// Its stdin; `None` is a terminal that says nothing. A kept worker gets its prompts instead.
    pub stdin: Option<OwnedFd>,
    /// The prompt, to be told in `start`.
    pub prompt: Option<String>,
    /// Its conversation, where that is known before the start.
    pub session: Option<String>,
    /// Whether that is the conversation of the attempt before.
    pub resumed: bool,
    /// How stdout is taken.
    pub capture: Capture,
    /// Without a sign of life; what is not set waits for what an agent gets.
    pub idle: Option<Duration>,
    /// After the last result with nothing pending.
    pub linger: Option<Duration>,
    /// What an agent that only its first line tells gets for limits left open: idle and linger.
    pub agent_limits: (Option<Duration>, Option<Duration>),
    /// Whose usage limit it would meet.
    pub account: Option<Account>,
}

/// Makes the attempts.
pub trait Attempts {
    /// Prepares one.
    ///
    /// # Errors
    /// What keeps it from being prepared: no descriptor, a file that is not there any more.
    fn prepare(&mut self, which: &Which<'_>) -> io::Result<Attempt>;

    /// What `retry` calls a worker to fall back on.
    fn name(&self, worker: usize) -> String;
}

/// A role, as `start` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Played {
    /// Its name.
    pub name: String,
    /// Why this one, where it was chosen by the words of the prompt.
    pub because: Option<String>,
    /// Its scheduling priority, 1 first.
    pub priority: Option<u32>,
}

/// The most of a prompt that is told in `start`.
const TOLD_PROMPT: usize = 64 << 10;

impl Attempt {
    /// Its first line, all but the worker's process id.
    pub(super) fn start(&mut self, number: u32, order: &Order) -> Start {
        let limits = [("timeout", order.timeout), ("idle", self.idle), ("linger", self.linger)];
        let limits: Map<String, Value> = limits
            .into_iter()
            .filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?.as_secs_f64()))))
            .collect();
        let cwd = match &self.cwd {
            Some(cwd) => std::path::absolute(cwd).unwrap_or_else(|_| cwd.clone()),
            None => std::env::current_dir().unwrap_or_default(),
        };
        let role = order.role.as_ref();
        Start {
            v: 1,
            attempt: number,
            agent: self.kind.map_or("auto", Kind::as_str).to_owned(),
            argv: self
                .argv
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            cwd: cwd.to_string_lossy().into_owned(),
            host: nix::unistd::gethostname()
                .map(|host| host.to_string_lossy().into_owned())
                .unwrap_or_default(),
            session_id: self.session.clone(),
            prompt: self.prompt.take().map(shortened),
            limits,
            role: role.map(|role| role.name.clone()),
            because: role.and_then(|role| role.because.clone()),
            priority: role.and_then(|role| role.priority),
            pid: None,
        }
    }
}

fn shortened(mut prompt: String) -> String {
    if prompt.len() > TOLD_PROMPT {
        let cut = (0..=TOLD_PROMPT).rev().find(|&at| prompt.is_char_boundary(at));
        prompt.truncate(cut.unwrap_or(0));
        prompt.push('…');
    }
    prompt
}
