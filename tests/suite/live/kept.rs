//! A kept claude: one process, one prompt after another.

use super::{Live, Running, became, exit_of, live, those};
use crate::harness::{mkfifo, text};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::process::Stdio;

/// A kept claude, and what its prompts are written to.
fn keep(live: &Live, options: &[&str]) -> (Running, File) {
    let asks = mkfifo(&live.home.path().join("asks"));
    let mut spawn = live.spawn(options);
    spawn.arg("--keep").arg("--stdin").arg(&asks);
    let running = Running::start(spawn, Stdio::null());
    (running, File::options().write(true).open(asks).expect("opens"))
}

fn ask(asks: &mut File, prompt: &str) {
    writeln!(asks, "{prompt}").expect("asks");
}

fn texts<'a>(turns: &[&'a Value]) -> Vec<&'a str> {
    turns.iter().map(|turn| text(turn, "/text")).collect()
}

#[test]
fn three_prompts_in_one_process() {
    let Some(live) = live() else { return };
    let (mut running, mut asks) = keep(&live, &[]);
    for prompt in ["@@text n=2@@", "@@text n=30 delay=0.02@@", "@@text n=4@@"] {
        ask(&mut asks, prompt);
        running.read_to("\"subtype\":\"turn\"");
    }
    drop(asks);
    let lines = running.end().ok().json();
    let fine = ("success", "result success, exit 0", "The quick brown fox ");
    assert_eq!(became(&lines), fine);
    assert_eq!(those(&lines, "start").len(), 1);
    let turns = those(&lines, "turn");
    let texts = texts(&turns);
    assert_eq!((texts[0], texts[2]), ("The quick ", "The quick brown fox "));
    assert!(texts[1].len() > 100, "{}", texts[1]);
    let seconds: Vec<f64> = turns.iter().filter_map(|turn| turn["duration"].as_f64()).collect();
    assert!(seconds[1] >= 0.6 && seconds[2] < seconds[1], "{seconds:?}");
    // Each turn tells its own cost, and exit all of it.
    let costs: Vec<f64> = turns.iter().filter_map(|turn| turn["cost_usd"].as_f64()).collect();
    let totals: Vec<f64> = those(&lines, "result")
        .iter()
        .filter_map(|result| result["total_cost_usd"].as_f64())
        .collect();
    let mut sum = 0.0;
    for (cost, total) in costs.iter().zip(&totals) {
        sum += cost;
        assert!((sum - total).abs() < 1e-9, "{costs:?} {totals:?}");
    }
    assert_eq!((costs.len(), totals.len()), (3, 3));
    let exit = exit_of(&lines);
    assert!(
        (exit["cost_usd"].as_f64().expect("a cost") - sum).abs() < 1e-9,
        "{exit}"
    );
    live.nothing_left();
}

/// Kills the agent while it answers the second of three prompts.
fn killed_midway(live: &Live, options: &[&str]) -> Running {
    let (mut running, mut asks) = keep(live, options);
    ask(&mut asks, "@@text n=2@@");
    running.read_to("\"subtype\":\"turn\"");
    ask(&mut asks, "@@text n=30 delay=0.03@@");
    ask(&mut asks, "@@text n=4@@");
    running.read_to("jumps");
    running.signal_agent(Signal::SIGKILL);
    running
}

#[test]
fn a_killed_one_begins_again_where_it_was() {
    let Some(live) = live() else { return };
    let options = ["--partial", "--retries=1", "--backoff=100ms"];
    let lines = killed_midway(&live, &options).end().ok().json();
    let fine = ("success", "result success, exit 0", "The quick brown fox ");
    assert_eq!(became(&lines), fine);
    let retry = those(&lines, "retry");
    assert_eq!(text(retry[0], "/because"), "killed: ended by SIGKILL");
    let turns = those(&lines, "turn");
    let texts = texts(&turns);
    assert_eq!(
        (texts.len(), texts[0], texts[2]),
        (3, "The quick ", "The quick brown fox ")
    );
    assert!(
        texts[1].ends_with("lazy dog while eight agents stream ") || texts[1].len() > 100,
        "{}",
        texts[1]
    );
    let starts = those(&lines, "start");
    assert_eq!((starts.len(), &starts[0]["session_id"]), (2, &starts[1]["session_id"]));
    assert_eq!(exit_of(&lines)["attempts"], 2);
    live.nothing_left();
}

#[test]
fn a_killed_one_tells_what_nobody_answered() {
    let Some(live) = live() else { return };
    let lines = killed_midway(&live, &["--partial"]).end().exits(137).json();
    assert_eq!((became(&lines).0, became(&lines).1), ("killed", "ended by SIGKILL"));
    let exit = exit_of(&lines);
    let unanswered = [
        "a prompt that nobody answered: @@text n=30 delay=0.03@@",
        "a prompt that nobody answered: @@text n=4@@",
    ];
    assert_eq!(exit["warnings"], serde_json::json!(unanswered), "{exit}");
    live.nothing_left();
}
