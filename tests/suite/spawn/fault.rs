//! A machine that is short of something, and a stdout that takes nothing.

use super::*;

#[test]
fn a_stdout_that_is_closed_is_a_failure() {
    let done = bash("cl-spawn x -- touch ran >&-").exits(125);
    assert!(done.err.starts_with("cl-spawn: stdout: "), "{}", done.err);
    bash("cl-spawn x -- true 1</dev/null").exits(125);
}

#[test]
fn a_stderr_or_stdin_that_is_closed_is_none() {
    let done = bash("cl-spawn x --stderr pass -- sh -c 'echo out; echo err >&2' 2>&- <&-").exits(0);
    assert_eq!(unwrapped(&done.out), b"out\n");
}

#[test]
fn a_disk_that_is_full_is_told() {
    let done = bash("cl-spawn x -- sh -c 'echo hi; sleep 300' > /dev/full").exits(125);
    assert_eq!(done.err, "cl-spawn: stdout: No space left on device\n");
}

#[test]
fn files_are_written_as_they_were_opened() {
    let scratch = scratch();
    let run = |script: &str| {
        let mut command = command("bash");
        command.current_dir(scratch.path()).args(["-c", script]);
        finish(command, b"").ok();
        std::fs::read(scratch.path().join("out")).unwrap()
    };
    let once = run("cl-spawn a -- seq 1000 > out");
    assert_eq!(unwrapped(&once).len(), 3893);
    let twice = run("cl-spawn b -- seq 1000 >> out");
    assert!(twice.starts_with(&once) && unwrapped(&twice).len() == 2 * 3893);
    let both = run("{ cl-spawn a -- seq 1000 & cl-spawn b -- seq 1000 & wait; } > out");
    assert_eq!(unwrapped(&both).len(), 2 * 3893);
    assert_eq!(json_lines(&both).len(), 2 * 1002);
}

#[test]
fn a_terminal_is_a_stdout_as_any() {
    let done = bash("script -qec 'cl-spawn x -- echo hi' /dev/null < /dev/null");
    assert_eq!(of(&done.json(), "text")[0]["text"], "hi");
}

#[test]
fn without_a_folder_for_temporary_files_there_is_memory() {
    for folder in ["/nonexistent", "/proc", "/dev/null"] {
        let done = bash(&format!("TMPDIR={folder} cl-spawn x --capture file -- seq 100000")).ok();
        assert_eq!(unwrapped(&done.out).len(), 588_895);
    }
}

/// Runs a script with `$ROOM` a file system of that size, where this machine lets us mount one.
fn with_room(size: &str, script: &str) -> Option<Done> {
    let scratch = scratch();
    let room = scratch.path().display();
    let mounted = format!("mount -t tmpfs -o size={size} none {room} && export ROOM={room}");
    let inside = |script: &str| {
        let mut command = command("unshare");
        command.args(["-rm", "bash", "-c", &format!("{mounted} && {{ {script}\n}}")]);
        finish(command, b"")
    };
    if inside("true").code() != 0 {
        eprintln!("skipped: no file system can be mounted here");
        return None;
    }
    Some(inside(script))
}

#[test]
fn a_small_disk_for_temporary_files_is_not_begun_on() {
    let script = "TMPDIR=$ROOM cl-spawn x --capture file -- seq 1000000";
    if let Some(done) = with_room("1m", script) {
        assert_eq!(unwrapped(&done.ok().out).len(), 6_888_896);
    }
}

#[test]
fn a_disk_that_fills_up_under_the_worker_is_told() {
    // Nobody reads the stream until the worker has met the end of the disk.
    let script = "mkfifo $ROOM/met; (TMPDIR=$ROOM cl-spawn x --capture file -- sh -c '\"$FIXTURE\" lines 800 100000 2>/dev/null; echo 1 > $ROOM/met; exit 1') |
        { read < $ROOM/met; cat; }; exit ${PIPESTATUS[0]}";
    if let Some(done) = with_room("66m", script) {
        let exit = exit(&done.exits(1));
        assert_eq!(
            exit["warnings"],
            serde_json::json!(["the disk for temporary files was full: output may be missing"])
        );
        assert_eq!(exit["whole"], false);
    }
}

#[test]
fn a_worker_that_cuts_its_own_output_is_told_of() {
    let script = "echo one and one; sleep 0.2; echo two > /dev/stdout; sleep 0.2; echo three";
    let done = spawn(&["x", "--capture", "file", "--", "sh", "-c", script]).ok();
    let said = String::from_utf8(unwrapped(&done.out)).unwrap();
    assert!(said == "one and one\ntwo\nthree\n", "{said}");
    let exit = exit(&done);
    assert!(
        text(&exit, "/warnings/0").starts_with("the worker cut the file"),
        "{exit}"
    );
    assert_eq!(exit["whole"], false);
}

#[test]
fn without_descriptors_or_processes_it_says_so() {
    for limit in ["-n 8", "-n 12", "-n 16"] {
        let done = bash(&format!("ulimit {limit}; cl-spawn x -- true")).exits(125);
        assert!(
            done.err.to_lowercase().contains("too many open files"),
            "{limit}: {}",
            done.err
        );
    }
}

#[test]
fn many_may_follow_files_at_once() {
    // More than the number of tellers of growth that a user may have.
    let limit: usize = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances")
        .map_or(0, |text| text.trim().parse().unwrap_or(0));
    if limit > 200 {
        eprintln!("skipped: this machine has {limit} inotify instances for a user");
        return;
    }
    let script = format!(
        "for i in $(seq {}); do cl-spawn w$i --capture file -- sh -c 'echo $$ > '$i'; read x < go; echo on' & done; wait",
        limit + 8
    );
    let scratch = scratch();
    mkfifo(&scratch.path().join("go"));
    let mut command = command("bash");
    command.current_dir(scratch.path()).args(["-c", &script]);
    let mut running = Running::begin(command);
    let started = || std::fs::read_dir(scratch.path()).unwrap().count() == limit + 9;
    until("all to be up", || started().then_some(()));
    // One opening lets all that wait go on.
    let go = std::fs::write(scratch.path().join("go"), "\n".repeat(limit + 8));
    go.unwrap();
    let mut out = Vec::new();
    running.out.read_to_end(&mut out).unwrap();
    wait(&mut running.child, "bash");
    assert_eq!(of(&json_lines(&out), "exit").len(), limit + 8);
    let said = of(&json_lines(&out), "text").len();
    assert_eq!(said, limit + 8);
}

/// Context switches and CPU ticks of all threads of a process.
fn work(pid: i32) -> (u64, u64) {
    let (mut switches, mut ticks) = (0, 0);
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("is there")
        .flatten()
    {
        let status = std::fs::read_to_string(task.path().join("status")).expect("is there");
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary"))
            .expect("is there");
        switches += line
            .split_whitespace()
            .last()
            .expect("is there")
            .parse::<u64>()
            .expect("is there");
        let stat = std::fs::read_to_string(task.path().join("stat")).expect("is there");
        let fields: Vec<&str> = stat[stat.rfind(')').expect("is there")..].split_whitespace().collect();
        ticks += fields[12].parse::<u64>().expect("is there") + fields[13].parse::<u64>().expect("is there");
    }
    (switches, ticks)
}

#[test]
fn a_silent_worker_costs_nothing_but_heartbeats() {
    for capture in ["file", "pipe"] {
        let mut running = Running::start(&["x", "--heartbeat", "0.5", "--capture", capture, "--", "sleep", "300"]);
        let worker = running.worker();
        let pid = running.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let warden: i32 = children.trim().parse().unwrap();
        running.until("heartbeat");
        let before = (work(pid), work(warden));
        for _ in 0..4 {
            running.until("heartbeat");
        }
        let after = (work(pid), work(warden));
        // The supervisor's timer, the pump's bell, and a write that wakes nobody here.
        assert!(after.0.0 - before.0.0 <= 4 * 4, "{before:?} {after:?}");
        assert!(after.0.1 - before.0.1 <= 2, "{before:?} {after:?}");
        assert_eq!(after.1, before.1, "the warden sleeps");
        kill(worker, 15);
        running.end().exits(143);
    }
}

#[test]
fn a_warden_that_its_own_worker_stops_goes_on_at_once() {
    let done = spawn(&["x", "--heartbeat", "0", "--", "sh", "-c", "kill -STOP $PPID; echo on"]).ok();
    assert_eq!(unwrapped(&done.out), b"on\n");
}
