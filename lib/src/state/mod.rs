//! The fold: lines in, the picture of the run out.
//!
//! What cl-progress shows and what cl-wait decides on is this one fold, so they cannot disagree. It is pure: the time
//! is what the lines' headers say. What it keeps is bounded for each stream, but for the answer, which is kept whole.

mod fold;
mod progress;
mod stream;

use crate::line::{Outcome, Ts, Usage, Verdict, header};
pub use progress::Progress;
use std::collections::HashMap;
pub use stream::{Activity, End, Limit, MESSAGE_BYTES, MESSAGES, Message, Phase, Stream, Voice};

/// The picture of a run.
#[derive(Debug, Default)]
pub struct State {
    streams: Vec<Stream>,
    index: HashMap<String, usize>,
    facts: Vec<crate::agent::Fact>,
    /// Lines without a header: they belong to no stream.
    pub stray: u64,
    /// The time of the latest line.
    pub latest: Ts,
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

    /// Says that no line follows: a stream that has not told its end is lost.
    pub fn finish(&mut self) {
        for stream in &mut self.streams {
            if stream.outcome().is_none() {
                stream.phase = Phase::Ended(Outcome::Lost);
                stream.ended = Some(stream.last_seen);
            }
        }
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
    fn at(&mut self, name: &str, ts: Ts) -> usize {
        if let Some(&at) = self.index.get(name) {
            return at;
        }
        self.streams.push(Stream::new(name, ts));
        self.index.insert(name.to_owned(), self.streams.len() - 1);
        self.streams.len() - 1
    }
}

#[cfg(test)]
mod tests;
