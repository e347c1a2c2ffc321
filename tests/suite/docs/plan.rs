//! cl-plan(5) is written by hand; the keys and the acts that it must name are taken from the types.

use super::stream::names;
use crate::harness::root;
use harmony::line::Outcome;
use harmony::plan::{Act, Entry, Format, KEYS, Phase, Plan, When};
use harmony::role::Roles;
use std::collections::BTreeSet;

fn page() -> String {
    std::fs::read_to_string(root().join("man/cl-plan.5")).expect("the page")
}

/// The part of the page below a heading.
fn part(heading: &str) -> String {
    let page = page();
    let lines = page.lines().skip_while(|line| {
        let title = line.strip_prefix(".SH ").or(line.strip_prefix(".SS "));
        title.map(|title| title.trim_matches('"')) != Some(heading)
    });
    let lines = lines
        .skip(1)
        .take_while(|line| !line.starts_with(".SH") && !line.starts_with(".SS"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_key_is_described_and_no_other() {
    for (table, heading) in [
        ("plan", "THE PLAN"),
        ("stream", "A STREAM"),
        ("settings", "HOW A STREAM RUNS"),
        ("wait", "WHEN IT IS ENOUGH"),
    ] {
        let (_, keys) = KEYS.iter().find(|(name, _)| *name == table).expect("a table");
        let part = part(heading);
        let lines: Vec<&str> = part.lines().collect();
        let heads = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| pair[1]);
        let described: BTreeSet<&str> = heads
            .flat_map(|head| {
                head.split([' ', '"', ','])
                    .filter(|word| !word.is_empty() && !word.starts_with(".B"))
            })
            .collect();
        assert_eq!(described, keys.iter().copied().collect(), "{heading}");
    }
    let words = part("A STREAM");
    for word in Phase::ALL
        .iter()
        .map(|phase| phase.as_str())
        .chain(When::ALL.iter().map(|when| when.as_str()))
    {
        assert!(names(&words, word), "cl-plan(5) does not describe {word}");
    }
}

#[test]
fn every_act_is_described() {
    let text = || "x".to_owned();
    let acts = [
        Act::Begin {
            v: 1,
            plan: text(),
            pid: 1,
            cwd: text(),
            jobs: 1,
        },
        Act::Add {
            streams: vec![text()],
            by: text(),
        },
        Act::Start {
            stream: text(),
            key: text(),
        },
        Act::End {
            stream: text(),
            outcome: Outcome::Success,
        },
        Act::Keep { stream: text() },
        Act::Skip {
            stream: text(),
            because: text(),
        },
        Act::Unneeded { stream: text() },
        Act::Undo { stream: text() },
        Act::Undone {
            stream: text(),
            code: 1,
        },
        Act::Finish {
            verdict: text(),
            because: text(),
        },
    ];
    let part = part("THE JOURNAL");
    for act in acts {
        // No wildcard: an act that is new does not compile until it stands above, too.
        match &act {
            Act::Begin { .. } | Act::Add { .. } | Act::Start { .. } | Act::End { .. } | Act::Skip { .. } => {}
            Act::Keep { .. } | Act::Unneeded { .. } | Act::Undo { .. } | Act::Undone { .. } | Act::Finish { .. } => {}
        }
        let entry = serde_json::to_value(Entry { ts: 1.0, act }).expect("JSON");
        for (member, value) in entry.as_object().expect("an object") {
            let word = if member == "act" {
                value.as_str().expect("a word")
            } else {
                member
            };
            assert!(names(&part, word), "cl-plan(5) does not describe {word} of {entry}");
        }
    }
}

/// Both plans that the page shows are in order, and they are the same.
#[test]
fn the_examples_are_plans() {
    let examples = part("EXAMPLES");
    let blocks: Vec<String> = examples
        .split(".EX\n")
        .skip(1)
        .filter_map(|rest| rest.split(".EE").next())
        .map(|block| {
            block
                .replace("\\-", "-")
                .replace("\\(aq", "'")
                .replace("\\(dq", "\"")
                .replace("\\e", "\\")
        })
        .collect();
    let read = |text: &str, format: Format| {
        Plan::read(text, format, &Roles::builtin()).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
    };
    let toml = read(&blocks[0], Format::Toml);
    assert_eq!(toml.streams.len(), 3);
    assert_eq!(read(&blocks[1], Format::Json).streams, toml.streams[..1]);
}
