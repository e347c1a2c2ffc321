//! Running the built binaries: what went in, what came out, how it ended.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Nothing that a test waits for may take longer; on a loaded machine everything is slow, so this is no measure.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The path of one of the tools.
pub fn tool(name: &str) -> PathBuf {
    bin_dir().join(name)
}

/// The project's own folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the built tools.
pub fn bin_dir() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cl-spawn"))
        .parent()
        .expect("a binary lies in a folder")
}

/// The fixture program: workers and servers for the tests (`tests/fixture`).
pub fn fixture() -> PathBuf {
    let path = bin_dir().join("examples/fixture");
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build --examples`",
        path.display()
    );
    path
}

/// A command with the tools first on its PATH, and an environment of its own: nothing of the user's leaks in.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    command
        .env_clear()
        .env("PATH", format!("{}:{path}", bin_dir().display()))
        .env("FIXTURE", bin_dir().join("examples/fixture"))
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm-256color")
        .env("HOME", "/nonexistent")
        .env("XDG_RUNTIME_DIR", runtime_dir());
    command
}

/// A runtime folder of its own for each command, so that no test waits for a limit that another one met.
fn runtime_dir() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("runtime/{}-{number}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("makes a folder");
    folder
}

/// What became of a command.
#[derive(Debug)]
pub struct Done {
    pub status: ExitStatus,
    pub out: Vec<u8>,
    pub err: String,
}

impl Done {
    /// The exit code as a shell says it: 128+N for a signal.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().expect("neither code nor signal"))
    }

    /// stdout as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("stdout is UTF-8")
    }

    /// stdout's lines as JSON.
    pub fn json(&self) -> Vec<serde_json::Value> {
        json_lines(&self.out)
    }

    /// Asserts a plain success: exit 0 and nothing on stderr.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(
            (self.code(), self.err.as_str()),
            (0, ""),
            "stdout: {}",
            String::from_utf8_lossy(&self.out)
        );
        self
    }

    /// Asserts an exit code; the message shows what was said.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code(),
            code,
            "stderr: {}\nstdout: {}",
            self.err,
            String::from_utf8_lossy(&self.out)
        );
        self
    }
}

/// Lines of JSON as values.
#[track_caller]
pub fn json_lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    let lines = bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(line))))
        .collect()
}

/// Runs one of the tools to its end, with stdin empty.
pub fn run<S: AsRef<OsStr>>(name: &str, args: &[S]) -> Done {
    feed(name, args, b"")
}

/// Runs one of the tools to its end, with these bytes on stdin.
pub fn feed<S: AsRef<OsStr>>(name: &str, args: &[S], stdin: &[u8]) -> Done {
    let mut command = command(tool(name));
    command.args(args);
    finish(command, stdin)
}

/// Runs a bash script to its end, with the tools on its PATH and `$FIXTURE` the fixture program.
pub fn bash(script: &str) -> Done {
    let mut command = command("bash");
    command.arg("-c").arg(script);
    finish(command, b"")
}

/// Runs a command to its end, with these bytes on stdin; ends it and fails when it exceeds the deadline.
pub fn finish(mut command: Command, stdin: &[u8]) -> Done {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = child.stdin.take().expect("piped");
    let stdin = stdin.to_vec();
    // A tool may end before it has read all: then the rest is not wanted.
    std::thread::spawn(move || drop(input.write_all(&stdin)));
    collect(child, &format!("{command:?}"))
}

/// Waits for a child with piped stdout and stderr, and takes what it wrote.
pub fn collect(mut child: Child, what: &str) -> Done {
    let drain = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut bytes).expect("reads");
            }
            bytes
        })
    };
    let out = drain(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let err = drain(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let status = wait(&mut child, what);
    let out = out.join().expect("reads stdout");
    let err = String::from_utf8_lossy(&err.join().expect("reads stderr")).into_owned();
    Done { status, out, err }
}

/// Waits for a child's end, within the deadline.
pub fn wait(child: &mut Child, what: &str) -> ExitStatus {
    let (sender, receiver) = std::sync::mpsc::channel();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if receiver.recv_timeout(DEADLINE).is_err() {
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                eprintln!("{what} did not end within {DEADLINE:?}");
            }
        });
        let status = child.wait().expect("waits");
        let _ = sender.send(());
        status
    })
}

/// Waits until something is so, and fails at the deadline; for what gives no event to wait for.
#[track_caller]
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Whether a process is there and no zombie.
pub fn alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// A process's state, as `ps` shows it.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

/// A folder of the test's own, gone at its end.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("cl-test-")
        .tempdir()
        .expect("a scratch folder")
}

/// Makes a FIFO.
pub fn mkfifo(path: &Path) -> PathBuf {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("makes a FIFO");
    path.to_owned()
}

/// A value's member as text, for short assertions.
pub fn text<'a>(value: &'a serde_json::Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or("")
}
