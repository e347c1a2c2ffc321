//! How a run ends: its policy, its time, its cost, signals, a reader that goes away.

use super::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;

const GRAPH: &str = "name = 'g'\njobs = 2\n\
    [stream.bad]\nrun = ['sh', '-c', 'read go < gate; exit 1']\n\
    [stream.good]\nrun = ['sh', '-c', 'echo go > gate; sleep 0.2']\n\
    [stream.needs]\nafter = ['bad']\nrun = ['true']\n\
    [stream.mend]\nafter = ['bad']\nwhen = 'failure'\nrun = ['true']\n\
    [stream.tidy]\nafter = ['bad', 'good']\nwhen = 'always'\nrun = ['true']\n\
    [stream.rest]\nafter = ['good', 'tidy']\nrun = ['true']\n";

/// A home with a FIFO at which one stream waits for another that runs at the same time.
fn gated() -> tempfile::TempDir {
    let home = scratch();
    mkfifo(&home.path().join("gate"));
    home
}

fn ran(done: &Done) -> BTreeSet<String> {
    outcomes(done).into_keys().collect()
}

fn set(names: &str) -> BTreeSet<String> {
    names.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_failure_stops_what_builds_on_it_or_all() {
    let home = gated();
    let done = played(home.path(), GRAPH, &["-k"]).exits(1);
    assert_eq!(ran(&done), set("bad good mend tidy rest"));
    assert!(
        done.err.contains("cl-run: needs: skipped: bad did not end well\n"),
        "{}",
        done.err
    );
    assert!(done.err.ends_with("cl-run: bad ended as failed\n"), "{}", done.err);
    // Without -k nothing else is started but what is for that.
    let home = gated();
    let done = played(home.path(), GRAPH, &[]).exits(1);
    assert_eq!(ran(&done), set("bad good mend tidy"));
    // An optional one is nobody's failure.
    let home = gated();
    let plan = GRAPH.replace("exit 1']", "exit 1']\noptional = true");
    let done = played(home.path(), &plan, &[]).exits(0);
    assert_eq!(ran(&done), set("bad good needs mend tidy rest"));
}

#[test]
fn one_stands_in_until_one_succeeds() {
    let home = scratch();
    let plan = |last: &str| {
        format!(
            "name = 'f'\n[stream.a]\nrun = ['false']\n[stream.b]\ninstead = 'a'\nrun = ['sh', '-c', '{last}']\n\
             [stream.c]\ninstead = 'b'\nrun = ['true']\n[stream.next]\nafter = ['a']\nrun = ['echo', '{{{{streams.a.text}}}}']\n"
        )
    };
    let done = played(home.path(), &plan("echo here"), &[]).exits(0);
    assert_eq!(said(&done.out), ["b: here", "next: here"]);
    let home = scratch();
    let done = played(home.path(), &plan("exit 1").replace("['true']", "['false']"), &[]).exits(1);
    assert_eq!(ran(&done), set("a b c"));
}

/// What is needed and one more of the others: the rest is stopped, and says so.
#[test]
fn the_policy_decides_when_it_is_enough() {
    let home = gated();
    let plan = |main: &str| {
        format!(
            "name = 'w'\njobs = 4\n[stream.main]\nrun = ['sh', '-c', 'read go < gate; {main}']\n[stream.bad]\nrun = ['false']\n\
             [stream.quick]\nrun = ['true']\n[stream.slow]\nrun = ['sh', '-c', 'echo go > gate; exec sleep 1000']\n\
             [wait]\nneed = ['main']\nany = 1\ngrace = '50s'\n"
        )
    };
    let done = played(home.path(), &plan("sleep 0.1"), &[]).exits(0);
    assert_eq!(outcomes(&done)["slow"], "cancelled");
    assert_eq!(outcomes(&done)["bad"], "failed");
    let home = gated();
    let done = played(home.path(), &plan("exit 4"), &[]).exits(1);
    assert_eq!(outcomes(&done)["slow"], "cancelled");
    assert!(done.err.ends_with("cl-run: main ended as failed\n"), "{}", done.err);
    // The grace is over before any other is there.
    let home = gated();
    let plan = "name = 'w'\njobs = 4\n[stream.main]\nrun = ['true']\n[stream.slow]\nrun = ['sleep', '1000']\n\
                [wait]\nneed = ['main']\nany = 1\ngrace = '0.2s'\n";
    let done = played(home.path(), plan, &[]).exits(0);
    assert_eq!(outcomes(&done)["slow"], "cancelled");
}

#[test]
fn the_time_is_up() {
    for (wait, args) in [("[wait]\ntimeout = '0.3s'\n", &[][..]), ("", &["--max-time", "0.3s"])] {
        let home = scratch();
        let plan = "name = 't'\n[stream.a]\nrun = ['sleep', '1000']\n[stream.b]\nafter = ['a']\nrun = ['true']\n";
        let done = played(home.path(), &format!("{plan}{wait}"), args).exits(124);
        assert_eq!(
            outcomes(&done),
            BTreeMap::from([("a".to_owned(), "cancelled".to_owned())])
        );
    }
}

/// A recording tells what it has cost.
#[test]
fn the_cost_is_reached() {
    let home = scratch();
    let line =
        r#"{"type":"result","subtype":"success","is_error":false,"result":"x","session_id":"s","total_cost_usd":0.75}"#;
    std::fs::write(home.path().join("line"), format!("{line}\n")).unwrap();
    let stream = |name: &str, after: &str| {
        format!("[stream.{name}]\nafter = [{after}]\nagent = 'claude'\nrun = ['cat', 'line']\n")
    };
    let plan = format!(
        "name = 'c'\n{}{}{}",
        stream("a", ""),
        stream("b", "'a'"),
        stream("c", "'b'")
    );
    let done = played(home.path(), &plan, &["--max-cost", "1.20"]).exits(1);
    assert_eq!(ran(&done), set("a b"));
    assert!(
        done.err.ends_with("cl-run: it has cost 1.50 of 1.20 US dollars\n"),
        "{}",
        done.err
    );
    // What was spent is spent, also when it goes on.
    let done = resumed(home.path(), &["--max-cost", "1.20"]).exits(1);
    assert_eq!(ran(&done), set("a b"));
    let done = resumed(home.path(), &["--max-cost", "9"]).exits(0);
    assert_eq!(ran(&done), set("a b c"));
}

#[test]
fn a_signal_ends_it_the_gentle_way_and_a_second_one_at_once() {
    let home = scratch();
    let plan = "name = 's'\njobs = 2\n[stream.a]\nrun = ['sh', '-c', 'trap \"echo bye; exit 0\" INT TERM; echo on; while :; do sleep 0.05; done']\n\
                [stream.b]\nafter = ['a']\nrun = ['true']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let child = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    let file = home.path().join("run/a.ndjson");
    until("its first line", || {
        said(&std::fs::read(&file).ok()?).first().map(|_| ())
    });
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let done = collect(child, "cl-run").exits(130);
    assert_eq!(said(&done.out), ["a: on", "a: bye"]);
    assert!(done.err.ends_with("cl-run: told to stop by SIGINT\n"), "{}", done.err);

    // One that does not listen is ended by the second signal.
    let home = scratch();
    let plan =
        "name = 's'\n[stream.a]\nrun = ['sh', '-c', 'trap \"\" INT TERM; echo on; while :; do sleep 0.05; done']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let child = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    let file = home.path().join("run/a.ndjson");
    until("its first line", || {
        said(&std::fs::read(&file).ok()?).first().map(|_| ())
    });
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGTERM).unwrap();
    until("the ladder's beginning", || {
        let bytes = std::fs::read(&file).ok()?;
        String::from_utf8_lossy(&bytes)
            .contains("\"subtype\":\"stop\"")
            .then_some(())
    });
    // What comes at once is the same wish.
    std::thread::sleep(std::time::Duration::from_millis(150));
    kill(pid, Signal::SIGTERM).unwrap();
    let begin = std::time::Instant::now();
    collect(child, "cl-run").exits(143);
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(4),
        "the ladder has 5 seconds"
    );
}

#[test]
fn a_reader_that_goes_away_cancels_it() {
    let home = scratch();
    let plan = "name = 'r'\n[stream.a]\nrun = ['sleep', '1000']\n[stream.b]\nafter = ['a']\nrun = ['true']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let mut bash = command("bash");
    bash.args(["-c", "cl-run --run run plan.toml | head -n 1; echo ${PIPESTATUS[0]}"]);
    bash.current_dir(home.path()).env("HOME", home.path());
    let done = finish(bash, b"").exits(0);
    assert!(
        done.text().contains("\"subtype\":\"start\"") && done.text().ends_with("\n0\n"),
        "{}",
        done.text()
    );
    assert_eq!(acts(home.path()), ["begin", "start a", "end a", "finish"]);
}

/// A reader that stops holds up nobody: the run goes on, and what it has missed is there when it reads on.
#[test]
fn a_reader_that_stops_holds_up_nobody() {
    let home = scratch();
    let plan = "name = 'r'\njobs = 1\n[stream.a]\nrun = ['seq', '100000']\n[stream.b]\nafter = ['a']\nrun = ['touch', 'done']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let child = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    until("the second stream's end", || {
        home.path().join("done").exists().then_some(())
    });
    let done = collect(child, "cl-run").exits(0);
    assert_eq!(said(&done.out).len(), 100_000);
}

/// An answer is never more than one argument.
#[test]
fn what_cannot_start_says_so_in_its_stream() {
    let home = scratch();
    let plan = "name = 'u'\n[stream.z]\nrun = ['printf', 'a\\0b']\n[stream.y]\nafter = ['z']\nrun = ['echo', '{{streams.z.text}}']\n[stream.a]\nrun = ['no-such-program']\n[stream.b]\nrun = ['echo', '{{file:nowhere}}']\n\
                [stream.c]\nagent = 'gemini'\nprompt = 'x'\nargs = ['--x']\nsystem = 'y'\n";
    let done = played(home.path(), plan, &["-k"]).exits(1);
    let ended = outcomes(&done);
    assert_eq!(
        (ended["a"].as_str(), ended["b"].as_str()),
        ("unstartable", "unstartable")
    );
    assert_eq!((ended["z"].as_str(), ended["y"].as_str()), ("success", "unstartable"));
    assert!(
        done.err.contains("cl-run: b: nowhere: No such file or directory\n"),
        "{}",
        done.err
    );
}

/// Killed outright, it leaves nothing behind.
#[test]
fn nothing_is_left_when_it_is_killed() {
    let home = scratch();
    let plan = "name = 'k'\njobs = 3\n[stream.a]\nrun = ['sleep', '1000']\n\
                [stream.b]\nrun = ['sh', '-c', 'setsid sleep 1001 & sleep 1002']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let mut child = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    let workers = ["a", "b"].map(|stream| worker(home.path(), stream));
    child.kill().unwrap();
    wait(&mut child, "cl-run");
    workers.into_iter().for_each(gone);
    // Also what has a session of its own: everything holds this file.
    let held = std::fs::File::open(home.path().join("run/.held")).unwrap();
    harmony::sys::fds::flock(&held, true).unwrap();
}
