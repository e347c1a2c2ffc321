//! What ended well is taken back when the whole did not.

use super::*;

const PLAN: &str = "name = 'u'\njobs = 1\n\
    [stream.a]\nrun = ['sh', '-c', 'echo made']\nundo = ['sh', '-c', 'echo a {{streams.a.text}} >> undone']\n\
    [stream.b]\nafter = ['a']\nrun = ['true']\nundo = ['sh', '-c', 'echo b >> undone; echo why >&2; exit 3']\n\
    [stream.c]\nafter = ['b']\nrun = ['true']\nundo = ['sh', '-c', 'echo c >> undone']\n\
    [stream.plain]\nafter = ['c']\nrun = ['true']\n\
    [stream.bad]\nafter = ['plain']\nrun = ['false']\nundo = ['touch', 'never']\n";

fn undone(home: &Path) -> String {
    std::fs::read_to_string(home.join("undone")).unwrap_or_default()
}

/// The last to end first; one that fails is told, is named at the end, and does not stop the others.
#[test]
fn in_reverse_order() {
    let home = scratch();
    let done = played(home.path(), PLAN, &["--undo"]).exits(1);
    assert_eq!(undone(home.path()), "c\nb\na made\n");
    assert!(!home.path().join("never").exists());
    let told: Vec<&str> = done.err.lines().collect();
    assert_eq!(
        told,
        [
            "cl-run: bad ended as failed",
            "cl-run: c: taken back",
            "cl-run: b: its undo failed: exit 3: why",
            "cl-run: a: taken back",
            "cl-run: could not be taken back: b",
        ]
    );
    let acts = acts(home.path());
    assert_eq!(
        acts[acts.len() - 7..],
        [
            "undo c", "undone c", "undo b", "undone b", "undo a", "undone a", "finish"
        ]
    );
    let mut status = command(tool("cl-plan"));
    status.args(["status", "run"]).current_dir(home.path());
    let status = finish(status, b"").ok();
    assert!(
        status
            .text()
            .contains("b: could not be taken back: its undo ended with 3"),
        "{}",
        status.text()
    );
    // What was taken back runs again; what could not be was not.
    let again = resumed(home.path(), &[]).exits(1);
    let started: Vec<String> = super::acts(home.path()).split_off(acts.len());
    assert_eq!(
        started,
        [
            "begin",
            "start a",
            "end a",
            "keep b",
            "start c",
            "end c",
            "keep plain",
            "start bad",
            "end bad",
            "finish"
        ],
        "{}",
        again.err
    );
}

#[test]
fn only_where_it_was_asked_for_and_the_plan_is_not_met() {
    let home = scratch();
    played(home.path(), PLAN, &[]).exits(1);
    assert_eq!(undone(home.path()), "");
    let home = scratch();
    played(home.path(), &PLAN.replace("'false'", "'true'"), &["--undo"]).exits(0);
    assert_eq!(undone(home.path()), "");
}

/// A rollback that is killed goes on where it was, and nothing that was taken back is taken back again.
#[test]
fn a_rollback_that_was_cut_short_goes_on() {
    for by in ["KILL", "TERM"] {
        let home = scratch();
        let plan = PLAN.replace(
            "echo b >> undone; echo why >&2; exit 3",
            "echo b >> undone; [ -e go ] || sleep 1000",
        );
        std::fs::write(home.path().join("plan.toml"), plan).unwrap();
        let mut child = cl_run(home.path(), &["--run", "run", "--undo", "plan.toml"])
            .spawn()
            .unwrap();
        until("the second undo", || undone(home.path()).ends_with("b\n").then_some(()));
        let signal = if by == "KILL" {
            nix::sys::signal::Signal::SIGKILL
        } else {
            nix::sys::signal::Signal::SIGTERM
        };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        wait(&mut child, "cl-run");
        std::fs::write(home.path().join("go"), "").unwrap();
        let done = resumed(home.path(), &[]).exits(1);
        assert_eq!(undone(home.path()), "c\nb\nb\na made\n", "{by}: {}", done.err);
        // Now it is over, and the next one runs the plan.
        let acts = acts(home.path());
        assert_eq!(acts.last().unwrap(), "finish");
        resumed(home.path(), &[]).exits(1);
        assert!(super::acts(home.path())[acts.len()..].contains(&"start a".to_owned()));
    }
}

/// Whether a process sleeps: not once in a while, but each time one looks.
fn sleeps(pid: u32) {
    let mut times = 0;
    until("cl-run to sleep", || {
        let sleeps = state(pid as i32).expect("it runs") == 'S';
        times = if sleeps { times + 1 } else { 0 };
        (times == 50).then_some(())
    });
}

/// What nobody heeds any more does not keep it awake: streams that are added, and a reader that goes away.
#[test]
fn at_the_end_it_waits_for_streams_alone() {
    let home = scratch();
    for name in ["end", "undone"] {
        mkfifo(&home.path().join(name));
    }
    let plan = "name = 'u'\n[stream.a]\nrun = ['true']\nundo = ['sh', '-c', 'touch undoing; cat undone']\n\
                [stream.bad]\nafter = ['a']\nrun = ['sh', '-c', 'until [ -e ready ]; do sleep 0.01; done; false']\n\
                [stream.slow]\nafter = ['a']\nrun = ['sh', '-c', 'trap \"touch ending; cat end; exit\" TERM; touch ready; while :; do sleep 0.01; done']\n\
                [wait]\nneed = ['bad']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let run = ["--run", "run", "--undo", "plan.toml"];
    let mut child = cl_run(home.path(), &run).spawn().unwrap();
    let reader = child.stdout.take();
    let add = |name: &str| std::fs::write(home.path().join("run/add").join(name), "").unwrap();
    let go = |name: &str| std::fs::write(home.path().join(name), "").unwrap();
    until("the end", || home.path().join("ending").exists().then_some(()));
    add("1.toml");
    sleeps(child.id());
    go("end");
    until("the undo", || home.path().join("undoing").exists().then_some(()));
    add("2.toml");
    drop(reader);
    sleeps(child.id());
    go("undone");
    collect(child, "cl-run").exits(1);
}
