//! Bytes into files: all of them, and what is told when that fails.

use super::*;

#[test]
fn any_bytes_reach_every_sink() {
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    std::fs::write(&a, "what was there before, and is longer than nothing").unwrap();
    for input in [&b""[..], b"x", b"\n", &noise(3_000_000)] {
        let done = feed("cl-tee", &[&a, &b], input).ok();
        assert!(done.out == input);
        assert!(std::fs::read(&a).unwrap() == input && std::fs::read(&b).unwrap() == input);
    }
    assert_eq!(b.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn append() {
    let dir = scratch();
    let a = dir.path().join("a");
    feed("cl-tee", &["-a", str(&a)], b"one\ntw").ok();
    feed("cl-tee", &["--append", str(&a)], b"o\n").ok();
    assert_eq!(std::fs::read(&a).unwrap(), b"one\ntwo\n");
}

#[test]
fn bytes_pass_as_they_come() {
    let dir = scratch();
    let a = dir.path().join("a");
    let mut tee = start(&[str(&a)]);
    for part in ["no line yet", ", still none", "\n", "."] {
        tee.write(part.as_bytes());
        assert_eq!(tee.read_stdout(part.len()), part.as_bytes());
    }
    until("the file to have it too", || {
        (std::fs::read(&a).ok()? == b"no line yet, still none\n.").then_some(())
    });
    tee.finish().ok();
}

#[test]
fn a_file_that_cannot_be_opened() {
    let dir = scratch();
    let (bad, good) = (dir.path().join("no/such"), dir.path().join("good"));
    for mode in ["--output-error=warn", "-p", "-i"] {
        let done = feed("cl-tee", &[mode, str(&bad), str(&good)], b"x\n").exits(1);
        assert_eq!(
            done.err,
            format!("cl-tee: {}: No such file or directory\n", bad.display())
        );
        assert_eq!((done.text(), std::fs::read(&good).unwrap()), ("x\n", b"x\n".to_vec()));
    }
    for mode in ["exit", "exit-nopipe"] {
        // stdin stays open: it must not be waited for.
        let mut tee = start(&[&format!("--output-error={mode}"), str(&bad), str(&good)]);
        let out = tee.stdout();
        let done = collect(tee.child, "cl-tee").exits(1);
        assert_eq!(
            done.err,
            format!("cl-tee: {}: No such file or directory\n", bad.display())
        );
        assert_eq!((out.len(), good.metadata().unwrap().len()), (0, 0));
        drop(tee.stdin);
    }
}

#[test]
fn misuse() {
    for args in [
        &["--output-error=bad"][..],
        &["--on-full", "x"],
        &["--buffer", "0"],
        &["--rotate", "1M,0"],
    ] {
        let done = run("cl-tee", args).exits(2);
        assert_eq!((done.text(), done.err.lines().count()), ("", 1), "{}", done.err);
    }
}

#[test]
fn closed_descriptors() {
    let dir = scratch();
    let bash = |script: &str| {
        let mut command = command("bash");
        command.current_dir(dir.path()).arg("-c").arg(script);
        harness::finish(command, b"")
    };
    let done = bash("echo hi | cl-tee x >&-").exits(1);
    assert_eq!(done.err.matches("standard output: Bad file").count(), 1, "{}", done.err);
    assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), b"hi\n");
    bash("cl-tee x >&- </dev/null").ok();
    let done = bash("cl-tee x <&-").exits(1);
    assert_eq!(done.err.matches("standard input: Bad file").count(), 1, "{}", done.err);
    // Nobody to tell: the exit code still does.
    bash("echo hi | cl-tee x >&- 2>&-").exits(1);
    let done = bash("cl-tee x </").exits(1);
    assert_eq!(done.err, "cl-tee: standard input: Is a directory\n");
}

#[test]
fn a_full_disk_is_told_once_and_costs_no_other() {
    let dir = scratch();
    let a = dir.path().join("a");
    let input = noise(1_000_000);
    let done = feed("cl-tee", &[Path::new("/dev/full"), &a], &input).exits(1);
    assert_eq!(done.err, "cl-tee: /dev/full: No space left on device\n");
    assert!(done.out == input && std::fs::read(&a).unwrap() == input);

    let done = harness::bash("yes | cl-tee /dev/full 2>&1 >/dev/full").exits(1);
    let mut lines: Vec<_> = done.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "cl-tee: /dev/full: No space left on device",
            "cl-tee: standard output: No space left on device"
        ]
    );
}

#[test]
fn the_limit_of_a_files_size() {
    let dir = scratch();
    let mut command = command("bash");
    command
        .current_dir(dir.path())
        .args(["-o", "pipefail", "-c", "ulimit -f 64; seq 100000 | cl-tee file | wc -l"]);
    let done = harness::finish(command, b"").exits(1);
    assert_eq!(
        (done.text().trim(), done.err.as_str()),
        ("100000", "cl-tee: file: File too large\n")
    );
}

#[test]
fn a_tiny_file_system() {
    let dir = scratch();
    let input = dir.path().join("input");
    std::fs::write(&input, two_streams(1000)).unwrap();
    // A mount of its own in a name space of its own: gone with the shell.
    let script = r#"
        mount -t tmpfs -o size=64k none "$1/full" 2>/dev/null || { echo SKIP; exit 0; }
        cl-tee "$1/full/a" "$1/whole" <"$1/input" | cmp - "$1/input" || exit 99
        exit "${PIPESTATUS[0]}"
    "#;
    std::fs::create_dir(dir.path().join("full")).unwrap();
    let mut command = command("unshare");
    command.args(["-rm", "bash", "-c", script, "-"]).arg(dir.path());
    let done = harness::finish(command, b"");
    if done.text() == "SKIP\n" || done.err.contains("unshare") {
        eprintln!("skipped: this user may not mount a file system");
        return;
    }
    let done = done.exits(1);
    let name = dir.path().join("full/a");
    assert_eq!(
        done.err,
        format!("cl-tee: {}: No space left on device\n", name.display())
    );
    assert!(std::fs::read(dir.path().join("whole")).unwrap() == std::fs::read(&input).unwrap());
}

#[test]
fn rotation() {
    let dir = scratch();
    let lines: Vec<String> = (1..=40).map(|seq| cl("s", seq, 300)).collect();
    let (named, run_dir) = (dir.path().join("log"), dir.path().join("run"));
    let size = lines[0].len() * 10;
    let rotate = format!("--rotate={size}");
    feed(
        "cl-tee",
        &[&rotate, "--sync", "--split", str(&run_dir), str(&named)],
        lines.concat().as_bytes(),
    )
    .ok();
    for name in [named.clone(), run_dir.join("s.ndjson")] {
        let part = |suffix: &str| std::fs::read_to_string(format!("{}{suffix}", name.display())).unwrap();
        let (whole, newest) = ([part(".4"), part(".3"), part(".2"), part(".1"), part("")], part(""));
        // Numbers grow, and with them the lines.
        assert_eq!(whole.concat(), lines.concat(), "{}", name.display());
        assert!(whole.iter().all(|part| part.len() <= size && part.ends_with('\n')));
        assert!(!newest.is_empty());
    }

    // KEEP, appending, and a line that is larger than a file may be.
    let kept = dir.path().join("kept");
    for _ in 0..3 {
        feed(
            "cl-tee",
            &["-a", "--rotate=1K,2", str(&kept)],
            (cl("s", 1, 5000) + "x\n").as_bytes(),
        )
        .ok();
    }
    let read = |suffix: &str| std::fs::read_to_string(format!("{}{suffix}", kept.display())).ok();
    assert_eq!(read("").as_deref(), Some("x\n"));
    assert_eq!(read(".1"), Some(cl("s", 1, 5000)));
    assert_eq!(read(".2").as_deref(), Some("x\n"));
    assert_eq!(read(".3"), None);
}

#[test]
fn a_huge_line_is_never_held() {
    const SIZE: u64 = 200 << 20;
    let dir = scratch();
    let file = dir.path().join("file");
    let run_dir = dir.path().join("run");
    let mut tee = start(&["--split", str(&run_dir), "--rotate", "1M", str(&file)]);
    let mut out = tee.child.stdout.take().unwrap();
    let mut stdin = tee.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        stdin.write_all(cl("big", 1, 100).trim_end().as_bytes()).unwrap();
        let block = vec![b'x'; 1 << 20];
        (0..SIZE >> 20).for_each(|_| stdin.write_all(&block).unwrap());
        stdin
    });
    let head = cl("big", 1, 100).len() as u64 - 1;
    let copied = std::io::copy(&mut (&mut out).take(head + SIZE), &mut std::io::sink()).unwrap();
    assert_eq!(copied, head + SIZE);
    let status = std::fs::read_to_string(format!("/proc/{}/status", tee.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak <= 16 << 10, "{peak} KiB");
    drop((writer.join().unwrap(), out));
    tee.finish().exits(0);
    assert_eq!(file.metadata().unwrap().len(), head + SIZE);
    assert_eq!(run_dir.join("big.ndjson").metadata().unwrap().len(), head + SIZE);
}

#[test]
fn sync_changes_nothing_but_the_disk() {
    let dir = scratch();
    let (file, run_dir) = (dir.path().join("file"), dir.path().join("run"));
    let input = two_streams(200);
    let done = feed("cl-tee", &["--sync", "--split", str(&run_dir), str(&file)], &input).ok();
    assert!(done.out == input && std::fs::read(&file).unwrap() == input);
    let mut all: Vec<Value> = Vec::new();
    for name in ["a.ndjson", "b/c.ndjson"] {
        all.extend(harness::json_lines(&std::fs::read(run_dir.join(name)).unwrap()));
    }
    assert_eq!(all.len(), 402);
}
