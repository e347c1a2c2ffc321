//! cl-wait: its policies, on streams, run folders and processes.

mod output;
mod targets;
mod turn;

use crate::harness::*;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

/// Lines of a stream as cl-spawn writes them: a start, an answer, an end.
/// Writes behind what a file holds.
fn append(path: &Path, text: &str) {
    let mut file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .expect("opens");
    file.write_all(text.as_bytes()).expect("writes");
}

fn line(stream: &str, seq: u64, rest: &str) -> String {
    format!(
        "{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":{}.000000}},{rest}}}\n",
        1000 + seq
    )
}

fn start(stream: &str) -> String {
    line(
        stream,
        1,
        r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"claude","pid":1"#,
    )
}

fn says(stream: &str, text: &str) -> String {
    let message = format!(r#"{{"id":"m","content":[{{"type":"text","text":"{text}"}}]}}"#);
    line(
        stream,
        2,
        &format!(r#""type":"assistant","session_id":"s","message":{message}"#),
    )
}

fn ends(stream: &str, outcome: &str, more: &str) -> String {
    line(
        stream,
        3,
        &format!(r#""type":"cl","subtype":"exit","outcome":"{outcome}","because":"so it is"{more}"#),
    )
}

/// A stream that answers with its own name and ends well.
fn good(stream: &str) -> String {
    let text = format!(r#","text":"I am {stream}""#);
    [
        start(stream),
        says(stream, &format!("I am {stream}")),
        ends(stream, "success", &text),
    ]
    .concat()
}

/// A cl-wait whose stdin stays open.
struct Waiting {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Waiting {
    fn new(args: &[&str]) -> Self {
        let mut command = command(tool("cl-wait"));
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    fn give(mut self, text: &str) -> Self {
        self.stdin
            .as_mut()
            .expect("open")
            .write_all(text.as_bytes())
            .expect("cl-wait reads");
        self
    }

    /// Its end, while its stdin is still open.
    fn done(self) -> Done {
        collect(self.child, "cl-wait")
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }

    /// Whether it holds a descriptor of that process.
    fn holds(&self, pid: &str) -> bool {
        let folder = std::fs::read_dir(format!("/proc/{}/fdinfo", self.child.id())).expect("it runs");
        let line = format!("Pid:\t{pid}\n");
        folder
            .flatten()
            .any(|entry| std::fs::read_to_string(entry.path()).is_ok_and(|info| info.contains(&line)))
    }

    /// The next line on its stdout.
    fn next_line(&mut self) -> Value {
        let out = self.child.stdout.as_mut().expect("piped");
        let mut line = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).expect("reads") == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        serde_json::from_slice(&line).expect("a line of JSON")
    }
}

fn verdict(done: &Done) -> Value {
    let mut lines = done.json();
    let last = lines.pop().expect("a line");
    assert_eq!(
        (text(&last, "/cl/stream"), text(&last, "/subtype")),
        ("cl-wait", "final")
    );
    last
}

/// The beginning of 1970 is a time, too.
#[test]
fn a_stream_at_the_time_0_is_lost_as_any_other() {
    let line = r#"{"cl":{"stream":"a","seq":1,"ts":0},"x":1}"#;
    let mut command = command(tool("cl-wait"));
    command.args(["-t", "10s"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = finish(command, format!("{line}\n").as_bytes()).exits(1);
    assert_eq!(done.err, "cl-wait: a stopped without telling its end\n");
}

#[test]
fn all_of_them() {
    let done = feed("cl-wait", &[] as &[&str], (good("a") + &good("b")).as_bytes()).ok();
    let last = verdict(&done);
    assert_eq!(text(&last, "/verdict"), "met");
    assert_eq!(text(&last, "/text"), "I am a\n\nI am b");
    assert_eq!(text(&last, "/streams/b/outcome"), "success");
    assert!(last.pointer("/streams/a/cl").is_none() && last.pointer("/streams/a/subtype").is_none());
    assert_eq!(last.pointer("/cl/seq").and_then(Value::as_u64), Some(1));

    // The first bad end decides, at once.
    let done = Waiting::new(&[])
        .give(&(good("a") + &ends("b", "failed", "")))
        .done()
        .exits(1);
    assert_eq!(text(&verdict(&done), "/verdict"), "unmet");
    assert_eq!(done.err, "cl-wait: b ended as failed: so it is\n");
    assert_eq!(text(&verdict(&done), "/because"), "b ended as failed: so it is");
}

#[test]
fn those_expected_are_enough() {
    let done = Waiting::new(&["--expect", "a,b"])
        .give(&(good("a") + &good("b")))
        .done()
        .ok();
    assert_eq!(text(&verdict(&done), "/verdict"), "met");
    let done = feed("cl-wait", &["--expect", "a,b"], good("a").as_bytes()).exits(1);
    assert_eq!(done.err, "cl-wait: b never appeared\n");
}

#[test]
fn any_of_them() {
    let done = Waiting::new(&["--any"])
        .give(&(start("slow") + &ends("bad", "failed", "") + &good("a")))
        .done()
        .ok();
    assert_eq!(text(&verdict(&done), "/text"), "I am a");
    let done = Waiting::new(&["--any", "2"])
        .give(&(start("slow") + &good("a") + &good("b")))
        .done()
        .ok();
    assert_eq!(text(&verdict(&done), "/text"), "I am a\n\nI am b");
    let done = feed(
        "cl-wait",
        &["--any=2"],
        (good("a") + &ends("b", "failed", "")).as_bytes(),
    )
    .exits(1);
    assert_eq!(done.err, "cl-wait: only 1 of 2 can still end well\n");
}

#[test]
fn the_first_of_them() {
    let done = Waiting::new(&["--first", "-o", "text"])
        .give(&(start("slow") + &good("quick")))
        .done()
        .ok();
    assert_eq!(done.text(), "I am quick\n");
}

#[test]
fn a_needed_one_and_another() {
    let args = ["--need", "main", "--any", "1", "-o", "text"];
    // The needed one goes first, though it came last.
    let done = Waiting::new(&args).give(&(good("a") + &good("main"))).done().ok();
    assert_eq!(done.text(), "I am main\n\nI am a\n");
    // Alone it is enough once the grace is over, and not before.
    let begin = Instant::now();
    let done = Waiting::new(&["--need", "main", "--any", "1", "--grace", "300ms", "-o", "text"])
        .give(&(start("slow") + &good("main")))
        .done()
        .ok();
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!(done.text(), "I am main\n");
    // Without --any nothing else is waited for.
    Waiting::new(&["--need", "main"])
        .give(&(start("slow") + &good("main")))
        .done()
        .ok();
    // It failed: whatever the others do.
    let done = Waiting::new(&args)
        .give(&(good("a") + &ends("main", "auth", "")))
        .done()
        .exits(1);
    assert_eq!(done.err, "cl-wait: main ended as auth: so it is\n");
    let done = feed("cl-wait", &args, good("a").as_bytes()).exits(1);
    assert_eq!(done.err, "cl-wait: main never appeared\n");
}

#[test]
fn the_rest_is_stopped_when_the_verdict_is_in() {
    let dir = scratch();
    let script = format!(
        "{{ cl-spawn main -- echo 'the answer' & cl-spawn context -- echo more & \
         cl-spawn slow -- sh -c 'echo $$ >{0}/pid; exec sleep 300' & }} | cl-wait --need main --any 1 --grace 1m -o none",
        dir.path().display()
    );
    bash(&script).ok();
    // Unless it was stopped before it could say so: the file may be empty, or not there.
    let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
    if let Some(pid) = pid.strip_suffix('\n') {
        until("the slow one's end", || {
            (!std::path::Path::new("/proc").join(pid).exists()).then_some(())
        });
    }
}

#[test]
fn at_a_timeout_there_is_all_that_came() {
    let half = start("slow") + &says("slow", "half an");
    let done = Waiting::new(&["-t", "200ms"])
        .give(&(good("a") + &half))
        .done()
        .exits(124);
    let last = verdict(&done);
    assert_eq!(text(&last, "/verdict"), "timeout");
    assert_eq!(text(&last, "/text"), "I am a\n\nhalf an");
    assert_eq!(text(&last, "/streams/slow/text"), "half an");
    assert_eq!(text(&last, "/streams/slow/phase"), "running");
    assert_eq!(text(&last, "/streams/a/outcome"), "success");
    assert_eq!(done.err, "cl-wait: time is up; not there yet: slow\n");
    // What is needed is there: time was up only for the rest.
    Waiting::new(&["--need", "a", "--any", "1", "-t", "200ms"])
        .give(&(good("a") + &half))
        .done()
        .ok();
}

#[test]
fn an_end_that_nobody_saw() {
    let unseen = [start("a"), ends("a", "unknown", "")].concat();
    let done = feed("cl-wait", &[] as &[&str], unseen.as_bytes()).exits(1);
    assert_eq!(
        done.err,
        "cl-wait: a ended, and nobody saw how: start it by cl-spawn, or let such an end count by --trust\n"
    );
    feed("cl-wait", &["--trust"], unseen.as_bytes()).ok();
    // No end at all does not count in any case.
    let done = feed("cl-wait", &["--trust"], (start("a") + &says("a", "half an")).as_bytes()).exits(1);
    assert_eq!(done.err, "cl-wait: a stopped without telling its end\n");
    let last = verdict(&done);
    assert_eq!(
        (text(&last, "/streams/a/outcome"), text(&last, "/text")),
        ("lost", "half an")
    );
}

#[test]
fn nothing_came() {
    assert_eq!(
        feed("cl-wait", &["--any"], b"").exits(1).err,
        "cl-wait: no stream appeared\n"
    );
    let done = feed("cl-wait", &[] as &[&str], b"{\"type\":\"x\"}\n").exits(1);
    assert!(done.err.contains("cl-merge"), "{}", done.err);
}

#[test]
fn a_signal_ends_the_wait_and_not_the_answer() {
    use nix::sys::signal::Signal;
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let mut waiting = Waiting::new(&["--partial", "0"]).give(&good("a")).give(&start("slow"));
        until("the stream's place in a partial", || {
            waiting.next_line().pointer("/streams/slow").is_some().then_some(())
        });
        waiting.signal(signal);
        let done = waiting.done().exits(code);
        let last = verdict(&done);
        assert_eq!((text(&last, "/verdict"), text(&last, "/text")), ("cancelled", "I am a"));
        assert_eq!(done.err, "");
    }
}

#[test]
fn exit_as_a_stream_did() {
    let code = |outcome: &str, more: &str| {
        let stream = good("b") + &ends("a", outcome, more);
        feed("cl-wait", &["--exit-code-from", "a", "-o", "none"], stream.as_bytes()).code()
    };
    assert_eq!(code("success", ""), 0);
    assert_eq!(code("failed", r#","code":7"#), 7);
    assert_eq!(code("killed", r#","signal":"SIGTERM""#), 143);
    assert_eq!(code("limit", r#","code":1"#), 75);
    assert_eq!(code("auth", r#","code":1"#), 77);
    assert_eq!(code("unavailable", r#","code":1"#), 69);
    assert_eq!(code("timeout", r#","signal":"SIGTERM""#), 124);
    assert_eq!(code("unstartable", r#","code":127"#), 127);
    assert_eq!(code("incomplete", r#","code":0"#), 1);
    // Also when the verdict is another stream's: --any is met, and a has failed.
    let stream = ends("a", "failed", r#","code":7"#) + &good("b");
    feed("cl-wait", &["--any", "--exit-code-from", "a"], stream.as_bytes()).exits(7);
    // The real thing.
    bash("cl-spawn a -- sh -c 'exit 9' | cl-wait --exit-code-from a -o none").exits(9);
}

/// Targets are read even where stdin is a stream that never ends.
fn finish_without_stdin(args: &[&str]) -> Done {
    Waiting::new(args).done()
}

#[test]
fn misuse() {
    for args in [
        &["--all", "--any"][..],
        &["--first", "--need", "a"],
        &["--need", "a b"],
        &["--any", "0"],
        &["--turn=0"],
        &["--turn=x"],
        &["-t", "x"],
        &["--nonsense"],
    ] {
        let done = run("cl-wait", args).exits(125);
        assert_eq!(done.err.lines().count(), 1, "{}", done.err);
    }
}

#[test]
fn a_terminal_as_stdin_is_a_mistake() {
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = command(tool("cl-wait"));
    command.stdin(pty.slave).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("starts");
    let done = collect(child, "cl-wait").exits(125);
    assert!(done.err.contains("stdin is a terminal"), "{}", done.err);
}
