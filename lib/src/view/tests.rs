//! The picture and the log, on frames.

use super::*;
use crate::line::Ts;
use crate::state::State;
use crate::sys::terminal::Size;
use proptest::prelude::*;

const T0: u64 = 1_763_680_000_000_000;

fn at(seconds: f64) -> Ts {
    Ts(T0 + (seconds * 1e6) as u64)
}

fn put(state: &mut State, stream: &str, seq: u64, seconds: f64, rest: &str) -> Option<usize> {
    let ts = at(seconds).seconds();
    state.line(format!(r#"{{"cl":{{"stream":"{stream}","seq":{seq},"ts":{ts:.6}}},{rest}}}"#).as_bytes())
}

fn start(state: &mut State, stream: &str, agent: &str) {
    let rest = format!(r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"{agent}","pid":1"#);
    put(state, stream, 1, 0.0, &rest);
}

fn text(state: &mut State, stream: &str, seq: u64, seconds: f64, text: &str) {
    let text = serde_json::to_string(text).unwrap();
    let rest = format!(r#""type":"cl","subtype":"text","text":{text}"#);
    put(state, stream, seq, seconds, &rest);
}

fn exit(state: &mut State, stream: &str, seq: u64, seconds: f64, outcome: &str, because: &str) {
    let rest = format!(
        r#""type":"cl","subtype":"exit","outcome":"{outcome}","because":"{because}","duration":{seconds},"cost_usd":0.0123,"usage":{{"input":1000,"output":234}}"#
    );
    put(state, stream, seq, seconds, &rest);
}

/// One that works, one with a tool, one that has succeeded, one that has failed.
fn run() -> State {
    let mut state = State::default();
    start(&mut state, "build", "plain");
    start(&mut state, "main", "claude");
    start(&mut state, "done", "plain");
    start(&mut state, "bad", "plain");
    for step in 1..=3 {
        text(
            &mut state,
            "build",
            1 + step,
            1.0,
            &format!("[{step}/12] cc -c file{step}.c"),
        );
    }
    let tool = r#""type":"assistant","message":{"id":"m1","content":[{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"cargo test"}}]}"#;
    put(&mut state, "main", 2, 1.5, tool);
    text(&mut state, "done", 2, 0.5, "all\nis\nwell");
    exit(&mut state, "done", 3, 2.0, "success", "exit 0");
    exit(&mut state, "bad", 2, 0.25, "failed", "exit 7");
    state
}

fn look() -> Look {
    Look {
        color: false,
        messages: 2,
        only: Vec::new(),
        zone: TimeZone::UTC,
    }
}

fn frame(state: &State, seconds: f64, columns: usize, rows: usize) -> String {
    let size = Size { columns, rows };
    let rows = picture(state, at(seconds), size, &look());
    rows.iter()
        .map(|row| format!("{}\n", row.as_str().trim_end()))
        .collect()
}

#[test]
fn with_room_for_all() {
    assert_eq!(
        frame(&run(), 3.0, 110, 30),
        "\
● build  plain     3s  3 lines                    ██░░░░░░  3/12  writing
  [2/12] cc -c file2.c
  [3/12] cc -c file3.c
● main   claude    3s   1 line                                    Bash: cargo test
✓ done   plain   2.0s   1 line  1.2k tok  $0.012                  success
  is
  well
✗ bad    plain   0.2s  0 lines  1.2k tok  $0.012                  failed: exit 7
4 streams: 2 running, 1 success, 1 failed · 3s · 5 lines · 2.5k tok · $0.025
"
    );
}

#[test]
fn what_matters_least_goes_first() {
    assert_eq!(
        frame(&run(), 15.0, 60, 6),
        "\
● build   15s  ██░░░░░░  3/12  writing, silent for 14s
  [3/12] cc -c file3.c
● main    15s                  Bash: cargo test, silent for…
✓ done   2.0s                  success
✗ bad    0.2s                  failed: exit 7
4 streams: 2 running, 1 success, 1 failed · 15s · 5 lines
"
    );
    assert_eq!(
        frame(&run(), 3.0, 40, 5),
        "\
● build    3s  3/12  writing
● main     3s        Bash: cargo test
✓ done   2.0s        success
✗ bad    0.2s        failed: exit 7
4 streams: 2 running, 1 success, 1 fail…
"
    );
    assert_eq!(
        frame(&run(), 3.0, 40, 4),
        "\
● build  3s  3/12  writing
● main   3s        Bash: cargo test
… 2 more: 1 success, 1 failed
4 streams: 2 running, 1 success, 1 fail…
"
    );
    assert_eq!(frame(&run(), 3.0, 40, 2), "4 streams: 2 running, 1 success, 1 fail…\n");
    assert_eq!(frame(&run(), 3.0, 10, 1), "4 streams…\n");
    assert_eq!(frame(&State::default(), 3.0, 40, 4), "no stream yet\n");
}

#[test]
fn chosen_streams() {
    let mut look = look();
    look.only = vec!["d*".parse().unwrap(), "bad".parse().unwrap()];
    let state = run();
    let size = Size { columns: 80, rows: 20 };
    let rows = picture(&state, at(3.0), size, &look);
    let firsts: Vec<&str> = rows.iter().filter_map(|row| row.as_str().split(' ').nth(1)).collect();
    assert_eq!(firsts, ["done", "", "", "bad", "streams:"]);
    assert!(look.all_ended(&state));
    look.only.clear();
    assert!(!look.all_ended(&state));
    look.only.push("none".parse().unwrap());
    assert!(!look.all_ended(&state));
}

#[test]
fn changes_as_lines() {
    let mut state = State::default();
    let mut changes = Changes::default();
    let zone = TimeZone::UTC;
    let mut said = Vec::new();
    let lines = [
        r#"1,"ts":1763680000.0},"type":"cl","subtype":"start","v":1,"attempt":1,"agent":"claude","pid":1}"#,
        r#"2,"ts":1763680001.0},"type":"assistant","message":{"id":"m","content":[{"type":"text","text":"hi"}]}}"#,
        r#"3,"ts":1763680002.0},"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":4000,"error_status":529,"error":"overlo\u001b[31maded"}"#,
        r#"4,"ts":1763680006.0},"type":"assistant","message":{"id":"n","content":[{"type":"text","text":"ho"}]}}"#,
        r#"5,"ts":1763680007.0},"type":"cl","subtype":"retry","attempt":2,"of":3,"delay":2.0,"because":"unavailable"}"#,
        r#"6,"ts":1763680009.0},"type":"cl","subtype":"start","v":1,"attempt":2,"agent":"claude","pid":2}"#,
        r#"7,"ts":1763680010.0},"type":"cl","subtype":"stop","because":"timeout","with":["INT"]}"#,
        r#"9,"ts":1763680010.5},"type":"cl","subtype":"exit","outcome":"timeout","because":"after 10s","duration":10.5,"cost_usd":0.5}"#,
    ];
    for line in lines {
        let place = state
            .line(format!(r#"{{"cl":{{"stream":"a","seq":{line}"#).as_bytes())
            .unwrap();
        let stream = &state.streams()[place];
        if changes.look(place, stream, false) {
            said.push(change(stream, stream.last_seen, &zone));
        }
    }
    assert_eq!(
        said,
        [
            "23:06:40 a: running, claude",
            "23:06:42 a: retry 1/10 in 4s: 529 overloaded",
            "23:06:46 a: running, claude",
            "23:06:47 a: retry 2 of 3 in 2s: unavailable",
            "23:06:49 a: running, claude, attempt 2",
            "23:06:50 a: stopping: timeout",
            "23:06:50 a: timeout: after 10s (10s, 3 lines, 2 attempts, $0.500, 1 line lost)",
        ]
    );
    assert_eq!(alive(look().streams(&state), at(100.0), &zone), None);
    assert_eq!(
        alive(look().streams(&run()), at(3.0), &zone).as_deref(),
        Some("23:06:43 still running: build (3s, 3 lines, 3/12, writing), main (3s, 1 line, Bash: cargo test)")
    );
}

/// What the log says of these lines of one stream.
fn told(lines: &[(f64, &str)]) -> (State, Vec<String>) {
    let (mut state, mut changes, mut said) = (State::default(), Changes::default(), Vec::new());
    for (seq, (seconds, rest)) in (1..).zip(lines) {
        let place = put(&mut state, "a", seq, *seconds, rest).unwrap();
        let stream = &state.streams()[place];
        if changes.look(place, stream, false) {
            said.push(change(stream, stream.last_seen, &TimeZone::UTC));
        }
    }
    (state, said)
}

#[test]
fn turns_of_a_kept_worker() {
    let init = r#""type":"system","subtype":"init","session_id":"s""#;
    let lines = [
        (
            0.0,
            r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"claude","pid":1"#,
        ),
        (1.0, init),
        (
            2.0,
            r#""type":"cl","subtype":"turn","outcome":"success","duration":2.0,"cost_usd":0.25,"usage":{"output":7}"#,
        ),
        (60.0, init),
        (
            62.0,
            r#""type":"cl","subtype":"turn","outcome":"error","because":"529","duration":2.0"#,
        ),
    ];
    let (state, said) = told(&lines);
    assert_eq!(
        said,
        [
            "23:06:40 a: running, claude",
            "23:06:42 a: turn 1 ended: success (2.0s, 7 tok, $0.250)",
            "23:07:40 a: running, claude, turn 2",
            "23:07:42 a: turn 2 ended: error: 529 (2.0s)",
        ]
    );
    // Nobody is silent who waits for us.
    assert_eq!(
        frame(&state, 300.0, 100, 9),
        "◦ a  claude  5m00s  2 lines  turn 2: error: 529, waiting for the next prompt\n\
         1 stream: 1 idle · 5m00s · 2 lines\n"
    );
    let object = object(&state.streams()[0], at(300.0));
    assert_eq!(
        (&object["state"], &object["doing"]["what"]),
        (&"idle".into(), &"prompt".into())
    );
    assert_eq!(object["turn"]["number"], 2);
}

#[test]
fn waiting_for_a_limit_and_for_another_attempt() {
    // 1763680000 is 23:06:40.
    let lines = [
        (
            0.0,
            r#""type":"cl","subtype":"limit","status":"held","resets_at":1763680100.0"#,
        ),
        (
            100.0,
            r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"claude","pid":1"#,
        ),
        (
            101.0,
            r#""type":"cl","subtype":"retry","attempt":2,"of":3,"delay":4.0,"because":"unavailable","next":"codex""#,
        ),
        (
            105.0,
            r#""type":"cl","subtype":"start","v":1,"attempt":2,"agent":"codex","pid":1"#,
        ),
        (
            106.0,
            r#""type":"cl","subtype":"limit","status":"held","resets_at":1763780000.0"#,
        ),
        (107.0, r#""type":"cl","subtype":"limit","status":"held""#),
    ];
    let (state, said) = told(&lines);
    assert_eq!(
        said,
        [
            "23:06:40 a: waits for the limit until 23:08",
            "23:08:20 a: running, claude",
            "23:08:21 a: retry 2 of 3 in 4s: unavailable, by codex",
            "23:08:25 a: running, codex, attempt 2",
            "23:08:26 a: waits for the limit until Nov 22 02:53",
            "23:08:27 a: waits for the limit",
        ]
    );
    assert_eq!(object(&state.streams()[0], at(107.0))["state"], "parked");
}

#[test]
fn an_agent_that_is_not_known_is_not_named() {
    let lines = [
        (
            0.0,
            r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"auto","pid":1"#,
        ),
        (1.0, r#""type":"cl","subtype":"text","text":"Warning""#),
        (2.0, r#""type":"thread.started","thread_id":"x""#),
    ];
    let (state, said) = told(&lines);
    assert_eq!(said, ["23:06:40 a: running", "23:06:42 a: running, codex"]);
    assert_eq!(object(&state.streams()[0], at(3.0))["agent"], "codex");
    let (state, _) = told(&lines[..2]);
    assert!(object(&state.streams()[0], at(3.0)).get("agent").is_none());
    assert_eq!(frame(&state, 3.0, 40, 1), "1 stream: 1 running · 3s · 1 line\n");
    assert!(!frame(&state, 3.0, 40, 5).contains("plain"));
}

#[test]
fn what_a_program_is_told() {
    let state = run();
    let build = object(state.get("build").unwrap(), at(3.0));
    assert_eq!(build["state"], "running");
    assert_eq!(build["progress"]["done"], 3);
    assert_eq!(build["progress"]["fraction"], 0.25);
    assert_eq!(build["elapsed"], 3.0);
    let main = object(state.get("main").unwrap(), at(3.0));
    assert_eq!(
        (&main["doing"]["tool"], &main["doing"]["on"]),
        (&"Bash".into(), &"cargo test".into())
    );
    let bad = object(state.get("bad").unwrap(), at(3.0));
    assert_eq!(
        (&bad["state"], &bad["outcome"], &bad["because"]),
        (&"ended".into(), &"failed".into(), &"exit 7".into())
    );
    assert!(bad.get("doing").is_none());
}

#[test]
fn the_finer_state_is_for_programs() {
    let mut state = State::default();
    let (mut coarse, mut fine) = (Changes::default(), Changes::default());
    start(&mut state, "a", "plain");
    assert!(coarse.look(0, &state.streams()[0], false) && fine.look(0, &state.streams()[0], true));
    text(&mut state, "a", 2, 1.0, "10%");
    assert!(!coarse.look(0, &state.streams()[0], false) && fine.look(0, &state.streams()[0], true));
    assert!(!fine.look(0, &state.streams()[0], true));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_fits_any_room(columns in 1usize..130, rows in 1usize..40, streams in 0usize..12, said in prop::collection::vec("\\PC{0,60}|[\u{0}-\u{9f}]{0,20}", 0..20)) {
        let mut state = State::default();
        for stream in 0..streams {
            let name = format!("stream-{}", "x".repeat(stream * 3));
            start(&mut state, &name, "plain");
            for (seq, line) in said.iter().enumerate() {
                text(&mut state, &name, seq as u64 + 2, seq as f64, line);
            }
            if stream % 3 == 0 {
                exit(&mut state, &name, 100, 30.0, ["success", "failed"][stream % 2], "exit 1");
            }
        }
        let drawn = picture(&state, at(40.0), Size { columns, rows }, &look());
        prop_assert!(drawn.len() <= rows, "{} rows", drawn.len());
        for row in &drawn {
            prop_assert!(width(row.as_str()) <= columns);
            prop_assert!(!row.as_str().chars().any(char::is_control));
        }
    }
}
