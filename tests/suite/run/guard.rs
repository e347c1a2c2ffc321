//! What streams leave behind: it is ended, whoever of those that run them is killed.

use super::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};

/// Two streams, the first of which has left a process in a session of its own that nobody waits for.
const PLAN: &str = "name = 'g'\njobs = 2\n\
    [stream.a]\nrun = ['sh', '-c', 'setsid sleep 1001 & echo $!; exec sleep 1002']\n\
    [stream.b]\nrun = ['sleep', '1003']\n";

/// A run of it: cl-run, what starts the streams, the cl-spawn of each, the workers, and what the first one left.
struct Tree {
    run: std::process::Child,
    nursery: i32,
    spawns: [i32; 2],
    workers: [i32; 2],
    left: i32,
}

fn tree(home: &Path) -> Tree {
    std::fs::write(home.join("plan.toml"), PLAN).unwrap();
    let run = cl_run(home, &["-k", "--run", "run", "plan.toml"]).spawn().unwrap();
    let workers = ["a", "b"].map(|stream| worker(home, stream) as i32);
    let left = until("what it leaves", || {
        let lines = said(&std::fs::read(home.join("run/a.ndjson")).ok()?);
        lines.first()?.strip_prefix("a: ")?.parse().ok()
    });
    let spawns = workers.map(parent);
    Tree {
        run,
        nursery: parent(spawns[0]),
        spawns,
        workers,
        left,
    }
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind = stat.rsplit(')').next().unwrap();
    behind.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn a_stream_that_is_killed_takes_only_its_own_along() {
    let home = scratch();
    let tree = tree(home.path());
    signal(tree.spawns[0], Signal::SIGKILL);
    [tree.workers[0], tree.left]
        .into_iter()
        .for_each(|pid| gone(pid.into()));
    assert!(alive(tree.workers[1]));
    signal(tree.workers[1], Signal::SIGTERM);
    let done = collect(tree.run, "cl-run").exits(1);
    assert_eq!(outcomes(&done)["b"], "killed");
    assert!(done.err.ends_with("cl-run: a ended as lost\n"), "{}", done.err);
}

#[test]
fn who_starts_the_streams_is_not_told_to_end_and_takes_all_along_when_killed() {
    let home = scratch();
    let tree = tree(home.path());
    for told in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        signal(tree.nursery, told);
    }
    signal(tree.nursery, Signal::SIGSTOP);
    assert!(alive(tree.workers[1]));
    signal(tree.nursery, Signal::SIGKILL);
    let all = [tree.workers[0], tree.workers[1], tree.left];
    all.into_iter().for_each(|pid| gone(pid.into()));
    let done = collect(tree.run, "cl-run").exits(1);
    assert!(done.err.contains("cl-run: a ended as lost\n"), "{}", done.err);
}

/// As `pkill -9 cl-spawn` does.
#[test]
fn nothing_is_left_when_all_of_them_are_killed() {
    let home = scratch();
    let tree = tree(home.path());
    for pid in [tree.nursery, tree.spawns[0], tree.spawns[1]] {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let all = [tree.workers[0], tree.workers[1], tree.left];
    all.into_iter().for_each(|pid| gone(pid.into()));
    collect(tree.run, "cl-run").exits(1);
}

/// One that starts them and is stopped goes on when cl-run is gone.
#[test]
fn nothing_is_left_when_cl_run_is_killed() {
    let home = scratch();
    let mut tree = tree(home.path());
    signal(tree.nursery, Signal::SIGSTOP);
    tree.run.kill().unwrap();
    wait(&mut tree.run, "cl-run");
    let all = [tree.workers[0], tree.workers[1], tree.left, tree.nursery];
    all.into_iter().for_each(|pid| gone(pid.into()));
}

/// Who is killed has not ended well, whatever stands last in its file: the end of a stream that it started itself, or
/// what its worker says.
#[test]
fn the_end_of_another_is_not_its_own() {
    let inner = "cl-spawn inner -- true";
    let forged = r#"echo '{"type":"x","subtype":"exit","outcome":"success","text":"no"}'"#;
    for (says, answer, seq) in [(inner, "", 2), (forged, "{\"type\":\"x\",\"subtype\":\"exit\",", 3)] {
        let home = scratch();
        let script =
            format!("{says}; until grep -q success run/a.ndjson; do sleep 0.01; done; kill -9 $PPID; sleep 1004");
        let plan = format!(
            "name = 'g'\n[stream.a]\nrun = ['sh', '-c', '''{script}''']\n\
             [stream.b]\nafter = ['a']\nwhen = 'always'\nrun = ['echo', '<{{{{streams.a.text}}}}>']\n"
        );
        let done = played(home.path(), &plan, &[]).exits(1);
        assert!(done.err.contains("a ended as lost"), "{}", done.err);
        assert!(
            said(&done.out)[0].starts_with(&format!("b: <{answer}")),
            "{:?}",
            said(&done.out)
        );
        let lost = done.json().into_iter().find(|line| text(line, "/subtype") == "lost");
        assert_eq!(lost.unwrap()["cl"]["seq"], seq);
        assert_eq!(outcomes(&done).get("a"), None);
    }
}

/// What a stream leaves without an end is told at its own end, and not with what another one says.
#[test]
fn who_has_no_end_is_lost_with_the_stream_that_started_it() {
    let home = scratch();
    let script = "cl-spawn inner -- sleep 1005 & until grep -q a/inne[r] run/a.ndjson; do sleep 0.01; done; kill -9 $!";
    let plan =
        format!("name = 'g'\njobs = 2\n[stream.a]\nrun = ['sh', '-c', '{script}']\n[stream.b]\nrun = ['cat', 'go']\n");
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let go = mkfifo(&home.path().join("go"));
    let mut run = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.contains(r#""subtype":"lost""#))
        .collect();
    assert!(!told.iter().any(|line| line.contains("heartbeat")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("inner")), "{told:?}");
    std::fs::write(go, "").unwrap();
    collect(run, "cl-run").ok();
}
