//! What comes out, and in which form.

use super::*;

#[test]
fn an_agents_lines_tell_how_it_ended() {
    let session = r#""session_id":"s1""#;
    let init = format!("{{\"type\":\"system\",\"subtype\":\"init\",{session},\"model\":\"m\"}}\n");
    let result = |error: bool| {
        format!(
            "{{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":{error},\"result\":\"the answer\",\"num_turns\":2,\"total_cost_usd\":0.5,{session}}}\n"
        )
    };
    for (input, outcome, answer) in [
        (init.clone() + &result(false), "success", "the answer"),
        (init.clone() + &result(true), "error", "the answer"),
        (init.clone(), "unknown", ""),
    ] {
        let lines = feed("cl-merge", &["q=-"], input.as_bytes()).ok().json();
        assert_eq!(text(&lines[0], "/agent"), "claude");
        let exit = lines.last().expect("lines");
        assert_eq!(
            (text(exit, "/outcome"), &exit["code"]),
            (outcome, &Value::Null),
            "{exit}"
        );
        assert_eq!(text(exit, "/session_id"), "s1");
        if outcome == "success" {
            assert_eq!((text(exit, "/text"), &exit["turns"]), (answer, &2.into()));
        }
    }
}

#[test]
fn only_and_not() {
    let input = whole("main", 1) + &whole("main/sub", 1) + &whole("other", 1) + "bare\n";
    for (args, expected) in [
        (&["--only", "main"][..], &["main"][..]),
        (&["--only", "main*"], &["main", "main/sub"]),
        (&["--only", "main", "--only", "oth?r"], &["main", "other"]),
        (&["--not", "main*"], &["other", "stdin"]),
        (&["--only", "*", "--not", "*/*", "--not", "stdin"], &["main", "other"]),
        (&["--only", "none"], &[]),
    ] {
        let lines = feed("cl-merge", args, input.as_bytes()).ok().json();
        let mut names: Vec<&str> = lines.iter().map(|line| text(line, "/cl/stream")).collect();
        names.dedup();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, expected, "{args:?}");
        assert_eq!(lines.len(), 3 * expected.len());
    }
    let done = run("cl-merge", &["--only", "a b"]).exits(2);
    assert!(
        done.err.lines().count() == 1 && done.err.contains("matches no stream"),
        "{}",
        done.err
    );
}

#[test]
fn by_time() {
    let dir = scratch();
    let numbered = |stream: &str, times: std::ops::Range<u64>, step: usize| -> String {
        times
            .step_by(step)
            .enumerate()
            .map(|(i, ts)| line(stream, i as u64 + 1, ts as f64, r#""n":1"#))
            .collect()
    };
    let times = |lines: &[Value]| -> Vec<f64> {
        let lines = lines.iter().filter(|line| line["n"] == 1);
        lines.filter_map(|line| line["cl"]["ts"].as_f64()).collect()
    };
    // Files, each longer than is read at once.
    for (i, name) in ["a", "b", "c"].iter().enumerate() {
        let content = numbered(name, 1_000 + i as u64..40_000, 3);
        fs::write(dir.path().join(format!("{name}.ndjson")), content).expect("writes");
    }
    let lines = run(
        "cl-merge",
        &["--order".as_ref(), "time".as_ref(), dir.path().as_os_str()],
    )
    .ok()
    .json();
    let got = times(&lines);
    assert_eq!(got.len(), 39_000);
    assert!(got.is_sorted());
    // Pipes: the later line comes first, and the window gives the earlier one its chance.
    let (a, b) = (mkfifo(&dir.path().join("x")), mkfifo(&dir.path().join("y")));
    let (merge, out) = start(&["--order", "time", "--window", "5s", "x", "y"], dir.path());
    // Open for both, so that it can be looked into.
    let mut first = File::options().read(true).write(true).open(a).expect("opens");
    let mut second = File::options().write(true).open(b).expect("opens");
    first
        .write_all(line("x", 1, 20.0, r#""n":1"#).as_bytes())
        .expect("writes");
    until("it to be read", || drained(&first).then_some(()));
    second
        .write_all(line("y", 1, 10.0, r#""n":1"#).as_bytes())
        .expect("writes");
    drop((first, second));
    let (code, rest) = ends(merge, out);
    assert_eq!((code, times(&json_lines(&rest))), (0, vec![10.0, 20.0]));
    // The window passes by itself.
    let fifo = mkfifo(&dir.path().join("z"));
    let (merge, mut out) = start(&["--order", "time", "z"], dir.path());
    let mut writer = File::options().write(true).open(fifo).expect("opens");
    writer
        .write_all(line("z", 1, 1.0, r#""n":1"#).as_bytes())
        .expect("writes");
    assert_eq!(next(&mut out)["n"], 1);
    drop(writer);
    assert_eq!(ends(merge, out).0, 0);
}

/// Whether nothing lies unread in a FIFO.
fn drained(fifo: &File) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(&mut [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(0)
}

#[test]
fn record_separators() {
    let input = whole("a", 1);
    let done = feed("cl-merge", &["-o", "seq"], input.as_bytes()).ok();
    let expected: String = input.split_inclusive('\n').map(|line| format!("\x1e{line}")).collect();
    assert_eq!(done.text(), expected);
}

#[test]
fn text_for_people() {
    let input = line("main", 1, 1.0, START)
        + &line(
            "main",
            2,
            1.0,
            r#""type":"cl","subtype":"text","text":"\u001b[31mred\u001b[0m""#,
        )
        + &line("b", 1, 1.0, r#""type":"cl","subtype":"stderr","text":"oops""#)
        + &line("main", 3, 1.0, EXIT)
        + &line(
            "b",
            2,
            1.0,
            r#""type":"cl","subtype":"exit","outcome":"failed","because":"exit 7","duration":2.0"#,
        );
    let done = feed("cl-merge", &["-o", "text"], input.as_bytes()).ok();
    assert_eq!(
        done.text(),
        "main │ red\nb    │ ! oops\nmain │ ✓ success, 0.0s\nb    │ ✗ failed (exit 7), 2.0s\n"
    );
    let done = feed("cl-merge", &["-o", "text", "--color", "always"], input.as_bytes()).ok();
    assert!(done.text().contains("\x1b[0m │ red\n"), "{}", done.text());
}

#[test]
fn joining_and_leaving() {
    let lines = feed("cl-merge", &["--verbose"], whole("a", 1).as_bytes()).ok();
    let all = lines.json();
    assert_eq!(subtypes(&of(&all, "cl-merge")), ["join", "leave"]);
    // A merge of a merge does not take these for a stream that owes an end.
    assert_eq!(feed("cl-merge", &["-"], &lines.out).ok().out, lines.out);
}

#[test]
fn merges_of_merges_change_nothing() {
    let input = whole("a", 100) + &whole("b/c", 100);
    let once = feed("cl-merge", &["-"], input.as_bytes()).ok();
    assert_eq!(once.text(), input);
}

#[test]
fn a_reader_that_goes_away_is_noticed_in_silence() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("a"));
    let (mut merge, mut out) = start(&["a"], dir.path());
    let mut writer = File::options().write(true).open(fifo).expect("opens");
    writeln!(writer, "hi").expect("writes");
    next_subtype(&mut out, "text");
    let gone = Instant::now();
    drop(out);
    assert_eq!(wait(&mut merge, "cl-merge").code(), Some(0));
    // 50 ms on a machine of its own; this one is shared.
    assert!(gone.elapsed() < Duration::from_secs(2), "{:?}", gone.elapsed());
    assert!(writeln!(writer, "x").is_err());
}

#[test]
fn a_full_disk_is_told() {
    let mut merge = command(tool("cl-merge"));
    let full = File::options().write(true).open("/dev/full").expect("opens");
    let child = merge.stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("starts");
    child.stdin.take().expect("piped").write_all(b"x\n").expect("writes");
    let done = collect(child, "cl-merge").exits(1);
    assert_eq!(done.err, "cl-merge: stdout: No space left on device\n");
}

#[test]
fn silence_costs_nothing() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("a"));
    fs::write(dir.path().join("b.ndjson"), line("b", 1, 1.0, START)).expect("writes");
    let (merge, mut out) = start(&["-f", "a", "b.ndjson"], dir.path());
    next_subtype(&mut out, "start");
    let switches = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", merge.id())).expect("lives");
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).expect("there");
            line.split_whitespace()
                .nth(1)
                .expect("a number")
                .parse()
                .expect("a number")
        };
        field("voluntary_ctxt_switches")
    };
    // Once it sleeps it goes on sleeping: looked at for a while, it never ran.
    let mut last = switches();
    let mut since = Instant::now();
    let begin = Instant::now();
    until("a second of sleep", || {
        let now = switches();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(1)).then_some(())
    });
    assert!(begin.elapsed() < DEADLINE);
    fs::write(fifo, whole("a", 1)).expect("writes");
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ends(merge, out).0, 143);
}
