//! What was asked for arrives whole, and is called what it is.

use super::{became, ends, exit_of, live, those};
use crate::harness::{finish, text};

#[test]
fn a_plain_answer() {
    let Some(live) = live() else { return };
    let lines = live.run(&["hi @@text n=5@@"]).ok().json();
    ends(&lines, "success", "The quick brown fox jumps ");
    let exit = exit_of(&lines);
    assert_eq!(
        (&exit["whole"], &exit["code"], &exit["orphans"]),
        (&true.into(), &0.into(), &0.into()),
        "{exit}"
    );
    assert_eq!(text(exit, "/session_id").len(), 36);
    assert!(exit["usage"]["input"].as_u64() > Some(0), "{exit}");
    live.nothing_left();
}

#[test]
fn token_by_token() {
    let Some(live) = live() else { return };
    let lines = live.run(&["--partial", "hi @@text n=5@@"]).ok().json();
    ends(&lines, "success", "The quick brown fox jumps ");
    let deltas = lines.iter().filter_map(|line| line["event"]["delta"]["text"].as_str());
    assert_eq!(deltas.collect::<String>(), "The quick brown fox jumps ");
}

#[test]
fn a_prompt_of_any_length_on_stdin() {
    let Some(live) = live() else { return };
    let prompt = format!("{} @@text n=2@@", "many words ".repeat(140_000));
    let lines = finish(live.spawn(&[]), prompt.as_bytes()).ok().json();
    ends(&lines, "success", "The quick ");
}

#[test]
fn tools_are_what_was_asked_for() {
    let Some(live) = live() else { return };
    let made = live.home.path().join("work/made");
    let prompt = r#"x @@bash cmd="mkdir made"@@"#;
    for (list, there, permitted) in [
        ("", "[]", false),
        ("Read", r#"["Read"]"#, false),
        ("Read,Bash(touch *)", r#"["Bash","Read"]"#, false),
        ("Bash(mkdir *)", r#"["Bash"]"#, true),
        ("Read,Bash", r#"["Bash","Read"]"#, true),
    ] {
        let lines = live.run(&["--tools", list, prompt]).ok().json();
        let init = lines
            .iter()
            .find(|line| text(line, "/subtype") == "init")
            .expect("an init");
        assert_eq!(init["tools"].to_string(), there);
        assert_eq!(std::fs::remove_dir(&made).is_ok(), permitted, "{list}");
    }
}

#[test]
fn two_megabytes_for_a_reader_that_sleeps() {
    let Some(live) = live() else { return };
    let script = "set -o pipefail; cl-spawn main 'x @@big size=2000000@@' | $FIXTURE reader after=100 pause=25";
    let lines = live.bash(script).ok().json();
    let exit = exit_of(&lines);
    assert_eq!(text(exit, "/outcome"), "success", "{}", text(exit, "/because"));
    assert_eq!(text(exit, "/text").len(), 2_000_000);
    let result = lines.iter().find(|line| line["type"] == "result").expect("a result");
    assert_eq!(text(result, "/result").len(), 2_000_000);
}

#[test]
fn a_sub_agent_in_the_background_is_waited_for() {
    let Some(live) = live() else { return };
    let lines = live.run(&[r#"x @@task bg=1 sub="text n=3 delay=0.5"@@"#]).ok().json();
    ends(&lines, "success", "Recovered and done.");
    let inits = lines.iter().filter(|line| text(line, "/subtype") == "init").count();
    assert!(inits >= 2, "{inits} turns");
    live.nothing_left();
}

#[test]
fn what_a_tool_left_behind_is_ended() {
    let Some(live) = live() else { return };
    let prompt = r#"x @@bash cmd="setsid sleep 300 >/dev/null 2>&1 & echo started"@@"#;
    let lines = live.run(&["--tools", "Bash", prompt]).ok().json();
    let exit = exit_of(&lines);
    assert_eq!(text(exit, "/outcome"), "success", "{exit}");
    assert!(exit["orphans"].as_u64() >= Some(1), "{exit}");
    live.nothing_left();
}

#[test]
fn what_runs_in_the_background_is_waited_for() {
    let Some(live) = live() else { return };
    let prompt = r#"x @@bash cmd="sleep 2; touch finished" bg=1@@"#;
    let lines = live.run(&["--tools", "Bash", prompt]).ok().json();
    let fine = ("success", "result success, exit 0", "Recovered and done.");
    assert_eq!(became(&lines), fine);
    // The first result came while it ran.
    assert_eq!(those(&lines, "result").len(), 2);
    let exit = exit_of(&lines);
    assert_eq!(
        text(exit, "/warnings/0"),
        "2 results, of which the last one counts",
        "{exit}"
    );
    assert!(live.home.path().join("work/finished").exists());
    live.nothing_left();
}
