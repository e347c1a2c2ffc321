//! cl-stream(5) is written by hand; what it must name is taken from the types that are the wire format.

use crate::harness::{json_lines, root, run};
use harmony::line::{
    Bytes, Event, Exit, Name, Outcome, Stamper, Start, Ts, Usage, Verdict, header, object, subtype, unwrap,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;

/// One event of each subtype, with all its members.
fn all() -> Vec<Event> {
    let bytes = || Bytes::new(b"x");
    let verdict = || Verdict {
        verdict: "met".into(),
        streams: Map::new(),
        text: "x".into(),
        because: "x".into(),
    };
    let events = vec![
        Event::Start(Box::new(start())),
        Event::Text {
            bytes: bytes(),
            eol: false,
        },
        Event::Stderr {
            bytes: Bytes::new(b"\xff"),
            eol: false,
        },
        Event::Chunk {
            bytes: bytes(),
            last: true,
            eol: false,
        },
        Event::Heartbeat {
            idle: 1.0,
            lines: 1,
            bytes: 1,
            rss: 1,
            cpu: 1.0,
        },
        Event::Limit {
            status: "x".into(),
            resets_at: Some(1.0),
            kind: Some("x".into()),
        },
        Event::Retry {
            attempt: 1,
            of: 1,
            delay: 1.0,
            because: "x".into(),
            next: Some("x".into()),
        },
        Event::Stop {
            because: "x".into(),
            with: vec!["x".into()],
        },
        Event::Exit(Box::new(exit())),
        Event::Turn(Box::new(exit())),
        Event::Gap {
            from: 1,
            to: 1,
            lost: 1,
        },
        Event::Torn { bytes: bytes() },
        Event::Lost { source: "x".into() },
        Event::Join { source: "x".into() },
        Event::Leave { source: "x".into() },
        Event::Partial(verdict()),
        Event::Final(verdict()),
    ];
    for event in &events {
        // No wildcard: a subtype that is new does not compile until it stands above, too.
        match event {
            Event::Start(_) | Event::Text { .. } | Event::Stderr { .. } | Event::Chunk { .. } => {}
            Event::Heartbeat { .. } | Event::Limit { .. } | Event::Retry { .. } | Event::Stop { .. } => {}
            Event::Exit(_) | Event::Turn(_) | Event::Gap { .. } | Event::Torn { .. } | Event::Lost { .. } => {}
            Event::Join { .. } | Event::Leave { .. } | Event::Partial(_) | Event::Final(_) => {}
        }
    }
    events
}

fn start() -> Start {
    let limits = json!({"timeout": 1, "idle": 1, "linger": 1});
    Start {
        session_id: Some("x".into()),
        v: 1,
        attempt: 1,
        agent: "plain".into(),
        argv: vec!["x".into()],
        cwd: "/".into(),
        host: "x".into(),
        pid: Some(1),
        because: Some("x".to_owned()),
        role: Some("x".into()),
        priority: Some(1),
        prompt: Some("x".into()),
        limits: limits.as_object().cloned().unwrap_or_default(),
    }
}

fn exit() -> Exit {
    Exit {
        outcome: Outcome::Success,
        because: "exit 0".into(),
        code: Some(0),
        signal: Some("SIGTERM".into()),
        duration: 1.0,
        attempts: 1,
        lines: 1,
        bytes: 1,
        whole: true,
        session_id: Some("x".into()),
        text: Some("x".into()),
        turns: Some(1),
        cost_usd: Some(1.0),
        usage: Some(Usage {
            input: 1,
            output: 1,
            cache_read: 1,
            cache_write: 1,
        }),
        resets_at: Some(1.0),
        denials: vec![json!({"tool": "x"})],
        pending: vec![json!("x")],
        orphans: 1,
        stderr: "x".into(),
        cpu: Some(1.0),
        rss: Some(1),
        warnings: vec!["x".into()],
    }
}

/// A section of the page, as its source; the whole page for none.
fn page(heading: Option<&str>) -> String {
    let text = fs::read_to_string(root().join("man/cl-stream.5")).expect("the page");
    let Some(heading) = heading else { return text };
    let mut part = String::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix(".SS ").or(line.strip_prefix(".SH ")) {
            inside = title.trim_matches('"').split(", ").any(|name| name == heading);
        } else if inside {
            part += line;
            part.push('\n');
        }
    }
    part
}

/// Whether a macro line of the page sets that word in bold.
pub fn names(page: &str, word: &str) -> bool {
    let lines = page.lines().filter(|line| line.starts_with(".B"));
    lines
        .flat_map(|line| line.split([' ', '"', ',']))
        .any(|part| part == word)
}

fn members(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            into.insert(name.clone());
            members(value, into);
        }),
        Value::Array(all) => all.iter().for_each(|value| members(value, into)),
        _ => {}
    }
}

#[test]
fn every_event_and_member_is_described() {
    for event in all() {
        let value = serde_json::to_value(&event).expect("an event is JSON");
        let subtype = value["subtype"].as_str().expect("has a subtype").to_owned();
        let mut wanted = BTreeSet::new();
        members(&value, &mut wanted);
        wanted.remove("subtype");
        let mut section = page(Some(&subtype));
        assert!(!section.is_empty(), "{subtype} has no part of its own in cl-stream(5)");
        // These say that they have another one's members.
        match subtype.as_str() {
            "turn" => section += &page(Some("exit")),
            "stderr" => section += &page(Some("text")),
            _ => {}
        }
        for name in wanted {
            assert!(
                names(&section, &name),
                "cl-stream(5) does not describe {subtype}.{name}"
            );
        }
    }
}

#[test]
fn every_outcome_is_described() {
    let section = page(Some("OUTCOMES"));
    for outcome in [
        Outcome::Success,
        Outcome::Error,
        Outcome::Failed,
        Outcome::Exhausted,
        Outcome::Incomplete,
        Outcome::Truncated,
        Outcome::Unavailable,
        Outcome::Limit,
        Outcome::Auth,
        Outcome::Timeout,
        Outcome::Idle,
        Outcome::Cancelled,
        Outcome::Killed,
        Outcome::Unstartable,
        Outcome::Lost,
        Outcome::Unknown,
    ] {
        assert!(
            names(&section, outcome.as_str()),
            "cl-stream(5) does not describe {}",
            outcome.as_str()
        );
    }
}

/// The whole stream that the page shows is what cl-spawn writes, but for what differs from run to run.
#[test]
fn the_example_is_real() {
    let shown: Vec<String> = page(Some("EXAMPLES"))
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(str::to_owned)
        .collect();
    let written = run("cl-spawn", &["t", "--", "echo", "hi"]).ok();
    let written = written.json();
    assert_eq!(shown.len(), written.len());
    for (shown, written) in shown.iter().zip(&written) {
        let head = header(shown.as_bytes()).expect("has a header");
        assert!(
            object(shown.as_bytes()).is_some() && subtype(shown.as_bytes(), &head).is_some(),
            "{shown}"
        );
        let keys = |value: &Value| {
            value
                .as_object()
                .map(|map| map.keys().cloned().collect::<BTreeSet<_>>())
        };
        let shown = &json_lines(shown.as_bytes())[0];
        assert_eq!(keys(shown), keys(written), "{shown}");
        for same in [
            "/cl/stream",
            "/cl/seq",
            "/subtype",
            "/agent",
            "/argv",
            "/text",
            "/outcome",
            "/because",
            "/lines",
            "/whole",
        ] {
            assert_eq!(shown.pointer(same), written.pointer(same), "{same}");
        }
    }
}

/// What the page says of what is spliced and what is wrapped.
#[test]
fn the_rules_are_as_told() {
    let name = |text: &str| Name::new(text).expect("a name");
    for (raw, eol, spliced) in [
        (&b"{\"a\":1}"[..], true, true),
        (b"{\"a\":1}\r", true, true),
        (b"{\"a\":1}", false, false),
        (b"{\"cl\":1}", true, false),
        (b"{\"type\":\"cl\",\"subtype\":\"exit\"}", true, false),
        (b"{}", true, false),
        (b"[1]", true, false),
        (b"", true, false),
        (b"{\"a\":\"\xff\"}", true, false),
    ] {
        let (mut line, mut back) = (Vec::new(), Vec::new());
        Stamper::new(name("s")).line(raw, eol, Ts(0), &mut line);
        let line = line.strip_suffix(b"\n").expect("a line");
        let head = header(line).expect("has a header");
        assert_eq!(
            subtype(line, &head).is_none(),
            spliced,
            "{}",
            String::from_utf8_lossy(raw)
        );
        unwrap(line, &mut back);
        assert_eq!(back, [raw, if eol { b"\n" } else { b"" }].concat());
    }
}
