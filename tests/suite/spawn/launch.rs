//! How a worker is started: with what, where, under which name.

use super::*;

/// The worker's stdout as text.
#[track_caller]
fn said(args: &[&str]) -> String {
    String::from_utf8(unwrapped(&spawn(args).ok().out)).expect("text")
}

#[test]
fn the_stream_begins_with_what_is_run() {
    let done = spawn(&["x", "-t", "1m", "-C", "/", "--", "echo", "a b"]).ok();
    let start = &done.json()[0];
    assert_eq!(text(start, "/subtype"), "start");
    assert_eq!((&start["v"], &start["attempt"]), (&1.into(), &1.into()));
    assert_eq!(start["argv"], serde_json::json!(["echo", "a b"]));
    assert_eq!((&start["agent"], &start["cwd"]), (&"auto".into(), &"/".into()));
    assert_eq!(start["limits"], serde_json::json!({ "timeout": 60.0 }));
    assert!(start["pid"].as_i64().is_some() && start["host"].is_string());
}

#[test]
fn it_runs_where_and_with_what_it_is_told() {
    assert_eq!(said(&["x", "-C", "/usr", "--", "pwd"]), "/usr\n");
    assert_eq!(said(&["x", "--cwd", "/usr", "--", "pwd"]), "/usr\n");
    let script = "echo $CL_STREAM $CL_ATTEMPT $CLAUDE_STREAM_ID ${CLAUDECODE-none} $A$B";
    let mut command = command(tool("cl-spawn"));
    command.env("CLAUDECODE", "1");
    command.args(["a/b", "--env", "A=1", "--env", "B=x=y", "--", "sh", "-c", script]);
    let done = finish(command, b"").ok();
    assert_eq!(unwrapped(&done.out), b"a/b 1 a/b none 1x=y\n");
    // The user's own word counts last.
    assert_eq!(
        said(&["x", "--env", "CL_STREAM=mine", "--", "sh", "-c", "echo $CL_STREAM"]),
        "mine\n"
    );
}

#[test]
fn stdin_is_what_it_is_told() {
    let scratch = scratch();
    let file = scratch.path().join("in");
    std::fs::write(&file, "from a file\n").unwrap();
    assert_eq!(
        said(&["x", "--stdin", file.to_str().unwrap(), "--", "cat"]),
        "from a file\n"
    );
    assert_eq!(said(&["x", "the prompt", "--", "cat"]), "the prompt");
    let piped = |args: &[&str]| String::from_utf8(unwrapped(&feed("cl-spawn", args, b"piped").ok().out)).unwrap();
    assert_eq!(piped(&["x", "--", "cat"]), "piped");
    assert_eq!(piped(&["x", "--stdin", "inherit", "--", "cat"]), "piped");
    assert_eq!(piped(&["x", "--stdin", "null", "--", "cat"]), "");
    // A terminal that says nothing does not end, either.
    let silent = spawn(&[
        "x",
        "-t",
        "0.2",
        "--stdin",
        "pty",
        "--",
        "sh",
        "-c",
        "test -t 0 && echo terminal; cat",
    ]);
    let silent = silent.exits(124);
    assert_eq!(unwrapped(&silent.out), b"terminal\n");
}

#[test]
fn a_signal_ends_the_wait_for_a_writer() {
    let folder = scratch();
    let fifo = mkfifo(&folder.path().join("in"));
    let running = Running::start(&["x", "--stdin", fifo.to_str().unwrap(), "--", "cat"]);
    until("the wait", || (state(running.pid()) == Some('S')).then_some(()));
    kill(running.pid(), 15);
    let done = running.end();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&done.status), Some(15));
}

#[test]
fn who_writes_to_an_inherited_stdin_sees_when_nobody_reads() {
    // `yes` ends only when no reader is left.
    let script = "{ yes; echo $? > yes; } | cl-spawn x -- sh -c 'exec <&-; exec sleep 300'";
    let scratch = scratch();
    let mut command = command("bash");
    command.current_dir(scratch.path()).args(["-c", script]);
    let mut running = Running::begin(command);
    let worker = running.worker();
    let file = scratch.path().join("yes");
    until("the end of yes", || {
        std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))
    });
    assert!(alive(worker));
    kill(worker, 15);
    running.end().exits(143);
}

#[test]
fn descriptors_that_were_handed_down_reach_the_worker() {
    let done = bash("cl-spawn x -- cat <(echo one) <(echo two)").ok();
    assert_eq!(unwrapped(&done.out), b"one\ntwo\n");
    // None of ours does: it has those that we were given.
    let listed = bash("exec 3>&1; ls /proc/self/fd | tr '\\n' ' ' >&2; cl-spawn x -- ls /proc/self/fd");
    let given: Vec<&str> = listed.err.split_whitespace().collect();
    let got = String::from_utf8(unwrapped(&listed.out)).unwrap();
    assert_eq!(got.split_whitespace().collect::<Vec<_>>(), given);
}

#[test]
fn signals_are_as_a_program_expects_them() {
    let mut command = command("env");
    command.arg("--ignore-signal=INT,QUIT,TERM,CHLD,PIPE");
    command
        .arg(tool("cl-spawn"))
        .args(["x", "--", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
    let done = finish(command, b"").ok();
    let said = String::from_utf8(unwrapped(&done.out)).unwrap();
    // Where an ancestor has changed others, that is none of our business.
    let ours = [2, 3, 13, 15, 17]
        .into_iter()
        .map(|signal| 1u64 << (signal - 1))
        .sum::<u64>();
    for line in said.lines() {
        let mask = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(mask & ours, 0, "{line}");
    }
}

#[test]
fn niceness_counts_also_where_sessions_are_weighed() {
    let script = "nice; cat /proc/self/autogroup 2>/dev/null || echo none";
    let said = said(&["x", "-n", "7", "--", "sh", "-c", script]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "7");
    assert!(lines[1] == "none" || lines[1].ends_with("nice 16"), "{said}");
}

#[test]
fn a_niceness_that_is_not_permitted_is_told() {
    // Without the permission (CAP_SYS_NICE) that root has.
    let limited = "setpriv --bounding-set -sys_nice --inh-caps -sys_nice cl-spawn x -n -5 -- sleep 0.2";
    let done = bash(limited).ok();
    assert_eq!(
        exit(&done)["warnings"],
        serde_json::json!(["niceness -5 is not permitted"])
    );
}

#[test]
fn a_dry_run_prints_what_a_shell_would_take() {
    let done = spawn(&[
        "x",
        "--dry-run",
        "-C",
        "/usr",
        "--env",
        "A=b c",
        "--",
        "sh",
        "-c",
        "echo \"$A\" $PWD",
    ])
    .ok();
    assert_eq!(bash(done.text()).ok().text(), "b c /usr\n");
    assert_eq!(done.text().lines().count(), 1);
    let agent = spawn(&["x", "--dry-run", "the prompt"]).ok();
    assert!(
        agent
            .text()
            .contains("NO_COLOR=1 FORCE_COLOR=0 claude -p --output-format stream-json"),
        "{}",
        agent.text()
    );
    assert!(!agent.text().contains("the prompt"));
}

#[test]
fn a_prompt_never_stands_in_argv_and_may_be_long() {
    let prompt = "a prompt of many words ".repeat(70_000);
    let done = feed(
        "cl-spawn",
        &["x", "--agent", "plain", "--", "wc", "-c"],
        prompt.as_bytes(),
    )
    .ok();
    assert_eq!(unwrapped(&done.out), format!("{}\n", prompt.len()).as_bytes());
}

#[test]
fn without_a_prompt_there_is_no_agent() {
    for stdin in [&b""[..], b" \n"] {
        let done = feed("cl-spawn", &["x"], stdin).exits(125);
        assert_eq!(
            done.err,
            "cl-spawn: no prompt: stdin is empty; give it as PROMPT, or on stdin\n"
        );
    }
    let terminal = bash("script -qec 'cl-spawn x; echo $?' /dev/null");
    assert!(
        terminal.text().contains("no prompt: give it as PROMPT, or on stdin"),
        "{terminal:?}"
    );
    assert!(terminal.text().contains("125"), "{terminal:?}");
}
