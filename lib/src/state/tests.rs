//! The fold, on lines as the tools write them.

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
fn attempts_add_up_and_a_first_one_begins_anew() {
    let result = r#"{"type":"result","subtype":"success","session_id":"s","is_error":true,"result":"no","total_cost_usd":0.5,"usage":{"output_tokens":9}}"#;
    let mut writer = Writer::new("main");
    writer.start("claude", 1).line(result).event(&Event::Retry {
        attempt: 2,
        of: 3,
        delay: 60.0,
        because: "unavailable".into(),
        next: None,
    });
    let until = Ts(writer.ts + 60_000_000);
    assert_eq!(
        writer.state().streams()[0].phase,
        Phase::Retrying {
            attempt: 2,
            of: 3,
            until
        }
    );
    writer.start("claude", 2).line(result);
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!((stream.attempt, stream.phase), (2, Phase::Running));
    assert_eq!((stream.usage().output, stream.cost()), (18, Some(1.0)));

    let first = std::mem::take(&mut writer.out);
    let mut second = Writer::new("main");
    second.start("claude", 1);
    let state = fold(&[first, second.out].concat());
    assert_eq!(state.streams().len(), 1);
    assert_eq!((state.streams()[0].lines, state.streams()[0].usage().output), (0, 0));
}

#[test]
fn an_attempt_inherits_nothing_of_the_former_one() {
    let mut writer = Writer::new("main");
    writer
        .start("claude", 1)
        .line(r#"{"type":"system","subtype":"init","session_id":"s","model":"m"}"#)
        .line(r#"{"type":"assistant","session_id":"s","message":{"id":"1","content":[{"type":"text","text":"half"}],"usage":{"output_tokens":5}}}"#)
        .line(r#"{"type":"assistant","session_id":"s","message":{"id":"2","content":[{"type":"tool_use","id":"t","name":"Bash","input":{"command":"make"}}]}}"#)
        .line(r#"{"type":"system","subtype":"task_started","session_id":"s","task_id":"b","description":"sleep","is_backgrounded":true}"#)
        .line(r#"{"type":"assistant","session_id":"s","message":{"id":"3","content":[{"type":"tool_use","id":"l","name":"TodoWrite","input":{"todos":[{"content":"x","status":"completed"},{"content":"y","status":"pending"}]}}]}}"#)
        .line(r#"{"type":"user","session_id":"s","message":{"content":[{"type":"tool_result","tool_use_id":"l"}]}}"#)
        .event(&Event::Heartbeat {
            idle: 0.0,
            lines: 1,
            bytes: 1,
            rss: 9,
            cpu: 9.0,
        })
        .line(r#"{"type":"stream_event","session_id":"s","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"unfini"}}}"#);
    let state = writer.state();
    let stream = &state.streams()[0];
    assert!(!stream.background.is_empty() && !stream.tasks.is_empty() && stream.progress.is_some());
    writer.event(&Event::Stop {
        because: "idle".into(),
        with: Vec::new(),
    });
    writer.event(&Event::Retry {
        attempt: 2,
        of: 3,
        delay: 4.0,
        because: "killed".into(),
        next: Some("codex".into()),
    });
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!(stream.activity, Activity::Idle);
    assert_eq!(stream.again.as_deref(), Some("killed, by codex"));
    assert!(stream.background.is_empty() && stream.tasks.is_empty() && stream.load.is_none());
    // What it has written is all there is, until the next one begins.
    assert_eq!(stream.answer().as_deref(), Some("half\n\nunfini"));

    writer.start("codex", 2);
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!(
        (stream.attempt, stream.kind, stream.phase),
        (2, Kind::Codex, Phase::Running)
    );
    assert_eq!(stream.activity, Activity::Starting);
    assert_eq!(
        (stream.answer(), stream.progress, stream.stop.as_deref()),
        (None, None, None)
    );
    assert_eq!((stream.session.as_deref(), stream.model.as_deref()), (None, None));
    assert_eq!((stream.again.as_deref(), stream.end.is_none()), (None, true));
    assert_eq!((stream.usage().output, stream.lines, stream.tools), (5, 7, 2));
    writer.line(r#"{"type":"item.completed","item":{"id":"i","type":"agent_message","text":"whole"}}"#);
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!(stream.answer().as_deref(), Some("whole"));
    let last: Vec<_> = stream.messages.iter().rev().take(2).map(|m| m.text.as_str()).collect();
    assert_eq!(last, ["whole", "killed"]);
    assert_eq!(state.streams().len(), 1);
}

fn held(resets_at: Option<f64>) -> Event {
    Event::Limit {
        status: "held".into(),
        resets_at,
        kind: Some("five_hour".into()),
    }
}

#[test]
fn a_start_may_wait_for_the_limit_of_another() {
    let mut writer = Writer::new("main");
    writer.event(&held(Some(99.0)));
    let until = Some(Ts(99_000_000));
    assert_eq!(writer.state().streams()[0].phase, Phase::Parked { until });
    let waiting = writer.out.clone();
    writer.start("claude", 1);
    let state = writer.state();
    assert_eq!((state.streams().len(), state.streams()[0].phase), (1, Phase::Running));
    assert_eq!((state.streams()[0].attempt, &state.streams()[0].limit), (1, &None));

    // It is told to stop while it waits.
    let mut writer = Writer::new("main");
    writer.event(&held(None));
    assert_eq!(writer.state().streams()[0].phase, Phase::Parked { until: None });
    writer.exit(Outcome::Cancelled);
    let state = writer.state();
    assert_eq!(state.streams()[0].outcome(), Some(Outcome::Cancelled));
    assert!(state.streams()[0].start.is_none());

    // A second run under the same name begins with such a line, too.
    let mut first = Writer::new("main");
    first.start("claude", 1).line("x").exit(Outcome::Failed);
    let state = fold(&[first.out.as_slice(), &waiting].concat());
    assert_eq!(state.streams().len(), 1);
    let stream = &state.streams()[0];
    assert_eq!(
        (stream.phase, stream.lines, stream.lost),
        (Phase::Parked { until }, 0, 0)
    );
    assert!(stream.end.is_none());

    // Between two attempts.
    let retry = Event::Retry {
        attempt: 2,
        of: 2,
        delay: 1.0,
        because: "unavailable".into(),
        next: None,
    };
    let mut writer = Writer::new("main");
    writer.start("claude", 1).event(&retry).event(&held(Some(99.0)));
    assert_eq!(writer.state().streams()[0].phase, Phase::Parked { until });
}

fn turn(text: &str, outcome: Outcome) -> Event {
    Event::Turn(Box::new(Exit {
        outcome,
        text: Some(text.into()),
        ..Exit::default()
    }))
}

#[test]
fn a_kept_worker_takes_turns() {
    let init = r#"{"type":"system","subtype":"init","session_id":"s","model":"m"}"#;
    let result = |text: &str| {
        format!(
            r#"{{"type":"result","subtype":"success","session_id":"s","is_error":false,"result":"{text}","usage":{{"output_tokens":3}}}}"#
        )
    };
    let mut writer = Writer::new("main");
    writer.start("claude", 1).line(init).line(&result("one"));
    assert_eq!(writer.state().streams()[0].turns, 0);
    writer.event(&turn("one", Outcome::Success));
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!(
        (stream.turns, &stream.activity, stream.phase),
        (1, &Activity::Prompt, Phase::Running)
    );
    assert_eq!((stream.outcome(), stream.answer().as_deref()), (None, Some("one")));
    // A heartbeat is no work.
    writer.event(&Event::Heartbeat {
        idle: 1.0,
        lines: 2,
        bytes: 2,
        rss: 1,
        cpu: 0.1,
    });
    assert_eq!(writer.state().streams()[0].activity, Activity::Prompt);
    writer.line(init);
    assert_eq!(writer.state().streams()[0].activity, Activity::Thinking);
    writer.line(&result("two")).event(&turn("two", Outcome::Error));
    // Killed, and started again for the next prompt: turns go on.
    writer
        .event(&Event::Retry {
            attempt: 2,
            of: 2,
            delay: 0.0,
            because: "killed".into(),
            next: None,
        })
        .start("claude", 2);
    let state = writer.state();
    assert_eq!((state.streams()[0].turns, state.streams()[0].answer()), (2, None));
    writer
        .line(init)
        .line(&result("three"))
        .event(&turn("three", Outcome::Success));
    let state = writer.state();
    let stream = &state.streams()[0];
    assert_eq!((stream.turns, stream.answer().as_deref()), (3, Some("three")));
    assert_eq!(
        stream.turn.as_ref().map(|turn| turn.exit.outcome),
        Some(Outcome::Success)
    );
    assert!(stream.turn.as_ref().is_some_and(|turn| !turn.raw.contains_key("cl")));
    assert_eq!(stream.usage().output, 9);
    writer.exit(Outcome::Success).start("claude", 1);
    // A command's turns have each their own output for an answer.
    let mut writer = Writer::new("a");
    writer
        .start("plain", 1)
        .line("one")
        .event(&turn("one", Outcome::Success))
        .line("two");
    assert_eq!(writer.state().streams()[0].answer().as_deref(), Some("two\n"));
}

#[test]
fn a_conversation_that_goes_on_costs_what_it_costs_from_now_on() {
    let result = |cost: f64| {
        format!(
            r#"{{"type":"result","subtype":"success","session_id":"s","is_error":true,"result":"no","total_cost_usd":{cost}}}"#
        )
    };
    let mut writer = Writer::new("main");
    writer.start("claude", 1).line(&result(0.5));
    let resumed = |session: &str| {
        Event::Start(Box::new(Start {
            attempt: 2,
            agent: "claude".into(),
            session_id: Some(session.into()),
            pid: Some(8),
            ..Start::default()
        }))
    };
    let mut anew = Writer::new("main");
    anew.start("claude", 1)
        .line(&result(0.5))
        .event(&resumed("other"))
        .line(&result(0.75));
    assert_eq!(anew.state().streams()[0].cost(), Some(1.25));
    writer.event(&resumed("s"));
    assert_eq!(writer.state().streams()[0].session.as_deref(), Some("s"));
    writer.line(&result(0.75));
    assert_eq!(writer.state().streams()[0].cost(), Some(0.75));
}

#[test]
fn a_limit_parks() {
    let mut writer = Writer::new("main");
    writer.start("claude", 1).event(&Event::Limit {
        status: "rejected".into(),
        resets_at: Some(99.0),
        kind: None,
    });
    writer.event(&Event::Retry {
        attempt: 2,
        of: 2,
        delay: 5.0,
        because: "limit".into(),
        next: None,
    });
    assert!(matches!(writer.state().streams()[0].phase, Phase::Parked { .. }));
    // Not where another agent follows at once.
    let mut writer = Writer::new("main");
    writer.event(&held(Some(99.0))).event(&Event::Retry {
        attempt: 1,
        of: 1,
        delay: 0.0,
        because: "limit: another stream met it".into(),
        next: Some("codex".into()),
    });
    assert!(matches!(writer.state().streams()[0].phase, Phase::Retrying { .. }));
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
