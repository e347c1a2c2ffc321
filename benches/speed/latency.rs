//! How long a line is on its way, and what a steady flow costs.

use crate::data::Data;
use crate::emit::nanos;
use crate::pair::percentile;
use crate::table::{Bar, Table};
use harmony::sys::process::children_usage;
use std::io::{self, BufRead, BufReader, Read};
use std::process::Stdio;

pub fn rows(data: &Data, table: &mut Table) -> io::Result<()> {
    let name = "latency of four tools in a row";
    if table.wants(name) {
        let ours =
            r#"cl-spawn x --agent plain -- "$SPEED" emit COUNT 1000 | cl-merge | cl-tee | cl-wait --pass -o none"#;
        let theirs = r#""$SPEED" emit COUNT 1000 | cat | cat | cat | cat"#;
        let (mut p50, mut p99, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..if data.quick { 2 } else { 5 } {
            let (ours, theirs) = (delays(data, ours)?, delays(data, theirs)?);
            let [middle, cats] = [&ours, &theirs].map(|all| percentile(all.iter().copied(), 0.5));
            ratios.push(middle / cats);
            p50.push(middle * 1e3);
            p99.push(percentile(ours.into_iter(), 0.99) * 1e3);
        }
        let middle = |all: Vec<f64>| percentile(all.into_iter(), 0.5);
        let told = "1,000 lines a second through cl-spawn, cl-merge, cl-tee, cl-wait";
        table.row(&format!("{name}: p50, ms"), Bar::AtMost(0.3), || {
            Ok((middle(p50), told.to_owned()))
        });
        table.row(&format!("{name}: p99, ms"), Bar::AtMost(2.0), || {
            Ok((middle(p99), String::new()))
        });
        table.row(&format!("{name}: p50, of four `cat`s"), Bar::AtMost(3.0), || {
            Ok((middle(ratios), String::new()))
        });
    }
    for (shown, live) in [("with a terminal", true), ("as a log", false)] {
        table.row(
            &format!("`cl-progress` {shown} at 1,000 lines/s, % of a core"),
            Bar::AtMost(3.0),
            || steady(data, live).map(|share| (share * 100.0, String::new())),
        );
    }
    Ok(())
}

/// Runs a pipeline that ends in our pipe; how many seconds each line took.
fn delays(data: &Data, text: &str) -> io::Result<Vec<f64>> {
    let count = if data.quick { "1500" } else { "4000" };
    let mut child = data
        .script(&text.replace("COUNT", count))
        .stdout(Stdio::piped())
        .spawn()?;
    let mut delays = Vec::new();
    let lines = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
    for line in lines.split(b'\n') {
        let (line, now) = (line?, nanos());
        let at = memchr::memmem::rfind(&line, b"\"t\":");
        let sent = at.and_then(|at| std::str::from_utf8(&line[at + 4..line.len() - 1]).ok()?.parse().ok());
        delays.extend(sent.map(|sent: u64| now.saturating_sub(sent) as f64 / 1e9));
    }
    child.wait()?;
    // What a beginning costs is another row.
    Ok(delays.split_off(delays.len() / 10))
}

/// The share of a core that cl-progress takes while 1,000 lines a second pass.
fn steady(data: &Data, live: bool) -> io::Result<f64> {
    let seconds = if data.quick { 3 } else { 15 };
    let count = (seconds * 1000).to_string();
    let mut source = data
        .command(&["speed", "emit", &count, "1000", "stamped"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut progress = data.command(&["cl-progress"]);
    progress
        .stdin(source.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?)
        .stdout(Stdio::null());
    if live {
        let terminal = nix::pty::openpty(None, None)?;
        progress.stderr(terminal.slave).env("TERM", "xterm-256color");
        let mut master = std::fs::File::from(terminal.master);
        // It ends with an error when nobody holds the other end any more.
        std::thread::spawn(move || while master.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {});
    } else {
        progress.stderr(Stdio::null());
    }
    let mut progress = progress.spawn()?;
    let before = children_usage().0;
    progress.wait()?;
    let cpu = children_usage().0 - before;
    source.wait()?;
    Ok(cpu / f64::from(seconds))
}
