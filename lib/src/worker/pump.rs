//! The pump: it takes a worker's bytes through frame and stamp to the sink.
//!
//! It alone writes to the sink, so it alone is held up by a slow reader, on a thread of its own; what the supervisor
//! wants said waits in a queue meanwhile. Where the sink never makes anybody wait, the supervisor runs it, round by
//! round: a thread less. It writes the last line, too, once it is told that the worker is gone.

use super::capture::{Taken, Tap, Taps};
use super::course::{AttemptEnd, Course};
use super::ending::{Closing, Told, seconds};
use super::followed::Growth;
use super::gauge::{Gauge, Note};
use super::reading::Reading;
use super::voice::{FLUSH, Voice};
use crate::frame::{Frame, Framer, Part};
use crate::hold::Account;
use crate::line::{Event, Exit, Outcome, Ts};
use crate::outcome::{End, Evidence, judge};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

/// Where a worker's stderr goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StderrTo {
    /// Into the stream, as events.
    Event,
    /// Through to our own stderr.
    Pass,
    /// Nowhere; its last lines stand in `exit` all the same.
    Drop,
}

/// So much of stderr's end is told in `exit`.
const TAIL: usize = 4096;

/// The pump's parts.
pub(super) struct Pump<'a> {
    gauge: &'a Gauge,
    voice: &'a mut Voice,
    out: Lines,
    err: Lines,
    growth: Option<Growth>,
    reading: Reading,
    /// For how long the supervisor may still be left without news.
    untold: Option<Duration>,
    stderr_to: StderrTo,
    /// The end of stderr.
    tail: VecDeque<u8>,
    whole: bool,
    /// Lines of the attempts before.
    before: u64,
    /// Of a worker that is kept: its turn.
    turn: Option<Turn>,
    /// Whether the attempt's start was said.
    begun: bool,
    /// How the worker ended, once it has.
    closing: Option<Closing>,
}

/// What follows a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// Another one: there may be more.
    More,
    /// Nothing, until there is something.
    Waits,
    /// All is said.
    Ended,
}

/// So many reads make a round, while more comes at once.
const READS: u32 = 16;

/// One turn of a kept worker so far.
#[derive(Default)]
struct Turn {
    attempt: u32,
    lines: u64,
    bytes: u64,
    /// How many prompts had their turn before it.
    answered: u32,
    /// Whether one of them succeeded.
    good: bool,
}

/// Lines from one tap.
struct Lines {
    tap: Tap,
    frames: Framer,
    open: bool,
}

impl Lines {
    /// Takes one read; how many bytes, and whether the end was met with it.
    fn take(&mut self) -> (usize, bool) {
        if !self.open {
            return (0, false);
        }
        match self.tap.take(self.frames.space()) {
            Ok(Taken::Bytes(count)) => {
                self.frames.filled(count);
                (count, false)
            }
            Ok(Taken::Nothing) => (0, false),
            Ok(Taken::End) | Err(_) => {
                self.open = false;
                (0, true)
            }
        }
    }
}

impl<'a> Pump<'a> {
    /// A pump from taps to the stream. That of a worker that is `kept` tells each turn's end, and the attempt's number.
    pub(super) fn new(
        taps: Taps,
        voice: &'a mut Voice,
        reading: Reading,
        stderr_to: StderrTo,
        max_line: usize,
        kept: Option<u32>,
        gauge: &'a Gauge,
    ) -> Self {
        let lines = |tap| Lines {
            tap,
            frames: Framer::new(max_line),
            open: true,
        };
        Self {
            gauge,
            voice,
            out: lines(taps.out),
            err: lines(taps.err),
            growth: taps.growth,
            reading,
            untold: None,
            stderr_to,
            tail: VecDeque::new(),
            whole: true,
            before: gauge.lines(),
            turn: kept.map(|attempt| Turn {
                attempt,
                ..Turn::default()
            }),
            begun: false,
            closing: None,
        }
    }

    /// Pumps until the worker is gone and all is taken, writes the line that says what follows, and leaves a note.
    pub(super) fn run(mut self, course: &mut Course, account: Option<&Account>) {
        loop {
            match self.round(course, account) {
                Round::More => {}
                Round::Waits => self.wait(),
                Round::Ended => return,
            }
        }
    }

    /// Passes on what there is, up to a measure, and what follows when the worker is gone.
    pub(super) fn round(&mut self, course: &mut Course, account: Option<&Account>) -> Round {
        if self.closing.is_none() {
            self.closing = self.gauge.closing();
        }
        // An attempt begins with its start, which is said when the worker runs.
        self.begun = self.begun || self.gauge.has_orders();
        if !self.begun {
            return Round::Waits;
        }
        if let Some(growth) = &self.growth {
            growth.clear();
        }
        for _ in 0..READS {
            self.voice.take_orders(self.gauge);
            let read_err = self.take_err();
            let read_out = self.take_out(course, account);
            let more = read_err || read_out;
            if !more {
                self.flush();
                let Some(closing) = self.closing.take() else {
                    return Round::Waits;
                };
                self.end(closing, course, account);
                self.gauge.note(Note::Ended);
                return Round::Ended;
            }
        }
        // Whatever else floods: what is known is told, and what is there is written.
        self.flush();
        Round::More
    }

    /// Passes on what no line feed ended, and writes the line that says what follows.
    fn end(&mut self, mut closing: Closing, course: &mut Course, account: Option<&Account>) {
        let ts = Ts::now();
        if let Some(frame) = self.out.frames.finish() {
            self.whole = false;
            self.gauge.count(1);
            pass(frame, self.voice, &mut self.reading, ts, self.gauge);
        }
        if let Some(frame) = self.err.frames.finish() {
            pass_err(frame, self.voice, self.stderr_to, ts, &mut self.tail);
        }
        self.voice.take_orders(self.gauge);
        let (out, err) = (self.out.tap.harm(), self.err.tap.harm());
        let turn = self.turn.take().unwrap_or_default();
        let (parting, done) = match &mut closing.kept {
            Some(kept) => {
                // The supervisor may not have heard of the last turn when the worker was gone.
                kept.settle(turn.answered);
                (std::mem::take(&mut kept.warnings), kept.is_done())
            }
            None => (Vec::new(), false),
        };
        let (exit, code) = closing.exit(Told {
            agent: self.reading.is_agent(),
            account: self.reading.account(),
            whole: self.whole && out.is_none(),
            lines: self.gauge.lines() - self.before,
            all: (self.gauge.lines(), self.gauge.bytes()),
            stderr: String::from_utf8_lossy(self.tail.make_contiguous())
                .trim_end()
                .to_owned(),
            harms: out.into_iter().chain(err.filter(|_| out.is_none())).collect(),
        });
        let end = AttemptEnd {
            exit,
            code,
            account: std::mem::take(self.reading.account()),
            answered: turn.good,
            done,
            parting,
            at: self.gauge.clock.now(),
        };
        self.voice.say(&course.ended(end, account));
        self.voice.flush(self.gauge);
    }

    /// Waits until there is something to pass on or to say.
    fn wait(&self) {
        let mut fds: Vec<PollFd<'_>> = self.fds().collect();
        let timeout = self.look().map_or(PollTimeout::NONE, |look| {
            PollTimeout::try_from(look).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::thread::yield_now(),
        }
    }

    /// What is readable when there is something to pass on or to say.
    pub(super) fn fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        // Before the start is said nothing is read.
        let taps = [&self.out, &self.err]
            .into_iter()
            .filter(|lines| self.begun && lines.open);
        let growth = self.growth.as_ref().filter(|_| self.begun).and_then(Growth::fd);
        taps.filter_map(|lines| lines.tap.fd())
            .chain(growth)
            .chain([self.gauge.bell()])
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// How soon to look whether there is, though nothing tells.
    pub(super) fn look(&self) -> Option<Duration> {
        let growth = self.growth.as_ref().and_then(Growth::look);
        growth.into_iter().chain(self.untold).min()
    }

    /// Writes the block.
    fn flush(&mut self) {
        // What the supervisor is to know must not wait for a slow reader.
        self.untold = self.reading.tell(self.gauge);
        self.voice.flush(self.gauge);
    }

    /// Takes one read of stdout into the block; whether there was any.
    fn take_out(&mut self, course: &Course, account: Option<&Account>) -> bool {
        let (count, ended) = self.out.take();
        if ended {
            self.gauge.note(Note::OutputClosed);
        }
        if count == 0 {
            return false;
        }
        self.gauge.came(count);
        let ts = Ts::now();
        let mut done = 0;
        while let Some(frame) = self.out.frames.next() {
            done += u64::from(frame.eol);
            if let Some(turn) = &mut self.turn {
                turn.lines += u64::from(frame.eol);
                turn.bytes += (frame.bytes.len() + usize::from(frame.eol)) as u64;
            }
            pass(frame, self.voice, &mut self.reading, ts, self.gauge);
            if let Some(limit) = self.reading.limit() {
                self.voice.stamper.event(&limit, ts, &mut self.voice.block);
            }
            if let Some(turn) = self.turn.as_mut().filter(|_| self.reading.turn_ended()) {
                let (exit, answers) = turn.end(&mut self.reading, self.gauge);
                // It may live on for hours; others shall not have to find out by themselves meanwhile.
                course.tell(&exit, account);
                let event = Event::Turn(Box::new(exit));
                self.voice.stamper.event(&event, ts, &mut self.voice.block);
                self.reading.tell(self.gauge);
                self.gauge.note(Note::Turn(answers));
            }
            // Short lines grow to many times their length.
            if self.voice.block.len() >= FLUSH {
                self.gauge.count(std::mem::take(&mut done));
                self.flush();
            }
        }
        self.gauge.count(done);
        true
    }

    /// The same of stderr.
    fn take_err(&mut self) -> bool {
        let (count, _) = self.err.take();
        if count == 0 {
            return false;
        }
        self.gauge.came(0);
        let ts = Ts::now();
        while let Some(frame) = self.err.frames.next() {
            pass_err(frame, self.voice, self.stderr_to, ts, &mut self.tail);
            if self.voice.block.len() >= FLUSH {
                self.voice.flush(self.gauge);
            }
        }
        true
    }
}

impl Turn {
    /// Ends the turn; what is told of it, and whether it answers the prompt that was sent.
    fn end(&mut self, reading: &mut Reading, gauge: &Gauge) -> (Exit, bool) {
        let judged = judge(&Evidence {
            end: End::Alive,
            stop: None,
            agent: true,
            prompts: None,
            account: reading.account(),
            whole: true,
            lines: self.lines,
            stderr: "",
        });
        let exit = Exit {
            outcome: judged.outcome,
            because: judged.because,
            duration: seconds(gauge.since_asked()),
            attempts: self.attempt,
            lines: std::mem::take(&mut self.lines),
            bytes: std::mem::take(&mut self.bytes),
            whole: true,
            ..reading.account().turn()
        };
        let queued = reading.account().result.as_ref().map_or(0, |result| result.queued);
        self.answered += u32::from(queued == 0);
        self.good |= exit.outcome == Outcome::Success;
        (exit, queued == 0)
    }
}

fn pass(frame: Frame<'_>, voice: &mut Voice, reading: &mut Reading, ts: Ts, gauge: &Gauge) {
    let Voice { stamper, block, .. } = voice;
    match frame.part {
        Part::Whole => {
            let top = reading.line(frame.bytes, gauge);
            stamper.checked(frame.bytes, |_| top, frame.eol, ts, block);
        }
        Part::Piece => stamper.chunk(frame.bytes, false, true, ts, block),
        Part::Last => stamper.chunk(frame.bytes, true, frame.eol, ts, block),
    }
}

/// The same of stderr, whose end is remembered.
fn pass_err(frame: Frame<'_>, voice: &mut Voice, to: StderrTo, ts: Ts, tail: &mut VecDeque<u8>) {
    remember(tail, frame);
    match to {
        // A piece of an over-long line is a line of its own here: nobody puts stderr together again.
        StderrTo::Event => {
            let eol = frame.eol || frame.part == Part::Piece;
            voice.stamper.stderr(frame.bytes, eol, ts, &mut voice.block);
        }
        StderrTo::Pass => {
            let feed: &[u8] = if frame.eol { b"\n" } else { b"" };
            let _ = io::stderr().write_all(&[frame.bytes, feed].concat());
        }
        StderrTo::Drop => {}
    }
}

fn remember(tail: &mut VecDeque<u8>, frame: Frame<'_>) {
    tail.extend(&frame.bytes[frame.bytes.len().saturating_sub(TAIL)..]);
    if frame.eol {
        tail.push_back(b'\n');
    }
    tail.drain(..tail.len().saturating_sub(TAIL));
}
