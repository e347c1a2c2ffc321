//! Conversations: begun under a chosen id, gone on with, branched off.

use super::{Live, became, exit_of, live, those};
use crate::harness::{command, finish, text, tool};
use serde_json::Value;

const ID: &str = "5a5a5a5a-0000-4000-8000-000000000001";

/// The ids that a stream tells: before the start, by claude itself, and at the end.
fn told(lines: &[Value]) -> [&str; 3] {
    let init = lines.iter().find(|line| line["subtype"] == "init").expect("an init");
    let of = |line| text(line, "/session_id");
    [of(&lines[0]), of(init), of(exit_of(lines))]
}

fn arguments(lines: &[Value]) -> String {
    lines[0]["argv"].to_string()
}

/// What the conversation has cost so far, by claude's own account.
fn total(lines: &[Value]) -> f64 {
    those(lines, "result")[0]["total_cost_usd"].as_f64().expect("a cost")
}

fn own_cost(lines: &[Value]) -> f64 {
    exit_of(lines)["cost_usd"].as_f64().expect("a cost")
}

fn begin(live: &Live) -> Vec<Value> {
    live.run(&["--session", ID, "one @@text n=3@@"]).ok().json()
}

#[test]
fn an_id_is_chosen_before_the_start() {
    let Some(live) = live() else { return };
    let lines = live.run(&["one @@text n=3@@"]).ok().json();
    let [first, init, exit] = told(&lines);
    assert_eq!((first.len(), first, first), (36, init, exit));
    let lines = begin(&live);
    assert_eq!(told(&lines), [ID; 3]);
    let lines = live.run(&["--session", ID, "two"]).exits(1).json();
    let (outcome, because, _) = became(&lines);
    assert_eq!(outcome, "error");
    assert!(because.contains("already in use"), "{because}");
}

#[test]
fn a_resumed_one_tells_its_own_cost() {
    let Some(live) = live() else { return };
    let first = begin(&live);
    let second = live.run(&["--resume", ID, "two @@text n=50@@"]).ok().json();
    assert_eq!(told(&second), [ID; 3]);
    assert!(arguments(&second).contains(&format!("--resume={ID}")));
    assert!((own_cost(&first) - total(&first)).abs() < 1e-9);
    assert!(total(&second) > total(&first), "claude counts the earlier turns too");
    let new = total(&second) - total(&first);
    assert!(
        (own_cost(&second) - new).abs() < 1e-9,
        "{} for {new}",
        own_cost(&second)
    );
}

#[test]
fn where_an_earlier_run_ended() {
    let Some(live) = live() else { return };
    let mut tee = command(tool("cl-tee"));
    tee.arg("--split").arg(live.home.path().join("run"));
    let first = live.run(&["one @@text n=3@@"]).ok();
    let id = told(&first.json())[2].to_owned();
    finish(tee, &first.out).ok();
    let lines = live.run(&["--resume", "../run", "two @@text n=4@@"]).ok().json();
    assert_eq!(told(&lines), [id.as_str(); 3]);
    let refused = live.run(&["--resume", "../work", "two"]).exits(125);
    assert!(
        refused.err.starts_with("cl-spawn: --resume ../work/alone.ndjson: "),
        "{}",
        refused.err
    );
}

#[test]
fn a_fork_has_an_id_of_its_own() {
    let Some(live) = live() else { return };
    let first = begin(&live);
    let fork = live.run(&["--resume", ID, "--fork", "two @@text n=4@@"]).ok().json();
    let [id, init, exit] = told(&fork);
    assert_ne!(id, ID);
    assert_eq!((id, id), (init, exit));
    let arguments = arguments(&fork);
    assert!(
        arguments.contains(ID) && arguments.contains("--fork-session"),
        "{arguments}"
    );
    assert!((own_cost(&fork) - (total(&fork) - total(&first))).abs() < 1e-9);
    // The first one knows nothing of it.
    let again = live.run(&["--resume", ID, "two @@text n=4@@"]).ok().json();
    assert_eq!(told(&again), [ID; 3]);
    assert!((total(&again) - total(&fork)).abs() < 1e-9);
}

#[test]
fn an_unknown_one_is_an_error() {
    let Some(live) = live() else { return };
    let lines = live.run(&["--resume", ID, "--retries", "3", "two"]).exits(1).json();
    let (outcome, because, answer) = became(&lines);
    assert_eq!(
        (outcome, because),
        ("error", "result error_during_execution with is_error, exit 1")
    );
    assert_eq!(answer, format!("No conversation found with session ID: {ID}"));
    assert_eq!(exit_of(&lines)["attempts"], 1);
}
