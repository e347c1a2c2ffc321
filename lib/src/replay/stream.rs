//! A cl stream as it was recorded.

use super::{End, Stage, Stopped, signal};
use crate::frame::{Framer, Part};
use crate::line::{self, Event, Header, Outcome, Ts};
use std::collections::BTreeSet;
use std::io::{self, Read};

/// The longest line there may be: 64 MiB of a worker's line, written as escapes, with room to spare.
pub const LONGEST: usize = 512 << 20;

/// Plays one stream of an input whose first line, at least, is in `framer`.
///
/// `stream` is the one that is asked for. Without one, `again` gives the input from its beginning once more, to find
/// the one that all others ran inside of; an input that can be read but once has none, and its first line tells.
///
/// # Errors
/// When the recording cannot be read or is none, when no or another stream is asked for, and what the stage says.
pub fn play(
    stream: Option<&str>,
    again: Option<impl Read>,
    mut input: impl Read,
    mut framer: Framer,
    stage: &mut impl Stage,
) -> Result<End, Stopped> {
    let root = match (stream, again) {
        (Some(name), _) => Some(name.to_owned()),
        (None, Some(again)) => only_stream(again)?,
        (None, None) => None,
    };
    let mut reel = Reel {
        asked: stream,
        root,
        begin: None,
        last: Ts::default(),
        end: None,
        line: 0,
        out: stage,
    };
    loop {
        while let Some(frame) = framer.next() {
            if frame.part != Part::Whole {
                return Err(Stopped::Broken(format!(
                    "line {} is longer than {} MiB",
                    reel.line + 1,
                    LONGEST >> 20
                )));
            }
            reel.line(frame.bytes)?;
        }
        // What is there is written before a pipe's next bytes are waited for.
        reel.out.flush()?;
        if !fill(&mut input, &mut framer)? {
            break;
        }
    }
    match framer.finish() {
        // Whoever wrote it was ended inside a line, unless only the line feed is missing.
        Some(frame) if line::object(frame.bytes).is_none() => {
            reel.out.complain("the last line is cut and left out")?;
        }
        Some(frame) => reel.line(frame.bytes)?,
        None => {}
    }
    reel.end()
}

/// Reads once; whether there was anything, or a signal came between.
fn fill(input: &mut impl Read, framer: &mut Framer) -> Result<bool, Stopped> {
    match input.read(framer.space()) {
        Ok(0) => return Ok(false),
        Ok(count) => framer.filled(count),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(Stopped::Input(error)),
    }
    Ok(true)
}

/// The one stream that all others ran inside of; `None` when no line bears a header.
fn only_stream(mut input: impl Read) -> Result<Option<String>, Stopped> {
    let mut framer = Framer::new(LONGEST);
    let mut names = BTreeSet::new();
    loop {
        while let Some(frame) = framer.next() {
            if let Some(head) = line::header(frame.bytes)
                && !names.contains(head.stream)
            {
                names.insert(head.stream.to_owned());
            }
        }
        if !fill(&mut input, &mut framer)? {
            break;
        }
    }
    let mut outer = names
        .iter()
        .filter(|name| !outers(name).any(|outer| names.contains(outer)));
    let Some(first) = outer.next() else {
        return Ok(None);
    };
    if outer.next().is_none() {
        return Ok(Some(first.clone()));
    }
    let outer = names
        .iter()
        .filter(|name| !outers(name).any(|outer| names.contains(outer)));
    Err(several_streams(outer.map(String::as_str)))
}

/// The names of the streams that one of this name would run inside of.
fn outers(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

fn several_streams<'a>(names: impl Iterator<Item = &'a str>) -> Stopped {
    let names: Vec<&str> = names.take(8).collect();
    Stopped::Misuse(format!(
        "it holds several streams; choose one by --stream: {}",
        names.join(", ")
    ))
}

/// What a stream is called inside the other one.
fn inside<'a>(name: &'a str, outer: &str) -> Option<&'a str> {
    name.strip_prefix(outer)?.strip_prefix('/')
}

struct Reel<'a, S> {
    asked: Option<&'a str>,
    root: Option<String>,
    /// The time that counts as the recording's first.
    begin: Option<Ts>,
    last: Ts,
    end: Option<End>,
    line: u64,
    out: &'a mut S,
}

impl<S: Stage> Reel<'_, S> {
    fn line(&mut self, line: &[u8]) -> Result<(), Stopped> {
        self.line += 1;
        let Some(head) = line::header(line) else {
            let message = format!("line {} bears no header and is left out", self.line);
            return self.out.complain(&message);
        };
        let root = self.root.get_or_insert_with(|| head.stream.to_owned());
        if let Some(inner) = inside(head.stream, root) {
            // The worker itself wrote this line, header and all.
            let inner = inner.to_owned();
            self.due(head.ts)?;
            line::stamp_as(&inner, line, &head, self.out.stdout());
            return self.out.settle();
        }
        if head.stream == root {
            return self.own(line, &head);
        }
        if self.asked.is_some() {
            return Ok(());
        }
        Err(several_streams([root.as_str(), head.stream].into_iter()))
    }

    /// A line of the stream that is played.
    fn own(&mut self, line: &[u8], head: &Header<'_>) -> Result<(), Stopped> {
        let event = match line::subtype(line, head) {
            None | Some(b"text" | b"chunk") => {
                self.due(head.ts)?;
                line::unwrap(line, self.out.stdout());
                return self.out.settle();
            }
            Some(b"start") => {
                if self.end.take().is_some()
                    && let Some(begin) = &mut self.begin
                {
                    // Another run in the same file: what lay between the two is no pause of the worker's.
                    begin.0 += head.ts.0.saturating_sub(self.last.0);
                }
                // The worker's clock starts here, not with its first line.
                return self.due(head.ts);
            }
            Some(b"stderr" | b"exit" | b"gap") => Event::read(line),
            Some(_) => return Ok(()),
        };
        match event {
            Some(Event::Stderr { bytes, eol }) => {
                self.due(head.ts)?;
                let mut bytes = bytes.bytes().unwrap_or_default();
                if eol {
                    bytes.push(b'\n');
                }
                self.out.stderr(&bytes)
            }
            Some(Event::Exit(exit)) => {
                self.due(head.ts)?;
                self.end = Some(end(&exit));
                Ok(())
            }
            Some(Event::Gap { from, to, .. }) => {
                let message = format!("lines {from} to {to} of the stream were lost");
                self.out.complain(&message)
            }
            _ => Ok(()),
        }
    }

    fn due(&mut self, ts: Ts) -> Result<(), Stopped> {
        let begin = *self.begin.get_or_insert(ts);
        self.last = ts;
        self.out.wait(ts.since(begin))
    }

    fn end(self) -> Result<End, Stopped> {
        if self.begin.is_none()
            && let Some(name) = self.asked
        {
            return Err(Stopped::Misuse(format!("it holds no stream {name}")));
        }
        Ok(self.end.unwrap_or(End::Untold))
    }
}

fn end(exit: &line::Exit) -> End {
    if let Some(end) = exit.signal.as_deref().and_then(signal) {
        return end;
    }
    match (exit.code, exit.outcome) {
        (Some(code), _) => End::Code(code as u8),
        // Stamped by a reader, which saw no exit code, or never started.
        (None, Outcome::Success) => End::Code(0),
        (None, Outcome::Unstartable) => End::Code(127),
        (None, Outcome::Unknown | Outcome::Lost) => End::Untold,
        (None, _) => End::Code(1),
    }
}
