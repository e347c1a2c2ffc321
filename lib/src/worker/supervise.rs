//! The supervisor of one attempt: waits for signals, timers, the warden and the pump, and does what the rules say.

use super::capture;
use super::course::Course;
use super::ending::{Closing, Used, millis};
use super::feed::{Fed, Feed};
use super::gauge::Note;
use super::order::{Attempt, Order};
use super::pump::{Pump, Round, StderrTo};
use super::reading::Reading;
use super::rules::{Action, Input, Limits, Rules};
use super::signals::Heard;
use super::voice::Voice;
use super::warden::{Command, Report, Warden};
use super::watch::Watch;
use crate::agent::Kind;
use crate::hold::Account;
use crate::line::{Event, Start};
use crate::outcome::{End, Stop};
use crate::sys::spawn::Launch;
use crate::sys::tree;
use nix::poll::{PollFd, PollFlags};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Runs one attempt to its end, and lets the course say what follows.
pub(super) fn attempt(
    order: &Order,
    mut attempt: Attempt,
    watch: &mut Watch<'_>,
    voice: &mut Voice,
    mut feed: Option<&mut Feed>,
    course: &mut Course,
) -> io::Result<()> {
    let gauge = watch.gauge;
    let (taps, stdout, stderr) = attempt.capture.open()?;
    let start = attempt.start(course.attempts, order);
    let (silent, stdin) = match (&mut feed, attempt.stdin.take()) {
        (Some(feed), _) => (None, feed.attach()?),
        (None, Some(fd)) => (None, fd),
        (None, None) => capture::silent_terminal().map(|(ours, theirs)| (Some(ours), theirs))?,
    };
    let what = attempt
        .argv
        .first()
        .map(|program| program.to_string_lossy().into_owned());
    let warden = Warden::launch(
        Launch {
            argv: attempt.argv,
            env: attempt.env,
            cwd: attempt.cwd.clone(),
            nice: attempt.nice,
            stdin,
            stdout,
            stderr,
        },
        order.served.is_some(),
    )?;
    Watch::release_stdin()?;
    gauge.decide(false);
    let alone = voice.never_waits() && order.stderr != StderrTo::Pass;
    let mut reading = Reading::new(attempt.kind);
    if let Some(before) = course.before.take().filter(|_| attempt.resumed) {
        reading.resume(&before);
    }
    let pump = Pump::new(
        taps,
        voice,
        reading,
        order.stderr,
        order.max_line,
        feed.is_some().then_some(course.attempts),
        gauge,
    );
    let limits = Limits {
        timeout: order.timeout,
        kill_after: order.kill_after,
        idle: attempt.idle,
        linger: attempt.linger,
        heartbeat: order.heartbeat,
        ladder: attempt.kind.unwrap_or(Kind::Plain).ladder(),
    };
    let mut supervisor = Supervisor {
        rules: Rules::new(limits, gauge.clock.now()),
        watch,
        warden,
        feed,
        settled: false,
        agent_limits: attempt.agent_limits,
        what: what.unwrap_or_default(),
        cwd: attempt.cwd,
        nice: attempt.nice,
        load: tree::Load::default(),
        start: Some(start),
        early: None,
        end: None,
        warnings: Vec::new(),
        closed: false,
    };
    let account = attempt.account;
    if alone {
        supervisor.watch(Some(Beside {
            pump,
            course,
            account: account.as_ref(),
            next: Round::Waits,
        }));
    } else {
        std::thread::scope(|scope| {
            scope.spawn(|| pump.run(course, account.as_ref()));
            supervisor.watch(None);
        });
    }
    drop(silent);
    Ok(())
}

/// A pump that the supervisor runs beside its own work.
struct Beside<'a> {
    pump: Pump<'a>,
    course: &'a mut Course,
    account: Option<&'a Account>,
    next: Round,
}

impl Beside<'_> {
    fn round(&mut self) {
        if self.next != Round::Ended {
            self.next = self.pump.round(self.course, self.account);
        }
    }
}

struct Supervisor<'a, 'b> {
    watch: &'a mut Watch<'b>,
    warden: Warden,
    rules: Rules,
    /// Of a worker that is kept: its prompts.
    feed: Option<&'a mut Feed>,
    /// Whether its last turn has ended with nothing pending.
    settled: bool,
    agent_limits: (Option<Duration>, Option<Duration>),
    what: String,
    cwd: Option<PathBuf>,
    nice: i32,
    /// What the worker's tree used at the last tick.
    load: tree::Load,
    /// The first line, until the worker runs or is known not to.
    start: Option<Start>,
    /// A signal that came before that.
    early: Option<i32>,
    end: Option<End>,
    warnings: Vec<String>,
    /// Whether the worker and all it started are gone.
    closed: bool,
}

impl Supervisor<'_, '_> {
    /// Waits until the worker's tree is gone and the pump has passed on all of it.
    fn watch(&mut self, mut beside: Option<Beside<'_>>) {
        loop {
            let reader_gone = self.wait(beside.as_ref());
            while let Some(heard) = self.watch.heard(self.rules.stop.is_some()) {
                self.heard(heard);
            }
            while !self.closed
                && let Some(report) = self.warden.report()
            {
                self.reported(report);
            }
            if let Some(beside) = &mut beside {
                beside.round();
            }
            for note in self.watch.gauge.notes() {
                if let Note::Ended = note {
                    return;
                }
                self.noted(note);
            }
            self.feed();
            if reader_gone {
                self.on(Input::ReaderGone);
            }
            if self.start.is_none() && self.rules.next().is_some_and(|at| at <= self.watch.gauge.clock.now()) {
                self.load = self.warden.load();
                self.on(Input::Tick {
                    output: self.watch.gauge.output(),
                    held_up: self.watch.gauge.held_up(),
                    cpu: self.load.cpu,
                });
            }
        }
    }

    /// Waits for something to happen; whether our reader went away.
    fn wait(&mut self, beside: Option<&Beside<'_>>) -> bool {
        let runs = self.start.is_none();
        let mut more = Vec::new();
        if !self.closed {
            more.extend(self.warden.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
        if let Some(feed) = self.feed.as_ref().filter(|_| runs && self.feeds()) {
            more.extend(feed.fds());
        }
        let tick = self.rules.next().filter(|_| runs);
        let tick = tick.map(|at| self.watch.gauge.clock.instant(at));
        let due = self.warden.next().filter(|_| !self.closed);
        let round = beside.and_then(|beside| {
            more.extend(beside.pump.fds());
            match beside.next {
                Round::More => Some(Duration::ZERO),
                Round::Waits | Round::Ended => beside.pump.look(),
            }
        });
        let round = round.map(|after| Instant::now() + after);
        self.watch
            .wait(more, runs, tick.into_iter().chain(due).chain(round).min())
    }

    /// Whether the worker may be given another prompt.
    fn feeds(&self) -> bool {
        self.end.is_none() && self.rules.stop.is_none()
    }

    /// Gives a kept worker what there is for it.
    fn feed(&mut self) {
        let feeds = self.start.is_none() && self.feeds();
        let Some(feed) = self.feed.as_mut().filter(|_| feeds) else {
            return;
        };
        match feed.work() {
            Fed::Asked => {
                self.watch.gauge.ask();
                self.on(Input::Rest(false));
            }
            Fed::Nothing => {
                let resting = feed.is_resting();
                self.on(Input::Rest(resting));
            }
            Fed::Finished => {
                let settled = self.settled || feed.sent == 0;
                self.on(Input::Rest(false));
                self.on(Input::Settled(settled));
            }
        }
    }

    fn on(&mut self, input: Input) {
        let actions = self.rules.on(self.watch.gauge.clock.now(), input);
        if let (Some(_), Some(feed)) = (self.rules.stop, &mut self.feed) {
            feed.close();
        }
        if self.rules.stop == Some(Stop::Linger) {
            // An agent that is interrupted after its result says that it was interrupted.
            self.watch.gauge.decide(true);
        }
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        let gauge = self.watch.gauge;
        match action {
            Action::Say(event) => gauge.say(event),
            Action::Tell(command) => self.warden.tell(command),
            // A stream that its reader holds up is not silent, and heartbeats would pile up.
            Action::Beat(_) if gauge.held_up() || gauge.has_orders() => {}
            Action::Beat(idle) => {
                let load = self.load;
                gauge.say(Event::Heartbeat {
                    idle: millis(idle),
                    lines: gauge.lines(),
                    bytes: gauge.bytes(),
                    rss: load.rss,
                    cpu: millis(load.cpu),
                });
            }
        }
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Pause => {
                self.warden.tell(Command::Everyone(libc::SIGSTOP));
                self.watch.pause();
                self.warden.tell(Command::Everyone(libc::SIGCONT));
            }
            Heard::Resume => self.warden.tell(Command::Everyone(libc::SIGCONT)),
            Heard::Child => self.warden.wake(),
            Heard::End(signal) if self.start.is_some() => {
                self.early.get_or_insert(signal);
            }
            Heard::End(signal) => {
                if !self.closed {
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
            Report::Gone { orphans } => {
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
        self.watch.gauge.say(Event::Start(Box::new(Start { pid, ..start })));
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
        let kept = self.feed.as_mut().map(|feed| feed.kept());
        let gauge = self.watch.gauge;
        gauge.close(Closing {
            what: std::mem::take(&mut self.what),
            end: self.end.unwrap_or(End::Unseen),
            stop: self.rules.stop,
            used,
            orphans,
            duration: gauge.clock.wall(),
            warnings: std::mem::take(&mut self.warnings),
            kept,
        });
    }

    fn noted(&mut self, note: Note) {
        match note {
            Note::Agent(kind) => {
                let (idle, linger) = self.agent_limits;
                self.rules.adopt(idle, linger, kind.ladder());
            }
            Note::Settled(settled) => {
                self.settled = settled;
                // A worker that is kept lives on until there are no more prompts.
                if self.feed.as_ref().is_none_or(|feed| feed.is_finished()) {
                    self.on(Input::Settled(settled));
                }
            }
            Note::Turn(answers) => {
                if let Some(feed) = self.feed.as_mut().filter(|_| answers) {
                    feed.answered();
                }
            }
            Note::OutputClosed => self.on(Input::OutputClosed),
            Note::SinkFailed => {
                // Nor is there another attempt that nobody hears of.
                self.watch.unheard();
                self.on(Input::ReaderGone);
            }
            Note::Ended => {}
        }
    }
}
