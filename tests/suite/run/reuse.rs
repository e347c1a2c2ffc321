//! A process does one stream after another, and nothing of one is left for the next.

use super::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};

/// A stream that tells which process runs it, and what that one has open once it has begun.
fn tells(name: &str, more: &str) -> String {
    let script = "until [ -s run/$0.ndjson ]; do sleep 0.01; done; echo $PPID $(ls /proc/$PPID/fd)";
    format!("[stream.{name}]\n{more}run = ['sh', '-c', '{script}', '{name}']\n")
}

/// Runs a plan one by one; what each stream said, in their order.
fn one_by_one(streams: &str) -> Vec<String> {
    let home = scratch();
    let done = played(home.path(), &format!("name = 'r'\njobs = 1\n{streams}"), &[]).ok();
    let lines = said(&done.out).into_iter();
    lines
        .map(|line| line.split_once(": ").unwrap_or_default().1.to_owned())
        .collect()
}

fn pid(said: &str) -> &str {
    said.split(' ').next().unwrap_or_default()
}

#[test]
fn one_process_and_nothing_left_open() {
    // The descriptors of a lock, of arguments that are too long for a message, and of a prompt.
    let long = "x".repeat(100_000);
    let said = one_by_one(&format!(
        "{}[stream.b]\nafter = ['a']\nlocks = ['l']\nrun = ['sh', '-c', 'echo $PPID {long}']\n\
         [stream.c]\nafter = ['b']\nrun = ['sh', '-c', 'exec 0<&-; seq 10000; exit 0']\n\
         {}",
        tells("a", ""),
        tells("d", "after = ['c']\n")
    ));
    assert_eq!(said.first(), said.last());
    assert_eq!(pid(&said[0]), pid(&said[1]));
    assert_eq!(said.len(), 10_003);
}

/// How large a worker was is its own affair, however large the process had to be for the one before.
#[test]
fn the_size_of_a_worker_is_its_own() {
    let home = scratch();
    let plan = "name = 'r'\njobs = 1\n\
        [stream.a]\nrun = ['sh', '-c', 'head -c 12000000 /dev/zero | base64 -w 0']\n\
        [stream.b]\nafter = ['a']\nrun = ['true']\n";
    let done = played(home.path(), plan, &[]).ok();
    let lines = done.json();
    let size = lines
        .iter()
        .filter_map(|line| line["rss"].as_u64())
        .next_back()
        .unwrap();
    assert!(size < 8 << 20, "{size}");
}

/// What cannot be taken back, or is large, ends with the stream.
#[test]
fn a_process_that_is_not_as_it_was_is_another() {
    let said = one_by_one(&format!(
        "{}[stream.b]\nafter = ['a']\nrun = ['sh', '-c', 'echo $PPID; head -c 80000000 /dev/zero | base64 -w 0']\n\
         {}",
        tells("a", ""),
        tells("c", "after = ['b']\n")
    ));
    assert_eq!(pid(&said[0]), said[1]);
    assert_ne!(pid(&said[0]), pid(said.last().unwrap()));
}

#[test]
fn a_process_that_is_ended_between_two_streams_is_another() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let home = scratch();
        let plan = format!(
            "name = 'r'\njobs = 2\n{}[stream.b]\nrun = ['sh', '-c', 'until [ -e go ]; do sleep 0.01; done']\n\
             {}{}",
            tells("a", ""),
            tells("c", "after = ['b']\n"),
            tells("d", "after = ['b']\n")
        );
        std::fs::write(home.path().join("plan.toml"), plan).unwrap();
        let run = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
        worker(home.path(), "b");
        let idle: i32 = until("the first one's end", || {
            acts(home.path()).contains(&"end a".to_owned()).then_some(())?;
            let lines = said(&std::fs::read(home.path().join("run/a.ndjson")).ok()?);
            pid(lines.first()?.strip_prefix("a: ")?).parse().ok()
        });
        kill(Pid::from_raw(idle), signal).unwrap();
        gone(idle.into());
        std::fs::write(home.path().join("go"), "").unwrap();
        let done = collect(run, "cl-run").ok();
        assert!(outcomes(&done).values().all(|outcome| outcome == "success"));
    }
}

/// Who is told to pause, and to go on, does not tell it to those that follow.
#[test]
fn a_pause_is_no_other_streams() {
    let home = scratch();
    let plan = "name = 'r'\njobs = 1\n[stream.a]\nrun = ['cat', 'go']\n\
                [stream.b]\nafter = ['a']\nrun = ['true']\n[stream.c]\nafter = ['b']\nrun = ['true']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let go = mkfifo(&home.path().join("go"));
    let run = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    let first = worker(home.path(), "a") as i32;
    let us = Pid::from_raw(run.id() as i32);
    for (signal, is) in [(Signal::SIGTSTP, true), (Signal::SIGCONT, false)] {
        kill(us, signal).unwrap();
        for pid in [us.as_raw(), first] {
            until("the pause, or its end", || {
                ((state(pid) == Some('T')) == is).then_some(())
            });
        }
    }
    std::fs::write(go, "").unwrap();
    let done = collect(run, "cl-run").ok();
    assert_eq!(outcomes(&done).len(), 3);
}

/// What a stream says comes while it runs, also where its process has done another one before.
#[test]
fn each_is_heard_while_it_runs() {
    let home = scratch();
    let plan = "name = 'r'\njobs = 1\n[stream.a]\nrun = ['true']\n\
                [stream.b]\nafter = ['a']\nrun = ['sh', '-c', 'echo one; cat go; echo two; cat go']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let go = mkfifo(&home.path().join("go"));
    let mut run = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    for word in ["one", "two"] {
        let mut line = || lines.next().expect("it runs").unwrap();
        while !line().contains(word) {}
        std::fs::write(&go, "").unwrap();
    }
    assert!(lines.any(|line| line.unwrap().contains("success")));
    collect(run, "cl-run").ok();
}
