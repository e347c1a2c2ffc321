//! The supervisor: waits for signals, timers, the warden and the pump, and does what the rules say.

use super::capture::{self, Capture};
use super::pump::{Gauge, Note, Pump, Pumped, StderrTo};
use super::rules::{Action, Input, Limits, Rules};
use super::tree;
use super::warden::{Command, Launch, Report, Warden};
use crate::agent::{Account, Kind};
use crate::line::{Event, Exit, Name, Stamper, Start, Ts};
use crate::outcome::{End, Evidence, Stop, exit_code, judge, signal_name};
use crate::sink::Shared;
use crate::sys::fds::{What, what};
use crate::sys::watch::watch;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// What is asked of a worker.
#[derive(Debug)]
pub struct Order {
    /// The stream's name.
    pub stream: Name,
    /// How its lines are read; `None` when its first line is to tell.
    pub kind: Option<Kind>,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Changes to the environment: `None` removes.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// Where it runs.
    pub cwd: Option<PathBuf>,
    /// Its niceness.
    pub nice: i32,
    /// Its stdin; `None` is a terminal that says nothing.
    pub stdin: Option<OwnedFd>,
    /// The prompt, to be told in `start`.
    pub prompt: Option<String>,
    /// How stdout is taken.
    pub capture: Capture,
    /// Where stderr goes.
    pub stderr: StderrTo,
    /// Bytes after which a line travels in pieces.
    pub max_line: usize,
    /// The limits it lives under.
    pub limits: Limits,
    /// What an agent that only its first line tells gets for limits left open: idle and linger.
    pub agent_limits: (Option<Duration>, Option<Duration>),
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The `exit` event as it was written.
    pub exit: Exit,
    /// The exit code that goes with it.
    pub code: u8,
    /// Why our own output failed, where it did for another reason than a reader that went away.
    pub sink: Option<io::Error>,
}

/// The most of a prompt that is told in `start`.
const TOLD_PROMPT: usize = 64 << 10;

/// Runs one worker to its end and writes its stream on stdout.
///
/// # Errors
/// What kept us from running it at all: no descriptor, no process, stdout closed.
///
/// # Panics
/// When other threads run already: the warden is forked.
pub fn run(order: Order) -> io::Result<Ended> {
    let sink = Shared::stdout()?;
    let watched = watchable(&sink)?;
    let (out, worker_out) = order.capture.open()?;
    let err_capture = if order.capture == Capture::File {
        Capture::File
    } else {
        Capture::Pipe
    };
    let (err, worker_err) = err_capture.open()?;
    let (silent, stdin) = match order.stdin {
        Some(fd) => (None, fd),
        None => capture::silent_terminal().map(|(ours, theirs)| (Some(ours), theirs))?,
    };
    let gauge = Gauge::new()?;
    let mut start = start_event(
        order.kind,
        &order.argv,
        order.cwd.as_deref(),
        order.prompt,
        &order.limits,
    );
    let what = order
        .argv
        .first()
        .map(|program| program.to_string_lossy().into_owned())
        .unwrap_or_default();
    let warden = Warden::launch(Launch {
        argv: order.argv,
        env: order.env,
        cwd: order.cwd,
        nice: order.nice,
        stdin,
        stdout: worker_out,
        stderr: worker_err,
    })?;
    let mut ended = None;
    match warden.wait() {
        Report::Started(pid) => start.pid = Some(pid),
        Report::Ended(end) => ended = Some(end),
        Report::Empty { .. } | Report::Gone => ended = Some(End::Signalled(libc::SIGKILL)),
    }
    let stamper = Stamper::new(order.stream);
    gauge.say(Event::Start(Box::new(start)));

    let (sender, notes) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = std::thread::scope(|scope| {
        let note_sender = sender.clone();
        let pump = Pump {
            out,
            err,
            stamper,
            sink: Some(sink),
            gauge: &gauge,
            kind: order.kind,
            stderr_to: order.stderr,
            max_line: order.max_line,
            note: move |note| drop(note_sender.send(Message::Note(note))),
        };
        let done = sender;
        scope.spawn(move || {
            let pumped = pump.run();
            let _ = done.send(Message::Pumped(Box::new(pumped)));
        });
        let mut supervisor = Supervisor {
            warden,
            gauge: &gauge,
            notes,
            rules: Rules::new(order.limits),
            agent_limits: order.agent_limits,
            started: ended.is_none(),
            end: ended,
            rest: None,
            pumped: None,
            sink_error: None,
        };
        let watched = runtime.block_on(async { supervisor.watch(watched).await });
        // A second thought of the user's ends even a pump that waits for its reader.
        if supervisor.pumped.is_none() {
            std::process::exit(i32::from(exit_code(
                crate::line::Outcome::Cancelled,
                End::Unseen,
                supervisor.rules.stop,
            )));
        }
        watched.map(|()| supervisor.finish(&what))
    });
    drop(silent);
    outcome
}

/// What the pump's thread sends.
enum Message {
    Note(Note),
    Pumped(Box<Pumped>),
}

struct Supervisor<'a> {
    warden: Warden,
    gauge: &'a Gauge,
    notes: mpsc::UnboundedReceiver<Message>,
    rules: Rules,
    agent_limits: (Option<Duration>, Option<Duration>),
    started: bool,
    end: Option<End>,
    /// Orphans, CPU seconds, peak bytes: known when the whole tree is gone.
    rest: Option<(u32, f64, u64)>,
    pumped: Option<Pumped>,
    sink_error: Option<io::Error>,
}

struct Signals {
    int: Signal,
    term: Signal,
    quit: Signal,
    hup: Option<Signal>,
    tstp: Signal,
    cont: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            // Under nohup a hang-up is to be ignored.
            hup: if crate::sys::process::is_ignored(libc::SIGHUP) {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
            tstp: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            cont: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }

    async fn next(&mut self) -> i32 {
        let hup = async {
            match &mut self.hup {
                Some(hup) => hup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.int.recv() => libc::SIGINT,
            _ = self.term.recv() => libc::SIGTERM,
            _ = self.quit.recv() => libc::SIGQUIT,
            _ = hup => libc::SIGHUP,
            _ = self.tstp.recv() => libc::SIGTSTP,
            _ = self.cont.recv() => libc::SIGCONT,
        }
    }
}

impl Supervisor<'_> {
    /// Waits until the worker's tree is gone and the pump has passed on all of it, or until we are told a second time
    /// to end while only our reader keeps us.
    async fn watch(&mut self, watched: Option<OwnedFd>) -> io::Result<()> {
        let mut signals = Signals::new()?;
        let warden = watch(self.warden.fd().try_clone_to_owned()?, Interest::READABLE)?;
        let reader = watched.map(|fd| watch(fd, Interest::ERROR)).transpose()?;
        let mut reader_gone = false;
        self.drain_if_empty();
        while self.pumped.is_none() {
            let wake = self.rules.next().map(|at| self.gauge.clock.instant(at));
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let gone = async {
                match &reader {
                    Some(reader) if !reader_gone => drop(reader.ready(Interest::ERROR).await),
                    _ => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                signal = signals.next() => match signal {
                    libc::SIGTSTP => { self.pause(); continue }
                    libc::SIGCONT => { self.warden.tell(Command::Everyone(libc::SIGCONT)); continue }
                    signal if self.rest.is_some() && self.rules.stop.is_some() => {
                        let _ = signal;
                        return Ok(());
                    }
                    signal if self.rest.is_some() => { self.rules.stop = Some(Stop::Signal(signal)); continue }
                    signal => Some(Input::Signal(signal)),
                },
                guard = warden.readable(), if self.rest.is_none() => {
                    let report = self.warden.report();
                    if report.is_none() { guard?.clear_ready(); }
                    report.and_then(|report| self.reported(report))
                }
                message = self.notes.recv() => message.and_then(|message| self.noted(message)),
                () = gone => { reader_gone = true; Some(Input::ReaderGone) }
                () = timer => Some(Input::Tick {
                    output: self.gauge.output(),
                    held_up: self.gauge.held_up(),
                    cpu: tree::load(self.warden.pid()).cpu,
                }),
            };
            if let Some(input) = input {
                for action in self.rules.on(self.gauge.clock.now(), input) {
                    self.act(action);
                }
            }
            self.drain_if_empty();
        }
        Ok(())
    }

    fn drain_if_empty(&mut self) {
        if !self.started && self.rest.is_none() {
            self.rest = Some((0, 0.0, 0));
            self.rules.on(self.gauge.clock.now(), Input::Empty);
            self.gauge.drain();
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
                    idle: round(idle),
                    lines: self.gauge.lines(),
                    bytes: self.gauge.bytes(),
                    rss: load.rss,
                    cpu: round(load.cpu),
                });
            }
        }
    }

    fn reported(&mut self, report: Report) -> Option<Input> {
        match report {
            Report::Started(_) => None,
            Report::Ended(end) => {
                self.end = Some(end);
                Some(Input::Exited)
            }
            Report::Empty { orphans, cpu, rss } => {
                self.rest = Some((orphans, cpu, rss));
                self.gauge.drain();
                Some(Input::Empty)
            }
            Report::Gone => {
                let orphans = self.warden.bury();
                self.end.get_or_insert(End::Signalled(libc::SIGKILL));
                self.rest = Some((orphans, 0.0, 0));
                self.gauge.drain();
                Some(Input::Empty)
            }
        }
    }

    fn noted(&mut self, message: Message) -> Option<Input> {
        match message {
            Message::Pumped(pumped) => {
                self.pumped = Some(*pumped);
                None
            }
            Message::Note(Note::Agent(kind)) => {
                let (idle, linger) = self.agent_limits;
                self.rules.adopt(idle, linger, kind.ladder());
                None
            }
            Message::Note(Note::Settled(settled)) => Some(Input::Settled(settled)),
            Message::Note(Note::OutputClosed) => Some(Input::OutputClosed),
            Message::Note(Note::SinkFailed(error)) => {
                if error.kind() != io::ErrorKind::BrokenPipe {
                    self.sink_error = Some(error);
                }
                Some(Input::ReaderGone)
            }
        }
    }

    /// Ctrl-Z: the worker stops, we stop, and the time until we go on counts for nothing.
    fn pause(&mut self) {
        self.warden.tell(Command::Everyone(libc::SIGSTOP));
        let before = Instant::now();
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
        self.gauge.clock.skip(before.elapsed());
        self.warden.tell(Command::Everyone(libc::SIGCONT));
    }

    /// Writes the stream's last line.
    fn finish(self, what: &str) -> Ended {
        let Some(mut pumped) = self.pumped else {
            unreachable!("asked for only when all is pumped")
        };
        let end = self.end.unwrap_or(End::Unseen);
        let (orphans, cpu, rss) = self.rest.unwrap_or_default();
        let stop = self.rules.stop;
        let evidence = Evidence {
            end,
            stop,
            agent: pumped.kind.is_agent(),
            account: &pumped.account,
            whole: pumped.whole,
        };
        let judged = judge(&evidence);
        let mut exit = Exit {
            outcome: judged.outcome,
            because: judged.because,
            duration: round(self.gauge.clock.wall().as_secs_f64()),
            attempts: 1,
            lines: self.gauge.lines(),
            bytes: self.gauge.bytes(),
            whole: pumped.whole,
            orphans,
            stderr: pumped.stderr,
            ..account_exit(&pumped.account)
        };
        match end {
            End::Exited(code) => exit.code = Some(code),
            End::Signalled(signal) => exit.signal = Some(signal_name(signal)),
            End::Unstartable(_) => exit.because = format!("{what}: {}", exit.because),
            End::Unseen => {}
        }
        if self.started {
            (exit.cpu, exit.rss) = (Some(round(cpu)), Some(rss));
        }
        if orphans > 0 {
            exit.warnings
                .push(format!("{orphans} left behind by the worker had to be ended"));
        }
        let code = if self.sink_error.is_some() {
            125
        } else {
            exit_code(exit.outcome, end, stop)
        };
        let mut sink_error = self.sink_error;
        if let Some(sink) = &mut pumped.sink {
            let mut line = Vec::new();
            pumped
                .stamper
                .event(&Event::Exit(Box::new(exit.clone())), Ts::now(), &mut line);
            // A reader that left before the very last line has seen nothing but the end: that is no failure of ours.
            if let Err(error) = sink.write(&line)
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                sink_error = Some(error);
            }
        }
        let code = if sink_error.is_some() { 125 } else { code };
        Ended {
            exit,
            code,
            sink: sink_error,
        }
    }
}

/// What an account puts into `exit`; shared with whoever stamps a stream that nobody spawned.
pub fn account_exit(account: &Account) -> Exit {
    let result = account.result.as_ref();
    Exit {
        session_id: account.session.clone(),
        text: account.answer(),
        turns: result.and_then(|result| result.turns),
        cost_usd: account.cost(),
        usage: account.usage(),
        resets_at: account.limit.as_ref().and_then(|(_, resets_at)| *resets_at),
        denials: account.denials.iter().map(|tool| json!({ "tool": tool })).collect(),
        pending: account.pending.iter().map(|what| json!(what)).collect(),
        ..Exit::default()
    }
}

fn start_event(
    kind: Option<Kind>,
    argv: &[OsString],
    cwd: Option<&std::path::Path>,
    prompt: Option<String>,
    limits: &Limits,
) -> Start {
    let mut told = Map::new();
    for (name, limit) in [
        ("timeout", limits.timeout),
        ("idle", limits.idle),
        ("linger", limits.linger),
    ] {
        if let Some(limit) = limit {
            told.insert(name.to_owned(), Value::from(limit.as_secs_f64()));
        }
    }
    Start {
        v: 1,
        attempt: 1,
        agent: kind.map_or("auto", Kind::as_str).to_owned(),
        argv: argv.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        cwd: cwd
            .map(|cwd| std::path::absolute(cwd).unwrap_or_else(|_| cwd.to_owned()))
            .or_else(|| std::env::current_dir().ok())
            .map(|cwd| cwd.to_string_lossy().into_owned())
            .unwrap_or_default(),
        host: nix::unistd::gethostname()
            .map(|host| host.to_string_lossy().into_owned())
            .unwrap_or_default(),
        prompt: prompt.map(|mut prompt| {
            if prompt.len() > TOLD_PROMPT {
                prompt.truncate(prompt.floor_char_boundary(TOLD_PROMPT));
                prompt.push('…');
            }
            prompt
        }),
        limits: told,
        ..Start::default()
    }
}

/// A descriptor that tells when our reader goes away, where the kind of stdout can tell that.
fn watchable(sink: &Shared) -> io::Result<Option<OwnedFd>> {
    match what(sink.fd())? {
        What::Pipe | What::Socket => Ok(Some(sink.fd().try_clone_to_owned()?)),
        What::File | What::Device | What::Other => Ok(None),
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
