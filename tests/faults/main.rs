//! Breaks pipelines of the tools at random, and checks after each that nothing is lost, nobody is left, nothing hangs,
//! and that what is said of the end is true.
//!
//! `cargo test --test faults -- [--cases N] [--from N] [--seed S] [--jobs N] [--case N [--times N]]`: 300 cases by
//! default, of seed 1, from number 0; `--case` runs the one of that number alone and keeps its folder, so often as
//! `--times` says. The same seed and number make the same pipeline and the same faults at the same times; what the
//! machine makes of it may differ a little each time.

// A test that panics has failed, which is what is wanted.
#![allow(clippy::unwrap_used)]

mod check;
mod commands;
mod plan;
mod processes;
#[path = "../fixture/prose.rs"]
mod prose;
mod reader;
mod record;
mod room;
mod run;

use check::Report;
use commands::{Site, fixture};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many failures are shown in full.
const SHOWN: usize = 5;

struct Options {
    cases: u64,
    from: u64,
    seed: u64,
    jobs: Option<usize>,
    case: Option<u64>,
    times: u64,
}

impl Options {
    fn jobs(&self) -> usize {
        let usual = 3 * std::thread::available_parallelism().map_or(2, usize::from);
        let most = if self.case.is_some() { self.times } else { self.cases };
        self.jobs.unwrap_or(usual).min(most as usize)
    }
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        return ExitCode::SUCCESS;
    };
    let fixture = fixture();
    assert!(
        fixture.exists(),
        "{} is missing: build it with `cargo build --examples`",
        fixture.display()
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let rooms = room::rooms(&folder, options.jobs());
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let count = options.case.map_or(options.cases, |_| options.times);
    let all = Mutex::new((Report::default(), 0usize, Duration::ZERO));
    std::thread::scope(|scope| {
        for job in 0..options.jobs() {
            let room = rooms.get(job).cloned();
            let (next, all, folder, options) = (&next, &all, &folder, &options);
            scope.spawn(move || {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= count {
                        return;
                    }
                    let (number, name) = match options.case {
                        Some(number) if turn > 0 => (number, format!("{}-{number}-{turn}", options.seed)),
                        Some(number) => (number, format!("{}-{number}", options.seed)),
                        None => (options.from + turn, format!("{}-{}", options.seed, options.from + turn)),
                    };
                    let (report, outlived) = case(options, number, &folder.join(&name), room.clone());
                    let mut all = all.lock().expect("no other job fails");
                    all.2 = all.2.max(outlived);
                    add(&mut all.0, &report);
                    if !report.wrong.is_empty() {
                        all.1 += 1;
                        if all.1 <= SHOWN {
                            tell(options, number, &folder.join(&name), &report);
                        }
                    }
                }
            });
        }
    });
    let (total, failures, outlived) = all.into_inner().expect("no job failed");
    println!(
        "faults: seed {}: {count} cases from {}, {} faults, {} bytes sent, {} bytes lost, {} processes left, longest delay {:.2?} ({:.2?} \
         where a filter was told to end), {:.2?} after a killed cl-spawn; {failures} failures; took {:.1?}",
        options.seed,
        options.case.unwrap_or(options.from),
        total.faults,
        total.sent,
        total.lost,
        total.left,
        total.delay,
        total.wrap_up,
        outlived,
        begun.elapsed(),
    );
    ExitCode::from(u8::from(failures > 0))
}

/// Runs one case in a folder of its own, which stays where something is wrong.
fn case(options: &Options, number: u64, folder: &Path, room: Option<PathBuf>) -> (Report, Duration) {
    let case = plan::case(options.seed, number);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let site = Site {
        folder: folder.to_owned(),
        room,
        tag: format!("{}-{name}.", std::process::id()),
    };
    let _ = std::fs::remove_dir_all(&site.folder);
    let seen = run::run(&case, &site);
    let report = check::check(&case, &site, &seen);
    if report.wrong.is_empty() && (options.case.is_none() || options.times > 1) {
        let _ = std::fs::remove_dir_all(&site.folder);
    } else {
        let codes = |all: &[run::Ended]| all.iter().map(|ended| ended.code()).collect::<Vec<_>>();
        let about = format!(
            "{case:#?}\n\ndone: {:#?}\ncl-spawns: {:?}\nfilters: {:?}\n",
            seen.done,
            codes(&seen.spawns),
            codes(&seen.filters)
        );
        let _ = std::fs::write(site.folder.join("about"), about);
        let _ = std::fs::write(site.folder.join("out"), &seen.out);
        let _ = std::fs::write(site.folder.join("fifo"), seen.fifo.unwrap_or_default());
        if let Some(room) = &site.room {
            let _ = std::process::Command::new("cp")
                .arg("-r")
                .args([room, &site.folder.join("room")])
                .status();
        }
    }
    (report, seen.outlived)
}

fn add(total: &mut Report, report: &Report) {
    total.faults += report.faults;
    total.sent += report.sent;
    total.lost += report.lost;
    total.left += report.left;
    total.delay = total.delay.max(report.delay);
    total.wrap_up = total.wrap_up.max(report.wrap_up);
}

fn tell(options: &Options, number: u64, folder: &Path, report: &Report) {
    eprintln!("faults: case {number} of seed {} fails:", options.seed);
    for wrong in &report.wrong {
        eprintln!("  {wrong}");
    }
    eprintln!(
        "  its folder: {}; again: cargo test --test faults -- --seed {} --case {number}",
        folder.display(),
        options.seed
    );
}

/// What was asked for; `None` when it is none of our business, as a filter for the tests of another name.
fn options() -> Option<Options> {
    let mut options = Options {
        cases: 300,
        from: 0,
        seed: 1,
        jobs: None,
        case: None,
        times: 1,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || {
            let number = args.next().and_then(|text| text.parse().ok());
            number.unwrap_or_else(|| panic!("{arg} wants a number"))
        };
        match arg.as_str() {
            "--cases" => options.cases = number(),
            "--seed" => options.seed = number(),
            "--from" => options.from = number(),
            "--jobs" => options.jobs = Some(number() as usize),
            "--case" => options.case = Some(number()),
            "--times" => options.times = number(),
            "--list" => return None,
            // What cargo passes on to all tests alike.
            flag if flag.starts_with('-') => {}
            filter if "faults".contains(filter) => {}
            _ => return None,
        }
    }
    Some(options)
}
