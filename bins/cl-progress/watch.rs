//! The loop that folds what comes and shows it: it waits for lines, signals and room in the output, and for nothing else.

use crate::fold::Fold;
use crate::output::Output;
use crate::signals::Signals;
use harmony::cli::{Failure, complain, reason};
use harmony::source::{Sources, Step};
use harmony::state::Stream;
use harmony::line::Ts;
use harmony::view::Look;
use nix::libc::{SIGCONT, SIGTSTP};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::signal::{Signal, raise};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The clock in the picture.
const TICK: Duration = Duration::from_secs(1);
/// The line that says that all is well.
const ALIVE: Duration = Duration::from_secs(60);

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
    /// Whether the run goes on where it is, so that the end of all its streams is the end, and not that of the input.
    pub follows: bool,
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
    /// Whether the picture is another than what is shown.
    dirty: bool,
    /// When it was last drawn.
    drawn: Instant,
    signal: Option<i32>,
    over: bool,
    failed: bool,
}

impl Watch {
    /// Runs to the end of the input, or of the run.
    pub fn run(mut self) -> Result<Seen, Failure> {
        let failed = |error: io::Error| Failure::io("epoll", &error);
        let calls = self.calls().map_err(failed)?;
        self.sources.watch_also(calls.0.as_fd(), EpollFlags::EPOLLIN, 0).map_err(failed)?;
        let start = Instant::now();
        let mut turn = Loop {
            calls,
            listed: false,
            dirty: true,
            drawn: start.checked_sub(self.interval).unwrap_or(start),
            signal: None,
            over: false,
            failed: false,
        };
        while !turn.over {
            self.turn(&mut turn).map_err(failed)?;
        }
        self.end(&turn);
        Ok(Seen {
            signal: turn.signal,
            failed: turn.failed,
        })
    }

    fn calls(&self) -> io::Result<Epoll> {
        let calls = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        calls.add(&self.signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNAL))?;
        if let Some(wake) = &self.wake {
            calls.add(wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        }
        Ok(calls)
    }

    /// Takes one step of the input, and shows what is due.
    fn turn(&mut self, turn: &mut Loop) -> io::Result<()> {
        let wait = self.next_due(turn).map(|due| due.saturating_duration_since(Instant::now()));
        let step = self.sources.next(wait)?;
        // The step borrows the sources: what is needed of them is looked up by what it holds.
        let mut quiet = false;
        let mut called = false;
        let only = &self.look;
        let (output, dirty) = (&mut self.output, &mut turn.dirty);
        let mut told = |place: usize, stream: &Stream, at: Ts| {
            *dirty = true;
            if let Output::Log(log) = output
                && only.shows(&stream.name)
            {
                log.told(place, stream, at);
            }
        };
        match step {
            Step::Lines(source, lines) => self.fold.lines(source, lines, &mut told),
            Step::Tail(source, bytes) => self.fold.tail(source, bytes, &mut told),
            Step::Piece { id, bytes, last, eol } => self.fold.piece(id, (bytes, last, eol), &mut told),
            Step::Left(source) => self.fold.left(source, &mut told),
            Step::Failed(what, error) => {
                turn.failed = true;
                complain("cl-progress", &format!("{what}: {}", reason(&error)));
            }
            Step::Joined(_) => {}
            Step::Other(_) => called = true,
            Step::Quiet => quiet = true,
            Step::Late => {}
            Step::Ended => turn.over = true,
        }
        Ok(())
    }
}
