//! The supervisor: waits for signals, timers, the warden and the pump, and does what the rules say.

use super::capture;
use super::ending::{Closing, Ended, Used, millis};
use super::gauge::{Gauge, Note};
use super::order::Order;
use super::pump::Pump;
use super::rules::{Action, Input, Rules};
use super::signals::{Heard, Signals};
use super::tree;
use super::warden::{Command, Launch, Report, Warden};
use crate::line::{Event, Stamper, Start};
use crate::outcome::{End, Stop};
use crate::sink::Shared;
use crate::sys::process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long it may take to say the last words when we are told a second time to end.
const HURRY: Duration = Duration::from_secs(1);

/// A signal that comes so soon after another is the same wish: `timeout` tells its child and then the child's group,
/// and a wrapper passes on what the terminal has told us already.
const SAME_WISH: Duration = Duration::from_millis(100);

/// Runs one worker to its end and writes its stream on `sink`.
///
/// This takes the process over: signals that ask to end, to pause and to go on stay blocked, and stdin leads to
/// `/dev/null` afterwards. When told twice to end, and the sink's reader keeps the stream from its end, this ends
/// the process with 128+N.
///
/// # Errors
/// What kept us from running it at all: no descriptor, no process.
///
/// # Panics
/// When other threads run already: the warden is forked.
pub fn run(mut order: Order, sink: Shared) -> io::Result<Ended> {
    let reader = sink.fd().try_clone_to_owned()?;
    let signals = Signals::block()?;
    let (taps, stdout, stderr) = order.capture.open()?;
    let start = order.start();
    let (silent, stdin) = match order.stdin.take() {
        Some(fd) => (None, fd),
        None => capture::silent_terminal().map(|(ours, theirs)| (Some(ours), theirs))?,
    };
    let what = order.argv.first().map(|program| program.to_string_lossy().into_owned());
    let gauge = Gauge::new()?;
    let warden = Warden::launch(Launch {
        argv: order.argv,
        env: order.env,
        cwd: order.cwd.clone(),
        nice: order.nice,
        stdin,
        stdout,
        stderr,
    })?;
    // Held open by us as well, it would keep whoever writes to it from seeing that nobody reads.
    if let Ok(null) = std::fs::File::open("/dev/null") {
        process::replace(0, null.as_fd())?;
    }
    let stamper = Stamper::new(order.stream);
    let pump = Pump::new(taps, sink, stamper, order.kind, order.stderr, order.max_line, &gauge);
    let mut supervisor = Supervisor {
        signals,
        warden,
        reader: Some(reader),
        gauge: &gauge,
        rules: Rules::new(order.limits),
        agent_limits: order.agent_limits,
        what: what.unwrap_or_default(),
        cwd: order.cwd,
        nice: order.nice,
        start: Some(start),
        early: None,
        asked: None,
        end: None,
        warnings: Vec::new(),
        closed: false,
        hurry: None,
    };
    let ended = std::thread::scope(|scope| {
        scope.spawn(move || pump.run());
        supervisor.watch()
    });
    drop(silent);
    Ok(ended)
}

struct Supervisor<'a> {
    signals: Signals,
    warden: Warden,
    /// Our stdout, which tells when its reader goes away; `None` when it did.
    reader: Option<OwnedFd>,
    gauge: &'a Gauge,
    rules: Rules,
    agent_limits: (Option<Duration>, Option<Duration>),
    what: String,
    cwd: Option<PathBuf>,
    nice: i32,
    /// The first line, until the worker runs or is known not to.
    start: Option<Start>,
    /// A signal that came before that.
    early: Option<i32>,
    /// When we were told to end.
    asked: Option<Instant>,
    end: Option<End>,
    warnings: Vec<String>,
    /// Whether the worker and all it started are gone.
    closed: bool,
    /// The signal that told us to end while we were at it, and when we do, whatever else may be.
    hurry: Option<(i32, Instant)>,
}

impl Supervisor<'_> {
    /// Waits until the worker's tree is gone and the pump has passed on all of it.
    fn watch(&mut self) -> Ended {
        loop {
            let reader_gone = self.wait();
            while let Some(heard) = self.signals.next() {
                self.heard(heard);
            }
            while !self.closed
                && let Some(report) = self.warden.report()
            {
                self.reported(report);
            }
            for note in self.gauge.notes() {
                if let Note::Ended(ended) = note {
                    return *ended;
                }
                self.noted(note);
            }
            if reader_gone {
                self.reader = None;
                self.on(Input::ReaderGone);
            }
            if self.start.is_none() && self.rules.next().is_some_and(|at| at <= self.gauge.clock.now()) {
                self.on(Input::Tick {
                    output: self.gauge.output(),
                    held_up: self.gauge.held_up(),
                    cpu: tree::load(self.warden.pid()).cpu,
                });
            }
            if let Some((signal, at)) = self.hurry
                && at <= Instant::now()
            {
                std::process::exit(128 + signal);
            }
        }
    }

    /// Waits for something to happen; whether our reader went away.
    fn wait(&self) -> bool {
        let [asked, resumed] = self.signals.fds();
        let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![watch(asked), watch(resumed), watch(self.gauge.desk())];
        if !self.closed {
            fds.push(watch(self.warden.fd()));
        }
        // An error or a hang-up is told without being asked for.
        if let Some(reader) = &self.reader
            && self.start.is_none()
        {
            fds.push(PollFd::new(reader.as_fd(), PollFlags::empty()));
        }
        let tick = self.rules.next().filter(|_| self.start.is_none());
        let tick = tick.map(|at| self.gauge.clock.instant(at));
        let wake = tick.into_iter().chain(self.hurry.map(|(_, at)| at)).min();
        let timeout = wake.map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now());
            // Rounded up: waking too early would only mean to wait again.
            let left = left.as_millis() as i64 + i64::from(left.subsec_nanos() % 1_000_000 > 0);
            PollTimeout::try_from(left.min(i64::from(i32::MAX))).unwrap_or(PollTimeout::MAX)
        });
        if poll(&mut fds, timeout).is_err() {
            return false;
        }
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        let told = fds.last().filter(|fd| fd.events().is_empty()).and_then(PollFd::revents);
        told.is_some_and(|told| told.intersects(gone))
    }

    fn on(&mut self, input: Input) {
        let actions = self.rules.on(self.gauge.clock.now(), input);
        if self.rules.stop == Some(Stop::Linger) {
            // An agent that is interrupted after its result says that it was interrupted.
            self.gauge.decide();
        }
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Say(event) => self.gauge.say(event),
            Action::Tell(command) => self.warden.tell(command),
            // A stream that its reader holds up is not silent, and heartbeats would pile up.
            Action::Beat(_) if self.gauge.held_up() || self.gauge.has_orders() => {}
            Action::Beat(idle) => {
                let load = tree::load(self.warden.pid());
                self.gauge.say(Event::Heartbeat {
                    idle: millis(idle),
                    lines: self.gauge.lines(),
                    bytes: self.gauge.bytes(),
                    rss: load.rss,
                    cpu: millis(load.cpu),
                });
            }
        }
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Pause => self.pause(),
            Heard::Resume => self.warden.tell(Command::Everyone(libc::SIGCONT)),
            Heard::End(signal) => {
                let before = self.asked.replace(Instant::now());
                if before.is_some_and(|at| at.elapsed() < SAME_WISH) {
                    return;
                }
                if before.is_some() || self.rules.stop.is_some() {
                    self.hurry.get_or_insert((signal, Instant::now() + HURRY));
                }
                if self.start.is_some() {
                    self.early.get_or_insert(signal);
                } else if !self.closed {
                    self.on(Input::Signal(signal));
                }
            }
        }
    }

    fn reported(&mut self, report: Report) {
        match report {
            Report::Started(pid) => {
                // Niceness below ours takes a permission.
                if self.nice != 0 && tree::niceness(pid).is_some_and(|nice| nice != self.nice) {
                    self.warnings.push(format!("niceness {} is not permitted", self.nice));
                }
                self.begin(Some(pid));
            }
            Report::Ended(end) => {
                self.end = Some(end);
                if let End::Unstartable(_) = end {
                    self.unstartable();
                } else {
                    self.on(Input::Exited);
                }
            }
            Report::Empty { orphans, cpu, rss } => self.close(orphans, Some(Used { cpu, rss })),
            Report::Gone => {
                let orphans = self.warden.bury();
                self.end.get_or_insert(End::Signalled(libc::SIGKILL));
                self.begin(None);
                self.close(orphans, None);
            }
        }
    }

    fn unstartable(&mut self) {
        if let Some(cwd) = self.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
            self.what = format!("-C {}", cwd.display());
            self.end = Some(End::Unstartable(libc::ENOENT));
        }
        self.begin(None);
        self.close(0, None);
    }

    /// The worker runs, or never will: says so, and hears what came before.
    fn begin(&mut self, pid: Option<i32>) {
        let Some(start) = self.start.take() else { return };
        self.gauge.say(Event::Start(Box::new(Start { pid, ..start })));
        if pid.is_some()
            && let Some(signal) = self.early.take()
        {
            self.on(Input::Signal(signal));
        }
    }

    /// The worker and all it started are gone.
    fn close(&mut self, orphans: u32, used: Option<Used>) {
        self.closed = true;
        self.on(Input::Empty);
        self.gauge.close(Closing {
            what: std::mem::take(&mut self.what),
            end: self.end.unwrap_or(End::Unseen),
            stop: self.rules.stop,
            used,
            orphans,
            duration: self.gauge.clock.wall(),
            warnings: std::mem::take(&mut self.warnings),
        });
    }

    fn noted(&mut self, note: Note) {
        match note {
            Note::Agent(kind) => {
                let (idle, linger) = self.agent_limits;
                self.rules.adopt(idle, linger, kind.ladder());
            }
            Note::Settled(settled) => self.on(Input::Settled(settled)),
            Note::OutputClosed => self.on(Input::OutputClosed),
            Note::SinkFailed => self.on(Input::ReaderGone),
            Note::Ended(_) => {}
        }
    }

    /// Ctrl-Z: the worker stops, we stop, and the time until we go on counts for nothing.
    fn pause(&mut self) {
        self.warden.tell(Command::Everyone(libc::SIGSTOP));
        let before = Instant::now();
        // Who was told to go on meanwhile would wait for ever.
        if !self.signals.resumed() {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
        }
        self.gauge.clock.skip(before.elapsed());
        self.warden.tell(Command::Everyone(libc::SIGCONT));
    }
}
