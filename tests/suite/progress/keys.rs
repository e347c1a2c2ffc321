//! Keys on a pseudo-terminal: what they do, what is written for them, and the terminal as it is left.

use super::tmux::Pane;
use super::*;
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

/// A pseudo-terminal whose other side we are.
struct Pty {
    master: File,
    slave: OwnedFd,
    /// What is written on it.
    seen: Receiver<Vec<u8>>,
    all: Vec<u8>,
    /// Where what was waited for last ends.
    at: usize,
}

/// A program that is not left behind when its test fails.
struct Running(Option<Child>);

impl Running {
    fn id(&self) -> i32 {
        self.0.as_ref().expect("runs").id() as i32
    }

    /// Waits for its end, and takes what it wrote on stderr.
    fn done(mut self) -> Done {
        collect(self.0.take().expect("runs"), "cl-progress")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Pty {
    fn open(columns: u16, rows: u16) -> Self {
        let size = nix::pty::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = nix::pty::openpty(Some(&size), None).expect("a pty");
        let master = File::from(pty.master);
        let mut reader = master.try_clone().expect("clones");
        let (sender, seen) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            master,
            slave: pty.slave,
            seen,
            all: Vec::new(),
            at: 0,
        }
    }

    fn end(&self) -> Stdio {
        Stdio::from(self.slave.try_clone().expect("clones"))
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.slave).expect("modes")
    }

    /// Waits until keys are handed out one by one.
    fn until_taken(&self) {
        until("keys to be taken", || {
            (!self.modes().local_flags.contains(LocalFlags::ICANON)).then_some(())
        });
    }

    fn press(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("writes");
    }

    /// Waits until this is written after what was waited for before.
    fn until(&mut self, text: &str) {
        let begin = std::time::Instant::now();
        loop {
            let found = self.all[self.at..]
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            if let Some(found) = found {
                self.at += found + text.len();
                return;
            }
            let left = (DEADLINE / 4).saturating_sub(begin.elapsed());
            let Ok(bytes) = self.seen.recv_timeout(left) else {
                let rest = String::from_utf8_lossy(&self.all[self.at..]).replace('\u{1b}', "^[");
                panic!("{text} is not in {rest}");
            };
            self.all.extend_from_slice(&bytes);
        }
    }

    /// cl-progress with its picture here.
    fn show(&self, args: &[&str], run: &Path) -> Running {
        let mut command = command(tool("cl-progress"));
        command.args(args).arg(run).stdin(Stdio::null());
        let command = command.stdout(self.end()).stderr(Stdio::piped());
        Running(Some(command.spawn().expect("starts")))
    }
}

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/frames/run.ndjson")
}

#[test]
fn the_terminal_is_as_it_was_whatever_ends_it() {
    for end in ["q", "TERM", "INT", "HUP", "QUIT"] {
        for open in [false, true] {
            let mut pty = Pty::open(80, 24);
            let before = pty.modes();
            let child = pty.show(&["--at", "4s"], &recorded());
            pty.until("8 streams");
            pty.until_taken();
            if open {
                pty.press(b"\r");
                pty.until("\u{1b}[?1049h");
            }
            let code = match end {
                "q" => {
                    // From the text back to all streams, and out.
                    pty.press(if open { b"qq" } else { b"q" });
                    0
                }
                signal => {
                    let signal: nix::sys::signal::Signal = format!("SIG{signal}").parse().expect("a signal");
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id()), signal).expect("sends");
                    128 + signal as i32
                }
            };
            let done = child.done();
            assert_eq!((done.code(), done.err.as_str()), (code, ""), "{end}");
            pty.until("\u{1b}[?25h");
            assert!(pty.modes() == before, "{end}, open {open}");
            let written = String::from_utf8_lossy(&pty.all).into_owned();
            let (entered, left) = (written.rfind("\u{1b}[?1049h"), written.rfind("\u{1b}[?1049l"));
            assert_eq!((entered.is_some(), left.is_some()), (open, open), "{end}");
            assert!(entered <= left, "{end}");
            // What stays tells of no keys.
            assert!(
                !written.rsplit("8 streams").next().expect("the last").contains("choose"),
                "{end}"
            );
        }
    }
}

#[test]
fn closed_amid_a_pipe_it_goes_on_copying() {
    let mut pty = Pty::open(80, 24);
    let before = pty.modes();
    let mut command = command(tool("cl-progress"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(pty.end());
    let mut child = command.spawn().expect("starts");
    drop(command);
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let mut both = |bytes: &[u8]| {
        stdin.write_all(bytes).expect("writes");
        let mut back = vec![0; bytes.len()];
        stdout.read_exact(&mut back).expect("reads");
        assert!(back == bytes);
    };
    both(start("one").as_bytes());
    pty.until_taken();
    // Keys are no part of the stream.
    pty.press(b"\x1b[B");
    pty.until("▸");
    both(says("one", 2, "words").as_bytes());
    pty.press(b"q");
    until("the modes to be as they were", || (pty.modes() == before).then_some(()));
    pty.until("\u{1b}[?25h");
    both(&noise(100_000));
    drop(stdin);
    assert_eq!(wait(&mut child, "cl-progress").code(), Some(0));
    // Nothing is drawn after its close.
    drop(pty.master);
    let rest: Vec<u8> = pty.seen.try_iter().flatten().collect();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn keys_of_another_program_are_left_to_it() {
    let pty = Pty::open(80, 24);
    let mut theirs = pty.modes();
    nix::sys::termios::cfmakeraw(&mut theirs);
    nix::sys::termios::tcsetattr(&pty.slave, nix::sys::termios::SetArg::TCSANOW, &theirs).expect("sets");
    let theirs = pty.modes();
    let mut pty = pty;
    let child = pty.show(&["--at", "4s"], &recorded());
    pty.until("8 streams");
    pty.press(b"q");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("sends");
    assert_eq!(child.done().code(), 143);
    assert!(pty.modes() == theirs);
    let mut typed = [0; 8];
    let count = nix::unistd::read(pty.slave.as_fd(), &mut typed).expect("reads");
    assert_eq!(&typed[..count], b"q");
}

#[test]
fn a_text_that_is_read_outlives_the_run() {
    let folder = scratch();
    let run = folder.path().join("run.ndjson");
    append(&run, &[start("one"), says("one", 2, "to be read")].concat());
    let mut pty = Pty::open(80, 24);
    let mut child = pty.show(&[], &run);
    pty.until("1 stream");
    pty.until_taken();
    pty.press(b"\n");
    pty.until("\u{1b}[?1049h");
    append(&run, &exits("one", 3, "success"));
    pty.until("success");
    assert!(child.0.as_mut().expect("runs").try_wait().expect("waits").is_none());
    pty.press(b"\x1b");
    child.done().ok();
    pty.until("\u{1b}[?1049l");
}

/// What a terminal is told, apart from text: our own sequences, and nothing else.
fn sequences(bytes: &[u8]) -> std::collections::BTreeSet<String> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let mut found = std::collections::BTreeSet::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            let mut sequence = String::new();
            for c in chars.by_ref() {
                sequence.push(c);
                if c.is_ascii_alphabetic() || sequence.len() > 12 {
                    break;
                }
            }
            found.insert(
                sequence
                    .chars()
                    .map(|c| {
                        if c.is_ascii_digit() && !sequence.contains('?') {
                            '0'
                        } else {
                            c
                        }
                    })
                    .collect(),
            );
        } else if (c.is_control() && c != '\r' && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            found.insert(format!("{c:?}"));
        }
    }
    found
}

const EVIL: &str = "\u{1b}]52;c;aGk=\u{7}\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[31mred\u{1b}c\u{1b}[?1049h\u{1b}[6n\u{7}\u{8}\u{202e}desrever\u{2066}\
    \u{9b}31m\u{9d}52;c;aGk=\u{9c}\u{0}\u{7f}\u{1b}Pq#0\u{1b}\\\r\u{1b}[999;999H\u{200b}e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}日本語";

/// Streams in which all that a worker can write is hostile.
fn evil() -> String {
    let json = serde_json::to_string(EVIL).expect("a string");
    let long = serde_json::to_string(&format!("{EVIL}{}", "日x".repeat(5000))).expect("a string");
    let of = |stream: &str, rests: &[String]| -> String {
        rests
            .iter()
            .zip(1..)
            .map(|(rest, seq)| line(stream, seq, rest))
            .collect()
    };
    let begin = r#""type":"cl","subtype":"start","v":1,"attempt":1,"agent":"claude","pid":1"#;
    let tool = format!(
        r#""type":"assistant","message":{{"id":"m","role":"assistant","content":[{{"type":"tool_use","id":{json},"name":{json},"input":{{"command":{long}}}}}]}}"#
    );
    let todo = format!(
        r#""type":"assistant","message":{{"id":"t","role":"assistant","content":[{{"type":"tool_use","id":"w","name":"TodoWrite","input":{{"todos":[{{"content":{json},"status":"in_progress"}},{{"content":"b","status":"pending"}}]}}}}]}}"#
    );
    let done = r#""type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"w","content":"ok"}]}"#;
    let says = format!(
        r#""type":"assistant","message":{{"id":"n","role":"assistant","content":[{{"type":"text","text":{long}}}]}}"#
    );
    let one = of(
        "one",
        &[
            format!(
                r#""type":"cl","subtype":"start","v":1,"attempt":2,"agent":"claude","pid":1,"role":{json},"session_id":{json}"#
            ),
            format!(r#""type":"system","subtype":"init","session_id":{json},"model":{json}"#),
            says.clone(),
            todo,
            done.to_owned(),
            format!(r#""type":"cl","subtype":"stderr","text":{json}"#),
            tool,
        ],
    );
    let two = of(
        "two",
        &[
            begin.to_owned(),
            says,
            format!(r#""type":"cl","subtype":"retry","attempt":2,"of":3,"delay":9.0,"because":{json},"next":{json}"#),
        ],
    );
    let three = of(
        "three",
        &[
            begin.to_owned(),
            format!(
                r#""type":"cl","subtype":"exit","outcome":"error","because":{json},"text":{json},"warnings":[{json}]"#
            ),
        ],
    );
    let four = of(
        "four",
        &[
            begin.to_owned(),
            format!(r#""type":"cl","subtype":"limit","status":{json},"kind":{json}"#),
            format!(r#""type":"cl","subtype":"exit","outcome":"success","text":{json},"warnings":[{json}]"#),
        ],
    );
    let five = of(
        "five",
        &[
            begin.to_owned(),
            format!(r#""type":"cl","subtype":"stop","because":{json}"#),
        ],
    );
    [one, two, three, four, five].concat()
}

#[test]
fn a_hostile_worker_is_inert_in_every_view() {
    let folder = scratch();
    let run = folder.path().join("run.ndjson");
    append(&run, &evil());
    for (columns, rows) in [(80, 24), (40, 6), (200, 50)] {
        let mut pty = Pty::open(columns, rows);
        let child = pty.show(&["--at", "1h", "-n", "9"], &run);
        pty.until("5 streams");
        pty.until_taken();
        // Each stream's text, each way to sort.
        pty.press(b"\n");
        pty.until("end");
        for keys in [
            &b"g"[..],
            b"G",
            b"\x1b[C",
            b"k",
            b"\x1b[C",
            b"\x1b[C",
            b"\x1b[C",
            b"b",
            b"q",
            b"sss",
            b"\x1b[B",
        ] {
            pty.press(keys);
        }
        pty.press(b"q");
        child.done().ok();
        pty.until("\u{1b}[?25h");
        let ours = [
            "[0H", "[0J", "[J", "[K", "[0A", "[00A", "[0m", "[00m", "[?1049h", "[?1049l", "[?2026h", "[?2026l",
            "[?25h", "[?25l", "[?7h", "[?7l", "[00H",
        ];
        let foreign: Vec<String> = sequences(&pty.all)
            .into_iter()
            .filter(|one| !ours.contains(&one.as_str()))
            .collect();
        assert!(
            foreign.is_empty() || foreign == ["[0J"],
            "{columns}x{rows}: {foreign:?}"
        );
    }
}

#[test]
fn a_hostile_text_in_tmux() {
    let folder = scratch();
    let run = folder.path().join("run.ndjson");
    append(&run, &evil());
    let script = format!("cl-progress --at 1h {}; exec cat", run.display());
    let Some(pane) = Pane::open(80, 24, &script) else {
        return;
    };
    let title = pane.tmux(&["display-message", "-p", "#{pane_title}"]);
    pane.shows("5 streams: ");
    pane.tmux(&["send-keys", "End", "Enter"]);
    pane.shows("esc back");
    // A terminal that becomes smaller and larger shows it anew.
    for (columns, rows) in [(40, 6), (200, 50), (80, 24)] {
        pane.resize(columns, rows);
        let screen = pane.until("a text that fits", |screen| {
            let last = screen.lines().last().is_some_and(|line| line.contains("esc back"));
            last && screen.lines().count() == rows as usize
        });
        assert!(!screen.contains('\u{202e}'), "{screen}");
    }
    assert_eq!(pane.tmux(&["list-buffers"]), "", "the clipboard was set");
    assert_eq!(pane.tmux(&["display-message", "-p", "#{pane_title}"]), title);
    pane.tmux(&["send-keys", "q"]);
    pane.shows("5 streams: ");
}
