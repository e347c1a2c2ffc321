//! How long streams took in earlier runs.

use super::folder::{exit_of, is_run_of, runs_folder};
use crate::line::Outcome;
use crate::plan::Plan;
use std::fs::File;
use std::path::{Path, PathBuf};

/// No more runs than these, the newest, tell how long a stream takes.
const RUNS: usize = 20;

/// The runs of that name that are kept, the newest first.
pub fn earlier(name: &str) -> Vec<PathBuf> {
    let Some(Ok(entries)) = runs_folder().map(std::fs::read_dir) else {
        return Vec::new();
    };
    let ours = |entry: &std::fs::DirEntry| is_run_of(&entry.file_name(), name);
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
            let mut all: Vec<f64> = runs
                .iter()
                .filter_map(|run| duration(&run.join(&file), &stream.name))
                .collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied()
        })
        .collect()
}

/// The same with a time for each: those that nobody has seen take as long as the others do, or a second.
pub fn filled_up(known: &[Option<f64>]) -> Vec<f64> {
    let told = || known.iter().flatten();
    let mean = match told().count() {
        0 => 1.0,
        count => told().sum::<f64>() / count as f64,
    };
    known.iter().map(|known| known.unwrap_or(mean)).collect()
}

/// How long a stream took that ended well.
fn duration(file: &Path, stream: &str) -> Option<f64> {
    let exit = exit_of(&File::open(file).ok()?, stream).ok()??;
    (exit.outcome == Outcome::Success).then_some(exit.duration)
}
