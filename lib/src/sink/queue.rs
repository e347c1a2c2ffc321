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

/// A line of this length is passed on in pieces.
const LONG: usize = 64 << 10;

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
    buffer: u64,
    spill: u64,
}

impl Limits {
    /// Something is done about a reader that is `buffer` bytes behind (4 KiB at least, for a line must be told by its
    /// header before it can be left out), and it may take `spill` bytes of disk.
    pub fn new(buffer: u64, spill: u64) -> Self {
        Self {
            buffer: buffer.max(HEAD as u64),
            spill,
        }
    }

    /// How far a reader may be behind, in bytes.
    pub fn buffer(&self) -> u64 {
        self.buffer
    }
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

    /// Whether nothing but the beginning of a line waits, which [`Queue::serve`] held back.
    pub fn holds_tail(&self, window: &Window) -> bool {
        let idle = |outlet: &Outlet| !self.full && !outlet.locked_out();
        self.at < window.head() && self.backlog.is_empty() && self.outlet.as_ref().is_some_and(idle)
    }

    /// Gives the reader what it takes now; says whether it took anything.
    ///
    /// Without `tails` a line that has only begun is held back on a pipe, up to some length: whoever begins a line keeps
    /// other writers out until it ends, so it is better begun when its end is there.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone; whatever else the outlet or the disk says.
    pub fn serve(&mut self, window: &Window, tails: bool) -> io::Result<bool> {
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
                let bytes = window.since(self.at);
                let hold = !tails && outlet.is_shared();
                if hold { without_tail(bytes, self.mid) } else { bytes }
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
        let spills = self.policy == Policy::Spill && self.backlog.on_disk() <= self.resume_below;
        // Who is on disk already gets more there while it is still in the processor's cache.
        let most = if spills && self.backlog.on_disk() > 0 {
            self.limits.buffer.min(LONG as u64)
        } else {
            self.limits.buffer
        };
        if window.head() - self.at <= most {
            return Relief::Quiet;
        }
        match self.policy {
            Policy::Block => Relief::Quiet,
            Policy::Close => Relief::GiveUp(format!("its reader is {} behind", bytes_of(self.limits.buffer))),
            Policy::Drop => self.leave_out(window),
            Policy::Spill if spills => self.spill(window),
            Policy::Spill => self.leave_out(window),
        }
    }

    /// Moves what waits to the disk; where that takes no more, lines are left out.
    fn spill(&mut self, window: &Window) -> Relief {
        let bytes = window.since(self.at);
        let bytes = &bytes[..self.backlog.stretch(bytes.len())];
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
            } else if feed.is_some() || line.len() >= HEAD {
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

/// The bytes up to the last line's end; all when the line has been begun already, or is long.
fn without_tail(bytes: &[u8], mid: bool) -> &[u8] {
    match memchr::memrchr(b'\n', bytes) {
        Some(feed) => &bytes[..=feed],
        None if mid || bytes.len() >= LONG => bytes,
        None => &[],
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Event, Name, Sequence, Stamper, Ts};
    use crate::sink::Bell;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use proptest::prelude::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    /// One line: of which stream, how long, and whether it is an `exit` event.
    type Line = (Option<u8>, usize, bool);

    fn text(lines: &[Line]) -> Vec<u8> {
        let mut stampers: Vec<_> = ["a", "b/c"]
            .iter()
            .map(|name| Stamper::new(Name::new(name).unwrap()))
            .collect();
        let mut out = Vec::new();
        for &(stream, length, exit) in lines {
            match stream {
                None => {
                    out.resize(out.len() + length, b'.');
                    out.push(b'\n');
                }
                Some(stream) if exit => stampers[stream as usize].event(&Event::Exit(Box::default()), Ts(1), &mut out),
                Some(stream) => {
                    let raw = format!("{{\"x\":\"{}\"}}", "p".repeat(length));
                    stampers[stream as usize].line(raw.as_bytes(), true, Ts(1), &mut out);
                }
            }
        }
        out
    }

    /// Passes the bytes through a queue whose reader takes `steps[i]` bytes after each read of `reads[i]`.
    fn pass(input: &[u8], policy: Policy, limits: Limits, reads: &[usize], steps: &[usize]) -> (Vec<u8>, (u64, u64)) {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        // The smallest pipe there is, so that little input fills it.
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut reader = File::from(reader);
        let bell = Bell::new().unwrap();
        let outlet = Outlet::over(writer.as_fd(), &bell).unwrap();
        drop(writer);
        let mut queue = Queue::new(Some(outlet), policy, limits);
        let mut window = Window::new();
        let (mut rest, mut out) = (input, Vec::new());
        let mut reads = reads.iter().cycle();
        let mut steps = steps.iter().cycle();
        while !(rest.is_empty() && queue.done(&window)) {
            let count = (*reads.next().unwrap()).min(rest.len());
            window.space(count)[..count].copy_from_slice(&rest[..count]);
            window.filled(count);
            rest = &rest[count..];
            queue.has_room();
            queue.serve(&window, rest.is_empty()).unwrap();
            assert!(!matches!(queue.relieve(&window), Relief::GiveUp(_)));
            window.release(queue.needs());
            // At the end the reader hurries.
            let step = *steps.next().unwrap();
            let mut taken = vec![0; if rest.is_empty() { 4096 } else { step }];
            if let Ok(count) = reader.read(&mut taken) {
                out.extend_from_slice(&taken[..count]);
            }
        }
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let told = queue.left_out();
        drop(queue);
        reader.read_to_end(&mut out).unwrap();
        (out, told)
    }

    fn lines() -> impl Strategy<Value = Vec<Line>> {
        let stream = prop_oneof![4 => Just(Some(0)), 2 => Just(Some(1)), 1 => Just(None)];
        let length = prop_oneof![4 => 0..200usize, 1 => 0..9000usize];
        prop::collection::vec((stream, length, prop::bool::weighted(0.02)), 1..150)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_spill_keeps_every_byte(lines in lines(), reads in prop::collection::vec(1..4096usize, 1..9),
            steps in prop::collection::vec(0..5000usize, 1..9), buffer in 4000..9000u64) {
            let input = text(&lines);
            let limits = Limits::new(buffer, 1 << 30);
            let (out, told) = pass(&input, Policy::Spill, limits, &reads, &steps);
            prop_assert!(out == input);
            prop_assert_eq!(told, (0, 0));
        }

        #[test]
        fn what_is_left_out_is_told(lines in lines(), reads in prop::collection::vec(1..4096usize, 1..9),
            steps in prop::collection::vec(0..1500usize, 1..9), buffer in 4000..9000u64, spill in 20_000..60_000u64, on_disk: bool) {
            let input = text(&lines);
            let policy = if on_disk { Policy::Spill } else { Policy::Drop };
            let (out, (left_out, untold)) = pass(&input, policy, Limits::new(buffer, spill), &reads, &steps);
            let mut gaps = 0;
            let mut streams: std::collections::HashMap<&str, Sequence> = ["a", "b/c"].map(|name| {
                let mut sequence = Sequence::default();
                sequence.told(0);
                (name, sequence)
            }).into();
            let mut own = input.split_inclusive(|&b| b == b'\n');
            let mut exits = 0;
            for line in out.split_inclusive(|&b| b == b'\n') {
                let header = line::header(line);
                if let (Some(header), Some(Event::Gap { from, to, lost })) = (&header, Event::read(line)) {
                    let sequence = streams.get_mut(header.stream).unwrap();
                    prop_assert_eq!((from, to, lost), (sequence.last() + 1, header.seq, to - from + 1));
                    sequence.told(to);
                    gaps += lost;
                } else {
                    // Whole lines only, in their order.
                    prop_assert!(own.any(|own| own == line), "{}", String::from_utf8_lossy(line));
                    exits += usize::from(is_exit(line));
                    if let Some(header) = header {
                        prop_assert_eq!(streams.get_mut(header.stream).unwrap().see(header.seq), None);
                    }
                }
            }
            prop_assert_eq!(gaps, left_out - untold);
            let wanted = lines.iter().filter(|(stream, _, exit)| stream.is_some() && *exit).count();
            prop_assert_eq!(exits, wanted);
        }
    }
}
