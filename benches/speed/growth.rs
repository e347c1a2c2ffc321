//! What a thousand sources cost.

use crate::data::Data;
use crate::pair::median;
use crate::quiet::memory;
use crate::table::{Bar, Table};
use harmony::sys::process::children_usage;
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{self, Write};
use std::process::Stdio;

pub fn rows(data: &Data, table: &mut Table) -> io::Result<()> {
    let name = "cl-merge, 1,000 sources";
    if !table.wants(name) {
        return Ok(());
    }
    let mut ratios = [Vec::new(), Vec::new()];
    let (mut most, mut told) = (0.0f64, Vec::new());
    for _ in 0..if data.quick { 2 } else { 5 } {
        let ten = run(data, 10)?.0;
        let hundred = run(data, 100)?.0;
        let (thousand, memory) = run(data, 1000)?;
        ratios[0].push(hundred / ten);
        ratios[1].push(thousand / ten);
        most = most.max(memory);
        told = vec![ten, hundred, thousand];
    }
    let told: Vec<String> = told.iter().map(|seconds| format!("{:.2} µs", seconds * 1e6)).collect();
    let [hundred, thousand] = ratios.map(|all| median(all.into_iter()));
    table.row(&format!("{name}: CPU a line, of 10 sources"), Bar::AtMost(1.3), || {
        Ok((thousand, told.join(", ")))
    });
    table.row(
        "cl-merge, 100 sources: CPU a line, of 10 sources",
        Bar::AtMost(1.3),
        || Ok((hundred, String::new())),
    );
    table.row(&format!("{name}: memory, MiB"), Bar::AtMost(64.0), || {
        Ok((most, "the largest resident size".to_owned()))
    });
    Ok(())
}

/// CPU seconds a line of a merge of so many sources that write in turn, a line at a time; and its memory in MiB.
fn run(data: &Data, sources: usize) -> io::Result<(f64, f64)> {
    let lines = if data.quick { 100_000 } else { 300_000 };
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
    for n in 0..lines {
        let (source, seq) = (n % sources, n / sources + 1);
        let kind = if n + sources >= lines {
            r#""cl","subtype":"exit","outcome":"success""#
        } else {
            r#""assistant""#
        };
        let line = format!(
            "{{\"cl\":{{\"stream\":\"s{source}\",\"seq\":{seq},\"ts\":1763680000.123456}},\"type\":{kind},\"pad\":\"{pad}\"}}\n"
        );
        pipes[source].write_all(line.as_bytes())?;
    }
    let most = memory(merge.id(), "status", "VmHWM:");
    drop(pipes);
    let before = children_usage().0;
    merge.wait()?;
    Ok(((children_usage().0 - before) / lines as f64, most))
}
