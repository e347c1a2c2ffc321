//! The pump: a thread that takes a worker's bytes through frame and stamp to the sink.
//!
//! It alone writes to the sink, so it alone is held up by a slow reader; what the supervisor wants said waits in a
//! queue meanwhile. It writes the last line, too, once it is told that the worker is gone.

use super::capture::{Taken, Tap, Taps};
use super::ending::{Closing, Ended, Told};
use super::followed::Growth;
use super::gauge::{Gauge, Note};
use super::reading::Reading;
use crate::agent::Kind;
use crate::frame::{Frame, Framer, Part};
use crate::line::{Event, Stamper, Ts};
use crate::sink::Shared;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::io::{self, Write};

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

/// So much is gathered before it is written, while more is there to be read.
const FLUSH: usize = 256 << 10;

/// So much of stderr's end is told in `exit`.
const TAIL: usize = 4096;

/// The pump's parts.
pub(super) struct Pump<'a> {
    gauge: &'a Gauge,
    out: Lines,
    err: Lines,
    growth: Option<Growth>,
    stamper: Stamper,
    /// `None` once it takes no more.
    sink: Option<Shared>,
    /// Why, where it was not for want of a reader.
    failed: Option<io::Error>,
    reading: Reading,
    stderr_to: StderrTo,
    /// Whole lines for the sink.
    block: Vec<u8>,
    /// The end of stderr.
    tail: VecDeque<u8>,
    whole: bool,
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
    /// A pump from taps to sink. Of a `kind` that is `None` the first line is to tell.
    pub(super) fn new(
        taps: Taps,
        sink: Shared,
        stamper: Stamper,
        kind: Option<Kind>,
        stderr_to: StderrTo,
        max_line: usize,
        gauge: &'a Gauge,
    ) -> Self {
        let lines = |tap| Lines {
            tap,
            frames: Framer::new(max_line),
            open: true,
        };
        Self {
            gauge,
            out: lines(taps.out),
            err: lines(taps.err),
            growth: taps.growth,
            stamper,
            sink: Some(sink),
            failed: None,
            reading: Reading::new(kind),
            stderr_to,
            block: Vec::new(),
            tail: VecDeque::new(),
            whole: true,
        }
    }

    /// Pumps until the worker is gone and all is taken, writes the last line, and leaves a note.
    pub(super) fn run(mut self) {
        // The stream begins with its start, which is said when the worker runs.
        while !self.gauge.has_orders() {
            let _ = poll(
                &mut [PollFd::new(self.gauge.bell(), PollFlags::POLLIN)],
                PollTimeout::NONE,
            );
        }
        let closing = self.pump();
        let gauge = self.gauge;
        gauge.note(Note::Ended(Box::new(self.end(closing))));
    }

    fn pump(&mut self) -> Closing {
        loop {
            let closing = self.gauge.closing();
            if let Some(growth) = &self.growth {
                growth.clear();
            }
            let mut more = true;
            while more {
                self.take_orders();
                let read_err = self.take_err();
                let read_out = self.take_out();
                more = read_err || read_out;
                if !more || self.block.len() >= FLUSH {
                    self.flush();
                }
            }
            if let Some(closing) = closing {
                return closing;
            }
            self.wait();
        }
    }

    /// Passes on what no line feed ended, and writes the last line.
    fn end(mut self, closing: Closing) -> Ended {
        let ts = Ts::now();
        if let Some(frame) = self.out.frames.finish() {
            self.whole = false;
            self.gauge.count(1);
            pass(
                frame,
                &mut self.stamper,
                &mut self.reading,
                ts,
                &mut self.block,
                self.gauge,
            );
        }
        if let Some(frame) = self.err.frames.finish() {
            remember(&mut self.tail, frame);
            pass_err(frame, &mut self.stamper, self.stderr_to, ts, &mut self.block);
        }
        self.take_orders();
        let (out, err) = (self.out.tap.harm(), self.err.tap.harm());
        let (exit, code) = closing.exit(Told {
            account: &self.reading.account,
            agent: self.reading.is_agent(),
            whole: self.whole && out.is_none(),
            lines: self.gauge.lines(),
            bytes: self.gauge.bytes(),
            stderr: String::from_utf8_lossy(self.tail.make_contiguous())
                .trim_end()
                .to_owned(),
            harms: out.into_iter().chain(err.filter(|_| out.is_none())).collect(),
        });
        let last = Event::Exit(Box::new(exit.clone()));
        self.stamper.event(&last, Ts::now(), &mut self.block);
        self.flush();
        Ended {
            exit,
            code: if self.failed.is_some() { 125 } else { code },
            sink: self.failed,
        }
    }

    fn wait(&self) {
        let open = |lines: &'_ Lines| lines.open;
        let taps = [&self.out, &self.err].into_iter().filter(|lines| open(lines));
        let growth = self.growth.as_ref();
        let fds = taps
            .filter_map(|lines| lines.tap.fd())
            .chain(growth.and_then(Growth::fd));
        let mut fds: Vec<PollFd<'_>> = fds
            .chain([self.gauge.bell()])
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let look = growth.and_then(Growth::look);
        let timeout = look.map_or(PollTimeout::NONE, |look| {
            PollTimeout::try_from(look).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::thread::yield_now(),
        }
    }

    fn take_orders(&mut self) {
        for event in self.gauge.orders() {
            self.stamper.event(&event, Ts::now(), &mut self.block);
        }
    }

    /// Takes one read of stdout into the block; whether there was any.
    fn take_out(&mut self) -> bool {
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
            pass(
                frame,
                &mut self.stamper,
                &mut self.reading,
                ts,
                &mut self.block,
                self.gauge,
            );
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
            remember(&mut self.tail, frame);
            pass_err(frame, &mut self.stamper, self.stderr_to, ts, &mut self.block);
        }
        true
    }

    fn flush(&mut self) {
        if let Some(sink) = &mut self.sink {
            self.gauge.writing(true);
            let written = sink.write(&self.block);
            self.gauge.writing(false);
            if let Err(error) = written {
                // What follows is read on all the same: it says how the worker ended.
                self.sink = None;
                let left = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
                if !left.contains(&error.kind()) {
                    self.failed = Some(error);
                }
                self.gauge.note(Note::SinkFailed);
            }
        }
        self.block.clear();
        if self.block.capacity() > 4 * FLUSH {
            self.block = Vec::new();
        }
    }
}

fn pass(frame: Frame<'_>, stamper: &mut Stamper, reading: &mut Reading, ts: Ts, block: &mut Vec<u8>, gauge: &Gauge) {
    match frame.part {
        Part::Whole => {
            reading.line(frame.bytes, gauge);
            stamper.line(frame.bytes, frame.eol, ts, block);
        }
        Part::Piece => stamper.chunk(frame.bytes, false, true, ts, block),
        Part::Last => stamper.chunk(frame.bytes, true, frame.eol, ts, block),
    }
}

fn pass_err(frame: Frame<'_>, stamper: &mut Stamper, to: StderrTo, ts: Ts, block: &mut Vec<u8>) {
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

fn remember(tail: &mut VecDeque<u8>, frame: Frame<'_>) {
    tail.extend(&frame.bytes[frame.bytes.len().saturating_sub(TAIL)..]);
    if frame.eol {
        tail.push_back(b'\n');
    }
    tail.drain(..tail.len().saturating_sub(TAIL));
}
