//! What the toolkit says itself: `"type":"cl"` and a `subtype`.
//!
//! These types are the wire format: a field's name is the member's name. All durations are seconds, all sizes bytes,
//! all times Unix seconds. Readers ignore members they do not know, so every field of an event read has a default.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Bytes as a member `text`, or as `base64` where they are no UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bytes {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Bytes {
    /// Bytes as they travel.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                text: Some(text.to_owned()),
                base64: None,
            },
            Err(_) => Self {
                text: None,
                base64: Some(base64::engine::general_purpose::STANDARD.encode(bytes)),
            },
        }
    }

    /// The bytes back; `None` when the base64 is none.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.text, &self.base64) {
            (Some(text), _) => Some(text.as_bytes().to_vec()),
            (None, Some(code)) => base64::engine::general_purpose::STANDARD.decode(code).ok(),
            (None, None) => None,
        }
    }

    /// The bytes as text to look at; what is no UTF-8 is replaced.
    pub fn lossy(&self) -> String {
        match &self.text {
            Some(text) => text.clone(),
            None => String::from_utf8_lossy(&self.bytes().unwrap_or_default()).into_owned(),
        }
    }
}

/// How a stream ended (`exit.outcome`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It worked.
    Success,
    /// The agent reports an error of its own.
    Error,
    /// An exit code other than 0 and nothing that explains it better.
    Failed,
    /// The agent's own limit: turns or budget.
    Exhausted,
    /// Exit 0 without a result, or with background work unfinished.
    Incomplete,
    /// The output is known to be cut.
    Truncated,
    /// The service could not be reached or was overloaded.
    Unavailable,
    /// A usage limit was reached.
    Limit,
    /// No key, or one that is not accepted.
    Auth,
    /// Our deadline passed.
    Timeout,
    /// No sign of life.
    Idle,
    /// It was told to stop.
    Cancelled,
    /// A signal that we did not send ended it.
    Killed,
    /// It could not be started.
    Unstartable,
    /// The stream stopped without an `exit`; only readers say so.
    Lost,
    /// Nobody saw an exit code, and no result tells. Words of a later version read as this, too.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Outcome {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Failed => "failed",
            Self::Exhausted => "exhausted",
            Self::Incomplete => "incomplete",
            Self::Truncated => "truncated",
            Self::Unavailable => "unavailable",
            Self::Limit => "limit",
            Self::Auth => "auth",
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::Cancelled => "cancelled",
            Self::Killed => "killed",
            Self::Unstartable => "unstartable",
            Self::Unknown => "unknown",
            Self::Lost => "lost",
        }
    }
}

/// Tokens, counted once per message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens read fresh.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
    /// Tokens read from a cache.
    pub cache_read: u64,
    /// Tokens put into a cache.
    pub cache_write: u64,
}

impl Usage {
    /// All tokens.
    pub fn total(&self) -> u64 {
        let cache = self.cache_read.saturating_add(self.cache_write);
        self.input.saturating_add(self.output).saturating_add(cache)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        // The figures come from outside.
        self.input = self.input.saturating_add(more.input);
        self.output = self.output.saturating_add(more.output);
        self.cache_read = self.cache_read.saturating_add(more.cache_read);
        self.cache_write = self.cache_write.saturating_add(more.cache_write);
    }
}

impl std::ops::Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            input: self.input.saturating_sub(before.input),
            output: self.output.saturating_sub(before.output),
            cache_read: self.cache_read.saturating_sub(before.cache_read),
            cache_write: self.cache_write.saturating_sub(before.cache_write),
        }
    }
}

/// The first line of each attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// The format's version.
    pub v: u32,
    /// Which attempt begins, from 1.
    pub attempt: u32,
    /// How the worker's lines are read: an agent's name, or `plain`.
    pub agent: String,
    /// What is run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// Where it runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cwd: String,
    /// On which machine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The worker's process id; absent where a reader stamped the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The agent's session, where cl-spawn chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The role, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Why that role, where cl-spawn chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The scheduling priority, 1 first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The prompt, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The limits in force, in seconds.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub limits: Map<String, Value>,
}

/// The last line of a stream: what happened, why we think so, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// How it ended.
    pub outcome: Outcome,
    /// The evidence in a few words.
    pub because: String,
    /// The worker's own exit code.
    pub code: Option<i32>,
    /// The signal that ended the worker, by name.
    pub signal: Option<String>,
    /// From the first start to the end, in seconds.
    pub duration: f64,
    /// How many attempts there were.
    pub attempts: u32,
    /// Lines the worker wrote on stdout.
    pub lines: u64,
    /// Bytes the worker wrote on stdout.
    pub bytes: u64,
    /// Whether the output is whole: it ends at a line's end and no byte of it is missing.
    pub whole: bool,
    /// The agent's session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The agent's turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// What it cost, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Tokens used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Until when a usage limit holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<f64>,
    /// Tools that were denied, `{"tool": NAME}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<Value>,
    /// Background work that was unfinished.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Value>,
    /// Processes that the worker left behind and that were ended.
    pub orphans: u32,
    /// The last lines of stderr.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// CPU seconds of the worker and all it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// The largest resident size of one process, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss: Option<u64>,
    /// What is worth knowing and did not change the outcome.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One of our own events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "subtype", rename_all = "lowercase")]
pub enum Event {
    /// An attempt begins.
    Start(Box<Start>),
    /// A stdout line that is no spliceable JSON.
    Text {
        /// The line without its line feed.
        #[serde(flatten)]
        bytes: Bytes,
        /// Whether a line feed followed.
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        eol: bool,
    },
    /// A stderr line.
    Stderr {
        /// The line without its line feed.
        #[serde(flatten)]
        bytes: Bytes,
        /// Whether a line feed followed.
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        eol: bool,
    },
    /// A piece of an over-long stdout line.
    Chunk {
        /// The piece.
        #[serde(flatten)]
        bytes: Bytes,
        /// Whether the line ends with it.
        #[serde(default)]
        last: bool,
        /// Whether a line feed followed; says something on the last piece only.
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        eol: bool,
    },
    /// The stream was silent for a while.
    Heartbeat {
        /// Seconds since the last line.
        #[serde(default)]
        idle: f64,
        /// Lines so far.
        #[serde(default)]
        lines: u64,
        /// Bytes so far.
        #[serde(default)]
        bytes: u64,
        /// Resident bytes of the worker's tree.
        #[serde(default)]
        rss: u64,
        /// CPU seconds of the worker's tree.
        #[serde(default)]
        cpu: f64,
    },
    /// The agent reports a usage limit, or one that another stream met is waited for.
    Limit {
        /// The agent's word for it; `held` where a start waits for it.
        #[serde(default)]
        status: String,
        /// Until when it holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resets_at: Option<f64>,
        /// Which limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
    },
    /// Another attempt follows.
    Retry {
        /// Which attempt follows.
        #[serde(default)]
        attempt: u32,
        /// How many there may be.
        #[serde(default)]
        of: u32,
        /// Seconds until then.
        #[serde(default)]
        delay: f64,
        /// Why.
        #[serde(default)]
        because: String,
        /// The agent or model that follows, where it is another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// We begin to stop the worker.
    Stop {
        /// timeout, idle, linger, signal or downstream.
        #[serde(default)]
        because: String,
        /// The signals of the ladder.
        #[serde(default)]
        with: Vec<String>,
    },
    /// The stream's end.
    Exit(Box<Exit>),
    /// A kept worker finished one turn.
    Turn(Box<Exit>),
    /// A hole in `seq`, or lines that a sink left out. Its own `seq` is `to`, so that it fills the hole.
    Gap {
        /// The first number missing.
        from: u64,
        /// The last number missing.
        to: u64,
        /// How many lines.
        #[serde(default)]
        lost: u64,
    },
    /// Half a line, from a writer that was killed.
    Torn {
        /// The half.
        #[serde(flatten)]
        bytes: Bytes,
    },
    /// A stream with headers ended without `exit`.
    Lost {
        /// Where it was read from.
        #[serde(default)]
        source: String,
    },
    /// A source appears in a merge.
    Join {
        /// Which.
        #[serde(default)]
        source: String,
    },
    /// A source ends in a merge.
    Leave {
        /// Which.
        #[serde(default)]
        source: String,
    },
    /// cl-wait's view so far.
    Partial(Verdict),
    /// cl-wait's answer.
    Final(Verdict),
}

/// What cl-wait says: its verdict, the streams' ends, the answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// met, unmet, timeout, cancelled or, in a `partial`, waiting.
    pub verdict: String,
    /// Each stream's exit event without its header; for one that still runs, what is known.
    pub streams: Map<String, Value>,
    /// The answers, needed ones first.
    pub text: String,
    /// Why the verdict is not `met`, in a few words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub because: String,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde asks for
fn is_true(value: &bool) -> bool {
    *value
}

impl Event {
    /// Reads one of our own events from a whole line; `None` for an event of a later version. Whether a line is one of our
    /// own its [`subtype`](crate::line::subtype) says: a worker's may look alike.
    pub fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}
