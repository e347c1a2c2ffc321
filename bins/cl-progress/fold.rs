//! Lines into the picture of the run.

use harmony::agent::Kind;
use harmony::line::{Name, Ts, find_header, header};
use harmony::source::{Id, Intake, Out, Registry};
use harmony::state::{State, Stream};
use std::collections::HashMap;
use std::io;
use std::time::Instant;

/// So many bytes a second are read as what they say, which takes some hundredths of a core, and so many at once after a
/// quiet time. What an agent writes beyond that is only counted, so that it can flow as fast as the system moves it.
const CALM: f64 = (8 << 20) as f64;
const BURST: f64 = CALM / 2.0;

/// Told of each stream that a line belonged to, after that line.
pub type Told<'a> = &'a mut dyn FnMut(usize, &Stream, Ts);

/// The picture, and what is needed to go on with it.
#[derive(Debug, Default)]
pub struct Fold {
    /// The picture.
    pub state: State,
    /// Who makes lines of the stream of what has no header.
    intakes: HashMap<Id, Intake>,
    registry: Registry,
    /// Sources amid a line that is too long to be looked at, and whether it has a header.
    long: HashMap<Id, bool>,
    /// What may still be read of a flood, in bytes, and since when that is so; `None` reads all.
    calm: Option<(f64, Instant)>,
    /// Lines that are later than this are not folded.
    until: Option<Ts>,
}

impl Fold {
    /// An empty picture. `agent` reads what does not say who wrote it; `skims` lets a flood be counted instead of read;
    /// `records` keeps what happened when.
    pub fn new(agent: Option<Kind>, skims: bool, records: bool) -> Self {
        let mut state = State::assuming(agent);
        if records {
            state.record();
        }
        Self {
            state,
            calm: skims.then(|| (BURST, Instant::now())),
            ..Self::default()
        }
    }

    /// Folds only what had been written by then.
    pub fn until(&mut self, until: Option<Ts>) {
        self.until = until;
    }

    /// A source appears. `name` is for its lines without header, `shown` what to call it.
    pub fn joined(&mut self, id: Id, name: Name, shown: String, regular: bool) {
        let intake = Intake::new(name, shown, regular, false).of_some_lines();
        self.intakes.insert(id, intake);
    }

    /// Takes whole lines of a source.
    pub fn lines(&mut self, id: Id, block: &[u8], told: Told<'_>) {
        let skim = self.floods(block.len());
        let mut at = 0;
        while let Some(feed) = memchr::memchr(b'\n', &block[at..]) {
            let line = &block[at..at + feed];
            at += feed + 1;
            if is_sound(line) {
                one(&mut self.state, line, (skim, self.until), told);
            } else {
                self.odd(
                    id,
                    |intake, all, out| intake.lines(&block[at - feed - 1..at], Ts::now(), all, out),
                    told,
                );
            }
        }
    }

    /// Takes the last bytes of a source, which no line feed followed.
    pub fn tail(&mut self, id: Id, bytes: &[u8], told: Told<'_>) {
        self.odd(id, |intake, all, out| intake.tail(bytes, Ts::now(), all, out), told);
    }

    /// Takes a piece of a line that is too long to be looked at.
    pub fn piece(&mut self, id: Id, (bytes, last, eol): (&[u8], bool, bool), told: Told<'_>) {
        let headed = *self.long.entry(id).or_insert_with(|| {
            let headed = header(bytes).is_some();
            if headed {
                one(&mut self.state, bytes, (true, self.until), told);
            }
            headed
        });
        if last {
            self.long.remove(&id);
        }
        if !headed {
            let parts = (last, eol);
            self.odd(
                id,
                |intake, all, out| intake.piece(bytes, parts, Ts::now(), all, out),
                told,
            );
        }
    }

    /// A source has ended, and so has the stream that was made of its lines without header.
    pub fn left(&mut self, id: Id, told: Told<'_>) {
        if let Some(mut intake) = self.intakes.remove(&id) {
            let mut out = Folding {
                state: &mut self.state,
                until: self.until,
                told,
            };
            let _ = intake.end(None, Ts::now(), &mut self.registry, &mut out);
        }
    }

    /// Whether so many bytes are more than is read of a flood.
    fn floods(&mut self, bytes: usize) -> bool {
        let Some((left, since)) = &mut self.calm else {
            return false;
        };
        let now = Instant::now();
        *left = (*left + now.duration_since(*since).as_secs_f64() * CALM).min(BURST);
        *since = now;
        let floods = *left <= 0.0;
        if !floods {
            *left -= bytes as f64;
        }
        floods
    }

    fn odd(
        &mut self,
        id: Id,
        take: impl FnOnce(&mut Intake, &mut Registry, &mut Folding<'_>) -> io::Result<()>,
        told: Told<'_>,
    ) {
        let Some(intake) = self.intakes.get_mut(&id) else {
            return;
        };
        let mut out = Folding {
            state: &mut self.state,
            until: self.until,
            told,
        };
        // Folding does not fail.
        let _ = take(intake, &mut self.registry, &mut out);
    }
}

/// Whether the line can be folded as it stands: it has a header, and nothing is glued to it.
fn is_sound(line: &[u8]) -> bool {
    line.last() == Some(&b'}') && header(line).is_some() && find_header(line).is_none()
}

fn one(state: &mut State, line: &[u8], (skim, until): (bool, Option<Ts>), told: Told<'_>) {
    if let Some(until) = until
        && header(line).is_some_and(|header| header.ts > until)
    {
        return;
    }
    let place = if skim { state.skim(line) } else { state.line(line) };
    if let Some(place) = place {
        let stream = &state.streams()[place];
        told(place, stream, stream.last_seen);
    }
}

/// Where an intake's lines go.
struct Folding<'a> {
    state: &'a mut State,
    until: Option<Ts>,
    told: Told<'a>,
}

impl Out for Folding<'_> {
    fn wants(&mut self, _stream: &str) -> bool {
        true
    }

    fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            one(self.state, line, (false, self.until), self.told);
        }
        Ok(())
    }
}
