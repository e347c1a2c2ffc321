//! Another attempt: what it mends, and that a conversation goes on instead of beginning anew.

use super::{Live, Running, became, exit_of, live, those};
use crate::harness::{text, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Stdio;

/// The id and the arguments of each attempt.
fn attempts(lines: &[Value]) -> Vec<(&str, String)> {
    let starts = those(lines, "start").into_iter();
    starts
        .map(|start| (text(start, "/session_id"), start["argv"].to_string()))
        .collect()
}

/// What claude has written down of its conversations.
fn kept(live: &Live) -> String {
    let projects = live.home.path().join(".claude/projects");
    let folders = std::fs::read_dir(projects).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files
        .filter_map(|file| std::fs::read_to_string(file.path()).ok())
        .collect()
}

#[test]
fn an_overloaded_service_is_asked_again() {
    let Some(live) = live() else { return };
    // claude itself asks three times.
    let args = ["--retries=2", "--backoff=100ms", "x @@err status=529 times=4@@"];
    let lines = live.run(&args).ok().json();
    let fine = ("success", "result success, exit 0", "Recovered and done.");
    assert_eq!(became(&lines), fine);
    let exit = exit_of(&lines);
    assert_eq!(exit["attempts"], 2, "{exit}");
    let retry = those(&lines, "retry")[0];
    assert_eq!((&retry["attempt"], &retry["of"]), (&2.into(), &3.into()), "{retry}");
    assert_eq!(
        text(retry, "/because"),
        "unavailable: result success with API status 529, exit 1"
    );
    // Nothing was answered, so it is asked the same.
    let prompts = those(&lines, "start").into_iter().map(|start| text(start, "/prompt"));
    assert_eq!(prompts.collect::<Vec<_>>(), [args[2]; 2]);
    live.nothing_left();
}

#[test]
fn no_retry_is_left() {
    let Some(live) = live() else { return };
    let args = ["--retries=1", "--backoff=100ms", "x @@err status=529@@"];
    let lines = live.run(&args).exits(69).json();
    assert_eq!(
        (became(&lines).0, &exit_of(&lines)["attempts"]),
        ("unavailable", &2.into())
    );
    // What would be the same again is not asked again.
    let lines = live.run(&["--retries=3", "x @@err status=400@@"]).exits(1).json();
    assert_eq!((became(&lines).0, &exit_of(&lines)["attempts"]), ("error", &1.into()));
}

#[test]
fn killed_after_work_was_done_it_goes_on() {
    let Some(live) = live() else { return };
    let prompt = "x @@tools list=Bash,Read,Bash delay=0.3@@";
    let args = [
        "--partial",
        "--tools=Bash,Read",
        "--retries=1",
        "--backoff=100ms",
        prompt,
    ];
    let mut running = Running::start(live.spawn(&args), Stdio::null());
    running.read_to("Step 2");
    // claude writes its conversation down a moment later.
    until("the tool's result to be kept", || {
        kept(&live).contains("tool_result").then_some(())
    });
    running.signal_agent(Signal::SIGKILL);
    let lines = running.end().exits(0).json();
    let fine = ("success", "result success, exit 0", "All done, 3 rounds.");
    assert_eq!(became(&lines), fine);
    let attempts = attempts(&lines);
    let [(first, _), (second, arguments)] = attempts.as_slice() else {
        panic!("{attempts:?}")
    };
    assert_eq!(first, second);
    assert!(arguments.contains(&format!("--resume={first}")), "{arguments}");
    assert_eq!(text(those(&lines, "retry")[0], "/because"), "killed: ended by SIGKILL");
    // What was done is not done again: the tools ran once each.
    let results = lines
        .iter()
        .filter(|line| line["type"] == "user" && text(line, "/message/content/0/type") == "tool_result");
    assert_eq!(results.count(), 3);
    live.nothing_left();
}

#[test]
fn another_model_is_asked() {
    let Some(live) = live() else { return };
    let args = [
        "--model=claude-none",
        "--fallback=claude:claude-sonnet-5-5",
        "x @@err status=404 model=claude-none@@",
    ];
    let lines = live.run(&args).ok().json();
    let fine = ("success", "result success, exit 0", "Recovered and done.");
    assert_eq!(became(&lines), fine);
    let retry = those(&lines, "retry")[0];
    assert_eq!(text(retry, "/next"), "claude:claude-sonnet-5-5", "{retry}");
    let models = lines.iter().filter(|line| line["subtype"] == "init");
    let models: Vec<_> = models.map(|line| text(line, "/model")).collect();
    assert_eq!(models, ["claude-none", "claude-sonnet-5-5"]);
    let exit = exit_of(&lines);
    assert_eq!(exit["attempts"], 2, "{exit}");
    // Another conversation, for the first one knows nothing.
    let attempts = attempts(&lines);
    assert_ne!(attempts[0].0, attempts[1].0);
}
