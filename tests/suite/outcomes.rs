//! Recorded runs of real agents, played as workers: each gets the outcome that it deserves, and its bytes come back.

use crate::harness::{run, text};
use std::path::{Path, PathBuf};

struct Row {
    recording: String,
    outcome: String,
    code: i32,
    because: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn table() -> Vec<Row> {
    let table = std::fs::read_to_string(folder().join("outcomes.txt")).unwrap();
    let rows = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let (recording, rest) = line.split_once(' ').unwrap();
        let (outcome, rest) = rest.trim_start().split_once(' ').unwrap();
        let (code, because) = rest.trim_start().split_once(' ').unwrap();
        Row {
            recording: recording.to_owned(),
            outcome: outcome.to_owned(),
            code: code.parse().unwrap(),
            because: because.trim_start().to_owned(),
        }
    })
    .collect()
}

#[test]
fn every_recording_has_its_row() {
    let mut listed: Vec<String> = table().into_iter().map(|row| row.recording).collect();
    let mut there = Vec::new();
    for agent in std::fs::read_dir(folder().join("recordings")).unwrap().flatten() {
        for file in std::fs::read_dir(agent.path()).unwrap().flatten() {
            let name = file.file_name().into_string().unwrap();
            if let Some(stem) = name.strip_suffix(".ndjson") {
                there.push(format!("{}/{stem}", agent.file_name().to_string_lossy()));
            }
        }
    }
    listed.sort();
    there.sort();
    assert_eq!(listed, there);
}

#[test]
fn every_recording_gets_its_outcome() {
    let mut wrong = Vec::new();
    for row in table() {
        let file = folder().join(format!("recordings/{}.ndjson", row.recording));
        let agent = row.recording.split('/').next().unwrap();
        let file = file.to_str().unwrap();
        let done = run(
            "cl-spawn",
            &["r", "--agent", agent, "--", "cl-replay", "--speed", "max", file],
        );
        let mut back = Vec::new();
        for line in done.out.split_inclusive(|&b| b == b'\n') {
            harmony::line::unwrap(line.strip_suffix(b"\n").unwrap_or(line), &mut back);
        }
        let lines = done.json();
        let exit = lines.last().unwrap();
        let (outcome, because) = (text(exit, "/outcome"), text(exit, "/because"));
        if (outcome, done.code()) != (row.outcome.as_str(), row.code) || !because.contains(&row.because) {
            wrong.push(format!("{}: {outcome}, {}, {because}", row.recording, done.code()));
        }
        if back != std::fs::read(file).unwrap() {
            wrong.push(format!("{}: its bytes do not come back", row.recording));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
