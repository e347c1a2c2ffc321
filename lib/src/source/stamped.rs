//! The stream of a source that has no headers: we number its lines, begin it, and end it from the evidence in them.

use crate::agent::{Account, Fact, Kind, Reader};
use crate::line::{Event, Exit, Name, Outcome, Stamper, Start, Ts};
use crate::outcome::{End, Evidence, judge};

/// A stream that we stamp.
#[derive(Debug)]
pub(super) struct Stamped {
    stamper: Stamper,
    /// Its place in the registry; `None` when it is not wanted.
    pub at: Option<usize>,
    /// Who writes here; known from the first line that is JSON.
    kind: Option<Kind>,
    reader: Reader,
    account: Account,
    facts: Vec<Fact>,
    began: Ts,
    lines: u64,
    bytes: u64,
    whole: bool,
}

impl Stamped {
    /// Begins the stream, with its `start`.
    pub fn new(name: Name, at: Option<usize>, first: Option<&[u8]>, now: Ts, made: &mut Vec<u8>) -> Self {
        let mut stamped = Self {
            stamper: Stamper::new(name),
            at,
            kind: None,
            reader: Reader::new(Kind::Plain),
            account: Account::default(),
            facts: Vec::new(),
            began: now,
            lines: 0,
            bytes: 0,
            whole: true,
        };
        stamped.recognise(first.unwrap_or_default());
        let start = Start {
            v: 1,
            attempt: 1,
            // As cl-spawn says it before it knows.
            agent: stamped.kind.map_or("auto", Kind::as_str).to_owned(),
            ..Start::default()
        };
        stamped.stamper.event(&Event::Start(Box::new(start)), now, made);
        stamped
    }

    /// The first line of JSON tells who writes.
    fn recognise(&mut self, line: &[u8]) {
        if self.kind.is_none() && line.starts_with(b"{") {
            let kind = Kind::of_line(line).unwrap_or(Kind::Plain);
            self.kind = Some(kind);
            self.reader = Reader::new(kind);
        }
    }

    /// Takes a line.
    pub fn line(&mut self, line: &[u8], eol: bool, now: Ts, made: &mut Vec<u8>) {
        self.recognise(line);
        let top = self.reader.object(line, &mut self.facts);
        for fact in self.facts.drain(..) {
            self.account.take(fact);
        }
        self.count(line, true, eol);
        self.stamper.checked(line, |_| top, eol, now, made);
    }

    /// Takes a piece of an over-long line.
    pub fn chunk(&mut self, piece: &[u8], last: bool, eol: bool, now: Ts, made: &mut Vec<u8>) {
        self.count(piece, last, eol);
        self.stamper.chunk(piece, last, eol, now, made);
    }

    fn count(&mut self, bytes: &[u8], last: bool, eol: bool) {
        self.lines += u64::from(last);
        self.bytes += bytes.len() as u64 + u64::from(eol);
        self.whole = eol || !last;
    }

    /// Takes an event of ours about this stream.
    pub fn event(&mut self, event: &Event, now: Ts, made: &mut Vec<u8>) {
        self.whole = false;
        self.stamper.event(event, now, made);
    }

    /// Ends the stream. `cut` says why we read no further, where it did not end by itself.
    pub fn exit(&mut self, cut: Option<&str>, now: Ts, made: &mut Vec<u8>) {
        let account = &self.account;
        let mut judgement = judge(&Evidence {
            end: End::Unseen,
            prompts: None,
            stop: None,
            agent: self.kind.is_some_and(Kind::is_agent),
            account,
            whole: self.whole,
            lines: self.lines,
            stderr: "",
        });
        if let Some(cut) = cut
            && !matches!(judgement.outcome, Outcome::Success | Outcome::Error)
        {
            judgement.outcome = Outcome::Unknown;
            cut.clone_into(&mut judgement.because);
        }
        let told = account.exit();
        let exit = Exit {
            resets_at: told.resets_at.filter(|_| judgement.outcome == Outcome::Limit),
            outcome: judgement.outcome,
            because: judgement.because,
            duration: now.since(self.began).as_secs_f64(),
            attempts: 1,
            lines: self.lines,
            bytes: self.bytes,
            whole: self.whole,
            ..told
        };
        self.stamper.event(&Event::Exit(Box::new(exit)), now, made);
    }
}
