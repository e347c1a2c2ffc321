//! cl-merge: sources of every kind, and what is told when something is missing.

mod fifos;
mod follow;
mod missing;
mod output;
mod sources;
mod spawned;

use crate::harness::{
    DEADLINE, Done, bash, collect, command, feed, finish, json_lines, mkfifo, run, scratch, text, tool, until, wait,
};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// A header and a line behind it.
fn line(stream: &str, seq: u64, ts: f64, rest: &str) -> String {
    format!("{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":{ts:.6}}},{rest}}}\n")
}

const START: &str = r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"plain""#;
const EXIT: &str = r#""type":"cl","subtype":"exit","outcome":"success","because":"exit 0","code":0"#;

/// A stream of so many lines between its start and its exit.
fn whole(stream: &str, lines: u64) -> String {
    let mut all = line(stream, 1, 1.0, START);
    for i in 1..=lines {
        all += &line(stream, i + 1, 1.0 + i as f64, &format!(r#""n":{i}"#));
    }
    all + &line(stream, lines + 2, 2.0 + lines as f64, EXIT)
}

fn of<'a>(lines: &'a [Value], stream: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| text(line, "/cl/stream") == stream).collect()
}

fn subtypes<'a>(lines: &[&'a Value]) -> Vec<&'a str> {
    lines.iter().map(|line| text(line, "/subtype")).collect()
}

fn seqs(lines: &[&Value]) -> Vec<u64> {
    lines.iter().filter_map(|line| line["cl"]["seq"].as_u64()).collect()
}

/// cl-merge, started, with its stdout to read from.
fn start<S: AsRef<std::ffi::OsStr>>(args: &[S], dir: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut merge = command(tool("cl-merge"));
    merge
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = merge.stderr(Stdio::inherit()).spawn().expect("starts");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    (child, out)
}

fn next(out: &mut impl BufRead) -> Value {
    let mut line = String::new();
    out.read_line(&mut line).expect("reads");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn next_subtype(out: &mut impl BufRead, subtype: &str) -> Value {
    loop {
        let line = next(out);
        if text(&line, "/subtype") == subtype {
            return line;
        }
    }
}

fn ends(mut child: Child, mut out: impl Read) -> (i32, Vec<u8>) {
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).expect("reads");
    (wait(&mut child, "cl-merge").code().expect("an exit code"), rest)
}

/// Writes to a FIFO as a writer that comes and goes, once it has a reader.
fn put(fifo: &Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    let mut writer = until("a reader", || options.open(fifo).ok());
    writer.write_all(content.as_bytes()).expect("writes");
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).expect("lives");
}
