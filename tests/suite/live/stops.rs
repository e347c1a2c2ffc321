//! Silence, deadlines, signals, and a reader that goes away.

use super::{Live, Running, became, exit_of, live, those};
use crate::harness::{Done, text, until};
use nix::sys::signal::Signal;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn silence_is_noticed() {
    let Some(live) = live() else { return };
    let lines = live.run(&["--idle", "3s", "x @@hang after=3@@"]).exits(124).json();
    assert_eq!(became(&lines).0, "idle");
    assert_eq!(became(&lines).1, "no sign of life, exit 0");
    live.nothing_left();
}

#[test]
fn a_deadline_is_kept_and_what_was_written_stays() {
    let Some(live) = live() else { return };
    let begin = Instant::now();
    let lines = live
        .run(&["-t", "4s", "--partial", "x @@hang after=3@@"])
        .exits(124)
        .json();
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(
        became(&lines),
        ("timeout", "stopped at the timeout, exit 0", "part0 part1 part2 ")
    );
    live.nothing_left();
}

/// Starts a claude, and waits for a line that holds these words.
fn until_it_says(live: &Live, args: &[&str], words: &str) -> Running {
    let mut running = Running::start(live.spawn(args), Stdio::null());
    running.read_to(words);
    running
}

/// Interrupts such a one by a signal to cl-spawn.
fn interrupted(live: &Live, prompt: &str, words: &str, signal: Signal) -> (Done, Duration) {
    let running = until_it_says(live, &["--partial", prompt], words);
    let begin = Instant::now();
    running.signal(signal);
    (running.end(), begin.elapsed())
}

#[test]
fn told_to_stop_midstream() {
    let Some(live) = live() else { return };
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let (done, took) = interrupted(&live, "x @@text n=3000 delay=0.05@@", "text_delta", signal);
        let lines = done.exits(code).json();
        let (outcome, because, _) = became(&lines);
        assert_eq!(
            (outcome, because),
            ("cancelled", format!("told to stop by {signal}, exit 0").as_str())
        );
        let stop = those(&lines, "stop")[0];
        assert_eq!(text(stop, "/with/0"), "SIGINT", "{stop}");
        // The gentle way: claude had the time for a result of its own.
        let result = those(&lines, "result")[0];
        assert!(text(result, "/terminal_reason").starts_with("aborted"), "{result}");
        assert!(took < Duration::from_secs(5), "{signal}: {took:?}");
        live.nothing_left();
    }
}

#[test]
fn told_to_stop_while_a_tool_runs() {
    let Some(live) = live() else { return };
    let (done, took) = interrupted(
        &live,
        r#"x @@bash cmd="touch running; sleep 300"@@"#,
        "\"tool_use\"",
        Signal::SIGTERM,
    );
    let lines = done.exits(143).json();
    assert_eq!(text(exit_of(&lines), "/outcome"), "cancelled");
    assert!(took < Duration::from_secs(12), "{took:?}");
    live.nothing_left();
}

#[test]
fn killed_while_a_tool_runs() {
    let Some(live) = live() else { return };
    let running = live.home.path().join("work/running");
    let prompt = r#"x @@bash cmd="touch running; setsid sleep 300 & nohup sleep 300 & sleep 300"@@"#;
    let mut child = live
        .spawn(&["--tools", "Bash", prompt])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    until("the tool to run", || running.exists().then_some(()));
    until("the three sleeps", || {
        (live
            .alive()
            .iter()
            .filter(|process| process.contains("sleep 300"))
            .count()
            >= 3)
            .then_some(())
    });
    child.kill().expect("kills");
    let begin = Instant::now();
    until("everything to be gone", || live.alive().is_empty().then_some(()));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    child.wait().expect("waits");
}

#[test]
fn a_reader_that_goes_away_stops_it() {
    let Some(live) = live() else { return };
    let begin = Instant::now();
    let script = "cl-spawn main --partial 'x @@text n=3000 delay=0.05@@' | head -n 6 >/dev/null; echo ${PIPESTATUS[0]}";
    assert_eq!(live.bash(script).ok().text(), "141\n");
    assert!(begin.elapsed() < Duration::from_secs(20));
    live.nothing_left();
}

/// A signal that somebody else sends to claude itself.
#[test]
fn what_happens_to_the_agent_itself() {
    let Some(live) = live() else { return };
    for (signal, outcome, code, why) in [
        (Signal::SIGKILL, "killed", 137, "ended by SIGKILL"),
        (Signal::SIGTERM, "killed", 143, "exit 143, as SIGTERM gives"),
        (Signal::SIGHUP, "killed", 129, "exit 129, as SIGHUP gives"),
        (Signal::SIGINT, "cancelled", 130, "the agent was interrupted, exit 0"),
    ] {
        let running = until_it_says(&live, &["--partial", "x @@text n=3000 delay=0.05@@"], "quick");
        running.signal_agent(signal);
        let lines = running.end().exits(code).json();
        let (ended, because, answer) = became(&lines);
        assert_eq!((ended, because), (outcome, why));
        assert!(answer.starts_with("The quick "), "{answer}");
        assert!(those(&lines, "stop").is_empty());
        live.nothing_left();
    }
}

#[test]
fn an_agent_killed_while_a_tool_runs_leaves_no_tool() {
    let Some(live) = live() else { return };
    let run = live.home.path().join("work/running");
    let prompt = r#"x @@bash cmd="touch running; setsid sleep 300 & sleep 300"@@"#;
    let running = until_it_says(&live, &["--tools", "Bash", prompt], "\"tool_use\"");
    until("the tool to run", || run.exists().then_some(()));
    running.signal_agent(Signal::SIGKILL);
    let lines = running.end().exits(137).json();
    let exit = exit_of(&lines);
    assert_eq!(became(&lines).0, "killed");
    assert!(exit["orphans"].as_u64() >= Some(2), "{exit}");
    live.nothing_left();
}
