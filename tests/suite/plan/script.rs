//! The script of a plan, run: it starts, waits, passes on, stops and ends as the plan says.

use super::{plan, recordings};
use crate::harness::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a plan and its script into a folder.
fn write(home: &Path, text: &str) {
    std::fs::write(home.join("plan.toml"), text).unwrap();
    let script = plan(home, &["script", "plan.toml"], "").ok();
    std::fs::write(home.join("plan.sh"), script.out).unwrap();
    let mut check = command("bash");
    check.args(["-n", "plan.sh"]).current_dir(home);
    finish(check, b"").ok();
}

fn script(home: &Path, args: &[&str]) -> Command {
    let mut bash = command("bash");
    bash.arg("plan.sh")
        .args(args)
        .current_dir(home)
        .env("HOME", home)
        .env("TMPDIR", home);
    bash
}

/// How each stream of a merged stream ended.
fn outcomes(done: &Done) -> BTreeMap<String, String> {
    let exits = done
        .json()
        .into_iter()
        .filter(|line| text(line, "/type") == "cl" && text(line, "/subtype") == "exit");
    exits
        .map(|exit| (text(&exit, "/cl/stream").to_owned(), text(&exit, "/outcome").to_owned()))
        .collect()
}

/// What was written, line by line of the workers, in the order in which it came.
fn said(done: &Done) -> Vec<String> {
    let lines = done.json().into_iter().filter(|line| text(line, "/subtype") == "text");
    lines
        .map(|line| format!("{}: {}", text(&line, "/cl/stream"), text(&line, "/text")))
        .collect()
}

/// The main answer and one more, from recordings; what the plan asks for is there when it ends.
#[test]
fn an_orchestra_on_recordings() {
    let home = scratch();
    let agent = format!("replay:{}", recordings());
    let made = plan(home.path(), &["orchestra", "Why?", "--agent", &agent], "").ok();
    write(home.path(), made.text());
    let done = finish(script(home.path(), &["run"]), b"").exits(0);
    let ended = outcomes(&done);
    assert_eq!(ended["main"], "success");
    let well: BTreeSet<&String> = ended
        .iter()
        .filter(|(_, outcome)| *outcome == "success")
        .map(|(name, _)| name)
        .collect();
    assert!(well.len() > 1, "{ended:?}");
    for stream in well {
        // The stream in the folder is the one that was merged.
        let kept = std::fs::read(home.path().join(format!("run/{stream}.ndjson"))).unwrap();
        let merged = done.out.split_inclusive(|&b| b == b'\n');
        let head = format!("{{\"cl\":{{\"stream\":\"{stream}\",");
        let merged: Vec<u8> = merged
            .filter(|line| line.starts_with(head.as_bytes()))
            .flatten()
            .copied()
            .collect();
        assert!(kept == merged, "{stream}");
    }
    let status = plan(home.path(), &["status", "run"], "").ok();
    assert!(status.text().contains("  + main "), "{}", status.text());
}

/// Answers travel on, byte for byte, whatever is in them; and what a shell would act on does nothing.
#[test]
fn answers_are_passed_on() {
    let home = scratch();
    std::fs::write(home.path().join("a file"), "in a file\n").unwrap();
    let hard = "$HOME `id` \\\\ \\\"q\\\" 'x' {{ a";
    write(
        home.path(),
        &format!(
            "name = 'p'\nprompt = \"{hard}\"\n\
             [stream.a]\nrun = ['printf', '%s', '{{{{prompt}}}}']\n\
             [stream.b]\nafter = ['a']\nprompt = \"<$(id) {{{{streams.a.text}}}} {{{{file:a file}}}}>\\nlast \"\nrun = ['cat']\n\
             [stream.'c.d/e']\nafter = ['b']\nrun = ['sh', '-c', 'echo \"$1|$X\"', '-', '{{{{streams.b.text}}}}']\nenv = {{ X = \"it's\" }}\n"
        ),
    );
    let done = finish(script(home.path(), &["run"]), b"").exits(0);
    let hard = "$HOME `id` \\ \"q\" 'x' {{ a";
    assert_eq!(
        said(&done),
        [
            format!("a: {hard}"),
            format!("b: <$(id) {hard} in a file>"),
            "b: last ".to_owned(),
            format!("c.d/e: <$(id) {hard} in a file>"),
            "c.d/e: last |it's".to_owned(),
        ]
    );
    assert!(home.path().join("run/c.d/e.ndjson").exists());
}

/// `mend` ends behind `good` in any case, so it is the first to be taken back.
const GRAPH: &str = "name = 'g'\njobs = 2\n\
    [stream.bad]\nrun = ['false']\n\
    [stream.good]\nrun = ['true']\nundo = ['touch', 'undone-good']\n\
    [stream.needs]\nafter = ['bad']\nrun = ['true']\n\
    [stream.mend]\nafter = ['bad', 'good']\nwhen = 'failure'\nrun = ['true']\nundo = ['sh', '-c', 'ls undone-good && exit 1; touch undone-mend']\n\
    [stream.tidy]\nafter = ['bad', 'good']\nwhen = 'always'\nrun = ['true']\n\
    [stream.rest]\nafter = ['good', 'tidy']\nrun = ['true']\n";

#[test]
fn a_failure_stops_what_builds_on_it() {
    let home = scratch();
    write(home.path(), GRAPH);
    let done = finish(script(home.path(), &["-k", "run"]), b"").exits(1);
    let well = |names: &str| -> BTreeMap<String, String> {
        let well = names.split(' ').map(|name| (name.to_owned(), "success".to_owned()));
        well.chain([("bad".to_owned(), "failed".to_owned())]).collect()
    };
    // What is after tidy is not after bad, for tidy ended well.
    assert_eq!(outcomes(&done), well("good mend tidy rest"));
    assert!(
        done.err
            .contains("plan.sh: needs: skipped, for what it builds on did not end well\n"),
        "{}",
        done.err
    );
    assert!(!home.path().join("undone-good").exists());
    let status = plan(home.path(), &["status", "run"], "").ok();
    assert!(status.text().contains("  - needs  skipped"), "{}", status.text());
    assert!(
        status.text().ends_with("next: see why bad did not end well\n"),
        "{}",
        status.text()
    );

    // Without -k nothing else is started; with -u what was done is taken back, the last first.
    let done = finish(script(home.path(), &["-u", "other"]), b"").exits(1);
    let ended = outcomes(&done);
    assert!(
        ended.contains_key("mend") && ended.contains_key("tidy") && !ended.contains_key("rest"),
        "{ended:?}"
    );
    assert!(
        home.path().join("undone-good").exists() && home.path().join("undone-mend").exists(),
        "{}",
        done.err
    );
}

#[test]
fn one_stands_in_until_one_succeeds() {
    let home = scratch();
    let made = plan(
        home.path(),
        &["first", "--", "sh", "-c", "{}"],
        "exit 3\necho here\nexit 4\n",
    )
    .ok();
    let more = "[stream.next]\nafter = ['try1']\nrun = ['echo', '{{streams.try1.text}}']\n";
    write(home.path(), &format!("{}\n{more}", made.text()));
    let done = finish(script(home.path(), &["run"]), b"").exits(0);
    assert_eq!(said(&done), ["try2: here", "next: here"]);
    let made = plan(home.path(), &["first", "--", "sh", "-c", "{}"], "exit 3\nexit 4\n").ok();
    write(home.path(), made.text());
    finish(script(home.path(), &["other"]), b"").exits(1);
}

/// Two with the same lock are never at work at once, nor with those of another run.
#[test]
fn locks_are_held() {
    let home = scratch();
    let work = "mkdir held || exit 1; cat go >/dev/null; rmdir held";
    let streams: String = (0..3)
        .map(|n| format!("[stream.s{n}]\nlocks = ['y', 'x']\nrun = ['sh', '-c', '{work}']\n"))
        .collect();
    write(home.path(), &format!("name = 'l'\njobs = 3\n{streams}"));
    std::fs::write(home.path().join("go"), "").unwrap();
    let one = script(home.path(), &["one"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let two = finish(script(home.path(), &["two"]), b"").exits(0);
    assert_eq!(outcomes(&two).len(), 3);
    collect(one, "the other run").exits(0);
    assert!(home.path().join(".local/state/cl/locks/x").exists());
}

#[test]
fn a_worktree_of_its_own() {
    let home = scratch();
    let repository = home.path().join("shop");
    std::fs::create_dir(&repository).unwrap();
    let git = "git init -q -b main . && git -c user.name=x -c user.email=x@y commit -q --allow-empty -m first";
    let mut init = command("bash");
    init.args(["-c", git]).current_dir(&repository).env("HOME", home.path());
    finish(init, b"").exits(0);
    write(
        &repository,
        "name = 'w'\n[defaults]\nworktree = true\n[stream.a]\nrun = ['sh', '-c', 'pwd; git branch --show-current']\n\
         [stream.b]\nbranch = 'topic'\nrun = ['touch', '{{worktree}}/made']\nundo = ['git', 'worktree', 'remove', '--force', '{{worktree}}']\n\
         [stream.c]\nafter = ['b']\nrun = ['false']\n",
    );
    let done = finish(script(&repository, &["-u", "run"]), b"").exits(1);
    let tree = home.path().join("shop.worktrees/cl/w/a").canonicalize().unwrap();
    assert_eq!(said(&done), [format!("a: {}", tree.display()), "a: cl/w/a".to_owned()]);
    assert!(!home.path().join("shop.worktrees/topic").exists(), "{}", done.err);
    // What is there is used again, and a branch that is there as well.
    let again = finish(script(&repository, &["run"]), b"").exits(1);
    assert_eq!(said(&again), said(&done));
    assert!(home.path().join("shop.worktrees/topic/made").exists());
}

#[test]
fn it_ends_when_its_time_is_up_or_nobody_reads() {
    let home = scratch();
    write(
        home.path(),
        "name = 't'\n[stream.a]\nrun = ['sleep', '1000']\n[stream.b]\nafter = ['a']\nrun = ['true']\n[wait]\ntimeout = '0.3s'\n",
    );
    let done = finish(script(home.path(), &["run"]), b"").exits(124);
    assert_eq!(outcomes(&done).get("b"), None);
    write(
        home.path(),
        "name = 't'\n[stream.a]\nrun = ['sleep', '1000']\n[stream.b]\nafter = ['a']\nrun = ['true']\n",
    );
    let mut bash = command("bash");
    bash.args(["-c", "bash plan.sh run | head -n 1; echo ${PIPESTATUS[0]}"]);
    bash.current_dir(home.path()).env("HOME", home.path());
    let done = finish(bash, b"").exits(0);
    assert!(
        done.text().contains("\"subtype\":\"start\"") && done.text().ends_with("\n0\n"),
        "{}",
        done.text()
    );
    // Told to stop, it stops what runs.
    let child = script(home.path(), &["other"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let file = home.path().join("other/a.ndjson");
    let pid = until("the stream's start", || {
        let lines = json_lines(&std::fs::read(&file).ok().filter(|bytes| bytes.ends_with(b"\n"))?);
        lines.iter().find_map(|line| line["pid"].as_i64())
    });
    let script = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(script, nix::sys::signal::Signal::SIGTERM).unwrap();
    collect(child, "the script").exits(128 + 15);
    until("the worker's end", || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}

#[test]
fn its_options_are_told() {
    let home = scratch();
    write(home.path(), GRAPH);
    let help = finish(script(home.path(), &["--help"]), b"").ok();
    assert!(help.text().contains("SCRIPT [-k] [-j N] [-u] [RUN]"), "{}", help.text());
    for (args, told) in [
        (&["-x"][..], "plan.sh: -x: no such option; see --help\n"),
        (&["-j", "x"], "plan.sh: -j 'x': write a number; 0 is one a core\n"),
    ] {
        assert_eq!(finish(script(home.path(), args), b"").exits(2).err, told);
    }
    let done = finish(script(home.path(), &["-k", "-j", "1"]), b"").exits(1);
    let run = home.path().join(".local/state/cl/runs/latest");
    assert!(run.join("good.ndjson").exists(), "{}", done.err);
}
