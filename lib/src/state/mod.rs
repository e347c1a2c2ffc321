//! The fold: lines in, the picture of the run out.
//!
//! What cl-progress shows and what cl-wait decides on is this one fold, so they cannot disagree. It is pure: the time
//! is what the lines' headers say. What it keeps is bounded for each stream, but for the answer, which is kept whole.

mod fold;
mod planned;
mod progress;
mod stream;

use crate::agent::Kind;
use crate::line::{Outcome, Ts, Usage, Verdict, header, own_event};
use crate::timeline::Track;
use memchr::memmem::Finder;
pub use planned::{Planned, Stretch};
pub use progress::Progress;
use std::collections::HashMap;
use std::sync::LazyLock;
use stream::Keep;
pub use stream::{Activity, End, Limit, MESSAGE_BYTES, MESSAGES, Message, Phase, Stream, Voice};

/// The picture of a run.
#[derive(Debug, Default)]
pub struct State {
    streams: Vec<Stream>,
    index: HashMap<String, usize>,
    last: usize,
    facts: Vec<crate::agent::Fact>,
    /// What a stream is read as that does not say what wrote it.
    assume: Option<Kind>,
    /// Whether it is kept what happened when.
    records: bool,
    /// Whether more of what is said is kept than shows what goes on.
    remembers: bool,
    /// Lines without a header: they belong to no stream.
    pub stray: u64,
    /// The time of the latest line.
    pub latest: Ts,
    /// The phases or levels of the plan that the run is one of, where that is known.
    pub groups: Vec<Stretch>,
    /// What cl-wait said last, where its lines are among these.
    pub verdict: Option<Verdict>,
}

/// Sums over all streams.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Streams.
    pub streams: usize,
    /// Streams that have ended.
    pub ended: usize,
    /// Streams that ended with success.
    pub well: usize,
    /// Lines the workers wrote.
    pub lines: u64,
    /// Bytes the workers wrote.
    pub bytes: u64,
    /// Lines that are known to be missing.
    pub lost: u64,
    /// Tokens used.
    pub usage: Usage,
    /// Cost in US dollars, where any stream tells it.
    pub cost: Option<f64>,
}

impl State {
    /// An empty picture in which streams that do not say what agent writes them are read as this one's.
    pub fn assuming(agent: Option<Kind>) -> Self {
        Self {
            assume: agent,
            ..Self::default()
        }
    }

    /// Keeps from now on what happened when in each stream that appears.
    pub fn record(&mut self) {
        self.records = true;
    }

    /// Keeps from now on as much of what each new stream says as somebody may want to read.
    pub fn remember(&mut self) {
        self.remembers = true;
    }

    /// Takes one line (without its line feed); the place of its stream in [`State::streams`], `None` where it belongs
    /// to none.
    pub fn line(&mut self, line: &[u8]) -> Option<usize> {
        let Some(head) = header(line) else {
            self.stray += 1;
            return None;
        };
        self.latest = self.latest.max(head.ts);
        fold::line(self, line, &head)
    }

    /// Takes one line as [`State::line`] does, but only counts what an agent wrote, unless it is a result: for a flood
    /// that cannot be read as fast as it comes. What its `exit` tells is not affected.
    pub fn skim(&mut self, line: &[u8]) -> Option<usize> {
        let head = header(line)?;
        self.latest = self.latest.max(head.ts);
        if own_event(line, &head) || is_result(&line[head.end..]) {
            return fold::line(self, line, &head);
        }
        Some(fold::count(self, line, &head))
    }

    /// The streams in order of appearance.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// The stream of that name.
    pub fn get(&self, name: &str) -> Option<&Stream> {
        self.index.get(name).map(|&at| &self.streams[at])
    }

    /// The stream inside which that one runs: its nearest outer name that is a stream here.
    pub fn parent(&self, name: &str) -> Option<&Stream> {
        let mut outer = name;
        while let Some((rest, _)) = outer.rsplit_once('/') {
            if let Some(stream) = self.get(rest) {
                return Some(stream);
            }
            outer = rest;
        }
        None
    }

    /// Says that no line follows: a stream that has begun and not told its end is lost.
    pub fn finish(&mut self) {
        self.lose(Stream::has_begun);
    }

    /// Says that no line follows of some streams: those that have not ended are lost.
    pub fn lose(&mut self, which: impl Fn(&Stream) -> bool) {
        let silent = self.streams.iter_mut().filter(|stream| which(stream));
        silent.for_each(Stream::lose);
    }

    /// Sums over all streams.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for stream in &self.streams {
            totals.streams += 1;
            totals.ended += usize::from(stream.outcome().is_some());
            totals.well += usize::from(stream.outcome() == Some(Outcome::Success));
            totals.lines = totals.lines.saturating_add(stream.lines);
            totals.bytes = totals.bytes.saturating_add(stream.bytes);
            totals.lost = totals.lost.saturating_add(stream.lost);
            totals.usage += stream.usage();
            if let Some(cost) = stream.cost() {
                *totals.cost.get_or_insert(0.0) += cost;
            }
        }
        totals
    }

    /// The place of the stream of that name, which appears with this if it has not yet.
    fn at(&mut self, name: &str) -> usize {
        // Mostly that of the line before.
        if self.streams.get(self.last).is_some_and(|stream| stream.name == name) {
            return self.last;
        }
        if let Some(&at) = self.index.get(name) {
            self.last = at;
            return at;
        }
        let mut stream = Stream::new(name);
        stream.assume(self.assume);
        if self.remembers {
            stream.keep = Keep::MANY;
        }
        let count = self.streams.len() + 1;
        if self.records {
            stream.track = Some(Box::new(Track::new(count)));
            // Now and then, so that many streams are not looked at for each that appears.
            if count.is_power_of_two() {
                let all = self.streams.iter_mut();
                all.for_each(|stream| stream.record(|track| track.shrink(2 * count)));
            }
        }
        self.streams.push(stream);
        self.index.insert(name.to_owned(), count - 1);
        count - 1
    }
}

/// Whether the line may be an agent's result. Its type does not always come first.
fn is_result(line: &[u8]) -> bool {
    static RESULT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"type\":\"result\""));
    RESULT.find(line).is_some()
}

#[cfg(test)]
mod tests;
