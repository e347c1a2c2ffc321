//! The loop that folds what comes and shows it: it waits for lines, signals and room in the output, and for nothing else.

use crate::fold::Fold;
use crate::output::Output;
use crate::pump::Over;
use crate::reports::Reports;
use crate::signals::Signals;
use harmony::cli::{Failure, complain, reason};
use harmony::line::Ts;
use harmony::source::{Sources, Step};
use harmony::state::Stream;
use harmony::view::Look;
use nix::errno::Errno;
use nix::libc::{SIGCONT, SIGTSTP};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::signal::{Signal, raise};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The clock in the picture.
const TICK: Duration = Duration::from_secs(1);
/// The line that says that all is well.
const ALIVE: Duration = Duration::from_secs(60);

/// So many lines between two frames are taken all at once; fewer as they come.
const BUSY: usize = 20;

const SIGNAL: u64 = 0;
const WAKE: u64 = 1;
const ROOM: u64 = 2;

/// What is shown, from what, and where.
pub struct Watch {
    pub sources: Sources,
    pub fold: Fold,
    pub look: Look,
    pub output: Output,
    pub signals: Signals,
    pub interval: Duration,
    /// Where the pump wakes us: lines lie in its pipe while we rest. Without it, lines are taken as they come.
    pub wake: Option<Arc<EventFd>>,
    /// The pump, where there is one.
    pub pump: Option<JoinHandle<Result<Over, Failure>>>,
    /// Whether the run goes on where it is, so that the end of all its streams is the end, and not that of the input.
    pub follows: bool,
    /// What is to be written at the end.
    pub reports: Reports,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The signal that asked for it.
    pub signal: Option<i32>,
    /// Whether something could not be read.
    pub failed: bool,
}

struct Loop {
    /// Signals, the pump's call and room in the output, behind one descriptor that the sources watch.
    calls: Epoll,
    /// Whether the output is watched for room.
    listed: bool,
    /// Lines since the picture was last drawn.
    lines: usize,
    /// Whether it is to be drawn anew without any.
    stale: bool,
    /// Whether it is to be drawn at once.
    hasty: bool,
    /// Whether all streams have ended.
    complete: bool,
    /// When it was last drawn.
    drawn: Instant,
    signal: Option<i32>,
    over: bool,
    /// Whether the input has ended.
    ended: bool,
    failed: bool,
}

impl Loop {
    fn dirty(&self) -> bool {
        self.lines > 0 || self.stale
    }

    fn shown(&mut self, now: Instant) {
        (self.lines, self.stale, self.hasty, self.drawn) = (0, false, false, now);
    }
}

impl Watch {
    /// Runs to the end of the input, or of the run.
    pub fn run(mut self) -> Result<Seen, Failure> {
        let failed = |error: io::Error| Failure::io("epoll", &error);
        let calls = self.listen().map_err(failed)?;
        self.sources
            .watch_also(calls.0.as_fd(), EpollFlags::EPOLLIN, 0)
            .map_err(failed)?;
        let start = Instant::now();
        let mut turn = Loop {
            calls,
            listed: false,
            lines: 0,
            stale: true,
            hasty: false,
            complete: false,
            drawn: start.checked_sub(self.interval).unwrap_or(start),
            signal: None,
            over: false,
            ended: false,
            failed: false,
        };
        while !turn.over {
            self.turn(&mut turn).map_err(failed)?;
        }
        // The pump's pipe has ended, so it has; unless we are in a hurry, and it goes with us.
        let pumped = self.pump.take().filter(|_| turn.ended).map(JoinHandle::join);
        let whole = !matches!(pumped, Some(Ok(Ok(Over::Reader))));
        // One that came together with the end counts as well.
        self.signals(&mut turn);
        self.end(&turn, whole);
        turn.failed |= !self.reports.write(&self.fold.state, &self.look);
        match pumped {
            Some(Ok(Err(failure))) => Err(failure),
            _ => Ok(Seen {
                signal: turn.signal,
                failed: turn.failed,
            }),
        }
    }

    fn listen(&self) -> io::Result<Epoll> {
        let calls = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        calls.add(&self.signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNAL))?;
        if let Some(wake) = &self.wake {
            calls.add(wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        }
        Ok(calls)
    }

    /// Takes one step of the input, and shows what is due.
    fn turn(&mut self, turn: &mut Loop) -> io::Result<()> {
        let now = Instant::now();
        let wait = self.due(turn, now).map(|due| due.saturating_duration_since(now));
        let (look, output, lines) = (&self.look, &mut self.output, &mut turn.lines);
        let mut told = |place: usize, stream: &Stream, at: Ts| {
            *lines += 1;
            if let Output::Log(log) = output
                && look.shows(&stream.name)
            {
                log.told(place, stream, at, look);
            }
        };
        let mut joined = None;
        let (mut quiet, mut called) = (false, false);
        match self.sources.next(wait)? {
            Step::Joined(id) => joined = Some(id),
            Step::Lines(id, lines) => self.fold.lines(id, lines, &mut told),
            Step::Tail(id, bytes) => self.fold.tail(id, bytes, &mut told),
            Step::Piece { id, bytes, last, eol } => self.fold.piece(id, (bytes, last, eol), &mut told),
            Step::Left(id) => self.fold.left(id, &mut told),
            Step::Failed(what, error) => {
                turn.failed = true;
                complain("cl-progress", &format!("{what}: {}", reason(&error)));
            }
            Step::Other(_) => called = true,
            Step::Quiet => quiet = true,
            Step::Awaited(_) | Step::Late => {}
            Step::Ended => (turn.over, turn.ended) = (true, true),
        }
        if let Some(id) = joined {
            let source = self.sources.get(id);
            let (name, shown) = (source.name.clone(), source.shown.clone());
            self.fold.joined(id, name, shown, source.regular);
        }
        if called {
            self.calls(turn, Some(Duration::ZERO))?;
        }
        if quiet {
            let complete = self.look.all_ended(&self.fold.state);
            // Whoever waits for this may write to the same terminal now: the picture is first, if it can be.
            turn.hasty = complete && !turn.complete;
            turn.complete = complete;
            turn.over |= self.follows && complete;
        }
        self.show(turn)?;
        // What comes while the picture stands lies in the pump's pipe: it is taken all at once.
        if quiet && turn.lines > BUSY && self.wake.is_some() && !turn.over {
            let rest = (turn.drawn + self.interval).saturating_duration_since(Instant::now());
            self.calls(turn, Some(rest))?;
        }
        Ok(())
    }

    /// When something is to be shown even if nothing comes.
    fn due(&self, turn: &Loop, now: Instant) -> Option<Instant> {
        let running = || {
            self.look
                .streams(&self.fold.state)
                .any(|(_, stream)| stream.outcome().is_none())
        };
        match &self.output {
            Output::Nowhere => None,
            // The frame is left out: there will be another when the terminal has taken this one.
            Output::Live(live) if live.terminal.busy() => None,
            Output::Live(_) if turn.hasty => Some(now),
            Output::Live(_) if turn.dirty() => Some(turn.drawn + self.interval),
            Output::Live(_) => running().then(|| turn.drawn + TICK),
            Output::Log(log) if log.busy() && !turn.listed => Some(now),
            Output::Log(log) => running().then(|| log.alive + ALIVE),
        }
    }

    /// Shows what is due.
    fn show(&mut self, turn: &mut Loop) -> io::Result<()> {
        let now = Instant::now();
        let due = self.due(turn, now).is_some_and(|due| due <= now);
        let shown = match &mut self.output {
            Output::Live(live) if due => {
                turn.shown(now);
                live.draw(&self.fold.state, &self.look)
            }
            Output::Log(log) => {
                if turn.dirty() && now >= turn.drawn + self.interval {
                    turn.shown(now);
                }
                if due && now >= log.alive + ALIVE {
                    log.alive(&self.fold.state, &self.look);
                }
                log.flush()
            }
            _ => Ok(()),
        };
        self.took(turn, shown);
        self.list(turn)
    }

    /// An output that is gone is no reason to stop a flow that others read; without one there is nothing left to do.
    fn took(&mut self, turn: &mut Loop, shown: io::Result<()>) {
        if shown.is_err() {
            self.unlist(turn);
            self.output = Output::Nowhere;
            turn.over |= self.wake.is_none();
        }
    }

    /// Has the output watched for room while something waits for it.
    fn list(&mut self, turn: &mut Loop) -> io::Result<()> {
        if self.output.busy() == turn.listed {
            return Ok(());
        }
        if turn.listed {
            self.unlist(turn);
        } else if let Some(fd) = self.output.fd() {
            match turn.calls.add(fd, EpollEvent::new(EpollFlags::EPOLLOUT, ROOM)) {
                Ok(()) => turn.listed = true,
                // A regular file always has room.
                Err(Errno::EPERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn unlist(&mut self, turn: &mut Loop) {
        if std::mem::take(&mut turn.listed)
            && let Some(fd) = self.output.fd()
        {
            let _ = turn.calls.delete(fd);
        }
    }

    /// Waits for signals, the pump's call and room in the output, and does what they ask for.
    fn calls(&mut self, turn: &mut Loop, wait: Option<Duration>) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 4];
        let wait = wait.map_or(EpollTimeout::NONE, |wait| {
            let millis = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
        });
        let count = match turn.calls.wait(&mut events, wait) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            match event.data() {
                SIGNAL => self.signals(turn),
                WAKE => {
                    if let Some(wake) = &self.wake {
                        let _ = wake.read();
                    }
                }
                _ => {
                    let flushed = self.output.flush();
                    self.took(turn, flushed);
                }
            }
        }
        Ok(())
    }

    fn signals(&mut self, turn: &mut Loop) {
        for signal in self.signals.take() {
            turn.stale = true;
            match signal {
                SIGTSTP => {
                    if let Output::Live(live) = &mut self.output {
                        live.terminal.restore();
                    }
                    let _ = raise(Signal::SIGSTOP);
                    self.afresh();
                }
                SIGCONT => self.afresh(),
                ending if Signals::ends(ending) => {
                    // In the middle of a pipe the rest of the stream is let through, at the first time.
                    if turn.signal.is_some() || self.wake.is_none() {
                        turn.over = true;
                    }
                    turn.signal = Some(ending);
                }
                _ => {}
            }
        }
    }

    /// Others had the terminal meanwhile.
    fn afresh(&mut self) {
        if let Output::Live(live) = &mut self.output {
            live.screen.forget();
        }
    }

    /// Shows the last of it. A stream that stopped without its end is lost, if all there is has been read.
    fn end(&mut self, turn: &Loop, whole: bool) {
        let look = &self.look;
        let mut news = turn.dirty();
        if turn.ended && whole && !self.follows {
            news |= !look.all_ended(&self.fold.state);
            self.fold.state.finish();
        }
        let state = &self.fold.state;
        // A frame that waits comes first: the last one is not left out for it.
        let _ = self.output.finish();
        let shown = match &mut self.output {
            // Whoever waited for this end may have written below the picture by now.
            Output::Live(_) if !news => Ok(()),
            Output::Live(live) => {
                if !whole {
                    live.screen.forget();
                }
                live.draw(state, look)
            }
            Output::Log(log) => {
                for (place, stream) in look.streams(state) {
                    log.told(place, stream, stream.ended.unwrap_or(stream.last_seen), look);
                }
                log.total(state, look);
                Ok(())
            }
            Output::Nowhere => Ok(()),
        };
        // There is nobody left to tell.
        let _ = shown.and_then(|()| self.output.finish());
    }
}
