//! Plans: how near a run comes to its critical path, and how fast streams begin and end that do nothing.

use crate::data::Data;
use crate::pair::{Pairs, median, short, timed};
use crate::table::{Bar, Table};
use harmony::run::exit_of;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;

/// How many streams there are, in two levels of as many.
const STREAMS: usize = 42;

/// What is played.
const RECORDINGS: [&str; 7] = [
    "complete",
    "context",
    "enhanced",
    "main",
    "quick",
    "suggestions",
    "validation",
];

pub fn rows(data: &Data, table: &mut Table) -> io::Result<()> {
    table.row(
        "`cl-run`, 42 recordings in two levels, time of the critical path",
        Bar::AtMost(1.03),
        || {
            // Not faster still: what cl-run adds does not shrink with the recordings.
            let speed = if data.quick { 2.0 } else { 1.0 };
            let path = recorded(data, speed)?;
            let runs = (0..if data.quick { 1 } else { 3 }).map(|_| run(data, STREAMS));
            let took = median(runs.collect::<io::Result<Vec<_>>>()?.into_iter());
            Ok((took / path, told(took, path, speed)))
        },
    );
    table.row(
        "the same one after the other, time of all at once",
        Bar::AtLeast(5.0),
        || {
            // One after the other they take minutes otherwise.
            let speed = if data.quick { 32.0 } else { 16.0 };
            recorded(data, speed)?;
            let (serial, parallel) = (run(data, 1)?, run(data, STREAMS)?);
            Ok((serial / parallel, told(serial, parallel, speed)))
        },
    );
    let count = if data.quick { 400 } else { 2000 };
    for jobs in [32, 2] {
        table.row(
            &format!("`cl-run -j {jobs}`, {count} streams that do nothing, rate of `parallel -j {jobs}`"),
            Bar::AtLeast(5.0),
            || {
                data.needs("parallel")?;
                let streams = (0..count).map(|n| format!("[stream.s{n}]\nrun = ['true']\n"));
                let plan = format!("name = 'noop'\n{}", streams.collect::<String>());
                std::fs::write(data.folder.join("noop.toml"), plan)?;
                let theirs = format!("seq {count} | parallel -j {jobs} -n0 true");
                let pairs = Pairs::run(
                    if data.quick { 1 } else { 3 },
                    || {
                        let run = fresh(data);
                        timed(data.script(&format!("cl-run -j {jobs} --run {run} noop.toml > /dev/null")))
                    },
                    || timed(data.script(&theirs)),
                )?;
                Ok((pairs.speed(), pairs.show()))
            },
        );
    }
    Ok(())
}

/// What is told beside a ratio of times.
fn told(took: f64, yardstick: f64, speed: f64) -> String {
    let faster = match speed {
        1.0 => String::new(),
        speed => format!(", {speed} times as fast as recorded"),
    };
    format!("{} against {}{faster}", short(took), short(yardstick))
}

/// Seconds that the plan of the recordings takes, where so many are played at once.
fn run(data: &Data, jobs: usize) -> io::Result<f64> {
    let run = format!("cl-run -j {jobs} --run {} recorded.toml > /dev/null", fresh(data));
    Ok(timed(data.script(&run))?.wall)
}

/// A folder for a run: a new one, for a file system is slow to make files right after as many were removed.
fn fresh(data: &Data) -> String {
    let mut names = (1..).map(|n| format!("run{n}"));
    names.find(|name| !data.folder.join(name).exists()).unwrap_or_default()
}

/// Writes the plan of the recordings, played so much faster than recorded; gives its critical path in seconds: the
/// longest recording of each level.
fn recorded(data: &Data, speed: f64) -> io::Result<f64> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/recordings");
    let mut plan = String::from("name = 'recorded'\n");
    let mut longest = [0.0f64; 2];
    for n in 0..STREAMS {
        let stream = RECORDINGS[n % RECORDINGS.len()];
        let file = folder.join(format!("{stream}.ndjson"));
        let level = n * 2 / STREAMS;
        let end = exit_of(&File::open(&file)?, stream)?;
        let end = end.ok_or_else(|| io::Error::other(format!("{}: holds no end", file.display())))?;
        longest[level] = longest[level].max(end.duration / speed);
        let _ = writeln!(
            plan,
            "[stream.s{n}]\nphase = '{}'\nagent = 'claude'\nrun = ['cl-replay', '--speed', '{speed}', '{}']",
            ["foundation", "parallel"][level],
            file.display()
        );
    }
    std::fs::write(data.folder.join("recorded.toml"), plan)?;
    Ok(longest.iter().sum())
}
