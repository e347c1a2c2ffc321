//! What the rules do, by example and in any order.

use super::*;
use proptest::prelude::*;

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
    Rules::new(limits, Duration::ZERO)
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, in whatever order: a deadline that was served is over, the first reason to stop counts, the
    /// ladder is climbed once and in order, and after the end nothing but heartbeats is to come.
    #[test]
    fn in_any_order(steps in prop::collection::vec((0u64..3000, 0u8..9, any::<bool>()), 1..60)) {
        let mut rules = rules(|l| {
            (l.timeout, l.idle, l.linger, l.heartbeat) = (Some(20 * S), Some(7 * S), Some(3 * S), Some(2 * S));
            l.kill_after = S;
        });
        let (mut now, mut output, mut empty) = (Duration::ZERO, Duration::ZERO, false);
        let mut reason = None;
        let mut rungs = Vec::new();
        for (millis, what, flag) in steps {
            now += Duration::from_millis(millis);
            if flag {
                output = now;
            }
            let input = match what {
                0 => Input::Signal(TERM),
                1 => Input::Exited,
                2 => Input::Empty,
                3 => Input::OutputClosed,
                4 => Input::ReaderGone,
                5 => Input::Settled(flag),
                _ => Input::Tick { output, held_up: flag, cpu: now.as_secs_f64() * if flag { 0.5 } else { 0.0 } },
            };
            if empty && matches!(input, Input::Signal(_) | Input::Exited) {
                continue;
            }
            empty |= input == Input::Empty;
            let mut actions = rules.on(now, input);
            // What is due is served by as many ticks as there are deadlines, and then time has to pass.
            for _ in 0..8 {
                if rules.next().is_some_and(|at| at <= now) {
                    actions.extend(rules.on(now, Input::Tick { output, held_up: flag, cpu: 0.0 }));
                }
            }
            prop_assert!(rules.next().is_none_or(|at| at > now), "{:?} at {now:?}: {rules:?}", rules.next());
            prop_assert!(reason.is_none() || reason == rules.stop);
            reason = rules.stop;
            for command in told(&actions) {
                prop_assert!(!empty || input == Input::Empty);
                if let Command::Signal(signal) = command {
                    rungs.push(signal);
                }
            }
        }
        prop_assert!([INT, TERM].starts_with(&rungs), "{rungs:?}");
    }
}

#[test]
fn a_kept_worker_that_waits_for_a_prompt_is_not_idle() {
    let mut rules = rules(|l| l.idle = Some(5 * S));
    assert_eq!(rules.on(S, Input::Rest(true)), []);
    assert_eq!(rules.next(), None);
    assert_eq!(tick(&mut rules, 100 * S), []);
    assert_eq!(rules.on(100 * S, Input::Rest(false)), []);
    assert_eq!(rules.next(), Some(105 * S));
    assert_eq!(told(&tick(&mut rules, 105 * S)), [Command::Signal(INT)]);
}

#[test]
fn a_further_attempt_has_its_own_silence_and_the_same_deadline() {
    let limits = Limits {
        timeout: Some(60 * S),
        kill_after: 5 * S,
        idle: Some(10 * S),
        linger: None,
        heartbeat: None,
        ladder: vec![TERM],
    };
    let mut rules = Rules::new(limits, 55 * S);
    assert_eq!(rules.next(), Some(60 * S));
    assert_eq!(tick(&mut rules, 59 * S), []);
    tick(&mut rules, 60 * S);
    assert_eq!(rules.stop, Some(Stop::Timeout));
}
