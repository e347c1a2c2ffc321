//! Conversations: chosen before the start, resumed, branched off.

use super::agent::{claudes, with};
use super::*;

/// A claude whose home keeps conversations where claude does.
struct Home {
    claudes: tempfile::TempDir,
    home: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = scratch();
        std::fs::create_dir_all(home.path().join(".claude/projects/p")).unwrap();
        Self {
            claudes: claudes(),
            home,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = with(&self.claudes, args);
        command.env("HOME", self.home.path());
        command.env("SESSIONS", self.home.path().join(".claude/projects/p"));
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        finish(self.command(args), b"")
    }
}

const ID: &str = "11111111-2222-4333-8444-555555555555";

#[test]
fn it_is_chosen_before_the_start() {
    let home = Home::new();
    let done = home.run(&["x", "hi"]).ok();
    let start = done.json().remove(0);
    let id = text(&start, "/session_id");
    assert_eq!(id.len(), 36);
    assert_eq!(exit(&done)["session_id"], id);
    let argv = start["argv"].to_string();
    assert!(argv.contains(&format!("--session-id={id}")), "{argv}");
    // Another run is another conversation.
    assert_ne!(home.run(&["x", "hi"]).ok().json()[0]["session_id"], id);
    let done = home.run(&["x", "--session", ID, "hi"]).ok();
    assert_eq!(done.json()[0]["session_id"], ID);
    let own = home.run(&["x", "--arg=--resume=u", "--dry-run", "hi"]).ok();
    assert!(!own.text().contains("--session-id"), "{}", own.text());
}

#[test]
fn hooks_can_tell_stream_and_conversation() {
    let done = spawn(&["a/b", "--dry-run", "--session", ID, "hi"]).ok();
    assert!(
        done.text().contains(&format!("CLAUDE_STREAM_ID=a/b:{ID} ")),
        "{}",
        done.text()
    );
    let done = spawn(&["x", "--", "printenv", "CLAUDE_STREAM_ID"]).ok();
    assert_eq!(unwrapped(&done.out), b"x\n");
}

#[test]
fn an_earlier_one_goes_on_by_its_id_or_by_its_run() {
    let home = Home::new();
    let first = home.run(&["x", "hi"]).ok();
    let id = exit(&first)["session_id"].as_str().unwrap().to_owned();
    let second = home.run(&["x", "--resume", &id, "and now"]).ok();
    assert_eq!(second.json()[0]["session_id"], id.as_str());
    assert_eq!(exit(&second)["session_id"], id.as_str());
    let folder = scratch();
    std::fs::write(folder.path().join("x.ndjson"), &first.out).unwrap();
    let run = folder.path().to_str().unwrap();
    let third = home.run(&["x", "--resume", run, "and now"]).ok();
    assert_eq!(exit(&third)["session_id"], id.as_str());
    // One that was killed has told it in its first line.
    let start = first.out.split_inclusive(|&b| b == b'\n').next().unwrap();
    std::fs::write(folder.path().join("x.ndjson"), start).unwrap();
    let fourth = home.run(&["x", "--resume", run, "and now"]).ok();
    assert_eq!(exit(&fourth)["session_id"], id.as_str());
}

#[test]
fn a_copy_has_an_id_of_its_own() {
    let done = spawn(&["x", "--dry-run", "--resume", ID, "--fork", "hi"]).ok();
    let line = done.text();
    assert!(
        line.contains(&format!("--resume={ID} --fork-session --session-id=")),
        "{line}"
    );
    assert!(!line.contains(&format!("--session-id={ID}")), "{line}");
}

#[test]
fn what_cannot_be_resumed_is_named() {
    let folder = scratch();
    let run = folder.path().to_str().unwrap();
    std::fs::write(folder.path().join("plain.ndjson"), "{}\n").unwrap();
    let other = Home::new().run(&["x", "hi"]).ok();
    std::fs::write(folder.path().join("merged.ndjson"), other.out).unwrap();
    for (args, why) in [
        (vec!["x", "--resume", run, "hi"], "x.ndjson: No such file"),
        (vec!["plain", "--resume", run, "hi"], "tells no conversation"),
        (vec!["merged", "--resume", run, "hi"], "tells no conversation"),
        (vec!["x", "--resume", "no/such", "hi"], "neither an id nor a run folder"),
        (
            vec!["x", "--resume", ID, "--", "true"],
            "goes with an agent, not with a COMMAND",
        ),
        (
            vec!["x", "--session", ID, "--", "true"],
            "goes with an agent, not with a COMMAND",
        ),
        (
            vec!["x", "--agent", "codex", "--session", ID, "hi"],
            "codex has no word for it",
        ),
        (
            vec!["x", "--agent", "qwen", "--resume", ID, "--fork", "hi"],
            "qwen has no word for it",
        ),
        (vec!["x", "--resume=--last", "hi"], "that is no session's id"),
    ] {
        let done = spawn(&args).exits(125);
        assert!(done.err.contains(why), "{args:?}: {}", done.err);
    }
}

#[test]
fn an_attempt_with_work_in_it_goes_on_instead_of_beginning_anew() {
    let home = Home::new();
    let retry = ["x", "-r", "1", "--backoff", "0.01"];
    let done = home
        .run(&[&retry[..], &["@@as tool=Bash n=2 signal=9 result=none on=1@@"]].concat())
        .ok();
    let starts = of(&done.json(), "start");
    assert_eq!(starts[0]["session_id"], starts[1]["session_id"]);
    let argv = starts[1]["argv"].to_string();
    assert!(argv.contains("--resume="), "{argv}");
    assert!(text(&starts[1], "/prompt").starts_with("The last run was cut off"));
    assert_eq!(exit(&done)["attempts"], 2);
}

#[test]
fn a_conversation_named_by_the_users_own_arguments_is_named_by_nobody_else() {
    let prompt = "@@as tool=Bash n=2 signal=9 result=none on=1@@";
    let own = format!("--arg=--session-id={ID}");
    let done = Home::new()
        .run(&["x", "-r", "1", "--backoff", "0.01", &own, prompt])
        .ok();
    let starts = of(&done.json(), "start");
    assert_eq!(starts[0]["argv"], starts[1]["argv"]);
}

#[test]
fn one_that_was_never_kept_begins_anew() {
    let home = Home::new();
    let mut command = home.command(&[
        "x",
        "-r",
        "1",
        "--backoff",
        "0.01",
        "@@as n=0 signal=9 result=none on=1@@",
    ]);
    command.env_remove("SESSIONS");
    let done = finish(command, b"").ok();
    let starts = of(&done.json(), "start");
    assert_ne!(starts[0]["session_id"], starts[1]["session_id"]);
    assert!(text(&starts[1], "/prompt").starts_with("@@as"));
}
