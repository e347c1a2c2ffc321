//! What pump and supervisor both see, and how they speak to each other.

use super::clock::Clock;
use super::ending::Closing;
use crate::agent::Kind;
use crate::line::Event;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the pump tells the supervisor.
#[derive(Debug)]
pub(super) enum Note {
    /// The worker turned out to be this agent.
    Agent(Kind),
    /// A result came and nothing is pending; or work goes on.
    Settled(bool),
    /// Nobody can write to the captured output any more.
    OutputClosed,
    /// The sink takes no more.
    SinkFailed,
    /// A kept worker has ended a turn; whether the prompt is answered with it.
    Turn(bool),
    /// All is said.
    Ended,
}

/// Figures of the run, and a queue each way.
#[derive(Debug)]
pub(super) struct Gauge {
    pub(super) clock: Clock,
    lines: AtomicU64,
    bytes: AtomicU64,
    /// When the last output came, in microseconds of active time.
    output: AtomicU64,
    /// When a kept worker was asked last, the same way.
    asked: AtomicU64,
    writing: AtomicBool,
    /// Whether what the worker still says counts for its outcome no more.
    decided: AtomicBool,
    /// What the pump is to say.
    orders: Mutex<VecDeque<Event>>,
    closing: Mutex<Option<Closing>>,
    /// Whether there is nothing more to say until the next attempt.
    silenced: AtomicBool,
    bell: EventFd,
    /// What the supervisor is to know.
    notes: Mutex<VecDeque<Note>>,
    desk: EventFd,
}

impl Gauge {
    pub(super) fn new() -> io::Result<Self> {
        let bell = || EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        Ok(Self {
            clock: Clock::start(),
            lines: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            output: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            writing: AtomicBool::new(false),
            decided: AtomicBool::new(false),
            orders: Mutex::default(),
            closing: Mutex::default(),
            silenced: AtomicBool::new(false),
            bell: bell()?,
            notes: Mutex::default(),
            desk: bell()?,
        })
    }

    /// Lines that the worker wrote on stdout.
    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Bytes that the worker wrote on stdout.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last output came.
    pub(super) fn output(&self) -> Duration {
        Duration::from_micros(self.output.load(Ordering::Relaxed))
    }

    /// Whether the pump waits for our reader.
    pub(super) fn held_up(&self) -> bool {
        self.writing.load(Ordering::Relaxed)
    }

    /// Says that the worker's last result stands, whatever it says when it is stopped; or that a new worker's counts.
    pub(super) fn decide(&self, decided: bool) {
        self.decided.store(decided, Ordering::Release);
    }

    /// Says that a kept worker is asked now.
    pub(super) fn ask(&self) {
        let now = self.clock.now().as_micros() as u64;
        self.asked.store(now, Ordering::Relaxed);
    }

    /// How long ago that was.
    pub(super) fn since_asked(&self) -> Duration {
        let asked = Duration::from_micros(self.asked.load(Ordering::Relaxed));
        self.clock.now().saturating_sub(asked)
    }

    /// Says that between two attempts there is nothing more to say, or that there may be.
    pub(super) fn silence(&self, silenced: bool) {
        self.silenced.store(silenced, Ordering::Release);
        ring(&self.bell);
    }

    /// Lets the bell fall silent; to be called before looking at what it may have rung for.
    pub(super) fn answer(&self) {
        let _ = self.bell.read();
    }

    /// Whether that was said; to be asked before the orders are taken.
    pub(super) fn is_silenced(&self) -> bool {
        self.answer();
        self.silenced.load(Ordering::Acquire)
    }

    /// Whether that was said.
    pub(super) fn is_decided(&self) -> bool {
        self.decided.load(Ordering::Acquire)
    }

    /// Has an event written as soon as the sink takes it. Nothing is written before the first.
    pub(super) fn say(&self, event: Event) {
        locked(&self.orders).push_back(event);
        ring(&self.bell);
    }

    /// Whether something waits to be said.
    pub(super) fn has_orders(&self) -> bool {
        !locked(&self.orders).is_empty()
    }

    /// Says that the worker and all its descendants are gone: what there is now is all there will be.
    pub(super) fn close(&self, closing: Closing) {
        *locked(&self.closing) = Some(closing);
        ring(&self.bell);
    }

    /// What is readable when there are notes.
    pub(super) fn desk(&self) -> BorrowedFd<'_> {
        self.desk.as_fd()
    }

    /// The notes that came.
    pub(super) fn notes(&self) -> VecDeque<Note> {
        let _ = self.desk.read();
        std::mem::take(&mut *locked(&self.notes))
    }

    /// Leaves a note for the supervisor.
    pub(super) fn note(&self, note: Note) {
        let mut notes = locked(&self.notes);
        // Whoever comes for those before takes this one, too.
        if notes.is_empty() {
            ring(&self.desk);
        }
        notes.push_back(note);
    }

    /// What is readable when there is something to say, or all is over.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// What is to be said.
    pub(super) fn orders(&self) -> VecDeque<Event> {
        std::mem::take(&mut *locked(&self.orders))
    }

    /// How it ended, once it has; to be asked before the taps are looked at for the last time.
    pub(super) fn closing(&self) -> Option<Closing> {
        self.answer();
        locked(&self.closing).take()
    }

    /// Says that output came just now; `bytes` of it on stdout.
    pub(super) fn came(&self, bytes: usize) {
        self.output
            .store(self.clock.now().as_micros() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts lines of stdout.
    pub(super) fn count(&self, lines: u64) {
        self.lines.fetch_add(lines, Ordering::Relaxed);
    }

    /// Says that a write to the sink begins or has ended.
    pub(super) fn writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ring(bell: &EventFd) {
    // A counter that is full wakes just as well.
    let _ = bell.write(1);
}
