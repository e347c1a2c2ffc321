//! What a worker's supervisor does, and when: events in, actions out. Pure: time is told, nothing is asked.

use super::warden::Command;
use crate::line::Event;
use crate::outcome::{Stop, signal_name};
use std::time::Duration;

/// How long what holds the output open may be silent after the worker's own end, so that the last words of a filter
/// behind it (`cmd > >(tee log)`) are not cut off. What does not fall silent has as long as a rung of the ladder.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long a process may take to be gone once its files are closed: so long nobody was left behind.
const DYING: Duration = Duration::from_millis(20);

/// The share of one CPU that counts as a sign of life.
const LIFE: f64 = 0.05;

/// The limits that a worker lives under; `None` is no limit.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// For the whole run, the attempts before this one included.
    pub(super) timeout: Option<Duration>,
    /// Between two rungs of the stop ladder.
    pub(super) kill_after: Duration,
    /// Without a sign of life; what is not set waits for [`Limits::or_agent`].
    pub(super) idle: Option<Duration>,
    /// After the last result with nothing pending.
    pub(super) linger: Option<Duration>,
    /// Between two heartbeats of a silent stream.
    pub(super) heartbeat: Option<Duration>,
    /// The ladder, gentlest first; SIGKILL follows always.
    pub(super) ladder: Vec<i32>,
}

/// What happens to a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Input {
    /// We got a signal that asks us to end.
    Signal(i32),
    /// The worker's own process has ended.
    Exited,
    /// Every process that descends from the worker has ended.
    Empty,
    /// Nobody can write to the captured output any more.
    OutputClosed,
    /// Our reader went away.
    ReaderGone,
    /// A kept worker waits for its next prompt (`true`), or was given one.
    Rest(bool),
    /// A result came, with nothing pending (`true`), or it turned out that work goes on (`false`).
    Settled(bool),
    /// A deadline may have passed. Tells when the last output came, whether the pump waits for our reader, and the
    /// tree's CPU seconds.
    Tick { output: Duration, held_up: bool, cpu: f64 },
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Say this in the stream.
    Say(Event),
    /// Tell the warden.
    Tell(Command),
    /// Write a heartbeat with this silence, in seconds.
    Beat(f64),
}

/// The state of one worker's supervision.
#[derive(Debug)]
pub(super) struct Rules {
    limits: Limits,
    /// Why we stop the worker, once we do: the first reason counts.
    pub(super) stop: Option<Stop>,
    rung: usize,
    next_rung: Option<Duration>,
    exited: bool,
    swept: bool,
    sweep_at: Option<Duration>,
    /// Until when last words are heard.
    heard_until: Duration,
    output_closed: bool,
    settled: Option<Duration>,
    /// Whether a kept worker waits for its next prompt.
    resting: bool,
    last_life: Duration,
    life_cpu: f64,
    last_beat: Duration,
    last_output: Duration,
}

impl Rules {
    /// The rules for a worker that is started now.
    pub(super) fn new(limits: Limits, now: Duration) -> Self {
        Self {
            limits,
            stop: None,
            rung: 0,
            next_rung: None,
            exited: false,
            swept: false,
            sweep_at: None,
            heard_until: Duration::ZERO,
            output_closed: false,
            settled: None,
            resting: false,
            last_life: now,
            life_cpu: 0.0,
            last_beat: now,
            last_output: now,
        }
    }

    /// An agent's defaults, learned from its first line: they fill what was left open.
    pub(super) fn adopt(&mut self, idle: Option<Duration>, linger: Option<Duration>, ladder: Vec<i32>) {
        self.limits.idle = self.limits.idle.or(idle);
        self.limits.linger = self.limits.linger.or(linger);
        self.limits.ladder = ladder;
    }

    /// When [`Input::Tick`] is wanted next.
    pub(super) fn next(&self) -> Option<Duration> {
        let running = !self.exited && self.stop.is_none();
        let when = |limit: Option<Duration>, from: Duration| limit.filter(|_| running).map(|limit| from + limit);
        [
            when(self.limits.timeout, Duration::ZERO),
            when(self.limits.idle, self.last_life).filter(|_| !self.resting),
            self.settled.and_then(|at| when(self.limits.linger, at)),
            self.limits
                .heartbeat
                .map(|beat| self.last_beat.max(self.last_output) + beat),
            self.next_rung,
            self.sweep_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes what happened.
    pub(super) fn on(&mut self, now: Duration, input: Input) -> Vec<Action> {
        match input {
            Input::Signal(signal) => self.signal(now, signal),
            Input::ReaderGone => self.begin_stop(now, Stop::Downstream),
            Input::Exited => self.exited(now),
            Input::Empty => {
                (self.exited, self.swept) = (true, true);
                (self.next_rung, self.sweep_at) = (None, None);
                Vec::new()
            }
            Input::OutputClosed => {
                self.output_closed = true;
                if self.exited && !self.swept {
                    self.sweep_at = Some(now + DYING);
                }
                Vec::new()
            }
            Input::Rest(resting) => {
                if self.resting && !resting {
                    self.last_life = now;
                }
                self.resting = resting;
                Vec::new()
            }
            Input::Settled(settled) => {
                self.settled = settled.then_some(now);
                Vec::new()
            }
            Input::Tick { output, held_up, cpu } => self.tick(now, output, held_up, cpu),
        }
    }

    fn signal(&mut self, now: Duration, signal: i32) -> Vec<Action> {
        if self.stop.is_some() || self.exited {
            // Asked while we are at it already: now.
            self.rung = self.limits.ladder.len();
            self.next_rung = None;
            return vec![Action::Tell(Command::KillAll)];
        }
        self.stop = Some(Stop::Signal(signal));
        self.climb_from_the_start(now)
    }

    fn begin_stop(&mut self, now: Duration, why: Stop) -> Vec<Action> {
        if self.stop.is_some() || self.exited {
            return Vec::new();
        }
        self.stop = Some(why);
        self.climb_from_the_start(now)
    }

    fn climb_from_the_start(&mut self, now: Duration) -> Vec<Action> {
        let because = self.stop.map_or("", Stop::as_str).to_owned();
        let with = self
            .limits
            .ladder
            .iter()
            .map(|&signal| signal_name(signal))
            .chain(["SIGKILL".to_owned()])
            .collect();
        let mut actions = vec![Action::Say(Event::Stop { because, with })];
        actions.extend(self.climb(now));
        actions
    }

    fn climb(&mut self, now: Duration) -> Option<Action> {
        let command = match self.limits.ladder.get(self.rung) {
            Some(&signal) => Command::Signal(signal),
            None => Command::KillAll,
        };
        self.next_rung = (command != Command::KillAll).then(|| now + self.limits.kill_after);
        self.rung += 1;
        Some(Action::Tell(command))
    }

    fn exited(&mut self, now: Duration) -> Vec<Action> {
        self.exited = true;
        self.next_rung = None;
        let silent = self.output_closed || self.stop.is_some();
        self.sweep_at = Some(now + if silent { DYING } else { LAST_WORDS });
        self.heard_until = now + self.limits.kill_after;
        Vec::new()
    }

    /// Whether what the worker left behind still speaks, or would if our reader let it.
    fn last_words(&mut self, now: Duration, held_up: bool) -> bool {
        if self.output_closed || self.stop.is_some() {
            return false;
        }
        if held_up {
            self.sweep_at = Some(now + LAST_WORDS);
            self.heard_until = now + self.limits.kill_after;
            return true;
        }
        let silent_at = (self.last_output + LAST_WORDS).min(self.heard_until);
        self.sweep_at = Some(silent_at);
        silent_at > now
    }

    /// Ends what the worker left behind.
    fn sweep(&mut self) -> Vec<Action> {
        self.sweep_at = None;
        self.swept = true;
        vec![Action::Tell(Command::Sweep(self.limits.kill_after))]
    }

    fn tick(&mut self, now: Duration, output: Duration, held_up: bool, cpu: f64) -> Vec<Action> {
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        self.last_output = self.last_output.max(output);
        if due(self.sweep_at) {
            return if self.last_words(now, held_up) {
                Vec::new()
            } else {
                self.sweep()
            };
        }
        if due(self.next_rung) {
            return self.climb(now).into_iter().collect();
        }
        if self.exited {
            return self.beat(now);
        }
        if self.stop.is_none() {
            if due(self.limits.timeout) {
                return self.begin_stop(now, Stop::Timeout);
            }
            if due(self.settled.zip(self.limits.linger).map(|(at, linger)| at + linger)) {
                return self.begin_stop(now, Stop::Linger);
            }
            if let Some(idle) = self.limits.idle.filter(|_| !self.resting)
                && self.silent(now, idle, held_up, cpu)
            {
                return self.begin_stop(now, Stop::Idle);
            }
        }
        self.beat(now)
    }

    /// Whether there was no sign of life for so long; what is one begins the count anew.
    fn silent(&mut self, now: Duration, idle: Duration, held_up: bool, cpu: f64) -> bool {
        if self.last_output > self.last_life {
            (self.last_life, self.life_cpu) = (self.last_output, cpu);
        }
        if now < self.last_life + idle {
            return false;
        }
        let worked = (cpu - self.life_cpu) / (now - self.last_life).as_secs_f64().max(1e-3) >= LIFE;
        if worked || held_up {
            (self.last_life, self.life_cpu) = (now, cpu);
            return false;
        }
        true
    }

    fn beat(&mut self, now: Duration) -> Vec<Action> {
        let Some(every) = self.limits.heartbeat else {
            return Vec::new();
        };
        if now < self.last_beat.max(self.last_output) + every {
            return Vec::new();
        }
        self.last_beat = now;
        vec![Action::Beat((now - self.last_output).as_secs_f64())]
    }
}

#[cfg(test)]
mod tests;
