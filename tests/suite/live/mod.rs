//! The real claude, wherever it is on PATH, through cl-spawn, against the scripted API.
//!
//! Nothing leaves this machine: the API is the fixture's, on loopback, and the key is none. Where there is no claude the
//! tests say so and pass; with CL_REQUIRE_LIVE=1 they fail instead.

mod again;
mod answers;
mod conversations;
mod examples;
mod faults;
mod holds;
mod kept;
mod plans;
mod stops;

use crate::harness::{Done, collect, command, finish, fixture, text, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A scripted API, and a home folder of its own for each test's claude.
struct Live {
    home: tempfile::TempDir,
    api: Child,
    port: u16,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.api.kill();
        let _ = self.api.wait();
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// What a test needs, or `None` where there is no claude.
fn live() -> Option<Live> {
    scripted(&Value::Null)
}

/// The same, with an API that plays these scenes.
fn scripted(scenes: &Value) -> Option<Live> {
    if on_path("claude").is_none() {
        assert!(
            std::env::var_os("CL_REQUIRE_LIVE").is_none_or(|value| value != "1"),
            "CL_REQUIRE_LIVE=1, but claude is not on PATH"
        );
        eprintln!("skipped: claude is not on PATH");
        return None;
    }
    let home = crate::harness::scratch();
    let script = home.path().join("scenes.json");
    std::fs::write(&script, scenes.to_string()).expect("writes");
    let mut api = command(fixture())
        .args(["api", &format!("script={}", script.display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts the API");
    let mut line = String::new();
    let stdout = api.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("reads the port");
    Some(Live {
        home,
        api,
        port: line.trim().parse().expect("a port"),
    })
}

impl Live {
    /// A command in the environment of a claude that knows no account and no other place than the API.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = command(program);
        let home = self.home.path();
        let work = home.join("work");
        std::fs::create_dir_all(&work).expect("makes the working folder");
        std::fs::write(work.join("notes.txt"), "alpha\nbeta\n").expect("writes");
        command
            .current_dir(work)
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("CLAUDE_CODE_TMPDIR", home)
            .env("XDG_RUNTIME_DIR", home)
            .env("ANTHROPIC_API_KEY", "sk-ant-scripted")
            .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{}", self.port))
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("DISABLE_TELEMETRY", "1");
        command
    }

    fn spawn(&self, args: &[&str]) -> Command {
        let mut command = self.command(tool("cl-spawn"));
        // A name that is no role: what is asked for is all there is.
        command.arg("alone").args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        finish(self.spawn(args), b"")
    }

    fn bash(&self, script: &str) -> Done {
        let mut command = self.command("bash");
        command.args(["-c", script]);
        finish(command, b"")
    }

    /// Whoever runs in this test's environment: cl-spawn, claude, its tools and what they left behind.
    fn alive(&self) -> Vec<String> {
        let marker = format!("HOME={}", self.home.path().display());
        let processes = std::fs::read_dir("/proc").expect("reads /proc").flatten();
        let ours = processes.filter(|process| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            environment
                .split(|&byte| byte == 0)
                .any(|variable| variable == marker.as_bytes())
        });
        ours.map(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            format!(
                "{:?} {}",
                process.file_name(),
                String::from_utf8_lossy(&line).replace('\0', " ")
            )
        })
        .collect()
    }

    #[track_caller]
    fn nothing_left(&self) {
        let left = self.alive();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

/// The exit event, after a look at the whole stream: it is its last line, and none is missing.
#[track_caller]
fn exit_of(lines: &[Value]) -> &Value {
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["cl"]["seq"].as_u64(), Some(at as u64 + 1), "{line}");
    }
    assert_eq!(text(&lines[0], "/subtype"), "start");
    let last = lines.last().expect("lines");
    assert_eq!(text(last, "/subtype"), "exit");
    last
}

#[track_caller]
fn ends(lines: &[Value], outcome: &str, answer: &str) {
    let exit = exit_of(lines);
    assert_eq!(
        (text(exit, "/outcome"), text(exit, "/text")),
        (outcome, answer),
        "{exit}"
    );
}

/// What came of it: the outcome, why, and the answer.
#[track_caller]
fn became(lines: &[Value]) -> (&str, &str, &str) {
    let exit = exit_of(lines);
    (text(exit, "/outcome"), text(exit, "/because"), text(exit, "/text"))
}

/// The lines of one type or, where cl-spawn says something, of one subtype.
fn those<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let of = |line: &&Value| line["type"] == kind || line["type"] == "cl" && line["subtype"] == kind;
    lines.iter().filter(of).collect()
}

/// A stream while it runs.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    bytes: Vec<u8>,
    seen: Vec<Value>,
}

impl Running {
    fn start(mut command: Command, stdin: Stdio) -> Self {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            out,
            bytes: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Reads on until a line that holds these words.
    #[track_caller]
    fn read_to(&mut self, words: &str) -> &Value {
        loop {
            let from = self.bytes.len();
            let count = self.out.read_until(b'\n', &mut self.bytes).expect("reads");
            let line = &self.bytes[from..];
            assert!(
                count > 0,
                "ended before {words}: {}",
                String::from_utf8_lossy(&self.bytes)
            );
            self.seen.push(serde_json::from_slice(line).expect("JSON"));
            if String::from_utf8_lossy(line).contains(words) {
                return self.seen.last().expect("pushed");
            }
        }
    }

    /// Sends a signal to cl-spawn.
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("signals");
    }

    /// Sends a signal to the agent that started last.
    fn signal_agent(&self, signal: Signal) {
        let starts = those(&self.seen, "start");
        let pid = starts.last().and_then(|start| start["pid"].as_i64()).expect("a pid");
        kill(Pid::from_raw(pid as i32), signal).expect("signals");
    }

    /// Reads the rest, and waits for the end.
    fn end(mut self) -> Done {
        self.out.read_to_end(&mut self.bytes).expect("reads");
        let mut done = collect(self.child, "a stream");
        done.out = self.bytes;
        done
    }
}
