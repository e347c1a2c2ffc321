//! Another attempt, where one helps.

use super::agent::{claudes, with};
use super::*;

/// Asks the claude-like worker with these options.
fn ask(options: &[&str], directive: &str) -> Done {
    let prompt = format!("please @@as {directive}@@");
    finish(
        with(
            &claudes(),
            &[&["x", "--backoff", "0.01"], options, &[prompt.as_str()]].concat(),
        ),
        b"",
    )
}

fn outcomes(done: &Done) -> (String, u64, usize) {
    let exit = exit(done);
    let retries = of(&done.json(), "retry").len();
    (
        text(&exit, "/outcome").to_owned(),
        exit["attempts"].as_u64().unwrap(),
        retries,
    )
}

#[test]
fn a_crash_is_tried_again() {
    let script = "echo $CL_ATTEMPT; test $CL_ATTEMPT = 3";
    let done = spawn(&["x", "-r", "5", "--backoff", "0.01", "--", "sh", "-c", script]).ok();
    let lines = done.json();
    let starts: Vec<_> = of(&lines, "start")
        .iter()
        .map(|start| start["attempt"].clone())
        .collect();
    assert_eq!(starts, [1, 2, 3]);
    let retries = of(&lines, "retry");
    assert_eq!((&retries[0]["attempt"], &retries[0]["of"]), (&2.into(), &6.into()));
    assert_eq!(retries[0]["because"], "failed: exit 1");
    let exit = exit(&done);
    assert_eq!((&exit["attempts"], &exit["outcome"]), (&3.into(), &"success".into()));
    assert_eq!((&exit["lines"], &exit["bytes"]), (&3.into(), &6.into()));
    assert_eq!(exit["warnings"][1], "attempt 2 was no success: failed: exit 1");
    assert_eq!(unwrapped(&done.out), b"1\n2\n3\n");
    let seqs: Vec<_> = lines.iter().map(|line| line["cl"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=lines.len() as u64).collect::<Vec<_>>());
}

#[test]
fn without_retries_the_first_attempt_is_the_last() {
    let done = spawn(&["x", "--", "false"]).exits(1);
    assert_eq!(outcomes(&done), ("failed".into(), 1, 0));
}

#[test]
fn the_last_attempt_tells_the_exit_code() {
    let done = spawn(&[
        "x",
        "-r",
        "1",
        "--backoff",
        "0.01",
        "--",
        "sh",
        "-c",
        "exit $((6 + CL_ATTEMPT))",
    ])
    .exits(8);
    assert_eq!(outcomes(&done), ("failed".into(), 2, 1));
}

#[test]
fn what_would_be_the_same_again_is_not_tried() {
    for (directive, code, outcome) in [
        ("result=error", 1, "error"),
        ("result=max_turns", 1, "exhausted"),
        ("n=1", 0, "success"),
    ] {
        let done = ask(&["-r", "3"], directive).exits(code);
        assert_eq!(outcomes(&done), (outcome.into(), 1, 0), "{directive}");
    }
    let done = spawn(&["x", "-r", "3", "--", "/nonexistent/program"]).exits(127);
    assert_eq!(outcomes(&done), ("unstartable".into(), 1, 0));
}

#[test]
fn what_may_be_better_next_time_is_tried() {
    for directive in [
        "result=none on=1",
        "torn=1 on=1",
        "signal=9 result=none on=1",
        "exit=3 on=1",
    ] {
        let done = ask(&["-r", "3"], directive).ok();
        assert_eq!(outcomes(&done), ("success".into(), 2, 1), "{directive}");
        assert_eq!(exit(&done)["text"], "Part 0 xxxxx");
    }
    let done = ask(&["-r", "1", "--idle", "0.3"], "hang=1 on=1").ok();
    assert_eq!(outcomes(&done), ("success".into(), 2, 1));
    assert_eq!(of(&done.json(), "stop")[0]["because"], "idle");
}

#[test]
fn what_was_used_is_added_up() {
    let done = ask(&["-r", "1"], "torn=1 denied=Write on=1").ok();
    let exit = exit(&done);
    assert_eq!(exit["usage"]["output"], 10);
    assert_eq!(exit["denials"][0]["tool"], "Write");
}

#[test]
fn the_deadline_spans_all_attempts() {
    let hang = [
        "x",
        "-r",
        "9",
        "-t",
        "1s",
        "--backoff",
        "0.01",
        "--",
        "sh",
        "-c",
        "sleep 0.4; exit 1",
    ];
    let done = spawn(&hang).exits(124);
    assert_eq!(exit(&done)["outcome"], "timeout");
    // No time is left for an attempt: that is known at once.
    let done = spawn(&["x", "-r", "9", "-t", "60", "--backoff", "5m", "--", "false"]).exits(1);
    let exit = exit(&done);
    assert_eq!((&exit["outcome"], &exit["attempts"]), (&"failed".into(), &1.into()));
    assert_eq!(exit["warnings"][0], "no time is left for another attempt");
}

#[test]
fn a_signal_ends_the_wait_for_another_attempt() {
    let mut running = Running::start(&["x", "-r", "1", "--backoff", "5m", "--", "false"]);
    running.until("retry");
    kill(running.pid(), 15);
    let done = running.end().exits(143);
    let exit = exit(&done);
    assert_eq!((&exit["outcome"], &exit["attempts"]), (&"cancelled".into(), &1.into()));
    assert_eq!(
        exit["because"],
        "told to stop by SIGTERM while waiting for another attempt"
    );
}

#[test]
fn a_reader_that_goes_away_ends_the_wait_for_another_attempt() {
    let script = "cl-spawn x -r 1 --backoff 5m -- false | head -n 2 >/dev/null; echo ${PIPESTATUS[0]}";
    assert_eq!(bash(script).ok().text(), "141\n");
}

#[test]
fn a_signal_that_comes_while_the_reader_holds_up_the_wait_ends_it() {
    let script = "test $CL_ATTEMPT = 1 || exec sleep 60; exit 1";
    let running = Running::start(&[
        "x",
        "-r",
        "1",
        "--backoff",
        "0.5",
        "--heartbeat",
        "0.001",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let out = running.out.get_ref();
    nix::fcntl::fcntl(out, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    // Nobody reads, so the next attempt cannot begin; that the wait is over is nothing one could see from here.
    std::thread::sleep(Duration::from_secs(2));
    kill(running.pid(), 15);
    until("the signal is taken", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).ok()?;
        status.contains("ShdPnd:\t0000000000000000").then_some(())
    });
    let done = running.end().exits(143);
    assert_eq!(outcomes(&done).0, "cancelled");
}

#[test]
fn nobody_tries_again_who_is_not_heard() {
    let folder = scratch();
    let attempts = folder.path().join("attempts");
    let script = format!("echo $CL_ATTEMPT >>{}; exit 1", attempts.display());
    let mut command = command(tool("cl-spawn"));
    command.args(["x", "-r", "3", "--backoff", "0.05", "--", "sh", "-c", &script]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    collect(child, "cl-spawn >/dev/full").exits(125);
    // Told to stop, the first one may not come to its line.
    let made = std::fs::read_to_string(attempts).unwrap_or_default();
    assert!(["", "1\n"].contains(&made.as_str()), "{made}");
}

#[test]
fn the_wait_is_not_silent() {
    let mut running = Running::start(&["x", "-r", "1", "--backoff", "5m", "--heartbeat", "0.05", "--", "false"]);
    running.until("retry");
    running.until("heartbeat");
    running.until("heartbeat");
    kill(running.pid(), 2);
    running.end().exits(130);
}

#[test]
fn a_pause_lengthens_the_wait() {
    let mut running = Running::start(&["x", "-r", "1", "--backoff", "0.4", "--heartbeat", "0", "--", "false"]);
    running.until("retry");
    let begin = std::time::Instant::now();
    kill(running.pid(), 20);
    until("the pause", || (state(running.pid()) == Some('T')).then_some(()));
    // A second of real time, of which the wait must not know.
    std::thread::sleep(Duration::from_secs(1));
    kill(running.pid(), 18);
    running.until("start");
    assert!(begin.elapsed() >= Duration::from_millis(1300), "{:?}", begin.elapsed());
    running.end().exits(1);
}

#[test]
fn a_prompt_and_a_file_are_read_from_their_beginning_each_time() {
    let script = "cat; test $CL_ATTEMPT = 2";
    let retry = ["x", "-r", "1", "--backoff", "0.01"];
    let done = spawn(&[&retry[..], &["hello", "--", "sh", "-c", script]].concat()).ok();
    assert_eq!(unwrapped(&done.out), b"hellohello");
    let folder = scratch();
    let file = folder.path().join("in");
    std::fs::write(&file, "a\nb\n").unwrap();
    let file = file.to_str().unwrap();
    let done = spawn(&[&retry[..], &["--stdin", file, "--", "sh", "-c", script]].concat()).ok();
    assert_eq!(unwrapped(&done.out), b"a\nb\na\nb\n");
    let inherited = format!("cl-spawn x -r 1 --backoff 0.01 -- sh -c '{script}' <{file} | cl-merge -o raw");
    assert_eq!(bash(&inherited).ok().text(), "a\nb\na\nb\n");
}

#[test]
fn another_agent_is_asked_when_the_attempts_are_used_up() {
    let folder = scratch();
    let recordings = root().join("tests/data/recordings/claude");
    std::fs::copy(recordings.join("plain-text.ndjson"), folder.path().join("x.ndjson")).unwrap();
    let replay = format!("replay:{}", folder.path().display());
    let fallback = ["-r", "1", "--fallback", &replay];
    let done = ask(&fallback, "n=0 result=none exit=1").ok();
    assert_eq!(outcomes(&done), ("success".into(), 3, 2));
    let lines = done.json();
    let retries = of(&lines, "retry");
    assert_eq!((&retries[0]["of"], retries[0].get("next")), (&4.into(), None));
    assert_eq!(text(&retries[1], "/next"), replay);
    let starts = of(&lines, "start");
    assert_eq!(
        text(&starts[2], "/argv/1"),
        folder.path().join("x.ndjson").to_str().unwrap()
    );
    // An error would be the same again: the other one is asked at once.
    let done = ask(&fallback, "result=error").ok();
    assert_eq!(outcomes(&done), ("success".into(), 2, 1));
    // One that is not there falls back, too.
    let mut command = command(tool("cl-spawn"));
    command
        .env("PATH", bin_dir())
        .args(["x", "--agent", "codex", "--fallback", &replay, "hi"]);
    let done = finish(command, b"").ok();
    assert_eq!(outcomes(&done), ("success".into(), 2, 1));
}

#[test]
fn a_fallback_is_an_agent_with_a_model() {
    let claudes = claudes();
    let args = ["x", "--fallback", "claude:haiku", "@@as result=error on=1@@"];
    let done = finish(with(&claudes, &args), b"").ok();
    let lines = done.json();
    assert_eq!(of(&lines, "retry")[0]["next"], "claude:haiku");
    let argv = of(&lines, "start")[1]["argv"].clone();
    assert!(argv.as_array().unwrap().contains(&"--model=haiku".into()), "{argv}");
    for (fallback, why) in [
        ("nobody", "choose claude"),
        ("auto", "name an agent"),
        ("claude:", "choose claude"),
    ] {
        let done = spawn(&["x", "--fallback", fallback, "hi"]).exits(125);
        assert!(done.err.contains(why), "{}", done.err);
    }
    for first in [&["--", "true"][..], &["--agent", "replay:/no/such"]] {
        let done = spawn(&[&["x", "--fallback", "claude"], first].concat()).exits(125);
        assert!(done.err.contains("give a PROMPT"), "{}", done.err);
    }
}

#[test]
fn a_role_may_say_how_often_and_by_whom() {
    let folder = scratch();
    let file = folder.path().join("roles.toml");
    std::fs::write(
        &file,
        "[role.mine]\nretries = 1\nbackoff = '10ms'\nfallback = ['claude:haiku']\n",
    )
    .unwrap();
    let claudes = claudes();
    let args = ["mine", "--config", file.to_str().unwrap(), "@@as n=0 result=none@@"];
    let done = finish(with(&claudes, &args), b"").exits(1);
    assert_eq!(outcomes(&done), ("incomplete".into(), 4, 3));
}

#[test]
fn a_good_answer_is_not_given_away() {
    let claudes = claudes();
    let prompt = "@@as n=1 size=20 exit=3 on=1@@";
    // The second attempt says what it failed of; the first had an answer, though it ended badly.
    let script = "if [ $CL_ATTEMPT = 1 ]; then exec claude; else echo '{\"type\":\"result\",\"subtype\":\"success\",\
        \"is_error\":true,\"api_error_status\":500,\"result\":\"API Error\"}'; exit 1; fi";
    let args = [
        "x",
        "-r",
        "1",
        "--backoff",
        "0.01",
        "--agent",
        "claude",
        prompt,
        "--",
        "sh",
        "-c",
        script,
    ];
    let done = finish(with(&claudes, &args), b"").exits(69);
    let exit = exit(&done);
    assert_eq!(
        (text(&exit, "/outcome"), text(&exit, "/text")),
        ("unavailable", "Part 0 xxxxxxxxxxxxx")
    );
}

#[test]
fn what_was_answered_well_begins_anew() {
    let done = ask(&["-r", "1"], "n=1 exit=3 on=1").ok();
    let starts = of(&done.json(), "start");
    assert_ne!(starts[0]["session_id"], starts[1]["session_id"]);
    assert!(text(&starts[1], "/prompt").starts_with("please"), "{}", starts[1]);
}
