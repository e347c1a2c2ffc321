//! The loop that folds what comes and shows it: it waits for lines, signals and room in the output, and for nothing else.

use crate::fold::Fold;
use crate::output::Output;
use crate::pump::Over;
use crate::reports::Reports;
use crate::signals::Signals;
use crate::turn::{TICK, Turn};
use harmony::cli::{Failure, complain, reason};
use harmony::line::Ts;
use harmony::run::{Kept, News, way_out};
use harmony::source::{Sources, Step};
use harmony::state::Stream;
use harmony::view::{Act, Look};
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

/// The line that says that all is well.
const ALIVE: Duration = Duration::from_secs(60);

/// So many lines between two frames are taken all at once; fewer as they come.
const BUSY: usize = 20;

/// What the sources tell us of: our own calls, and news of a plan's run.
const CALLS: u32 = 0;
const NEWS: u32 = 1;

const SIGNAL: u64 = 0;
const WAKE: u64 = 1;
const SCREEN: u64 = 2;

/// What is shown, from what, and where.
pub struct Watch {
    pub sources: Sources,
    pub fold: Fold,
    /// The time that is shown, where it is not the present.
    pub at: Option<Ts>,
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
    /// The run of a plan that the folder holds, or may come to hold.
    pub kept: Option<Kept>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The signal that asked for it.
    pub signal: Option<i32>,
    /// Whether something could not be read.
    pub failed: bool,
}

impl Watch {
    /// Runs to the end of the input, or of the run.
    pub fn run(mut self) -> Result<Seen, Failure> {
        let failed = |error: io::Error| Failure::io("epoll", &error);
        let calls = self.listen().map_err(failed)?;
        self.sources
            .watch_also(calls.0.as_fd(), EpollFlags::EPOLLIN, CALLS)
            .map_err(failed)?;
        if let Some(news) = self.kept.as_ref().and_then(Kept::news) {
            self.sources
                .watch_also(news.fd(), EpollFlags::EPOLLIN, NEWS)
                .map_err(failed)?;
        }
        let mut turn = Turn::new(calls, self.kept.is_some(), self.interval);
        while !turn.over {
            self.turn(&mut turn).map_err(failed)?;
        }
        let way_out = self.cut_short(&mut turn);
        // The pump's pipe has ended, so it has; unless we are in a hurry, and it goes with us.
        let pumped = self.pump.take().filter(|_| turn.ended).map(JoinHandle::join);
        let whole = !matches!(pumped, Some(Ok(Ok(Over::Reader))));
        // One that came together with the end counts as well.
        self.signals(&mut turn);
        // A stream that stopped without its end is lost, if all there is has been read.
        if turn.ended && whole && !self.follows {
            turn.stale |= !self.look.all_ended(&self.fold.state);
            self.fold.state.finish();
        }
        self.linger(&mut turn).map_err(failed)?;
        self.end(&turn, whole);
        turn.failed |= !self.reports.write(&self.fold.state, self.now(), &self.look);
        if let Some(way_out) = way_out {
            complain("cl-progress", &way_out);
        }
        match pumped {
            Some(Ok(Err(failure))) => Err(failure),
            _ => Ok(Seen {
                signal: turn.signal,
                failed: turn.failed,
            }),
        }
    }

    /// The time that is shown.
    fn now(&self) -> Ts {
        self.at.unwrap_or_else(Ts::now)
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
    fn turn(&mut self, turn: &mut Turn) -> io::Result<()> {
        let now = Instant::now();
        let due = self
            .due(turn, now)
            .into_iter()
            .chain(self.escape())
            .chain(turn.run_due(now, self.interval))
            .min();
        let wait = due.map(|due| due.saturating_duration_since(now));
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
            Step::Other(token) if token == u64::from(NEWS) => {
                turn.news |= self.kept.as_ref().and_then(Kept::news).is_some_and(News::hear);
            }
            Step::Other(_) => called = true,
            Step::Quiet => quiet = true,
            Step::Late => quiet = self.kept.is_some(),
            Step::Awaited(_) => {}
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
        // What a run's end tells of was written before it: all of that has been read once it is quiet again.
        let over = turn.planned;
        turn.fresh &= !quiet;
        if turn.news_due(self.interval).is_some_and(|due| due <= Instant::now()) {
            self.look_at_the_run(turn);
        }
        if quiet {
            let ended = || turn.planned.is_none() && self.look.all_ended(&self.fold.state);
            let complete = !turn.news && !turn.fresh && over.unwrap_or_else(ended);
            // Whoever waits for this may write to the same terminal now: the picture is first, if it can be.
            turn.hasty = complete && !turn.complete;
            turn.complete = complete;
            turn.over |= self.follows && complete;
        }
        self.settle(turn);
        self.show(turn)?;
        // What comes while the picture stands lies in the pump's pipe: it is taken all at once.
        if quiet && turn.lines > BUSY && self.wake.is_some() && !turn.over {
            let rest = (turn.drawn + self.interval).saturating_duration_since(Instant::now());
            self.calls(turn, Some(rest))?;
        }
        Ok(())
    }

    /// Reads what there is new of a plan's run, and takes it into the picture.
    fn look_at_the_run(&mut self, turn: &mut Turn) {
        (turn.news, turn.fresh, turn.looked) = (false, true, Some(Instant::now()));
        let Some(kept) = &mut self.kept else { return };
        if let Err(error) = kept.look() {
            turn.failed = true;
            complain(
                "cl-progress",
                &format!("{}: {}", kept.folder().display(), reason(&error)),
            );
        }
        let status = match self.at {
            Some(at) => kept.status_at(at.seconds(), &self.fold.state),
            None => kept.status(&self.fold.state),
        };
        let Some(status) = status else { return };
        self.fold.state.plan(&status);
        // Where another time is shown, its end is no matter.
        turn.planned = self.at.is_none().then(|| status.is_over());
        turn.stale = true;
        if let Output::Log(log) = &mut self.output {
            log.planned(&self.fold.state, Ts::now(), &self.look);
        }
    }

    /// Of a run that was cut short, how to go on with it; its streams that have no end are lost.
    fn cut_short(&mut self, turn: &mut Turn) -> Option<String> {
        let kept = self.kept.as_ref().filter(|_| self.at.is_none())?;
        let way_out = way_out(&kept.status(&self.fold.state)?, kept.folder())?;
        turn.stale |= !self.look.all_ended(&self.fold.state);
        self.fold.state.finish();
        Some(way_out)
    }

    /// When something is to be shown even if nothing comes.
    fn due(&self, turn: &Turn, now: Instant) -> Option<Instant> {
        let running = || {
            self.look
                .streams(&self.fold.state)
                .any(|(_, stream)| stream.has_begun() && !stream.is_over())
        };
        match &self.output {
            Output::Nowhere => None,
            // The frame is left out: there will be another when the terminal has taken this one.
            Output::Live(live) if live.terminal.busy() => None,
            Output::Live(_) if turn.hasty => Some(now),
            Output::Live(_) if turn.dirty() => Some(turn.drawn + self.interval),
            Output::Live(_) => (self.at.is_none() && running()).then(|| turn.drawn + TICK),
            Output::Log(log) if log.busy() && turn.listed.is_empty() => Some(now),
            Output::Log(log) => running().then(|| log.alive + ALIVE),
        }
    }

    /// Shows what is due.
    fn show(&mut self, turn: &mut Turn) -> io::Result<()> {
        let now = Instant::now();
        let due = self.due(turn, now).is_some_and(|due| due <= now);
        let time = self.now();
        let shown = match &mut self.output {
            Output::Live(live) if due => {
                turn.shown(now);
                live.draw(&self.fold.state, time, &self.look)
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
    fn took(&mut self, turn: &mut Turn, shown: io::Result<()>) {
        if shown.is_err() {
            self.unlist(turn);
            self.output = Output::Nowhere;
            turn.over |= self.wake.is_none();
        }
    }

    /// Has the output watched for room while something waits for it, and for keys while they are ours.
    fn list(&mut self, turn: &mut Turn) -> io::Result<()> {
        let wants = self.output.wants();
        if wants == turn.listed {
            return Ok(());
        }
        let mut event = EpollEvent::new(wants, SCREEN);
        let Some(fd) = self.output.fd().filter(|_| !wants.is_empty()) else {
            self.unlist(turn);
            return Ok(());
        };
        let listed = match turn.listed.is_empty() {
            true => turn.calls.add(fd, event),
            false => turn.calls.modify(fd, &mut event),
        };
        match listed {
            Ok(()) => turn.listed = wants,
            // A regular file always has room.
            Err(Errno::EPERM) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn unlist(&mut self, turn: &mut Turn) {
        if !std::mem::replace(&mut turn.listed, EpollFlags::empty()).is_empty()
            && let Some(fd) = self.output.fd()
        {
            let _ = turn.calls.delete(fd);
        }
    }

    /// When something that was typed is to be taken for a key.
    fn escape(&self) -> Option<Instant> {
        match &self.output {
            Output::Live(live) => live.escape,
            _ => None,
        }
    }

    fn settle(&mut self, turn: &mut Turn) {
        let now = self.now();
        if let Output::Live(live) = &mut self.output {
            let act = live.settle(&self.fold.state, now, &self.look);
            self.act(turn, act);
        }
    }

    /// Takes what was typed.
    fn keys(&mut self, turn: &mut Turn) {
        let now = self.now();
        if let Output::Live(live) = &mut self.output {
            match live.pressed(&self.fold.state, now, &self.look) {
                Ok(act) => self.act(turn, act),
                Err(error) => self.took(turn, Err(error)),
            }
        }
    }

    fn act(&mut self, turn: &mut Turn, act: Act) {
        match act {
            Act::Nothing => {}
            // Whoever pressed it waits for it.
            Act::Draw => (turn.stale, turn.hasty) = (true, true),
            Act::Close => self.close(turn),
        }
    }

    /// Closes the picture; what flows through us flows on.
    fn close(&mut self, turn: &mut Turn) {
        turn.stale = true;
        if self.wake.is_none() {
            turn.over = true;
            return;
        }
        let now = self.now();
        if let Output::Live(live) = &mut self.output {
            let _ = live.draw_last(&self.fold.state, now, &self.look);
            let _ = self.output.finish();
            self.unlist(turn);
            self.output = Output::Nowhere;
        }
    }

    /// A text that is open at the end stays as long as somebody reads it, where nobody waits for us.
    fn linger(&mut self, turn: &mut Turn) -> io::Result<()> {
        let open = |output: &Output| matches!(output, Output::Live(live) if live.board.is_open());
        while self.wake.is_none() && turn.signal.is_none() && open(&self.output) {
            self.show(turn)?;
            let now = Instant::now();
            let wait = self.escape().map(|at| at.saturating_duration_since(now));
            self.calls(turn, wait)?;
            self.settle(turn);
        }
        Ok(())
    }

    /// Waits for signals, the pump's call and room in the output, and does what they ask for.
    fn calls(&mut self, turn: &mut Turn, wait: Option<Duration>) -> io::Result<()> {
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
                    if event.events() != EpollFlags::EPOLLOUT {
                        self.keys(turn);
                    }
                }
            }
        }
        Ok(())
    }

    fn signals(&mut self, turn: &mut Turn) {
        for signal in self.signals.take() {
            turn.stale = true;
            match signal {
                SIGTSTP => {
                    self.leave();
                    let _ = raise(Signal::SIGSTOP);
                    self.leave();
                }
                SIGCONT => self.leave(),
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

    /// Others have the terminal for a while, or had it.
    fn leave(&mut self) {
        if let Output::Live(live) = &mut self.output {
            live.leave();
        }
    }

    /// Shows the last of it.
    fn end(&mut self, turn: &Turn, whole: bool) {
        let (look, now) = (&self.look, self.now());
        let state = &self.fold.state;
        // A frame that waits comes first: the last one is not left out for it.
        let _ = self.output.finish();
        let shown = match &mut self.output {
            // Whoever waited for this end may have written below the picture by now.
            Output::Live(live) if !(turn.dirty() || live.board.is_open() || whole && live.is_marked()) => Ok(()),
            Output::Live(live) => {
                if !whole {
                    live.leave();
                }
                live.draw_last(state, now, look)
            }
            Output::Log(log) => {
                for (place, stream) in look.streams(state) {
                    let last = if stream.has_begun() { stream.last_seen } else { now };
                    log.told(place, stream, stream.ended.unwrap_or(last), look);
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
