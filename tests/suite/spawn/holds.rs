//! One limit, all wait; one refused key, nobody starts.

use super::agent::{claudes, with};
use super::*;

/// Several streams of one user.
struct User {
    claudes: tempfile::TempDir,
    runtime: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        Self {
            claudes: claudes(),
            runtime: scratch(),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = with(&self.claudes, args);
        command.env("XDG_RUNTIME_DIR", self.runtime.path());
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        finish(self.command(args), b"")
    }

    /// The files that tell holds.
    fn holds(&self) -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(self.runtime.path().join("cl")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|end| end == "json"))
            .collect()
    }
}

const LIMITED: &str = "@@as limit=rejected resets=2 result=error on=1@@";

#[test]
fn a_limit_is_waited_for_and_costs_no_retry() {
    let user = User::new();
    let done = user.run(&["a", "-r", "1", LIMITED]).ok();
    let lines = done.json();
    assert_eq!(of(&lines, "limit")[0]["status"], "rejected");
    let retry = of(&lines, "retry").remove(0);
    assert_eq!((&retry["attempt"], &retry["of"]), (&2.into(), &3.into()));
    assert!(text(&retry, "/because").starts_with("limit: "), "{retry}");
    let resets_at = of(&lines, "limit")[0]["resets_at"].as_f64().unwrap();
    let second = of(&lines, "start")[1]["cl"]["ts"].as_f64().unwrap();
    assert!(second >= resets_at, "{second} {resets_at}");
    assert_eq!(exit(&done)["attempts"], 2);
}

#[test]
fn who_may_not_try_again_says_until_when() {
    let user = User::new();
    let done = user.run(&["a", LIMITED]).exits(75);
    let exit = exit(&done);
    assert_eq!((&exit["outcome"], &exit["attempts"]), (&"limit".into(), &1.into()));
    assert!(exit["resets_at"].is_f64());
}

#[test]
fn the_others_wait_for_the_same_end() {
    let user = User::new();
    user.run(&["a", LIMITED]).exits(75);
    let done = user.run(&["b", "-r", "1", "hi"]).ok();
    let lines = done.json();
    assert_eq!(
        (text(&lines[0], "/subtype"), text(&lines[0], "/status")),
        ("limit", "held")
    );
    let start = of(&lines, "start").remove(0);
    assert!(start["cl"]["ts"].as_f64() >= lines[0]["resets_at"].as_f64());
    assert_eq!((of(&lines, "retry").len(), &exit(&done)["attempts"]), (0, &1.into()));
    // The limit is over: what is left of it harms nobody.
    let done = user.run(&["c", "hi"]).ok();
    assert_eq!(of(&done.json(), "limit").len(), 0);
}

#[test]
fn other_accounts_and_commands_do_not_wait() {
    let user = User::new();
    user.run(&["a", "@@as limit=rejected resets=3600 result=error@@"])
        .exits(75);
    user.run(&["b", "--env", "ANTHROPIC_API_KEY=another", "hi"]).ok();
    user.run(&["c", "--", "true"]).ok();
    let recordings = root().join("tests/data/recordings/claude/plain-text.ndjson");
    user.run(&[
        "d",
        "--agent",
        "claude",
        "--",
        "cl-replay",
        recordings.to_str().unwrap(),
    ])
    .ok();
    user.run(&["e", "--anyway", "hi"]).ok();
    // That success has released the others.
    assert_eq!(user.holds(), Vec::<std::path::PathBuf>::new());
    user.run(&["f", "hi"]).ok();
}

#[test]
fn a_limit_beyond_the_deadline_is_not_waited_for() {
    let user = User::new();
    let hour = "@@as limit=rejected resets=3600 result=error@@";
    let done = user.run(&["a", "-r", "1", "-t", "60", hour]).exits(75);
    assert_eq!(exit(&done)["attempts"], 1);
    let done = user.run(&["b", "-t", "60", "hi"]).exits(75);
    let exit = exit(&done);
    assert_eq!((&exit["outcome"], &exit["attempts"]), (&"limit".into(), &0.into()));
    assert!(text(&exit, "/because").contains("which 'a' met"), "{exit}");
    assert!(exit["resets_at"].is_f64());
    assert!(done.err.starts_with("cl-spawn: a usage limit until "), "{}", done.err);
}

#[test]
fn a_hold_that_is_removed_releases_at_once() {
    let user = User::new();
    user.run(&["a", "@@as limit=rejected resets=3600 result=error@@"])
        .exits(75);
    let mut running = Running::begin(user.command(&["b", "hi"]));
    assert_eq!(running.line()["subtype"], "limit");
    for file in user.holds() {
        std::fs::remove_file(file).unwrap();
    }
    let done = running.end().ok();
    assert_eq!(exit(&done)["outcome"], "success");
}

#[test]
fn a_start_that_waits_can_be_told_to_end() {
    let user = User::new();
    user.run(&["a", "@@as limit=rejected resets=3600 result=error@@"])
        .exits(75);
    let mut running = Running::begin(user.command(&["b", "--heartbeat", "0.05", "hi"]));
    running.until("heartbeat");
    kill(running.pid(), 2);
    let done = running.end().exits(130);
    let exit = exit(&done);
    assert_eq!((&exit["outcome"], &exit["attempts"]), (&"cancelled".into(), &0.into()));
}

#[test]
fn a_refused_key_stops_new_starts_until_one_succeeds() {
    let user = User::new();
    let recording = root().join("tests/data/recordings/claude/no-api-key.ndjson");
    let script = format!(
        "#!/bin/sh\n[ -n \"$GOOD\" ] || {{ cat {}; exit 1; }}\nexec $FIXTURE claude\n",
        recording.display()
    );
    let claude = user.claudes.path().join("claude");
    std::fs::remove_file(&claude).unwrap();
    std::fs::write(&claude, script).unwrap();
    std::fs::set_permissions(&claude, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let done = user.run(&["a", "-r", "3", "hi"]).exits(77);
    assert_eq!(
        (&exit(&done)["outcome"], &exit(&done)["attempts"]),
        (&"auth".into(), &1.into())
    );
    let done = user.run(&["b", "--env", "GOOD=1", "hi"]).exits(77);
    assert_eq!(exit(&done)["attempts"], 0);
    assert_eq!(
        done.err,
        "cl-spawn: the key was refused when 'a' used it; log in, or start with --anyway\n"
    );
    user.run(&["c", "--env", "GOOD=1", "--anyway", "hi"]).ok();
    user.run(&["d", "--env", "GOOD=1", "hi"]).ok();
}

#[test]
fn what_holds_one_falls_back_on_another() {
    let user = User::new();
    user.run(&["a", "@@as limit=rejected resets=3600 result=error@@"])
        .exits(75);
    let folder = scratch();
    std::fs::copy(
        root().join("tests/data/recordings/claude/plain-text.ndjson"),
        folder.path().join("b.ndjson"),
    )
    .unwrap();
    let replay = format!("replay:{}", folder.path().display());
    let done = user.run(&["b", "--fallback", &replay, "hi"]).ok();
    let lines = done.json();
    assert_eq!(text(&lines[0], "/subtype"), "retry");
    assert_eq!(exit(&done)["attempts"], 1);
}

#[test]
fn the_files_are_the_users_alone() {
    use std::os::unix::fs::MetadataExt;
    let user = User::new();
    user.run(&["a", "@@as limit=rejected resets=3600 result=error@@"])
        .exits(75);
    let folder = user.runtime.path().join("cl");
    assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(folder).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_kept_worker_that_lives_on_tells_of_its_limit_at_once() {
    let user = User::new();
    let fifo = mkfifo(&user.claudes.path().join("asks"));
    let args = ["a", "--keep", "--stdin", fifo.to_str().unwrap()];
    let mut running = Running::begin(user.command(&args));
    let mut asks = std::fs::File::options().write(true).open(&fifo).unwrap();
    use std::io::Write as _;
    writeln!(asks, "@@as limit=rejected resets=3600 result=error exit=0@@").unwrap();
    assert_eq!(running.until("turn")["outcome"], "limit");
    let done = user.run(&["b", "-t", "60", "hi"]).exits(75);
    assert_eq!(exit(&done)["attempts"], 0);
    drop(asks);
    running.end().exits(75);
}
