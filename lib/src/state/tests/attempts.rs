//! Attempts, the waits between them, and the turns of a kept worker.

use super::*;

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
