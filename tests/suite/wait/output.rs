//! What is written, and where it goes.

use super::*;

#[test]
fn what_is_there_so_far() {
    let mut waiting = Waiting::new(&["--partial", "0", "--expect", "a,b"]).give(&(start("a") + &says("a", "half an")));
    let partial = waiting.next_line();
    assert_eq!(
        (text(&partial, "/subtype"), text(&partial, "/verdict")),
        ("partial", "waiting")
    );
    let partial = until("the text", || {
        let partial = if text(&partial, "/text").is_empty() {
            waiting.next_line()
        } else {
            partial.clone()
        };
        (text(&partial, "/text") == "half an").then_some(partial)
    });
    let done = waiting.give(&(good("a") + &good("b"))).done().ok();
    let last = verdict(&done);
    assert_eq!(text(&last, "/text"), "I am a\n\nI am b");
    let seq = |value: &Value| value.pointer("/cl/seq").and_then(Value::as_u64);
    assert!(seq(&last) > seq(&partial));
    // Not more often than asked for, and not without news.
    let done = feed("cl-wait", &["--partial", "1h"], (good("a") + &good("b")).as_bytes()).ok();
    assert_eq!(done.json().len(), 2);
    run("cl-wait", &["--partial", "1s", "-o", "text"]).exits(125);
}

#[test]
fn the_stream_passes_untouched() {
    let stream = format!("{}no header\n\u{fffd}\n{}", good("a"), good("b"));
    let done = feed("cl-wait", &["--pass", "-o", "none"], stream.as_bytes()).ok();
    assert_eq!(done.text(), stream);
    let done = feed("cl-wait", &["--pass"], stream.as_bytes()).ok();
    assert_eq!(
        done.text().strip_prefix(&stream).map(|rest| rest.lines().count()),
        Some(1)
    );
    // A last line without its line feed is not glued to ours.
    let torn = format!("{}{{\"half", good("a"));
    let done = feed("cl-wait", &["--pass"], torn.as_bytes()).ok();
    assert!(done.text().starts_with(&format!("{torn}\n{{\"cl\"")), "{}", done.text());
}

#[test]
fn a_long_line_passes_in_pieces() {
    let dir = scratch();
    let script = format!(
        "cd {}; cl-spawn big -- sh -c 'head -c 70000000 /dev/zero | tr \"\\0\" x' >in; \
         cl-wait --pass -o none <in >out && cmp in out",
        dir.path().display()
    );
    bash(&script).ok();
}

#[test]
fn stdout_that_takes_nothing() {
    assert_eq!(bash("cl-wait </dev/null >/dev/full").exits(125).err.lines().count(), 2);
    bash("cl-wait </dev/null >&-").exits(125);
    bash("cl-wait --any -o none </dev/null >&-").exits(1);
    // The reader goes away while nothing is to be written.
    bash("set -o pipefail; { sleep 300 & echo $!; wait; } | { read pid; cl-wait | true; code=$?; kill $pid; exit $code; }")
        .exits(141);
}

#[test]
fn a_reader_that_stands_still_does_not_hold_up_the_end() {
    let mut waiting = Waiting::new(&["--pass", "-t", "300ms"]);
    let mut stdin = waiting.stdin.take().expect("open");
    let feeder = std::thread::spawn(move || {
        let line = line("a", 2, &format!(r#""x":"{}""#, "y".repeat(1000)));
        while stdin.write_all(line.as_bytes()).is_ok() {}
    });
    // Nobody reads its stdout.
    let status = wait(&mut waiting.child, "cl-wait");
    assert_eq!(status.code(), Some(124));
    feeder.join().expect("ends");
}

/// What a terminal that is cl-wait's stdout gets.
fn on_a_terminal(args: &[&str], stream: &str) -> String {
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = command(tool("cl-wait"));
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(pty.slave)
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    drop(command);
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(stream.as_bytes())
        .expect("writes");
    wait(&mut child, "cl-wait");
    let mut master = std::fs::File::from(pty.master);
    let mut shown = Vec::new();
    // A terminal whose other side is closed ends with EIO.
    let mut block = [0; 1024];
    while let Ok(count @ 1..) = master.read(&mut block) {
        shown.extend_from_slice(&block[..count]);
    }
    String::from_utf8(shown).expect("UTF-8")
}

#[test]
fn a_terminal_gets_nothing_that_acts_on_it() {
    let stream = [
        start("a"),
        ends("a", "success", r#","text":"one\u001b[2Jtwo\nthree\u0007""#),
    ]
    .concat();
    assert_eq!(on_a_terminal(&["-o", "text"], &stream), "onetwo\r\nthree\r\n");
    // Not on a terminal it is what the worker said.
    let done = feed("cl-wait", &["-o", "text"], stream.as_bytes()).ok();
    assert_eq!(done.text(), "one\u{1b}[2Jtwo\nthree\u{7}\n");
}

#[test]
fn json_on_a_terminal_is_the_same_json() {
    let text = "\u{9b}2J\u{202e}é\u{7f}";
    let stream = [start("a"), ends("a", "success", &format!(r#","text":"{text}""#))].concat();
    let shown = on_a_terminal(&["--partial", "1h"], &stream);
    assert!(
        !shown.contains(|c: char| c.is_control() && !"\r\n".contains(c)),
        "{shown:?}"
    );
    assert!(shown.contains(r"\u009b2J\u202eé\u007f"), "{shown}");
    assert_eq!(
        crate::harness::text(json_lines(shown.as_bytes()).last().expect("a line"), "/text"),
        text
    );
    let done = feed("cl-wait", &[] as &[&str], stream.as_bytes()).ok();
    assert!(done.text().contains(text));
}

#[test]
fn answers_come_as_they_were_asked_for() {
    let all = ["b", "z", "a", "main"].map(good).concat();
    let text = |args: &[&str]| {
        let args = [args, &["-o", "text"]].concat();
        feed("cl-wait", &args, all.as_bytes()).ok().text().replace("I am ", "")
    };
    assert_eq!(text(&[]), "a\n\nb\n\nmain\n\nz\n");
    assert_eq!(text(&["--expect", "z,a"]), "z\n\na\n");
    assert_eq!(text(&["--need", "main", "--expect", "z,b"]), "main\n\nz\n\nb\n");
    let done = feed("cl-wait", &["--need", "z", "--any", "2"], all.as_bytes()).ok();
    assert_eq!(
        crate::harness::text(&verdict(&done), "/text"),
        "I am z\n\nI am a\n\nI am b\n\nI am main"
    );
}
