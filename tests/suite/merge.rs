//! cl-merge: sources of every kind, and what is told when something is missing.

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

// FIFOs

#[test]
fn two_fifos_end_by_themselves() {
    let done = bash(
        r#"cd "$(mktemp -d)" && mkfifo a b
        seq 1000 > a &
        { for i in $(seq 500); do echo "{\"type\":\"x\",\"n\":$i}"; done > b; } &
        cl-merge a b; code=$?; rm -r "$PWD"; exit $code"#,
    )
    .ok();
    let lines = done.json();
    for (name, count) in [("a", 1000), ("b", 500)] {
        let stream = of(&lines, name);
        assert_eq!(seqs(&stream), (1..=count + 2).collect::<Vec<_>>(), "{name}");
        assert_eq!(text(stream[0], "/subtype"), "start");
        assert!(stream[0]["pid"].is_null());
        let exit = stream.last().expect("lines");
        assert_eq!((text(exit, "/subtype"), text(exit, "/outcome")), ("exit", "unknown"));
        assert_eq!((exit["lines"].as_u64(), &exit["code"]), (Some(count), &Value::Null));
    }
    assert_eq!(text(of(&lines, "a")[1], "/text"), "1");
    assert_eq!(of(&lines, "b")[500]["n"], 500);
}

#[test]
fn a_fifo_nobody_writes_to_yet_is_no_end_and_one_that_was_left_is() {
    let dir = scratch();
    mkfifo(&dir.path().join("a"));
    mkfifo(&dir.path().join("b"));
    let (merge, mut out) = start(&["a", "b"], dir.path());
    // The writer of b comes and goes while nobody has opened a.
    fs::write(dir.path().join("b"), "x\n").expect("writes");
    assert_eq!(text(&next_subtype(&mut out, "exit"), "/cl/stream"), "b");
    // One that writes nothing has been there all the same.
    drop(File::options().write(true).open(dir.path().join("a")).expect("opens"));
    let exit = next_subtype(&mut out, "exit");
    assert_eq!((text(&exit, "/cl/stream"), &exit["lines"]), ("a", &0.into()));
    assert_eq!(ends(merge, out), (0, Vec::new()));
}

#[test]
fn lines_are_passed_on_as_they_come() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("a"));
    let (merge, mut out) = start(&["a"], dir.path());
    let mut writer = File::options().write(true).open(&fifo).expect("opens");
    for word in ["one", "two"] {
        writeln!(writer, "{word}").expect("writes");
        assert_eq!(text(&next_subtype(&mut out, "text"), "/text"), word);
    }
    drop(writer);
    assert_eq!(ends(merge, out).0, 0);
}

#[test]
fn makes_fifos_and_removes_them() {
    let dir = scratch();
    let (merge, out) = start(&["--mkfifo", "a", "x=b"], dir.path());
    for name in ["a", "b"] {
        let path = dir.path().join(name);
        until("the FIFO", || path.exists().then_some(()));
        fs::write(&path, "hi\n").expect("writes");
    }
    let (code, rest) = ends(merge, out);
    assert_eq!((code, of(&json_lines(&rest), "x").len()), (0, 3));
    assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 0);
}

#[test]
fn removes_only_the_fifos_it_made() {
    let dir = scratch();
    let mine = mkfifo(&dir.path().join("mine"));
    let (merge, out) = start(&["--mkfifo", "mine", "made"], dir.path());
    until("the FIFO", || dir.path().join("made").exists().then_some(()));
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ends(merge, out).0, 143);
    assert!(mine.exists() && !dir.path().join("made").exists());
    let done = run("cl-merge", &["--mkfifo", "/nonexistent/x"]).exits(1);
    assert_eq!(done.err, "cl-merge: /nonexistent/x: No such file or directory\n");
}

#[test]
fn a_signal_closes_the_streams_and_passes_on_what_was_read() {
    let dir = scratch();
    let (a, b) = (mkfifo(&dir.path().join("a")), mkfifo(&dir.path().join("b")));
    for (signal_, code) in [
        (nix::sys::signal::Signal::SIGINT, 130),
        (nix::sys::signal::Signal::SIGTERM, 143),
        (nix::sys::signal::Signal::SIGHUP, 129),
    ] {
        let (merge, mut out) = start(&["a", "b"], dir.path());
        let mut first = File::options().write(true).open(&a).expect("opens");
        let mut second = File::options().write(true).open(&b).expect("opens");
        first.write_all(b"one\nhalf").expect("writes");
        next_subtype(&mut out, "text");
        second.write_all(line("s", 1, 1.0, START).as_bytes()).expect("writes");
        next_subtype(&mut out, "start");
        signal(&merge, signal_);
        let (got, rest) = ends(merge, out);
        let rest = json_lines(&rest);
        assert_eq!(got, code);
        assert_eq!(subtypes(&of(&rest, "a")), ["text", "exit"]);
        assert_eq!(text(of(&rest, "a")[0], "/text"), "half");
        assert!(text(of(&rest, "a")[1], "/because").contains("SIG"));
        assert_eq!(subtypes(&of(&rest, "s")), ["lost"]);
    }
}

#[test]
fn the_second_signal_ends_it_though_nobody_reads() {
    let dir = scratch();
    let file = dir.path().join("big");
    fs::write(&file, "x".repeat(99).as_bytes()).expect("writes");
    let mut grow = File::options().append(true).open(&file).expect("opens");
    (0..20_000).for_each(|_| {
        grow.write_all(b"\nsome line of text that fills the pipe")
            .expect("writes")
    });
    let (mut merge, out) = start(&["--mkfifo", "big", "made"], dir.path());
    // Once it sleeps in its write, the pipe is full and nobody empties it.
    until("the full pipe", || {
        let wchan = fs::read_to_string(format!("/proc/{}/wchan", merge.id())).ok()?;
        let syscall = fs::read_to_string(format!("/proc/{}/syscall", merge.id())).unwrap_or_default();
        (wchan.contains("pipe_write") || syscall.starts_with("1 ")).then_some(())
    });
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    until("the first signal to be taken", || {
        let pending = fs::read_to_string(format!("/proc/{}/status", merge.id())).ok()?;
        let shared = pending.lines().find(|line| line.starts_with("ShdPnd:"))?;
        shared.ends_with("0000000000000000").then_some(())
    });
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(wait(&mut merge, "cl-merge").code(), Some(143));
    assert!(!dir.path().join("made").exists());
    drop(out);
}

// Other sources

#[test]
fn stdin_of_every_kind() {
    let dir = scratch();
    let file = dir.path().join("f");
    fs::write(&file, "hi\n").expect("writes");
    let (socket, mut peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
    peer.write_all(b"hi\n").expect("writes");
    drop(peer);
    let (pipe, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"hi\n").expect("writes");
    drop(writer);
    let inputs: [OwnedFd; 3] = [File::open(&file).expect("opens").into(), socket.into(), pipe.into()];
    for input in inputs {
        let mut merge = command(tool("cl-merge"));
        let child = merge
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = collect(child, "cl-merge").ok().json();
        assert_eq!(subtypes(&of(&lines, "stdin")), ["start", "text", "exit"]);
    }
    // A terminal: what is typed comes in lines, and Ctrl-D is the end.
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let child = command(tool("cl-merge"))
        .args(["-o", "raw"])
        .stdin(pty.slave.try_clone().expect("clones"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut master = File::from(pty.master);
    master.write_all(b"typed\n\x04").expect("writes");
    assert_eq!(collect(child, "cl-merge").ok().text(), "typed\n");
}

#[test]
fn an_inherited_pipe_stays_blocking_for_those_who_share_it() {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (input, writer) = std::io::pipe().expect("a pipe");
    let (reader, output) = std::io::pipe().expect("a pipe");
    let child = command(tool("cl-merge"))
        .stdin(input.try_clone().expect("clones"))
        .stdout(output.try_clone().expect("clones"))
        .spawn()
        .expect("starts");
    let mut writer = writer;
    writeln!(writer, "hi").expect("writes");
    let mut out = BufReader::new(reader);
    next_subtype(&mut out, "text");
    for fd in [input.as_fd(), output.as_fd()] {
        let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL).expect("flags"));
        assert!(!flags.contains(OFlag::O_NONBLOCK));
    }
    drop((writer, output));
    assert_eq!(ends(child, out).0, 0);
}

#[test]
fn names_from_places() {
    let done = bash(
        r#"cd "$(mktemp -d)" && mkdir x && echo 1 > a.log && echo 2 > x/a.ndjson && echo 3 > 'b c'
        echo 4 | cl-merge a.log x/a.ndjson 'b c' - own=<(echo 5) <(echo 6) | cat; rm -r "$PWD""#,
    )
    .ok();
    let lines = done.json();
    let texts: Vec<(&str, &str)> = lines
        .iter()
        .filter(|line| text(line, "/subtype") == "text")
        .map(|line| (text(line, "/text"), text(line, "/cl/stream")))
        .collect();
    for (content, name) in [("1", "a"), ("2", "a-2"), ("3", "b_c"), ("4", "stdin"), ("5", "own")] {
        assert!(texts.contains(&(content, name)), "{content}: {texts:?}");
    }
    let six = texts.iter().find(|(content, _)| *content == "6").expect("there");
    assert!(six.1.starts_with("fd"), "{six:?}");
    let done = run("cl-merge", &["n=/dev/null", "n=/dev/zero"]).exits(2);
    assert_eq!(done.err, "cl-merge: n: two sources have this name; give each its own\n");
}

#[test]
fn a_source_that_cannot_be_opened_is_told_and_the_others_flow() {
    let dir = scratch();
    fs::write(dir.path().join("good.ndjson"), whole("good", 3)).expect("writes");
    let good = dir.path().join("good.ndjson");
    let args = [
        "/nonexistent".as_ref(),
        good.as_os_str(),
        "/dev/fd/200".as_ref(),
        "/dev/fd/3".as_ref(),
    ];
    let done = run("cl-merge", &args).exits(1);
    assert_eq!(done.text(), whole("good", 3));
    let mut told: Vec<&str> = done.err.lines().collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "cl-merge: /dev/fd/200: Bad file descriptor",
            "cl-merge: /dev/fd/3: Bad file descriptor",
            "cl-merge: /nonexistent: No such file or directory"
        ]
    );
}

#[test]
fn nothing_in_is_nothing_out_and_a_named_source_owes_its_end() {
    assert_eq!(run::<&str>("cl-merge", &[]).ok().out, b"");
    let lines = run("cl-merge", &["n=/dev/null"]).ok().json();
    assert_eq!(subtypes(&of(&lines, "n")), ["start", "exit"]);
}

#[test]
fn more_sources_than_the_soft_limit_of_descriptors() {
    let done = bash(
        r#"cd "$(mktemp -d)" && ulimit -S -n 64 && for i in $(seq 200); do echo "$i" > "s$i.ndjson"; done
        cl-merge s*.ndjson | grep -c '"subtype":"exit"'; cl-merge . | grep -c '"subtype":"exit"'; rm -r "$PWD""#,
    )
    .ok();
    assert_eq!(done.text(), "200\n200\n");
}

#[test]
fn folders_with_nested_streams() {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("run/outer")).expect("makes");
    fs::write(dir.path().join("run/main.ndjson"), whole("main", 1)).expect("writes");
    fs::write(dir.path().join("run/outer/inner.ndjson"), "bare\n").expect("writes");
    fs::write(dir.path().join("run/notes.txt"), "no source\n").expect("writes");
    fs::write(dir.path().join("run/.hidden.ndjson"), "no source\n").expect("writes");
    std::os::unix::fs::symlink("..", dir.path().join("run/loop")).expect("links");
    let folder = dir.path().join("run");
    let lines = run("cl-merge", &[&folder]).ok().json();
    assert_eq!(
        (of(&lines, "main").len(), of(&lines, "outer/inner").len(), lines.len()),
        (3, 3, 6)
    );
    let named = format!("x={}", folder.display());
    let lines = run("cl-merge", &[named]).ok().json();
    assert_eq!(of(&lines, "x/outer/inner").len(), 3);
}

// Following

#[test]
fn follows_a_file_until_its_stream_has_ended() {
    let dir = scratch();
    let path = dir.path().join("main.ndjson");
    let mut file = File::create(&path).expect("creates");
    let content = whole("main", 3);
    let (first, rest) = content.split_at(content.len() / 2);
    file.write_all(first.as_bytes()).expect("writes");
    let (merge, mut out) = start(&["-f", "main.ndjson"], dir.path());
    let mut got = String::new();
    out.read_line(&mut got).expect("reads");
    for byte in rest.as_bytes().chunks(7) {
        file.write_all(byte).expect("writes");
    }
    let (code, end) = ends(merge, out);
    assert_eq!((code, got + std::str::from_utf8(&end).expect("text")), (0, content));
}

#[test]
fn follows_through_rotation_and_truncation() {
    let dir = scratch();
    let path = dir.path().join("main.ndjson");
    fs::write(&path, line("main", 1, 1.0, START)).expect("writes");
    let (merge, mut out) = start(&["-f", "main.ndjson"], dir.path());
    next_subtype(&mut out, "start");
    // Renamed away, still written to, and begun anew under its name.
    let mut old = File::options().append(true).open(&path).expect("opens");
    fs::rename(&path, dir.path().join("main.ndjson.1")).expect("renames");
    old.write_all(line("main", 2, 2.0, r#""n":2"#).as_bytes())
        .expect("writes");
    fs::write(&path, line("main", 3, 3.0, r#""n":3"#)).expect("writes");
    assert_eq!(next(&mut out)["n"], 2);
    assert_eq!(next(&mut out)["n"], 3);
    // Cut to nothing and written again.
    let mut file = File::options().write(true).truncate(true).open(&path).expect("opens");
    file.write_all(line("main", 4, 4.0, r#""n":4"#).replace("main", "m").as_bytes())
        .expect("writes");
    assert_eq!(next(&mut out)["n"], 4);
    file.write_all((line("m", 5, 5.0, EXIT) + &line("main", 4, 5.0, EXIT)).as_bytes())
        .expect("writes");
    let (code, rest) = ends(merge, out);
    assert_eq!((code, json_lines(&rest).len()), (0, 2));
}

#[test]
fn follows_a_folder_as_it_fills() {
    let dir = scratch();
    fs::create_dir(dir.path().join("run")).expect("makes");
    fs::write(dir.path().join("run/a.ndjson"), line("a", 1, 1.0, START)).expect("writes");
    let (merge, mut out) = start(&["-f", "run"], dir.path());
    next_subtype(&mut out, "start");
    // A file, a FIFO, and a folder with a file, all later.
    fs::write(dir.path().join("run/b.ndjson"), whole("b", 1)).expect("writes");
    assert_eq!(text(&next_subtype(&mut out, "exit"), "/cl/stream"), "b");
    let fifo = mkfifo(&dir.path().join("run/c"));
    fs::write(&fifo, whole("c", 1)).expect("writes");
    assert_eq!(text(&next_subtype(&mut out, "exit"), "/cl/stream"), "c");
    fs::create_dir(dir.path().join("run/d")).expect("makes");
    fs::write(dir.path().join("run/d/e.ndjson"), whole("d/e", 1)).expect("writes");
    assert_eq!(text(&next_subtype(&mut out, "exit"), "/cl/stream"), "d/e");
    let mut file = File::options()
        .append(true)
        .open(dir.path().join("run/a.ndjson"))
        .expect("opens");
    file.write_all(line("a", 2, 2.0, EXIT).as_bytes()).expect("writes");
    assert_eq!(ends(merge, out).0, 0);
}

#[test]
fn follows_a_fifo_whose_writers_come_and_go() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("a"));
    let (merge, mut out) = start(&["--follow", "a"], dir.path());
    for seq in 1..=50 {
        let rest = if seq == 1 { START } else { r#""n":1"# };
        put(&fifo, &line("s", seq, 1.0, rest));
        assert_eq!(next(&mut out)["cl"]["seq"], seq);
    }
    // What a writer leaves unfinished is not glued to what the next one writes.
    put(&fifo, r#"{"cl":{"stream":"s","seq":51,"ts":1.0},"n":"#);
    assert_eq!(text(&next(&mut out), "/subtype"), "torn");
    put(&fifo, &line("s", 52, 1.0, EXIT));
    assert_eq!(ends(merge, out).0, 0);
}

#[test]
fn following_waits_for_every_source_that_was_named() {
    let dir = scratch();
    fs::write(dir.path().join("a.ndjson"), whole("a", 1)).expect("writes");
    let fifo = mkfifo(&dir.path().join("b"));
    let (merge, mut out) = start(&["-f", "a.ndjson", "b"], dir.path());
    next_subtype(&mut out, "exit");
    fs::write(&fifo, whole("b", 1)).expect("writes");
    let (code, rest) = ends(merge, out);
    assert_eq!((code, json_lines(&rest).len()), (0, 3));
}

// What is missing

#[test]
fn a_stream_that_stops_is_lost() {
    let input = line("a", 1, 1.0, START) + &line("a", 2, 2.0, r#""n":1"#) + &whole("b", 1);
    let lines = feed("cl-merge", &["-"], input.as_bytes()).ok().json();
    let a = of(&lines, "a");
    assert_eq!(subtypes(&a), ["start", "", "lost"]);
    assert_eq!((seqs(&a), text(a[2], "/source")), (vec![1, 2, 3], "stdin"));
    assert_eq!(of(&lines, "b").len(), 3);
    // A second reader has nothing to add.
    let once = feed("cl-merge", &["-"], input.as_bytes()).ok().out;
    assert_eq!(feed("cl-merge", &["-"], &once).ok().out, once);
}

#[test]
fn a_stream_in_two_files_is_not_lost_with_the_first() {
    let dir = scratch();
    let all = whole("a", 4);
    let cut = all.match_indices('\n').nth(2).expect("lines").0 + 1;
    fs::write(dir.path().join("1.ndjson"), &all[..cut]).expect("writes");
    fs::write(dir.path().join("2.ndjson"), &all[cut..]).expect("writes");
    assert_eq!(run("cl-merge", &[dir.path()]).ok().text(), all);
}

#[test]
fn holes_are_told_once() {
    let input: String = [1, 2, 6, 7]
        .map(|seq| line("a", seq, 1.0, if seq == 1 { START } else { r#""n":1"# }))
        .concat()
        + &line("a", 9, 1.0, EXIT);
    let once = feed("cl-merge", &["-"], input.as_bytes()).ok();
    let lines = once.json();
    assert_eq!(seqs(&lines.iter().collect::<Vec<_>>()), [1, 2, 5, 6, 7, 8, 9]);
    let gap = &lines[2];
    assert_eq!(text(gap, "/subtype"), "gap");
    assert_eq!(
        (&gap["from"], &gap["to"], &gap["lost"]),
        (&3.into(), &5.into(), &3.into())
    );
    assert_eq!(feed("cl-merge", &["-"], &once.out).ok().out, once.out);
    // The greatest number there is does no harm.
    let last = line("a", u64::MAX, 1.0, r#""n":1"#);
    assert_eq!(feed("cl-merge", &["-"], last.as_bytes()).ok().json().len(), 2);
}

#[test]
fn half_a_line_is_told_and_what_is_glued_to_it_passes() {
    let half = r#"{"cl":{"stream":"dead","seq":1,"ts":1.000000},"text":"ha"#;
    for (glued, name) in [
        (half.to_owned(), "dead"),
        (format!("{half}{half}"), "dead"),
        ("noise".to_owned(), "stdin"),
        (r#"{"cl":{"str"#.to_owned(), "stdin"),
        (r#"{"x":["#.to_owned(), "stdin"),
    ] {
        let input = format!("{glued}{}", whole("a", 2));
        let done = feed("cl-merge", &["-"], input.as_bytes()).ok();
        let passed: Vec<&str> = done
            .text()
            .split_inclusive('\n')
            .filter(|line| line.contains(r#""stream":"a""#))
            .collect();
        assert_eq!(passed.concat(), whole("a", 2), "{glued}");
        let lines = done.json();
        let torn: Vec<&Value> = lines.iter().filter(|line| text(line, "/subtype") == "torn").collect();
        assert_eq!(torn.iter().map(|line| text(line, "/text")).collect::<String>(), glued);
        assert!(torn.iter().all(|line| text(line, "/cl/stream") == name), "{torn:?}");
    }
    // A line that is valid is never cut, whatever it holds.
    let holds = line(
        "a",
        1,
        1.0,
        r#""x":{"cl":{"stream":"b","seq":1,"ts":1.0},"y":1},"type":"x""#,
    );
    let done = feed("cl-merge", &["-"], holds.as_bytes()).ok();
    assert!(done.text().starts_with(&holds) && !done.text().contains("torn"));
    // Half a line before a line feed, and at the end.
    for end in ["\n", ""] {
        let done = feed("cl-merge", &["-"], format!("{half}{end}").as_bytes()).ok();
        assert_eq!(subtypes(&done.json().iter().collect::<Vec<_>>()), ["torn", "lost"]);
    }
    // A whole line of which only the line feed is missing is whole.
    let input = whole("a", 1);
    assert_eq!(feed("cl-merge", &["-"], input.trim_end().as_bytes()).ok().text(), input);
}

#[test]
fn every_line_out_is_valid_whatever_comes_in() {
    let inputs: [&[u8]; 8] = [
        b"{\"cl\":{\"stream\":\"../x\",\"seq\":1,\"ts\":1.0},\"a\":1}\n",
        b"{\"cl\":{\"stream\":\"a\",\"seq\":1,\"ts\":1.0},\"a\":\"\xff\"}\n",
        b"{\"cl\":{\"stream\":\"a\",\"seq\":1,\"ts\":1.0}}\n",
        b"{\"cl\":{\"stream\":\"a\",\"seq\":1,\"ts\":1.0},\"a\":\"\t\"}\n",
        b"{\"type\":\"cl\",\"subtype\":\"exit\"}\n",
        b"\xff\xfe\n\n{}\n[]\nnull\n{\"a\"\n",
        b"\r\n\0\n{\"cl\":1}\n{\"cl\":{\"stream\":\"a\",\"seq\":0,\"ts\":1.0},\"x\":1}",
        b"{\"cl\":{\"stream\":\"a\",\"seq\":1,\"ts\":1.0},\"type\":\"cl\",\"subtype\":\"gap\",\"from\":9,\"to\":3}\n",
    ];
    for input in inputs {
        let done = feed("cl-merge", &["-"], input).ok();
        for value in done.json() {
            assert!(value["cl"]["seq"].is_u64() || value["cl"]["seq"] == 0, "{value}");
        }
    }
    let raw = feed("cl-merge", &["-o", "raw"], inputs[5]).ok();
    assert_eq!(raw.out, inputs[5]);
}

// What comes out

#[test]
fn an_agents_lines_tell_how_it_ended() {
    let session = r#""session_id":"s1""#;
    let init = format!("{{\"type\":\"system\",\"subtype\":\"init\",{session},\"model\":\"m\"}}\n");
    let result = |error: bool| {
        format!(
            "{{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":{error},\"result\":\"the answer\",\"num_turns\":2,\"total_cost_usd\":0.5,{session}}}\n"
        )
    };
    for (input, outcome, answer) in [
        (init.clone() + &result(false), "success", "the answer"),
        (init.clone() + &result(true), "error", "the answer"),
        (init.clone(), "unknown", ""),
    ] {
        let lines = feed("cl-merge", &["q=-"], input.as_bytes()).ok().json();
        assert_eq!(text(&lines[0], "/agent"), "claude");
        let exit = lines.last().expect("lines");
        assert_eq!(
            (text(exit, "/outcome"), &exit["code"]),
            (outcome, &Value::Null),
            "{exit}"
        );
        assert_eq!(text(exit, "/session_id"), "s1");
        if outcome == "success" {
            assert_eq!((text(exit, "/text"), &exit["turns"]), (answer, &2.into()));
        }
    }
}

#[test]
fn only_and_not() {
    let input = whole("main", 1) + &whole("main/sub", 1) + &whole("other", 1) + "bare\n";
    for (args, expected) in [
        (&["--only", "main"][..], &["main"][..]),
        (&["--only", "main*"], &["main", "main/sub"]),
        (&["--only", "main", "--only", "oth?r"], &["main", "other"]),
        (&["--not", "main*"], &["other", "stdin"]),
        (&["--only", "*", "--not", "*/*", "--not", "stdin"], &["main", "other"]),
        (&["--only", "none"], &[]),
    ] {
        let lines = feed("cl-merge", args, input.as_bytes()).ok().json();
        let mut names: Vec<&str> = lines.iter().map(|line| text(line, "/cl/stream")).collect();
        names.dedup();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, expected, "{args:?}");
        assert_eq!(lines.len(), 3 * expected.len());
    }
    let done = run("cl-merge", &["--only", "a b"]).exits(2);
    assert!(
        done.err.lines().count() == 1 && done.err.contains("matches no stream"),
        "{}",
        done.err
    );
}

#[test]
fn by_time() {
    let dir = scratch();
    let numbered = |stream: &str, times: std::ops::Range<u64>, step: usize| -> String {
        times
            .step_by(step)
            .enumerate()
            .map(|(i, ts)| line(stream, i as u64 + 1, ts as f64, r#""n":1"#))
            .collect()
    };
    let times = |lines: &[Value]| -> Vec<f64> {
        let lines = lines.iter().filter(|line| line["n"] == 1);
        lines.filter_map(|line| line["cl"]["ts"].as_f64()).collect()
    };
    // Files, each longer than is read at once.
    for (i, name) in ["a", "b", "c"].iter().enumerate() {
        let content = numbered(name, 1_000 + i as u64..40_000, 3);
        fs::write(dir.path().join(format!("{name}.ndjson")), content).expect("writes");
    }
    let lines = run(
        "cl-merge",
        &["--order".as_ref(), "time".as_ref(), dir.path().as_os_str()],
    )
    .ok()
    .json();
    let got = times(&lines);
    assert_eq!(got.len(), 39_000);
    assert!(got.is_sorted());
    // Pipes: the later line comes first, and the window gives the earlier one its chance.
    let (a, b) = (mkfifo(&dir.path().join("x")), mkfifo(&dir.path().join("y")));
    let (merge, out) = start(&["--order", "time", "--window", "5s", "x", "y"], dir.path());
    // Open for both, so that it can be looked into.
    let mut first = File::options().read(true).write(true).open(a).expect("opens");
    let mut second = File::options().write(true).open(b).expect("opens");
    first
        .write_all(line("x", 1, 20.0, r#""n":1"#).as_bytes())
        .expect("writes");
    until("it to be read", || drained(&first).then_some(()));
    second
        .write_all(line("y", 1, 10.0, r#""n":1"#).as_bytes())
        .expect("writes");
    drop((first, second));
    let (code, rest) = ends(merge, out);
    assert_eq!((code, times(&json_lines(&rest))), (0, vec![10.0, 20.0]));
    // The window passes by itself.
    let fifo = mkfifo(&dir.path().join("z"));
    let (merge, mut out) = start(&["--order", "time", "z"], dir.path());
    let mut writer = File::options().write(true).open(fifo).expect("opens");
    writer
        .write_all(line("z", 1, 1.0, r#""n":1"#).as_bytes())
        .expect("writes");
    assert_eq!(next(&mut out)["n"], 1);
    drop(writer);
    assert_eq!(ends(merge, out).0, 0);
}

/// Whether nothing lies unread in a FIFO.
fn drained(fifo: &File) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(&mut [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(0)
}

#[test]
fn record_separators() {
    let input = whole("a", 1);
    let done = feed("cl-merge", &["-o", "seq"], input.as_bytes()).ok();
    let expected: String = input.split_inclusive('\n').map(|line| format!("\x1e{line}")).collect();
    assert_eq!(done.text(), expected);
}

#[test]
fn text_for_people() {
    let input = line("main", 1, 1.0, START)
        + &line(
            "main",
            2,
            1.0,
            r#""type":"cl","subtype":"text","text":"\u001b[31mred\u001b[0m""#,
        )
        + &line("b", 1, 1.0, r#""type":"cl","subtype":"stderr","text":"oops""#)
        + &line("main", 3, 1.0, EXIT)
        + &line(
            "b",
            2,
            1.0,
            r#""type":"cl","subtype":"exit","outcome":"failed","because":"exit 7","duration":2.0"#,
        );
    let done = feed("cl-merge", &["-o", "text"], input.as_bytes()).ok();
    assert_eq!(
        done.text(),
        "main │ red\nb    │ ! oops\nmain │ ✓ success, 0.0s\nb    │ ✗ failed (exit 7), 2.0s\n"
    );
    let done = feed("cl-merge", &["-o", "text", "--color", "always"], input.as_bytes()).ok();
    assert!(done.text().contains("\x1b[0m │ red\n"), "{}", done.text());
}

#[test]
fn joining_and_leaving() {
    let lines = feed("cl-merge", &["--verbose"], whole("a", 1).as_bytes()).ok();
    let all = lines.json();
    assert_eq!(subtypes(&of(&all, "cl-merge")), ["join", "leave"]);
    // A merge of a merge does not take these for a stream that owes an end.
    assert_eq!(feed("cl-merge", &["-"], &lines.out).ok().out, lines.out);
}

#[test]
fn merges_of_merges_change_nothing() {
    let input = whole("a", 100) + &whole("b/c", 100);
    let once = feed("cl-merge", &["-"], input.as_bytes()).ok();
    assert_eq!(once.text(), input);
}

#[test]
fn a_reader_that_goes_away_is_noticed_in_silence() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("a"));
    let (mut merge, mut out) = start(&["a"], dir.path());
    let mut writer = File::options().write(true).open(fifo).expect("opens");
    writeln!(writer, "hi").expect("writes");
    next_subtype(&mut out, "text");
    let gone = Instant::now();
    drop(out);
    assert_eq!(wait(&mut merge, "cl-merge").code(), Some(0));
    // 50 ms on a machine of its own; this one is shared.
    assert!(gone.elapsed() < Duration::from_secs(2), "{:?}", gone.elapsed());
    assert!(writeln!(writer, "x").is_err());
}

#[test]
fn a_full_disk_is_told() {
    let mut merge = command(tool("cl-merge"));
    let full = File::options().write(true).open("/dev/full").expect("opens");
    let child = merge.stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("starts");
    child.stdin.take().expect("piped").write_all(b"x\n").expect("writes");
    let done = collect(child, "cl-merge").exits(1);
    assert_eq!(done.err, "cl-merge: stdout: No space left on device\n");
}

#[test]
fn silence_costs_nothing() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("a"));
    fs::write(dir.path().join("b.ndjson"), line("b", 1, 1.0, START)).expect("writes");
    let (merge, mut out) = start(&["-f", "a", "b.ndjson"], dir.path());
    next_subtype(&mut out, "start");
    let switches = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", merge.id())).expect("lives");
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).expect("there");
            line.split_whitespace()
                .nth(1)
                .expect("a number")
                .parse()
                .expect("a number")
        };
        field("voluntary_ctxt_switches")
    };
    // Once it sleeps it goes on sleeping: looked at for a while, it never ran.
    let mut last = switches();
    let mut since = Instant::now();
    let begin = Instant::now();
    until("a second of sleep", || {
        let now = switches();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(1)).then_some(())
    });
    assert!(begin.elapsed() < DEADLINE);
    fs::write(fifo, whole("a", 1)).expect("writes");
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ends(merge, out).0, 143);
}

// With cl-spawn

#[test]
fn eight_writers_of_long_lines_share_a_pipe() {
    // 400 lines each, of 20 to 200 KB.
    let done = bash(
        r#"write() { awk -v n="$1" 'BEGIN { s = "0123456789abcdef"; while (length(s) < 200000) s = s s
            for (i = 1; i <= 400; i++) print "{\"n\":" i ",\"text\":\"" substr(s, 1, 20000 + (i * 7919 + n * 104729) % 180000) "\"}" }'; }
        export -f write
        { for w in 1 2 3 4 5 6 7 8; do cl-spawn "w$w" -- bash -c "write $w" & done; wait; } | cl-merge |
        awk '{ if (!/^\{"cl":\{"stream":"w[1-8]","seq":[0-9]+,"ts":[0-9.]+\},.*\}$/) bad++
               if (/"text":"[0-9a-f]*"\}$/) good++
               if (/"subtype":"(gap|torn|lost)"/) lost++
               if (/"subtype":"exit","outcome":"success"/) ends++ }
             END { print good + 0, bad + 0, lost + 0, ends + 0 }'"#,
    )
    .ok();
    assert_eq!(done.text(), "3200 0 0 8\n");
}

#[test]
fn every_byte_comes_back() {
    let dir = scratch();
    let mut noise = vec![0; 3_000_000];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut noise))
        .expect("reads");
    let mut long = vec![b'x'; 40_000_000];
    long.push(b'\n');
    for (name, bytes) in [
        ("noise", &noise),
        ("long", &long),
        ("unended", &b"a\n{\"b\":1}\nc".to_vec()),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("writes");
        let straight = run("cl-merge", &["-o".as_ref(), "raw".as_ref(), path.as_os_str()]).ok();
        assert!(straight.out == *bytes, "{name}");
        for capture in ["file", "pipe", "pty"] {
            let mut pipeline = command("bash");
            pipeline
                .arg("-c")
                .arg(r#"cl-spawn --capture "$0" "x" -- cat "$1" | cl-merge -o raw --only x"#)
                .arg(capture)
                .arg(&path);
            assert!(finish(pipeline, b"").ok().out == *bytes, "{name} by {capture}");
        }
    }
}

#[test]
fn process_substitution_with_and_without_headers() {
    let done: Done =
        bash(r#"cl-merge <(cl-spawn one -- echo 1) two=<(echo 2) <(cl-spawn three -- sh -c 'echo 3; exit 3')"#).ok();
    let lines = done.json();
    let outcome = |name| text(of(&lines, name).last().expect("lines"), "/outcome").to_owned();
    assert_eq!(["one", "two", "three"].map(outcome), ["success", "unknown", "failed"]);
}

#[test]
fn a_killed_spawn_is_lost_and_the_others_are_whole() {
    let done = bash(
        r#"cd "$(mktemp -d)" && mkfifo p
        cl-merge p > out & merge=$!
        exec 3> p
        cl-spawn good -- seq 3 >&3
        cl-spawn bad -- sh -c 'echo first; exec sleep 300' >&3 & bad=$!
        until grep -q first out; do :; done
        kill -9 $bad; wait $bad 2> /dev/null
        exec 3>&-
        wait $merge; code=$?; cat out; rm -r "$PWD"; exit $code"#,
    )
    .exits(0);
    let lines = done.json();
    assert_eq!(text(of(&lines, "good").last().expect("lines"), "/outcome"), "success");
    assert_eq!(text(of(&lines, "bad").last().expect("lines"), "/subtype"), "lost");
}
