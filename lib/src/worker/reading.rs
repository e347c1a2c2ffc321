//! What a worker's lines say, as far as they are read on their way through.

use super::gauge::{Gauge, Note};
use crate::agent::{Account, Fact, Kind, Reader};
use crate::line::Event;

/// A reader of one worker's lines.
pub(super) struct Reading {
    kind: Option<Kind>,
    reader: Reader,
    pub(super) account: Account,
    facts: Vec<Fact>,
    settled: bool,
    /// How many turns were told to have ended.
    turns: u32,
    /// A usage limit that was not told yet.
    limit: Option<Event>,
}

impl Reading {
    /// Reads lines of that kind of worker; of `None`, the first line that is JSON tells the kind.
    pub(super) fn new(kind: Option<Kind>) -> Self {
        let reader = Reader::new(kind.unwrap_or(Kind::Plain));
        Self {
            kind,
            reader,
            account: Account::default(),
            facts: Vec::new(),
            settled: false,
            turns: 0,
            limit: None,
        }
    }

    /// Takes over from the attempt before, whose conversation goes on.
    pub(super) fn resume(&mut self, before: &Account) {
        self.account.resume(before);
    }

    /// A usage limit that the last line told.
    pub(super) fn limit(&mut self) -> Option<Event> {
        self.limit.take()
    }

    /// Whether a turn has ended with the last line.
    pub(super) fn turn_ended(&mut self) -> bool {
        let turns = std::mem::replace(&mut self.turns, self.account.results);
        self.account.results > turns
    }

    /// Whether the worker is an agent, as far as is known.
    pub(super) fn is_agent(&self) -> bool {
        self.kind.is_some_and(Kind::is_agent)
    }

    /// Reads a line; notes what the supervisor must know.
    pub(super) fn line(&mut self, line: &[u8], gauge: &Gauge) {
        if gauge.is_decided() {
            return;
        }
        if self.kind.is_none() && crate::line::object(line).is_some() {
            let kind = Kind::of_line(line).unwrap_or(Kind::Plain);
            (self.kind, self.reader) = (Some(kind), Reader::new(kind));
            if kind.is_agent() {
                gauge.note(Note::Agent(kind));
            }
        }
        self.reader.read(line, &mut self.facts);
        if self.facts.is_empty() {
            return;
        }
        for fact in self.facts.drain(..) {
            self.account.add(&fact);
            if let Fact::Limit {
                status,
                resets_at,
                kind,
            } = fact
                && status == "rejected"
            {
                self.limit = Some(Event::Limit {
                    status,
                    resets_at,
                    kind,
                });
            }
        }
        let settled = self.account.result.is_some() && !self.account.in_turn && self.account.pending.is_empty();
        if settled || self.settled {
            // Each result begins the wait anew.
            self.settled = settled;
            gauge.note(Note::Settled(settled));
        }
    }
}
