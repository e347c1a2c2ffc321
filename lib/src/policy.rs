//! When is it enough: a pure function of the picture of a run.
//!
//! The policy knows no clock. Where time plays a part it says how things stand ([`Verdict::Needed`]), and whoever asks
//! decides how long that may last.

mod turns;

use crate::line::Outcome;
use crate::state::{End, Phase, State, Stream};
use std::collections::BTreeSet;
pub use turns::{Turn, Turns};

/// What has to be there.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// How many streams are enough, beside those needed.
    pub enough: Enough,
    /// Streams that must end well.
    pub need: Vec<String>,
    /// The streams that count, where they are named: they must appear, and others do not count.
    pub expect: Vec<String>,
    /// Whether an end that nobody saw counts as well.
    pub trust: bool,
    /// The turns of kept workers, where such a turn counts as its stream's end.
    pub turns: Option<Turns>,
}

/// How many streams are enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Enough {
    /// All of them.
    #[default]
    All,
    /// So many of those that are not needed by name.
    Any(usize),
}

/// Whether streams that were not seen yet may still appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// The input is open: others may appear, so those seen are not all.
    Open,
    /// Those seen count as all there are, until another one appears.
    Perhaps,
    /// No other one appears; those seen may go on.
    Seen,
    /// Nothing follows: what has not ended never will.
    Never,
}

impl More {
    /// Whether a stream that was not seen yet may still appear.
    fn others(self) -> bool {
        matches!(self, Self::Open | Self::Perhaps)
    }
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough yet.
    Waiting,
    /// All that is needed by name is there, not yet the others; whoever asks decides how long to wait for these.
    Needed,
    /// Enough is there.
    Met,
    /// It can no longer be enough; the reason in a few words.
    Impossible(String),
}

/// How a stream ended, as far as the wait is concerned: by a turn that is waited for, or for good.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// How.
    pub outcome: Outcome,
    /// What was told of it; nothing of a lost stream.
    pub told: Option<&'a End>,
    /// Whether it was a turn, and the worker lives on.
    pub turn: bool,
}

/// What became of one stream, as far as the policy is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Well,
    Bad,
    /// It need not run, and counts neither way.
    Void,
}

impl Policy {
    /// Judges.
    pub fn judge(&self, state: &State, more: More) -> Verdict {
        if let Some(reason) = self.failed_need(state, more) {
            return Verdict::Impossible(reason);
        }
        let needed = self
            .need
            .iter()
            .all(|name| state.get(name).is_some_and(|stream| self.fate(stream) == Fate::Well));
        match self.enough {
            Enough::All => self.all(state, more),
            Enough::Any(count) => self.any(state, more, count, needed),
        }
    }

    /// Whether this stream counts, by its name or because no names were given and it runs inside no other.
    pub fn counts(&self, state: &State, stream: &Stream) -> bool {
        let named = |names: &[String]| names.contains(&stream.name);
        named(&self.need) || named(&self.expect) || (self.expect.is_empty() && state.parent(&stream.name).is_none())
    }

    /// Whether it may still end well.
    pub fn is_open(&self, stream: &Stream) -> bool {
        self.fate(stream) == Fate::Open
    }

    /// Whether it can end no more, although nobody has told that it did.
    fn is_lost(&self, stream: &Stream, more: More) -> bool {
        more == More::Never && self.is_open(stream)
    }

    /// Whether it ended well.
    pub fn is_well(&self, stream: &Stream) -> bool {
        self.fate(stream) == Fate::Well
    }

    /// How it ended, once it has, or its turn is there.
    pub fn ended<'a>(&'a self, stream: &'a Stream) -> Option<Ended<'a>> {
        if let Some(turn) = self.turns.as_ref().and_then(|turns| turns.of(&stream.name)) {
            return Some(Ended {
                outcome: turn.exit.outcome,
                told: Some(turn),
                turn: true,
            });
        }
        Some(Ended {
            outcome: stream.outcome()?,
            told: stream.end.as_deref(),
            turn: false,
        })
    }

    /// In which order streams are told: those needed as they were named, those expected so, the others by their names.
    pub fn place<'a>(&self, name: &'a str) -> impl Ord + use<'a> {
        let mut named = self.need.iter().chain(&self.expect);
        (named.position(|named| named == name).unwrap_or(usize::MAX), name)
    }

    fn fate(&self, stream: &Stream) -> Fate {
        match self.ended(stream).map(|ended| ended.outcome) {
            None if stream.phase == Phase::Skipped => Fate::Bad,
            None if stream.phase == Phase::Unneeded => Fate::Void,
            None => Fate::Open,
            Some(Outcome::Success) => Fate::Well,
            Some(Outcome::Unknown) if self.trust => Fate::Well,
            Some(_) => Fate::Bad,
        }
    }

    fn failed_need(&self, state: &State, more: More) -> Option<String> {
        self.need.iter().find_map(|name| match state.get(name) {
            Some(stream) if matches!(self.fate(stream), Fate::Bad | Fate::Void) => Some(self.why(stream)),
            Some(stream) if self.is_lost(stream, more) => Some(self.why(stream)),
            None if !more.others() => Some(format!("{name} never appeared")),
            _ => None,
        })
    }

    fn all(&self, state: &State, more: More) -> Verdict {
        let counted = self.counted(state).filter(|stream| self.fate(stream) != Fate::Void);
        let counted: Vec<&Stream> = counted.collect();
        let bad = |stream: &&&Stream| self.fate(stream) == Fate::Bad || self.is_lost(stream, more);
        if let Some(bad) = counted.iter().find(bad) {
            return Verdict::Impossible(self.why(bad));
        }
        let missing = self.named().find(|name| state.get(name).is_none());
        match (missing, more.others()) {
            (Some(name), false) => return Verdict::Impossible(format!("{name} never appeared")),
            (None, false) if counted.is_empty() => {
                return Verdict::Impossible("no stream appeared".to_owned());
            }
            _ => {}
        }
        // Without names, all are known only when no other can appear.
        let closed = !self.expect.is_empty() || more != More::Open;
        let well = !counted.is_empty() && counted.iter().all(|stream| self.fate(stream) == Fate::Well);
        if closed && missing.is_none() && well {
            Verdict::Met
        } else {
            Verdict::Waiting
        }
    }

    fn any(&self, state: &State, more: More, count: usize, needed: bool) -> Verdict {
        let others = || self.counted(state).filter(|stream| !self.need.contains(&stream.name));
        let well = others().filter(|stream| self.fate(stream) == Fate::Well).count();
        if needed && well >= count {
            return Verdict::Met;
        }
        let open = match more {
            More::Never => 0,
            _ => others().filter(|stream| self.is_open(stream)).count(),
        };
        let absent = self
            .named()
            .filter(|name| !self.need.iter().any(|need| need == name) && state.get(name).is_none())
            .count();
        let closed = match more {
            More::Open => !self.expect.is_empty(),
            More::Perhaps => !self.expect.is_empty() || others().next().is_some(),
            More::Seen | More::Never => true,
        };
        let to_come = open + if more.others() { absent } else { 0 };
        if !self.need.is_empty() && !needed {
            return Verdict::Waiting;
        }
        match (!closed || well + to_come >= count, self.need.is_empty()) {
            (true, true) => Verdict::Waiting,
            (true, false) => Verdict::Needed,
            (false, true) => Verdict::Impossible(self.too_few(count, well, to_come, others().last())),
            // What is needed is there, and the others cannot come any more: there is nothing to wait for.
            (false, false) => Verdict::Met,
        }
    }

    fn too_few(&self, count: usize, well: usize, open: usize, last: Option<&Stream>) -> String {
        match last {
            None => "no stream appeared".to_owned(),
            Some(last) if count == 1 => format!("none ended well, at last {}", self.why(last)),
            Some(_) => format!("only {} of {count} can still end well", well + open),
        }
    }

    fn counted<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Stream> {
        state.streams().iter().filter(|stream| self.counts(state, stream))
    }

    /// The names that must appear, each once.
    fn named(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> = self.need.iter().chain(&self.expect).map(String::as_str).collect();
        names.into_iter()
    }

    /// Why a stream did not end well.
    fn why(&self, stream: &Stream) -> String {
        let ended = self.ended(stream);
        let end = ended.and_then(|ended| ended.told);
        let because = end.map_or("", |end| end.exit.because.as_str());
        let name = match ended {
            Some(Ended { turn: true, .. }) => format!("{}'s turn", stream.name),
            _ => stream.name.clone(),
        };
        match ended.map(|ended| ended.outcome) {
            Some(Outcome::Unknown) => {
                format!("{name} ended, and nobody saw how: start it by cl-spawn, or let such an end count by --trust")
            }
            Some(Outcome::Lost) => format!("{name} stopped without telling its end"),
            Some(outcome) if because.is_empty() => format!("{name} ended as {}", outcome.as_str()),
            Some(outcome) => format!("{name} ended as {}: {because}", outcome.as_str()),
            None if stream.phase == Phase::Skipped => format!("{name} does not run: {}", stream.why()),
            None if stream.phase == Phase::Unneeded => format!("{name} need not run, so it does not"),
            None if !stream.has_begun() => format!("{name} has said nothing"),
            None => format!("{name} has not ended"),
        }
    }
}

#[cfg(test)]
mod tests;
