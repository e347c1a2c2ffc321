//! The policy, on streams that appear, run, and end.

use super::*;

/// A state from words: `a` runs, `a+` ended well, `a-` failed, `a?` ended unseen, `a!` was lost.
fn state(words: &str) -> State {
    let mut state = State::default();
    for word in words.split_whitespace() {
        let name = word.trim_end_matches(['+', '-', '?', '!']);
        let head = format!(r#"{{"cl":{{"stream":"{name}","seq":1,"ts":1.0}}"#);
        state.line(format!("{head}}}").as_bytes());
        let subtype = match &word[name.len()..] {
            "+" => r#""exit","outcome":"success""#,
            "-" => r#""exit","outcome":"failed","because":"exit 7""#,
            "?" => r#""exit","outcome":"unknown""#,
            "!" => r#""lost""#,
            _ => continue,
        };
        state.line(format!(r#"{head},"type":"cl","subtype":{subtype}}}"#).as_bytes());
    }
    state
}

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn check(policy: &Policy, cases: &[(&str, More, &str)]) {
    for (words, more, expected) in cases {
        let got = match policy.judge(&state(words), *more) {
            Verdict::Waiting => "waiting".to_owned(),
            Verdict::Needed => "needed".to_owned(),
            Verdict::Met => "met".to_owned(),
            Verdict::Impossible(reason) => reason,
        };
        assert_eq!(&got, expected, "{words} {more:?} {policy:?}");
    }
}

use More::{Never, Open, Perhaps, Seen};

#[test]
fn all_that_were_seen() {
    check(
        &Policy::default(),
        &[
            ("", Open, "waiting"),
            ("", Perhaps, "waiting"),
            ("", Never, "no stream appeared"),
            ("a+ b", Open, "waiting"),
            // Another may still appear.
            ("a+ b+", Open, "waiting"),
            ("a+ b+", Perhaps, "met"),
            ("a+ b+", Never, "met"),
            ("a- b", Open, "a ended as failed: exit 7"),
            ("a! b", Open, "a stopped without telling its end"),
            // What runs inside another is that one's own affair.
            ("a+ a/x-", Never, "met"),
            ("a/x-", Never, "a/x ended as failed: exit 7"),
        ],
    );
}

#[test]
fn all_that_are_expected() {
    let policy = Policy {
        expect: names("a b/c"),
        ..Policy::default()
    };
    check(
        &policy,
        &[
            ("a+", Open, "waiting"),
            ("a+ b/c+", Open, "met"),
            ("a+ b/c+ d-", Open, "met"),
            ("a+ b+ b/c-", Open, "b/c ended as failed: exit 7"),
            ("a+", Never, "b/c never appeared"),
        ],
    );
}

#[test]
fn one_of_them() {
    let policy = Policy {
        enough: Enough::Any(1),
        ..Policy::default()
    };
    check(
        &policy,
        &[
            ("a b", Open, "waiting"),
            ("a- b+", Open, "met"),
            ("a- b-", Open, "waiting"),
            ("a- b-", Perhaps, "none ended well, at last b ended as failed: exit 7"),
            ("a- b-", Never, "none ended well, at last b ended as failed: exit 7"),
            ("a- b", Perhaps, "waiting"),
            ("", Never, "no stream appeared"),
        ],
    );
    let two = Policy {
        enough: Enough::Any(2),
        expect: names("a b c"),
        ..Policy::default()
    };
    check(
        &two,
        &[
            ("a+", Open, "waiting"),
            ("a- b+", Open, "waiting"),
            ("a- b-", Open, "only 1 of 2 can still end well"),
            ("a+ b-", Never, "only 1 of 2 can still end well"),
            ("a+ b+ d-", Open, "met"),
        ],
    );
}

#[test]
fn a_needed_one_and_one_more() {
    let policy = Policy {
        need: names("main"),
        enough: Enough::Any(1),
        ..Policy::default()
    };
    check(
        &policy,
        &[
            ("a+", Open, "waiting"),
            ("a+ main", Open, "waiting"),
            ("a+ main+", Open, "met"),
            ("a main+", Open, "needed"),
            ("main+", Open, "needed"),
            // The others cannot come: what is needed is there.
            ("a- main+", Perhaps, "met"),
            ("a- main+", Never, "met"),
            ("main+", Never, "met"),
            ("a- main", Open, "waiting"),
            ("a+ main-", Open, "main ended as failed: exit 7"),
            ("a+", Never, "main never appeared"),
            ("a+", Perhaps, "waiting"),
        ],
    );
}

#[test]
fn an_end_that_nobody_saw() {
    let reason = "a ended, and nobody saw how: start it by cl-spawn, or let such an end count by --trust";
    check(&Policy::default(), &[("a?", Open, reason)]);
    let trust = Policy {
        trust: true,
        ..Policy::default()
    };
    check(
        &trust,
        &[
            ("a?", Perhaps, "met"),
            ("a!", Perhaps, "a stopped without telling its end"),
        ],
    );
}

/// A policy that waits for turns, after these ones of a stream `a`: `+` went well, `-` did not, `|` is where the wait
/// begins, `x` its end by failure.
fn turns(which: Turn, life: &str) -> (Policy, State) {
    let mut policy = Policy {
        turns: Some(Turns::new(which)),
        ..Policy::default()
    };
    let mut state = State::default();
    let mut fresh = false;
    for (i, what) in life.chars().enumerate() {
        let event = match what {
            '|' => {
                fresh = true;
                continue;
            }
            'x' => r#""exit","outcome":"failed""#.to_owned(),
            '+' => format!(r#""turn","outcome":"success","text":"{i}""#),
            _ => r#""turn","outcome":"error","because":"529""#.to_owned(),
        };
        let seq = i + 1;
        let line = format!(r#"{{"cl":{{"stream":"a","seq":{seq},"ts":1.0}},"type":"cl","subtype":{event}}}"#);
        let at = state.line(line.as_bytes()).unwrap();
        if let Some(turns) = policy.turns.as_mut().filter(|_| what != 'x') {
            turns.see(&state.streams()[at], fresh);
        }
    }
    (policy, state)
}

#[test]
fn a_turn_counts_as_an_end() {
    use Turn::{Next, Number};
    for (which, life, expected) in [
        (Next, "|", "waiting"),
        (Next, "+|", "waiting"),
        (Next, "+|+", "met"),
        (Next, "|+-", "met"),
        (Next, "+|-", "a's turn ended as error: 529"),
        (Next, "+|x", "a ended as failed"),
        (Next, "|+x", "met"),
        (Number(2), "+|", "waiting"),
        (Number(2), "++|", "met"),
        (Number(2), "++-|", "met"),
        (Number(2), "+|-+", "a's turn ended as error: 529"),
        (Number(2), "+|x", "a ended as failed"),
    ] {
        let (policy, state) = turns(which, life);
        let got = match policy.judge(&state, Perhaps) {
            Verdict::Impossible(reason) => reason,
            Verdict::Met => "met".to_owned(),
            verdict => format!("{verdict:?}").to_lowercase(),
        };
        assert_eq!(got, expected, "{which:?} {life}");
    }
    // It is that turn's answer, not a later one's.
    let (policy, state) = turns(Number(2), "++++|");
    let ended = policy.ended(&state.streams()[0]).unwrap();
    assert_eq!(ended.told.unwrap().exit.text.as_deref(), Some("1"));
}

#[test]
fn needed_ones_are_told_first() {
    let policy = Policy {
        need: names("z y"),
        expect: names("m z"),
        ..Policy::default()
    };
    let mut all = ["a", "m", "y", "z", "b"];
    all.sort_by_key(|name| policy.place(name));
    assert_eq!(all, ["z", "y", "m", "a", "b"]);
}

/// Nothing follows: what has not ended is waited for no more. Where only no other stream appears, it is.
#[test]
fn what_can_never_end() {
    let needs = Policy {
        need: names("a"),
        ..Policy::default()
    };
    let any = |count| Policy {
        enough: Enough::Any(count),
        ..Policy::default()
    };
    let cases = [
        (&needs, "a has not ended"),
        (&Policy::default(), "a has not ended"),
        (&any(1), "none ended well, at last a has not ended"),
        (&any(2), "only 0 of 2 can still end well"),
    ];
    for (policy, because) in cases {
        check(policy, &[("a", Never, because)]);
    }
    check(&needs, &[("a", Seen, "waiting"), ("b", Seen, "a never appeared")]);
    check(
        &any(1),
        &[
            ("a", Seen, "waiting"),
            ("a-", Seen, "none ended well, at last a ended as failed: exit 7"),
        ],
    );
    check(&Policy::default(), &[("a b+", Seen, "waiting"), ("a+", Seen, "met")]);
}
