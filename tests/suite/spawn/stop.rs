//! Being stopped: by a limit, by a signal, by a reader that goes away.

use super::*;
use std::time::Instant;

/// Signals that come sooner one after the other are one.
const NOT_THE_SAME_WISH: Duration = Duration::from_millis(150);

#[test]
fn the_ladder_goes_up_to_kill() {
    let deaf = "trap '' INT TERM; echo ready; while :; do sleep 0.1; done";
    let done = spawn(&["x", "-t", "0.3", "-k", "0.2", "--", "sh", "-c", deaf]).exits(124);
    let stop = &of(&done.json(), "stop")[0];
    assert_eq!(
        (text(stop, "/because"), &stop["with"]),
        ("timeout", &serde_json::json!(["SIGTERM", "SIGKILL"]))
    );
    assert_eq!(
        (&exit(&done)["outcome"], &exit(&done)["signal"]),
        (&"timeout".into(), &"SIGKILL".into())
    );
    let tidy = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let done = spawn(&["x", "-t", "0.3", "--", "sh", "-c", tidy]).exits(124);
    assert_eq!(unwrapped(&done.out), b"ready\nbye\n");
    assert_eq!(exit(&done)["because"], "stopped at the timeout, exit 0");
}

#[test]
fn idle_asks_for_a_sign_of_life() {
    // Output now and then, and CPU time without any, are signs of life.
    let speaks = "for i in 1 2 3 4 5 6; do sleep 0.1; echo $i; done";
    spawn(&["x", "--idle", "0.5", "--", "sh", "-c", speaks]).ok();
    let burns = "end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do :; done";
    spawn(&["x", "--idle", "0.5", "--", "sh", "-c", burns]).ok();
    let done = spawn(&["x", "--idle", "0.2", "--", "sleep", "300"]).exits(124);
    assert_eq!(of(&done.json(), "stop")[0]["because"], "idle");
}

#[test]
fn a_signal_stops_the_worker_and_is_the_exit_code() {
    for (signal, code) in [(2, 130), (15, 143), (1, 129), (3, 131)] {
        let mut running = Running::start(&[
            "x",
            "--",
            "sh",
            "-c",
            "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done",
        ]);
        let worker = running.worker();
        running.until("text");
        kill(running.pid(), signal);
        let done = running.end().exits(code);
        assert_eq!((text(&exit(&done), "/outcome"), alive(worker)), ("cancelled", false));
        assert_eq!(of(&done.json(), "stop")[0]["because"], "signal");
        assert_eq!(of(&done.json(), "text")[0]["text"], "bye");
    }
}

#[test]
fn a_signal_at_the_worst_moment_is_heard() {
    // From before it has begun to after it has ended; whatever it finds, nothing stays and a stream has its end.
    for step in 0..40 {
        let mut command = command(tool("cl-spawn"));
        command.args(["x", "--", "sleep", "300"]);
        let running = Running::begin(command);
        std::thread::park_timeout(Duration::from_micros(step * 150));
        kill(running.pid(), 15);
        let done = running.end().exits(143);
        if let Some(start) = done.json().first() {
            assert_eq!(text(&exit(&done), "/outcome"), "cancelled");
            assert!(!alive(start["pid"].as_i64().unwrap() as i32));
        }
    }
}

#[test]
fn a_second_signal_is_now() {
    let deaf = "trap '' INT TERM; echo up; while :; do sleep 0.1; done";
    let mut running = Running::start(&["x", "-k", "1h", "--", "sh", "-c", deaf]);
    running.until("text");
    kill(running.pid(), 2);
    running.until("stop");
    std::thread::park_timeout(NOT_THE_SAME_WISH);
    kill(running.pid(), 2);
    let done = running.end().exits(130);
    assert_eq!(exit(&done)["signal"], "SIGKILL");
}

#[test]
fn a_second_signal_ends_also_what_its_reader_holds_up() {
    let mut running = Running::start(&["x", "-k", "1h", "--", "yes"]);
    let worker = running.worker();
    // The pipe is full when cl-spawn's pump waits to write.
    let tasks = format!("/proc/{}/task", running.pid());
    until("the pump to wait", || {
        let tasks = std::fs::read_dir(&tasks).ok()?;
        let waits = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("wchan")).is_ok_and(|at| at.contains("pipe_write"))
        };
        tasks.flatten().any(waits).then_some(())
    });
    kill(running.pid(), 15);
    until("the worker's end", || (!alive(worker)).then_some(()));
    std::thread::park_timeout(NOT_THE_SAME_WISH);
    assert_eq!(running.child.try_wait().unwrap(), None);
    kill(running.pid(), 15);
    // Nobody reads meanwhile.
    assert_eq!(wait(&mut running.child, "cl-spawn").code(), Some(143));
}

#[test]
fn a_signal_that_is_told_twice_at_once_is_one() {
    // GNU timeout tells its child, and then its group, of which the child is one.
    let worker = "trap 'sleep 0.1; echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done";
    for _ in 0..10 {
        let mut command = command("timeout");
        command
            .arg("1h")
            .arg(tool("cl-spawn"))
            .args(["x", "-k", "1h", "--", "sh", "-c", worker]);
        let mut running = Running::begin(command);
        running.until("text");
        kill(running.pid(), 15);
        assert_eq!(unwrapped(&running.end().exits(143).out), b"bye\n");
    }
    let mut running = Running::start(&["x", "-k", "1h", "--", "sh", "-c", worker]);
    running.until("text");
    for _ in 0..3 {
        kill(running.pid(), 15);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(of(&running.end().exits(143).json(), "text")[0]["text"], "bye");
}

#[test]
fn nohup_is_obeyed() {
    let mut command = command("env");
    command.arg("--ignore-signal=HUP").arg(tool("cl-spawn"));
    command.args(["x", "--", "sh", "-c", "echo up; sleep 0.3; echo on"]);
    let mut running = Running::begin(command);
    running.until("text");
    kill(running.pid(), 1);
    let done = running.end().exits(0);
    assert_eq!(unwrapped(&done.out), b"on\n");
}

#[test]
fn a_reader_that_goes_away_stops_it() {
    let scratch = scratch();
    let begin = Instant::now();
    let mut command = command("bash");
    command.current_dir(scratch.path());
    command.args([
        "-c",
        "cl-spawn q -- sh -c 'echo $$ > pid; echo hi; sleep 300' | head -n 2; echo ${PIPESTATUS[0]}",
    ]);
    let done = finish(command, b"").ok();
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let lines: Vec<&str> = done.text().lines().collect();
    assert_eq!((lines.len(), lines[2]), (3, "141"));
    let pid = std::fs::read_to_string(scratch.path().join("pid")).unwrap();
    assert!(!alive(pid.trim().parse().unwrap()));
}

#[test]
fn a_reader_that_is_gone_is_noticed_without_a_write() {
    for capture in ["file", "pipe", "pty"] {
        let mut running = Running::start(&["x", "--heartbeat", "0", "--capture", capture, "--", "sleep", "300"]);
        let worker = running.worker();
        let begin = Instant::now();
        drop(running.out);
        assert_eq!(wait(&mut running.child, "cl-spawn").code(), Some(141));
        assert!(begin.elapsed() < SOON);
        assert!(!alive(worker));
    }
}

#[test]
fn a_reader_at_a_socket_is_noticed_too() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = command(tool("cl-spawn"));
    command
        .args(["x", "--heartbeat", "0", "--", "sleep", "300"])
        .stdin(Stdio::null());
    let mut child = command.stdout(std::os::fd::OwnedFd::from(theirs)).spawn().unwrap();
    // The command holds the other end.
    drop(command);
    let mut line = String::new();
    let mut reader = BufReader::new(ours);
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("\"start\""));
    drop(reader);
    assert_eq!(wait(&mut child, "cl-spawn").code(), Some(141));
}

#[test]
fn a_stopped_worker_is_stopped_all_the_same() {
    for worker in ["kill -STOP $$; sleep 300", "set -m; sleep 300 & kill -STOP $! $$"] {
        let done = spawn(&["x", "-t", "0.3", "-k", "0.3", "--", "bash", "-c", worker]).exits(124);
        assert_eq!(exit(&done)["outcome"], "timeout");
    }
}

#[test]
fn a_worker_in_another_group_is_stopped_the_gentle_way() {
    let script = "setpgrp(0, getpgrp(getppid())); $SIG{TERM} = sub { print qq(bye\n); exit 0 }; $| = 1; print qq(up\n); sleep 300 while 1";
    let mut running = Running::start(&["x", "-k", "1h", "--", "perl", "-e", script]);
    running.until("text");
    kill(running.pid(), 15);
    let done = running.end().exits(143);
    assert_eq!(unwrapped(&done.out), b"bye\n");
}

#[test]
fn a_pause_stops_the_worker_and_the_clocks() {
    let mut running = Running::start(&[
        "x",
        "-t",
        "1h",
        "--heartbeat",
        "0.1",
        "--",
        "sh",
        "-c",
        "sleep 300 & echo $!; wait",
    ]);
    let worker = running.worker();
    let child: i32 = text(&running.until("text"), "/text").parse().unwrap();
    running.until("heartbeat");
    kill(running.pid(), nix::libc::SIGTSTP);
    until("all to be stopped", || {
        [running.pid(), worker, child]
            .iter()
            .all(|&pid| state(pid) == Some('T'))
            .then_some(())
    });
    let paused = Instant::now();
    std::thread::park_timeout(Duration::from_millis(600));
    kill(running.pid(), nix::libc::SIGCONT);
    // The silence while it was paused is none: heartbeats that were said before may still be on their way.
    until("all to go on", || {
        [running.pid(), worker, child]
            .iter()
            .all(|&pid| state(pid) != Some('T'))
            .then_some(())
    });
    let pause = paused.elapsed().as_secs_f64();
    let idle = |beat: &Value| beat["idle"].as_f64().unwrap();
    let mut last = running.until("heartbeat");
    for _ in 0..3 {
        let next = running.until("heartbeat");
        assert!(idle(&next) - idle(&last) < pause, "{last} {next}");
        last = next;
    }
    kill(running.pid(), 15);
    running.end().exits(143);
}

#[test]
fn told_to_pause_and_at_once_to_go_on_it_goes_on() {
    let mut running = Running::start(&["x", "--heartbeat", "0.05", "--", "sleep", "300"]);
    for _ in 0..20 {
        running.until("heartbeat");
        kill(running.pid(), nix::libc::SIGTSTP);
        kill(running.pid(), nix::libc::SIGCONT);
    }
    kill(running.pid(), 15);
    running.end().exits(143);
}

/// Where nobody can hold us up there is one thread for all; a flood does not keep it from the rest.
#[test]
fn a_flood_into_a_file_is_stopped_in_time() {
    for sink in ["/dev/null", "out"] {
        let scratch = scratch();
        let script = format!(
            "cd {}; ulimit -f 4000000; cl-spawn x -t 0.3 --capture pipe -- yes > {sink}",
            scratch.path().display()
        );
        let begin = Instant::now();
        bash(&script).exits(124);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
}

#[test]
fn a_stream_into_a_file_beats_and_hears_signals() {
    let scratch = scratch();
    let out = scratch.path().join("out");
    let mut child = command(tool("cl-spawn"))
        .args(["x", "--heartbeat", "0.1", "--", "sleep", "300"])
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let lines = || json_lines(&std::fs::read(&out).unwrap());
    until("three beats", || (of(&lines(), "heartbeat").len() >= 3).then_some(()));
    kill(child.id() as i32, 15);
    assert_eq!(wait(&mut child, "cl-spawn").code(), Some(143));
    assert_eq!(of(&lines(), "exit")[0]["outcome"], "cancelled");
}
