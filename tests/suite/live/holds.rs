//! One limit, all wait; and a refused key stops new starts.

use super::{Live, Running, became, exit_of, live, those};
use crate::harness::{finish, text, tool};
use std::process::{Command, Stdio};

/// A start by a subscriber: only to those claude tells a usage limit.
fn subscriber(live: &Live, name: &str, args: &[&str]) -> Command {
    let mut command = live.command(tool("cl-spawn"));
    command
        .env_remove("ANTHROPIC_API_KEY")
        .env("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-scripted")
        .arg(name)
        .args(args);
    command
}

#[test]
fn one_limit_all_wait() {
    let Some(live) = live() else { return };
    let begin = subscriber(&live, "first", &["--retries=1", "x @@limit secs=6@@"]);
    let mut first = Running::start(begin, Stdio::null());
    let resets_at = first.read_to("\"subtype\":\"limit\"")["resets_at"].as_f64();
    let resets_at = resets_at.expect("a time");
    first.read_to("\"subtype\":\"retry\"");
    // What is asked while the limit holds would be refused, and none has a retry to spend.
    let others: Vec<Running> = ["second", "third", "fourth"]
        .into_iter()
        .map(|name| Running::start(subscriber(&live, name, &["x @@text n=3@@"]), Stdio::null()))
        .collect();
    for other in others {
        let lines = other.end().ok().json();
        let held = &lines[0];
        assert_eq!(
            (text(held, "/subtype"), text(held, "/status")),
            ("limit", "held"),
            "{held}"
        );
        assert_eq!(held["resets_at"].as_f64(), Some(resets_at));
        let start = those(&lines, "start")[0];
        assert!(start["cl"]["ts"].as_f64() >= Some(resets_at), "{start}");
        assert!(those(&lines, "retry").is_empty());
        let exit = lines.last().expect("lines");
        assert_eq!(
            (text(exit, "/outcome"), &exit["attempts"]),
            ("success", &1.into()),
            "{exit}"
        );
    }
    let lines = first.end().ok().json();
    assert_eq!(became(&lines).0, "success", "{}", exit_of(&lines));
    let retry = those(&lines, "retry")[0];
    assert_eq!(
        text(retry, "/because"),
        format!("limit: a usage limit until {resets_at:.0}, exit 1")
    );
    // It waited, and no retry was spent.
    assert_eq!((&retry["attempt"], &retry["of"]), (&2.into(), &3.into()), "{retry}");
    live.nothing_left();
}

#[test]
fn a_refused_key_stops_new_starts() {
    let Some(live) = live() else { return };
    let refuse = "x @@err status=401@@";
    let mut ask = live.spawn(&["--retries=3", refuse]);
    ask.env("CLAUDE_CODE_MAX_RETRIES", "0");
    let lines = finish(ask, b"").exits(77).json();
    assert_eq!((became(&lines).0, &exit_of(&lines)["attempts"]), ("auth", &1.into()));
    // Another start is refused, and says the way out.
    let refused = live.run(&["hi"]).exits(77);
    let why = "the key was refused when 'alone' used it; log in, or start with --anyway";
    assert_eq!(refused.err, format!("cl-spawn: {why}\n"));
    let lines = refused.json();
    let exit = lines.last().expect("an exit");
    assert_eq!((text(exit, "/outcome"), text(exit, "/because")), ("auth", why));
    assert!(those(&lines, "start").is_empty());
    // A person says so, and its success releases the others.
    live.run(&["--anyway", "hi"]).ok();
    live.run(&["hi"]).ok();
    live.nothing_left();
}
