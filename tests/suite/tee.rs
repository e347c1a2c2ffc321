//! cl-tee: everything reaches every sink, whatever another sink's reader does.

mod descriptors;
mod files;
mod full;
mod readers;
mod signals;
mod split;

use crate::harness::{self, Done, collect, command, feed, mkfifo, run, scratch, state, tool, until};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A cl-tee that runs, its three streams held by the test.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
}

fn start(args: &[&str]) -> Running {
    start_with(|_| {}, args)
}

fn start_with(set: impl FnOnce(&mut Command), args: &[&str]) -> Running {
    let mut command = command(tool("cl-tee"));
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    set(&mut command);
    let mut child = command.spawn().expect("starts");
    let stdin = child.stdin.take();
    Running { child, stdin }
}

impl Running {
    fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("still open");
        stdin.write_all(bytes).expect("cl-tee reads");
    }

    /// Writes from a thread, then closes.
    fn feed(&mut self, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
        let mut stdin = self.stdin.take().expect("still open");
        std::thread::spawn(move || stdin.write_all(&bytes).expect("cl-tee reads"))
    }

    /// Takes stdout up to its end, which may come before cl-tee's.
    fn stdout(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut stdout = self.child.stdout.take().expect("piped");
        stdout.read_to_end(&mut all).expect("reads");
        all
    }

    fn read_stdout(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let stdout = self.child.stdout.as_mut().expect("piped");
        stdout.read_exact(&mut bytes).expect("reads");
        bytes
    }

    fn stderr_line(&mut self) -> String {
        let mut line = String::new();
        let stderr = self.child.stderr.as_mut().expect("piped");
        BufReader::with_capacity(1, stderr).read_line(&mut line).expect("reads");
        line
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    fn alive(&mut self) -> bool {
        self.child.try_wait().expect("waits").is_none()
    }

    fn finish(mut self) -> Done {
        self.stdin = None;
        collect(self.child, "cl-tee")
    }
}

/// Another program that reads a FIFO into a file, and can be stopped.
struct Cat(Child);

impl Cat {
    fn start(fifo: &Path, into: &Path) -> Self {
        let into = File::create(into).expect("creates");
        Self(Command::new("cat").arg(fifo).stdout(into).spawn().expect("cat"))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    fn stop(&self) {
        kill(self.pid(), Signal::SIGSTOP).expect("it runs");
        until("cat to be stopped", || {
            (state(self.0.id() as i32) == Some('T')).then_some(())
        });
    }

    fn go_on(&self) {
        kill(self.pid(), Signal::SIGCONT).expect("it runs");
    }

    fn die(mut self) {
        kill(self.pid(), Signal::SIGKILL).expect("it runs");
        harness::wait(&mut self.0, "cat");
    }

    fn wait(mut self) {
        harness::wait(&mut self.0, "cat");
    }
}

fn str(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Bytes that are no text and have lines of all lengths; the last has no end.
fn noise(count: usize) -> Vec<u8> {
    let mut x = 0x2545_f491_4f6c_dd1du64;
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// A cl line of about `size` bytes.
fn cl(stream: &str, seq: u64, size: usize) -> String {
    format!(
        "{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":1763680000.000001}},\"type\":\"x\",\"pad\":\"{}\"}}\n",
        "p".repeat(size.saturating_sub(80))
    )
}

fn exit_event(stream: &str, seq: u64) -> String {
    format!(
        "{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":1763680000.000001}},\"type\":\"cl\",\"subtype\":\"exit\",\"outcome\":\"success\"}}\n"
    )
}

/// Two streams with `lines` lines each, then their ends.
fn two_streams(lines: u64) -> Vec<u8> {
    let mut text = String::new();
    for seq in 1..=lines {
        text += &cl("a", seq, 300);
        text += &cl("b/c", seq, 500);
    }
    text += &exit_event("a", lines + 1);
    text += &exit_event("b/c", lines + 1);
    text.into_bytes()
}

/// Asserts that a reader of these bytes knows of every line up to `last` in each stream: by having it or by a gap
/// event. Gives the number of lines lost.
#[track_caller]
fn accounted(bytes: &[u8], streams: &[&str], last: u64) -> u64 {
    let mut next: HashMap<String, u64> = HashMap::new();
    let mut lost = 0;
    for line in harness::json_lines(bytes) {
        let stream = harness::text(&line, "/cl/stream").to_owned();
        let seq = line["cl"]["seq"].as_u64().expect("a number");
        let due = next.entry(stream).or_insert(1);
        if line["subtype"] == "gap" {
            assert_eq!(line["from"].as_u64(), Some(*due), "{line}");
            assert_eq!(line["to"].as_u64(), Some(seq), "{line}");
            assert_eq!(line["lost"].as_u64(), Some(seq - *due + 1), "{line}");
            lost += seq - *due + 1;
        } else {
            assert_eq!(seq, *due, "a hole that no event tells of");
        }
        *due = seq + 1;
    }
    for stream in streams {
        assert_eq!(next.get(*stream), Some(&(last + 1)), "{stream} is not whole");
    }
    lost
}
