//! How long streams took in earlier runs.

use super::folder::{last_line, state_folder};
use crate::line::{Event, Outcome};
use crate::plan::Plan;
use std::fs::File;
use std::path::{Path, PathBuf};

/// How long `YYYY-MM-DDTHHMMSS.mmm` is, with which the folder of a run begins.
const STAMP: usize = 21;

/// No more runs than these, the newest, tell how long a stream takes.
const RUNS: usize = 20;

/// The runs of that name that are kept, the newest first.
pub fn earlier(name: &str) -> Vec<PathBuf> {
    let Some(Ok(entries)) = state_folder().map(|state| std::fs::read_dir(state.join("runs"))) else {
        return Vec::new();
    };
    let ours = |entry: &std::fs::DirEntry| {
        let file = entry.file_name();
        file.to_str().and_then(|file| file.get(STAMP..)?.strip_prefix('-')) == Some(name)
    };
    let mut runs: Vec<PathBuf> = entries.flatten().filter(ours).map(|entry| entry.path()).collect();
    runs.sort_by(|a, b| b.cmp(a));
    runs.truncate(RUNS);
    runs
}

/// How long each stream of a plan took in those runs where it ended well, in seconds: the middle one of all.
pub fn durations(plan: &Plan, runs: &[PathBuf]) -> Vec<Option<f64>> {
    let streams = plan.streams.iter();
    streams
        .map(|stream| {
            let file = format!("{}.ndjson", stream.name);
            let mut all: Vec<f64> = runs.iter().filter_map(|run| duration(&run.join(&file))).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied()
        })
        .collect()
}

/// What the exit event says, which is a file's last line.
fn duration(file: &Path) -> Option<f64> {
    let (last, _) = last_line(&File::open(file).ok()?).ok()?;
    match Event::read(&last)? {
        Event::Exit(exit) if exit.outcome == Outcome::Success => Some(exit.duration),
        _ => None,
    }
}
