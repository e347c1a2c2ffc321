//! cl-replay: what was recorded comes back, byte for byte, in its time, with its end.

use crate::harness::{Done, bash, command, fixture, run, scratch, text, tool};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Records a command by cl-spawn.
fn record(file: &Path, options: &[&str], argv: &[&str]) -> Done {
    let mut spawn = command(tool("cl-spawn"));
    spawn.arg("x").args(options).arg("--").args(argv);
    let done = crate::harness::finish(spawn, b"");
    fs::write(file, &done.out).expect("writes the recording");
    done
}

fn replay(file: &Path, options: &[&str]) -> Done {
    let mut args = vec![file.to_str().expect("UTF-8")];
    args.extend(options);
    run("cl-replay", &args)
}

/// A line of a stream that was recorded `ts` seconds after an hour past 1970.
fn line(stream: &str, seq: u64, ts: f64, rest: &str) -> String {
    format!(
        "{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":{:.6}}},{rest}}}\n",
        3600.0 + ts
    )
}

fn end(stream: &str, seq: u64, ts: f64, code: i32) -> String {
    let rest = format!("\"type\":\"cl\",\"subtype\":\"exit\",\"outcome\":\"failed\",\"code\":{code}");
    line(stream, seq, ts, &rest)
}

fn written(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("writes");
    path
}

#[test]
fn every_byte_comes_back() {
    let dir = scratch();
    let file = dir.path().join("x.ndjson");
    let fixture = fixture();
    let fixture = fixture.to_str().expect("UTF-8");
    for (options, argv) in [
        (&[][..], &[fixture, "bytes", "700000", "5"][..]),
        (&["--max-line", "1K"], &[fixture, "bytes", "300000", "6"]),
        (&["--max-line", "64K"], &[fixture, "lines", "20", "1000-500000"]),
        (&[], &["printf", "{\"a\":1}\\n\\r\\n{}\\nno end"]),
        (
            &[],
            &["printf", "{\"type\":\"cl\",\"subtype\":\"exit\"}\\n{\"cl\":1}\\n"],
        ),
        (&[], &["true"]),
    ] {
        record(&file, options, argv).ok();
        let mut plain = command(argv[0]);
        plain.args(&argv[1..]);
        let expected = crate::harness::finish(plain, b"").ok();
        let played = replay(&file, &["--speed", "max"]).ok();
        assert!(
            played.out == expected.out,
            "{argv:?}: {} of {} bytes",
            played.out.len(),
            expected.out.len()
        );
    }
}

#[test]
fn stderr_and_exit_code() {
    let dir = scratch();
    let file = dir.path().join("x.ndjson");
    record(&file, &[], &["sh", "-c", "echo out; printf 'no end' >&2; exit 7"]).exits(7);
    let played = replay(&file, &["--speed", "max"]).exits(7);
    assert_eq!((played.text(), played.err.as_str()), ("out\n", "no end"));
    assert_eq!(replay(&file, &["--speed", "max", "--no-exit"]).exits(0).text(), "out\n");
    replay(&file, &["--speed", "max", "--exit", "9"]).exits(9);
}

#[test]
fn a_signal_ends_it_again() {
    let dir = scratch();
    let file = dir.path().join("x.ndjson");
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("PIPE", 13)] {
        record(&file, &[], &["sh", "-c", &format!("echo out; kill -{name} $$")]).exits(128 + number);
        let played = replay(&file, &[]);
        assert_eq!(played.status.signal(), Some(number), "{name}: {}", played.err);
        assert!(!played.status.core_dumped());
        assert_eq!(played.text(), "out\n");
    }
}

#[test]
fn a_stream_inside_a_stream_keeps_its_own_headers() {
    let dir = scratch();
    let file = dir.path().join("x.ndjson");
    record(
        &file,
        &[],
        &["sh", "-c", "echo before; cl-spawn in -- echo hi; echo after"],
    )
    .ok();
    let played = replay(&file, &["--speed", "max"]).ok();
    let lines: Vec<&str> = played.text().lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("before", "after"));
    let inner: Vec<serde_json::Value> = lines[1..lines.len() - 1]
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(inner.iter().all(|line| text(line, "/cl/stream") == "in"));
    let subtypes: Vec<&str> = inner.iter().map(|line| text(line, "/subtype")).collect();
    assert_eq!(subtypes, ["start", "text", "exit"]);
    let again = replay(&file, &["--speed", "max", "--stream", "x/in"]).ok();
    assert_eq!(again.text(), "hi\n");
}

#[test]
fn pauses_are_played() {
    let dir = scratch();
    let content = line("x", 1, 0.0, r#""type":"cl","subtype":"start""#)
        + &line("x", 2, 0.3, r#""n":1"#)
        + &line("x", 3, 0.2, r#""n":2"#)
        + &line("x", 4, 0.5, r#""type":"cl","subtype":"heartbeat","idle":0.2"#)
        + &end("x", 5, 0.6, 3);
    let file = written(dir.path(), "x.ndjson", content);
    for (speed, least) in [("1", 600), ("4", 150)] {
        let begin = Instant::now();
        let played = replay(&file, &["--speed", speed]).exits(3);
        assert!(begin.elapsed() >= Duration::from_millis(least));
        assert_eq!(played.text(), "{\"n\":1}\n{\"n\":2}\n");
    }
}

#[test]
fn a_line_is_written_when_it_is_due_and_max_has_no_pause() {
    let dir = scratch();
    let content = line("x", 1, 0.0, r#""n":1"#) + &line("x", 2, 1e9, r#""n":2"#) + &end("x", 3, 2e9, 0);
    let file = written(dir.path(), "x.ndjson", content);
    assert_eq!(replay(&file, &["--speed", "max"]).ok().text(), "{\"n\":1}\n{\"n\":2}\n");
    // The first line comes before an eternity; who has seen enough ends it, and that is no error.
    let done = bash(&format!("set -o pipefail; cl-replay {} | head -n 1", file.display())).ok();
    assert_eq!(done.text(), "{\"n\":1}\n");
    // Slowed down beyond any clock.
    let done = bash(&format!(
        "set -o pipefail; cl-replay --speed 1e-300 {} | head -n 1",
        file.display()
    ))
    .ok();
    assert_eq!(done.text(), "{\"n\":1}\n");
}

#[test]
fn two_runs_in_one_file_follow_each_other() {
    let dir = scratch();
    let start = r#""type":"cl","subtype":"start""#;
    let content = line("x", 1, 0.0, start)
        + &line("x", 2, 0.1, r#""n":1"#)
        + &end("x", 3, 0.1, 3)
        + &line("x", 1, 1e8, start)
        + &line("x", 2, 1e8 + 0.1, r#""n":2"#)
        + &end("x", 3, 1e8 + 0.1, 4);
    let file = written(dir.path(), "x.ndjson", content);
    assert_eq!(replay(&file, &[]).exits(4).text(), "{\"n\":1}\n{\"n\":2}\n");
}

#[test]
fn one_of_several_streams() {
    let dir = scratch();
    let content = line("a", 1, 0.0, r#""n":1"#)
        + &line("b", 1, 0.0, r#""n":2"#)
        + &line("b/c", 1, 0.0, r#""n":3"#)
        + &end("a", 2, 0.0, 4)
        + &end("b", 2, 0.0, 5);
    let file = written(dir.path(), "x.ndjson", content);
    let refused = replay(&file, &[]).exits(2);
    assert!(refused.out.is_empty());
    assert!(
        refused
            .err
            .ends_with("it holds several streams; choose one by --stream: a, b\n"),
        "{}",
        refused.err
    );
    assert_eq!(replay(&file, &["--stream", "a"]).exits(4).text(), "{\"n\":1}\n");
    assert_eq!(
        replay(&file, &["--stream", "b"]).exits(5).text(),
        "{\"n\":2}\n{\"cl\":{\"stream\":\"c\",\"seq\":1,\"ts\":3600.000000},\"n\":3}\n"
    );
    let none = replay(&file, &["--stream", "z"]).exits(2);
    assert!(none.err.ends_with("it holds no stream z\n"), "{}", none.err);
    // A pipe can be read but once, so the second stream is met midway.
    let piped = bash(&format!("cl-replay <(cat {})", file.display())).exits(2);
    assert_eq!(piped.text(), "{\"n\":1}\n");
}

#[test]
fn a_bare_file_with_its_meta_json() {
    let dir = scratch();
    let bytes = b"{\"type\":\"system\"}\n\xff\xfe\n{\"type\":\"result\"}\ntail";
    let file = written(dir.path(), "run.ndjson", bytes);
    assert_eq!(replay(&file, &[]).ok().out, bytes);
    replay(&file, &["--exit", "6"]).exits(6);
    let meta =
        r#"{"exit":3,"duration_ms":400,"stderr":"one\ntwo","stderr_ms":[150],"arrivals":[[100,18,"system"],[300,9]]}"#;
    written(dir.path(), "run.meta.json", meta);
    let begin = Instant::now();
    let played = replay(&file, &[]).exits(3);
    assert!(begin.elapsed() >= Duration::from_millis(400));
    assert_eq!((played.out.as_slice(), played.err.as_str()), (&bytes[..], "one\ntwo"));
    assert_eq!(replay(&file, &["--no-exit", "--speed", "max"]).exits(0).out, bytes);
    // Where stdout and stderr are one, the order is the recorded one.
    for speed in ["1", "max"] {
        let both = bash(&format!("cl-replay --speed {speed} {} 2>&1", file.display())).exits(3);
        assert!(
            both.out.starts_with(b"{\"type\":\"system\"}\none\ntwo\xff\xfe"),
            "{speed}"
        );
    }
    written(dir.path(), "run.meta.json", r#"{"signal":"SIGINT"}"#);
    assert_eq!(replay(&file, &[]).status.signal(), Some(2));
    for (meta, why) in [
        ("{", "run.meta.json: EOF while parsing"),
        (r#"{"exit":-1}"#, "run.meta.json: exit is no number from 0 to 255"),
        (r#"{"signal":"SIGWHAT"}"#, "run.meta.json: 'SIGWHAT' is no signal"),
    ] {
        written(dir.path(), "run.meta.json", meta);
        let refused = replay(&file, &[]).exits(1);
        assert!(refused.err.contains(why), "{}", refused.err);
    }
}

#[test]
fn what_is_missing_is_told() {
    let dir = scratch();
    let one = line("x", 1, 0.0, r#""n":1"#);
    let file = written(dir.path(), "x.ndjson", &one);
    let played = replay(&file, &[]).exits(1);
    assert_eq!(played.text(), "{\"n\":1}\n");
    assert!(
        played.err.contains("not recorded how the worker ended"),
        "{}",
        played.err
    );
    assert_eq!(replay(&file, &["--no-exit"]).ok().text(), "{\"n\":1}\n");

    let gap = line("x", 5, 0.0, r#""type":"cl","subtype":"gap","from":2,"to":5,"lost":4"#);
    let cut = r#"{"cl":{"stream":"x","seq":7,"ts":3600.0},"ty"#;
    let file = written(
        dir.path(),
        "y.ndjson",
        one + &gap + "stray\n" + &end("x", 6, 0.0, 0) + cut,
    );
    let played = replay(&file, &[]).exits(0);
    assert_eq!(played.text(), "{\"n\":1}\n");
    for why in [
        "lines 2 to 5 of the stream were lost",
        "line 3 bears no header",
        "the last line is cut",
    ] {
        assert!(played.err.contains(why), "{why}: {}", played.err);
    }
    // Only the line feed is missing: that line is whole.
    let file = written(dir.path(), "z.ndjson", end("x", 6, 0.0, 8).trim_end());
    replay(&file, &[]).exits(8);
}

#[test]
fn errors_in_one_line() {
    let dir = scratch();
    let missing = dir.path().join("none.ndjson");
    let done = replay(&missing, &[]).exits(1);
    assert_eq!(
        done.err,
        format!("cl-replay: {}: No such file or directory\n", missing.display())
    );
    assert!(replay(dir.path(), &[]).exits(1).err.ends_with("Is a directory\n"));
    let bare = written(dir.path(), "bare.ndjson", "text\n");
    replay(&bare, &["--stream", "x"]).exits(2);
    for speed in ["0", "-1", "inf", "nan", "fast"] {
        replay(&bare, &[&format!("--speed={speed}")]).exits(2);
    }
    replay(&bare, &["--exit=1", "--no-exit"]).exits(2);
    let full = bash(&format!("cl-replay {} >/dev/full", bare.display())).exits(1);
    assert_eq!(full.err, "cl-replay: stdout: No space left on device\n");
    let closed = bash(&format!("cl-replay {} >&-", bare.display())).exits(1);
    assert!(closed.err.starts_with("cl-replay: stdout: Bad file"), "{}", closed.err);
    let empty = written(dir.path(), "empty.ndjson", "");
    assert!(replay(&empty, &[]).ok().out.is_empty());
}

#[test]
fn a_large_file_needs_little_memory() {
    let dir = scratch();
    let file = dir.path().join("x.ndjson");
    record(
        &file,
        &[],
        &[fixture().to_str().expect("UTF-8"), "lines", "100000", "660", "block=1"],
    )
    .ok();
    let script = format!(
        "ulimit -v 40000; set -o pipefail; cl-replay --speed max {} | wc",
        file.display()
    );
    let counted = bash(&script).ok();
    let counts: Vec<&str> = counted.text().split_whitespace().collect();
    assert_eq!((counts[0], counts[2]), ("100000", "66000000"));
}

#[test]
fn cl_spawn_plays_a_folder_of_recordings() {
    let dir = scratch();
    let mut spawn = command(tool("cl-spawn"));
    spawn.args(["main", "--"]).arg(fixture()).arg("claude");
    let recorded = crate::harness::finish(spawn, b"hi @@as n=3@@").ok();
    written(dir.path(), "main.ndjson", &recorded.out);
    let agent = format!("replay:{}", dir.path().display());
    let played = run("cl-spawn", &["main", "--agent", &agent]).ok();
    let last = played.json().pop().expect("an exit");
    assert_eq!(
        (text(&last, "/outcome"), text(&last, "/text")),
        ("success", "Part 2 xxxxx")
    );
    let none = run("cl-spawn", &["other", "--agent", &agent]).exits(1);
    assert!(none.text().contains("No such file or directory"), "{}", none.text());
}

#[test]
fn the_recordings_are_whole_and_say_nothing_of_the_machine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/recordings");
    for name in [
        "main",
        "context",
        "suggestions",
        "validation",
        "quick",
        "enhanced",
        "complete",
        "follow-up/main",
    ] {
        let file = folder.join(format!("{name}.ndjson"));
        let recorded = fs::read_to_string(&file).expect("reads");
        assert!(recorded.len() < 100_000, "{name}: {} bytes", recorded.len());
        for private in ["/tmp", "\"/home/", "/root", "sk-ant", env!("CARGO_MANIFEST_DIR")] {
            assert!(!recorded.contains(private), "{name}: {private}");
        }
        let lines = crate::harness::json_lines(recorded.as_bytes());
        let last = lines.last().expect("an exit");
        assert_eq!((text(last, "/subtype"), text(last, "/outcome")), ("exit", "success"));
        let played = replay(&file, &["--speed", "max"]).ok();
        assert_eq!(last["bytes"].as_u64(), Some(played.out.len() as u64));
        assert_eq!(last["lines"].as_u64(), Some(played.json().len() as u64));
    }
}
