//! Roles: what they fill in, in which order, and the frame around the prompt.

use crate::harness::*;
use std::path::Path;
use std::process::Command;

/// cl-spawn in a folder of its own, with a `claude` on PATH that says as text what it was given on stdin.
fn spawn(folder: &Path, args: &[&str]) -> Command {
    use std::os::unix::fs::PermissionsExt;
    let claude = folder.join("claude");
    std::fs::write(&claude, "#!/bin/sh\nprintf 'asked: '; cat; echo\n").unwrap();
    std::fs::set_permissions(&claude, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", bin_dir().display(), folder.display());
    let mut command = command(tool("cl-spawn"));
    command
        .args(args)
        .current_dir(folder)
        .env("PATH", path)
        .env("XDG_CONFIG_HOME", folder.join("config"));
    command
}

fn dry(folder: &Path, args: &[&str]) -> String {
    finish(spawn(folder, &[&["--dry-run"], args].concat()), b"")
        .ok()
        .text()
        .to_owned()
}

/// What the worker was asked, and the stream's `start`.
fn asked(folder: &Path, args: &[&str]) -> (String, serde_json::Value) {
    let lines = finish(spawn(folder, args), b"").ok().json();
    let said: Vec<&str> = lines
        .iter()
        .filter(|line| text(line, "/subtype") == "text")
        .map(|line| text(line, "/text"))
        .collect();
    (said.join("\n"), lines[0].clone())
}

#[test]
fn the_list_says_where_each_comes_from() {
    let folder = scratch();
    std::fs::write(
        folder.path().join("cl.toml"),
        "[role.main]\ntimeout = '20s'\n[role.mine]\nabout = 'mine alone'\n",
    )
    .unwrap();
    let done = finish(spawn(folder.path(), &["--roles"]), b"").ok();
    let line = |name: &str| {
        done.text()
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap()
            .to_owned()
    };
    assert!(
        line("main").contains("20s") && line("main").ends_with("(built-in, cl.toml)"),
        "{}",
        line("main")
    );
    assert!(line("mine").ends_with("mine alone (cl.toml)"));
    assert!(line("validation").contains("none"));
    assert!(line("specialists.validation").contains("Bash,Read"));
}

#[test]
fn a_name_that_is_a_role_plays_it() {
    let folder = scratch();
    let line = dry(folder.path(), &["context", "q"]);
    for word in [
        "CL_ROLE=context",
        "CLAUDE_TASK_TYPE=context",
        "--tools=Read,Glob",
        "--allowedTools=Read,Glob",
    ] {
        assert!(line.contains(word), "{line}");
    }
    assert!(
        dry(folder.path(), &["validation", "q"]).contains("--tools= "),
        "no tools at all"
    );
    assert!(!dry(folder.path(), &["nobody", "q"]).contains("CL_ROLE"));
    assert!(dry(folder.path(), &["nobody", "--role", "context", "q"]).contains("CL_ROLE=context"));
    assert!(dry(folder.path(), &["x", "--role", "specialists.validation", "q"]).contains("--tools=Bash,Read"));
    let (prompt, start) = asked(folder.path(), &["context", "the question"]);
    assert!(
        prompt.contains("Someone else answers") && prompt.ends_with("\nthe question"),
        "{prompt}"
    );
    assert_eq!(
        (text(&start, "/role"), &start["priority"]),
        ("context", &serde_json::json!(2))
    );
    assert_eq!(start["prompt"].as_str().unwrap(), prompt.trim_start_matches("asked: "));
}

#[test]
fn what_comes_later_wins() {
    let folder = scratch();
    let write = |name: &str, timeout: &str| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, format!("[role.main]\ntimeout = '{timeout}'\n")).unwrap();
    };
    let timeout = |more: &[&str]| {
        let (_, start) = asked(folder.path(), &[&["main", "q"], more].concat());
        start["limits"]["timeout"].as_f64()
    };
    assert_eq!(timeout(&[]), None);
    write("config/cl/roles.toml", "41s");
    assert_eq!(timeout(&[]), Some(41.0));
    write("cl.toml", "42s");
    assert_eq!(timeout(&[]), Some(42.0));
    write("more.toml", "43s");
    assert_eq!(timeout(&["--config", "more.toml"]), Some(43.0));
    assert_eq!(timeout(&["--config", "more.toml", "-t", "44s"]), Some(44.0));
    // The rest of the role stays as it was.
    assert!(dry(folder.path(), &["main", "q"]).contains("--tools=Read,Grep,Bash"));
}

#[test]
fn a_command_plays_a_role_only_when_asked_to() {
    let folder = scratch();
    let show = ["--", "sh", "-c", "echo \"$CL_ROLE $(nice)\""];
    let (plain, start) = asked(folder.path(), &[&["docs"], &show[..]].concat());
    assert_eq!(
        (plain.as_str(), start.get("role"), start.get("limits")),
        (" 0", None, None)
    );
    let (role, start) = asked(folder.path(), &[&["x", "--role", "docs"], &show[..]].concat());
    assert_eq!(role, "docs 10");
    assert_eq!(start["limits"]["timeout"], 900.0);
    let (nice, _) = asked(
        folder.path(),
        &[&["x", "--role", "docs", "-n", "3"], &show[..]].concat(),
    );
    assert_eq!(nice, "docs 3");
}

#[test]
fn auto_chooses_by_the_words_and_says_why() {
    let folder = scratch();
    let (_, start) = asked(folder.path(), &["x", "--role", "auto", "write tests for the parser"]);
    assert_eq!(
        (text(&start, "/role"), text(&start, "/because")),
        ("test", "the task says tests")
    );
    assert_eq!(start["limits"]["timeout"], 1800.0);
}

#[test]
fn a_frame_takes_files_and_answers() {
    let folder = scratch();
    let roles = "[role.r]\nprompt = '<{{file:notes}}|{{prompt}}|{{streams.quick.text}}>'\n";
    std::fs::write(folder.path().join("cl.toml"), roles).unwrap();
    std::fs::write(folder.path().join("notes"), "{{prompt}} stays").unwrap();
    let refused = finish(spawn(folder.path(), &["r", "q"]), b"").exits(125);
    assert_eq!(
        refused.err,
        "cl-spawn: role r: it builds on the answer of quick; say by --run DIR where that is\n"
    );
    std::fs::create_dir(folder.path().join("run")).unwrap();
    let quick = run("cl-spawn", &["quick", "--", "echo", "forty-two"]).ok();
    std::fs::write(folder.path().join("run/quick.ndjson"), quick.out).unwrap();
    let (prompt, _) = asked(folder.path(), &["r", "--run", "run", "q"]);
    assert_eq!(prompt, "asked: <{{prompt}} stays|q|forty-two>");
}

#[test]
fn what_is_wrong_is_named() {
    let folder = scratch();
    let wrong = |args: &[&str]| finish(spawn(folder.path(), args), b"").exits(125).err;
    assert_eq!(
        wrong(&["x", "--role", "nope", "q"]),
        "cl-spawn: --role nope: no such role; cl-spawn --roles lists them\n"
    );
    assert_eq!(
        wrong(&["main", "--config", "gone.toml", "q"]),
        "cl-spawn: gone.toml: No such file or directory\n"
    );
    std::fs::write(folder.path().join("cl.toml"), "[role.main]\nprmopt = 'x'\n").unwrap();
    assert!(wrong(&["main", "q"]).starts_with("cl-spawn: cl.toml:2: unknown field `prmopt`"));
    // Who plays no role is not concerned.
    run("cl-spawn", &["main", "--", "true"]).ok();
}

#[test]
fn what_an_agent_has_no_word_for_is_told() {
    let folder = scratch();
    let done = finish(
        spawn(folder.path(), &["--dry-run", "--agent", "opencode", "context", "q"]),
        b"",
    )
    .exits(0);
    assert!(
        done.err
            .starts_with("cl-spawn: role context: --tools: opencode has no word for it"),
        "{}",
        done.err
    );
    assert!(done.text().contains("opencode run --format json"));
}

#[test]
fn the_example_gives_short_limits_and_nothing_else() {
    let folder = scratch();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/orchestra-fast.toml");
    for (role, limit) in [("main", 20.0), ("specialists.validation", 10.0), ("complete", 25.0)] {
        let show = ["x", "--role", role, "--config", example, "--", "true"];
        let (_, start) = asked(folder.path(), &show);
        assert_eq!(start["limits"]["timeout"].as_f64(), Some(limit), "{role}");
    }
    let line = dry(folder.path(), &["main", "--config", example, "q"]);
    assert!(line.contains("--tools=Read,Grep,Bash"), "{line}");
}
