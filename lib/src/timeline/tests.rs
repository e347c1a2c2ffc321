use super::*;
use crate::agent::ResultFact;
use proptest::prelude::*;

fn at(seconds: u64) -> Ts {
    Ts(1_000_000_000 + seconds * 1_000_000)
}

fn tool(id: &str) -> Fact {
    Fact::ToolStart {
        id: id.into(),
        name: "Bash".into(),
        what: "make".into(),
    }
}

fn tool_end(id: &str) -> Fact {
    Fact::ToolEnd {
        id: id.into(),
        error: true,
    }
}

fn init() -> Fact {
    Fact::Init {
        session: None,
        model: Some("m".into()),
    }
}

fn hear(track: &mut Track, seconds: u64, facts: &[Fact]) {
    track.heard(at(seconds));
    facts.iter().for_each(|fact| track.fact(fact));
}

/// `what name from-to` of each entry.
fn told(track: &Track, now: u64) -> Vec<String> {
    let seconds = |ts: Ts| (ts.0 - at(0).0) / 1_000_000;
    let all = track.entries(at(now));
    let one = |entry: &Entry| {
        let (what, name) = (entry.what.as_str(), &entry.name);
        let bad = if entry.bad { "!" } else { "" };
        format!("{what} {name} {}-{}{bad}", seconds(entry.from), seconds(entry.to))
    };
    all.iter().map(one).collect()
}

#[test]
fn a_run_with_two_attempts() {
    let mut track = Track::new(1);
    track.attempt(1, "claude", at(0));
    hear(&mut track, 1, &[init()]);
    hear(&mut track, 2, &[tool("a"), tool("b")]);
    // Not silent: tools are at work.
    hear(&mut track, 20, &[tool_end("a")]);
    hear(&mut track, 21, &[]);
    track.backs_off(2, "it crashed", false, at(22));
    track.attempt(2, "claude", at(30));
    hear(&mut track, 31, &[init()]);
    let retry = Fact::Retry {
        attempt: 3,
        max: None,
        delay: 1.0,
        because: "overloaded".into(),
    };
    hear(&mut track, 32, &[retry]);
    hear(&mut track, 45, &[]);
    let result = ResultFact {
        subtype: "success".into(),
        ..ResultFact::default()
    };
    hear(&mut track, 60, &[Fact::Result(Box::new(result))]);
    track.ends(Outcome::Success, "result success", at(61));
    assert_eq!(
        told(&track, 99),
        [
            "attempt 1 0-22!",
            "turn 1 1-22!",
            "tool Bash 2-22",
            "tool Bash 2-20!",
            "backoff 2 22-30",
            "attempt 2 30-61",
            "turn 2 31-60",
            "retry 3 32-45",
            "silence  45-60",
            "result success 60-60",
            "exit success 61-61"
        ]
    );
    assert_eq!(track.left_out(), 0);
}

#[test]
fn what_has_not_ended_goes_on() {
    let mut track = Track::new(1);
    track.held(at(0));
    track.attempt(1, "", at(5));
    hear(&mut track, 6, &[init(), tool("a")]);
    assert_eq!(
        told(&track, 9),
        ["limit held 0-5", "attempt 1 5-9", "turn 1 6-9", "tool Bash 6-9"]
    );
    assert!(track.entries(at(9)).iter().skip(1).all(|entry| entry.open));
}

#[test]
fn there_is_room_for_what_weighs_most() {
    let mut track = Track::new(ALL);
    track.attempt(1, "", at(0));
    hear(&mut track, 0, &[init(), tool("long")]);
    for second in 1..100_000u64 {
        hear(&mut track, second, &[tool("x"), tool_end("x")]);
    }
    hear(&mut track, 100_000, &[tool_end("long")]);
    track.ends(Outcome::Success, "", at(100_001));
    let left = told(&track, 0);
    assert!(left.len() <= LEAST, "{}", left.len());
    assert_eq!(
        left.iter().filter(|entry| entry.ends_with("0-100000!")).count(),
        1,
        "{left:?}"
    );
    assert!(left.contains(&"attempt 1 0-100001".to_owned()), "{left:?}");
    assert_eq!(track.left_out() + left.len() as u64, 99_999 + 4);
    let flood: Vec<Fact> = (0..1000).map(|id| tool(&id.to_string())).collect();
    hear(&mut track, 100_002, &flood);
    assert!(track.tools.len() <= TOOLS);
    let (few, gone) = weightiest(track.entries(at(0)), 3);
    assert_eq!((few.len(), gone > 0), (3, true));
}

fn event() -> impl Strategy<Value = (u64, u8)> {
    (0u64..100, 0u8..10)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_overlaps_that_may_not(events in prop::collection::vec(event(), 0..60)) {
        let mut track = Track::new(1);
        for (seconds, what) in events {
            match what {
                0 => track.attempt(2, "a", at(seconds)),
                1 => hear(&mut track, seconds, &[init()]),
                2 => hear(&mut track, seconds, &[tool("a")]),
                3 => hear(&mut track, seconds, &[tool_end("a")]),
                4 => track.backs_off(2, "b", seconds % 2 == 0, at(seconds)),
                5 => track.held(at(seconds)),
                6 => hear(&mut track, seconds, &[Fact::Result(Box::default())]),
                7 => track.ends(Outcome::Failed, "b", at(seconds)),
                8 => hear(&mut track, seconds, &[Fact::Retry { attempt: 1, max: None, delay: 0.0, because: String::new() }]),
                _ => track.turned(Outcome::Success, at(seconds)),
            }
        }
        let all = track.entries(at(200));
        for kind in [|what: What| what == What::Attempt, |what: What| what == What::Turn, What::is_wait] {
            let mut last = Ts(0);
            let mut lane: Vec<&Entry> = all.iter().filter(|entry| kind(entry.what)).collect();
            lane.sort_by_key(|entry| (entry.from, entry.to));
            for entry in lane {
                prop_assert!(entry.from >= last && entry.to >= entry.from, "{all:?}");
                last = entry.to;
            }
        }
        for turn in all.iter().filter(|entry| entry.what == What::Turn) {
            let around = |attempt: &&Entry| attempt.from <= turn.from && attempt.to >= turn.to;
            prop_assert!(all.iter().filter(|entry| entry.what == What::Attempt).any(|attempt| around(&attempt)), "{all:?}");
        }
    }
}
