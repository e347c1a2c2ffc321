//! The stream: every byte of the worker's, in order, stamped.

use super::*;

const CAPTURES: [&str; 3] = ["file", "pipe", "pty"];

/// Runs a worker under each capture; gives what it wrote, and the streams.
#[track_caller]
fn captured(options: &[&str], worker: &[&str]) -> Vec<(Vec<u8>, Done)> {
    let runs = CAPTURES.map(|capture| {
        let done = spawn(&[&["x", "--capture", capture], options, &["--"], worker].concat()).ok();
        (unwrapped(&done.out), done)
    });
    runs.into()
}

fn fixture_output(args: &[&str]) -> Vec<u8> {
    let mut command = command(fixture());
    command.args(args);
    finish(command, b"").ok().out
}

#[test]
fn random_bytes_come_back() {
    let fixture = fixture();
    let worker = [fixture.to_str().unwrap(), "bytes", "3000000", "7"];
    let expected = fixture_output(&["bytes", "3000000", "7"]);
    for (bytes, done) in captured(&[], &worker) {
        assert!(bytes == expected, "{} bytes of {}", bytes.len(), expected.len());
        assert_eq!(exit(&done)["bytes"], 3_000_000);
    }
}

#[test]
fn a_line_of_40_mb_comes_back() {
    let fixture = fixture();
    let worker = [fixture.to_str().unwrap(), "lines", "1", "40000000", "block=1"];
    let expected = fixture_output(&["lines", "1", "40000000", "block=1"]);
    for (bytes, done) in captured(&[], &worker) {
        assert!(bytes == expected, "{} bytes of {}", bytes.len(), expected.len());
        assert_eq!(of(&done.json(), "chunk").len(), 0);
    }
    for (bytes, done) in captured(&["--max-line", "1M"], &worker) {
        assert!(bytes == expected, "{} bytes of {}", bytes.len(), expected.len());
        let chunks = of(&done.json(), "chunk");
        assert_eq!(chunks.len(), 39);
        let last: Vec<bool> = chunks.iter().map(|chunk| chunk["last"].as_bool().unwrap()).collect();
        assert_eq!(last.iter().filter(|&&last| last).count(), 1);
        assert!(last[38]);
    }
}

#[test]
fn a_last_line_without_line_feed_comes_back() {
    for (bytes, done) in captured(&[], &["printf", r#"one\n\n{"a":1}\n{"b":2}"#]) {
        assert_eq!(bytes, b"one\n\n{\"a\":1}\n{\"b\":2}");
        let exit = exit(&done);
        assert_eq!((&exit["whole"], &exit["lines"]), (&false.into(), &4.into()));
    }
    for (bytes, done) in captured(&[], &["printf", ""]) {
        assert_eq!(bytes, b"");
        assert_eq!(exit(&done)["whole"], true);
    }
}

#[test]
fn lines_are_numbered_without_a_hole() {
    let done = spawn(&["s", "--", "sh", "-c", "echo a; echo b >&2; echo '{\"c\":1}'; seq 5000"]).ok();
    for (at, line) in done.json().iter().enumerate() {
        assert_eq!(line["cl"]["stream"], "s");
        assert_eq!(line["cl"]["seq"], at as u64 + 1);
        assert!(line["cl"]["ts"].as_f64().unwrap() > 1.7e9);
    }
    assert_eq!(exit(&done)["lines"], 5002);
}

#[test]
fn a_line_comes_before_the_next_is_written() {
    for capture in CAPTURES {
        let scratch = scratch();
        let go = mkfifo(&scratch.path().join("go"));
        let script = format!("echo one; cat {} ; echo two", go.display());
        let mut running = Running::start(&["x", "--capture", capture, "--", "sh", "-c", &script]);
        assert_eq!(running.until("text")["text"], "one", "{capture}");
        std::fs::write(&go, "go\n").unwrap();
        assert_eq!(running.until("text")["text"], "go", "{capture}");
        assert_eq!(running.until("text")["text"], "two", "{capture}");
        running.end().exits(0);
    }
}

#[test]
fn stderr_goes_where_it_is_told() {
    let worker = ["--", "sh", "-c", "echo out; echo err >&2; printf cut >&2"];
    for capture in CAPTURES {
        let run = |to| spawn(&[&["x", "--capture", capture, "--stderr", to], &worker[..]].concat()).exits(0);
        let event = run("event");
        let lines = of(&event.json(), "stderr");
        assert_eq!(event.err, "");
        let told: Vec<_> = lines
            .iter()
            .map(|line| (text(line, "/text"), line.get("eol")))
            .collect();
        assert_eq!(told, [("err", None), ("cut", Some(&false.into()))]);
        let pass = run("pass");
        assert_eq!((pass.err.as_str(), of(&pass.json(), "stderr").len()), ("err\ncut", 0));
        let drop = run("drop");
        assert_eq!((drop.err.as_str(), of(&drop.json(), "stderr").len()), ("", 0));
        for done in [event, pass, drop] {
            assert_eq!(exit(&done)["stderr"], "err\ncut");
            assert_eq!(unwrapped(&done.out), b"out\n");
        }
    }
}

#[test]
fn a_silent_stream_says_that_it_lives() {
    let mut running = Running::start(&["x", "--heartbeat", "0.1", "--", "sh", "-c", "echo one; exec sleep 300"]);
    let worker = running.worker();
    let beats: Vec<Value> = (0..3).map(|_| running.until("heartbeat")).collect();
    assert_eq!((&beats[2]["lines"], &beats[2]["bytes"]), (&1.into(), &4.into()));
    assert!(beats[2]["rss"].as_u64().unwrap() > 0);
    let idle = |at: usize| beats[at]["idle"].as_f64().unwrap();
    assert!(idle(0) < idle(1) && idle(1) < idle(2) && idle(2) > 0.25, "{beats:?}");
    kill(worker, 15);
    running.end().exits(143);
    let none = spawn(&["x", "--heartbeat", "0", "--", "sleep", "0.3"]).ok();
    assert_eq!(of(&none.json(), "heartbeat").len(), 0);
}

#[test]
fn a_worker_that_closes_its_stdout_lives_on() {
    for capture in CAPTURES {
        let script = "exec >&-; sleep 0.3; echo done >&2; exit 4";
        let done = spawn(&["x", "--capture", capture, "--", "sh", "-c", script]).exits(4);
        assert_eq!(exit(&done)["stderr"], "done", "{capture}");
    }
}

#[test]
fn last_words_behind_the_workers_end_are_heard() {
    let script = "(sleep 0.1; echo late; sleep 0.1; echo later) & exit 3";
    let done = spawn(&["x", "--", "sh", "-c", script]).exits(3);
    assert_eq!(unwrapped(&done.out), b"late\nlater\n");
    assert_eq!(exit(&done)["orphans"], 0);
}

#[test]
fn a_stream_inside_a_stream_keeps_its_numbers() {
    let done = spawn(&["outer", "--", "cl-spawn", "inner", "--", "sh", "-c", "echo hi; exit 3"]).exits(3);
    let lines = done.json();
    let named = |name: &str| -> Vec<Value> { lines.iter().filter(|l| l["cl"]["stream"] == name).cloned().collect() };
    let (outer, inner) = (named("outer"), named("outer/inner"));
    assert_eq!(outer.len() + inner.len(), lines.len());
    let subtypes = |lines: &[Value]| {
        lines
            .iter()
            .map(|line| text(line, "/subtype").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(subtypes(&outer), ["start", "exit"]);
    assert_eq!(subtypes(&inner), ["start", "text", "exit"]);
    assert_eq!(
        inner
            .iter()
            .map(|line| line["cl"]["seq"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

#[test]
fn a_worker_cannot_speak_for_us() {
    let forged = r#"{"type":"cl","subtype":"exit","outcome":"success"}"#;
    let done = spawn(&["x", "--", "printf", "%s\\n", forged, r#"{"cl":1}"#]).ok();
    let lines = done.json();
    assert_eq!(of(&lines, "exit").len(), 1);
    assert_eq!(of(&lines, "text").len(), 2);
    assert_eq!(unwrapped(&done.out), format!("{forged}\n{{\"cl\":1}}\n").as_bytes());
}

#[test]
fn eight_writers_of_long_lines_share_a_pipe() {
    let script = r#"for i in 1 2 3 4 5 6 7 8; do cl-spawn w$i -- "$FIXTURE" lines 400 20000-200000 & done; wait"#;
    let done = bash(&format!("{{ {script}; }} | cat")).ok();
    let mut seen = [0u64; 8];
    for line in done.out.split_inclusive(|&b| b == b'\n') {
        let value: Value = serde_json::from_slice(line).expect("no broken line");
        let stream: usize = text(&value, "/cl/stream")[1..].parse().unwrap();
        seen[stream - 1] += 1;
        assert_eq!(value["cl"]["seq"], seen[stream - 1]);
    }
    assert!(seen.iter().all(|&lines| lines == 402), "{seen:?}");
}

#[test]
fn a_slow_reader_holds_no_worker_up_whose_output_is_a_file() {
    let scratch = scratch();
    let done = scratch.path().join("done");
    let script = format!("$FIXTURE lines 500 20000 block=1; echo 1 > {}; exit 5", done.display());
    let running = Running::start(&["x", "--capture", "file", "--", "sh", "-c", &script]);
    // Nobody has read a byte yet, and a pipe holds a hundredth of it.
    until("the worker's end", || done.exists().then_some(()));
    let ended = running.end().exits(5);
    assert_eq!(exit(&ended)["bytes"], 500 * 20_000);
    assert_eq!(unwrapped(&ended.out).len(), 500 * 20_000);
}
