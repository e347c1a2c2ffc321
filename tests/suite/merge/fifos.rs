//! FIFOs: who comes first, who leaves, who makes them.

use super::*;

#[test]
fn two_fifos_end_by_themselves() {
    let done = bash(
        r#"cd "$(mktemp -d)" && mkfifo a b
        seq 1000 > a &
        { for i in $(seq 500); do echo "{\"type\":\"x\",\"n\":$i}"; done > b; } &
        cl-merge a b; code=$?; rm -r "$PWD"; exit $code"#,
    )
    .ok();
    let lines = done.json();
    for (name, count) in [("a", 1000), ("b", 500)] {
        let stream = of(&lines, name);
        assert_eq!(seqs(&stream), (1..=count + 2).collect::<Vec<_>>(), "{name}");
        assert_eq!(text(stream[0], "/subtype"), "start");
        assert!(stream[0]["pid"].is_null());
        let exit = stream.last().expect("lines");
        assert_eq!((text(exit, "/subtype"), text(exit, "/outcome")), ("exit", "unknown"));
        assert_eq!((exit["lines"].as_u64(), &exit["code"]), (Some(count), &Value::Null));
    }
    assert_eq!(text(of(&lines, "a")[1], "/text"), "1");
    assert_eq!(of(&lines, "b")[500]["n"], 500);
}

#[test]
fn a_fifo_nobody_writes_to_yet_is_no_end_and_one_that_was_left_is() {
    let dir = scratch();
    mkfifo(&dir.path().join("a"));
    mkfifo(&dir.path().join("b"));
    let (merge, mut out) = start(&["a", "b"], dir.path());
    // The writer of b comes and goes while nobody has opened a.
    fs::write(dir.path().join("b"), "x\n").expect("writes");
    assert_eq!(text(&next_subtype(&mut out, "exit"), "/cl/stream"), "b");
    // One that writes nothing has been there all the same.
    drop(File::options().write(true).open(dir.path().join("a")).expect("opens"));
    let exit = next_subtype(&mut out, "exit");
    assert_eq!((text(&exit, "/cl/stream"), &exit["lines"]), ("a", &0.into()));
    assert_eq!(ends(merge, out), (0, Vec::new()));
}

#[test]
fn lines_are_passed_on_as_they_come() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("a"));
    let (merge, mut out) = start(&["a"], dir.path());
    let mut writer = File::options().write(true).open(&fifo).expect("opens");
    for word in ["one", "two"] {
        writeln!(writer, "{word}").expect("writes");
        assert_eq!(text(&next_subtype(&mut out, "text"), "/text"), word);
    }
    drop(writer);
    assert_eq!(ends(merge, out).0, 0);
}

#[test]
fn makes_fifos_and_removes_them() {
    let dir = scratch();
    let (merge, out) = start(&["--mkfifo", "a", "x=b"], dir.path());
    for name in ["a", "b"] {
        let path = dir.path().join(name);
        until("the FIFO", || path.exists().then_some(()));
        fs::write(&path, "hi\n").expect("writes");
    }
    let (code, rest) = ends(merge, out);
    assert_eq!((code, of(&json_lines(&rest), "x").len()), (0, 3));
    assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 0);
}

#[test]
fn removes_only_the_fifos_it_made() {
    let dir = scratch();
    let mine = mkfifo(&dir.path().join("mine"));
    let (merge, out) = start(&["--mkfifo", "mine", "made"], dir.path());
    until("the FIFO", || dir.path().join("made").exists().then_some(()));
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ends(merge, out).0, 143);
    assert!(mine.exists() && !dir.path().join("made").exists());
    let done = run("cl-merge", &["--mkfifo", "/nonexistent/x"]).exits(1);
    assert_eq!(done.err, "cl-merge: /nonexistent/x: No such file or directory\n");
}

#[test]
fn a_signal_closes_the_streams_and_passes_on_what_was_read() {
    let dir = scratch();
    let (a, b) = (mkfifo(&dir.path().join("a")), mkfifo(&dir.path().join("b")));
    for (signal_, code) in [
        (nix::sys::signal::Signal::SIGINT, 130),
        (nix::sys::signal::Signal::SIGTERM, 143),
        (nix::sys::signal::Signal::SIGHUP, 129),
    ] {
        let (merge, mut out) = start(&["a", "b"], dir.path());
        let mut first = File::options().write(true).open(&a).expect("opens");
        let mut second = File::options().write(true).open(&b).expect("opens");
        first.write_all(b"one\nhalf").expect("writes");
        next_subtype(&mut out, "text");
        second.write_all(line("s", 1, 1.0, START).as_bytes()).expect("writes");
        next_subtype(&mut out, "start");
        signal(&merge, signal_);
        let (got, rest) = ends(merge, out);
        let rest = json_lines(&rest);
        assert_eq!(got, code);
        assert_eq!(subtypes(&of(&rest, "a")), ["text", "exit"]);
        assert_eq!(text(of(&rest, "a")[0], "/text"), "half");
        assert!(text(of(&rest, "a")[1], "/because").contains("SIG"));
        assert_eq!(subtypes(&of(&rest, "s")), ["lost"]);
    }
}

#[test]
fn what_ends_by_itself_after_a_signal_is_told_as_ever() {
    let dir = scratch();
    let (silent, plain) = (mkfifo(&dir.path().join("silent")), mkfifo(&dir.path().join("plain")));
    let (merge, mut out) = start(&["silent", "plain"], dir.path());
    let first = File::options().write(true).open(&silent).expect("opens");
    let mut second = File::options().write(true).open(&plain).expect("opens");
    second.write_all(b"one\n").expect("writes");
    next_subtype(&mut out, "text");
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    until("the signal to be taken", || {
        let pending = fs::read_to_string(format!("/proc/{}/status", merge.id())).ok()?;
        let shared = pending.lines().find(|line| line.starts_with("ShdPnd:"))?;
        shared.ends_with("0000000000000000").then_some(())
    });
    drop((first, second));
    let (code, rest) = ends(merge, out);
    let rest = json_lines(&rest);
    assert_eq!(code, 143);
    // A source that was asked for by name owes an end, though it never said a word.
    assert_eq!(subtypes(&of(&rest, "silent")), ["start", "exit"]);
    assert_eq!(subtypes(&of(&rest, "plain")), ["exit"]);
    assert!(!text(of(&rest, "plain")[0], "/because").contains("SIG"), "{rest:?}");
}

#[test]
fn the_second_signal_ends_it_though_nobody_reads() {
    let dir = scratch();
    let file = dir.path().join("big");
    fs::write(&file, "x".repeat(99).as_bytes()).expect("writes");
    let mut grow = File::options().append(true).open(&file).expect("opens");
    (0..20_000).for_each(|_| {
        grow.write_all(b"\nsome line of text that fills the pipe")
            .expect("writes")
    });
    let (mut merge, out) = start(&["--mkfifo", "big", "made"], dir.path());
    // Once it sleeps in its write, the pipe is full and nobody empties it.
    until("the full pipe", || {
        let wchan = fs::read_to_string(format!("/proc/{}/wchan", merge.id())).ok()?;
        let syscall = fs::read_to_string(format!("/proc/{}/syscall", merge.id())).unwrap_or_default();
        (wchan.contains("pipe_write") || syscall.starts_with("1 ")).then_some(())
    });
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    until("the first signal to be taken", || {
        let pending = fs::read_to_string(format!("/proc/{}/status", merge.id())).ok()?;
        let shared = pending.lines().find(|line| line.starts_with("ShdPnd:"))?;
        shared.ends_with("0000000000000000").then_some(())
    });
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(wait(&mut merge, "cl-merge").code(), Some(143));
    assert!(!dir.path().join("made").exists());
    drop(out);
}
