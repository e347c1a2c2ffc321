//! The stream as text for people: each stream's lines behind its coloured name.
//!
//! What a worker wrote comes through [`clean`](super::clean) first, so that it cannot speak to the terminal.

use super::{clean_lines, line as one_line};
use crate::agent::{Fact, Kind, Reader, ResultFact};
use crate::line::{Event, Exit, Header, Outcome, body, header, subtype};
use crate::units::brief;
use std::collections::HashMap;
use std::time::Duration;

/// Names are padded to the longest one so far, up to this.
const PAD: usize = 20;
/// What is told in one line is cut at so many columns.
const COLUMNS: usize = 160;
/// So many tool calls of one stream are remembered by name.
const CALLS: usize = 1000;

const RED: &str = "31";
const YELLOW: &str = "33";
const GREEN: &str = "32";
const DIM: &str = "2";

/// Turns lines of the stream into text.
#[derive(Debug, Default)]
pub struct Text {
    color: bool,
    pad: usize,
    voices: Vec<Voice>,
    by_name: HashMap<String, usize>,
    /// Whose line is begun and not ended.
    open: Option<usize>,
    facts: Vec<Fact>,
}

/// One stream.
#[derive(Debug)]
struct Voice {
    name: String,
    color: u8,
    /// Who writes, once a `start` or the first line of JSON has told.
    kind: Option<Kind>,
    reader: Reader,
    /// What has been shown of the block that is being written.
    shown: Shown,
    /// Whether this turn's answer has been shown.
    answered: bool,
    /// Turns that a kept worker has finished.
    turns: u64,
    /// Tool calls under way, by id.
    calls: HashMap<String, String>,
}

/// The beginning of what was shown, and how much it was: pieces may come without end.
#[derive(Debug, Default)]
struct Shown {
    begin: String,
    length: usize,
}

/// As much of a block is compared.
const COMPARED: usize = 64 << 10;

impl Shown {
    fn push(&mut self, piece: &str) {
        if self.begin.len() < COMPARED {
            let mut end = piece.len().min(COMPARED - self.begin.len());
            while !piece.is_char_boundary(end) {
                end += 1;
            }
            self.begin.push_str(&piece[..end]);
        }
        self.length += piece.len();
    }

    /// What is still to be shown of the finished block, where its pieces have been.
    fn rest<'a>(&self, block: &'a str) -> Option<&'a str> {
        let known = self.length > 0 && block.starts_with(&self.begin);
        block.get(self.length..).filter(|_| known)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Text {
    /// Text with or without colour.
    pub fn new(color: bool) -> Self {
        Self {
            color,
            ..Self::default()
        }
    }

    /// Appends the text for a line (given without its line feed).
    pub fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(head) = header(line) else {
            self.close(out);
            push(out, &clean_lines(&String::from_utf8_lossy(line)));
            out.push(b'\n');
            return;
        };
        let voice = self.voice(head.stream);
        if subtype(line, &head).is_some() {
            if let Some(event) = Event::read(line) {
                self.event(voice, &event, out);
            }
        } else {
            self.worker(voice, line, &head, out);
        }
    }

    /// Ends a line that is begun.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.close(out);
    }

    fn voice(&mut self, name: &str) -> usize {
        if let Some(&at) = self.by_name.get(name) {
            return at;
        }
        let at = self.voices.len();
        self.by_name.insert(name.to_owned(), at);
        self.pad = self.pad.max(name.len().min(PAD));
        self.voices.push(Voice {
            name: name.to_owned(),
            color: color_of(name),
            kind: None,
            reader: Reader::new(Kind::Plain),
            shown: Shown::default(),
            answered: false,
            turns: 0,
            calls: HashMap::new(),
        });
        at
    }

    /// A line of JSON that the worker wrote.
    fn worker(&mut self, at: usize, line: &[u8], head: &Header<'_>, out: &mut Vec<u8>) {
        let voice = &mut self.voices[at];
        if voice.kind.is_none() {
            let kind = Kind::of_line(line).unwrap_or(Kind::Plain);
            voice.kind = Some(kind);
            voice.reader = Reader::new(kind);
        }
        if voice.kind == Some(Kind::Plain) {
            let (brace, rest) = body(line, head);
            let text = String::from_utf8_lossy(rest);
            self.say(at, "", "", &format!("{}{text}", String::from_utf8_lossy(brace)), out);
            return;
        }
        let mut facts = std::mem::take(&mut self.facts);
        voice.reader.read(line, &mut facts);
        for fact in facts.drain(..) {
            self.fact(at, &fact, out);
        }
        self.facts = facts;
    }

    fn fact(&mut self, at: usize, fact: &Fact, out: &mut Vec<u8>) {
        match fact {
            Fact::Init { .. } => {
                let voice = &mut self.voices[at];
                voice.shown.clear();
                voice.answered = false;
            }
            Fact::Text { text, sub: true } => self.say(at, DIM, "  ", text, out),
            Fact::Text { text, sub: false } => self.block(at, text, out),
            Fact::Delta { text, .. } => {
                let voice = &mut self.voices[at];
                voice.shown.push(text);
                voice.answered = true;
                self.piece(at, text, out);
            }
            Fact::ToolStart { id, name, what } => {
                let calls = &mut self.voices[at].calls;
                if calls.len() < CALLS {
                    calls.insert(id.clone(), name.clone());
                }
                let what = if what.is_empty() {
                    name.clone()
                } else {
                    format!("{name}: {what}")
                };
                self.note(at, "36", "» ", &what, out);
            }
            Fact::ToolEnd { id, error } => {
                let name = self.voices[at].calls.remove(id);
                if *error {
                    let name = name.unwrap_or_else(|| "tool".to_owned());
                    self.note(at, YELLOW, "» ", &format!("{name} failed"), out);
                }
            }
            Fact::Denied { tool } => self.note(at, YELLOW, "» ", &format!("{tool} was not permitted"), out),
            Fact::Retry {
                attempt,
                max,
                delay,
                because,
            } => {
                let of = max.map_or_else(String::new, |max| format!(" of {max}"));
                let text = format!("retry {attempt}{of} in {}: {because}", span(*delay));
                self.note(at, YELLOW, "~ ", &text, out);
            }
            Fact::Limit {
                status,
                resets_at,
                kind,
            } => self.limit(at, status, *resets_at, kind.as_deref(), out),
            Fact::Trouble(text) => self.note(at, YELLOW, "! ", text, out),
            Fact::Result(result) => self.result(at, result, out),
            Fact::Thinking | Fact::Usage { .. } | Fact::Cost(_) | Fact::Background(_) | Fact::Tasks(_) => {}
        }
    }

    /// A finished block of the answer: only what its pieces have not shown yet.
    fn block(&mut self, at: usize, text: &str, out: &mut Vec<u8>) {
        let voice = &mut self.voices[at];
        voice.answered = true;
        let shown = std::mem::take(&mut voice.shown);
        match shown.rest(text) {
            Some(rest) => {
                self.piece(at, rest, out);
                self.close_if(at, out);
            }
            _ => self.say(at, "", "", text, out),
        }
    }

    fn result(&mut self, at: usize, result: &ResultFact, out: &mut Vec<u8>) {
        self.close_if(at, out);
        let voice = &mut self.voices[at];
        voice.shown.clear();
        let answered = std::mem::take(&mut voice.answered);
        let text = result.text.as_deref().unwrap_or_default();
        if result.error {
            let text = if text.is_empty() { &result.subtype } else { text };
            self.say(at, RED, "! ", text, out);
        } else if !answered && !text.is_empty() {
            self.say(at, "", "", text, out);
        }
    }

    fn event(&mut self, at: usize, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => {
                let kind = Kind::named(&start.agent);
                let voice = &mut self.voices[at];
                // What is called plain may show itself to be an agent by its first line.
                if start.attempt <= 1 {
                    voice.turns = 0;
                }
                voice.kind = kind.filter(|kind| kind.is_agent());
                voice.reader = Reader::new(kind.unwrap_or(Kind::Plain));
                voice.shown.clear();
                voice.answered = false;
                voice.calls.clear();
            }
            Event::Text { bytes, eol: true } => self.say(at, "", "", &bytes.lossy(), out),
            Event::Text { bytes, eol: false } => self.piece(at, &bytes.lossy(), out),
            Event::Chunk { bytes, last, eol } => {
                self.piece(at, &bytes.lossy(), out);
                if *last && *eol {
                    self.close_if(at, out);
                }
            }
            Event::Stderr { bytes, .. } => self.say(at, DIM, "! ", &bytes.lossy(), out),
            Event::Heartbeat { .. } => {}
            Event::Limit {
                status,
                resets_at,
                kind,
            } => self.limit(at, status, *resets_at, kind.as_deref(), out),
            Event::Retry {
                attempt,
                of,
                delay,
                because,
                next,
            } => {
                let by = next.as_ref().map_or_else(String::new, |next| format!(" by {next}"));
                let text = format!("attempt {attempt} of {of}{by} in {}: {because}", span(*delay));
                self.note(at, YELLOW, "~ ", &text, out);
            }
            Event::Stop { because, .. } => self.note(at, YELLOW, "~ ", &format!("stopping it: {because}"), out),
            Event::Exit(exit) => self.exit(at, "", exit, out),
            Event::Turn(exit) => {
                let voice = &mut self.voices[at];
                voice.turns += 1;
                // The next answer is another block, though it begin with the same words.
                voice.shown.clear();
                voice.answered = false;
                let turn = format!("turn {}: ", voice.turns);
                self.exit(at, &turn, exit, out);
            }
            Event::Gap { lost, .. } => self.note(at, RED, "! ", &format!("{lost} lines are missing here"), out),
            Event::Torn { bytes } => self.note(at, RED, "! ", &format!("half a line: {}", bytes.lossy()), out),
            Event::Lost { source } => {
                let text = format!("lost: {source} ended without the stream's exit");
                self.note(at, RED, "✗ ", &text, out);
            }
            Event::Join { source } => self.note(at, DIM, "+ ", source, out),
            Event::Leave { source } => self.note(at, DIM, "- ", source, out),
            Event::Partial(verdict) => self.note(at, DIM, "~ ", &format!("so far: {}", verdict.verdict), out),
            Event::Final(verdict) => self.note(at, DIM, "= ", &verdict.verdict, out),
        }
    }

    fn exit(&mut self, at: usize, what: &str, exit: &Exit, out: &mut Vec<u8>) {
        let mut text = format!("{what}{}", exit.outcome.as_str());
        if exit.outcome != Outcome::Success && !exit.because.is_empty() {
            text += &format!(" ({})", exit.because);
        }
        text += &format!(", {}", span(exit.duration));
        if let Some(cost) = exit.cost_usd {
            text += &format!(", ${cost:.4}");
        }
        if !exit.denials.is_empty() {
            text += &format!(", {} denied", exit.denials.len());
        }
        let (color, mark) = match exit.outcome {
            Outcome::Success => (GREEN, "✓ "),
            Outcome::Unknown => (DIM, "? "),
            _ => (RED, "✗ "),
        };
        self.note(at, color, mark, &text, out);
    }

    fn limit(&mut self, at: usize, status: &str, resets_at: Option<f64>, kind: Option<&str>, out: &mut Vec<u8>) {
        if status == "allowed" {
            return;
        }
        let kind = kind.map_or_else(String::new, |kind| format!(" ({kind})"));
        let until = resets_at
            .and_then(clock)
            .map_or_else(String::new, |time| format!(" until {time}"));
        let text = match status {
            "held" => format!("waits for the usage limit{kind}{until}"),
            _ => format!("usage limit{kind}: {status}{until}"),
        };
        self.note(at, YELLOW, "~ ", &text, out);
    }

    /// Something in one line, cut when it is long.
    fn note(&mut self, at: usize, color: &str, mark: &str, text: &str, out: &mut Vec<u8>) {
        self.say(at, color, mark, &one_line(text, COLUMNS), out);
    }

    /// Whole lines, each behind the name.
    fn say(&mut self, at: usize, color: &str, mark: &str, text: &str, out: &mut Vec<u8>) {
        self.close(out);
        let text = clean_lines(text);
        for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
            self.label(at, out);
            self.paint(color, &[mark, line], out);
            out.push(b'\n');
        }
    }

    /// A part of a text as it comes: the line is left open for the next part.
    fn piece(&mut self, at: usize, text: &str, out: &mut Vec<u8>) {
        let text = clean_lines(text);
        let mut parts = text.split('\n');
        let mut part = parts.next();
        while let Some(text) = part {
            part = parts.next();
            if text.is_empty() && part.is_none() {
                return;
            }
            if self.open != Some(at) {
                self.close(out);
                self.label(at, out);
                self.open = Some(at);
            }
            push(out, text);
            if part.is_some() {
                self.close(out);
            }
        }
    }

    fn close_if(&mut self, at: usize, out: &mut Vec<u8>) {
        if self.open == Some(at) {
            self.close(out);
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            out.push(b'\n');
        }
    }

    fn label(&self, at: usize, out: &mut Vec<u8>) {
        let voice = &self.voices[at];
        self.paint(&voice.color.to_string(), &[&voice.name], out);
        out.resize(out.len() + self.pad.saturating_sub(voice.name.len()), b' ');
        push(out, " │ ");
    }

    fn paint(&self, color: &str, parts: &[&str], out: &mut Vec<u8>) {
        let painted = self.color && !color.is_empty();
        if painted {
            push(out, &format!("\x1b[{color}m"));
        }
        parts.iter().for_each(|part| push(out, part));
        if painted {
            push(out, "\x1b[0m");
        }
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Seconds from outside, as people read them.
fn span(seconds: f64) -> String {
    brief(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A time of day here, for a time in Unix seconds.
fn clock(seconds: f64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds as i64).ok()?;
    Some(
        time.to_zoned(jiff::tz::TimeZone::system())
            .strftime("%H:%M")
            .to_string(),
    )
}

/// A colour that is the name's own, the same in every run; red is kept for what went wrong.
fn color_of(name: &str) -> u8 {
    const COLORS: [u8; 10] = [36, 32, 33, 35, 34, 96, 92, 93, 95, 94];
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    COLORS[(hash >> 8) as usize % COLORS.len()]
}

#[cfg(test)]
mod tests;
