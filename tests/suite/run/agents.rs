//! Streams of agents: one limit parks all, one refused key lets none begin; and a run that is paused.

use super::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Plays a plan whose claude is the fixture's.
fn with_claude(home: &Path, plan: &str, args: &[&str]) -> Done {
    let bin = home.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    if !bin.join("claude").exists() {
        std::os::unix::fs::symlink(fixture(), bin.join("claude")).unwrap();
    }
    std::fs::write(home.join("plan.toml"), plan).unwrap();
    let mut command = cl_run(home, &[&["--run", "run", "plan.toml"], args].concat());
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{}:{path}", bin.display(), bin_dir().display()));
    finish(command, b"")
}

#[test]
fn answers_of_agents_are_passed_on() {
    let home = scratch();
    let plan = "name = 'a'\nprompt = 'one two'\n[stream.x]\n[stream.y]\nafter = ['x']\nprompt = '<{{streams.x.text}}>'\nrun = ['cat']\n";
    let done = with_claude(home.path(), plan, &[]).exits(0);
    let exits = done.json();
    let answer = exits
        .iter()
        .find(|line| text(line, "/cl/stream") == "x" && text(line, "/subtype") == "exit")
        .map(|exit| text(exit, "/text").to_owned())
        .unwrap();
    assert!(!answer.is_empty());
    assert_eq!(said(&done.out), [format!("y: <{answer}>")]);
}

#[test]
fn a_limit_parks_all_and_costs_no_retry() {
    let home = scratch();
    let plan = "name = 'l'\njobs = 1\n[defaults]\nretries = 1\n\
                [stream.x]\nprompt = '@@as limit=rejected resets=2 result=error on=1@@'\n\
                [stream.y]\nprompt = 'hi'\n";
    let done = with_claude(home.path(), plan, &[]).exits(0);
    let lines = done.json();
    let limit = lines.iter().find(|line| line["subtype"] == "limit").unwrap();
    let later = lines
        .iter()
        .filter(|line| line["subtype"] == "start" && line["cl"]["ts"].as_f64() > limit["cl"]["ts"].as_f64());
    for start in later {
        assert!(start["cl"]["ts"].as_f64() >= limit["resets_at"].as_f64(), "{start}");
    }
}

/// While one waits for the end of a limit another agent's stream has its turn, and none of the same agent.
#[test]
fn who_waits_for_a_limit_gives_way() {
    let home = scratch();
    let plan = "name = 'l'\njobs = 1\n[defaults]\nretries = 1\n\
                [stream.x]\nprompt = '@@as limit=rejected resets=3 result=error on=1@@'\n\
                [stream.y]\nprompt = 'hi'\n\
                [stream.z]\nrun = ['true']\n\
                [stream.last]\nrun = ['true']\n";
    let lines = with_claude(home.path(), plan, &[]).exits(0).json();
    let ts = |stream: &str, subtype: &str| -> Vec<f64> {
        let its = lines
            .iter()
            .filter(|line| text(line, "/cl/stream") == stream && text(line, "/subtype") == subtype);
        its.filter_map(|line| line["cl"]["ts"].as_f64()).collect()
    };
    let resets_at = lines
        .iter()
        .find_map(|line| line["resets_at"].as_f64())
        .expect("a limit");
    let (x, y) = (ts("x", "start"), ts("y", "start"));
    assert_eq!((x.len(), y.len()), (2, 1));
    // They were done before the limit was over, one after the other.
    let (z, last) = (ts("z", "exit")[0], ts("last", "start")[0]);
    assert!(z < last && ts("last", "exit")[0] < resets_at && x[1] >= resets_at);
    // It was not even begun, which would only have had it wait as well.
    assert!(y[0] > ts("x", "exit")[0] && ts("y", "limit").is_empty());
}

#[test]
fn a_refused_key_lets_none_begin() {
    let home = scratch();
    let recording = root().join("tests/data/recordings/claude/no-api-key.ndjson");
    let claude = home.path().join("bin/claude");
    std::fs::create_dir(claude.parent().unwrap()).unwrap();
    std::fs::write(&claude, format!("#!/bin/sh\ncat {}\nexit 1\n", recording.display())).unwrap();
    std::fs::set_permissions(&claude, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let plan =
        "name = 'k'\njobs = 1\n[stream.x]\nprompt = 'hi'\n[stream.y]\nprompt = 'hi'\n[stream.z]\nrun = ['true']\n";
    let done = with_claude(home.path(), plan, &["-k"]).exits(1);
    let ended = outcomes(&done);
    assert_eq!((ended["x"].as_str(), ended["y"].as_str()), ("auth", "auth"));
    assert_eq!(ended["z"], "success");
    let began = done
        .json()
        .into_iter()
        .filter(|line| line["subtype"] == "start")
        .count();
    assert_eq!(began, 2, "y's agent was not started");
}

/// Ctrl-Z stops the streams as well, and the clocks.
#[test]
fn a_run_is_paused_and_goes_on() {
    let home = scratch();
    mkfifo(&home.path().join("go"));
    let plan = "name = 'z'\n[stream.a]\nrun = ['cat', 'go']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let child = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    let pids = [child.id() as i32, worker(home.path(), "a") as i32];
    let stopped = |pid: i32| state(pid) == Some('T');
    let ours = Pid::from_raw(child.id() as i32);
    kill(ours, Signal::SIGTSTP).unwrap();
    until("all to be stopped", || {
        pids.iter().all(|&pid| stopped(pid)).then_some(())
    });
    kill(ours, Signal::SIGCONT).unwrap();
    until("all to go on", || (!pids.iter().any(|&pid| stopped(pid))).then_some(()));
    std::fs::write(home.path().join("go"), "went on\n").unwrap();
    assert_eq!(said(&collect(child, "cl-run").exits(0).out), ["a: went on"]);
}
