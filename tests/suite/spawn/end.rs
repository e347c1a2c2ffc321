//! How it ended: outcomes and exit codes.

use super::*;

#[test]
fn the_exit_code_tells_how_it_ended() {
    let cases: [(&[&str], i32, &str); 9] = [
        (&["x", "--", "true"], 0, "success"),
        (&["x", "--", "sh", "-c", "exit 7"], 7, "failed"),
        (&["x", "--", "sh", "-c", "kill -9 $$"], 137, "killed"),
        (&["x", "--", "sh", "-c", "kill -TERM $$"], 143, "killed"),
        (&["x", "--", "sh", "-c", "exit 130"], 130, "killed"),
        (&["x", "-t", "0.1", "--", "sleep", "300"], 124, "timeout"),
        (&["x", "--idle", "0.1", "--", "sleep", "300"], 124, "idle"),
        (&["x", "--", "/dev/null"], 126, "unstartable"),
        (&["x", "--", "/nonexistent/command"], 127, "unstartable"),
    ];
    for (args, code, outcome) in cases {
        let done = spawn(args).exits(code);
        let exit = exit(&done);
        assert_eq!(exit["outcome"], outcome, "{args:?}");
        assert_ne!(exit["because"], "", "{args:?}");
        let starts = of(&done.json(), "start");
        assert_eq!(starts.len(), 1, "{args:?}");
    }
}

#[test]
fn code_and_signal_are_the_workers_own() {
    let exited = exit(&spawn(&["x", "--", "sh", "-c", "exit 7"]));
    assert_eq!((&exited["code"], &exited["signal"]), (&7.into(), &Value::Null));
    let killed = exit(&spawn(&["x", "--", "sh", "-c", "kill -9 $$"]));
    assert_eq!((&killed["code"], &killed["signal"]), (&Value::Null, &"SIGKILL".into()));
    assert_eq!(killed["because"], "ended by SIGKILL");
}

#[test]
fn a_signal_without_a_name_ends_it_too() {
    let done = spawn(&["x", "--", "bash", "-c", "kill -34 $$"]).exits(128 + 34);
    assert_eq!(exit(&done)["signal"], "signal 34");
}

#[test]
fn what_could_not_be_started_says_why() {
    let scratch = scratch();
    let script = scratch.path().join("script");
    std::fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 5] = [
        (
            &["x", "--", "no-such-command"],
            127,
            "no-such-command: no such file or directory",
        ),
        (&["x", "--", "/dev/null"], 126, "/dev/null: permission denied"),
        (&["x", "--", "/tmp"], 126, "/tmp: permission denied"),
        (
            &["x", "--", script],
            127,
            &format!("{script}: no such file or directory"),
        ),
        (
            &["x", "-C", "/nonexistent", "--", "true"],
            127,
            "-C /nonexistent: no such file or directory",
        ),
    ];
    for (args, code, because) in cases {
        let done = spawn(args).exits(code);
        assert_eq!(exit(&done)["because"], because);
        assert_eq!(done.err, format!("cl-spawn: {because}\n"));
        assert_eq!(done.json()[0].get("pid"), None);
    }
}

#[test]
fn misuse_is_125_in_one_line() {
    let cases: [&[&str]; 16] = [
        &[],
        &["a b", "--", "true"],
        &["..", "--", "true"],
        &["a//b", "--", "true"],
        &["é", "--", "true"],
        &["x", "--no-such-option", "--", "true"],
        &["x", "-t", "soon", "--", "true"],
        &["x", "--max-line", "0", "--", "true"],
        &["x", "-n", "20", "--", "true"],
        &["x", "--env", "NOVALUE", "--", "true"],
        &["x", "--agent", "hal", "hi"],
        &["x", "--agent", "plain", "hi"],
        &["x", "--model", "m", "--", "true"],
        &["x", "--arg", "a", "--", "true"],
        &["x", "--stdin", "/nonexistent", "--", "true"],
        &["x", "--stdin", "null", "PROMPT", "--", "true"],
    ];
    for args in cases {
        let done = spawn(args).exits(125);
        assert_eq!(
            (done.text(), done.err.lines().count()),
            ("", 1),
            "{args:?}: {}",
            done.err
        );
        assert!(done.err.starts_with("cl-spawn: "), "{}", done.err);
    }
    let name = "n".repeat(65);
    spawn(&[&name, "--", "true"]).exits(125);
}

#[test]
fn help_and_version() {
    let help = spawn(&["--help"]).ok();
    assert!(help.text().contains("Usage: cl-spawn"), "{}", help.text());
    assert!(!help.text().contains('\x1b'));
    assert!(spawn(&["--color=always", "-h"]).ok().text().contains('\x1b'));
    assert!(spawn(&["--version"]).ok().text().starts_with("cl-spawn "));
}

#[test]
fn the_last_of_stderr_stands_in_the_exit() {
    let done = spawn(&["x", "--", "sh", "-c", "echo first >&2; echo why >&2; exit 3"]).exits(3);
    let exit = exit(&done);
    assert_eq!(exit["stderr"], "first\nwhy");
    let long = spawn(&["x", "--", "sh", "-c", "seq 10000 >&2; exit 3"]).exits(3);
    let stderr = super::exit(&long)["stderr"].as_str().unwrap().to_owned();
    assert!(stderr.len() <= 4096 && stderr.ends_with("9999\n10000"), "{stderr}");
}

#[test]
fn it_is_told_what_the_whole_tree_used() {
    let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let done = spawn(&["x", "--", "sh", "-c", &format!("sh -c '{burn}'; true")]).ok();
    let exit = exit(&done);
    assert!(exit["cpu"].as_f64().unwrap() > 0.02, "{exit}");
    assert!(exit["rss"].as_u64().unwrap() > 100_000, "{exit}");
    assert!(exit["duration"].as_f64().unwrap() > 0.0);
}
