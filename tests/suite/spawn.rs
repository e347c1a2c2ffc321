//! cl-spawn: one worker, its stream, its end.

mod again;
mod agent;
mod end;
mod fault;
mod holds;
mod keep;
mod launch;
mod session;
mod stop;
mod stream;
mod tree;

use crate::harness::*;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// What happens at once, on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(3);

/// Runs `cl-spawn ARGS` to its end.
fn spawn(args: &[&str]) -> Done {
    run("cl-spawn", args)
}

/// A stream's last line, which must be its `exit`.
#[track_caller]
fn exit(done: &Done) -> Value {
    let last = done.json().pop().expect("a stream has lines");
    assert_eq!(text(&last, "/subtype"), "exit", "{last}");
    last
}

/// The lines of one subtype.
fn of(lines: &[Value], subtype: &str) -> Vec<Value> {
    let of = lines.iter().filter(|line| text(line, "/subtype") == subtype);
    of.cloned().collect()
}

/// The worker's own bytes.
fn unwrapped(stream: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in stream.split_inclusive(|&b| b == b'\n') {
        harmony::line::unwrap(line.strip_suffix(b"\n").expect("every line ends"), &mut bytes);
    }
    bytes
}

fn kill(pid: i32, signal: i32) {
    let signal = nix::sys::signal::Signal::try_from(signal).expect("a signal");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("is there");
}

/// A cl-spawn that runs, read line by line.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Gone with the test; one that waits for a line in vain fails at the deadline.
    _waits: Sender<()>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut command = command(tool("cl-spawn"));
        command.args(args);
        Self::begin(command)
    }

    fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (pid, (waits, ended)) = (child.id() as i32, channel());
        std::thread::spawn(move || {
            if ended.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("a cl-spawn did not end within {DEADLINE:?}");
                kill(pid, 9);
            }
        });
        Self {
            child,
            out,
            _waits: waits,
        }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The next line.
    #[track_caller]
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("reads");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: '{line}'"))
    }

    /// The next line of a subtype.
    #[track_caller]
    fn until(&mut self, subtype: &str) -> Value {
        loop {
            let line = self.line();
            if text(&line, "/subtype") == subtype {
                return line;
            }
        }
    }

    /// The worker's pid, from the first line.
    #[track_caller]
    fn worker(&mut self) -> i32 {
        let start = self.line();
        start["pid"].as_i64().unwrap_or_else(|| panic!("{start}")) as i32
    }

    /// Reads to the end.
    fn end(mut self) -> Done {
        let mut out = Vec::new();
        self.out.read_to_end(&mut out).expect("reads");
        let done = collect(self.child, "cl-spawn");
        Done { out, ..done }
    }
}
