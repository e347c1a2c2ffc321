//! What is asked of a worker, and how its stream begins.

use super::capture::Capture;
use super::pump::StderrTo;
use super::rules::Limits;
use crate::agent::Kind;
use crate::line::{Name, Start};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// What is asked of a worker.
#[derive(Debug)]
pub struct Order {
    /// The stream's name.
    pub stream: Name,
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
    /// Its stdin; `None` is a terminal that says nothing.
    pub stdin: Option<OwnedFd>,
    /// The prompt, to be told in `start`.
    pub prompt: Option<String>,
    /// The role it plays, to be told in `start`.
    pub role: Option<Played>,
    /// How stdout is taken.
    pub capture: Capture,
    /// Where stderr goes.
    pub stderr: StderrTo,
    /// Bytes after which a line travels in pieces.
    pub max_line: usize,
    /// The limits it lives under.
    pub limits: Limits,
    /// What an agent that only its first line tells gets for limits left open: idle and linger.
    pub agent_limits: (Option<Duration>, Option<Duration>),
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

impl Order {
    /// The stream's first line, all but the worker's process id.
    pub(super) fn start(&mut self) -> Start {
        let limits = [
            ("timeout", self.limits.timeout),
            ("idle", self.limits.idle),
            ("linger", self.limits.linger),
        ];
        let limits: Map<String, Value> = limits
            .into_iter()
            .filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?.as_secs_f64()))))
            .collect();
        let cwd = match &self.cwd {
            Some(cwd) => std::path::absolute(cwd).unwrap_or_else(|_| cwd.clone()),
            None => std::env::current_dir().unwrap_or_default(),
        };
        Start {
            v: 1,
            attempt: 1,
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
            prompt: self.prompt.take().map(shortened),
            limits,
            role: self.role.as_ref().map(|role| role.name.clone()),
            because: self.role.as_ref().and_then(|role| role.because.clone()),
            priority: self.role.as_ref().and_then(|role| role.priority),
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
