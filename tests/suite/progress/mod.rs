//! cl-progress: the copy, the log, the picture of a run, and the live picture in a tmux pane.

mod actions;
mod after;
mod attach;
mod browser;
mod hostile;
mod tmux;
mod window;

use crate::harness::*;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// One line of a stream.
fn line(stream: &str, seq: u64, rest: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs_f64();
    format!("{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":{now:.6}}},{rest}}}\n")
}

/// Has all three reports of a stream written in a folder: `s.md`, `t.json`, `p.html`.
fn reports(folder: &Path, stream: &[u8]) -> Done {
    let mut tool = command(tool("cl-progress"));
    tool.current_dir(folder).args(["--once", "--progress", "none"]);
    tool.args(["--summary", "s.md", "--trace", "t.json", "--html", "p.html"]);
    finish(tool, stream)
}

fn start(stream: &str) -> String {
    line(
        stream,
        1,
        r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"plain","pid":1"#,
    )
}

fn says(stream: &str, seq: u64, text: &str) -> String {
    let text = serde_json::to_string(text).expect("a string");
    line(stream, seq, &format!(r#""type":"cl","subtype":"text","text":{text}"#))
}

fn exits(stream: &str, seq: u64, outcome: &str) -> String {
    let rest = format!(r#""type":"cl","subtype":"exit","outcome":"{outcome}","because":"so it is","duration":2.5"#);
    line(stream, seq, &rest)
}

/// Bytes that are neither text nor in any order.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(byte).collect()
}

/// cl-progress amid a pipe, with its stdin and stdout in our hands.
fn amid(args: &[&str]) -> Child {
    let mut command = command(tool("cl-progress"));
    let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().expect("starts")
}

#[test]
fn every_byte_passes() {
    let mut bytes = noise(3_000_000);
    bytes.extend_from_slice(start("a").as_bytes());
    bytes.extend_from_slice(b"no line feed at the end");
    for how in ["none", "plain", "json", "auto"] {
        let done = feed("cl-progress", &["--progress", how], &bytes);
        assert_eq!((done.code(), done.out == bytes), (0, true), "{how}: {}", done.err);
        assert_eq!(done.err.is_empty(), how == "none", "{how}");
    }
    // Where nothing can be spliced: files, opened for appending, and sockets.
    let folder = scratch();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::write(&from, &bytes).expect("writes");
    for script in [
        "cl-progress < from > to",
        "cl-progress < from >> to",
        "cat from | cl-progress >> to",
        "cat from | cl-progress --progress none >> to",
        "cl-progress < from | cat > to",
    ] {
        File::create(&to).expect("empties");
        let script = format!(
            "set -o pipefail; exec 2> {0}/err; cd {0}; {script}",
            folder.path().display()
        );
        bash(&script).ok();
        assert!(std::fs::read(&to).expect("reads") == bytes, "{script}");
    }
    let (ours, its) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut tool = command(tool("cl-progress"));
    tool.stdin(File::open(&from).expect("opens"))
        .stdout(OwnedFd::from(its))
        .stderr(Stdio::null());
    let mut child = tool.spawn().expect("starts");
    drop(tool);
    let mut back = Vec::new();
    (&ours).read_to_end(&mut back).expect("reads");
    assert!(back == bytes && wait(&mut child, "a socket").success());
}

#[test]
fn half_a_line_is_not_held_back() {
    let mut child = amid(&[]);
    let (mut stdin, mut stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    for part in ["{\"cl\":{\"stre", "am\":\"a\"", "\n"] {
        stdin.write_all(part.as_bytes()).expect("writes");
        let mut back = vec![0; part.len()];
        stdout.read_exact(&mut back).expect("reads");
        assert_eq!(back, part.as_bytes());
    }
    drop(stdin);
    assert_eq!(collect(child, "cl-progress").code(), 0);
}

#[test]
fn a_log_nobody_reads_holds_nothing_up() {
    let mut child = amid(&["--progress", "plain"]);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    // Far more changes than the pipe that is its stderr takes.
    let mut lines = String::new();
    for i in 0..20_000 {
        lines.push_str(&start(&format!("stream-{i}")));
    }
    let length = lines.len();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let mut back = Vec::new();
    stdout.read_to_end(&mut back).expect("reads");
    writer.join().expect("joins").expect("writes");
    assert_eq!(back.len(), length);
    let done = collect(child, "cl-progress");
    assert_eq!(done.code(), 0, "{}", done.err);
}

#[test]
fn a_terminal_that_takes_nothing_holds_nothing_up() {
    let size = nix::pty::Winsize {
        ws_row: 50,
        ws_col: 200,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // Nobody reads its other side.
    let pty = nix::pty::openpty(Some(&size), None).expect("a pty");
    let mut command = command(tool("cl-progress"));
    command.args(["--progress", "tty", "-n", "20"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::from(pty.slave));
    let mut child = command.spawn().expect("starts");
    drop(command);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let (done, passed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let long = "x".repeat(190);
        stdin.write_all(start("a").as_bytes()).expect("writes");
        stdout.read_exact(&mut vec![0; start("a").len()]).expect("reads");
        let begin = std::time::Instant::now();
        let mut seq = 1;
        // Frames enough to fill the pty many times over, one after the other.
        while begin.elapsed() < std::time::Duration::from_secs(2) {
            seq += 1;
            let line = says("a", seq, &format!("{seq} {long}"));
            stdin.write_all(line.as_bytes()).expect("writes");
            stdout.read_exact(&mut vec![0; line.len()]).expect("reads");
        }
        done.send(()).expect("somebody waits");
    });
    let passed = passed.recv_timeout(DEADLINE);
    if passed.is_err() {
        child.kill().expect("ends");
    }
    assert!(passed.is_ok(), "the pipe waits for the terminal");
    assert_eq!(wait(&mut child, "a picture for a stopped terminal").code(), Some(0));
    drop(pty.master);
}

#[test]
fn a_line_for_each_change() {
    let stream = [
        start("main"),
        says("main", 2, "[1/4] \u{1b}]52;c;aGk=\u{7}"),
        exits("main", 3, "failed"),
        start("cut"),
    ];
    let done = feed("cl-progress", &[] as &[&str], stream.concat().as_bytes());
    let mut said: Vec<&str> = done.err.lines().collect();
    // The day, for whoever reads it later; times of day before the rest.
    let day = said.remove(0);
    assert!(day.starts_with("20") && day.contains(" (UTC"), "{day}");
    let said: Vec<&str> = said
        .iter()
        .map(|line| if line.starts_with(' ') { line } else { &line[9..] })
        .collect();
    assert_eq!(
        said,
        [
            "main: running, plain",
            "main: failed: so it is (2.5s, 1 line)",
            "  | [1/4]",
            "cut: running, plain",
            "cut: lost (0.0s, 0 lines)",
            "2 streams: 1 failed, 1 lost (0s, 1 line, 2.5s one after the other)",
        ]
    );
    let done = feed(
        "cl-progress",
        &["--progress", "json", "--only", "m*"],
        stream.concat().as_bytes(),
    );
    let objects = json_lines(done.err.as_bytes());
    let of = |member: &str| objects.iter().map(|object| object[member].clone()).collect::<Vec<_>>();
    assert_eq!(of("stream"), ["main", "main", "main"]);
    assert_eq!(of("state"), ["running", "running", "ended"]);
    assert_eq!(objects[1]["progress"]["fraction"], 0.25);
    assert_eq!(objects[2]["outcome"], "failed");
}

#[test]
fn nothing_is_told_to_be_lost_that_is_there() {
    // What ends with CR, and halves of lines, go another way through it than the lines between them.
    let lines: String = (2..40)
        .map(|seq| {
            let whole = line("main", seq, &format!("\"n\":{seq}"));
            match seq {
                10 | 30 => whole.replace('\n', "\r\n"),
                20 | 35 => format!("{}{whole}", r#"{"cl":{"stream":"other","seq":1,"ts":1.000000},"half"#),
                _ => whole,
            }
        })
        .collect();
    let stream = [start("main"), lines, exits("main", 40, "success")].concat();
    let done = feed("cl-progress", &["--once", "--progress", "json"], stream.as_bytes()).ok();
    let main = done
        .json()
        .into_iter()
        .find(|object| object["stream"] == "main")
        .expect("main");
    assert_eq!((&main["lost"], &main["lines"]), (&0.into(), &38.into()));
    // A hole is told all the same, and as large as it is.
    let holes: String = stream
        .lines()
        .filter(|line| !line.contains("\"n\":1"))
        .map(|line| format!("{line}\n"))
        .collect();
    let done = feed("cl-progress", &["--once", "--progress", "json"], holes.as_bytes()).ok();
    let main = done
        .json()
        .into_iter()
        .find(|object| object["stream"] == "main")
        .expect("main");
    assert_eq!(main["lost"], 10, "{main}");
}

#[test]
fn one_frame_that_nobody_can_get() {
    let done = bash("cl-progress --once </dev/null >&-").exits(1);
    assert_eq!(done.err, "cl-progress: stdout: Bad file descriptor\n");
}

#[test]
fn one_frame() {
    let stream = [
        start("main"),
        says("main", 2, "first\nsecond \u{1b}[31mred\u{1b}[0m\u{7} \u{202e}x"),
        exits("main", 3, "success"),
        start("other"),
    ];
    let done = feed("cl-progress", &["--once"], stream.concat().as_bytes()).ok();
    assert_eq!(
        done.text(),
        "✓ main   plain  2.5s   1 line  success\n  first\n  second red x\n✗ other  plain  0.0s  0 lines  lost\n2 streams: 1 success, 1 lost · 0s · 1 line\n"
    );
    let mut narrow = command(tool("cl-progress"));
    narrow
        .args(["--once", "-n", "1", "--only", "main"])
        .env("COLUMNS", "16");
    let done = finish(narrow, stream.concat().as_bytes()).ok();
    assert_eq!(done.text(), "✓ main  2.5s  s…\n  second red x\n1 stream: 1 suc…\n");
    let done = feed(
        "cl-progress",
        &["--once", "--color", "always"],
        stream.concat().as_bytes(),
    )
    .ok();
    assert!(done.text().starts_with("\u{1b}[32m✓\u{1b}[0m "), "{}", done.text());
    let done = feed(
        "cl-progress",
        &["--once", "--progress", "json"],
        stream.concat().as_bytes(),
    )
    .ok();
    assert_eq!(done.json().len(), 2);
    // What has no header is read, too.
    let claude = r#"{"type":"system","subtype":"init","session_id":"s","model":"m"}"#;
    let done = feed("cl-progress", &["--once"], format!("{claude}\n").as_bytes()).ok();
    assert!(done.text().contains(" stdin  claude "), "{}", done.text());
    let done = feed("cl-progress", &["--once", "--agent", "codex"], b"{\"x\":1}\n").ok();
    assert!(done.text().contains(" codex "), "{}", done.text());
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("opens");
    file.write_all(text.as_bytes()).expect("writes");
}

#[test]
fn a_run_is_followed_to_its_end() {
    let folder = scratch();
    let run = folder.path().join("run");
    std::fs::create_dir_all(run.join("a")).expect("makes a folder");
    // A FIFO belongs to its readers, and has none now.
    mkfifo(&run.join("fifo"));
    append(&run.join("a.ndjson"), &start("a"));
    let watch = || {
        let mut command = command(tool("cl-progress"));
        command.args(["--progress", "json"]).arg(&run).stdin(Stdio::null());
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts")
    };
    let mut lookers = [watch(), watch()];
    let mut seen = lookers.each_mut().map(|child| {
        let mut reader = std::io::BufReader::new(child.stdout.take().expect("piped"));
        let mut first = String::new();
        std::io::BufRead::read_line(&mut reader, &mut first).expect("reads");
        (reader, first)
    });
    append(
        &run.join("a/b.ndjson"),
        &[start("a/b"), exits("a/b", 2, "failed")].concat(),
    );
    append(&run.join("a.ndjson"), &exits("a", 2, "success"));
    for (child, (reader, text)) in lookers.into_iter().zip(&mut seen) {
        reader.read_to_string(text).expect("reads");
        collect(child, "cl-progress").ok();
        let ends: Vec<_> = json_lines(text.as_bytes())
            .into_iter()
            .filter(|object| object["state"] == "ended")
            .collect();
        assert_eq!(ends.len(), 2, "{text}");
    }
    // One that has ended shows its end.
    let done = collect(watch(), "cl-progress").ok();
    assert!(done.json().iter().any(|object| object["outcome"] == "success"));
    let done = run_once(&run);
    assert!(
        done.contains("2 streams: ") && done.contains("✓ a ") && done.contains("✗ a/b "),
        "{done}"
    );
}

fn run_once(path: &Path) -> String {
    run("cl-progress", &["--once".as_ref(), path.as_os_str()])
        .ok()
        .text()
        .to_owned()
}

#[test]
fn a_reader_that_leaves_is_noticed_without_a_line() {
    for how in ["auto", "none"] {
        let mut child = amid(&["--progress", how]);
        let stdin = child.stdin.take().expect("piped");
        drop(child.stdout.take());
        let status = wait(&mut child, "cl-progress without a reader");
        assert_eq!(status.code(), Some(0), "{how}");
        drop(stdin);
    }
}

#[test]
fn output_that_fails_is_told() {
    for how in ["none", "plain"] {
        let script = format!("echo x | cl-progress --progress {how} > /dev/full");
        let done = bash(&script).exits(1);
        assert!(
            done.err.contains("cl-progress: stdout: No space left on device\n"),
            "{}",
            done.err
        );
        let done = bash(&format!("echo x | cl-progress --progress {how} >&-")).exits(1);
        assert!(done.err.contains("cl-progress: stdout: Bad file"), "{}", done.err);
    }
    let done = run("cl-progress", &["/nonexistent/run"]).exits(1);
    let said =
        "cl-progress: /nonexistent/run: No such file or directory; to be there before a run begins, make its folder\n";
    assert_eq!(done.err, said);
}

#[test]
fn misuse_is_told() {
    for (args, said) in [
        (&["--interval", "10ms"][..], "50ms or more"),
        (&["--agent", "x"], "no such agent; known are claude"),
        (&["--only", "a b"], "matches no stream"),
        (&["--progress", "loud"], "invalid value 'loud'"),
    ] {
        let done = run("cl-progress", args).exits(2);
        assert!(done.err.contains(said) && done.err.lines().count() == 1, "{}", done.err);
    }
    // setsid leaves no controlling terminal to draw on.
    let done = bash("echo | setsid -w cl-progress --progress tty | cat; exit ${PIPESTATUS[1]}").exits(2);
    assert!(done.err.contains("no terminal to draw on"), "{}", done.err);
}

#[test]
fn the_first_signal_lets_the_rest_through() {
    for how in ["none", "plain"] {
        for (signal, code) in [("INT", 130), ("TERM", 143)] {
            let mut child = amid(&["--progress", how]);
            let mut stdin = child.stdin.take().expect("piped");
            let mut stdout = child.stdout.take().expect("piped");
            let pid = child.id().to_string();
            let mut byte = [0];
            // It passes bytes, so it hears signals.
            stdin.write_all(b"a").expect("writes");
            stdout.read_exact(&mut byte).expect("reads");
            bash(&format!("kill -{signal} {pid}")).ok();
            until("the signal to be taken", || pending(&pid).eq(&0).then_some(()));
            stdin.write_all(b"b").expect("writes");
            stdout.read_exact(&mut byte).expect("reads");
            assert_eq!(byte, *b"b");
            drop(stdin);
            assert_eq!(collect(child, "cl-progress").code(), code, "{how} {signal}");
        }
    }
    let mut child = amid(&[]);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    stdin.write_all(b"a").expect("writes");
    stdout.read_exact(&mut [0]).expect("reads");
    let pid = child.id();
    bash(&format!("kill -TERM {pid}")).ok();
    until("the second signal's end", || {
        bash(&format!("kill -INT {pid} 2>&1"));
        child.try_wait().expect("waits")
    });
}

/// The signals that wait for a process, as a mask.
fn pending(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).expect("hexadecimal"))
}
