//! The example scripts, with the real claude.

use super::{Live, became, live};
use crate::harness::{collect, finish, json_lines, root, text};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn example(live: &Live, script: &str, args: &[&str]) -> Command {
    let mut command = live.command("bash");
    command
        .arg(root().join("examples").join(script))
        .arg("--live")
        .args(args);
    command
}

/// The run that an example keeps.
fn run(live: &Live, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(live.home.path()).expect("reads").flatten();
    let mut runs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    runs.next().expect("a run").path()
}

fn lines(file: PathBuf) -> Vec<Value> {
    json_lines(&std::fs::read(file).expect("a stream"))
}

#[test]
fn the_first_words_come_as_early_as_those_of_quick() {
    let Some(live) = live() else { return };
    let mut command = example(&live, "progressive.sh", &["x @@text n=40 delay=0.05@@"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut seen = Vec::new();
    let stdout = child.stdout.as_mut().expect("piped");
    let mut block = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("quick │ The ") {
        let count = stdout.read(&mut block).expect("reads");
        assert!(count > 0, "ended too early: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&block[..count]);
    }
    let run = run(&live, "cl-progressive.");
    let first = std::fs::read_to_string(run.join("quick.ndjson")).expect("a stream");
    assert!(
        !first.contains("\"type\":\"result\""),
        "the words came when all was said: {first}"
    );
    collect(child, "progressive.sh").exits(0);
    for (role, before) in [
        ("quick", None),
        ("enhanced", Some("quick")),
        ("complete", Some("enhanced")),
    ] {
        let stream = lines(run.join(format!("{role}.ndjson")));
        assert_eq!(became(&stream).0, "success");
        if let Some(before) = before {
            let before = lines(run.join(format!("{before}.ndjson")));
            assert!(text(&stream[0], "/prompt").contains(became(&before).2));
        }
    }
    live.nothing_left();
}

#[test]
fn an_orchestra_and_a_follow_up() {
    let Some(live) = live() else { return };
    let command = example(&live, "orchestra.sh", &["x @@text n=3@@", "y @@text n=4@@"]);
    let done = finish(command, b"").exits(0);
    assert!(done.text().starts_with("The quick brown"), "{}", done.text());
    assert!(
        done.text().ends_with("== y @@text n=4@@\n\nThe quick brown fox \n"),
        "{}",
        done.text()
    );
    let run = run(&live, "cl-orchestra.");
    let main = lines(run.join("main.ndjson"));
    let next = lines(run.join("follow-up/main.ndjson"));
    let sessions = [&main, &next].map(|lines| text(lines.last().expect("an exit"), "/session_id").to_owned());
    assert_eq!(sessions[0], sessions[1]);
    assert_eq!(text(&main[0], "/role"), "main");
    live.nothing_left();
}
