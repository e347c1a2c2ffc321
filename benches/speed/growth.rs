//! What a thousand sources cost.

use crate::data::Data;
use crate::pair::median;
use crate::quiet::{memory, used};
use crate::table::{Bar, Table};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

pub fn rows(data: &Data, table: &mut Table) -> io::Result<()> {
    let name = "cl-merge, 1,000 sources";
    if !table.wants(name) {
        return Ok(());
    }
    let turns = if data.quick { 1 } else { 5 };
    let mut most = 0.0f64;
    for (how, gap, bar) in [
        ("20,000 lines/s", Some(Duration::from_micros(50)), Bar::AtMost(1.3)),
        ("as fast as can be", None, Bar::None),
    ] {
        let mut ratios = [Vec::new(), Vec::new()];
        let mut told = Vec::new();
        for _ in 0..turns {
            let ten = run(data, 10, gap)?.0;
            let hundred = run(data, 100, gap)?.0;
            let (thousand, memory) = run(data, 1000, gap)?;
            ratios[0].push(hundred / ten);
            ratios[1].push(thousand / ten);
            most = most.max(memory);
            told = vec![ten, hundred, thousand];
        }
        let told: Vec<String> = told.iter().map(|seconds| format!("{:.2} µs", seconds * 1e6)).collect();
        let [hundred, thousand] = ratios.map(|all| median(all.into_iter()));
        table.row(&format!("{name}, {how}: CPU a line, of 10 sources"), bar, || {
            Ok((thousand, format!("10, 100, 1,000: {}", told.join(", "))))
        });
        table.row(
            &format!("cl-merge, 100 sources, {how}: CPU a line, of 10 sources"),
            bar,
            || Ok((hundred, String::new())),
        );
    }
    table.row(&format!("{name}: memory, MiB"), Bar::AtMost(64.0), || {
        Ok((most, "the largest resident size".to_owned()))
    });
    Ok(())
}

/// CPU seconds a line of a merge of so many sources that write in turn, a line at a time; and its memory in MiB. What
/// it takes to open the sources is left out.
fn run(data: &Data, sources: usize, gap: Option<Duration>) -> io::Result<(f64, f64)> {
    let lines = match (gap, data.quick) {
        (Some(_), true) => 20_000,
        (Some(_), false) => 40_000,
        (None, true) => 100_000,
        (None, false) => 300_000,
    };
    let folder = data.folder.join("sources");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder)?;
    let paths: Vec<_> = (0..sources).map(|i| folder.join(format!("s{i}"))).collect();
    for path in &paths {
        nix::unistd::mkfifo(path, Mode::S_IRWXU)?;
    }
    let mut merge = data
        .command(&["cl-merge"])
        .args(&paths)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let mut pipes = paths
        .iter()
        .map(|path| File::options().write(true).open(path))
        .collect::<io::Result<Vec<File>>>()?;
    let pad = "x".repeat(580);
    let mut before = 0.0;
    let mut begin = Instant::now();
    for n in 0..lines + sources {
        if n == sources {
            // The first line of each is a beginning, too.
            std::thread::sleep(Duration::from_millis(50));
            before = used(merge.id()).0;
            begin = Instant::now();
        }
        let (source, seq) = (n % sources, n / sources + 1);
        let kind = if n >= lines {
            r#""cl","subtype":"exit","outcome":"success""#
        } else {
            r#""assistant""#
        };
        let line = format!(
            "{{\"cl\":{{\"stream\":\"s{source}\",\"seq\":{seq},\"ts\":1763680000.123456}},\"type\":{kind},\"pad\":\"{pad}\"}}\n"
        );
        pipes[source].write_all(line.as_bytes())?;
        // Nobody wakes as exactly as this.
        while gap.is_some_and(|gap| n >= sources && begin.elapsed() < gap * (n - sources) as u32) {
            std::hint::spin_loop();
        }
    }
    // Until it has taken the last ones.
    std::thread::sleep(Duration::from_millis(50));
    let cpu = used(merge.id()).0 - before;
    let most = memory(merge.id(), "status", "VmHWM:");
    drop(pipes);
    merge.wait()?;
    Ok((cpu / lines as f64, most))
}
