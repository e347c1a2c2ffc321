//! What a hostile worker, recording, role file or folder tries, and what comes of it (SECURITY.md).

use crate::harness::*;
use std::os::unix::fs::PermissionsExt;

#[path = "../../fuzz/src/lib.rs"]
mod checks;

/// The recorded runs, as they are, cut, and as streams, and plans, through all that the fuzz targets ask.
#[test]
fn the_seeds_of_fuzzing() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for agent in ["claude", "codex", "gemini", "qwen", "opencode"] {
        let folder = root().join("tests/data/recordings").join(agent);
        for item in folder.read_dir().into_iter().flatten() {
            let mut bytes = std::fs::read(item.unwrap().path()).unwrap();
            bytes.truncate(6000);
            seeds.push(bytes);
        }
    }
    assert!(seeds.len() > 100, "{}", seeds.len());
    seeds.push(include_bytes!("../../lib/src/role/builtin.toml").to_vec());
    for item in root().join("tests/data/plans").read_dir().unwrap() {
        seeds.push(std::fs::read(item.unwrap().path()).unwrap());
    }
    for seed in &seeds {
        let name = harmony::line::Name::near("s");
        let mut stamper = harmony::line::Stamper::new(name);
        let mut stream = Vec::new();
        for line in seed.split(|&byte| byte == b'\n') {
            stamper.line(line, true, harmony::line::Ts(7), &mut stream);
        }
        for (_, check) in checks::ALL {
            check(seed);
            check(&stream);
            check(&stream[stream.len() / 3..]);
        }
    }
}

/// What fuzzing, or thinking, has found; each once more through every check.
#[test]
fn what_was_found() {
    for found in [
        &br#"{"cl":{"stream":"in","seq":1,"ts":1.0},"cl":{"stream":"main","seq":9,"ts":1.0},"type":"cl"}"#[..],
        br#"{"cl":{"stream":"in","seq":1,"ts":1.0,"stream":"main"},"a":1}"#,
        br#"{"cl":{"stream":"in","seq":1,"ts":1.0},"a":1}"#,
        b"{\"a\":1} ",
        b"{\"a\":\t1}",
    ] {
        let with_feed = [found, b"\n"].concat();
        for (_, check) in checks::ALL {
            check(found);
            check(&with_feed);
        }
    }
}

#[test]
fn a_worker_speaks_for_nobody_else() {
    let folder = scratch();
    let lines = folder.path().join("lines");
    std::fs::write(
        &lines,
        concat!(
            r#"{"cl":{"stream":"main","seq":1,"ts":1.0},"type":"cl","subtype":"exit","outcome":"success"}"#,
            "\n",
            r#"{"cl":{"stream":"in","seq":1,"ts":1.0},"cl":{"stream":"main","seq":9,"ts":1.0},"type":"cl","subtype":"exit"}"#,
            "\n",
            r#"{"type":"cl","subtype":"exit","outcome":"success"}"#,
            "\n",
            r#"{"cl":{"stream":"main","seq":2,"ts":1.0,"stream":"other"},"a":1}"#,
            "\n",
        ),
    )
    .unwrap();
    let done = run("cl-spawn", &["w", "--", "cat", lines.to_str().unwrap()]).ok();
    let streams: Vec<_> = done
        .json()
        .iter()
        .map(|line| text(line, "/cl/stream").to_owned())
        .collect();
    assert_eq!(streams, ["w", "w/main", "w", "w", "w", "w"]);
    let outcome = |line: &serde_json::Value| text(line, "/outcome") == "success";
    assert_eq!(
        done.json().iter().filter(|line| outcome(line)).count(),
        2,
        "its own and the inner one's"
    );
}

#[test]
fn names_of_files_do_not_speak_to_the_terminal() {
    for tool in ["cl-merge", "cl-wait", "cl-replay"] {
        let done = run(tool, &["no\u{1b}]0;title\u{7}such\u{202e}"]);
        assert_ne!(done.code(), 0);
        assert!(
            done.err.contains("nosuch") && done.err.ends_with('\n'),
            "{:?}",
            done.err
        );
        assert!(
            !done
                .err
                .trim_end()
                .contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{:?}",
            done.err
        );
    }
}

#[test]
fn role_files_do_not_speak_to_the_terminal() {
    let folder = scratch();
    let spawn = |arg: &str| {
        let mut command = command(tool("cl-spawn"));
        command.arg(arg).current_dir(folder.path());
        finish(command, b"")
    };
    let file = folder.path().join("cl.toml");
    std::fs::write(&file, "[role.x]\nabout = \"\\u001b]0;title\\u0007fine\"\n").unwrap();
    let list = spawn("--roles").ok();
    assert!(list.text().contains("fine (cl.toml)") && !list.out.contains(&0x1b));
    std::fs::write(&file, "\"\\u001b[31m\" = 1\n").unwrap();
    let refused = spawn("--roles").exits(125);
    assert!(
        refused.err.contains("cl.toml:1") && !refused.err.contains('\u{1b}'),
        "{:?}",
        refused.err
    );
}

#[test]
fn roles_that_anybody_may_write_are_not_played_unasked() {
    let folder = scratch();
    let file = folder.path().join("cl.toml");
    std::fs::write(&file, "[role.mine]\nabout = 'mine'\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let spawn = |args: &[&str]| {
        let mut command = command(tool("cl-spawn"));
        command.args(args).current_dir(folder.path());
        finish(command, b"")
    };
    let refused = spawn(&["--roles"]).exits(125);
    assert!(refused.err.contains("--config cl.toml"), "{}", refused.err);
    assert!(spawn(&["--roles", "--config", "cl.toml"]).ok().text().contains("mine"));
    assert!(
        !spawn(&["--roles", "--config", "/dev/null"])
            .ok()
            .text()
            .contains("mine")
    );
}

#[test]
fn no_number_makes_a_failure_a_success() {
    let exit = r#"{"cl":{"stream":"a","seq":18446744073709551615,"ts":18446744073709.551615},"type":"cl","subtype":"exit","outcome":"failed","code":256,"duration":1e308,"attempts":4294967295}"#;
    let stream = format!("{exit}\n");
    feed("cl-wait", &["-o", "none", "--exit-code-from", "a"], stream.as_bytes()).exits(1);
    for (tool, args) in [
        ("cl-progress", &["--progress", "plain"][..]),
        ("cl-merge", &["-o", "text"]),
        ("cl-tee", &[]),
    ] {
        feed(tool, args, stream.as_bytes()).exits(0);
    }
}

#[test]
fn a_recording_does_not_stop_who_plays_it() {
    let folder = scratch();
    let file = folder.path().join("x.ndjson");
    std::fs::write(&file, "{\"a\":1}\n").unwrap();
    std::fs::write(folder.path().join("x.meta.json"), r#"{"signal":"SIGSTOP"}"#).unwrap();
    let done = run("cl-replay", &[&file]).exits(1);
    assert!(done.err.contains("'SIGSTOP' is no signal that ends"), "{}", done.err);
}
