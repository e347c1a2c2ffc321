//! What stands on a terminal, as tmux shows it.

use super::*;

/// A tmux server of its own with one pane.
pub struct Pane {
    socket: String,
}

impl Pane {
    /// Runs a script in a pane of that size; `None` where there is no tmux.
    pub fn open(columns: u32, rows: u32, script: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if Command::new("tmux").arg("-V").output().is_err() {
            println!("skipped: there is no tmux");
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let pane = Self {
            socket: format!("cl-test-{}-{count}", std::process::id()),
        };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        pane.tmux(&[
            "-f",
            "/dev/null",
            "start-server",
            ";",
            "set",
            "-g",
            "remain-on-exit",
            "on",
            ";",
            "set",
            "-g",
            "status",
            "off",
            ";",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "bash",
            "--norc",
            "-c",
            script,
        ]);
        Some(pane)
    }

    pub fn tmux(&self, args: &[&str]) -> String {
        let mut tmux = command("tmux");
        tmux.args(["-u", "-L", &self.socket]).args(args);
        finish(tmux, b"").ok().text().to_owned()
    }

    /// What stands on the screen, without the empty lines below.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    fn until(&self, what: &str, ready: impl Fn(&str) -> bool) -> String {
        until(what, || Some(self.screen()).filter(|screen| ready(screen)))
    }

    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    fn resize(&self, columns: u32, rows: u32) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    fn cursor(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{cursor_flag}"]).trim() == "1"
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).status();
    }
}

/// A FIFO that a pane reads, open for writing.
fn feeder(folder: &Path) -> File {
    let fifo = folder.join("fifo");
    OpenOptions::new().read(true).write(true).open(fifo).expect("opens")
}

fn pane(columns: u32, rows: u32, tail: &str) -> Option<(tempfile::TempDir, File, Pane)> {
    let folder = scratch();
    let fifo = mkfifo(&folder.path().join("fifo"));
    let feeder = feeder(folder.path());
    let script = format!(
        "trap : INT; stty -echo; cl-progress < {} {tail}; echo code $?; exec cat",
        fifo.display()
    );
    let pane = Pane::open(columns, rows, &script)?;
    Some((folder, feeder, pane))
}

#[test]
fn a_picture_in_panes_of_any_size() {
    for (columns, rows) in [(80, 24), (40, 6), (200, 50)] {
        let Some((_folder, mut feeder, pane)) = pane(columns, rows, "> /dev/null") else {
            return;
        };
        let hostile = "\u{1b}]52;c;aGk=\u{7}\u{1b}[2J\u{1b}[Hevil\u{1b}c\u{202e} \u{9b}31m";
        for stream in ["one", "two", "three"] {
            feeder.write_all(start(stream).as_bytes()).expect("writes");
            feeder
                .write_all(says(stream, 2, &"日x".repeat(5000)).as_bytes())
                .expect("writes");
            feeder.write_all(says(stream, 3, hostile).as_bytes()).expect("writes");
        }
        let screen = pane.until("all streams", |screen| screen.contains("3 streams: 3 running"));
        let lines: Vec<&str> = screen.lines().collect();
        assert!(
            lines.len() < rows as usize && lines[0].starts_with("● one "),
            "{screen}"
        );
        assert_eq!(screen.matches("3 streams").count(), 1, "{screen}");
        assert!(rows < 24 || screen.contains("  evil"), "{screen}");
        assert!(!pane.cursor());
        assert_eq!(pane.tmux(&["list-buffers"]), "", "the clipboard was set");
        feeder.write_all(exits("one", 4, "success").as_bytes()).expect("writes");
        pane.shows("✓ one ");
        for stream in ["two", "three"] {
            feeder.write_all(exits(stream, 4, "failed").as_bytes()).expect("writes");
        }
        pane.shows("3 streams: 1 success, 2 failed");
        drop(feeder);
        let screen = pane.shows("code 0");
        assert!(
            screen.contains("3 streams: 1 success, 2 failed") || rows == 6,
            "{screen}"
        );
        assert!(pane.cursor());
    }
}

#[test]
fn a_picture_outlives_a_resize() {
    let Some((_folder, mut feeder, pane)) = pane(100, 20, "> /dev/null") else {
        return;
    };
    for stream in ["one", "two", "three"] {
        feeder.write_all(start(stream).as_bytes()).expect("writes");
        feeder
            .write_all(says(stream, 2, &"long ".repeat(100)).as_bytes())
            .expect("writes");
    }
    pane.until("the first picture", |screen| {
        screen.contains("● three") && screen.contains("· 3 lines")
    });
    for (columns, rows) in [(40, 20), (120, 20), (40, 6), (60, 12)] {
        pane.resize(columns, rows);
        // What it says of itself changes with the width, and stands there once.
        let screen = pane.until("a picture that fits", |screen| {
            let one = screen.matches("3 streams: 3 running").count() == 1 && screen.matches("● one").count() == 1;
            one && screen.contains("plain") == (columns > 60)
        });
        assert!(screen.lines().count() < rows as usize, "{columns}x{rows}\n{screen}");
    }
}

#[test]
fn the_terminal_is_left_as_it_was() {
    // At the end of a pipe a signal is the end.
    let Some((_folder, mut feeder, pane)) = pane(80, 10, "") else {
        return;
    };
    feeder.write_all(start("one").as_bytes()).expect("writes");
    pane.shows("1 stream: 1 running");
    assert!(!pane.cursor());
    pane.tmux(&["send-keys", "C-c"]);
    pane.shows("code 130");
    assert!(pane.cursor());
}

#[test]
fn a_suspended_picture_comes_back_below() {
    let folder = scratch();
    let fifo = mkfifo(&folder.path().join("fifo"));
    let mut feeder = feeder(folder.path());
    let script = format!(
        "set -m; PS1=; cl-progress < {} > /dev/null; echo suspended; read x; fg >/dev/null; echo code $?; exec cat",
        fifo.display()
    );
    let Some(pane) = Pane::open(80, 20, &script) else {
        return;
    };
    feeder.write_all(start("one").as_bytes()).expect("writes");
    pane.shows("1 stream: 1 running");
    pane.tmux(&["send-keys", "C-z"]);
    pane.shows("suspended");
    assert!(pane.cursor());
    feeder.write_all(exits("one", 2, "success").as_bytes()).expect("writes");
    pane.tmux(&["send-keys", "Enter"]);
    let screen = pane.shows("1 stream: 1 success");
    let place = |text: &str| screen.find(text);
    assert!(
        place("1 stream: 1 running") < place("suspended") && place("suspended") < place("1 stream: 1 success"),
        "{screen}"
    );
    drop(feeder);
    pane.shows("code 0");
    assert!(pane.cursor());
}

#[test]
fn a_picture_of_a_run_folder() {
    let folder = scratch();
    let run = folder.path().join("run");
    std::fs::create_dir(&run).expect("makes a folder");
    append(&run.join("a.ndjson"), &start("a"));
    let Some(pane) = Pane::open(
        80,
        24,
        &format!("cl-progress {}; echo code $?; exec cat", run.display()),
    ) else {
        return;
    };
    pane.shows("1 stream: 1 running");
    append(&run.join("b.ndjson"), &[start("b"), exits("b", 2, "failed")].concat());
    pane.shows("2 streams: 1 running, 1 failed");
    append(&run.join("a.ndjson"), &exits("a", 2, "success"));
    let screen = pane.shows("code 0");
    assert!(screen.contains("2 streams: 1 success, 1 failed"), "{screen}");
}

#[test]
fn answers_stand_below_the_last_picture() {
    let folder = scratch();
    let fifo = mkfifo(&folder.path().join("fifo"));
    let mut feeder = feeder(folder.path());
    // The display is shown on the terminal on which cl-wait writes at its end.
    let script = format!(
        "cl-progress --interval 1s < {} | cl-wait --any=1 -o text; echo code $?; exec cat",
        fifo.display()
    );
    let Some(pane) = Pane::open(80, 20, &script) else {
        return;
    };
    feeder.write_all(start("one").as_bytes()).expect("writes");
    pane.shows("1 stream: 1 running");
    feeder.write_all(start("two").as_bytes()).expect("writes");
    let exit = "\"outcome\":\"success\",\"text\":\"first words\\nlast words\"";
    let exit = exits("one", 2, "success").replacen("\"outcome\":\"success\"", exit, 1);
    feeder.write_all(exit.as_bytes()).expect("writes");
    let screen = pane.shows("code 0");
    let place = |text: &str| {
        screen
            .find(text)
            .unwrap_or_else(|| panic!("{text} is not in\n{screen}"))
    };
    assert!(place("2 streams: ") < place("first words"), "{screen}");
    assert!(
        place("first words") < place("last words") && place("last words") < place("code 0"),
        "{screen}"
    );
    assert_eq!(screen.matches("2 streams: ").count(), 1, "{screen}");
}
