//! What we know of each agent CLI: how its lines read (`Fact`s), what they add up to ([`Account`]), how it is started.
//!
//! A module an agent reads that agent's lines; nothing outside this folder knows a member's name of theirs.

mod account;
mod claude;
mod codex;
mod gemini;
mod kept;
mod launch;
mod opencode;
mod recognise;
mod soft;
mod status;
mod tally;
mod tasks;

use crate::line::{Index, Top, Usage, Waiting, Walk, object};
pub use account::Account;
pub use kept::is_kept;
pub use launch::{Ask, Launch, Session, command, message};
use std::path::Path;
pub use tally::Tally;

/// Which CLI a worker is, as far as its lines are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anthropic's claude.
    Claude,
    /// OpenAI's codex.
    Codex,
    /// Google's gemini.
    Gemini,
    /// Alibaba's qwen.
    Qwen,
    /// opencode.
    Opencode,
    /// Any other command: its lines say nothing to us.
    Plain,
}

impl Kind {
    /// All kinds, the agents first.
    pub const ALL: [Self; 6] = [
        Self::Claude,
        Self::Codex,
        Self::Gemini,
        Self::Qwen,
        Self::Opencode,
        Self::Plain,
    ];

    /// The name on the command line and in `start`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Qwen => "qwen",
            Self::Opencode => "opencode",
            Self::Plain => "plain",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The agent that a command's file name says it is.
    pub fn of_command(command: &Path) -> Option<Self> {
        let name = command.file_name()?.to_str()?;
        Self::named(name).filter(|kind| *kind != Self::Plain)
    }

    /// The agent whose line this is, by members that no other program is likely to write together.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        recognise::kind(line)
    }

    /// Whether it is an agent.
    pub fn is_agent(self) -> bool {
        self != Self::Plain
    }
}

/// What one line of an agent says, in words that all agents share.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A turn begins (one an `init`, not one a process).
    Init {
        /// The session's id.
        session: Option<String>,
        /// The model at work.
        model: Option<String>,
    },
    /// A finished block of the answer; `sub` when a sub-agent wrote it.
    Text {
        /// The block.
        text: String,
        /// A sub-agent's, not the stream's own answer.
        sub: bool,
    },
    /// A piece of a block that is being written; the finished block follows as `Text`, unless `only` pieces come.
    Delta {
        /// The piece.
        text: String,
        /// No finished block will repeat it.
        only: bool,
    },
    /// It thinks.
    Thinking,
    /// A tool begins.
    ToolStart {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// What it is used on: a command, a path, a pattern.
        what: String,
    },
    /// A tool has ended.
    ToolEnd {
        /// The call's id.
        id: String,
        /// Whether it failed.
        error: bool,
    },
    /// A tool was not permitted.
    Denied {
        /// The tool's name.
        tool: String,
    },
    /// Tokens of one message so far; the same message may be told again.
    Usage {
        /// The message's id, empty where the agent has none: then the tokens add up.
        message: String,
        /// Its tokens.
        usage: Usage,
    },
    /// What the run has cost so far, by steps that add up, in US dollars.
    Cost(f64),
    /// The agent retries by itself: a sign of life.
    Retry {
        /// Which attempt follows.
        attempt: u64,
        /// How many there will be, where it says.
        max: Option<u64>,
        /// Seconds until then.
        delay: f64,
        /// Why.
        because: String,
    },
    /// A usage limit's state.
    Limit {
        /// `allowed`, `allowed_warning`, `rejected`.
        status: String,
        /// Until when it holds, Unix seconds.
        resets_at: Option<f64>,
        /// Which limit.
        kind: Option<String>,
    },
    /// The set of background work that is now unfinished, by description.
    Background(Vec<String>),
    /// The task list as it now is: what, and `pending`, `in_progress` or `completed`.
    Tasks(Vec<(String, TaskState)>),
    /// An error the agent mentions and survives, or that its end will explain.
    Trouble(String),
    /// A result: the end of a turn, and of the run when no other follows.
    Result(Box<ResultFact>),
}

/// The state of a task in an agent's own task list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Not begun.
    Pending,
    /// At it.
    Active,
    /// Done.
    Done,
}

/// What an agent's result says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResultFact {
    /// Whether the agent calls it an error, in its own flag or by its content.
    pub error: bool,
    /// The agent's own word: `success`, `error_during_execution`, `error_max_turns`, `turn.failed` …
    pub subtype: String,
    /// The answer's text, or the error's.
    pub text: Option<String>,
    /// Why it ended, in the agent's word.
    pub terminal_reason: Option<String>,
    /// The HTTP status of an API error.
    pub api_status: Option<u64>,
    /// Turns taken.
    pub turns: Option<u64>,
    /// What the conversation has cost so far, earlier runs of it included, in US dollars.
    pub cost: Option<f64>,
    /// What it has cost since the result before, where the agent tells that.
    pub step: Option<f64>,
    /// Tokens.
    pub usage: Option<Usage>,
    /// The session's id.
    pub session: Option<String>,
    /// Tools denied.
    pub denials: Vec<String>,
    /// Messages that wait to be answered after this result.
    pub queued: u64,
}

impl ResultFact {
    /// Whether it tells all that its turn's other lines would tell: the session, the answer and the tokens.
    pub fn stands_for_its_turn(&self) -> bool {
        let answers = self.text.as_ref().is_some_and(|text| !text.is_empty());
        answers && self.is_good() && self.tokens().is_some() && self.session.is_some()
    }

    /// Whether its agent calls it good.
    pub fn is_good(&self) -> bool {
        !self.error && !self.subtype.starts_with("error")
    }

    /// Its turn's tokens; an interrupted one has none.
    pub fn tokens(&self) -> Option<Usage> {
        self.usage.filter(|usage| *usage != Usage::default())
    }
}

/// When what a line says has to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Now,
    /// Nothing that it says matters before its turn has a result.
    Later,
    /// The same, but that a turn begins.
    Begins,
}

/// More denied tools than one result tells.
const MANY_DENIALS: usize = 1000;

/// Reads the lines of one agent.
#[derive(Debug)]
pub struct Reader {
    lines: Lines,
    /// Of the line at hand.
    index: Index,
}

/// How the lines read.
#[derive(Debug)]
enum Lines {
    /// claude's lines, and qwen's, which have their shape.
    Claude(claude::Lines),
    Codex(codex::Lines),
    Gemini(gemini::Lines),
    Opencode(opencode::Lines),
    /// Nothing to read.
    Plain,
}

impl Reader {
    /// A reader for that kind of worker.
    pub fn new(kind: Kind) -> Self {
        let lines = match kind {
            Kind::Claude => Lines::Claude(claude::Lines::default()),
            Kind::Qwen => Lines::Claude(claude::Lines::qwen()),
            Kind::Codex => Lines::Codex(codex::Lines::default()),
            Kind::Gemini => Lines::Gemini(gemini::Lines::default()),
            Kind::Opencode => Lines::Opencode(opencode::Lines::default()),
            Kind::Plain => Lines::Plain,
        };
        Self {
            lines,
            index: Index::default(),
        }
    }

    /// Appends what one stdout line says, with or without the stream's header; a line that is not the agent's says
    /// nothing.
    pub fn read(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        if let Lines::Claude(_) = self.lines {
            self.index.stamped(line);
        }
        self.read_on(line, facts);
    }

    /// Checks a line without header as [`object`](crate::line::object) does, and appends what it says.
    #[inline]
    pub fn object(&mut self, line: &[u8], facts: &mut Vec<Fact>) -> Option<Top> {
        let (top, _) = self.look(line);
        self.read_on(line, facts);
        top
    }

    /// Checks a line without header, and tells when it has to be read.
    #[inline]
    fn look(&mut self, line: &[u8]) -> (Option<Top>, Due) {
        if !matches!(self.lines, Lines::Claude(_)) {
            return (object(line), Due::Now);
        }
        let top = self.index.object(line);
        (top, claude::due(self.index.members(line)))
    }

    /// Has the line wait that was looked at last.
    fn put_off(&self, line: &[u8], waiting: &mut Waiting) -> bool {
        waiting.push(line, &self.index)
    }

    /// Appends what the line says that was looked at last.
    fn read_on(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        let before = facts.len();
        match (&mut self.lines, self.index.members(line)) {
            (Lines::Claude(lines), Some(members)) => lines.read(members, facts),
            (Lines::Claude(lines), None) => lines.read_slowly(line, facts),
            _ => self.rest(line, facts),
        }
        facts[before..].iter_mut().for_each(Fact::bound);
    }

    /// Appends what a line says that has waited.
    fn read_late(&mut self, members: Walk<'_>, facts: &mut Vec<Fact>) {
        let before = facts.len();
        if let Lines::Claude(lines) = &mut self.lines {
            lines.read(members, facts);
        }
        facts[before..].iter_mut().for_each(Fact::bound);
    }

    fn rest(&mut self, line: &[u8], facts: &mut Vec<Fact>) {
        match &mut self.lines {
            Lines::Codex(lines) => lines.read(line, facts),
            Lines::Gemini(lines) => lines.read(line, facts),
            Lines::Opencode(lines) => lines.read(line, facts),
            Lines::Claude(_) | Lines::Plain => {}
        }
    }
}

impl Fact {
    /// Names and ids are remembered, many of them, and a line may be of any length: none is kept that is too long to be
    /// one.
    fn bound(&mut self) {
        let shorten = |text: &mut String| text.truncate(soft::short(text).len());
        match self {
            Self::Init { session, model } => session.iter_mut().chain(model).for_each(shorten),
            Self::ToolStart { id, name, .. } => [id, name].into_iter().for_each(shorten),
            Self::ToolEnd { id, .. } => shorten(id),
            Self::Denied { tool } => shorten(tool),
            Self::Usage { message, .. } => shorten(message),
            Self::Limit { status, kind, .. } => kind.iter_mut().chain([status]).for_each(shorten),
            Self::Tasks(tasks) => tasks.iter_mut().for_each(|(what, _)| shorten(what)),
            Self::Result(result) => {
                let words = [&mut result.session, &mut result.terminal_reason];
                words.into_iter().flatten().for_each(shorten);
                shorten(&mut result.subtype);
                result.denials.truncate(MANY_DENIALS);
                result.denials.iter_mut().for_each(shorten);
            }
            Self::Text { .. }
            | Self::Delta { .. }
            | Self::Thinking
            | Self::Cost(_)
            | Self::Retry { .. }
            | Self::Background(_)
            | Self::Trouble(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
