//! Lines into the picture of the run.

use harmony::agent::Kind;
use harmony::line::{Ts, find_header, header};
use harmony::source::{Id, Intake, Out, Registry, Source};
use harmony::state::{State, Stream};
use std::collections::HashMap;
use std::io;

/// When more than this has come without a pause, the rest of the flood is only counted.
const FLOOD: usize = 16 << 20;

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
    /// Bytes since the last pause.
    burst: usize,
    /// Whether a flood may be skimmed.
    skims: bool,
}

impl Fold {
    /// An empty picture. `agent` reads what does not say who wrote it; `skims` lets a flood be counted instead of read.
    pub fn new(agent: Option<Kind>, skims: bool) -> Self {
        Self {
            state: State::assuming(agent),
            skims,
            ..Self::default()
        }
    }

    /// Takes whole lines of a source.
    pub fn lines(&mut self, id: Id, source: &Source, block: &[u8], told: Told<'_>) {
        self.burst = self.burst.saturating_add(block.len());
        let skim = self.skims && self.burst > FLOOD;
        let mut at = 0;
        while let Some(feed) = memchr::memchr(b'\n', &block[at..]) {
            let line = &block[at..at + feed];
            at += feed + 1;
            if is_sound(line) {
                one(&mut self.state, line, skim, told);
            } else {
                self.odd(id, source, |intake, all, out| {
                    intake.lines(&block[at - feed - 1..at], Ts::now(), all, out)
                }, told);
            }
        }
    }

    /// Takes the last bytes of a source, which no line feed followed.
    pub fn tail(&mut self, id: Id, source: &Source, bytes: &[u8], told: Told<'_>) {
        self.odd(id, source, |intake, all, out| intake.tail(bytes, Ts::now(), all, out), told);
    }

    /// Takes a piece of a line that is too long to be looked at.
    pub fn piece(&mut self, id: Id, source: &Source, (bytes, last, eol): (&[u8], bool, bool), told: Told<'_>) {
        if header(bytes).is_some() {
            one(&mut self.state, bytes, true, told);
        } else if self.intakes.contains_key(&id) || self.state.streams().is_empty() {
            let parts = (last, eol);
            self.odd(id, source, |intake, all, out| intake.piece(bytes, parts, Ts::now(), all, out), told);
        }
    }

    /// A source has ended, and so has the stream that was made of its lines without header.
    pub fn left(&mut self, id: Id, told: Told<'_>) {
        if let Some(mut intake) = self.intakes.remove(&id) {
            let mut out = Folding { state: &mut self.state, told };
            let _ = intake.end(None, Ts::now(), &mut self.registry, &mut out);
        }
    }

    /// All that came has been taken.
    pub fn pause(&mut self) {
        self.burst = 0;
    }

    fn odd(
        &mut self,
        id: Id,
        source: &Source,
        take: impl FnOnce(&mut Intake, &mut Registry, &mut Folding<'_>) -> io::Result<()>,
        told: Told<'_>,
    ) {
        let intake = self
            .intakes
            .entry(id)
            .or_insert_with(|| Intake::new(source.name.clone(), source.shown.clone(), source.regular, false));
        let mut out = Folding { state: &mut self.state, told };
        // Folding does not fail.
        let _ = take(intake, &mut self.registry, &mut out);
    }
}

/// Whether the line can be folded as it stands: it has a header, and nothing is glued to it.
fn is_sound(line: &[u8]) -> bool {
    line.last() == Some(&b'}') && header(line).is_some() && find_header(line).is_none()
}

fn one(state: &mut State, line: &[u8], skim: bool, told: Told<'_>) {
    let place = if skim { state.skim(line) } else { state.line(line) };
    if let Some(place) = place {
        let stream = &state.streams()[place];
        told(place, stream, stream.last_seen);
    }
}

/// Where an intake's lines go.
struct Folding<'a> {
    state: &'a mut State,
    told: Told<'a>,
}

impl Out for Folding<'_> {
    fn wants(&mut self, _stream: &str) -> bool {
        true
    }

    fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            one(self.state, line, false, self.told);
        }
        Ok(())
    }
}
