//! One reader's place in the stream, and what is done when it falls behind.
//!
//! What a reader has not taken yet waits, in this order: in its backlog (on disk, or a few bytes in memory), in the
//! gap that is still to be told, in the window that all sinks share.

use super::backlog::Backlog;
use super::gaps::Gaps;
use super::lines::HEAD;
use super::{Outlet, Window, Wrote};
use crate::line;
use std::io;

/// What to do when a reader is a whole buffer behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Policy {
    /// Go on on disk.
    #[default]
    Spill,
    /// Wait for it.
    Block,
    /// Leave out whole lines.
    Drop,
    /// Give it up.
    Close,
}

/// What a queue is allowed to take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// When to do something about a reader that is behind, in bytes.
    pub buffer: u64,
    /// The most disk for one reader, in bytes.
    pub spill: u64,
}

/// What had to be done about a reader that is behind.
#[derive(Debug)]
pub enum Relief {
    /// Nothing that anybody must know.
    Quiet,
    /// The disk takes no more, for this reason, and lines are left out from now on; told once.
    SpillFull(String),
    /// The reader is to be given up, for this reason.
    GiveUp(String),
}

/// One reader's place in the stream.
#[derive(Debug)]
pub struct Queue {
    /// Where the bytes go; none while nobody has opened the FIFO for reading.
    outlet: Option<Outlet>,
    policy: Policy,
    limits: Limits,
    backlog: Backlog,
    gaps: Gaps,
    /// The offset of the next byte to take from the window.
    at: u64,
    /// Whether the byte before `at` is in the middle of a line.
    mid: bool,
    /// Whether what stands at `at` is the rest of a line that is left out.
    skipping: bool,
    /// Whether the outlet refused bytes, and has not been polled since.
    full: bool,
    /// Whether it was told that the disk takes no more.
    told_full: bool,
    /// Under how much disk use it is tried again.
    resume_below: u64,
}

impl Queue {
    /// A queue before the stream's first byte.
    pub fn new(outlet: Option<Outlet>, policy: Policy, limits: Limits) -> Self {
        Self {
            outlet,
            policy,
            limits,
            backlog: Backlog::new(limits.spill),
            gaps: Gaps::default(),
            at: 0,
            mid: false,
            skipping: false,
            full: false,
            told_full: false,
            resume_below: u64::MAX,
        }
    }

    /// Somebody reads now.
    pub fn connect(&mut self, outlet: Outlet) {
        self.outlet = Some(outlet);
    }

    /// Where the bytes go, to be polled.
    pub fn outlet(&self) -> Option<&Outlet> {
        self.outlet.as_ref()
    }

    /// From which offset on the window is needed.
    pub fn needs(&self) -> u64 {
        self.at
    }

    /// How many more bytes may be read before the reader must be waited for.
    pub fn allows(&self, window: &Window) -> u64 {
        match self.policy {
            Policy::Block => self.limits.buffer.saturating_sub(window.head() - self.at),
            _ => u64::MAX,
        }
    }

    /// Whether polling for room makes sense.
    pub fn wants_room(&self) -> bool {
        self.full
    }

    /// The outlet has room again.
    pub fn has_room(&mut self) {
        self.full = false;
    }

    /// Whether everything up to the window's head has been taken.
    pub fn done(&self, window: &Window) -> bool {
        self.outlet.is_some() && self.at == window.head() && self.backlog.is_empty() && self.gaps.nothing_to_tell()
    }

    /// Bytes that wait for the reader, as far as they are known.
    pub fn waiting(&self, window: &Window) -> u64 {
        window.head() - self.at + self.backlog.len()
    }

    /// Lines that were left out, and how many of them no event could tell of.
    pub fn left_out(&self) -> (u64, u64) {
        (self.gaps.lines, self.gaps.untold)
    }

    /// Lets other writers of the same pipe go on, where nothing more can come from us for now.
    pub fn yield_line(&mut self) {
        if let Some(outlet) = &mut self.outlet {
            outlet.release();
        }
    }

    /// Gives the reader what it takes now; says whether it took anything.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone; whatever else the outlet or the disk says.
    pub fn serve(&mut self, window: &Window) -> io::Result<bool> {
        let Some(outlet) = &mut self.outlet else {
            return Ok(false);
        };
        let mut progress = false;
        while !self.full && !outlet.locked_out() {
            if self.backlog.is_empty() && !self.gaps.nothing_to_tell() {
                self.backlog.remember(&self.gaps.tell());
            }
            let behind = !self.backlog.is_empty();
            if !behind && self.skipping {
                skip(window, &mut self.at, &mut self.skipping);
            }
            let bytes = if behind {
                self.backlog.front()?
            } else {
                window.since(self.at)
            };
            if bytes.is_empty() {
                break;
            }
            let Wrote::Took(count) = outlet.write(bytes)? else {
                self.full = !outlet.locked_out();
                break;
            };
            progress = true;
            self.full = count < bytes.len();
            if behind {
                self.backlog.consume(count);
            } else {
                self.mid = bytes[count - 1] != b'\n';
                self.at += count as u64;
            }
        }
        Ok(progress)
    }

    /// Does what the policy says when the reader is more than a buffer behind.
    pub fn relieve(&mut self, window: &Window) -> Relief {
        if self.skipping {
            skip(window, &mut self.at, &mut self.skipping);
        }
        if window.head() - self.at <= self.limits.buffer {
            return Relief::Quiet;
        }
        match self.policy {
            Policy::Block => Relief::Quiet,
            Policy::Close => Relief::GiveUp(format!("its reader is {} behind", bytes_of(self.limits.buffer))),
            Policy::Drop => self.leave_out(window),
            Policy::Spill if self.backlog.on_disk() <= self.resume_below => self.spill(window),
            Policy::Spill => self.leave_out(window),
        }
    }

    /// Moves what waits to the disk; where that takes no more, lines are left out.
    fn spill(&mut self, window: &Window) -> Relief {
        let bytes = window.since(self.at);
        if !self.gaps.nothing_to_tell() {
            self.backlog.remember(&self.gaps.tell());
        }
        let (count, why) = self.backlog.store(bytes);
        if count == bytes.len() {
            self.resume_below = u64::MAX;
            return self.passed(window, count);
        }
        // What was stored ends with a whole line, so that the next thing its reader sees can be a gap event.
        let cut = memchr::memrchr(b'\n', &bytes[..count]).map_or(count, |at| at + 1);
        self.backlog.retract(count - cut);
        self.resume_below = self.backlog.on_disk() / 2;
        self.passed(window, cut);
        let relief = self.leave_out(window);
        if matches!(relief, Relief::Quiet) && !std::mem::replace(&mut self.told_full, true) {
            let why = match why {
                Some(error) => format!("no room to spill to: {}", crate::cli::reason(&error)),
                None => format!("its reader is {} behind", bytes_of(self.limits.spill)),
            };
            return Relief::SpillFull(why);
        }
        relief
    }

    fn passed(&mut self, window: &Window, count: usize) -> Relief {
        if count > 0 {
            self.mid = window.since(self.at)[count - 1] != b'\n';
            self.at += count as u64;
        }
        Relief::Quiet
    }

    /// Leaves out whole lines until the reader is half a buffer behind. A line that it has begun to read is kept.
    fn leave_out(&mut self, window: &Window) -> Relief {
        if self.mid {
            let bytes = window.since(self.at);
            let rest = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            let (count, why) = self.backlog.keep(&bytes[..rest]);
            self.passed(window, count);
            if count < rest {
                let why = why.map_or_else(|| "the spill is full".to_owned(), |error| crate::cli::reason(&error));
                return Relief::GiveUp(format!("its reader stands in a long line: {why}"));
            }
        }
        while !self.mid && window.head() - self.at > self.limits.buffer / 2 {
            let bytes = window.since(self.at);
            let feed = memchr::memchr(b'\n', bytes);
            let line = &bytes[..feed.map_or(bytes.len(), |at| at + 1)];
            // A stream's last line says how it ended: it is never left out, unless it is none that we wrote.
            if feed.is_some() && is_exit(line) && self.gaps.kept() as u64 <= self.limits.buffer {
                self.gaps.keep(line);
            } else if feed.is_some() || line.len() >= HEAD || line.len() as u64 > self.limits.buffer {
                self.gaps.leave_out(line);
                self.skipping = feed.is_none();
            } else {
                break;
            }
            self.at += line.len() as u64;
        }
        Relief::Quiet
    }
}

/// Goes on behind the line that is left out, as far as it is there.
fn skip(window: &Window, at: &mut u64, skipping: &mut bool) {
    let bytes = window.since(*at);
    let feed = memchr::memchr(b'\n', bytes);
    *at += feed.map_or(bytes.len(), |feed| feed + 1) as u64;
    *skipping = feed.is_none();
}

fn is_exit(line: &[u8]) -> bool {
    line::header(line).is_some_and(|header| line::subtype(line, &header) == Some(b"exit"))
}

fn bytes_of(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} bytes"),
        10_240..10_485_760 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}
