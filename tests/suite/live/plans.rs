//! A plan of real agents: an orchestra that is enough before all have spoken, and one that is killed and goes on.

use super::{Live, Running, scripted, those};
use crate::harness::{finish, json_lines, text, tool, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

/// An orchestra as it is, but that its supporting answers are as urgent as what runs beside these tests, and are waited
/// for longer.
const RUN: &str = "cl-plan orchestra 'Why is the build slow?' > made.toml
    sed -e 's/^grace = .*/grace = \"60s\"/' -e 's/^jobs = .*/&\\n[defaults]\\npriority = 1/' made.toml > plan.toml
    exec cl-run --run run plan.toml";

/// Two answer, of which main leaves something behind; two would go on for ever, one of them in silence.
fn orchestra() -> Option<Live> {
    let leave = "setsid sleep 300 >/dev/null 2>&1 & echo left behind";
    scripted(&json!([
        { "when": "Describe only what", "do": "@@text n=4@@" },
        { "when": "Name up to five alternatives", "do": "@@text n=30000 delay=0.05@@" },
        { "when": "Say how to check an answer", "do": "@@hang after=3@@" },
        { "when": "Why is the build slow?", "rounds": [
            [{ "tool": "Bash", "input": { "command": leave } }],
            [{ "text": "It is the linker." }],
        ] },
    ]))
}

fn bash(live: &Live) -> Command {
    let mut command = live.command("bash");
    command.args(["-c", RUN]);
    command
}

/// How each stream has ended, and its answer.
fn ends(lines: &[Value]) -> BTreeMap<&str, (&str, &str)> {
    let exits = those(lines, "exit").into_iter();
    exits
        .map(|exit| (text(exit, "/cl/stream"), (text(exit, "/outcome"), text(exit, "/text"))))
        .collect()
}

/// Asserts what the orchestra comes to.
#[track_caller]
fn met(live: &Live, lines: &[Value]) {
    let ends = ends(lines);
    assert_eq!(ends["main"], ("success", "It is the linker."));
    assert_eq!(ends["context"], ("success", "The quick brown fox "));
    let others = ends.iter().filter(|(name, _)| !["main", "context"].contains(name));
    others.for_each(|(name, end)| assert_eq!(end.0, "cancelled", "{name}"));
    live.nothing_left();
    let journal = std::fs::read(live.home.path().join("work/run/journal")).expect("a journal");
    let last = json_lines(&journal).pop().expect("a last act");
    assert_eq!((text(&last, "/act"), text(&last, "/verdict")), ("finish", "met"));
}

#[test]
fn an_orchestra_ends_when_it_is_enough() {
    let Some(live) = orchestra() else { return };
    let done = finish(bash(&live), b"").ok();
    let lines = done.json();
    met(&live, &lines);
    assert_eq!(ends(&lines).len(), 4, "who is stopped tells so");
    // The gentle way: all had the time for a result of their own.
    for stop in those(&lines, "stop") {
        assert_eq!(text(stop, "/with/0"), "SIGINT", "{stop}");
    }
}

#[test]
fn a_killed_orchestra_goes_on() {
    let Some(live) = orchestra() else { return };
    let mut running = Running::start(bash(&live), Stdio::null());
    // Somebody has answered, and somebody speaks.
    running.read_to("\"subtype\":\"exit\"");
    running.signal(Signal::SIGKILL);
    running.end().exits(137);
    until("everything to be gone", || live.alive().is_empty().then_some(()));
    let mut again = live.command(tool("cl-run"));
    again.args(["--resume", "run"]);
    let lines = finish(again, b"").ok().json();
    met(&live, &lines);
    let journal = std::fs::read_to_string(live.home.path().join("work/run/journal")).expect("a journal");
    let answered = |stream: &str| {
        let end = format!("\"stream\":\"{stream}\",\"outcome\":\"success\"");
        journal.matches(&end).count()
    };
    assert_eq!((answered("main"), answered("context")), (1, 1), "{journal}");
}
