//! Errors of the service, and limits and refusals of the agent's own: each is known for what it is.

use super::{became, exit_of, live, those};
use crate::harness::{finish, text};
use serde_json::json;

/// Each with the exit code that goes with it. With retries of its own claude would try for three minutes.
#[test]
fn errors_of_the_service() {
    let Some(live) = live() else { return };
    for (status, code, outcome) in [
        (400, 1, "error"),
        (404, 1, "error"),
        (401, 77, "auth"),
        (403, 77, "auth"),
        (429, 69, "unavailable"),
        (500, 69, "unavailable"),
        (529, 69, "unavailable"),
    ] {
        let mut ask = live.spawn(&["--anyway", &format!("x @@err status={status}@@")]);
        ask.env("CLAUDE_CODE_MAX_RETRIES", "1");
        let lines = finish(ask, b"").exits(code).json();
        let because = format!("result success with API status {status}, exit 1");
        let (ended, why, _) = became(&lines);
        assert_eq!((ended, why), (outcome, because.as_str()));
    }
    live.nothing_left();
}

#[test]
fn overloaded_twice_and_then_fine() {
    let Some(live) = live() else { return };
    let lines = live.run(&["x @@err status=529 times=2@@"]).ok().json();
    let fine = ("success", "result success, exit 0", "Recovered and done.");
    assert_eq!(became(&lines), fine);
    let tried: Vec<_> = lines.iter().filter(|line| line["subtype"] == "api_retry").collect();
    assert_eq!(tried.len(), 2, "claude tried again by itself");
    assert_eq!(exit_of(&lines)["attempts"], 1);
}

#[test]
fn a_connection_that_breaks_midway() {
    let Some(live) = live() else { return };
    let lines = live.run(&["--partial", "x @@drop after=3 times=1@@"]).ok().json();
    assert_eq!(became(&lines).0, "success", "{}", exit_of(&lines));
}

#[test]
fn the_agents_own_limit() {
    let Some(live) = live() else { return };
    let args = ["--tools", "Bash", "--arg=--max-turns=1", "x @@loop@@"];
    let lines = live.run(&args).exits(1).json();
    let (outcome, because, _) = became(&lines);
    assert_eq!(
        (outcome, because),
        ("exhausted", "result error_max_turns with is_error, exit 1")
    );
    live.nothing_left();
}

#[test]
fn a_denied_tool_is_told() {
    let Some(live) = live() else { return };
    let lines = live.run(&["x @@tools list=Write@@"]).ok().json();
    let fine = ("success", "result success, exit 0", "All done, 1 rounds.");
    assert_eq!(became(&lines), fine);
    let exit = exit_of(&lines);
    assert_eq!(exit["denials"], json!([{ "tool": "Write" }]), "{exit}");
    assert_eq!(exit["warnings"], json!(["not permitted: Write"]), "{exit}");
    assert!(!live.home.path().join("work/out.txt").exists());
}

#[test]
fn an_unknown_option_is_an_error() {
    let Some(live) = live() else { return };
    let lines = live.run(&["--arg=--no-such-flag", "x"]).exits(1).json();
    let (outcome, because, _) = became(&lines);
    assert_eq!(
        (outcome, because),
        ("error", "exit 1: error: unknown option '--no-such-flag'")
    );
    assert!(text(exit_of(&lines), "/stderr").contains("unknown option"));
    assert!(those(&lines, "result").is_empty());
}
