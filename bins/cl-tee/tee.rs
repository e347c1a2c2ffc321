//! The loop: serve every sink, wait for whatever happens next, read.

use crate::args::Args;
use crate::open::{self, Kind, Sink};
use crate::report::{Report, Then};
use crate::signals::Signals;
use harmony::cli::{Failure, reason};
use harmony::sink::{Bell, Limits, Queue, Relief, Syncer, Window, target};
use harmony::sys::fds::widen;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stdin, dup2_stdout};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The most that is read at once: it stays in the processor's cache while it goes to every sink.
const READ: usize = 128 << 10;
/// What an ordinary pipe holds, and what one gets that is found full.
const PIPE: usize = 64 << 10;
const ROOM: i32 = 256 << 10;
/// For how long the writers may still speak after we were told to end.
const WRAP_UP: Duration = Duration::from_secs(5);
/// After which silence of all readers we then end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Copies until the input and every sink has ended.
///
/// # Errors
/// When the system has no descriptors left to begin with.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let handed_down = target::handed_down(&args.sinks);
    let failed = |error: io::Error| Failure::io("cannot begin", &error);
    let signals = Signals::watch(args.ignore_interrupts).map_err(failed)?;
    let bell = Bell::new().map_err(failed)?;
    let stdin = open::stdin().map_err(failed)?;
    let mut report = Report::new(args);
    let (sinks, then) = open::all(args, handed_down, &bell, &mut report);
    let limits = Limits::new(args.buffer, args.spill);
    let mut tee = Tee {
        stdin: (then == Then::GoOn).then_some(stdin),
        window: Window::new(),
        buffer: limits.buffer(),
        sinks,
        syncer: args.sync.then(Syncer::start),
        bell,
        signals,
        report,
        stalled: false,
        tails: false,
        widened: false,
        told: None,
        moved: Instant::now(),
    };
    Ok(tee.copy())
}

struct Tee {
    /// Where the stream comes from, until it has ended.
    stdin: Option<File>,
    window: Window,
    buffer: u64,
    /// Those that still want something.
    sinks: Vec<Sink>,
    syncer: Option<Syncer>,
    bell: Bell,
    signals: Signals,
    report: Report,
    /// Whether a reader that is waited for was a whole buffer behind, and is not yet half a one.
    stalled: bool,
    /// Whether lines that have only begun are passed on, for nothing more comes for now.
    tails: bool,
    /// Whether the pipes that we read from and write to were given more room.
    widened: bool,
    /// The signal that told us to end, and until when we read on.
    told: Option<(u8, Instant)>,
    /// When a sink last took something.
    moved: Instant,
}

/// What is to be done with a sink.
enum Fate {
    Lives,
    /// It has everything.
    Done,
    Dead(io::Error),
    /// We give it up, for this reason.
    GivenUp(String),
}

impl Tee {
    fn copy(&mut self) -> u8 {
        while !self.out_of_patience() {
            let reading = self.stdin.is_some();
            self.serve();
            if self.sinks.is_empty() {
                break;
            }
            if reading && self.stdin.is_none() {
                // A sink's failure ended the reading: those served before it do not know yet.
                continue;
            }
            self.wait();
        }
        if let Some(syncer) = &mut self.syncer {
            for (name, error) in syncer.finish() {
                self.report.failed(&name, &reason(&error));
            }
        }
        match self.told {
            Some((signal, _)) => 128 + signal,
            None => self.report.code(),
        }
    }

    /// Gives every sink what it takes now.
    fn serve(&mut self) {
        let last = self.stdin.is_none();
        let mut at = 0;
        while at < self.sinks.len() {
            match self.serve_one(at, last) {
                Fate::Lives => at += 1,
                fate => self.end_sink(at, fate),
            }
        }
        let head = self.window.head();
        let needed = self.sinks.iter().map(|sink| sink.kind.needs()).min();
        self.window.release(needed.unwrap_or(head));
    }

    fn serve_one(&mut self, at: usize, last: bool) -> Fate {
        let Self {
            sinks, window, syncer, ..
        } = self;
        let sink = &mut sinks[at];
        match &mut sink.kind {
            Kind::File(file) => match file.take(window, last, &sink.name, syncer.as_ref()) {
                Err(error) => Fate::Dead(error),
                Ok(()) if last => Fate::Done,
                Ok(()) => Fate::Lives,
            },
            Kind::Split(split) => {
                let mut failed = Vec::new();
                split.take(window, last, syncer.as_ref(), &mut failed);
                let mut then = Then::GoOn;
                for (file, error) in failed {
                    if self.report.sink_failed(&format!("{}/{file}", sink.name), false, &error) == Then::Stop {
                        then = Then::Stop;
                    }
                }
                if then == Then::Stop {
                    self.stop_reading();
                }
                if last { Fate::Done } else { Fate::Lives }
            }
            Kind::Queue(queue, awaited) => {
                match awaited.as_ref().and_then(|outlet| outlet.try_recv().ok()) {
                    Some(Ok(outlet)) => queue.connect(outlet),
                    Some(Err(error)) => return Fate::Dead(error),
                    None => {}
                }
                match queue.serve(window, last || self.tails) {
                    Err(error) => return Fate::Dead(error),
                    Ok(true) => self.moved = Instant::now(),
                    Ok(false) => {}
                }
                match queue.relieve(window) {
                    Relief::Quiet => {}
                    Relief::SpillFull(why) => self.report.failed(&sink.name, &format!("{why}; lines are left out")),
                    Relief::GiveUp(why) => return Fate::GivenUp(why),
                }
                if last && queue.done(window) {
                    Fate::Done
                } else {
                    Fate::Lives
                }
            }
        }
    }

    fn end_sink(&mut self, at: usize, fate: Fate) {
        let sink = self.sinks.remove(at);
        if let Kind::Queue(queue, _) = &sink.kind {
            self.tell_left_out(&sink.name, queue);
        }
        match fate {
            Fate::Dead(error) => {
                if let Some(signal) = self.signals.take() {
                    self.wrap_up(signal);
                }
                // Told to end, a whole pipeline goes at once; the logs still get what the writers say of their end.
                let wraps_up = sink.is_stdout && self.told.is_some() && !self.sinks.is_empty();
                if self.report.sink_failed(&sink.name, sink.is_stdout, &error) == Then::Stop && !wraps_up {
                    self.stop_reading();
                }
            }
            Fate::GivenUp(why) => self.report.failed(&sink.name, &format!("given up: {why}")),
            Fate::Lives | Fate::Done => {}
        }
        // Its reader sees the end now, whatever the others still wait for.
        if sink.is_stdout
            && let Ok(null) = File::options().write(true).open("/dev/null")
        {
            let _ = dup2_stdout(&null);
        }
    }

    fn tell_left_out(&self, name: &str, queue: &Queue) {
        match queue.left_out() {
            (0, _) => {}
            (lines, 0) => self
                .report
                .tell(name, &format!("{lines} lines were left out, and gap events tell which")),
            (lines, untold) => {
                self.report.tell(
                    name,
                    &format!("{lines} lines were left out, {untold} of them without a gap event"),
                );
            }
        }
    }

    /// Whoever writes to us learns that nobody reads any more, while the sinks still get what was read.
    fn stop_reading(&mut self) {
        self.stdin = None;
        if let Ok(null) = File::open("/dev/null") {
            let _ = dup2_stdin(&null);
        }
    }

    /// Whether there is room for what a read would bring.
    fn may_read(&mut self) -> usize {
        let queues = || self.sinks.iter().filter_map(|sink| sink.kind.queue());
        let allowed = queues()
            .map(|queue| queue.allows(&self.window))
            .min()
            .unwrap_or(u64::MAX);
        self.stalled = allowed == 0 || (self.stalled && allowed < self.buffer / 2);
        if self.stalled {
            // No more comes for a line that has been begun: another writer on the same pipe, perhaps ourselves, may.
            for sink in &mut self.sinks {
                if let Kind::Queue(queue, _) = &mut sink.kind
                    && queue.waiting(&self.window) == 0
                {
                    queue.yield_line();
                }
            }
            return 0;
        }
        READ.min(usize::try_from(allowed).unwrap_or(READ))
    }

    /// Waits until something happens: a byte to read, room, a reader's coming or going, a signal.
    fn wait(&mut self) {
        let most = if self.stdin.is_some() { self.may_read() } else { 0 };
        let held = self
            .sinks
            .iter()
            .any(|sink| sink.kind.queue().is_some_and(|queue| queue.holds_tail(&self.window)));
        let timeout = if held { PollTimeout::ZERO } else { self.timeout() };
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        let mut polled = Vec::with_capacity(self.sinks.len());
        for (at, sink) in self.sinks.iter().enumerate() {
            if let Some(queue) = sink.kind.queue()
                && let Some(outlet) = queue.outlet()
            {
                let room = if queue.wants_room() {
                    PollFlags::POLLOUT
                } else {
                    PollFlags::empty()
                };
                fds.push(PollFd::new(outlet.as_fd(), room));
                polled.push(at);
            }
        }
        if let Some(stdin) = self.stdin.as_ref().filter(|_| most > 0) {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // No memory, for a moment: there is nothing better to do than to try again.
            Err(_) => return,
        }
        let seen: Vec<PollFlags> = fds
            .iter()
            .map(|fd| fd.revents().unwrap_or(PollFlags::empty()))
            .collect();
        drop(fds);
        if !seen[0].is_empty()
            && let Some(signal) = self.signals.take()
        {
            self.wrap_up(signal);
        }
        if !seen[1].is_empty() {
            self.bell.hush();
        }
        let readable = most > 0 && seen.get(2 + polled.len()).is_some_and(|seen| !seen.is_empty());
        // From behind, so that the places before stay what they were.
        for (&at, seen) in polled.iter().zip(&seen[2..]).rev() {
            self.outlet_says(at, *seen);
        }
        self.tails = !readable;
        if readable {
            self.read(most);
        }
    }

    fn outlet_says(&mut self, at: usize, seen: PollFlags) {
        if seen.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            self.end_sink(at, Fate::Dead(Errno::EPIPE.into()));
        } else if seen.contains(PollFlags::POLLOUT)
            && let Kind::Queue(queue, _) = &mut self.sinks[at].kind
        {
            queue.has_room();
        }
    }

    fn read(&mut self, most: usize) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.read(self.window.space(most)) {
            Ok(0) => self.stop_reading(),
            Ok(count) => {
                self.window.filled(count);
                // As much as an ordinary pipe holds: whoever writes to us waits for us, and with more room less often.
                if count >= PIPE && !std::mem::replace(&mut self.widened, true) {
                    widen(stdin.as_fd(), ROOM);
                    widen(io::stdout().as_fd(), ROOM);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => {
                self.report.failed("standard input", &reason(&error));
                self.stop_reading();
            }
        }
    }

    fn wrap_up(&mut self, signal: u8) {
        if self.told.is_some() {
            return;
        }
        self.told = Some((signal, Instant::now() + WRAP_UP));
        self.moved = Instant::now();
        if self.stdin.as_ref().is_some_and(IsTerminal::is_terminal) {
            self.stop_reading();
        }
    }

    /// When to look again though nothing happened; only after a signal.
    fn timeout(&self) -> PollTimeout {
        let Some((_, until)) = self.told else {
            return PollTimeout::NONE;
        };
        let until = if self.stdin.is_some() {
            until
        } else {
            self.moved + PATIENCE
        };
        // Rounded up, so as not to wake too early and find nothing to do.
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    /// Whether we were told to end, and have waited long enough.
    fn out_of_patience(&mut self) -> bool {
        let Some((_, until)) = self.told else {
            return false;
        };
        let now = Instant::now();
        if self.stdin.is_some() {
            if now < until {
                return false;
            }
            self.stop_reading();
            self.moved = now;
            return false;
        }
        if now < self.moved + PATIENCE {
            return false;
        }
        for sink in &self.sinks {
            if let Some(queue) = sink.kind.queue() {
                let waiting = queue.waiting(&self.window);
                self.report.tell(&sink.name, &format!("{waiting} bytes were not taken"));
            }
        }
        true
    }
}

impl Kind {
    fn needs(&self) -> u64 {
        match self {
            Self::File(file) => file.needs(),
            Self::Queue(queue, _) => queue.needs(),
            Self::Split(split) => split.needs(),
        }
    }

    fn queue(&self) -> Option<&Queue> {
        match self {
            Self::Queue(queue, _) => Some(queue),
            _ => None,
        }
    }
}
