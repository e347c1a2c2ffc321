//! A worker that is kept for one prompt after another.

use super::agent::{claudes, with};
use super::*;
use std::fs::File;
use std::io::Write;

/// A kept claude that reads its prompts from a FIFO.
struct Kept {
    _folder: tempfile::TempDir,
    running: Running,
    fifo: Option<File>,
}

impl Kept {
    fn begin(options: &[&str]) -> Self {
        let folder = claudes();
        let fifo = mkfifo(&folder.path().join("asks"));
        let path = fifo.to_str().unwrap().to_owned();
        let running = Running::begin(with(&folder, &[&["x", "--keep", "--stdin", &path], options].concat()));
        let fifo = File::options().write(true).open(fifo).unwrap();
        Self {
            _folder: folder,
            running,
            fifo: Some(fifo),
        }
    }

    fn ask(&mut self, prompt: &str) {
        writeln!(self.fifo.as_mut().unwrap(), "{prompt}").unwrap();
    }

    fn turn(&mut self) -> Value {
        self.running.until("turn")
    }

    /// Closes the FIFO and reads to the end.
    fn end(mut self) -> Done {
        drop(self.fifo.take());
        self.running.end()
    }
}

#[test]
fn three_turns_in_one_process() {
    let mut kept = Kept::begin(&[]);
    let start = kept.running.line();
    for (number, prompt) in ["one", "two", "three"].into_iter().enumerate() {
        kept.ask(prompt);
        let turn = kept.turn();
        assert_eq!(text(&turn, "/text"), format!("You said: {prompt}"), "turn {number}");
        assert_eq!(text(&turn, "/outcome"), "success");
        assert_eq!(turn["session_id"], start["session_id"]);
        assert_eq!((&turn["lines"], &turn["usage"]["output"]), (&3.into(), &5.into()));
        assert_eq!((&turn["code"], &turn["attempts"]), (&Value::Null, &1.into()));
    }
    let done = kept.end().ok();
    let exit = exit(&done);
    assert_eq!(
        (text(&exit, "/outcome"), text(&exit, "/text")),
        ("success", "You said: three")
    );
    assert_eq!((&exit["attempts"], &exit["usage"]["output"]), (&1.into(), &15.into()));
    assert_eq!(exit.get("warnings"), None);
}

#[test]
fn prompts_that_come_at_once_are_asked_one_after_another() {
    let claudes = claudes();
    let done = finish(with(&claudes, &["x", "--keep", "first"]), b"second\n\nthird").ok();
    let turns = of(&done.json(), "turn");
    let texts: Vec<&str> = turns.iter().map(|turn| text(turn, "/text")).collect();
    assert_eq!(texts, ["You said: first", "You said: second", "You said: third"]);
}

#[test]
fn a_message_of_the_agents_own_is_passed_as_it_is() {
    let own = r#"{"type":"user","message":{"role":"user","content":"mine"}}"#;
    let done = finish(with(&claudes(), &["x", "--keep"]), own.as_bytes()).ok();
    assert_eq!(exit(&done)["text"], "You said: mine");
}

#[test]
fn a_role_frames_each_prompt() {
    let done = finish(with(&claudes(), &["x", "--role", "context", "--keep"]), b"one\ntwo\n").ok();
    let turns = of(&done.json(), "turn");
    assert_eq!(turns.len(), 2);
    for (turn, prompt) in turns.iter().zip(["one", "two"]) {
        let said = text(turn, "/text");
        assert!(said.len() > 20 && said.contains(prompt), "{said}");
    }
}

#[test]
fn no_prompt_at_all_is_no_failure() {
    let done = finish(with(&claudes(), &["x", "--keep"]), b"").ok();
    assert_eq!(exit(&done)["because"], "no prompt came, exit 0");
}

#[test]
fn waiting_for_a_prompt_is_not_idleness() {
    let mut kept = Kept::begin(&["--idle", "0.2", "--linger", "0.2", "--heartbeat", "0.1"]);
    for _ in 0..8 {
        kept.running.until("heartbeat");
    }
    kept.ask("hello");
    assert_eq!(text(&kept.turn(), "/outcome"), "success");
    for _ in 0..8 {
        kept.running.until("heartbeat");
    }
    kept.ask("@@as hang=1@@");
    let done = kept.end().exits(124);
    assert_eq!(exit(&done)["outcome"], "idle");
}

#[test]
fn what_nobody_answers_is_named() {
    let mut kept = Kept::begin(&[]);
    kept.ask("one");
    kept.turn();
    kept.ask("@@as signal=9 result=none@@");
    kept.ask("too late");
    let done = kept.end().exits(137);
    let exit = exit(&done);
    assert_eq!(
        (text(&exit, "/outcome"), text(&exit, "/text")),
        ("killed", "You said: @@as signal=9 result=none@@")
    );
    assert_eq!(
        exit["warnings"][0],
        "a prompt that nobody answered: @@as signal=9 result=none@@"
    );
    assert_eq!(exit["warnings"][1], "a prompt that nobody answered: too late");
}

#[test]
fn a_stop_names_what_nobody_answered() {
    let mut kept = Kept::begin(&[]);
    kept.ask("@@as hang=1@@");
    kept.running.until("start");
    assert_eq!(kept.running.line()["subtype"], "init");
    kept.ask("later");
    kill(kept.running.pid(), 15);
    let done = kept.end().exits(143);
    // The one on its way has a turn that says that it was interrupted.
    assert_eq!(of(&done.json(), "turn")[0]["outcome"], "cancelled");
    assert_eq!(exit(&done)["warnings"][0], "a prompt that nobody answered: later");
}

#[test]
fn a_source_without_end_keeps_nobody_from_the_end() {
    let claudes = claudes();
    for source in ["yes hello", "yes ''", "cat /dev/zero"] {
        let mut child = command("sh")
            .args(["-c", source])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut command = with(&claudes, &["x", "--keep", "-t", "0.5", "-k", "0.1"]);
        let kept = command
            .stdin(child.stdout.take().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Else it would hold the source's other end.
        drop(command);
        let done = collect(kept, source).exits(124);
        let warnings = exit(&done)["warnings"].as_array().map_or(0, Vec::len);
        assert!(warnings <= 23, "{source}: {warnings}");
        let _ = child.kill();
        wait(&mut child, source);
    }
}

#[test]
fn the_prompt_on_its_way_is_asked_again() {
    let mut kept = Kept::begin(&["-r", "1", "--backoff", "0.01"]);
    kept.ask("one");
    kept.turn();
    kept.ask("@@as signal=9 result=none on=1@@");
    let retry = kept.running.until("retry");
    assert_eq!(text(&retry, "/because"), "killed: ended by SIGKILL");
    assert_eq!(
        text(&kept.turn(), "/text"),
        "You said: @@as signal=9 result=none on=1@@"
    );
    kept.ask("three");
    assert_eq!(text(&kept.turn(), "/text"), "You said: three");
    let done = kept.end().ok();
    assert_eq!(exit(&done)["attempts"], 2);
}

#[test]
fn an_answer_pays_for_what_was_spent() {
    let mut kept = Kept::begin(&["-r", "1", "--backoff", "0.01"]);
    for on in 1..4 {
        kept.ask(&format!("@@as signal=9 result=none on={on}@@"));
        kept.running.until("retry");
        kept.turn();
    }
    let done = kept.end().ok();
    assert_eq!(exit(&done)["attempts"], 4);
}

#[test]
fn a_worker_that_dies_at_rest_is_there_again() {
    let mut kept = Kept::begin(&["-r", "1", "--backoff", "0.01"]);
    let worker = kept.running.worker();
    kept.ask("one");
    kept.turn();
    kill(worker, 9);
    kept.running.until("start");
    kept.ask("two");
    assert_eq!(text(&kept.turn(), "/text"), "You said: two");
    kept.end().ok();
}

#[test]
fn it_needs_an_agent_that_takes_messages() {
    for (args, why) in [
        (
            vec!["x", "--keep", "--", "cat"],
            "--keep: goes with a COMMAND only where",
        ),
        (
            vec!["x", "--keep", "--agent", "codex"],
            "--keep: codex has no word for it",
        ),
        (
            vec!["x", "--keep", "--agent", "replay:/no/such"],
            "--keep: a recording hears no prompt",
        ),
        (
            vec!["x", "--keep", "--fallback", "replay:/no/such"],
            "--keep: a recording hears no prompt",
        ),
        (
            vec!["x", "--keep", "--stdin", "null"],
            "--keep: its prompts come on stdin",
        ),
        (
            vec!["x", "--keep", "--stdin", "/no/such"],
            "--stdin /no/such: No such file",
        ),
    ] {
        let done = spawn(&args).exits(125);
        assert!(done.err.contains(why), "{args:?}: {}", done.err);
    }
    let folder = claudes();
    let done = finish(
        with(&folder, &["x", "--keep", "--", "claude", "--input-format=stream-json"]),
        b"hi\n",
    )
    .ok();
    assert_eq!(exit(&done)["text"], "You said: hi");
}

#[test]
fn a_worker_at_rest_ends_with_its_stdin_when_it_is_stopped() {
    let mut kept = Kept::begin(&["-k", "50"]);
    kept.ask("one");
    kept.turn();
    let begin = std::time::Instant::now();
    kill(kept.running.pid(), 15);
    kept.end().exits(143);
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
}
