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
pub struct Limits {
    /// For the whole run.
    pub timeout: Option<Duration>,
    /// Between two rungs of the stop ladder.
    pub kill_after: Duration,
    /// Without a sign of life; what is not set waits for [`Limits::or_agent`].
    pub idle: Option<Duration>,
    /// After the last result with nothing pending.
    pub linger: Option<Duration>,
    /// Between two heartbeats of a silent stream.
    pub heartbeat: Option<Duration>,
    /// The ladder, gentlest first; SIGKILL follows always.
    pub ladder: Vec<i32>,
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
    last_life: Duration,
    life_cpu: f64,
    last_beat: Duration,
    last_output: Duration,
}

impl Rules {
    pub(super) fn new(limits: Limits) -> Self {
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
            last_life: Duration::ZERO,
            life_cpu: 0.0,
            last_beat: Duration::ZERO,
            last_output: Duration::ZERO,
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
            when(self.limits.idle, self.last_life),
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
                (self.exited, self.next_rung, self.sweep_at) = (true, None, None);
                Vec::new()
            }
            Input::OutputClosed => {
                self.output_closed = true;
                if self.exited && !self.swept {
                    self.sweep_at = Some(now + DYING);
                }
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
            if let Some(idle) = self.limits.idle
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
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const TERM: i32 = 15;
    const INT: i32 = 2;

    fn rules(change: impl FnOnce(&mut Limits)) -> Rules {
        let mut limits = Limits {
            timeout: None,
            kill_after: 5 * S,
            idle: None,
            linger: None,
            heartbeat: None,
            ladder: vec![INT, TERM],
        };
        change(&mut limits);
        Rules::new(limits)
    }

    fn tick(rules: &mut Rules, now: Duration) -> Vec<Action> {
        rules.on(
            now,
            Input::Tick {
                output: Duration::ZERO,
                held_up: false,
                cpu: 0.0,
            },
        )
    }

    fn told(actions: &[Action]) -> Vec<Command> {
        actions
            .iter()
            .filter_map(|a| {
                if let Action::Tell(command) = a {
                    Some(*command)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn the_ladder_is_climbed_rung_by_rung() {
        let mut rules = rules(|l| l.timeout = Some(10 * S));
        assert_eq!(rules.next(), Some(10 * S));
        assert_eq!(tick(&mut rules, 9 * S), []);
        let first = tick(&mut rules, 10 * S);
        let stop = Event::Stop {
            because: "timeout".into(),
            with: ["SIGINT", "SIGTERM", "SIGKILL"].map(str::to_owned).to_vec(),
        };
        assert_eq!(first, [Action::Say(stop), Action::Tell(Command::Signal(INT))]);
        assert_eq!(rules.next(), Some(15 * S));
        assert_eq!(told(&tick(&mut rules, 15 * S)), [Command::Signal(TERM)]);
        assert_eq!(told(&tick(&mut rules, 20 * S)), [Command::KillAll]);
        assert_eq!(rules.next(), None);
        assert_eq!(rules.on(20 * S, Input::Exited), []);
        assert_eq!(told(&tick(&mut rules, 20 * S + DYING)), [Command::Sweep(5 * S)]);
        assert_eq!(rules.stop, Some(Stop::Timeout));
    }

    #[test]
    fn a_second_signal_is_now() {
        let mut rules = rules(|_| {});
        assert_eq!(told(&rules.on(S, Input::Signal(INT))), [Command::Signal(INT)]);
        assert_eq!(told(&rules.on(S, Input::Signal(INT))), [Command::KillAll]);
        assert_eq!(rules.stop, Some(Stop::Signal(INT)));
    }

    #[test]
    fn the_first_reason_counts() {
        let mut rules = rules(|_| {});
        rules.on(S, Input::ReaderGone);
        assert_eq!(rules.on(S, Input::ReaderGone), []);
        assert_eq!(rules.stop, Some(Stop::Downstream));
    }

    #[test]
    fn last_words_are_heard_before_the_sweep() {
        let mut slow = rules(|_| {});
        assert_eq!(slow.on(S, Input::Exited), []);
        let at = slow.next().unwrap();
        assert!(at > S);
        assert_eq!(told(&tick(&mut slow, at)), [Command::Sweep(5 * S)]);
        let mut closed = rules(|_| {});
        closed.on(S, Input::Exited);
        closed.on(S, Input::OutputClosed);
        assert_eq!(told(&tick(&mut closed, S + DYING)), [Command::Sweep(5 * S)]);
        assert_eq!(closed.next(), None);
    }

    #[test]
    fn what_goes_on_speaking_is_heard_for_a_while() {
        let at = |millis| Duration::from_millis(millis);
        let spoke = |output, held_up| Input::Tick {
            output: at(output),
            held_up,
            cpu: 0.0,
        };
        let mut rules = rules(|l| l.kill_after = S);
        rules.on(at(1000), Input::Exited);
        assert_eq!(rules.on(at(1200), spoke(1150, false)), []);
        assert_eq!(rules.next(), Some(at(1350)));
        // A slow reader is not its fault.
        assert_eq!(rules.on(at(1350), spoke(1150, true)), []);
        assert_eq!(rules.next(), Some(at(1550)));
        assert_eq!(rules.on(at(1550), spoke(1540, false)), []);
        assert_eq!(rules.on(at(2300), spoke(2290, false)), []);
        assert_eq!(rules.next(), Some(at(2350)));
        assert_eq!(told(&rules.on(at(2350), spoke(2340, false))), [Command::Sweep(S)]);
    }

    #[test]
    fn idle_asks_for_signs_of_life() {
        let at = |secs: u64, output: u64, held_up, cpu| {
            (
                secs as u32 * S,
                Input::Tick {
                    output: output as u32 * S,
                    held_up,
                    cpu,
                },
            )
        };
        let mut rules = rules(|l| l.idle = Some(10 * S));
        for (now, input, next) in [
            (10, at(10, 4, false, 0.0), 14),
            (14, at(14, 4, false, 3.0), 24),
            (24, at(24, 4, true, 3.0), 34),
        ] {
            let _ = now;
            assert_eq!(rules.on(input.0, input.1), []);
            assert_eq!(rules.next(), Some(next * S));
        }
        let (now, input) = at(34, 4, false, 3.1);
        assert_eq!(told(&rules.on(now, input)), [Command::Signal(INT)]);
        assert_eq!(rules.stop, Some(Stop::Idle));
    }

    #[test]
    fn linger_counts_from_the_last_result() {
        let mut rules = rules(|l| l.linger = Some(10 * S));
        rules.on(S, Input::Settled(true));
        assert_eq!(rules.next(), Some(11 * S));
        rules.on(2 * S, Input::Settled(false));
        assert_eq!(rules.next(), None);
        rules.on(3 * S, Input::Settled(true));
        assert_eq!(told(&tick(&mut rules, 13 * S)), [Command::Signal(INT)]);
        assert_eq!(rules.stop, Some(Stop::Linger));
    }

    #[test]
    fn a_silent_stream_beats() {
        let mut rules = rules(|l| l.heartbeat = Some(5 * S));
        assert_eq!(tick(&mut rules, 5 * S), [Action::Beat(5.0)]);
        let quiet = Input::Tick {
            output: 7 * S,
            held_up: false,
            cpu: 0.0,
        };
        assert_eq!(rules.on(10 * S, quiet), []);
        assert_eq!(rules.next(), Some(12 * S));
        assert_eq!(rules.on(12 * S, quiet), [Action::Beat(5.0)]);
    }
}
