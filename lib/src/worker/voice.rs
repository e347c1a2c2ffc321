//! What the stream is written by: it numbers the lines of all attempts, and gathers them into blocks for the sink.

use super::gauge::{Gauge, Note};
use crate::line::{Event, Stamper, Ts};
use crate::sink::{Rope, Shared};
use crate::sys::fds::takes_at_once;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;

/// So much is gathered before it is written, while more is there to be read.
pub(super) const FLUSH: usize = 256 << 10;

/// A stream on its way to the sink.
pub(super) struct Voice {
    pub(super) stamper: Stamper,
    /// Whole lines for the sink.
    pub(super) block: Vec<u8>,
    /// `None` once it takes no more.
    sink: Option<Shared>,
    /// Tells of each write.
    rope: Option<Rope>,
    /// Why, where it was not for want of a reader.
    pub(super) failed: Option<io::Error>,
}

impl Voice {
    pub(super) fn new(stamper: Stamper, sink: Shared, rope: Option<Rope>) -> Self {
        Self {
            stamper,
            block: Vec::new(),
            sink: Some(sink),
            rope,
            failed: None,
        }
    }

    /// Whether nothing was said yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.stamper.seq() == 0
    }

    /// Whether nobody can make us wait.
    pub(super) fn never_waits(&self) -> bool {
        self.sink.as_ref().is_none_or(|sink| takes_at_once(sink.fd()))
    }

    /// Appends an event to the block.
    pub(super) fn say(&mut self, event: &Event) {
        self.stamper.event(event, Ts::now(), &mut self.block);
    }

    /// Appends what the gauge was asked to have said.
    pub(super) fn take_orders(&mut self, gauge: &Gauge) {
        for event in gauge.orders() {
            self.say(&event);
        }
    }

    /// Writes the block.
    pub(super) fn flush(&mut self, gauge: &Gauge) {
        if self.block.is_empty() {
            return;
        }
        if let Some(sink) = &mut self.sink {
            gauge.writing(true);
            let written = sink.write(&self.block);
            gauge.writing(false);
            if let Some(rope) = &self.rope {
                rope.ring();
            }
            if let Err(error) = written {
                // What follows is read on all the same: it says how the worker ended.
                self.sink = None;
                let left = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
                if !left.contains(&error.kind()) {
                    self.failed = Some(error);
                }
                gauge.note(Note::SinkFailed);
            }
        }
        self.block.clear();
        if self.block.capacity() > 4 * FLUSH {
            self.block = Vec::new();
        }
    }

    /// Says what is asked for while no worker runs, until there is no more to say.
    pub(super) fn speak(&mut self, gauge: &Gauge) {
        loop {
            let silenced = gauge.is_silenced();
            self.take_orders(gauge);
            self.flush(gauge);
            if silenced {
                break;
            }
            let _ = poll(&mut [PollFd::new(gauge.bell(), PollFlags::POLLIN)], PollTimeout::NONE);
        }
        gauge.note(Note::Ended);
    }
}
