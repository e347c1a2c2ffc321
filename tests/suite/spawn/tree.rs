//! Nothing stays behind, however it ends.

use super::*;
use std::path::Path;
use std::time::Instant;

/// The pids that the fixture's tree has written: three descendants, and last the worker itself.
fn grown(file: &Path) -> Vec<i32> {
    let text = until("the tree", || {
        let text = std::fs::read_to_string(file).ok()?;
        (text.ends_with('\n') && text.lines().count() == 4).then_some(text)
    });
    text.lines().map(|pid| pid.parse().expect("a pid")).collect()
}

fn tree(options: &[&str], deaf: bool) -> (Running, Vec<i32>, tempfile::TempDir) {
    let scratch = scratch();
    let (fixture, file) = (fixture(), scratch.path().join("pids"));
    let worker = [
        "--",
        fixture.to_str().expect("is there"),
        "tree",
        file.to_str().expect("is there"),
    ];
    let deaf: &[&str] = if deaf { &["deaf=1"] } else { &[] };
    let mut running = Running::start(&[&["x"], options, &worker[..], deaf].concat());
    running.until("text");
    let pids = grown(&file);
    (running, pids, scratch)
}

/// Waits until none of them lives, at most a moment.
#[track_caller]
fn gone(pids: &[i32]) {
    let begin = Instant::now();
    until("their end", || (!pids.iter().any(|&pid| alive(pid))).then_some(()));
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

fn child_of(parent: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("is there");
    children
        .split_whitespace()
        .next()
        .expect("has a child")
        .parse()
        .expect("a pid")
}

#[test]
fn killed_by_force_it_leaves_nobody() {
    for deaf in [false, true] {
        let (mut running, pids, _scratch) = tree(&[], deaf);
        kill(running.pid(), 9);
        gone(&pids);
        wait(&mut running.child, "cl-spawn");
    }
}

/// `pkill -9 -f cl-spawn` ends every process whose command line holds the word: the warden must not be among them.
#[test]
fn a_warden_goes_by_its_own_name() {
    let (running, pids, _scratch) = tree(&[], false);
    let warden = child_of(running.pid());
    let line = std::fs::read_to_string(format!("/proc/{warden}/cmdline")).expect("is there");
    assert_eq!(line.trim_end_matches('\0'), "cl-warden");
    kill(running.pid(), 15);
    running.end().exits(143);
    gone(&pids);
}

#[test]
fn a_warden_that_is_killed_takes_all_with_it() {
    let (running, pids, _scratch) = tree(&[], true);
    kill(child_of(running.pid()), 9);
    let done = running.end().exits(137);
    gone(&pids);
    assert_eq!(exit(&done)["outcome"], "killed");
}

#[test]
fn a_warden_that_is_stopped_goes_on_in_time() {
    let (mut running, pids, _scratch) = tree(&[], true);
    let warden = child_of(running.pid());
    // Stopped as well, cl-spawn does not see to it.
    kill(running.pid(), nix::libc::SIGSTOP);
    until("cl-spawn to stop", || (state(running.pid()) == Some('T')).then_some(()));
    kill(warden, nix::libc::SIGSTOP);
    until("it to stop", || (state(warden) == Some('T')).then_some(()));
    kill(running.pid(), 9);
    gone(&pids);
    wait(&mut running.child, "cl-spawn");
    let (running, pids, _scratch) = tree(&["-k", "0.1"], true);
    kill(child_of(running.pid()), nix::libc::SIGSTOP);
    kill(running.pid(), 15);
    running.end().exits(143);
    gone(&pids);
}

#[test]
fn a_warden_is_not_told_to_end_by_a_shutdown() {
    let (running, pids, _scratch) = tree(&["-k", "0.1"], false);
    let warden = child_of(running.pid());
    for signal in [1, 2, 15] {
        kill(warden, signal);
    }
    kill(running.pid(), 15);
    let done = running.end().exits(143);
    assert_eq!(exit(&done)["outcome"], "cancelled");
    gone(&pids);
}

#[test]
fn what_a_worker_leaves_behind_is_ended() {
    let scratch = scratch();
    let (fixture, file) = (fixture(), scratch.path().join("pids"));
    let worker = [fixture.to_str().unwrap(), "tree", file.to_str().unwrap(), "leave=1"];
    let done = spawn(&[&["x", "-k", "0.2", "--"], &worker[..]].concat()).ok();
    gone(&grown(&file));
    let exit = exit(&done);
    assert_eq!((&exit["outcome"], &exit["orphans"]), (&"success".into(), &3.into()));
    assert_eq!(exit["warnings"][0], "3 left behind by the worker had to be ended");
}

#[test]
fn who_holds_the_pipe_open_keeps_nobody_waiting() {
    let scratch = scratch();
    let pid = scratch.path().join("pid");
    let script = format!("setsid sleep 300 & echo $! > {}; echo done", pid.display());
    for capture in ["file", "pipe", "pty"] {
        let begin = Instant::now();
        let done = spawn(&["x", "--capture", capture, "--", "sh", "-c", &script]).ok();
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        assert_eq!(exit(&done)["orphans"], 1);
        assert!(!alive(std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap()));
    }
}

#[test]
fn two_hundred_at_once_are_gone_in_a_moment() {
    let scratch = scratch();
    let pids = scratch.path().join("pids");
    let script = format!(
        "trap '' INT TERM HUP; for i in $(seq 100); do (setsid sh -c 'sleep 300 & echo $! >> {0}; wait' & echo $! >> {0}); done; echo up; wait; sleep 300",
        pids.display()
    );
    for force in [false, true] {
        let _ = std::fs::remove_file(&pids);
        let mut running = Running::start(&["x", "-k", "0", "--", "sh", "-c", &script]);
        running.until("text");
        let all: Vec<i32> = until("two hundred", || {
            let text = std::fs::read_to_string(&pids).ok()?;
            (text.lines().count() == 200).then(|| text.lines().map(|pid| pid.parse().unwrap()).collect())
        });
        assert!(all.iter().all(|&pid| alive(pid)));
        kill(running.pid(), if force { 9 } else { 15 });
        gone(&all);
        wait(&mut running.child, "cl-spawn");
    }
}

#[test]
fn a_stream_inside_a_stream_ends_with_it() {
    let scratch = scratch();
    let (fixture, file) = (fixture(), scratch.path().join("pids"));
    for signal in [9, 15] {
        let _ = std::fs::remove_file(&file);
        let inner = [
            "cl-spawn",
            "inner",
            "-k",
            "0.1",
            "--",
            fixture.to_str().unwrap(),
            "tree",
            file.to_str().unwrap(),
        ];
        let mut running = Running::start(&[&["outer", "--"], &inner[..]].concat());
        let inner = running.worker();
        running.until("text");
        let mut pids = grown(&file);
        pids.extend([inner, child_of(inner), child_of(running.pid())]);
        kill(running.pid(), signal);
        gone(&pids);
        let done = running.end().exits(128 + signal);
        if signal == 15 {
            let exits = of(&done.json(), "exit");
            let told: Vec<_> = exits
                .iter()
                .map(|exit| (text(exit, "/cl/stream"), text(exit, "/outcome")))
                .collect();
            assert_eq!(told, [("outer/inner", "cancelled"), ("outer", "cancelled")]);
        }
    }
}

#[test]
fn children_that_were_there_before_are_none_of_ours() {
    let script = "sleep 300 > /dev/null 2>&1 & echo $!; exec cl-spawn x -- sh -c 'kill -9 $PPID; exec sleep 300'";
    let done = bash(&format!("{script} > >(tail -n 1)")).exits(137);
    let stranger: i32 = done.text().lines().next().unwrap().parse().unwrap();
    assert!(alive(stranger));
    kill(stranger, 9);
}
