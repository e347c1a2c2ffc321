//! The wait itself: lines, signals and time in one loop, until the verdict is in.

use crate::OURS;
use crate::args::{Args, Output};
use crate::input::{Input, failed};
use crate::report::{self, Ending};
use crate::runs::Runs;
use crate::signals::{Asked, Signals};
use crate::watchdog::Watchdog;
use harmony::cli::{self, Failure, reason};
use harmony::line::{Event, Name, Stamper, Ts, header, subtype};
use harmony::plan::Standing;
use harmony::policy::{Enough, More, Policy, Turns, Verdict};
use harmony::run::{Kept, News};
use harmony::sink::Shared;
use harmony::source::Step;
use harmony::state::State;
use harmony::sys::{startup, terminal};
use harmony::view;
use nix::libc;
use nix::sys::epoll::EpollFlags;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Our reader went away: as a program that SIGPIPE ends.
const READER_GONE: u8 = 141;

/// How long to wait for others once all needed ones are there, where nobody says.
const GRACE: Duration = Duration::from_secs(15);

/// How long the streams may take for their end, once a terminal told all of us to stop.
const WRAP_UP: Duration = Duration::from_secs(5);

/// How long a display on our terminal may take for its last picture.
const LAST_PICTURE: Duration = Duration::from_secs(1);

/// Waits; gives the exit code.
pub fn run(args: &Args) -> Result<u8, Failure> {
    if args.partial.is_some() && args.output != Output::Json {
        return Err(ours("--partial: goes with -o json only"));
    }
    let mut signals = Signals::listen().map_err(|error| failed("signals", &error))?;
    // Before the sources take all descriptors there are.
    let mut wait = match Wait::new(args) {
        Ok(wait) => wait,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(READER_GONE),
        Err(error) => return Err(failed("stdout", &error)),
    };
    let mut input = Input::open(&args.targets, args.turn.is_some())?;
    wait.watch(&mut input, &signals)
        .map_err(|error| failed("sources", &error))?;
    let ending = match wait.until_the_verdict(&mut input, &mut signals) {
        Ok(ending) => ending,
        Err(Stop::Reader) => return Ok(READER_GONE),
        Err(Stop::Failed(failure)) => return Err(failure),
    };
    signals.over();
    input.close();
    // A display before us in the pipe sees by that that it is over, and leaves its last picture.
    terminal::wait_until_undrawn(io::stdout().as_fd(), LAST_PICTURE);
    match wait.say(&ending) {
        Ok(()) => Ok(ending.code(
            args.exit_code_from
                .as_ref()
                .and_then(|name| wait.state.get(name.as_str())),
            &wait.policy,
        )),
        Err(Stop::Reader) => Ok(READER_GONE),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn ours(message: &str) -> Failure {
    Failure {
        message: message.to_owned(),
        code: OURS,
    }
}

/// Why the wait ends without a verdict.
enum Stop {
    Reader,
    Failed(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Reader,
            _ => Self::Failed(failed("stdout", &error)),
        }
    }
}

struct Wait<'a> {
    args: &'a Args,
    policy: Policy,
    state: State,
    stdout: Option<Shared>,
    stamper: Stamper,
    /// Whether a source could not be read.
    unread: bool,
    /// Whether what was copied last ended in the midst of a line.
    mid_line: bool,
    deadline: Option<Instant>,
    grace: Option<Instant>,
    /// The signal that ended the wait, and until when we listen all the same.
    cancelled: Option<(i32, Instant)>,
    partials: Option<Partials>,
    watchdog: Option<Watchdog>,
    runs: Runs,
}

/// When the next `partial` is due.
struct Partials {
    every: Duration,
    due: Instant,
    news: bool,
}

impl<'a> Wait<'a> {
    fn new(args: &'a Args) -> io::Result<Self> {
        let writes = args.pass || args.output != Output::None;
        if writes && startup::was_closed(1) {
            return Err(nix::errno::Errno::EBADF.into());
        }
        let now = Instant::now();
        let deadline = (!args.timeout.is_zero())
            .then(|| now.checked_add(args.timeout))
            .flatten();
        let names = |names: &[Name]| names.iter().map(Name::to_string).collect();
        Ok(Self {
            policy: Policy {
                enough: match args.any {
                    Some(count) => Enough::Any(count as usize),
                    None if args.first => Enough::Any(1),
                    None if args.all || args.need.is_empty() => Enough::All,
                    None => Enough::Any(0),
                },
                need: names(&args.need),
                expect: names(&args.expect),
                trust: args.trust,
                turns: args.turn.map(Turns::new),
            },
            state: State::default(),
            stdout: if writes { Some(Shared::stdout()?) } else { None },
            stamper: Stamper::new(Name::near("cl-wait")),
            unread: false,
            mid_line: false,
            deadline,
            grace: None,
            cancelled: None,
            partials: args.partial.map(|every| Partials {
                every,
                due: now,
                news: false,
            }),
            watchdog: match args.pass || args.partial.is_some() {
                true => Some(Watchdog::start(deadline)?),
                false => None,
            },
            runs: Runs::default(),
            args,
        })
    }

    /// Has signals, processes and the leaving of our reader told among the lines. Signals come first, then our
    /// stdout, then news of plans' runs, then the processes.
    fn watch(&mut self, input: &mut Input, signals: &Signals) -> io::Result<()> {
        signals.watch(|fd, events, token| input.sources.watch_also(fd, events, token))?;
        if let Some(stdout) = &self.stdout {
            // Errors and hang-ups are told unasked.
            input
                .sources
                .watch_also(stdout.fd(), EpollFlags::empty(), signals.count())?;
        }
        input.watch_runs(signals.count() + 1)?;
        (self.runs.news, self.runs.alone) = (!input.runs.is_empty(), input.only_runs);
        input.watch_processes(&mut self.state, signals.count() + 2)
    }

    fn until_the_verdict(&mut self, input: &mut Input, signals: &mut Signals) -> Result<Ending, Stop> {
        let mut ended = false;
        loop {
            let mut more = input.more();
            let settled = match input
                .sources
                .next(self.patience())
                .map_err(|e| Stop::Failed(failed("stdin", &e)))?
            {
                Step::Lines(id, lines) => {
                    let stale = input.old.take(id, lines.len());
                    self.lines(lines, stale)?;
                    // In the midst of a stream others may appear at any time. In that of a file the picture may be one
                    // of the past.
                    more = More::Open;
                    input.is_stream()
                }
                // A last line without a line feed may still be whole; a piece of one is not.
                Step::Tail(id, line) => {
                    let stale = input.old.take(id, line.len());
                    self.fold(line, stale == line.len());
                    self.pass(line, true)?;
                    true
                }
                Step::Piece { id, bytes, last, eol } => {
                    input.old.take(id, bytes.len() + usize::from(last && eol));
                    self.pass(bytes, true)?;
                    if last && eol {
                        self.pass(b"\n", false)?;
                    }
                    false
                }
                Step::Failed(what, error) => {
                    cli::complain("cl-wait", &format!("{what}: {}", reason(&error)));
                    self.unread = true;
                    false
                }
                Step::Other(token) if token < u64::from(signals.count()) => match signals.take(token as u32) {
                    // What a terminal sends, the whole pipeline hears: its last lines say how the streams ended.
                    Some(Asked::End(signal)) if self.may_wrap_up(signal, input) => {
                        self.cancelled = Some((signal, Instant::now() + WRAP_UP));
                        false
                    }
                    Some(Asked::End(signal)) => return Ok(Ending::Cancelled(signal)),
                    Some(Asked::Suspended(pause)) => {
                        self.suspended(pause);
                        false
                    }
                    None => false,
                },
                Step::Other(token) if token == u64::from(signals.count()) => return Err(Stop::Reader),
                Step::Other(token) if token == u64::from(signals.count()) + 1 => {
                    self.runs.news |= input.runs.first().and_then(Kept::news).is_some_and(News::hear);
                    false
                }
                Step::Other(token) => {
                    let at = token - u64::from(signals.count()) - 2;
                    input.process_ended(&mut self.state, at as usize);
                    true
                }
                Step::Left(_) => {
                    self.runs.source_left();
                    false
                }
                Step::Joined(_) | Step::Awaited(_) => false,
                // What a run's journal tells of was written before it, and is read before anything is judged by it.
                Step::Quiet | Step::Late if self.runs.are_due() => {
                    self.look(input)?;
                    false
                }
                Step::Quiet | Step::Late => {
                    let fresh = std::mem::take(&mut self.runs.fresh);
                    // What may be new could be that somebody goes on with them.
                    if !self.runs.are_over() {
                        if fresh && !self.runs.news {
                            self.runs.lose(input, &mut self.state);
                        }
                    } else if self.runs.may_decide() {
                        self.state.finish();
                        more = More::Never;
                    }
                    true
                }
                Step::Ended => {
                    self.state.finish();
                    (ended, more) = (true, More::Never);
                    true
                }
            };
            if let Some((signal, until)) = self.cancelled {
                if ended || until <= Instant::now() {
                    return Ok(Ending::Cancelled(signal));
                }
                continue;
            }
            if settled && !self.runs.are_due() && !self.runs.fresh {
                match self.judge(more) {
                    Some(ending) if self.runs.may_decide() => return Ok(ending),
                    Some(_) => {}
                    None => self.runs.undecided(),
                }
            }
            if let Some(ending) = self.late() {
                return Ok(ending);
            }
            self.partial()?;
        }
    }

    /// Reads what is new of plans' runs, and takes it into the picture.
    fn look(&mut self, input: &mut Input) -> Result<(), Stop> {
        let looked = self.runs.look(input, &mut self.state);
        looked
            .and_then(|()| self.runs.check_names(self.args))
            .map_err(Stop::Failed)?;
        if let Some(wait) = self.runs.by_plan(self.args).and_then(|status| status.plan.wait.clone()) {
            // The answers come in this order.
            self.policy.need = wait.need;
        }
        Ok(())
    }

    /// Whether a signal leaves time to hear how the streams end: one that others hear, for the first time, with a
    /// stream to hear it from.
    fn may_wrap_up(&self, signal: i32, input: &Input) -> bool {
        matches!(signal, libc::SIGINT | libc::SIGHUP) && self.cancelled.is_none() && input.is_stream()
    }

    /// How long may be waited for the next line.
    fn patience(&self) -> Option<Duration> {
        if self.runs.are_due() || self.runs.fresh {
            return Some(Duration::ZERO);
        }
        let look = self.runs.due();
        if let Some((_, until)) = self.cancelled {
            let next = look.map_or(until, |look| look.min(until));
            return Some(next.saturating_duration_since(Instant::now()));
        }
        let partial = self
            .partials
            .as_ref()
            .filter(|partials| partials.news)
            .map(|partials| partials.due);
        let next = [self.deadline, self.grace, partial, look].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Takes whole lines, of which the first `stale` bytes had been written before we began.
    fn lines(&mut self, lines: &[u8], stale: usize) -> io::Result<()> {
        let mut from = 0;
        for feed in memchr::memchr_iter(b'\n', lines) {
            self.fold(&lines[from..feed], feed < stale);
            from = feed + 1;
        }
        self.pass(lines, false)
    }

    fn fold(&mut self, line: &[u8], stale: bool) {
        let at = self.state.line(line);
        if let (Some(turns), Some(at)) = (&mut self.policy.turns, at)
            && header(line).and_then(|head| subtype(line, &head)) == Some(b"turn")
        {
            turns.see(&self.state.streams()[at], !stale);
        }
        if let Some(partials) = &mut self.partials {
            let own = header(line).and_then(|head| subtype(line, &head));
            partials.news |= !matches!(own, Some(b"heartbeat" | b"join" | b"leave"));
        }
    }

    fn pass(&mut self, bytes: &[u8], mid_line: bool) -> io::Result<()> {
        match &mut self.stdout {
            Some(stdout) if self.args.pass => {
                self.mid_line = mid_line;
                stdout.write(bytes)
            }
            _ => Ok(()),
        }
    }

    fn judge(&mut self, more: More) -> Option<Ending> {
        let mut grace = GRACE;
        let verdict = match self.runs.by_plan(self.args) {
            Some(status) => {
                grace = status.plan.wait.as_ref().map_or(GRACE, harmony::plan::Wait::grace);
                match status.standing() {
                    Standing::Waiting => Verdict::Waiting,
                    Standing::Needed => Verdict::Needed,
                    Standing::Met => return Some(Ending::Met),
                    Standing::Unmet(because) => Verdict::Impossible(because),
                }
            }
            None => self.policy.judge(&self.state, more),
        };
        match verdict {
            // Nobody knows what all of them are.
            Verdict::Met if self.unread && self.policy.enough == Enough::All && self.policy.expect.is_empty() => {
                Some(Ending::Unmet("not every source could be read".to_owned()))
            }
            Verdict::Met => Some(Ending::Met),
            Verdict::Impossible(reason) => Some(Ending::Unmet(self.explain(reason))),
            Verdict::Needed => {
                let grace = self.args.grace.unwrap_or(grace);
                self.grace = self.grace.or_else(|| Instant::now().checked_add(grace));
                None
            }
            Verdict::Waiting => {
                self.grace = None;
                None
            }
        }
    }

    fn explain(&self, reason: String) -> String {
        if self.state.streams().is_empty() && self.state.stray > 0 {
            return format!(
                "{reason}: its lines have no header; let cl-merge write it, as in `… | cl-merge | cl-wait`"
            );
        }
        match &self.runs.way_out {
            Some(way_out) => format!("{reason}; {way_out}"),
            None => reason,
        }
    }

    /// What time has decided.
    fn late(&self) -> Option<Ending> {
        let now = Instant::now();
        // What is needed is there, so the time that is up is only that for the rest.
        if self
            .grace
            .is_some_and(|grace| now >= grace || self.deadline.is_some_and(|deadline| now >= deadline))
        {
            return Some(Ending::Met);
        }
        self.deadline
            .is_some_and(|deadline| now >= deadline)
            .then_some(Ending::Timeout)
    }

    /// Time stood still for so long.
    fn suspended(&mut self, pause: Duration) {
        for moment in [&mut self.deadline, &mut self.grace].into_iter().flatten() {
            *moment += pause;
        }
        if let Some(watchdog) = &self.watchdog {
            watchdog.skip(pause);
        }
    }

    /// Says what is there so far, where that is due.
    fn partial(&mut self) -> io::Result<()> {
        let now = Instant::now();
        match &mut self.partials {
            Some(partials) if partials.news && now >= partials.due => {
                partials.news = false;
                partials.due = now + partials.every;
            }
            _ => return Ok(()),
        }
        let verdict = report::verdict(&self.state, &self.policy, None);
        self.event(&Event::Partial(verdict))
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut line = Vec::new();
        if std::mem::take(&mut self.mid_line) {
            line.push(b'\n');
        }
        self.stamper.event(event, Ts::now(), &mut line);
        if io::stdout().is_terminal() {
            line = view::clean_json(&String::from_utf8_lossy(&line))
                .into_owned()
                .into_bytes();
        }
        match &mut self.stdout {
            Some(stdout) => stdout.write(&line),
            None => Ok(()),
        }
    }

    /// Says how it ended.
    fn say(&mut self, ending: &Ending) -> Result<(), Stop> {
        if let Some(because) = ending.because(&self.state, &self.policy) {
            cli::complain("cl-wait", &because);
        }
        match self.args.output {
            Output::None => {}
            Output::Json => {
                let verdict = report::verdict(&self.state, &self.policy, Some(ending));
                self.event(&Event::Final(verdict))?;
            }
            Output::Text => {
                let answers = report::answers(&self.state, &self.policy, Some(ending));
                let terminal = io::stdout().is_terminal();
                let text = report::text(&answers, terminal, self.args.common.color.on(terminal));
                let feed = if std::mem::take(&mut self.mid_line) { "\n" } else { "" };
                if let Some(stdout) = &mut self.stdout {
                    stdout.write(format!("{feed}{text}").as_bytes())?;
                }
            }
        }
        Ok(())
    }
}
