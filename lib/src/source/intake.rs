//! Any source's lines as lines of the stream.
//!
//! Lines with a header pass as they stand, in runs as long as can be; others are stamped. Holes, torn lines and
//! streams that stop without their `exit` are told where they are noticed.

use super::stamped::Stamped;
use crate::line::{
    Bytes, Event, Header, Hole, Name, PREFIX, Sequence, Stamper, Ts, find_header, header, looks_whole, object, subtype,
};
use std::collections::HashMap;
use std::io;

/// Where the lines go.
pub trait Out {
    /// Whether a stream's lines are wanted; asked once for each stream of a source.
    fn wants(&mut self, stream: &str) -> bool;

    /// Takes whole lines of wanted streams, each with its header and its line feed.
    ///
    /// # Errors
    /// Whatever writing gives.
    fn lines(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// What the intakes of all sources share: which streams there are, and whether they have ended.
#[derive(Debug, Default)]
pub struct Registry {
    by_name: HashMap<Box<str>, usize>,
    ended: Vec<bool>,
    running: usize,
    /// Lines that are made here, before they go out.
    made: Vec<u8>,
    /// Streams whose file ended before their `exit` came: another file may still hold it.
    late: Vec<(Name, u64, String)>,
}

impl Registry {
    /// How many streams were seen that are wanted and have not ended.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether a stream was seen that is wanted.
    pub fn any(&self) -> bool {
        !self.ended.is_empty()
    }

    fn stream(&mut self, name: &str) -> usize {
        if let Some(&at) = self.by_name.get(name) {
            return at;
        }
        self.by_name.insert(name.into(), self.ended.len());
        self.ended.push(false);
        self.running += 1;
        self.ended.len() - 1
    }

    fn set_ended(&mut self, at: usize, ended: bool) {
        match (std::mem::replace(&mut self.ended[at], ended), ended) {
            (false, true) => self.running -= 1,
            (true, false) => self.running += 1,
            _ => {}
        }
    }

    /// Tells which streams no file held the end of. To be called when no regular file is left to read.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn files_done(&mut self, out: &mut impl Out) -> io::Result<()> {
        for (name, seq, source) in std::mem::take(&mut self.late) {
            let at = self.stream(name.as_str());
            if !self.ended[at] {
                self.lost(at, name, seq, source);
            }
        }
        self.flush(out)
    }

    fn lost(&mut self, at: usize, name: Name, seq: u64, source: String) {
        self.set_ended(at, true);
        Stamper::after(name, seq).event(&Event::Lost { source }, Ts::now(), &mut self.made);
    }

    /// Passes on what was made here.
    fn flush(&mut self, out: &mut impl Out) -> io::Result<()> {
        if self.made.is_empty() {
            return Ok(());
        }
        let passed = out.lines(&self.made);
        self.made.clear();
        // What one long line needed is not kept for ever.
        self.made.shrink_to(1 << 20);
        passed
    }
}

/// One stream as one source shows it.
#[derive(Debug)]
struct Stream {
    name: Box<str>,
    sequence: Sequence,
    ended: bool,
    /// Its place in the registry; `None` when it is not wanted.
    at: Option<usize>,
}

/// The lines of one source.
#[derive(Debug)]
pub struct Intake {
    name: Name,
    source: String,
    regular: bool,
    owes: bool,
    streams: Vec<Stream>,
    by_name: HashMap<Box<str>, usize>,
    /// The stream of the line before: mostly that of the next one, too.
    last: usize,
    /// Whether holes are told; not where somebody else takes most of the lines.
    tells_holes: bool,
    stamped: Option<Box<Stamped>>,
}

impl Intake {
    /// A source that begins. `name` is for its lines that have none, `source` what to call it; `regular` says that it
    /// is a regular file, of which another may hold the rest; `owes` that even a source without any line is a stream.
    pub fn new(name: Name, source: String, regular: bool, owes: bool) -> Self {
        Self {
            name,
            source,
            regular,
            owes,
            streams: Vec::new(),
            by_name: HashMap::new(),
            last: 0,
            tells_holes: true,
            stamped: None,
        }
    }

    /// The same for whoever takes most lines past it, and notices holes itself: it tells of none.
    pub fn of_some_lines(mut self) -> Self {
        self.tells_holes = false;
        self
    }

    /// Whether any stream was seen in this source.
    pub fn spoke(&self) -> bool {
        !self.streams.is_empty() || self.stamped.is_some()
    }

    /// Takes whole lines, each with its line feed, that were read at `now`.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn lines(&mut self, block: &[u8], now: Ts, all: &mut Registry, out: &mut impl Out) -> io::Result<()> {
        // Lines from here to `at` are whole, wanted, and not passed on yet.
        let (mut run, mut at) = (0, 0);
        while let Some(feed) = memchr::memchr(b'\n', &block[at..]) {
            let line = &block[at..at + feed];
            let next = at + feed + 1;
            let passes = match header(line) {
                Some(head) if looks_whole(line) => {
                    let (wanted, hole) = self.headed(line, &head, all, out);
                    if let Some(hole) = hole.filter(|_| wanted) {
                        pass(&block[run..at], all, out)?;
                        run = at;
                        gap(head.stream, hole, now, &mut all.made);
                    }
                    wanted
                }
                _ => {
                    pass(&block[run..at], all, out)?;
                    run = next;
                    self.odd(line, true, now, all, out)?;
                    true
                }
            };
            if !passes {
                pass(&block[run..at], all, out)?;
                run = next;
            }
            at = next;
        }
        pass(&block[run..at], all, out)?;
        all.flush(out)
    }

    /// Takes a piece of an over-long line.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn piece(
        &mut self,
        bytes: &[u8],
        (last, eol): (bool, bool),
        now: Ts,
        all: &mut Registry,
        out: &mut impl Out,
    ) -> io::Result<()> {
        self.stamp(None, now, all, out, |stamped, made| {
            stamped.chunk(bytes, last, eol, now, made);
        })?;
        all.flush(out)
    }

    /// Takes the last bytes of a writer, which no line feed followed.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn tail(&mut self, bytes: &[u8], now: Ts, all: &mut Registry, out: &mut impl Out) -> io::Result<()> {
        self.odd(bytes, false, now, all, out)?;
        all.flush(out)
    }

    /// The source has ended: so have the streams in it. `cut` says that it did not end by itself, and why.
    ///
    /// # Errors
    /// Whatever writing gives.
    pub fn end(&mut self, cut: Option<&str>, now: Ts, all: &mut Registry, out: &mut impl Out) -> io::Result<()> {
        for stream in &mut self.streams {
            let (false, Some(at), Ok(name)) = (stream.ended, stream.at, Name::new(&stream.name)) else {
                continue;
            };
            stream.ended = true;
            let seq = stream.sequence.last();
            if self.regular {
                all.late.push((name, seq, self.source.clone()));
            } else {
                all.lost(at, name, seq, self.source.clone());
            }
        }
        if self.owes && !self.spoke() && cut.is_none() {
            self.stamp(None, now, all, out, |_, _| {})?;
        }
        if self.stamped.is_some() {
            self.stamp(None, now, all, out, |stamped, made| stamped.exit(cut, now, made))?;
        }
        if let Some(at) = self.stamped.take().and_then(|stamped| stamped.at) {
            all.set_ended(at, true);
        }
        all.flush(out)
    }

    /// Takes note of a line with a header: whether it is wanted, and what is missing before it.
    fn headed(
        &mut self,
        line: &[u8],
        head: &Header<'_>,
        all: &mut Registry,
        out: &mut impl Out,
    ) -> (bool, Option<Hole>) {
        let own = subtype(line, head);
        if let Some(b"join" | b"leave" | b"partial" | b"final") = own {
            // What a reader says, not a stream that owes an end.
            return (out.wants(head.stream), None);
        }
        let tells_holes = self.tells_holes;
        let stream = self.stream(head.stream, all, out);
        let hole = match own {
            Some(b"gap") => {
                let hole = match Event::read(line) {
                    Some(Event::Gap { from, .. }) if from <= head.seq => stream.sequence.see(from),
                    _ => None,
                };
                stream.sequence.told(head.seq);
                hole
            }
            Some(b"start") if head.seq == 1 => {
                stream.sequence = Sequence::default();
                stream.sequence.see(1)
            }
            _ => stream.sequence.see(head.seq),
        };
        let ended = match own {
            Some(b"exit" | b"lost") => true,
            Some(b"start") => false,
            _ => stream.ended,
        };
        if stream.ended != ended {
            stream.ended = ended;
            if let Some(at) = stream.at {
                all.set_ended(at, ended);
            }
        }
        (stream.at.is_some(), hole.filter(|_| tells_holes))
    }

    fn stream(&mut self, name: &str, all: &mut Registry, out: &mut impl Out) -> &mut Stream {
        if self.streams.get(self.last).is_none_or(|stream| *stream.name != *name) {
            self.last = match self.by_name.get(name) {
                Some(&at) => at,
                None => {
                    let at = self.streams.len();
                    self.by_name.insert(name.into(), at);
                    self.streams.push(Stream {
                        name: name.into(),
                        sequence: Sequence::default(),
                        ended: false,
                        at: out.wants(name).then(|| all.stream(name)),
                    });
                    at
                }
            };
        }
        &mut self.streams[self.last]
    }

    /// A line that cannot pass as it stands: one without header, a torn one, or the last one without line feed.
    fn odd(&mut self, line: &[u8], eol: bool, now: Ts, all: &mut Registry, out: &mut impl Out) -> io::Result<()> {
        let mut line = line;
        loop {
            let head = header(line);
            let valid = object(line).is_some();
            if let Some(head) = &head
                && valid
            {
                let (wanted, hole) = self.headed(line, head, all, out);
                if wanted {
                    if let Some(hole) = hole {
                        gap(head.stream, hole, now, &mut all.made);
                    }
                    all.made.extend_from_slice(line);
                    all.made.push(b'\n');
                }
                return Ok(());
            }
            // A valid line is never cut; of another one, what is glued to it is had back.
            if !valid && let Some(at) = find_header(line) {
                self.torn(&line[..at], now, all, out)?;
                line = &line[at..];
                continue;
            }
            let half = !valid
                && (head.is_some()
                    || (self.tagged() && (line.starts_with(PREFIX) || !eol && PREFIX.starts_with(line))));
            if half {
                return self.torn(line, now, all, out);
            }
            return self.stamp(Some(line), now, all, out, |stamped, made| {
                stamped.line(line, eol, now, made);
            });
        }
    }

    /// Whether this source has shown lines with headers.
    fn tagged(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Tells of half a line: in its own place where its header can be read, else as the source's.
    fn torn(&mut self, half: &[u8], now: Ts, all: &mut Registry, out: &mut impl Out) -> io::Result<()> {
        let event = Event::Torn {
            bytes: Bytes::new(half),
        };
        let Some(Header { stream, seq, .. }) = header(half) else {
            return self.stamp(None, now, all, out, |stamped, made| stamped.event(&event, now, made));
        };
        let tells_holes = self.tells_holes;
        let state = self.stream(stream, all, out);
        let hole = state.sequence.see(seq).filter(|_| tells_holes);
        if let (true, Ok(name)) = (state.at.is_some(), Name::new(stream)) {
            if let Some(hole) = hole {
                gap(stream, hole, now, &mut all.made);
            }
            Stamper::after(name, seq.saturating_sub(1)).event(&event, now, &mut all.made);
        }
        Ok(())
    }

    /// Makes something of this source's own stream, which begins with its first line.
    fn stamp(
        &mut self,
        first: Option<&[u8]>,
        now: Ts,
        all: &mut Registry,
        out: &mut impl Out,
        make: impl FnOnce(&mut Stamped, &mut Vec<u8>),
    ) -> io::Result<()> {
        let before = all.made.len();
        let by_name = &self.by_name;
        let stamped = self.stamped.get_or_insert_with(|| {
            // A stream of that name may flow here already, with headers: this is another one.
            let name = super::place::free(self.name.clone(), |name| by_name.contains_key(name.as_str()));
            let at = out.wants(name.as_str()).then(|| all.stream(name.as_str()));
            if let Some(at) = at {
                all.set_ended(at, false);
            }
            Box::new(Stamped::new(name, at, first, now, &mut all.made))
        });
        make(stamped, &mut all.made);
        if stamped.at.is_none() {
            all.made.truncate(before);
        }
        if all.made.len() >= MADE {
            all.flush(out)?;
        }
        Ok(())
    }
}

/// How much is made before it is passed on.
const MADE: usize = 64 << 10;

/// Passes on a run of lines as they stand, behind what was made before them.
fn pass(run: &[u8], all: &mut Registry, out: &mut impl Out) -> io::Result<()> {
    if run.is_empty() {
        return Ok(());
    }
    all.flush(out)?;
    out.lines(run)
}

fn gap(stream: &str, hole: Hole, now: Ts, made: &mut Vec<u8>) {
    if let Ok(name) = Name::new(stream) {
        let event = Event::Gap {
            from: hole.from,
            to: hole.to,
            lost: hole.lost(),
        };
        Stamper::after(name, hole.to - 1).event(&event, now, made);
    }
}
