//! The turns of kept workers.

use super::{Waiting, append, ends, finish_without_stdin, line, start, verdict};
use crate::harness::*;

/// A turn of a stream.
fn turn(stream: &str, seq: u64, outcome: &str, text: &str) -> String {
    let event = format!(r#""type":"cl","subtype":"turn","outcome":"{outcome}","because":"so it is","text":"{text}""#);
    line(stream, seq, &event)
}

#[test]
fn the_first_that_comes() {
    let done = Waiting::new(&["--turn", "-o", "text"])
        .give(&(start("a") + &turn("a", 2, "success", "one")))
        .done()
        .ok();
    assert_eq!(done.text(), "one\n");
    // Of each of them, and what comes later is no part of it.
    let both = [
        start("a"),
        start("b"),
        turn("a", 2, "success", "one"),
        line("a", 3, r#""type":"cl","subtype":"heartbeat","idle":1.0"#),
        turn("a", 4, "error", "two"),
        turn("b", 2, "success", "eins"),
    ]
    .concat();
    let done = Waiting::new(&["--turn", "--expect", "b,a"]).give(&both).done().ok();
    let last = verdict(&done);
    assert_eq!(text(&last, "/text"), "eins\n\none");
    assert_eq!(
        (text(&last, "/streams/a/outcome"), text(&last, "/streams/a/text")),
        ("success", "one")
    );
    assert!(last.pointer("/streams/a/subtype").is_none());
}

#[test]
fn a_turn_of_that_number() {
    let three = [
        start("a"),
        turn("a", 2, "success", "one"),
        turn("a", 3, "success", "two"),
        turn("a", 4, "error", "three"),
    ]
    .concat();
    for (number, answer) in [("1", "one\n"), ("2", "two\n")] {
        let args = [&format!("--turn={number}"), "-o", "text"];
        assert_eq!(Waiting::new(&args).give(&three).done().ok().text(), answer);
    }
    let done = Waiting::new(&["--turn=3"]).give(&three).done().exits(1);
    assert_eq!(done.err, "cl-wait: a's turn ended as error: so it is\n");
    let args = ["--turn=4", "-t", "50ms", "-o", "none"];
    let done = Waiting::new(&args).give(&three).done().exits(124);
    assert_eq!(done.err, "cl-wait: time is up; not there yet: a\n");
}

#[test]
fn an_end_before_the_turn() {
    let one = start("a") + &turn("a", 2, "success", "one");
    let done = Waiting::new(&["--turn=2"])
        .give(&(one.clone() + &ends("a", "killed", "")))
        .done()
        .exits(1);
    assert_eq!(done.err, "cl-wait: a ended as killed: so it is\n");
    Waiting::new(&["--turn=2"])
        .give(&(one.clone() + &ends("a", "success", "")))
        .done()
        .ok();
    // No more comes.
    let done = feed("cl-wait", &["--turn=2"], one.as_bytes()).exits(1);
    assert_eq!(done.err, "cl-wait: a stopped without telling its end\n");
    // Another attempt of the same worker goes on with the numbers.
    let again = line(
        "a",
        4,
        r#""type":"cl","subtype":"start","v":1,"attempt":2,"agent":"claude","pid":2"#,
    );
    let done = Waiting::new(&["--turn=2", "-o", "text"])
        .give(&(one + &again + &turn("a", 5, "success", "two")))
        .done()
        .ok();
    assert_eq!(done.text(), "two\n");
}

#[test]
fn exit_as_a_turn_did() {
    let stream = start("a") + &turn("a", 2, "limit", "no");
    Waiting::new(&["--turn", "--exit-code-from", "a"])
        .give(&stream)
        .done()
        .exits(75);
}

#[test]
fn in_a_run_folder_it_is_one_to_come() {
    let dir = scratch();
    let run = dir.path().to_str().expect("UTF-8");
    let path = dir.path().join("a.ndjson");
    append(&path, &(start("a") + &turn("a", 2, "success", "one")));
    // What is there already is met at once by its number only.
    assert_eq!(
        finish_without_stdin(&["--turn=1", "-o", "text", run]).ok().text(),
        "one\n"
    );
    finish_without_stdin(&["--turn", "-t", "50ms", run]).exits(124);
    for target in [run, path.to_str().expect("UTF-8")] {
        let mut waiting = Waiting::new(&["--turn", "--partial", "0", target]);
        // It has read what was there.
        assert_eq!(text(&waiting.next_line(), "/streams/a/phase"), "running");
        append(&path, &turn("a", 3, "success", "two"));
        let done = waiting.done().ok();
        assert_eq!(text(&verdict(&done), "/text"), "two", "{target}");
    }
    // One whose stream appears later is one to come, too.
    let mut waiting = Waiting::new(&["--turn", "--partial", "0", "--expect", "b", run]);
    assert_eq!(text(&waiting.next_line(), "/streams/a/phase"), "running");
    append(
        &dir.path().join("b.ndjson"),
        &(start("b") + &turn("b", 2, "success", "eins")),
    );
    assert_eq!(text(&verdict(&waiting.done().ok()), "/text"), "eins");
}

/// Answers each line of its stdin with a turn, as claude does.
const KEPT: &str = r#"#!/bin/bash
while read -r _; do
  n=$((n + 1))
  echo '{"type":"system","subtype":"init","session_id":"s","model":"m"}'
  echo '{"type":"result","subtype":"success","session_id":"s","is_error":false,"result":"answer '$n'"}'
done
"#;

#[test]
fn questions_to_a_worker_that_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let dir = scratch();
    let claude = dir.path().join("claude");
    std::fs::write(&claude, KEPT).expect("writes");
    std::fs::set_permissions(&claude, std::fs::Permissions::from_mode(0o700)).expect("is ours");
    let script = r#"cd "$DIR"; PATH="$DIR:$PATH"; mkfifo asks; mkdir run
        cl-spawn main --keep --stdin asks | cl-tee --split run | cl-progress --progress plain >/dev/null 2>log &
        exec 3>asks
        for n in 1 2 3; do echo "question $n" >&3; cl-wait --turn=$n --expect main -o text run; done
        cl-progress --once run | grep -c 'turn 3: success'
        exec 3>&-; wait
        cl-wait --turn=2 -o text run; cl-wait -o text run
        sed -n 's/.*turn \([0-9]\) ended: \([a-z]*\).*/\1 \2/p' log"#;
    let mut command = command("bash");
    command.env("DIR", dir.path()).args(["-c", script]);
    let done = finish(command, b"").ok();
    assert_eq!(
        done.text(),
        "answer 1\nanswer 2\nanswer 3\n1\nanswer 2\nanswer 3\n1 success\n2 success\n3 success\n"
    );
}
