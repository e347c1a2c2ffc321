//! The pump: a thread that takes a worker's bytes through frame and stamp to the sink.
//!
//! It alone writes to the sink, so it alone is held up by a slow reader; what the supervisor wants said waits in a
//! queue meanwhile.

use super::capture::{Taken, Tap};
use super::clock::Clock;
use crate::agent::{Account, Fact, Kind, Reader};
use crate::frame::{Frame, Framer, Part};
use crate::line::{Event, Stamper, Ts};
use crate::sink::Shared;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// What the pump tells the supervisor.
#[derive(Debug)]
pub(super) enum Note {
    /// The worker turned out to be this agent.
    Agent(Kind),
    /// A result came and nothing is pending; or work goes on.
    Settled(bool),
    /// Nobody can write to the captured output any more.
    OutputClosed,
    /// The sink takes no more.
    SinkFailed(io::Error),
}

/// What both sides see.
#[derive(Debug)]
pub(super) struct Gauge {
    pub(super) clock: Clock,
    lines: AtomicU64,
    bytes: AtomicU64,
    /// When the last output came, in microseconds of active time.
    output: AtomicU64,
    writing: AtomicBool,
    orders: Mutex<VecDeque<Event>>,
    drain: AtomicBool,
    bell: EventFd,
}

impl Gauge {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            clock: Clock::start(),
            lines: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            output: AtomicU64::new(0),
            writing: AtomicBool::new(false),
            orders: Mutex::default(),
            drain: AtomicBool::new(false),
            bell: EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
        })
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last output came.
    pub(super) fn output(&self) -> Duration {
        Duration::from_micros(self.output.load(Ordering::Relaxed))
    }

    /// Whether the pump waits for our reader.
    pub(super) fn held_up(&self) -> bool {
        self.writing.load(Ordering::Relaxed)
    }

    /// Has an event written as soon as the sink takes it.
    pub(super) fn say(&self, event: Event) {
        self.orders().push_back(event);
        self.ring();
    }

    /// Whether something waits to be said.
    pub(super) fn has_orders(&self) -> bool {
        !self.orders().is_empty()
    }

    /// Says that the worker and all its descendants are gone: what there is now is all there will be.
    pub(super) fn drain(&self) {
        self.drain.store(true, Ordering::Release);
        self.ring();
    }

    fn orders(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // A counter that is full wakes just as well.
        let _ = self.bell.write(1);
    }
}

/// What is left when all is pumped.
#[derive(Debug)]
pub(super) struct Pumped {
    pub(super) stamper: Stamper,
    pub(super) sink: Option<Shared>,
    pub(super) account: Account,
    pub(super) kind: Kind,
    pub(super) whole: bool,
    pub(super) stderr: String,
}

/// The pump's parts.
pub(super) struct Pump<'a, N> {
    pub(super) out: Tap,
    pub(super) err: Tap,
    pub(super) stamper: Stamper,
    /// `None` once it takes no more.
    pub(super) sink: Option<Shared>,
    pub(super) gauge: &'a Gauge,
    /// The worker's kind; `None` when its first line is to tell.
    pub(super) kind: Option<Kind>,
    pub(super) stderr_to: StderrTo,
    pub(super) max_line: usize,
    pub(super) note: N,
}

/// So much is gathered before it is written, while more is there to be read.
const FLUSH: usize = 256 << 10;
const TAIL: usize = 4096;

struct Lines {
    frames: Framer,
    open: bool,
}

impl<N: FnMut(Note)> Pump<'_, N> {
    /// Pumps until the supervisor says that the worker is gone and all is taken.
    pub(super) fn run(mut self) -> Pumped {
        let mut lines = [Lines::new(self.max_line), Lines::new(self.max_line)];
        let mut reading = Reading::new(self.kind);
        let mut block = Vec::new();
        let mut tail = VecDeque::new();
        let mut whole = true;
        loop {
            let draining = self.gauge.drain.load(Ordering::Acquire);
            self.out.clear();
            self.err.clear();
            let mut more = true;
            while more {
                self.take_orders(&mut block);
                let read_err = self.take_err(&mut lines[1], &mut block, &mut tail);
                let read_out = self.take_out(&mut lines[0], &mut reading, &mut block);
                more = read_err || read_out;
                if !more || block.len() >= FLUSH {
                    self.flush(&mut block);
                }
            }
            if draining {
                let ts = Ts::now();
                if let Some(frame) = lines[0].frames.finish() {
                    whole = false;
                    self.gauge.lines.fetch_add(1, Ordering::Relaxed);
                    out_frame(frame, &mut self.stamper, &mut reading, ts, &mut block, &mut self.note);
                }
                if let Some(frame) = lines[1].frames.finish() {
                    err_frame(frame, &mut self.stamper, self.stderr_to, ts, &mut block, &mut tail);
                }
                self.take_orders(&mut block);
                self.flush(&mut block);
                break;
            }
            self.wait(&lines);
        }
        let stderr = tail.make_contiguous();
        Pumped {
            stamper: self.stamper,
            sink: self.sink,
            account: reading.account,
            kind: reading.kind.unwrap_or(Kind::Plain),
            whole,
            stderr: String::from_utf8_lossy(stderr).trim_end().to_owned(),
        }
    }

    fn wait(&self, lines: &[Lines; 2]) {
        let mut fds = vec![PollFd::new(self.gauge.bell.as_fd(), PollFlags::POLLIN)];
        for (tap, lines) in [&self.out, &self.err].into_iter().zip(lines) {
            if lines.open {
                fds.push(PollFd::new(tap.fd(), PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::thread::yield_now(),
        }
        let _ = self.gauge.bell.read();
    }

    fn take_orders(&mut self, block: &mut Vec<u8>) {
        let orders = std::mem::take(&mut *self.gauge.orders());
        for event in orders {
            self.stamper.event(&event, Ts::now(), block);
        }
    }

    /// Takes one read of stdout into the block; whether there was any.
    fn take_out(&mut self, lines: &mut Lines, reading: &mut Reading, block: &mut Vec<u8>) -> bool {
        if !lines.open {
            return false;
        }
        match self.out.take(lines.frames.space()) {
            Ok(Taken::Bytes(count)) => {
                lines.frames.filled(count);
                self.gauge
                    .output
                    .store(self.gauge.clock.now().as_micros() as u64, Ordering::Relaxed);
                self.gauge.bytes.fetch_add(count as u64, Ordering::Relaxed);
                let ts = Ts::now();
                let mut done = 0;
                while let Some(frame) = lines.frames.next() {
                    done += u64::from(frame.eol);
                    out_frame(frame, &mut self.stamper, reading, ts, block, &mut self.note);
                }
                self.gauge.lines.fetch_add(done, Ordering::Relaxed);
                true
            }
            Ok(Taken::Nothing) => false,
            Ok(Taken::End) | Err(_) => {
                lines.open = false;
                (self.note)(Note::OutputClosed);
                false
            }
        }
    }

    fn take_err(&mut self, lines: &mut Lines, block: &mut Vec<u8>, tail: &mut VecDeque<u8>) -> bool {
        if !lines.open {
            return false;
        }
        match self.err.take(lines.frames.space()) {
            Ok(Taken::Bytes(count)) => {
                lines.frames.filled(count);
                self.gauge
                    .output
                    .store(self.gauge.clock.now().as_micros() as u64, Ordering::Relaxed);
                let ts = Ts::now();
                while let Some(frame) = lines.frames.next() {
                    err_frame(frame, &mut self.stamper, self.stderr_to, ts, block, tail);
                }
                true
            }
            Ok(Taken::Nothing) => false,
            Ok(Taken::End) | Err(_) => {
                lines.open = false;
                false
            }
        }
    }

    fn flush(&mut self, block: &mut Vec<u8>) {
        if let Some(sink) = &mut self.sink {
            self.gauge.writing.store(true, Ordering::Relaxed);
            let written = sink.write(block);
            self.gauge.writing.store(false, Ordering::Relaxed);
            if let Err(error) = written {
                // What follows is read on all the same: it says how the worker ended.
                self.sink = None;
                (self.note)(Note::SinkFailed(error));
            }
        }
        block.clear();
        if block.capacity() > 4 * FLUSH {
            *block = Vec::new();
        }
    }
}

impl Lines {
    fn new(max_line: usize) -> Self {
        Self {
            frames: Framer::new(max_line),
            open: true,
        }
    }
}

/// What the worker's lines say, as far as they are read.
struct Reading {
    kind: Option<Kind>,
    reader: Reader,
    account: Account,
    facts: Vec<Fact>,
    settled: bool,
}

impl Reading {
    fn new(kind: Option<Kind>) -> Self {
        let reader = Reader::new(kind.unwrap_or(Kind::Plain));
        Self {
            kind,
            reader,
            account: Account::default(),
            facts: Vec::new(),
            settled: false,
        }
    }

    fn line(&mut self, line: &[u8], note: &mut impl FnMut(Note)) {
        if self.kind.is_none() && crate::line::object(line).is_some() {
            let kind = Kind::of_line(line).unwrap_or(Kind::Plain);
            (self.kind, self.reader) = (Some(kind), Reader::new(kind));
            if kind.is_agent() {
                note(Note::Agent(kind));
            }
        }
        self.reader.read(line, &mut self.facts);
        if self.facts.is_empty() {
            return;
        }
        for fact in self.facts.drain(..) {
            self.account.add(&fact);
        }
        let settled = self.account.result.is_some() && !self.account.in_turn && self.account.pending.is_empty();
        if settled || self.settled {
            // Each result begins the wait anew.
            self.settled = settled;
            note(Note::Settled(settled));
        }
    }
}

fn out_frame(
    frame: Frame<'_>,
    stamper: &mut Stamper,
    reading: &mut Reading,
    ts: Ts,
    block: &mut Vec<u8>,
    note: &mut impl FnMut(Note),
) {
    match frame.part {
        Part::Whole => {
            reading.line(frame.bytes, note);
            stamper.line(frame.bytes, frame.eol, ts, block);
        }
        Part::Piece => stamper.chunk(frame.bytes, false, true, ts, block),
        Part::Last => stamper.chunk(frame.bytes, true, frame.eol, ts, block),
    }
}

fn err_frame(
    frame: Frame<'_>,
    stamper: &mut Stamper,
    to: StderrTo,
    ts: Ts,
    block: &mut Vec<u8>,
    tail: &mut VecDeque<u8>,
) {
    tail.extend(frame.bytes);
    if frame.eol {
        tail.push_back(b'\n');
    }
    tail.drain(..tail.len().saturating_sub(TAIL));
    match to {
        // A piece of an over-long line is a line of its own here: nobody puts stderr together again.
        StderrTo::Event => stamper.stderr(frame.bytes, frame.eol || frame.part == Part::Piece, ts, block),
        StderrTo::Pass => {
            let feed: &[u8] = if frame.eol { b"\n" } else { b"" };
            let _ = io::stderr().write_all(&[frame.bytes, feed].concat());
        }
        StderrTo::Drop => {}
    }
}
