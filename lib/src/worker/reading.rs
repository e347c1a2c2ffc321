//! What a worker's lines say, as far as they are read on their way through.

use super::gauge::{Gauge, Note};
use crate::agent::{Account, Fact, Kind, Tally};
use crate::line::{Event, Top, object};
use std::time::Duration;

/// How long the supervisor may wait for news that is the same as before.
const TELLING: Duration = Duration::from_millis(50);

/// A reader of one worker's lines.
pub(super) struct Reading {
    kind: Option<Kind>,
    tally: Tally,
    settled: bool,
    /// Whether that is to be told: each result begins the wait anew.
    news: bool,
    /// What was told last, and when.
    told: (bool, Duration),
    /// How many turns were told to have ended.
    turns: u32,
    /// A usage limit that was not told yet.
    limit: Option<Event>,
}

impl Reading {
    /// Reads lines of that kind of worker; of `None`, the first line that is JSON tells the kind.
    pub(super) fn new(kind: Option<Kind>) -> Self {
        Self {
            kind,
            tally: Tally::new(kind.unwrap_or(Kind::Plain), Account::default()),
            settled: false,
            news: false,
            told: (false, Duration::ZERO),
            turns: 0,
            limit: None,
        }
    }

    /// Takes over from the attempt before, whose conversation goes on.
    pub(super) fn resume(&mut self, before: &Account) {
        self.account().resume(before);
    }

    /// A usage limit that the last line told.
    pub(super) fn limit(&mut self) -> Option<Event> {
        self.limit.take()
    }

    /// Whether a turn has ended with the last line.
    pub(super) fn turn_ended(&mut self) -> bool {
        let turns = std::mem::replace(&mut self.turns, self.tally.results());
        self.tally.results() > turns
    }

    /// What all lines add up to.
    pub(super) fn account(&mut self) -> &mut Account {
        self.tally.account()
    }

    /// Whether the worker is an agent, as far as is known.
    pub(super) fn is_agent(&self) -> bool {
        self.kind.is_some_and(Kind::is_agent)
    }

    /// Tells the supervisor whether all is said, where the lines since the last time have said so. It wakes it, so the
    /// same is not told with each block; how long it may wait still, if it does.
    pub(super) fn tell(&mut self, gauge: &Gauge) -> Option<Duration> {
        if !self.news {
            return None;
        }
        let (settled, at) = self.told;
        let now = gauge.clock.now();
        let wait = TELLING.saturating_sub(now.saturating_sub(at));
        if settled == self.settled && !wait.is_zero() {
            return Some(wait);
        }
        self.news = false;
        self.told = (self.settled, now);
        gauge.note(Note::Settled(self.settled));
        None
    }

    /// Checks a line as [`object`] does, and reads it.
    pub(super) fn line(&mut self, line: &[u8], gauge: &Gauge) -> Option<Top> {
        if gauge.is_decided() {
            return object(line);
        }
        if self.kind.is_none() && object(line).is_some() {
            let kind = Kind::of_line(line).unwrap_or(Kind::Plain);
            self.kind = Some(kind);
            self.tally = Tally::new(kind, std::mem::take(self.tally.account()));
            if kind.is_agent() {
                gauge.note(Note::Agent(kind));
            }
        }
        let limit = &mut self.limit;
        let (top, news) = self.tally.line(line, |fact| {
            if let Fact::Limit {
                status,
                resets_at,
                kind,
            } = fact
                && status == "rejected"
            {
                *limit = Some(Event::Limit {
                    status: status.clone(),
                    resets_at: *resets_at,
                    kind: kind.clone(),
                });
            }
        });
        if news {
            let settled = self.tally.is_settled();
            self.news |= settled || self.settled;
            self.settled = settled;
        }
        top
    }
}
