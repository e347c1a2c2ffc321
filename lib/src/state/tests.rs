//! The fold, on lines as the tools write them.

mod attempts;

use super::*;
use crate::agent::Kind;
use crate::line::{Event, Exit, Name, Stamper, Start};
use proptest::prelude::*;

/// A stream as cl-spawn writes it.
struct Writer {
    stamper: Stamper,
    ts: u64,
    out: Vec<u8>,
}

impl Writer {
    fn new(name: &str) -> Self {
        Self {
            stamper: Stamper::new(Name::new(name).unwrap()),
            ts: 1_000_000,
            out: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) -> &mut Self {
        self.ts += 1_000_000;
        self.stamper.line(line.as_bytes(), true, Ts(self.ts), &mut self.out);
        self
    }

    fn event(&mut self, event: &Event) -> &mut Self {
        self.ts += 1_000_000;
        self.stamper.event(event, Ts(self.ts), &mut self.out);
        self
    }

    fn start(&mut self, agent: &str, attempt: u32) -> &mut Self {
        self.event(&Event::Start(Box::new(Start {
            v: 1,
            attempt,
            agent: agent.to_owned(),
            pid: Some(7),
            ..Start::default()
        })))
    }

    fn exit(&mut self, outcome: Outcome) -> &mut Self {
        self.event(&Event::Exit(Box::new(Exit {
            outcome,
            ..Exit::default()
        })))
    }

    fn state(&self) -> State {
        fold(&self.out)
    }
}

fn fold(bytes: &[u8]) -> State {
    let mut state = State::default();
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .for_each(|line| {
            state.line(line);
        });
    state
}

#[test]
fn a_command_from_start_to_exit() {
    let mut writer = Writer::new("build");
    assert!(writer.state().streams().is_empty());
    writer.start("plain", 1);
    assert_eq!(writer.state().streams()[0].phase, Phase::Running);
    assert_eq!(writer.state().streams()[0].activity, Activity::Starting);
    writer
        .line("[3/10] cc x.c")
        .line("")
        .line(r#"{"level":"info"}"#)
        .exit(Outcome::Failed);
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!((stream.lines, stream.bytes), (3, 14 + 1 + 17));
    assert_eq!(stream.progress, Some(Progress::Steps { done: 3, total: 10 }));
    assert_eq!(stream.outcome(), Some(Outcome::Failed));
    assert_eq!(
        stream.answer().as_deref(),
        Some("[3/10] cc x.c\n\n{\"level\":\"info\"}\n")
    );
    assert_eq!(stream.ended.map(|ended| ended.since(stream.started).as_secs()), Some(4));
    assert_eq!(stream.messages.len(), 1);
    assert!(stream.end.as_ref().unwrap().raw.contains_key("duration"));
}

#[test]
fn an_agent_at_work() {
    let mut writer = Writer::new("main");
    writer
        .start("claude", 1)
        .line(r#"{"type":"system","subtype":"init","session_id":"s","model":"m"}"#);
    let now = |writer: &Writer| writer.state().streams()[0].activity.clone();
    assert_eq!(now(&writer), Activity::Thinking);
    let delta = r#"{"type":"stream_event","session_id":"s","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"He"}}}"#;
    writer.line(delta);
    assert_eq!(now(&writer), Activity::Writing);
    assert_eq!(writer.state().streams()[0].messages[0].voice, Voice::Open);
    writer.line(r#"{"type":"assistant","session_id":"s","message":{"id":"1","content":[{"type":"text","text":"Hello"}],"usage":{"output_tokens":5}}}"#);
    writer.line(r#"{"type":"assistant","session_id":"s","message":{"id":"1","content":[{"type":"tool_use","id":"t","name":"Bash","input":{"command":"ls"}}],"usage":{"output_tokens":5}}}"#);
    let tool = Activity::Tool {
        name: "Bash".into(),
        what: "ls".into(),
    };
    assert_eq!(now(&writer), tool);
    writer.line(r#"{"type":"user","session_id":"s","message":{"content":[{"type":"tool_result","tool_use_id":"t"}]}}"#);
    assert_eq!(now(&writer), Activity::Thinking);
    writer.line(r#"{"type":"result","subtype":"success","session_id":"s","is_error":false,"result":"Hello","total_cost_usd":0.5,"usage":{"output_tokens":9}}"#);
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!(stream.activity, Activity::Idle);
    assert_eq!((stream.usage().output, stream.cost(), stream.tools), (9, Some(0.5), 1));
    assert_eq!(stream.answer().as_deref(), Some("Hello"));
    let messages: Vec<_> = stream.messages.iter().map(|m| (m.voice, m.text.as_str())).collect();
    assert_eq!(messages, [(Voice::Worker, "Hello"), (Voice::Tool, "Bash ls")]);
    assert_eq!(
        (stream.session.as_deref(), stream.model.as_deref(), stream.pid()),
        (Some("s"), Some("m"), Some(7))
    );
}

#[test]
fn a_merge_may_not_know_the_agent() {
    let mut writer = Writer::new("main");
    writer.event(&Event::Start(Box::new(Start {
        agent: "plain".into(),
        ..Start::default()
    })));
    writer.line("Warning: something");
    writer.line(r#"{"type":"thread.started","thread_id":"x"}"#);
    assert_eq!(writer.state().streams()[0].kind, Kind::Codex);
    assert_eq!(writer.state().streams()[0].session.as_deref(), Some("x"));
}

#[test]
fn what_is_missing_is_counted_once() {
    let mut writer = Writer::new("a");
    writer.start("plain", 1);
    for _ in 0..8 {
        writer.line("x");
    }
    let lines: Vec<&[u8]> = writer.out.split_inclusive(|b| *b == b'\n').collect();
    // Lines 3 to 5 are a hole, and 7 to 8 a hole that a sink has told.
    let told = br#"{"cl":{"stream":"a","seq":8,"ts":9.000000},"type":"cl","subtype":"gap","from":7,"to":8,"lost":2}"#;
    let some = [lines[0], lines[1], lines[5], told, b"\n", lines[8]].concat();
    let state = fold(&some);
    assert_eq!(state.streams()[0].lost, 5);
    assert_eq!(state.totals().lines, 3);
}

#[test]
fn an_end_is_an_end() {
    let mut writer = Writer::new("a");
    writer.start("plain", 1).event(&Event::Stop {
        because: "timeout".into(),
        with: vec!["TERM".into()],
    });
    let mut state = writer.state();
    assert_eq!(state.streams()[0].phase, Phase::Stopping);
    state.finish();
    assert_eq!(state.streams()[0].outcome(), Some(Outcome::Lost));
    writer.exit(Outcome::Timeout).event(&Event::Lost { source: "x".into() });
    assert_eq!(writer.state().streams()[0].outcome(), Some(Outcome::Timeout));
    // A word of a later version.
    let later = br#"{"cl":{"stream":"b","seq":1,"ts":1.0},"type":"cl","subtype":"exit","outcome":"melted","code":"x","text":"t"}"#;
    let state = fold(later);
    assert_eq!(state.streams()[0].outcome(), Some(Outcome::Unknown));
    assert_eq!(state.streams()[0].answer().as_deref(), Some("t"));
}

#[test]
fn streams_inside_streams() {
    let lines = ["a", "a/b/c", "x/y"].map(|name| format!(r#"{{"cl":{{"stream":"{name}","seq":1,"ts":1.0}},"t":1}}"#));
    let state = fold(lines.join("\n").as_bytes());
    assert_eq!(state.parent("a/b/c").map(|stream| stream.name.as_str()), Some("a"));
    assert!(state.parent("a").is_none() && state.parent("x/y").is_none());
    assert!(state.get("a/b/c").is_some() && state.get("a/b").is_none());
}

#[test]
fn what_is_no_stream_makes_none() {
    let lines = [
        "no header",
        r#"{"cl":{"stream":"s","seq":1,"ts":1.0},"type":"cl","subtype":"join","source":"s"}"#,
        r#"{"cl":{"stream":"cl-wait","seq":1,"ts":2.0},"type":"cl","subtype":"final","verdict":"met"}"#,
        r#"{"cl":{"stream":"t","seq":1,"ts":1.0},"type":"cl","subtype":"torn","text":"x"}"#,
    ];
    let state = fold(lines.join("\n").as_bytes());
    assert_eq!(
        (state.streams().len(), state.stray, state.latest),
        (0, 1, Ts(2_000_000))
    );
    assert_eq!(state.verdict.map(|verdict| verdict.verdict).as_deref(), Some("met"));
}

#[test]
fn memory_is_bounded_but_for_the_answer() {
    let mut writer = Writer::new("a");
    writer.start("plain", 1);
    let long = "é".repeat(50_000);
    for _ in 0..100 {
        writer.line(&long);
    }
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!(stream.messages.len(), MESSAGES);
    assert!(
        stream
            .messages
            .iter()
            .all(|message| message.text.len() <= MESSAGE_BYTES)
    );
    assert_eq!(stream.answer(), None);

    let mut writer = Writer::new("a");
    writer.start("gemini", 1);
    let piece = format!(r#"{{"type":"message","role":"assistant","delta":true,"content":"{long}"}}"#);
    for _ in 0..20 {
        writer.line(&piece);
    }
    let state = writer.state();
    assert_eq!(state.streams()[0].answer().map(|text| text.len()), Some(20 * 100_000));
    assert!(state.streams()[0].messages[0].text.len() <= 2 * MESSAGE_BYTES);
}

fn any_line() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("a/c")];
    let rest = prop_oneof![
        Just(r#","type":"assistant","session_id":"s","message":{"id":"1","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":18446744073709551615}}}"#.to_owned()),
        Just(r#","type":"system","subtype":"init","session_id":"s"}"#.to_owned()),
        Just(r#","type":"result","subtype":"success","session_id":"s","total_cost_usd":1e308}"#.to_owned()),
        Just(r#","type":"thread.started","thread_id":"t"}"#.to_owned()),
        Just("}".to_owned()),
        ("(start|text|stderr|chunk|heartbeat|limit|retry|stop|exit|turn|gap|torn|lost|join|partial|final|later)", "(,\"(text|outcome|agent|delay|to|from|lost|idle|attempt|base64|last|because)\":(\"claude\"|\"success\"|\"5%\"|-1|1e300|18446744073709551615|null|\\{\\}|\\[\\]|true)){0,3}")
            .prop_map(|(subtype, members)| format!(r#","type":"cl","subtype":"{subtype}"{members}}}"#)),
        "\\PC{0,10}".prop_map(|text| format!(",{text}")),
    ];
    let seq = prop_oneof![0u64..20, Just(u64::MAX)];
    (name, seq, 0u64..100, rest)
        .prop_map(|(name, seq, ts, rest)| format!(r#"{{"cl":{{"stream":"{name}","seq":{seq},"ts":{ts}.5}}{rest}"#))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the lines: no panic, sums are sums, an end stays an end, and every stream is found by its name.
    #[test]
    fn folding(lines in prop::collection::vec(any_line(), 0..60)) {
        let mut state = State::default();
        for line in &lines {
            let at = state.line(line.as_bytes());
            prop_assert!(at.is_none_or(|at| at < state.streams().len()));
        }
        let check = |state: &State| {
            let totals = state.totals();
            let streams = state.streams();
            prop_assert_eq!(totals.streams, streams.len());
            prop_assert_eq!(totals.ended, streams.iter().filter(|stream| stream.outcome().is_some()).count());
            prop_assert_eq!(totals.lines, streams.iter().map(|stream| stream.lines).sum::<u64>());
            prop_assert_eq!(totals.bytes, streams.iter().map(|stream| stream.bytes).sum::<u64>());
            let output = streams.iter().fold(0u64, |sum, stream| sum.saturating_add(stream.usage().output));
            prop_assert_eq!(totals.usage.output, output);
            for stream in streams {
                prop_assert_eq!(state.get(&stream.name).map(|found| &found.name), Some(&stream.name));
                prop_assert!(stream.messages.len() <= MESSAGES);
                prop_assert_eq!(stream.outcome().is_some(), stream.ended.is_some());
                let _ = stream.answer();
            }
            Ok(())
        };
        check(&state)?;
        state.finish();
        check(&state)?;
        prop_assert_eq!(state.totals().ended, state.streams().len());
    }
}
