//! The log where GitHub Actions reads it.

use super::*;

/// cl-progress amid a pipe, as a step of a workflow or not.
fn logs(lines: &str, actions: &str, more: &[&str]) -> String {
    let mut tool = command(tool("cl-progress"));
    tool.env("GITHUB_ACTIONS", actions)
        .args(["--progress", "plain"])
        .args(more);
    let done = finish(tool, lines.as_bytes());
    assert_eq!(done.code(), 0, "{}", done.err);
    if more.is_empty() {
        done.err
    } else {
        done.text().to_owned()
    }
}

/// What the runner takes as commands: `::name …` at the beginning, white space aside, and `##[name …]` anywhere.
fn commands(log: &str) -> Vec<&str> {
    let lines = log.split(['\n', '\r']);
    lines
        .filter(|line| line.trim_start().starts_with("::") || line.contains("##["))
        .collect()
}

fn ended(stream: &str, outcome: &str, because: &str, text: &str) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("a string");
    let (because, text) = (quoted(because), quoted(text));
    let exit =
        format!(r#""type":"cl","subtype":"exit","outcome":"{outcome}","because":{because},"text":{text},"duration":2"#);
    start(stream) + &line(stream, 2, &exit)
}

#[test]
fn answers_are_groups_and_failures_annotations() {
    let lines = ended("good", "success", "result success", "one\n\ntwo")
        + &ended("a/bad", "failed", "100% wrong: exit 3, really", "")
        + &ended("gone", "cancelled", "SIGINT", "");
    for more in [&[][..], &["--once"]] {
        let log = logs(&lines, "true", more);
        let expected = [
            "::group::good: its answer",
            "::endgroup::",
            "::error title=a/bad%3A failed::100%25 wrong: exit 3, really",
        ];
        assert_eq!(commands(&log), expected, "{log}");
        assert!(
            log.contains("::group::good: its answer\n| one\n| \n| two\n::endgroup::\n"),
            "{log}"
        );
        let log = logs(&lines, "false", more);
        assert_eq!(commands(&log), [""; 0], "{log}");
        // The day, a line for each start and end, and what all of it came to.
        assert_eq!(log.lines().count(), if more.is_empty() { 8 } else { 5 }, "{log}");
    }
}

#[test]
fn a_worker_gives_no_commands() {
    let evil = "::error::x\n  ::add-mask::y\r::stop-commands::z\n##[error]a ##[add-mask]b #\u{200b}#[x]c\u{2028}::warning::d\
                \u{1b}[2K\r\n\t::debug::e\u{85}::notice::f ###[g]";
    let lines =
        ended("a", "failed", evil, evil) + &says("b", 1, evil) + &ended("c", "success", evil, &format!("x{evil}"));
    for more in [&[][..], &["--once"]] {
        let log = logs(&lines, "true", more);
        let found = commands(&log);
        let mut expected = vec![
            "::group::a:",
            "::endgroup::",
            "::error title=a%3A failed::",
            "::group::c:",
            "::endgroup::",
        ];
        // Its end is not told, so it is lost.
        let lost = ["::group::b:", "::endgroup::", "::error title=b%3A lost::"];
        let at = if more.is_empty() { 5 } else { 3 };
        expected.splice(at..at, lost);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (command, expected) in found.iter().zip(expected) {
            assert!(command.starts_with(expected), "{command}");
        }
        assert!(
            !log.contains("##") && !log.contains(['\u{1b}', '\u{85}', '\u{2028}', '\r', '\t']),
            "{log}"
        );
    }
}

#[test]
fn a_long_answer_is_not_shown_whole() {
    let log = logs(&ended("a", "success", "x", &"line\n".repeat(5000)), "true", &[]);
    assert_eq!(log.matches("| line\n").count(), 200);
    assert!(log.contains("\n(4800 more lines)\n::endgroup::\n"));
}

#[test]
fn a_failure_tells_its_last_words() {
    let stderr: String = (0..40).map(|i| format!("{i} ##[error]e %0A::error::x\n")).collect();
    let exit = format!(
        r#""type":"cl","subtype":"exit","outcome":"failed","because":"exit 1","stderr":{},"text":"an answer""#,
        serde_json::to_string(&stderr).expect("a string")
    );
    let lines = start("a") + &line("a", 2, &exit) + &ended("b", "error", "refused", "why\n\nthat is");
    for more in [&[][..], &["--once"]] {
        let log = logs(&lines, "true", more);
        assert_eq!(log.matches("  | ").count(), 10, "{log}");
        assert!(log.contains("\n  | 39 # # [error]e %0A::error::x\n"), "{log}");
        let found = commands(&log);
        assert_eq!(found.len(), 6, "{found:#?}");
        let annotation = "::error title=a%3A failed::exit 1 (stderr: 39 # # [error]e %250A::error::x)";
        assert!(found.contains(&annotation), "{found:#?}");
        let log = logs(&lines, "", more);
        assert!(log.contains("\n  | 39 ##[error]e %0A::error::x\n"), "{log}");
        // Without a group for the answer, what an agent said last stands here.
        assert!(log.contains("\n  | why\n  | that is\n"), "{log}");
        let last = log.lines().last().expect("a line");
        assert!(last.contains(" 2 streams: 1 failed, 1 error ("), "{last}");
    }
}
