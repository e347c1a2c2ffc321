//! A thousand streams at once, and what happens where there are too few descriptors for them.

use crate::harness::{Done, bash, command, feed, finish, json_lines, scratch, text};
use std::fmt::Write as _;
use std::path::Path;

const STREAMS: usize = 1000;
const LINES: usize = 20;

/// A thousand streams that take turns.
fn streams() -> String {
    let mut all = String::new();
    for seq in 1..=LINES {
        for stream in 0..STREAMS {
            let rest = match seq {
                1 => r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"plain"}"#.to_owned(),
                LINES => format!(
                    r#""type":"cl","subtype":"exit","outcome":"success","because":"exit 0","code":0,"attempts":1,"whole":true,"text":"t{stream}"}}"#
                ),
                _ => format!(r#""n":{seq}}}"#),
            };
            let _ = writeln!(
                all,
                r#"{{"cl":{{"stream":"s{stream}","seq":{seq},"ts":1763680000.{seq:06}}},{rest}"#
            );
        }
    }
    all
}

/// The lines in an order of their own.
fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').collect();
    lines.sort_unstable();
    lines
}

/// Runs a tool in a folder with so many descriptors.
fn few(folder: &Path, descriptors: u32, script: &str, stdin: &[u8]) -> Done {
    let mut bash = command("bash");
    bash.current_dir(folder)
        .arg("-c")
        .arg(format!("ulimit -n {descriptors}; {script}"));
    finish(bash, stdin)
}

#[test]
fn a_thousand_streams_go_through_every_tool() {
    let all = streams();
    let folder = scratch();
    let run = folder.path().join("run");
    let run = run.to_str().unwrap();
    let copied = feed("cl-tee", &["--split", run], all.as_bytes()).ok();
    assert!(copied.out == all.as_bytes());
    assert_eq!(std::fs::read_dir(run).unwrap().count(), STREAMS);
    let merged = feed("cl-merge", &[run], b"").ok();
    assert!(sorted(&merged.out) == sorted(all.as_bytes()));
    let waited = feed("cl-wait", &[run], b"").ok();
    let verdict = json_lines(&waited.out).remove(0);
    assert_eq!(verdict["streams"].as_object().unwrap().len(), STREAMS);
    assert_eq!(text(&verdict, "/streams/s999/text"), "t999");
    let shown = feed("cl-progress", &["--once", run], b"").ok();
    assert!(shown.text().contains("1.0k streams: 1000 success"), "{}", shown.text());
    let drawn = feed("cl-progress", &["--progress", "none"], all.as_bytes()).ok();
    assert!(drawn.out == all.as_bytes());
}

#[test]
fn a_split_needs_few_descriptors() {
    let all = streams();
    let folder = scratch();
    let done = few(folder.path(), 64, "cl-tee --split run > /dev/null", all.as_bytes()).ok();
    assert_eq!(done.out, b"");
    let merged = feed("cl-merge", &[folder.path().join("run")], b"").ok();
    assert!(sorted(&merged.out) == sorted(all.as_bytes()));
}

#[test]
fn too_many_sources_are_named_with_the_way_out() {
    let all = streams();
    let folder = scratch();
    feed(
        "cl-tee",
        &[Path::new("--split"), &folder.path().join("run")],
        all.as_bytes(),
    )
    .ok();
    let done = few(folder.path(), 256, "cl-merge run", b"").exits(1);
    let told: Vec<&str> = done.err.lines().collect();
    assert!(
        told.iter()
            .all(|line| line.ends_with("Too many open files; allow more with `ulimit -n`"))
    );
    let lines = done.out.iter().filter(|&&b| b == b'\n').count();
    assert_eq!(lines / LINES + told.len(), STREAMS, "what could be opened came whole");
    assert_eq!(lines % LINES, 0);
    let done = few(folder.path(), 256, "cl-wait run -o none", b"").exits(1);
    assert!(done.err.contains("`ulimit -n`"), "{}", done.err);
}

#[test]
fn sixty_four_workers_at_once() {
    let folder = scratch();
    let script = format!(
        "cd {}; mkfifo go
         for i in $(seq 64); do cl-spawn s$i -- sh -c 'read x < go; echo $CL_STREAM' > s$i.ndjson & done
         exec 3<> go; for i in $(seq 64); do echo >&3; done
         wait; cl-wait -o text .",
        folder.path().display()
    );
    let done = bash(&script).ok();
    for stream in 1..=64 {
        assert!(done.text().contains(&format!("s{stream}")), "s{stream} has no answer");
    }
}
