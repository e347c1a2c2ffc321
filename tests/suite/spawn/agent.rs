//! Agents: how they are started, and how their lines tell what became of them.

use super::*;

/// A folder with a `claude` in it that does as its prompt says, for the front of PATH.
pub fn claudes() -> tempfile::TempDir {
    let folder = scratch();
    std::os::unix::fs::symlink(fixture(), folder.path().join("claude")).expect("links");
    folder
}

pub fn with(folder: &tempfile::TempDir, args: &[&str]) -> Command {
    let mut command = command(tool("cl-spawn"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env(
        "PATH",
        format!("{}:{}:{path}", folder.path().display(), bin_dir().display()),
    );
    command.args(args);
    command
}

/// Asks the claude-like worker; gives how it ended.
fn ask(options: &[&str], directive: &str) -> Done {
    let prompt = format!("please @@as {directive}@@");
    finish(with(&claudes(), &[&["x"], options, &[prompt.as_str()]].concat()), b"")
}

#[test]
fn a_result_is_the_answer() {
    let done = ask(&[], "n=2").ok();
    let (start, exit) = (done.json().remove(0), exit(&done));
    assert_eq!(
        (text(&start, "/agent"), text(&start, "/prompt")),
        ("claude", "please @@as n=2@@")
    );
    assert_eq!(
        (start["limits"]["idle"].as_f64(), start["limits"]["linger"].as_f64()),
        (Some(600.0), Some(10.0))
    );
    assert_eq!(
        (text(&exit, "/outcome"), text(&exit, "/text")),
        ("success", "Part 1 xxxxx")
    );
    assert_eq!((&exit["turns"], &exit["cost_usd"]), (&1.into(), &0.01.into()));
    assert_eq!(exit["usage"]["output"], 5);
    assert!(exit["session_id"].is_string());
}

#[test]
fn a_prompt_may_come_on_stdin() {
    let done = finish(with(&claudes(), &["x"]), b"@@as n=1@@").ok();
    assert_eq!(exit(&done)["outcome"], "success");
}

#[test]
fn how_an_agent_really_ended() {
    for (directive, code, outcome) in [
        ("result=error", 1, "error"),
        ("result=error exit=0", 1, "error"),
        ("result=none", 1, "incomplete"),
        ("result=none exit=3", 3, "failed"),
        ("torn=1", 1, "truncated"),
        ("background=build", 1, "incomplete"),
        ("signal=9", 137, "killed"),
        ("exit=143", 143, "killed"),
    ] {
        let done = ask(&[], directive).exits(code);
        assert_eq!(exit(&done)["outcome"], outcome, "{directive}");
    }
    let denied = ask(&[], "denied=Write").ok();
    assert_eq!(exit(&denied)["denials"][0]["tool"], "Write");
    let background = ask(&[], "background=build").exits(1);
    assert_eq!(exit(&background)["pending"], serde_json::json!(["build"]));
}

#[test]
fn an_agent_that_lives_on_after_its_result_is_judged_by_it() {
    let done = ask(&["--linger", "0.2"], "linger=300").ok();
    let lines = done.json();
    assert_eq!(of(&lines, "stop")[0]["because"], "linger");
    assert_eq!(exit(&done)["outcome"], "success");
    let deaf = ask(&["--linger", "0.2", "-k", "0.1"], "linger=300 deaf=1").ok();
    assert_eq!(exit(&deaf)["signal"], "SIGKILL");
}

#[test]
fn the_gentle_way_lets_it_write_its_result() {
    let claudes = claudes();
    let mut running = Running::begin(with(&claudes, &["x", "-t", "1s", "@@as hang=1@@"]));
    let stop = running.until("stop");
    assert_eq!(stop["with"], serde_json::json!(["SIGINT", "SIGTERM", "SIGKILL"]));
    assert_eq!(running.line()["subtype"], "error_during_execution");
    let done = running.end().exits(124);
    assert_eq!(exit(&done)["code"], 0);
}

#[test]
fn a_silent_agent_is_idle() {
    let done = ask(&["--idle", "0.3"], "hang=1").exits(124);
    assert_eq!(exit(&done)["outcome"], "idle");
}

#[test]
fn a_command_is_known_by_its_name_or_by_its_first_line() {
    let claudes = claudes();
    let named = finish(with(&claudes, &["x", "@@as n=1@@", "--", "claude"]), b"").ok();
    assert_eq!(named.json()[0]["agent"], "claude");
    let script = "exec claude";
    let auto = finish(
        with(&claudes, &["x", "@@as result=error exit=0@@", "--", "sh", "-c", script]),
        b"",
    )
    .exits(1);
    assert_eq!(auto.json()[0]["agent"], "auto");
    assert_eq!(exit(&auto)["outcome"], "error");
    let plain = [
        "x",
        "--agent",
        "plain",
        "@@as result=error exit=0@@",
        "--",
        "sh",
        "-c",
        script,
    ];
    let plain = finish(with(&claudes, &plain), b"").ok();
    assert_eq!(exit(&plain)["outcome"], "success");
    // Its own limits come with what it turns out to be.
    let late = ["x", "--linger", "0.2", "@@as linger=300@@", "--", "sh", "-c", script];
    finish(with(&claudes, &late), b"").ok();
}

#[test]
fn options_are_handed_on_in_the_agents_words() {
    let options = [
        "--model",
        "opus",
        "--tools",
        "Read",
        "--system",
        "be brief",
        "--partial",
        "--arg",
        "--max-turns=3",
    ];
    let done = spawn(&[&["x", "--dry-run"], &options[..], &["hi"]].concat()).ok();
    for word in [
        "--model=opus",
        "--tools=Read",
        "'--append-system-prompt=be brief'",
        "--include-partial-messages",
        "--max-turns=3",
    ] {
        assert!(done.text().contains(word), "{word}: {}", done.text());
    }
    for agent in ["claude", "codex", "gemini", "qwen", "opencode"] {
        let done = spawn(&["x", "--agent", agent, "-m", "m", "--dry-run", "hi"]).ok();
        assert!(done.text().contains(&format!(" {agent} ")), "{}", done.text());
    }
    assert_eq!(
        spawn(&["x", "--agent", "opencode", "--system", "s", "hi"])
            .exits(125)
            .err,
        "cl-spawn: --system: opencode has no word for it; put it into the prompt\n"
    );
    let partial = ask(&["--partial"], "n=1").ok();
    assert!(partial.json().iter().any(|line| line["type"] == "stream_event"));
}

#[test]
fn a_recording_is_played_as_an_agent() {
    let folder = scratch();
    let recorded = ask(&[], "n=2").ok();
    std::fs::write(folder.path().join("main.ndjson"), &recorded.out).unwrap();
    let agent = format!("replay:{}", folder.path().display());
    let done = spawn(&["main", "--agent", &agent, "--arg", "--speed=max"]).ok();
    assert_eq!(unwrapped(&done.out), unwrapped(&recorded.out));
    assert_eq!(exit(&done)["text"], exit(&recorded)["text"]);
    spawn(&["main", "--agent", &agent, "--model", "m"]).exits(125);
}

#[test]
fn a_slow_reader_loses_no_line_of_an_agent() {
    let claudes = claudes();
    let mut running = Running::begin(with(&claudes, &["x", "@@as n=40 size=100000@@"]));
    let worker = running.worker();
    until("its end", || (!alive(worker)).then_some(()));
    let done = running.end().exits(0);
    let texts = done.json().iter().filter(|line| line["type"] == "assistant").count();
    assert_eq!(texts, 40);
    assert_eq!(exit(&done)["outcome"], "success");
}
