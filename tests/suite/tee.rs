//! cl-tee: everything reaches every sink, whatever another sink's reader does.

use crate::harness::{self, Done, collect, command, feed, mkfifo, run, scratch, tool, until};
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
        until("cat to be stopped", || (state(self.0.id()) == 'T').then_some(()));
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

/// The state of a process, as `ps` shows it.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let rest = stat.rsplit(") ").next().expect("a state");
    rest.chars().next().expect("a state")
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

#[test]
fn any_bytes_reach_every_sink() {
    let dir = scratch();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    std::fs::write(&a, "what was there before, and is longer than nothing").unwrap();
    for input in [&b""[..], b"x", b"\n", &noise(3_000_000)] {
        let done = feed("cl-tee", &[&a, &b], input).ok();
        assert!(done.out == input);
        assert!(std::fs::read(&a).unwrap() == input && std::fs::read(&b).unwrap() == input);
    }
    assert_eq!(b.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn append() {
    let dir = scratch();
    let a = dir.path().join("a");
    feed("cl-tee", &["-a", str(&a)], b"one\ntw").ok();
    feed("cl-tee", &["--append", str(&a)], b"o\n").ok();
    assert_eq!(std::fs::read(&a).unwrap(), b"one\ntwo\n");
}

#[test]
fn bytes_pass_as_they_come() {
    let dir = scratch();
    let a = dir.path().join("a");
    let mut tee = start(&[str(&a)]);
    for part in ["no line yet", ", still none", "\n", "."] {
        tee.write(part.as_bytes());
        assert_eq!(tee.read_stdout(part.len()), part.as_bytes());
    }
    until("the file to have it too", || {
        (std::fs::read(&a).ok()? == b"no line yet, still none\n.").then_some(())
    });
    tee.finish().ok();
}

#[test]
fn a_file_that_cannot_be_opened() {
    let dir = scratch();
    let (bad, good) = (dir.path().join("no/such"), dir.path().join("good"));
    for mode in ["--output-error=warn", "-p", "-i"] {
        let done = feed("cl-tee", &[mode, str(&bad), str(&good)], b"x\n").exits(1);
        assert_eq!(
            done.err,
            format!("cl-tee: {}: No such file or directory\n", bad.display())
        );
        assert_eq!((done.text(), std::fs::read(&good).unwrap()), ("x\n", b"x\n".to_vec()));
    }
    for mode in ["exit", "exit-nopipe"] {
        // stdin stays open: it must not be waited for.
        let mut tee = start(&[&format!("--output-error={mode}"), str(&bad), str(&good)]);
        let out = tee.stdout();
        let done = collect(tee.child, "cl-tee").exits(1);
        assert_eq!(
            done.err,
            format!("cl-tee: {}: No such file or directory\n", bad.display())
        );
        assert_eq!((out.len(), good.metadata().unwrap().len()), (0, 0));
        drop(tee.stdin);
    }
}

#[test]
fn misuse() {
    for args in [
        &["--output-error=bad"][..],
        &["--on-full", "x"],
        &["--buffer", "0"],
        &["--rotate", "1M,0"],
    ] {
        let done = run("cl-tee", args).exits(2);
        assert_eq!((done.text(), done.err.lines().count()), ("", 1), "{}", done.err);
    }
}

#[test]
fn closed_descriptors() {
    let dir = scratch();
    let bash = |script: &str| {
        let mut command = command("bash");
        command.current_dir(dir.path()).arg("-c").arg(script);
        harness::finish(command, b"")
    };
    let done = bash("echo hi | cl-tee x >&-").exits(1);
    assert_eq!(done.err.matches("standard output: Bad file").count(), 1, "{}", done.err);
    assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), b"hi\n");
    bash("cl-tee x >&- </dev/null").ok();
    let done = bash("cl-tee x <&-").exits(1);
    assert_eq!(done.err.matches("standard input: Bad file").count(), 1, "{}", done.err);
    // Nobody to tell: the exit code still does.
    bash("echo hi | cl-tee x >&- 2>&-").exits(1);
    let done = bash("cl-tee x </").exits(1);
    assert_eq!(done.err, "cl-tee: standard input: Is a directory\n");
}

#[test]
fn a_full_disk_is_told_once_and_costs_no_other() {
    let dir = scratch();
    let a = dir.path().join("a");
    let input = noise(1_000_000);
    let done = feed("cl-tee", &[Path::new("/dev/full"), &a], &input).exits(1);
    assert_eq!(done.err, "cl-tee: /dev/full: No space left on device\n");
    assert!(done.out == input && std::fs::read(&a).unwrap() == input);

    let done = harness::bash("yes | cl-tee /dev/full 2>&1 >/dev/full").exits(1);
    let mut lines: Vec<_> = done.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "cl-tee: /dev/full: No space left on device",
            "cl-tee: standard output: No space left on device"
        ]
    );
}

#[test]
fn a_tiny_file_system() {
    let dir = scratch();
    let input = dir.path().join("input");
    std::fs::write(&input, two_streams(1000)).unwrap();
    // A mount of its own in a name space of its own: gone with the shell.
    let script = r#"
        mount -t tmpfs -o size=64k none "$1/full" 2>/dev/null || { echo SKIP; exit 0; }
        cl-tee "$1/full/a" "$1/whole" <"$1/input" | cmp - "$1/input" || exit 99
        exit "${PIPESTATUS[0]}"
    "#;
    std::fs::create_dir(dir.path().join("full")).unwrap();
    let mut command = command("unshare");
    command.args(["-rm", "bash", "-c", script, "-"]).arg(dir.path());
    let done = harness::finish(command, b"");
    if done.text() == "SKIP\n" || done.err.contains("unshare") {
        eprintln!("skipped: this user may not mount a file system");
        return;
    }
    let done = done.exits(1);
    let name = dir.path().join("full/a");
    assert_eq!(
        done.err,
        format!("cl-tee: {}: No space left on device\n", name.display())
    );
    assert!(std::fs::read(dir.path().join("whole")).unwrap() == std::fs::read(&input).unwrap());
}

#[test]
fn a_reader_that_dies() {
    // (option, told and an error, ends)
    for (option, told, ends) in [
        ("--append", true, false),
        ("--output-error=warn", true, false),
        ("--output-error=warn-nopipe", false, false),
        ("--output-error", false, false),
        ("-p", false, false),
        ("--output-error=exit", true, true),
        ("--output-error=exit-nopipe", false, false),
    ] {
        let dir = scratch();
        let fifo = mkfifo(&dir.path().join("fifo"));
        let mut tee = start(&[option, str(&fifo)]);
        let mut reader = File::open(&fifo).unwrap();
        tee.write(b"one\n");
        reader.read_exact(&mut [0; 4]).unwrap();
        drop(reader);
        let message = format!("cl-tee: {}: Broken pipe\n", fifo.display());
        if told {
            // Without a write.
            assert_eq!(tee.stderr_line(), message, "{option}");
        }
        if !ends {
            tee.write(b"two\n");
            assert_eq!(tee.read_stdout(8), b"one\ntwo\n", "{option}");
            tee.stdin = None;
        }
        let done = collect(tee.child, option).exits(i32::from(told));
        assert_eq!(done.err, "", "{option}");
    }
}

#[test]
fn stdout_reader_that_dies() {
    // (option, told and an error, ends)
    for (option, told, ends) in [
        ("--append", false, true),
        ("-p", false, false),
        ("--output-error=warn", true, false),
        ("--output-error=warn-nopipe", false, false),
        ("--output-error=exit", true, true),
        ("--output-error=exit-nopipe", false, false),
    ] {
        let dir = scratch();
        let file = dir.path().join("file");
        let mut tee = start(&[option, str(&file)]);
        tee.write(b"one\n");
        tee.read_stdout(4);
        // Noticed without a write.
        tee.child.stdout = None;
        let message = if told {
            "cl-tee: standard output: Broken pipe\n"
        } else {
            ""
        };
        if ends {
            let done = collect(tee.child, option).exits(i32::from(told));
            assert_eq!(
                (done.err.as_str(), std::fs::read(&file).unwrap()),
                (message, b"one\n".to_vec())
            );
        } else {
            tee.write(b"two\n");
            let done = tee.finish().exits(i32::from(told));
            assert_eq!(
                (done.err.as_str(), std::fs::read(&file).unwrap()),
                (message, b"one\ntwo\n".to_vec())
            );
        }
    }
    // The last sink: there is nobody left to go on for.
    for option in ["-p", "--output-error=exit-nopipe"] {
        let mut tee = start(&[option]);
        tee.child.stdout = None;
        collect(tee.child, option).exits(0);
    }
}

#[test]
fn a_writer_learns_that_its_reader_is_gone() {
    let done = harness::bash("yes | cl-tee | head -n 1; echo ${PIPESTATUS[@]}").ok();
    assert_eq!(done.text(), "y\n141 0 0\n");
}

#[test]
fn a_stopped_reader_holds_up_nobody_and_loses_nothing() {
    let dir = scratch();
    let (fifo, out) = (mkfifo(&dir.path().join("fifo")), dir.path().join("out"));
    let file = dir.path().join("file");
    let mut tee = start(&[str(&fifo), str(&file)]);
    let cat = Cat::start(&fifo, &out);
    tee.write(b"first");
    until("cat's first bytes", || {
        (std::fs::read(&out).ok()? == b"first").then_some(())
    });
    cat.stop();
    // Far more than pipe and buffer hold; none of it by lines.
    let input = noise(20_000_000);
    let writer = tee.feed(input.clone());
    let whole = [b"first", &input[..]].concat();
    assert!(tee.stdout() == whole, "stdout is whole and ended");
    assert!(std::fs::read(&file).unwrap() == whole, "the file is whole");
    assert!(tee.alive(), "the stopped reader is waited for");
    writer.join().unwrap();
    cat.go_on();
    cat.wait();
    tee.finish().ok();
    assert!(
        std::fs::read(&out).unwrap() == whole,
        "the stopped reader got everything, in order"
    );
}

#[test]
fn one_stopped_and_one_dead() {
    let dir = scratch();
    let (stopped, dead) = (mkfifo(&dir.path().join("stopped")), mkfifo(&dir.path().join("dead")));
    let (out, file) = (dir.path().join("out"), dir.path().join("file"));
    let mut tee = start(&[str(&stopped), str(&dead), str(&file)]);
    let (one, two) = (Cat::start(&stopped, &out), Cat::start(&dead, &dir.path().join("gone")));
    tee.write(b"first\n");
    for path in [&out, &dir.path().join("gone")] {
        until("the first bytes", || {
            (std::fs::read(path).ok()? == b"first\n").then_some(())
        });
    }
    one.stop();
    two.die();
    let input = two_streams(10_000);
    let writer = tee.feed(input.clone());
    let whole = [b"first\n", &input[..]].concat();
    assert!(tee.stdout() == whole);
    assert!(std::fs::read(&file).unwrap() == whole);
    writer.join().unwrap();
    one.go_on();
    one.wait();
    let done = tee.finish().exits(1);
    assert_eq!(done.err, format!("cl-tee: {}: Broken pipe\n", dead.display()));
    assert!(std::fs::read(&out).unwrap() == whole);
}

#[test]
fn a_fifo_that_nobody_reads_yet() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut tee = start(&[str(&fifo)]);
    let input = noise(3_000_000);
    let writer = tee.feed(input.clone());
    assert!(tee.stdout() == input);
    writer.join().unwrap();
    assert!(tee.alive());
    assert!(std::fs::read(&fifo).unwrap() == input);
    tee.finish().ok();
}

/// Runs cl-tee with a FIFO whose reader reads nothing before stdout has everything.
fn late_reader(args: &[&str], input: &[u8]) -> (Done, Vec<u8>) {
    late_reader_with(|_| {}, args, input)
}

fn late_reader_with(set: impl FnOnce(&mut Command), args: &[&str], input: &[u8]) -> (Done, Vec<u8>) {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut reader = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&fifo)
        .expect("the FIFO");
    let mut tee = start_with(set, &[args, &[str(&fifo)]].concat());
    let writer = tee.feed(input.to_vec());
    assert!(tee.stdout() == input);
    writer.join().expect("writes");
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty())).expect("the FIFO");
    let mut late = Vec::new();
    reader.read_to_end(&mut late).expect("the FIFO");
    (tee.finish(), late)
}

#[test]
fn drop_leaves_out_whole_lines_and_says_which() {
    let (done, late) = late_reader(&["--on-full", "drop", "--buffer", "64K"], &two_streams(8000));
    let lost = accounted(&late, &["a", "b/c"], 8001);
    assert!(lost > 1000, "{lost}");
    // A stream's end is never left out, however slow the reader.
    let exits = harness::json_lines(&late)
        .into_iter()
        .filter(|line| line["subtype"] == "exit");
    assert_eq!(exits.count(), 2);
    let done = done.exits(0);
    assert!(
        done.err
            .ends_with(&format!(": {lost} lines were left out, and gap events tell which\n")),
        "{}",
        done.err
    );
}

#[test]
fn drop_of_lines_without_a_header() {
    let input: String = (0..300_000).map(|i| format!("line {i}\n")).collect();
    let (done, late) = late_reader(&["--on-full=drop", "--buffer=64K"], input.as_bytes());
    let late = String::from_utf8(late).unwrap();
    let mut last = -1;
    for line in late.lines() {
        let number: i64 = line.strip_prefix("line ").unwrap().parse().unwrap();
        assert!(number > last, "{line}");
        last = number;
    }
    let lost = 300_000 - late.lines().count();
    let done = done.exits(0);
    assert!(
        done.err.ends_with(&format!(
            ": {lost} lines were left out, {lost} of them without a gap event\n"
        )),
        "{}",
        done.err
    );
}

#[test]
fn drop_never_cuts_a_line_that_was_begun() {
    // The reader has part of the first line, which is far larger than pipe and buffer together.
    let mut input = cl("a", 1, 3_000_000).into_bytes();
    for seq in 2..2000 {
        input.extend_from_slice(cl("a", seq, 1000).as_bytes());
    }
    let (done, late) = late_reader(&["--on-full=drop", "--buffer=64K"], &input);
    assert!(accounted(&late, &[], 0) > 0);
    assert!(late.starts_with(cl("a", 1, 3_000_000).as_bytes()));
    done.exits(0);
}

#[test]
fn close_gives_the_reader_up() {
    let input = noise(2_000_000);
    let (done, late) = late_reader(&["--on-full", "close", "--buffer", "100K"], &input);
    let done = done.exits(1);
    assert!(
        done.err.ends_with("given up: its reader is 100 KiB behind\n"),
        "{}",
        done.err
    );
    assert!(late.len() < input.len() && input.starts_with(&late));
}

#[test]
fn block_waits() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut tee = start(&["--on-full", "block", "--buffer", "64K", str(&fifo)]);
    let mut reader = File::open(&fifo).unwrap();
    let input = noise(4_000_000);
    let writer = tee.feed(input.clone());
    // Pipe and buffer fill, and then nothing more is read: cl-tee sleeps with most of the input still to come.
    let mut head = tee.read_stdout(64 << 10);
    let late = std::thread::spawn(move || {
        let mut late = Vec::new();
        reader.read_to_end(&mut late).unwrap();
        late
    });
    head.extend(tee.stdout());
    writer.join().unwrap();
    tee.finish().ok();
    assert!(head == input && late.join().unwrap() == input);
}

#[test]
fn block_holds_the_input_up() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut tee = start(&["--on-full", "block", "--buffer", "64K", str(&fifo)]);
    let reader = File::open(&fifo).unwrap();
    // A writer that does not wait sees how much is taken.
    let stdin = tee.stdin.take().unwrap();
    fcntl(&stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let (mut taken, mut stdin) = (0, File::from(std::os::fd::OwnedFd::from(stdin)));
    let pid = tee.child.id();
    let out = tee.child.stdout.take().unwrap();
    let drain = std::thread::spawn(move || std::io::copy(&mut BufReader::new(out), &mut std::io::sink()).unwrap());
    let asleep = || {
        let wchan = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        wchan.contains("State:\tS")
    };
    until("cl-tee to take no more", || match stdin.write(&[b'x'; 4096]) {
        Ok(count) => {
            taken += count as u64;
            None
        }
        Err(_) => asleep().then_some(()),
    });
    // Three pipes' worth at most, and the buffer; never all that one might write.
    assert!(taken < 4 << 20, "{taken}");
    drop((stdin, reader));
    tee.finish().exits(1);
    assert_eq!(drain.join().unwrap(), taken);
}

#[test]
fn a_spill_that_is_full_leaves_out_lines_and_says_so() {
    let input = two_streams(8000);
    let (done, late) = late_reader(&["--spill", "512K", "--buffer", "64K"], &input);
    let lost = accounted(&late, &["a", "b/c"], 8001);
    assert!(lost > 1000 && late.len() > 512 << 10, "{lost} {}", late.len());
    let done = done.exits(1);
    assert_eq!(done.err.lines().count(), 2, "{}", done.err);
    assert!(
        done.err
            .contains(": its reader is 512 KiB behind; lines are left out\n"),
        "{}",
        done.err
    );
}

#[test]
fn a_spill_without_a_folder() {
    let set = |command: &mut Command| {
        command.env("TMPDIR", "/nonexistent");
    };
    let (done, late) = late_reader_with(set, &["--buffer", "64K"], &two_streams(4000));
    assert!(accounted(&late, &["a", "b/c"], 4001) > 0);
    let done = done.exits(1);
    assert!(
        done.err.contains("no room to spill to: No such file or directory"),
        "{}",
        done.err
    );
}

#[test]
fn spilled_lines_have_no_name_on_disk() {
    let tmp = scratch();
    let seen = tmp.path().to_owned();
    let (done, late) = late_reader_with(
        |command| {
            command.env("TMPDIR", &seen);
        },
        &[],
        &noise(5_000_000),
    );
    done.ok();
    assert_eq!(
        (late.len(), std::fs::read_dir(tmp.path()).unwrap().count()),
        (5_000_000, 0)
    );
}

#[test]
fn inherited_descriptors_stay_as_they_were() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (mut reader, writer) = (File::from(reader), File::from(writer));
    let copy = writer.try_clone().unwrap();
    let tee = start_with(
        |command| {
            command.stdout(copy);
        },
        &[],
    );
    let child = tee.finish();
    child.ok();
    assert_eq!(fcntl(&writer, FcntlArg::F_GETFL).unwrap() & libc_nonblock(), 0);
    drop(writer);
    reader.read_to_end(&mut Vec::new()).unwrap();
}

fn libc_nonblock() -> i32 {
    OFlag::O_NONBLOCK.bits()
}

#[test]
fn a_socket_as_stdout() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut tee = start_with(
        |command| {
            command.stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        },
        &[],
    );
    let input = noise(3_000_000);
    let writer = tee.feed(input.clone());
    let mut all = Vec::new();
    ours.read_to_end(&mut all).unwrap();
    assert!(all == input);
    writer.join().unwrap();
    tee.finish().ok();
}

#[test]
fn descriptors_by_number() {
    let dir = scratch();
    let mut command = command("bash");
    let script =
        "echo before >log; exec 5>>log; echo hi | cl-tee /dev/fd/5 /dev/fd/5 /dev/fd/9; echo $?; echo after >&5";
    command.current_dir(dir.path()).arg("-c").arg(script);
    let done = harness::finish(command, b"").exits(0);
    assert_eq!(done.err, "cl-tee: /dev/fd/9: No such file or directory\n");
    assert_eq!(done.text(), "hi\n1\n");
    assert_eq!(
        std::fs::read(dir.path().join("log")).unwrap(),
        b"before\nhi\nhi\nafter\n"
    );
    // A shell's own way of naming a command.
    let done = harness::bash("{ seq 100000 | cl-tee >(wc -l >&3) >/dev/null; } 3>&1 | cat").ok();
    assert_eq!(done.text().trim(), "100000");
}

#[test]
fn lines_of_several_writers_stay_whole() {
    let dir = scratch();
    for writer in 0..4 {
        let text: String = (1..=100)
            .map(|seq| cl(&format!("w{writer}"), seq, 20_000 + 1800 * (seq as usize % 100)))
            .collect();
        std::fs::write(dir.path().join(format!("in{writer}")), text).unwrap();
    }
    for script in [
        "{ for i in 0 1 2 3; do cl-tee <in$i & done; wait; } | cat >out",
        "{ for i in 0 1 2 3; do cl-tee -a out <in$i >/dev/null & done; wait; }",
        "mkfifo f; { for i in 0 1 2 3; do cl-tee f <in$i >/dev/null & done; wait; } & cat f >out; wait",
        "{ for i in 0 1 2 3; do cl-tee <in$i & done; wait; } >out",
    ] {
        let _ = std::fs::remove_file(dir.path().join("out"));
        let mut command = command("bash");
        command.current_dir(dir.path()).arg("-c").arg(script);
        harness::finish(command, b"").ok();
        let out = std::fs::read(dir.path().join("out")).unwrap();
        assert_eq!(accounted(&out, &["w0", "w1", "w2", "w3"], 100), 0, "{script}");
    }
}

#[test]
fn a_busy_writer_lets_others_in() {
    // One writes without end, and none of its reads ends where a line does; the other has a single line to say.
    let script = r#"
        { printf x; yes "$(printf 'busy%04091d' 0)"; } | dd bs=64K iflag=fullblock status=none | cl-tee >pipe & busy=$!
        head -n 100 <&3 >/dev/null
        echo single | cl-tee >pipe &
        grep -m 1 -ao '^single$' <&3
        kill -KILL $busy; wait
    "#;
    let dir = scratch();
    mkfifo(&dir.path().join("pipe"));
    let mut command = command("bash");
    let script = format!("exec 3<>pipe\n{script}");
    command.current_dir(dir.path()).args(["-c", &script]);
    assert_eq!(harness::finish(command, b"").text(), "single\n");
}

#[test]
fn split_into_streams() {
    let dir = scratch();
    let run_dir = dir.path().join("x/run");
    let mut input = String::new();
    let mut own: HashMap<&str, String> = HashMap::new();
    for seq in 1..400 {
        for stream in ["a", "a/b", "a.ndjson/c", "a.ndjson", "main", "..."] {
            let line = cl(stream, seq, 10 + (seq as usize * 37) % 20_000);
            input += &line;
            *own.entry(stream).or_default() += &line;
        }
        let line = format!("no header {seq} {{\"cl\":1}}\n");
        input += &line;
        *own.entry("_").or_default() += &line;
    }
    input += "and no end";
    *own.get_mut("_").unwrap() += "and no end";
    let done = feed("cl-tee", &["--split", str(&run_dir)], input.as_bytes()).ok();
    assert!(done.out == input.as_bytes());
    for (stream, file) in [
        ("a", "a"),
        ("a/b", "a/b"),
        ("a.ndjson/c", "a.ndjson.d/c"),
        ("a.ndjson", "a.ndjson"),
        ("main", "main"),
        ("...", "..."),
        ("_", "_"),
    ] {
        let path = run_dir.join(format!("{file}.ndjson"));
        assert!(std::fs::read_to_string(&path).unwrap() == own[stream], "{stream}");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    }
    assert_eq!(run_dir.metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(run_dir.join("a").metadata().unwrap().mode() & 0o7777, 0o700);

    // Another run overwrites the streams that it has, and only those; or appends.
    feed("cl-tee", &["--split", str(&run_dir)], cl("main", 1, 100).as_bytes()).ok();
    feed(
        "cl-tee",
        &["-a", "--split", str(&run_dir)],
        cl("main", 2, 100).as_bytes(),
    )
    .ok();
    assert_eq!(
        std::fs::read_to_string(run_dir.join("main.ndjson")).unwrap(),
        cl("main", 1, 100) + &cl("main", 2, 100)
    );
    assert!(std::fs::read_to_string(run_dir.join("a.ndjson")).unwrap() == own["a"]);
}

#[test]
fn split_of_lines_in_small_pieces() {
    let dir = scratch();
    let mut tee = start(&["--split", str(dir.path())]);
    let (one, two) = (cl("one", 1, 9000), cl("two", 1, 90));
    let input = [one.as_bytes(), two.as_bytes()].concat();
    for piece in input.chunks(7) {
        tee.write(piece);
        tee.read_stdout(piece.len());
    }
    tee.finish().ok();
    assert_eq!(std::fs::read_to_string(dir.path().join("one.ndjson")).unwrap(), one);
    assert_eq!(std::fs::read_to_string(dir.path().join("two.ndjson")).unwrap(), two);
}

#[test]
fn a_thousand_streams_with_few_descriptors() {
    let name = |stream| format!("group{}/s{stream}", stream % 7);
    for (streams, limit, option) in [(1000, 256, ""), (1000, 20, ""), (60, 20, "--sync")] {
        let dir = scratch();
        let lines = (1..=3).flat_map(|seq| (0..streams).map(move |stream| cl(&name(stream), seq, 200)));
        let ends = (0..streams).map(|stream| exit_event(&name(stream), 4));
        std::fs::write(dir.path().join("in"), lines.chain(ends).collect::<String>()).unwrap();
        let script = format!("ulimit -n {limit}; cl-tee {option} --split run <in | cmp - in");
        let mut command = command("bash");
        command.current_dir(dir.path()).args(["-o", "pipefail", "-c", &script]);
        harness::finish(command, b"").ok();
        for stream in 0..streams {
            let name = name(stream);
            let text = std::fs::read(dir.path().join(format!("run/{name}.ndjson"))).unwrap();
            assert_eq!(accounted(&text, &[&name], 4), 0);
        }
    }
}

#[test]
fn split_follows_no_link() {
    let dir = scratch();
    let run_dir = dir.path().join("run");
    std::fs::create_dir(&run_dir).unwrap();
    std::fs::write(dir.path().join("precious"), "p").unwrap();
    std::os::unix::fs::symlink("../precious", run_dir.join("a.ndjson")).unwrap();
    std::os::unix::fs::symlink("..", run_dir.join("up")).unwrap();
    let input = [cl("a", 1, 90), cl("up/b", 1, 90), cl("c", 1, 90), cl("a", 2, 90)].concat();
    let done = feed("cl-tee", &["--split", str(&run_dir)], input.as_bytes()).exits(1);
    assert_eq!(done.text(), input);
    assert_eq!(done.err.lines().count(), 2, "{}", done.err);
    assert!(
        done.err.contains("run/a.ndjson: ") && done.err.contains("run/up/b.ndjson: "),
        "{}",
        done.err
    );
    assert_eq!(std::fs::read(dir.path().join("precious")).unwrap(), b"p");
    assert!(!dir.path().join("b.ndjson").exists());
    assert_eq!(
        std::fs::read_to_string(run_dir.join("c.ndjson")).unwrap(),
        cl("c", 1, 90)
    );
}

#[test]
fn rotation() {
    let dir = scratch();
    let lines: Vec<String> = (1..=40).map(|seq| cl("s", seq, 300)).collect();
    let (named, run_dir) = (dir.path().join("log"), dir.path().join("run"));
    let size = lines[0].len() * 10;
    let rotate = format!("--rotate={size}");
    feed(
        "cl-tee",
        &[&rotate, "--sync", "--split", str(&run_dir), str(&named)],
        lines.concat().as_bytes(),
    )
    .ok();
    for name in [named.clone(), run_dir.join("s.ndjson")] {
        let part = |suffix: &str| std::fs::read_to_string(format!("{}{suffix}", name.display())).unwrap();
        let (whole, newest) = ([part(".4"), part(".3"), part(".2"), part(".1"), part("")], part(""));
        // Numbers grow, and with them the lines.
        assert_eq!(whole.concat(), lines.concat(), "{}", name.display());
        assert!(whole.iter().all(|part| part.len() <= size && part.ends_with('\n')));
        assert!(!newest.is_empty());
    }

    // KEEP, appending, and a line that is larger than a file may be.
    let kept = dir.path().join("kept");
    for _ in 0..3 {
        feed(
            "cl-tee",
            &["-a", "--rotate=1K,2", str(&kept)],
            (cl("s", 1, 5000) + "x\n").as_bytes(),
        )
        .ok();
    }
    let read = |suffix: &str| std::fs::read_to_string(format!("{}{suffix}", kept.display())).ok();
    assert_eq!(read("").as_deref(), Some("x\n"));
    assert_eq!(read(".1"), Some(cl("s", 1, 5000)));
    assert_eq!(read(".2").as_deref(), Some("x\n"));
    assert_eq!(read(".3"), None);
}

#[test]
fn a_huge_line_is_never_held() {
    const SIZE: u64 = 200 << 20;
    let dir = scratch();
    let file = dir.path().join("file");
    let run_dir = dir.path().join("run");
    let mut tee = start(&["--split", str(&run_dir), "--rotate", "1M", str(&file)]);
    let mut out = tee.child.stdout.take().unwrap();
    let mut stdin = tee.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        stdin.write_all(cl("big", 1, 100).trim_end().as_bytes()).unwrap();
        let block = vec![b'x'; 1 << 20];
        (0..SIZE >> 20).for_each(|_| stdin.write_all(&block).unwrap());
        stdin
    });
    let head = cl("big", 1, 100).len() as u64 - 1;
    let copied = std::io::copy(&mut (&mut out).take(head + SIZE), &mut std::io::sink()).unwrap();
    assert_eq!(copied, head + SIZE);
    let status = std::fs::read_to_string(format!("/proc/{}/status", tee.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak <= 16 << 10, "{peak} KiB");
    drop((writer.join().unwrap(), out));
    tee.finish().exits(0);
    assert_eq!(file.metadata().unwrap().len(), head + SIZE);
    assert_eq!(run_dir.join("big.ndjson").metadata().unwrap().len(), head + SIZE);
}

#[test]
fn signals_wrap_up() {
    // What the writers still say passes, until they end.
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let dir = scratch();
        let file = dir.path().join("file");
        let mut tee = start(&[str(&file)]);
        tee.write(b"one\n");
        tee.read_stdout(4);
        tee.signal(signal);
        tee.write(b"two\n");
        assert_eq!(tee.read_stdout(4), b"two\n");
        let done = tee.finish().exits(code);
        assert_eq!(
            (done.err.as_str(), std::fs::read(&file).unwrap()),
            ("", b"one\ntwo\n".to_vec())
        );
    }
}

#[test]
fn a_signal_ends_the_wait_for_a_stopped_reader() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut tee = start(&[str(&fifo)]);
    let reader = File::open(&fifo).unwrap();
    let writer = tee.feed(noise(1_000_000));
    assert_eq!(tee.stdout().len(), 1_000_000);
    writer.join().unwrap();
    tee.signal(Signal::SIGTERM);
    let done = tee.finish().exits(143);
    assert!(done.err.ends_with(" bytes were not taken\n"), "{}", done.err);
    drop(reader);
}

#[test]
fn the_second_signal_ends_at_once() {
    let mut tee = start(&[]);
    tee.write(b"x");
    tee.read_stdout(1);
    tee.signal(Signal::SIGINT);
    // The second is only a second when the first has been taken.
    let status = format!("/proc/{}/status", tee.child.id());
    until("the first signal to be taken", || {
        let status = std::fs::read_to_string(&status).ok()?;
        let mut pending = status
            .lines()
            .filter(|line| line.starts_with("SigPnd") || line.starts_with("ShdPnd"));
        pending.all(|line| line.ends_with("0000000000000000")).then_some(())
    });
    tee.signal(Signal::SIGTERM);
    let stdin = tee.stdin.take();
    collect(tee.child, "cl-tee").exits(143);
    drop(stdin);
}

#[test]
fn interrupts_can_be_ignored() {
    let mut tee = start(&["-i"]);
    for _ in 0..3 {
        tee.write(b"x");
        tee.read_stdout(1);
        tee.signal(Signal::SIGINT);
    }
    tee.finish().ok();
    // As they are when we are started that way.
    let mut tee = {
        let mut command = command("bash");
        command
            .args(["-c", "trap '' INT; exec cl-tee"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        Running { child, stdin }
    };
    tee.write(b"x");
    tee.read_stdout(1);
    tee.signal(Signal::SIGINT);
    tee.finish().ok();
}

#[test]
fn sync_changes_nothing_but_the_disk() {
    let dir = scratch();
    let (file, run_dir) = (dir.path().join("file"), dir.path().join("run"));
    let input = two_streams(200);
    let done = feed("cl-tee", &["--sync", "--split", str(&run_dir), str(&file)], &input).ok();
    assert!(done.out == input && std::fs::read(&file).unwrap() == input);
    let mut all: Vec<Value> = Vec::new();
    for name in ["a.ndjson", "b/c.ndjson"] {
        all.extend(harness::json_lines(&std::fs::read(run_dir.join(name)).unwrap()));
    }
    assert_eq!(all.len(), 402);
}
