//! The readers, on lines that the agents wrote.

use super::*;
use proptest::prelude::*;

fn facts(kind: Kind, lines: &str) -> Vec<Fact> {
    let mut reader = Reader::new(kind);
    let mut facts = Vec::new();
    lines.lines().for_each(|line| reader.read(line.as_bytes(), &mut facts));
    facts
}

fn account(kind: Kind, lines: &str) -> Account {
    let mut account = Account::default();
    facts(kind, lines).iter().for_each(|fact| account.add(fact));
    account
}

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/recordings/", $name, ".ndjson"))
    };
}

const RECORDINGS: [(Kind, &str); 19] = [
    (Kind::Claude, recording!("claude/api-401")),
    (Kind::Claude, recording!("claude/api-500-once")),
    (Kind::Claude, recording!("claude/bash-run-in-background-8s")),
    (Kind::Claude, recording!("claude/max-budget")),
    (Kind::Claude, recording!("claude/partial-messages")),
    (Kind::Claude, recording!("claude/sigint-midstream-partial")),
    (Kind::Claude, recording!("claude/subagent-background")),
    (Kind::Claude, recording!("claude/tools-permission-denied")),
    (Kind::Claude, recording!("claude/tools-todowrite-unknown")),
    (Kind::Claude, recording!("claude/v2.1.197-partial")),
    (Kind::Claude, recording!("claude/resume-unknown")),
    (Kind::Codex, recording!("codex/api-500")),
    (Kind::Codex, recording!("codex/plain-text")),
    (Kind::Codex, recording!("codex/sigint-midstream")),
    (Kind::Gemini, recording!("gemini/api-500")),
    (Kind::Gemini, recording!("gemini/plain-text")),
    (Kind::Qwen, recording!("qwen/api-500")),
    (Kind::Qwen, recording!("qwen/plain-text")),
    (Kind::Opencode, recording!("opencode/plain-text")),
];

const HELLO: &str = "Hello from a fake model: naïve 🦊 done.";

#[test]
fn an_agent_is_known_by_its_first_line() {
    for (kind, lines) in RECORDINGS {
        let first = lines.lines().next().unwrap();
        assert_eq!(Kind::of_line(first.as_bytes()), Some(kind), "{first}");
    }
    for other in [
        "",
        "hi",
        "[]",
        "{}",
        r#"{"type":"error","message":"x"}"#,
        r#"{"type":"init"}"#,
        r#"{"type":5,"session_id":"x"}"#,
        r#"{"level":"info","msg":"x"}"#,
    ] {
        assert_eq!(Kind::of_line(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn claude_counts_each_message_once_and_each_turn() {
    let account = account(Kind::Claude, recording!("claude/subagent-background"));
    assert_eq!(account.results, 2);
    assert_eq!(account.pending, Vec::<String>::new());
    assert_eq!(account.answer().as_deref(), Some("Recovered and done."));
    assert_eq!(account.cost(), Some(0.0252));
    assert_eq!(
        account.usage().map(|usage| (usage.input, usage.output)),
        Some((3000, 50))
    );
    assert!(account.session.is_some() && !account.in_turn);
}

#[test]
fn claude_tells_its_background_work_as_a_whole() {
    let open: Vec<Fact> = facts(Kind::Claude, recording!("claude/bash-run-in-background-8s"))
        .into_iter()
        .filter(|fact| matches!(fact, Fact::Background(_) | Fact::Result(_)))
        .collect();
    let Some(end) = open.iter().position(|fact| matches!(fact, Fact::Result(_))) else {
        panic!("no result");
    };
    assert_eq!(open[end - 1], Fact::Background(vec!["Scripted".to_owned()]));
    assert!(open[end..].contains(&Fact::Background(Vec::new())));
}

#[test]
fn claude_sub_agents_do_not_answer() {
    let texts: Vec<(String, bool)> = facts(Kind::Claude, recording!("claude/subagent-background"))
        .into_iter()
        .filter_map(|fact| match fact {
            Fact::Text { text, sub } => Some((text, sub)),
            _ => None,
        })
        .collect();
    assert_eq!(texts.iter().filter(|(_, sub)| *sub).count(), 1);
    assert_eq!(texts[0], ("Delegating.".to_owned(), false));
}

#[test]
fn claude_denials() {
    let account = account(Kind::Claude, recording!("claude/tools-permission-denied"));
    assert_eq!(account.denials, ["Write", "WebFetch"]);
    let tools: Vec<Fact> = facts(Kind::Claude, recording!("claude/tools-permission-denied"))
        .into_iter()
        .filter(|fact| matches!(fact, Fact::ToolStart { .. } | Fact::ToolEnd { .. }))
        .collect();
    assert!(matches!(&tools[0], Fact::ToolStart { name, what, .. } if name == "Write" && what == "/srv/demo/out.txt"));
    assert!(matches!(&tools[1], Fact::ToolEnd { error: true, .. }));
}

#[test]
fn claude_interrupted() {
    let account = account(Kind::Claude, recording!("claude/sigint-midstream-partial"));
    let result = account.result.as_ref().unwrap();
    assert!(result.error);
    assert_eq!(result.terminal_reason.as_deref(), Some("aborted_streaming"));
    assert!(account.answer().unwrap().starts_with("The quick brown fox"));
    assert_eq!(account.usage().map(|usage| usage.input), Some(1000));
}

#[test]
fn claude_retries_and_errors() {
    let lines = recording!("claude/api-500-once");
    let retry = facts(Kind::Claude, lines)
        .into_iter()
        .find(|fact| matches!(fact, Fact::Retry { .. }));
    let Some(Fact::Retry {
        attempt: 1,
        max: Some(10),
        delay,
        because,
    }) = retry
    else {
        panic!("{retry:?}");
    };
    assert!(
        delay > 0.0 && delay < 10.0 && because.starts_with("500 "),
        "{delay} {because}"
    );

    let refused = account(Kind::Claude, recording!("claude/api-401"));
    let result = refused.result.as_ref().unwrap();
    assert_eq!(
        (result.error, result.subtype.as_str(), result.api_status),
        (true, "success", Some(401))
    );
    assert!(
        refused
            .trouble
            .as_deref()
            .unwrap()
            .starts_with("authentication_failed: ")
    );

    let spent = account(Kind::Claude, recording!("claude/max-budget"));
    let result = spent.result.as_ref().unwrap();
    assert_eq!(result.subtype, "error_max_budget_usd");
    assert_eq!(result.text.as_deref(), Some("Reached maximum budget ($0.02)"));

    let unknown = account(Kind::Claude, recording!("claude/resume-unknown"));
    assert!(unknown.answer().unwrap().starts_with("No conversation found"));
}

#[test]
fn claude_pieces_add_up_to_the_block() {
    for lines in [
        recording!("claude/partial-messages"),
        recording!("claude/v2.1.197-partial"),
    ] {
        let (mut pieces, mut blocks) = (String::new(), String::new());
        for fact in facts(Kind::Claude, lines) {
            match fact {
                Fact::Delta { text, only: false } => pieces += &text,
                Fact::Text { text, .. } => blocks += &text,
                _ => {}
            }
        }
        assert!(!blocks.is_empty());
        assert_eq!(pieces, blocks);
    }
}

#[test]
fn claude_usage_limit() {
    let line = r#"{"rate_limit_info":{"status":"rejected","resetsAt":1795218883,"rateLimitType":"five_hour"},"type":"rate_limit_event","session_id":"s"}"#;
    assert_eq!(
        facts(Kind::Claude, line),
        [Fact::Limit {
            status: "rejected".into(),
            resets_at: Some(1_795_218_883.0),
            kind: Some("five_hour".into())
        }]
    );
}

#[test]
fn claude_task_lists() {
    let lists = |lines: &str| -> Vec<Vec<(String, TaskState)>> {
        facts(Kind::Claude, lines)
            .into_iter()
            .filter_map(|fact| match fact {
                Fact::Tasks(tasks) => Some(tasks),
                _ => None,
            })
            .collect()
    };
    // A tool that does not exist makes no list.
    assert_eq!(lists(recording!("claude/tools-todowrite-unknown")).len(), 0);

    let call = |id: &str, name: &str, input: &str| {
        format!(
            r#"{{"type":"assistant","message":{{"id":"m","content":[{{"type":"tool_use","id":"{id}","name":"{name}","input":{input}}}]}}}}"#
        )
    };
    let answer = |id: &str, result: &str| {
        format!(
            r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"{id}"}}]}},"tool_use_result":{result}}}"#
        )
    };
    let all = [
        call(
            "1",
            "TodoWrite",
            r#"{"todos":[{"content":"a","status":"completed"},5,{"content":"b","status":"in_progress"}]}"#,
        ),
        answer("1", "{}"),
        call("2", "TaskCreate", r#"{"subject":"c"}"#),
        answer("2", r#"{"task":{"id":"7"}}"#),
        call("3", "TaskUpdate", r#"{"taskId":"7","status":"completed"}"#),
        answer("3", "null"),
        call("4", "TaskUpdate", r#"{"taskId":"7","status":"deleted"}"#),
        answer("4", "null"),
    ];
    let (a, b) = (("a".to_owned(), TaskState::Done), ("b".to_owned(), TaskState::Active));
    let c = |state| ("c".to_owned(), state);
    assert_eq!(
        lists(&all.join("\n")),
        [
            vec![a.clone(), b.clone()],
            vec![a.clone(), b.clone(), c(TaskState::Pending)],
            vec![a.clone(), b.clone(), c(TaskState::Done)],
            vec![a, b],
        ]
    );
}

#[test]
fn qwen_errors_are_errors() {
    let failed = account(Kind::Qwen, recording!("qwen/api-500"));
    assert!(failed.result.unwrap().error);
    let good = account(Kind::Qwen, recording!("qwen/plain-text"));
    assert_eq!(good.answer().as_deref(), Some(HELLO));
    assert!(!good.result.unwrap().error);
    let partial = account(Kind::Qwen, recording!("qwen/partial-messages"));
    assert_eq!(partial.answer().as_deref(), Some(HELLO));
}

#[test]
fn codex_turns() {
    let good = account(Kind::Codex, recording!("codex/plain-text"));
    assert_eq!(good.answer().as_deref(), Some(HELLO));
    assert_eq!(
        good.usage(),
        Some(Usage {
            input: 50,
            output: 10,
            cache_read: 50,
            cache_write: 0
        })
    );
    assert!(good.session.is_some() && !good.in_turn && !good.result.unwrap().error);

    let failed = facts(Kind::Codex, recording!("codex/api-500"));
    let retries = failed
        .iter()
        .filter(|fact| matches!(fact, Fact::Retry { max: Some(5), .. }));
    assert_eq!(retries.count(), 5);
    assert!(matches!(failed.last(), Some(Fact::Result(result)) if result.error));

    let cut = account(Kind::Codex, recording!("codex/sigint-midstream"));
    assert!(cut.in_turn && cut.result.is_none());
}

#[test]
fn codex_items() {
    let lines = r#"{"type":"item.started","item":{"id":"1","type":"command_execution","command":"ls -l","status":"in_progress"}}
{"type":"item.updated","item":{"id":"1","type":"command_execution","command":"ls -l","status":"in_progress"}}
{"type":"item.completed","item":{"id":"1","type":"command_execution","command":"ls -l","exit_code":2,"status":"failed"}}
{"type":"item.completed","item":{"id":"2","type":"file_change","changes":[{"path":"a"},{"path":"b"}],"status":"completed"}}
{"type":"item.completed","item":{"id":"3","type":"command_execution","command":"rm","status":"declined"}}
{"type":"item.updated","item":{"id":"4","type":"todo_list","items":[{"text":"x","completed":true},{"text":"y","completed":false}]}}"#;
    let start = |id: &str, name: &str, what: &str| Fact::ToolStart {
        id: id.into(),
        name: name.into(),
        what: what.into(),
    };
    let end = |id: &str, error| Fact::ToolEnd { id: id.into(), error };
    assert_eq!(
        facts(Kind::Codex, lines),
        [
            start("1", "command", "ls -l"),
            end("1", true),
            start("2", "file_change", "a, b"),
            end("2", false),
            start("3", "command", "rm"),
            Fact::Denied { tool: "command".into() },
            Fact::Tasks(vec![("x".into(), TaskState::Done), ("y".into(), TaskState::Pending)]),
        ]
    );
}

#[test]
fn gemini_answers_in_pieces_alone() {
    let good = account(Kind::Gemini, recording!("gemini/plain-text"));
    assert_eq!(good.answer().as_deref(), Some(HELLO));
    assert_eq!(good.usage().map(|usage| (usage.input, usage.output)), Some((100, 10)));
    assert!(!good.result.unwrap().error);
    let cut = account(Kind::Gemini, recording!("gemini/api-500"));
    assert!(cut.in_turn && cut.answer().is_none());
    let failed = r#"{"type":"result","status":"error","error":{"type":"X","message":"no"},"stats":{}}"#;
    let failed = account(Kind::Gemini, failed).result.unwrap();
    assert_eq!((failed.error, failed.text.as_deref()), (true, Some("no")));
}

#[test]
fn opencode_ends_with_its_last_step() {
    let good = account(Kind::Opencode, recording!("opencode/plain-text"));
    assert_eq!(good.answer().as_deref(), Some(HELLO));
    assert_eq!(good.usage().map(|usage| (usage.input, usage.output)), Some((100, 10)));
    assert_eq!(good.cost(), Some(0.0));
    assert!(!good.result.unwrap().error);
    let step =
        r#"{"type":"step_finish","sessionID":"s","part":{"reason":"tool-calls","cost":0.5,"tokens":{"input":1}}}"#;
    let tool = r#"{"type":"tool_use","sessionID":"s","part":{"callID":"c","tool":"bash","state":{"status":"error","input":{"command":"ls"}}}}"#;
    let facts = facts(Kind::Opencode, &format!("{tool}\n{step}"));
    assert!(matches!(&facts[0], Fact::ToolStart { name, what, .. } if name == "bash" && what == "ls"));
    assert!(matches!(facts[1], Fact::ToolEnd { error: true, .. }));
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::Result(_))));
    let failed = r#"{"type":"error","sessionID":"s","error":{"name":"APIError","data":{"message":"down"}}}"#;
    assert_eq!(account(Kind::Opencode, failed).answer().as_deref(), Some("down"));
}

#[test]
fn the_header_does_not_matter() {
    for (kind, lines) in RECORDINGS {
        let headed: Vec<String> = lines
            .lines()
            .map(|line| format!(r#"{{"cl":{{"stream":"s","seq":1,"ts":1.0}},{}"#, &line[1..]))
            .collect();
        assert_eq!(facts(kind, &headed.join("\n")), facts(kind, lines));
    }
}

/// The line with a blank before it, which is read one member after the other by a parser.
fn slowly(line: &[u8]) -> Vec<u8> {
    [b" ", line].concat()
}

#[test]
fn quick_and_slow_read_the_same() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/recordings");
    let mut seen = 0;
    for kind in [Kind::Claude, Kind::Qwen] {
        for file in folder.join(kind.as_str()).read_dir().unwrap() {
            let path = file.unwrap().path();
            let [mut quick, mut checked, mut slow] = [(); 3].map(|()| Reader::new(kind));
            for line in std::fs::read(&path).unwrap().split(|&byte| byte == b'\n') {
                let [mut first, mut second, mut third] = [(); 3].map(|()| Vec::new());
                quick.read(line, &mut first);
                assert_eq!(checked.object(line, &mut second), crate::line::object(line));
                slow.read(&slowly(line), &mut third);
                assert_eq!(first, third, "{}", path.display());
                assert_eq!(second, third, "{}", path.display());
                seen += third.len();
            }
        }
    }
    assert!(seen > 500, "{seen}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Members of any type, and lines of any form, are read without a panic, and cost no more than themselves.
    #[test]
    fn nothing_panics(index in 0..RECORDINGS.len(), seed in prop::collection::vec((0usize..4000, any::<u8>()), 1..30), value in 0usize..8) {
        const VALUES: [&str; 8] = ["null", "5", "-1", "1e400", "[]", "{}", "\"x\"", "true"];
        for kind in Kind::ALL {
            let (mut reader, mut slow) = (Reader::new(kind), Reader::new(kind));
            let mut account = Account::default();
            let mut facts = Vec::new();
            for line in RECORDINGS[index].1.lines() {
                let mut bytes = line.as_bytes().to_vec();
                for (at, byte) in &seed {
                    let at = at % bytes.len();
                    // Either a byte is spoilt, or a member's value becomes another.
                    if byte % 2 == 0 {
                        bytes[at] = *byte;
                    } else if let Some(colon) = bytes[at..].iter().position(|b| *b == b':') {
                        let from = at + colon + 1;
                        let to = bytes[from..].iter().position(|b| *b == b',').map_or(bytes.len(), |to| from + to);
                        bytes.splice(from..to, VALUES[value].bytes());
                    }
                }
                let known = facts.len();
                reader.read(&bytes, &mut facts);
                let mut again = Vec::new();
                slow.read(&slowly(&bytes), &mut again);
                prop_assert_eq!(&facts[known..], again);
                let _ = Kind::of_line(&bytes);
            }
            facts.iter().for_each(|fact| account.add(fact));
            let _ = (account.answer(), account.usage(), account.cost());
        }
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut reader = Reader::new(Kind::Claude);
    let mut facts = Vec::new();
    let long = "x".repeat(100_000);
    for number in 0..1500 {
        facts.clear();
        let line = format!(
            r#"{{"type":"system","subtype":"task_started","is_backgrounded":true,"task_id":"{number}{long}","description":"{long}"}}"#
        );
        reader.read(line.as_bytes(), &mut facts);
    }
    let line = r#"{"type":"system","subtype":"task_updated","task_id":"0","status":"completed"}"#;
    reader.read(line.replace(r#""0""#, &format!(r#""0{long}""#)).as_bytes(), &mut facts);
    let Some(Fact::Background(open)) = facts.last() else {
        panic!("{facts:?}");
    };
    assert_eq!(open.len(), 999);
    assert!(open.iter().all(|what| what.len() <= 1000));
    facts.clear();
    let call = format!(
        r#"{{"type":"assistant","message":{{"id":"{long}","content":[{{"type":"tool_use","id":"{long}","name":"{long}","input":{{"command":"{long}"}}}}],"usage":{{"input_tokens":1,"output_tokens":1}}}}}}"#
    );
    reader.read(call.as_bytes(), &mut facts);
    assert!(facts.len() >= 2);
    assert!(format!("{facts:?}").len() < 10_000);
    let mut codex = Reader::new(Kind::Codex);
    for number in 0..1500 {
        let line = format!(
            r#"{{"type":"item.started","item":{{"id":"{number}{long}","type":"command_execution","command":"x"}}}}"#
        );
        codex.read(line.as_bytes(), &mut facts);
    }
    assert!(format!("{codex:?}").len() < 2_000_000);
}
