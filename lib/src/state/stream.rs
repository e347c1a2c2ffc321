//! What is known of one stream.

use super::planned::Planned;
use super::progress::Progress;
use crate::agent::{Account, Kind, Reader, TaskState};
use crate::line::{Exit, Outcome, Sequence, Start, Ts, Usage};
use crate::timeline::Track;
use serde_json::{Map, Value};
use std::collections::VecDeque;

/// How many last messages a stream keeps.
pub const MESSAGES: usize = 32;
/// How much of one message is kept, in bytes: its end, which is what is new.
pub const MESSAGE_BYTES: usize = 2000;

/// How much of what was said a stream keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    messages: usize,
    /// Bytes of one message.
    each: usize,
    /// Bytes of all but the newest.
    all: usize,
}

impl Keep {
    /// Enough to see what goes on.
    pub(super) const FEW: Self = Self {
        messages: MESSAGES,
        each: MESSAGE_BYTES,
        all: MESSAGES * MESSAGE_BYTES * 2,
    };
    /// Enough to read it.
    pub(super) const MANY: Self = Self {
        messages: 400,
        each: 16 << 10,
        all: 128 << 10,
    };
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// Nothing of it has begun.
    Waiting,
    /// It will not run; [`Planned::why`] tells why.
    Skipped,
    /// What it was for did not come about, so that it need not run.
    Unneeded,
    /// Its worker runs.
    Running,
    /// Another attempt follows.
    Retrying {
        /// Which.
        attempt: u32,
        /// How many there may be; 0 where that was not told.
        of: u32,
        /// When.
        until: Ts,
    },
    /// It waits for the end of a usage limit.
    Parked {
        /// Until when, where that is known.
        until: Option<Ts>,
    },
    /// It is being stopped.
    Stopping,
    /// It has ended.
    Ended(Outcome),
}

/// What a worker does at the moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Activity {
    /// It has begun and said nothing yet.
    Starting,
    /// It thinks, or waits for its model.
    Thinking,
    /// It writes.
    Writing,
    /// It uses a tool.
    Tool {
        /// The tool's name.
        name: String,
        /// What it is used on.
        what: String,
    },
    /// It retries by itself.
    Retry {
        /// Which attempt follows.
        attempt: u64,
        /// How many there will be, where it says.
        max: Option<u64>,
        /// When the attempt follows.
        until: Ts,
        /// Why.
        because: String,
    },
    /// Its turn is done; nothing is left to do but its end.
    Idle,
    /// A kept worker's turn is over, and the next prompt has not come.
    Prompt,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// The worker: a block of an agent's answer, or a line of a command.
    Worker,
    /// The worker, still at it: the block is not finished.
    Open,
    /// A sub-agent of the worker.
    Sub,
    /// The worker's stderr.
    Stderr,
    /// A tool call, in a few words.
    Tool,
    /// An error that was mentioned, a refusal, a retry.
    Trouble,
}

/// One of a stream's last messages. The text is what the worker wrote: nobody has made it safe for a terminal.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// When its last part was written.
    pub ts: Ts,
    /// Who said it.
    pub voice: Voice,
    /// What, at most [`MESSAGE_BYTES`] of its end, unless more is to be remembered.
    pub text: String,
}

/// A usage limit that the agent has told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limit {
    /// The agent's word: `allowed`, `allowed_warning`, `rejected`; ours is `held`, where a start waits for a limit that
    /// another stream has met.
    pub status: String,
    /// Until when it holds, Unix seconds.
    pub resets_at: Option<f64>,
    /// Which limit.
    pub kind: Option<String>,
}

/// The end of a stream, or of a kept worker's turn, as it was told.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// The event.
    pub exit: Exit,
    /// The event as it came, without header, type and subtype: members of later versions included.
    pub raw: Map<String, Value>,
}

/// What is known of one stream.
#[derive(Debug)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// What its worker does.
    pub activity: Activity,
    /// How its lines are read.
    pub kind: Kind,
    /// Its last `start`, where one was seen.
    pub start: Option<Box<Start>>,
    /// The agent's session.
    pub session: Option<String>,
    /// The model at work.
    pub model: Option<String>,
    /// What its plan tells of it, where it has one.
    pub planned: Option<Box<Planned>>,
    /// The time of its first line; 0 where there is none.
    pub started: Ts,
    /// The time of its last line, of whatever kind.
    pub last_seen: Ts,
    /// Whether a line of it was seen: its time may be 0.
    begun: bool,
    /// Whether all of that was before its run went on, which may keep it as it is.
    pub(super) former: bool,
    /// When the run had gone on for which it was wiped, in Unix seconds; 0 where it was not.
    pub(super) wiped: f64,
    /// When the worker itself last wrote something.
    pub heard: Ts,
    /// When it ended.
    pub ended: Option<Ts>,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Lines that are known to be missing.
    pub lost: u64,
    /// Lines the worker wrote on stdout.
    pub lines: u64,
    /// Bytes the worker wrote on stdout.
    pub bytes: u64,
    /// Lines the worker wrote on stderr.
    pub stderr_lines: u64,
    /// How many tools were called.
    pub tools: u64,
    /// How far it is, where that can be told.
    pub progress: Option<Progress>,
    /// The agent's own task list.
    pub tasks: Vec<(String, TaskState)>,
    /// Background work that is unfinished.
    pub background: Vec<String>,
    /// The last usage limit told.
    pub limit: Option<Limit>,
    /// The last messages, the newest last.
    pub messages: VecDeque<Message>,
    /// How many messages there have been, those included that are kept no more.
    pub said: u64,
    /// CPU seconds and resident bytes of the worker's tree, as last told.
    pub load: Option<(f64, u64)>,
    /// Why it is being stopped, where it is.
    pub stop: Option<String>,
    /// Why the next attempt follows, and by whom, while one is waited for.
    pub again: Option<String>,
    /// How many turns a kept worker has finished, over all attempts.
    pub turns: u64,
    /// The last of these turns.
    pub turn: Option<Box<End>>,
    /// Its end, once told; a lost stream has none.
    pub end: Option<Box<End>>,
    /// What happened when, where that is kept.
    pub track: Option<Box<Track>>,
    pub(super) sequence: Sequence,
    pub(super) known: bool,
    pub(super) assumed: Option<Kind>,
    pub(super) reader: Reader,
    pub(super) account: Account,
    pub(super) open_tools: Vec<(String, String, String)>,
    pub(super) before: (Usage, Option<f64>),
    pub(super) output: Output,
    pub(super) keep: Keep,
    /// Bytes of all messages but the newest.
    kept: usize,
}

/// A plain command's stdout, kept as its answer as long as it is small.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    over: bool,
}

/// More output than this is a log and no answer.
const ANSWER_BYTES: usize = 1 << 20;

impl Output {
    pub(super) fn add(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        if self.over {
            return;
        }
        append(&mut self.bytes);
        if self.bytes.len() > ANSWER_BYTES {
            *self = Self {
                over: true,
                bytes: Vec::new(),
            };
        }
    }
}

impl Stream {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            phase: Phase::Waiting,
            activity: Activity::Starting,
            kind: Kind::Plain,
            start: None,
            session: None,
            model: None,
            planned: None,
            started: Ts(0),
            last_seen: Ts(0),
            heard: Ts(0),
            begun: false,
            former: false,
            wiped: 0.0,
            ended: None,
            attempt: 1,
            lost: 0,
            lines: 0,
            bytes: 0,
            stderr_lines: 0,
            tools: 0,
            progress: None,
            tasks: Vec::new(),
            background: Vec::new(),
            limit: None,
            messages: VecDeque::new(),
            said: 0,
            load: None,
            stop: None,
            again: None,
            turns: 0,
            turn: None,
            end: None,
            track: None,
            sequence: Sequence::default(),
            known: false,
            assumed: None,
            reader: Reader::new(Kind::Plain),
            account: Account::default(),
            open_tools: Vec::new(),
            before: (Usage::default(), None),
            output: Output::default(),
            keep: Keep::FEW,
            kept: 0,
        }
    }

    /// Reads it as this agent's, where it is given.
    pub(super) fn assume(&mut self, agent: Option<Kind>) {
        self.assumed = agent;
        if let Some(kind) = agent {
            self.kind = kind;
            self.known = true;
            self.reader = Reader::new(kind);
        }
    }

    /// Notes what happened when, where that is kept.
    pub(super) fn record(&mut self, note: impl FnOnce(&mut Track)) {
        if let Some(track) = &mut self.track {
            note(track);
        }
    }

    /// Whether it has said anything: one that only its plan tells of has not, nor has one whose run went on and has not
    /// come to it yet.
    pub fn has_begun(&self) -> bool {
        self.begun && !self.former
    }

    /// Whether nothing more is to come: it has ended, or will not run.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_) | Phase::Skipped | Phase::Unneeded)
    }

    /// What it waits for, or why it does not run, where its plan tells that; empty once it has begun.
    pub fn why(&self) -> &str {
        let planned = self.planned.as_ref().filter(|_| !self.has_begun());
        planned.map_or("", |planned| &planned.why)
    }

    /// A line of it was written then.
    pub(super) fn seen(&mut self, ts: Ts) {
        if !self.begun {
            (self.started, self.heard, self.begun) = (ts, ts, true);
        }
        self.former = false;
        self.last_seen = self.last_seen.max(ts);
    }

    /// Nothing more of it comes: without an end it is lost.
    pub(super) fn lose(&mut self) {
        if !self.is_over() {
            let at = self.last_seen;
            (self.phase, self.ended) = (Phase::Ended(Outcome::Lost), Some(at));
            self.record(|track| track.ends(Outcome::Lost, "", at));
        }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// The role, where it has one.
    pub fn role(&self) -> Option<&str> {
        self.start.as_ref()?.role.as_deref()
    }

    /// The worker's process id, where it is known.
    pub fn pid(&self) -> Option<i32> {
        self.start.as_ref()?.pid
    }

    /// How its lines are read, as far as anybody has said or seen it.
    pub fn agent(&self) -> Option<Kind> {
        let said = || Kind::named(&self.start.as_ref()?.agent).is_some().then_some(());
        (self.known || said().is_some()).then_some(self.kind)
    }

    /// The answer so far, whole: as its `exit` tells it, or its turn while the next prompt is waited for, else as an
    /// agent's lines add up, else a command's stdout, as long as that is small enough for an answer.
    pub fn answer(&self) -> Option<String> {
        let turn = self.turn.as_deref().filter(|_| self.activity == Activity::Prompt);
        let told = |end: &End| end.exit.text.clone();
        if let Some(text) = self.end.as_deref().and_then(told).or_else(|| turn.and_then(told)) {
            return Some(text);
        }
        if self.kind.is_agent() {
            return self.account.answer();
        }
        let bytes = &self.output.bytes;
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Tokens used, over all attempts; the `exit` event's own figure wins.
    pub fn usage(&self) -> Usage {
        if let Some(told) = self.end.as_ref().and_then(|end| end.exit.usage) {
            return told;
        }
        let mut all = self.before.0;
        all += self.account.usage().unwrap_or_default();
        all
    }

    /// What it has cost in US dollars, over all attempts, where that is known; the `exit` event's own figure wins.
    pub fn cost(&self) -> Option<f64> {
        let told = self.end.as_ref().and_then(|end| end.exit.cost_usd);
        told.or_else(|| match (self.before.1, self.account.cost()) {
            (None, None) => None,
            (before, now) => Some(before.unwrap_or(0.0) + now.unwrap_or(0.0)),
        })
    }

    /// An attempt is over: its worker does nothing any more.
    pub(super) fn rest(&mut self) {
        self.activity = Activity::Idle;
        self.progress = None;
        self.tasks.clear();
        self.background.clear();
        self.open_tools.clear();
        self.load = None;
        // What follows is no more of a block that it has left unfinished.
        if let Some(last) = self.messages.back_mut().filter(|last| last.voice == Voice::Open) {
            last.voice = Voice::Worker;
        }
    }

    /// Leaves behind what belongs to one attempt alone; what all of them have used and said stays. `session` is the
    /// conversation that the next one is known to have.
    pub(super) fn next_attempt(&mut self, session: Option<&str>) {
        self.rest();
        if let Some(usage) = self.account.usage() {
            self.before.0 += usage;
        }
        if let Some(cost) = self.account.cost() {
            *self.before.1.get_or_insert(0.0) += cost;
        }
        let former = std::mem::take(&mut self.account);
        if session.is_some() && former.session.as_deref() == session {
            self.account.resume(&former);
        }
        self.output = Output::default();
        self.activity = Activity::Starting;
        (self.session, self.model) = (session.map(str::to_owned), None);
        (self.stop, self.again, self.limit) = (None, None, None);
        (self.end, self.ended) = (None, None);
    }

    pub(super) fn say(&mut self, ts: Ts, voice: Voice, text: &str) {
        let each = self.keep.each;
        let last = self.messages.back_mut().filter(|last| last.voice == Voice::Open);
        match (last, voice) {
            (Some(last), Voice::Open) => {
                last.ts = ts;
                last.text.push_str(text);
                keep_end(&mut last.text, each);
                return;
            }
            // The finished block takes the place of its pieces.
            (Some(last), Voice::Worker) => {
                let text = tail(text, each).to_owned();
                *last = Message { ts, voice, text };
                return;
            }
            (Some(last), _) => last.voice = Voice::Worker,
            (None, _) => {}
        }
        let newest = self.messages.back().map_or(0, |message| message.text.len());
        (self.said, self.kept) = (self.said + 1, self.kept + newest);
        // The oldest one's memory serves again: a log has a message a line.
        let mut text_of = String::new();
        while self.messages.len() >= self.keep.messages || self.kept > self.keep.all {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.kept = self.kept.saturating_sub(oldest.text.len());
            text_of = oldest.text;
        }
        text_of.clear();
        text_of.push_str(tail(text, each));
        self.messages.push_back(Message {
            ts,
            voice,
            text: text_of,
        });
    }
}

fn tail(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

fn keep_end(text: &mut String, bytes: usize) {
    // Not at every piece: a cut moves all that is kept.
    if text.len() > 2 * bytes {
        *text = tail(text, bytes).to_owned();
    }
}
