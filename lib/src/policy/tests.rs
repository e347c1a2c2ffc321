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

use More::{Never, Open, Perhaps};

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
