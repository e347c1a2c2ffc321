//! Named locks, across plans and processes.

use super::*;

/// A stream that fails where another one is at work at the same time.
const WORK: &str = "mkdir held || exit 1; sleep 0.03; rmdir held";

#[test]
fn no_two_are_at_work_at_once() {
    let home = scratch();
    let plan = |locks: &str| {
        let streams: String = (0..4)
            .map(|n| format!("[stream.s{n}]\nlocks = [{locks}]\nrun = ['sh', '-c', '{WORK}']\n"))
            .collect();
        format!("name = 'l'\njobs = 4\n{streams}")
    };
    // Each in another order: nobody waits for ever.
    std::fs::write(home.path().join("one.toml"), plan("'y', 'x'")).unwrap();
    std::fs::write(home.path().join("two.toml"), plan("'x', 'z', 'y'")).unwrap();
    let one = cl_run(home.path(), &["--run", "one", "one.toml"]).spawn().unwrap();
    let two = finish(cl_run(home.path(), &["--run", "two", "two.toml"]), b"").exits(0);
    assert_eq!(outcomes(&two).len(), 4);
    collect(one, "the other run").exits(0);
    // What is locked is nobody else's business.
    use std::os::unix::fs::PermissionsExt;
    for (path, mode) in [("locks", 0o700), ("locks/x", 0o600)] {
        let path = home.path().join(".local/state/cl").join(path);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{path:?}");
    }
}

/// Who waits for a lock does not keep others from their turn; a lock is that of the script's, too.
#[test]
fn a_lock_of_others_is_waited_for() {
    let home = scratch();
    let locks = home.path().join(".local/state/cl/locks");
    std::fs::create_dir_all(&locks).unwrap();
    let held = std::fs::File::create(locks.join("db")).unwrap();
    harmony::sys::fds::flock(&held, false).unwrap();
    let plan =
        "name = 'l'\njobs = 1\n[stream.a]\nlocks = ['db']\nrun = ['touch', 'a']\n[stream.b]\nrun = ['touch', 'b']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let child = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    until("the stream without a lock", || {
        home.path().join("b").exists().then_some(())
    });
    assert!(!home.path().join("a").exists());
    drop(held);
    collect(child, "cl-run").exits(0);
    assert!(home.path().join("a").exists());
    // Told to end while one waits, it does.
    let held = std::fs::File::create(locks.join("db")).unwrap();
    harmony::sys::fds::flock(&held, false).unwrap();
    let done = finish(
        cl_run(home.path(), &["--run", "other", "--max-time", "0.2s", "plan.toml"]),
        b"",
    )
    .exits(124);
    assert_eq!(outcomes(&done).len(), 1);
}

/// A lock is held as long as its worker lives, also when cl-run is killed.
#[test]
fn a_lock_outlives_cl_run_with_its_worker() {
    let home = scratch();
    let plan = "name = 'l'\n[stream.a]\nlocks = ['db']\nrun = ['sleep', '1000']\n";
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let mut child = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    let pid = worker(home.path(), "a");
    let lock = std::fs::File::open(home.path().join(".local/state/cl/locks/db")).unwrap();
    harmony::sys::fds::flock(&lock, false).unwrap_err();
    child.kill().unwrap();
    wait(&mut child, "cl-run");
    harmony::sys::fds::flock(&lock, true).unwrap();
    // What is being killed holds nothing; its exit code stands at the end.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.trim_end().ends_with(" 9"), "{state}");
}
