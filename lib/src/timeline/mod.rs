//! What happened when: attempts, turns, tools and waits of each stream, for a picture afterwards.
//!
//! It is folded from the same lines as the state of the run, and only where somebody asks for it. What is kept is bounded:
//! a stream that does more than there is room for loses what took the shortest, and its [`Track::left_out`] says how much.

mod thin;
mod what;

use crate::agent::Fact;
use crate::line::{Outcome, Ts};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
pub use thin::weightiest;
pub use what::What;

/// Silence that is worth an entry.
const SILENT: Duration = Duration::from_secs(10);
/// More tools than an agent uses at once.
const TOOLS: usize = 100;
/// How much of a text is kept, in bytes.
const TEXT: usize = 200;
/// How many entries all streams together may keep, and one of them at least and at most.
const ALL: usize = 128 << 10;
const LEAST: usize = 64;
const MOST: usize = 4096;

/// One thing that happened. The texts are a worker's: nobody has made them safe for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub what: What,
    /// When it began.
    pub from: Ts,
    /// When it ended; as `from` for a moment.
    pub to: Ts,
    /// Which: an attempt's number, a tool's name.
    pub name: Box<str>,
    /// More about it, in a few words.
    pub detail: Box<str>,
    /// Whether it went wrong.
    pub bad: bool,
    /// Whether it has not ended.
    pub open: bool,
}

impl Entry {
    fn new(what: What, at: Ts, name: &str, detail: &str) -> Self {
        Self {
            what,
            from: at,
            to: at,
            name: short(name),
            detail: short(detail),
            bad: false,
            open: true,
        }
    }

    /// How long it took.
    pub fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

fn short(text: &str) -> Box<str> {
    let mut to = text.len().min(TEXT);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    text[..to].into()
}

/// What happened in one stream. Entries of attempts and of turns do not overlap with others of their kind, and a turn
/// lies within its attempt; waits do not overlap; tools may.
#[derive(Debug)]
pub struct Track {
    closed: Vec<Entry>,
    attempt: Option<Entry>,
    turn: Option<Entry>,
    wait: Option<Entry>,
    tools: Vec<(u64, Entry)>,
    turns: u64,
    /// The latest time that was seen: clocks that go back are not followed.
    now: Ts,
    /// When the worker was last heard, or something else began that it was waited for.
    heard: Ts,
    ended: bool,
    room: usize,
    left_out: u64,
}

impl Track {
    /// An empty one that keeps as much as there is room for with that many streams.
    pub fn new(streams: usize) -> Self {
        Self {
            closed: Vec::new(),
            attempt: None,
            turn: None,
            wait: None,
            tools: Vec::new(),
            turns: 0,
            now: Ts(0),
            heard: Ts(0),
            ended: false,
            room: room(streams),
            left_out: 0,
        }
    }

    /// An empty one with as much room.
    pub fn anew(&self) -> Self {
        Self {
            room: self.room,
            ..Self::new(1)
        }
    }

    /// Keeps less where there are more streams.
    pub fn shrink(&mut self, streams: usize) {
        self.room = room(streams);
        self.left_out += thin::thin(&mut self.closed, self.room);
    }

    /// How many entries there was no room for.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// All entries by their beginning, the longer ones first; those that have not ended go to `now`.
    pub fn entries(&self, now: Ts) -> Vec<Entry> {
        let open = [&self.attempt, &self.turn, &self.wait].into_iter().flatten();
        let open = open.chain(self.tools.iter().map(|(_, tool)| tool)).cloned();
        let open = open.map(|entry| Entry {
            to: now.max(entry.from),
            ..entry
        });
        let mut all: Vec<Entry> = self.closed.iter().cloned().chain(open).collect();
        all.sort_by_key(|entry| (entry.from, std::cmp::Reverse(entry.to), entry.what as u8));
        all
    }

    /// An attempt begins; `by` is the agent.
    pub fn attempt(&mut self, number: u32, by: &str, ts: Ts) {
        let at = self.at(ts);
        self.rest(at, None);
        self.ended = false;
        self.heard = at;
        self.attempt = Some(Entry::new(What::Attempt, at, &number.to_string(), by));
    }

    /// The worker gives a sign of life.
    pub fn heard(&mut self, ts: Ts) {
        let at = self.at(ts);
        if self.wait.is_some() {
            self.end_wait(at);
        } else if self.tools.is_empty() && at.since(self.heard) >= SILENT && !self.ended {
            self.silence(at);
        }
        if self.attempt.is_none() && !self.ended {
            self.attempt = Some(Entry::new(What::Attempt, at, "1", ""));
        }
        self.heard = at;
    }

    /// An agent says something, at the time of the line that was last heard.
    pub fn fact(&mut self, fact: &Fact) {
        let at = self.now;
        // What comes after the end is part of nothing.
        if self.ended {
            return;
        }
        match fact {
            Fact::Init { model, .. } => {
                self.end_turn(at, false, "");
                self.turns += 1;
                let model = model.as_deref().unwrap_or_default();
                self.turn = Some(Entry::new(What::Turn, at, &self.turns.to_string(), model));
            }
            Fact::ToolStart { id, name, what } if self.tools.len() < TOOLS => {
                self.tools.push((key(id), Entry::new(What::Tool, at, name, what)));
            }
            Fact::ToolStart { .. } => self.left_out += 1,
            Fact::ToolEnd { id, error } => {
                let id = key(id);
                while let Some(which) = self.tools.iter().position(|(open, _)| *open == id) {
                    let (_, tool) = self.tools.remove(which);
                    self.close(tool, at, *error);
                }
            }
            Fact::Denied { tool } => self.moment(What::Trouble, at, "denied", tool, true),
            Fact::Trouble(text) => self.moment(What::Trouble, at, "error", text, true),
            Fact::Limit { status, kind, .. } if status != "allowed" => {
                let kind = kind.as_deref().unwrap_or_default();
                self.moment(
                    What::Trouble,
                    at,
                    &format!("limit {status}"),
                    kind,
                    status == "rejected",
                );
            }
            Fact::Retry { attempt, because, .. } => self.wait(What::Retry, at, &attempt.to_string(), because),
            Fact::Result(result) => {
                self.end_tools(at);
                self.end_turn(at, result.error, &result.subtype);
                self.moment(What::Result, at, &result.subtype, "", result.error);
            }
            Fact::Text { .. }
            | Fact::Delta { .. }
            | Fact::Thinking
            | Fact::Usage { .. }
            | Fact::Cost(_)
            | Fact::Limit { .. }
            | Fact::Background(_)
            | Fact::Tasks(_) => {}
        }
    }

    /// A kept worker's turn is over.
    pub fn turned(&mut self, outcome: Outcome, ts: Ts) {
        let (at, bad) = (self.at(ts), outcome != Outcome::Success);
        self.end_tools(at);
        self.end_turn(at, bad, outcome.as_str());
    }

    /// The attempt is over, and the next one is waited for; `limited` where a usage limit is the reason.
    pub fn backs_off(&mut self, attempt: u32, because: &str, limited: bool, ts: Ts) {
        let at = self.at(ts);
        self.rest(at, Some(because));
        let what = if limited { What::Limit } else { What::Backoff };
        self.wait(what, at, &attempt.to_string(), because);
    }

    /// The start waits for a usage limit.
    pub fn held(&mut self, ts: Ts) {
        let at = self.at(ts);
        self.wait(What::Limit, at, "held", "");
    }

    /// The worker begins to be stopped.
    pub fn stops(&mut self, because: &str, ts: Ts) {
        let at = self.at(ts);
        self.moment(What::Stop, at, because, "", true);
    }

    /// Lines are missing.
    pub fn lost(&mut self, lines: u64, ts: Ts) {
        let at = self.at(ts);
        self.moment(
            What::Trouble,
            at,
            "lost",
            &format!("{lines} line{}", if lines == 1 { "" } else { "s" }),
            true,
        );
    }

    /// The stream ends.
    pub fn ends(&mut self, outcome: Outcome, because: &str, ts: Ts) {
        let at = self.at(ts);
        let bad = outcome != Outcome::Success;
        if !self.ended && self.wait.is_none() && self.tools.is_empty() && at.since(self.heard) >= SILENT {
            self.silence(at);
        }
        self.rest(at, bad.then_some(because));
        self.moment(What::Exit, at, outcome.as_str(), because, bad);
        self.ended = true;
    }

    /// The time, which does not go back.
    fn at(&mut self, ts: Ts) -> Ts {
        if self.heard == Ts(0) {
            self.heard = ts;
        }
        self.now = self.now.max(ts);
        self.now
    }

    /// All that is open ends; `failed` says why, where the attempt failed.
    fn rest(&mut self, at: Ts, failed: Option<&str>) {
        self.end_wait(at);
        self.end_tools(at);
        self.end_turn(at, failed.is_some(), "");
        if let Some(mut attempt) = self.attempt.take() {
            if let Some(because) = failed {
                let by = if attempt.detail.is_empty() { "" } else { ", " };
                attempt.detail = short(&format!("{}{by}{because}", attempt.detail));
            }
            self.close(attempt, at, failed.is_some());
        }
    }

    fn wait(&mut self, what: What, at: Ts, name: &str, detail: &str) {
        self.end_wait(at);
        self.wait = (!self.ended).then(|| Entry::new(what, at, name, detail));
    }

    fn end_wait(&mut self, at: Ts) {
        if let Some(wait) = self.wait.take() {
            self.close(wait, at, false);
        }
        self.heard = self.heard.max(at);
    }

    fn silence(&mut self, at: Ts) {
        let silence = Entry::new(What::Silence, self.heard, "", "");
        self.close(silence, at, false);
        self.heard = at;
    }

    fn end_tools(&mut self, at: Ts) {
        for (_, tool) in std::mem::take(&mut self.tools) {
            self.close(tool, at, false);
        }
    }

    fn end_turn(&mut self, at: Ts, bad: bool, detail: &str) {
        if let Some(mut turn) = self.turn.take() {
            if !detail.is_empty() {
                let model = if turn.detail.is_empty() { "" } else { ", " };
                turn.detail = short(&format!("{}{model}{detail}", turn.detail));
            }
            self.close(turn, at, bad);
        }
    }

    fn moment(&mut self, what: What, at: Ts, name: &str, detail: &str, bad: bool) {
        self.close(Entry::new(what, at, name, detail), at, bad);
    }

    fn close(&mut self, mut entry: Entry, at: Ts, bad: bool) {
        (entry.to, entry.bad, entry.open) = (at.max(entry.from), bad, false);
        self.closed.push(entry);
        if self.closed.len() > self.room {
            // Half of the room is made free at once, so that it is not made for each entry.
            self.left_out += thin::thin(&mut self.closed, self.room / 2);
        }
    }
}

fn room(streams: usize) -> usize {
    (ALL / streams.max(1)).clamp(LEAST, MOST)
}

/// Ids may be long, and are only compared.
fn key(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
