//! What a reader got, taken apart: each stream by itself.

use harmony::line::{Event, Exit, header, object, subtype, unwrap};
use std::collections::BTreeMap;

/// A stream as it was recorded in one place.
#[derive(Debug, Default)]
pub struct Stream {
    /// The worker's bytes, an attempt each.
    pub attempts: Vec<Vec<u8>>,
    /// The number of the last line.
    seq: u64,
    /// How many lines a gap event tells to be missing.
    pub gaps: u64,
    /// Whether cl-merge stamped it.
    pub stamped: bool,
    pub torn: usize,
    pub turns: usize,
    /// What cl-merge says of its sources, in a stream of its own.
    pub joins: usize,
    pub leaves: usize,
    pub end: End,
}

/// How a stream ends there.
#[derive(Debug, Default)]
pub enum End {
    /// It stops.
    #[default]
    Open,
    Exit(Box<Exit>),
    Lost,
}

/// All that was recorded in one place.
#[derive(Debug, Default)]
pub struct Record {
    pub streams: BTreeMap<String, Stream>,
    /// cl-wait's answer.
    pub verdict: Option<harmony::line::Verdict>,
    /// Whether it ends amid a line.
    pub cut: bool,
    /// What must never be.
    pub wrong: Vec<String>,
    /// The line before, where that was none.
    half: Option<String>,
}

impl Record {
    /// Takes a stream of lines.
    pub fn read(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => self.line(line),
                None => self.cut = true,
            }
        }
        self.wrong.extend(self.half.take());
    }

    fn line(&mut self, line: &[u8]) {
        let Some(head) = header(line).filter(|_| object(line).is_some()) else {
            let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
            self.wrong.extend(self.half.take());
            self.half = Some(format!("no line of a stream: {shown}"));
            return;
        };
        let own = subtype(line, &head);
        // What cl-wait passes on may end amid a line; its own last word comes behind that.
        match self.half.take() {
            Some(_) if own == Some(b"final") => self.cut = true,
            half => self.wrong.extend(half),
        }
        if own == Some(b"partial") {
            return;
        }
        let event = own.and_then(|_| Event::read(line));
        if let Some(Event::Final(verdict)) = event {
            self.verdict = Some(verdict);
            return;
        }
        let name = head.stream;
        let stream = self.streams.entry(name.to_owned()).or_default();
        if !matches!(stream.end, End::Open) {
            self.wrong
                .push(format!("{name}: line {} comes after its end", head.seq));
        }
        let first = match &event {
            Some(Event::Gap { from, lost, .. }) => {
                stream.gaps += lost;
                *from
            }
            _ => head.seq,
        };
        if first != stream.seq + 1 {
            self.wrong
                .push(format!("{name}: line {first} comes after line {}", stream.seq));
        }
        stream.seq = head.seq;
        match own {
            Some(b"join") => return stream.joins += 1,
            Some(b"leave") => return stream.leaves += 1,
            _ => {}
        }
        match event {
            Some(Event::Start(start)) => {
                // Only cl-spawn knows what it runs.
                stream.stamped |= start.argv.is_empty();
                stream.attempts.push(Vec::new());
            }
            Some(Event::Exit(exit)) => stream.end = End::Exit(exit),
            Some(Event::Lost { .. }) => stream.end = End::Lost,
            Some(Event::Torn { .. }) => stream.torn += 1,
            Some(Event::Turn(_)) => stream.turns += 1,
            _ => match stream.attempts.last_mut() {
                Some(attempt) => unwrap(line, attempt),
                None if stream.gaps > 0 => {}
                None => self
                    .wrong
                    .push(format!("{name}: line {} comes before its start", head.seq)),
            },
        }
    }
}
