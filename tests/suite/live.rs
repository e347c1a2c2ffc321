//! The real claude, wherever it is on PATH, through cl-spawn, against the scripted API.
//!
//! Nothing leaves this machine: the API is the fixture's, on loopback, and the key is none. Where there is no claude the
//! tests say so and pass; with CL_REQUIRE_LIVE=1 they fail instead.

use crate::harness::{Done, collect, command, finish, fixture, text, tool, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    if on_path("claude").is_none() {
        assert!(
            std::env::var_os("CL_REQUIRE_LIVE").is_none_or(|value| value != "1"),
            "CL_REQUIRE_LIVE=1, but claude is not on PATH"
        );
        eprintln!("skipped: claude is not on PATH");
        return None;
    }
    let mut api = command(fixture())
        .arg("api")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts the API");
    let mut line = String::new();
    let stdout = api.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("reads the port");
    Some(Live {
        home: crate::harness::scratch(),
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

#[test]
fn a_plain_answer() {
    let Some(live) = live() else { return };
    let lines = live.run(&["hi @@text n=5@@"]).ok().json();
    ends(&lines, "success", "The quick brown fox jumps ");
    let exit = exit_of(&lines);
    assert_eq!(
        (&exit["whole"], &exit["code"], &exit["orphans"]),
        (&true.into(), &0.into(), &0.into()),
        "{exit}"
    );
    assert_eq!(text(exit, "/session_id").len(), 36);
    assert!(exit["usage"]["input"].as_u64() > Some(0), "{exit}");
    live.nothing_left();
}

#[test]
fn token_by_token() {
    let Some(live) = live() else { return };
    let lines = live.run(&["--partial", "hi @@text n=5@@"]).ok().json();
    ends(&lines, "success", "The quick brown fox jumps ");
    let deltas = lines.iter().filter_map(|line| line["event"]["delta"]["text"].as_str());
    assert_eq!(deltas.collect::<String>(), "The quick brown fox jumps ");
}

#[test]
fn a_prompt_of_any_length_on_stdin() {
    let Some(live) = live() else { return };
    let prompt = format!("{} @@text n=2@@", "many words ".repeat(140_000));
    let lines = finish(live.spawn(&[]), prompt.as_bytes()).ok().json();
    ends(&lines, "success", "The quick ");
}

#[test]
fn tools_are_what_was_asked_for() {
    let Some(live) = live() else { return };
    let made = live.home.path().join("work/made");
    let prompt = r#"x @@bash cmd="mkdir made"@@"#;
    for (list, there, permitted) in [
        ("", "[]", false),
        ("Read", r#"["Read"]"#, false),
        ("Read,Bash(touch *)", r#"["Bash","Read"]"#, false),
        ("Bash(mkdir *)", r#"["Bash"]"#, true),
        ("Read,Bash", r#"["Bash","Read"]"#, true),
    ] {
        let lines = live.run(&["--tools", list, prompt]).ok().json();
        let init = lines
            .iter()
            .find(|line| text(line, "/subtype") == "init")
            .expect("an init");
        assert_eq!(init["tools"].to_string(), there);
        assert_eq!(std::fs::remove_dir(&made).is_ok(), permitted, "{list}");
    }
}

#[test]
fn two_megabytes_for_a_reader_that_sleeps() {
    let Some(live) = live() else { return };
    let script = "set -o pipefail; cl-spawn main 'x @@big size=2000000@@' | $FIXTURE reader after=100 pause=25";
    let lines = live.bash(script).ok().json();
    let exit = exit_of(&lines);
    assert_eq!(text(exit, "/outcome"), "success", "{}", text(exit, "/because"));
    assert_eq!(text(exit, "/text").len(), 2_000_000);
    let result = lines.iter().find(|line| line["type"] == "result").expect("a result");
    assert_eq!(text(result, "/result").len(), 2_000_000);
}

#[test]
fn silence_is_noticed() {
    let Some(live) = live() else { return };
    let lines = live.run(&["--idle", "3s", "x @@hang after=3@@"]).exits(124).json();
    assert_eq!(text(exit_of(&lines), "/outcome"), "idle");
    live.nothing_left();
}

#[test]
fn a_deadline_is_kept_and_what_was_written_stays() {
    let Some(live) = live() else { return };
    let begin = Instant::now();
    let lines = live
        .run(&["-t", "4s", "--partial", "x @@hang after=3@@"])
        .exits(124)
        .json();
    assert!(begin.elapsed() < Duration::from_secs(20));
    ends(&lines, "timeout", "part0 part1 part2 ");
    live.nothing_left();
}

/// Starts a claude, waits for a line that holds these words, and sends a signal to cl-spawn.
fn interrupted(live: &Live, prompt: &str, words: &str, signal: Signal) -> (Done, Duration) {
    let mut child = live
        .spawn(&["--partial", prompt])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = Vec::new();
    loop {
        let from = lines.len();
        assert!(out.read_until(b'\n', &mut lines).expect("reads") > 0, "ended too early");
        if String::from_utf8_lossy(&lines[from..]).contains(words) {
            break;
        }
    }
    let begin = Instant::now();
    kill(Pid::from_raw(child.id() as i32), signal).expect("signals");
    out.read_to_end(&mut lines).expect("reads");
    let mut done = collect(child, prompt);
    done.out = lines;
    (done, begin.elapsed())
}

#[test]
fn told_to_stop_midstream() {
    let Some(live) = live() else { return };
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let (done, took) = interrupted(&live, "x @@text n=3000 delay=0.05@@", "text_delta", signal);
        let lines = done.exits(code).json();
        assert_eq!(text(exit_of(&lines), "/outcome"), "cancelled");
        let stop = lines
            .iter()
            .find(|line| text(line, "/subtype") == "stop")
            .expect("a stop event");
        assert_eq!(text(stop, "/with/0"), "SIGINT", "{stop}");
        // The gentle way: claude had the time for a result of its own.
        let result = lines.iter().find(|line| line["type"] == "result").expect("a result");
        assert!(text(result, "/terminal_reason").starts_with("aborted"), "{result}");
        assert!(took < Duration::from_secs(5), "{signal}: {took:?}");
        live.nothing_left();
    }
}

#[test]
fn told_to_stop_while_a_tool_runs() {
    let Some(live) = live() else { return };
    let (done, took) = interrupted(
        &live,
        r#"x @@bash cmd="touch running; sleep 300"@@"#,
        "\"tool_use\"",
        Signal::SIGTERM,
    );
    let lines = done.exits(143).json();
    assert_eq!(text(exit_of(&lines), "/outcome"), "cancelled");
    assert!(took < Duration::from_secs(12), "{took:?}");
    live.nothing_left();
}

#[test]
fn killed_while_a_tool_runs() {
    let Some(live) = live() else { return };
    let running = live.home.path().join("work/running");
    let prompt = r#"x @@bash cmd="touch running; setsid sleep 300 & nohup sleep 300 & sleep 300"@@"#;
    let mut child = live
        .spawn(&["--tools", "Bash", prompt])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    until("the tool to run", || running.exists().then_some(()));
    until("the three sleeps", || {
        (live
            .alive()
            .iter()
            .filter(|process| process.contains("sleep 300"))
            .count()
            >= 3)
            .then_some(())
    });
    child.kill().expect("kills");
    let begin = Instant::now();
    until("everything to be gone", || live.alive().is_empty().then_some(()));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    child.wait().expect("waits");
}

#[test]
fn what_a_tool_left_behind_is_ended() {
    let Some(live) = live() else { return };
    let prompt = r#"x @@bash cmd="setsid sleep 300 >/dev/null 2>&1 & echo started"@@"#;
    let lines = live.run(&["--tools", "Bash", prompt]).ok().json();
    let exit = exit_of(&lines);
    assert_eq!(text(exit, "/outcome"), "success", "{exit}");
    assert!(exit["orphans"].as_u64() >= Some(1), "{exit}");
    live.nothing_left();
}

#[test]
fn a_sub_agent_in_the_background_is_waited_for() {
    let Some(live) = live() else { return };
    let lines = live.run(&[r#"x @@task bg=1 sub="text n=3 delay=0.5"@@"#]).ok().json();
    ends(&lines, "success", "Recovered and done.");
    let inits = lines.iter().filter(|line| text(line, "/subtype") == "init").count();
    assert!(inits >= 2, "{inits} turns");
    live.nothing_left();
}

#[test]
fn a_reader_that_goes_away_stops_it() {
    let Some(live) = live() else { return };
    let begin = Instant::now();
    let script = "cl-spawn main --partial 'x @@text n=3000 delay=0.05@@' | head -n 6 >/dev/null; echo ${PIPESTATUS[0]}";
    assert_eq!(live.bash(script).ok().text(), "141\n");
    assert!(begin.elapsed() < Duration::from_secs(20));
    live.nothing_left();
}

#[test]
fn errors_and_refusals() {
    let Some(live) = live() else { return };
    let lines = live.run(&["x @@err status=400@@"]).exits(1).json();
    assert_eq!(text(exit_of(&lines), "/outcome"), "error", "{}", exit_of(&lines));
    let lines = live.run(&["--arg=--no-such-flag", "x"]).exits(1).json();
    let exit = exit_of(&lines);
    assert!(text(exit, "/stderr").contains("unknown option"), "{exit}");
    let lines = live.run(&["x @@tools list=Write@@"]).ok().json();
    let exit = exit_of(&lines);
    assert_eq!(
        (text(exit, "/outcome"), text(exit, "/denials/0/tool")),
        ("success", "Write"),
        "{exit}"
    );
    live.nothing_left();
}
