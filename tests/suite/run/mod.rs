//! cl-run: plans that are run, cut short, resumed and taken back.

mod add;
mod agents;
mod beside;
mod ends;
mod guard;
mod locks;
mod resume;
mod reuse;
mod seen;
mod undo;
mod worktrees;

use crate::harness::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// cl-run in a folder that is its home as well.
fn cl_run(home: &Path, args: &[&str]) -> Command {
    let mut command = command(tool("cl-run"));
    command
        .args(args)
        .current_dir(home)
        .env("HOME", home)
        .env("TMPDIR", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Writes a plan and runs it to its end, in the folder `run`.
fn played(home: &Path, plan: &str, args: &[&str]) -> Done {
    std::fs::write(home.join("plan.toml"), plan).unwrap();
    let all = [&["--run", "run", "plan.toml"], args].concat();
    finish(cl_run(home, &all), b"")
}

/// Goes on with the run in the folder `run`.
fn resumed(home: &Path, args: &[&str]) -> Done {
    let all = [&["--resume", "run"], args].concat();
    finish(cl_run(home, &all), b"")
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
fn said(bytes: &[u8]) -> Vec<String> {
    let lines = json_lines(bytes);
    let lines = lines.iter().filter(|line| text(line, "/subtype") == "text");
    lines
        .map(|line| format!("{}: {}", text(line, "/cl/stream"), text(line, "/text")))
        .collect()
}

/// The acts of a run's journal, each as `act stream`.
fn acts(home: &Path) -> Vec<String> {
    let lines = json_lines(&std::fs::read(home.join("run/journal")).unwrap());
    let acts = lines
        .iter()
        .map(|line| format!("{} {}", text(line, "/act"), text(line, "/stream")));
    acts.map(|act| act.trim_end().to_owned()).collect()
}

/// The pid of a stream's worker, once it runs.
fn worker(home: &Path, stream: &str) -> i64 {
    let file = home.join(format!("run/{stream}.ndjson"));
    until("the stream's start", || {
        let bytes = std::fs::read(&file).ok().filter(|bytes| bytes.ends_with(b"\n"))?;
        json_lines(&bytes).iter().find_map(|line| line["pid"].as_i64())
    })
}

/// Waits until a process is gone.
fn gone(pid: i64) {
    until("a worker's end", || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}

/// Answers travel on, byte for byte; the script of the same plan gives the same lines, and the same answers.
#[test]
fn answers_are_passed_on_as_by_the_script() {
    let home = scratch();
    std::fs::write(home.path().join("a file"), "in a file\n").unwrap();
    let plan = "name = 'p'\njobs = 1\nprompt = \"$HOME `id` \\\\ 'x' {{ a\"\n\
        [stream.a]\nrun = ['printf', '%s', '{{prompt}}']\n\
        [stream.b]\nafter = ['a']\nprompt = \"<$(id) {{streams.a.text}} {{file:a file}}>\\nlast \"\nrun = ['cat']\n\
        [stream.'c.d/e']\nafter = ['b']\nrun = ['sh', '-c', 'echo \"$1|$X\"', '-', '{{streams.b.text}}']\nenv = { X = \"it's\" }\n\
        [stream.bad]\nrun = ['false']\noptional = true\n\
        [stream.mend]\ninstead = 'bad'\nrun = ['echo', 'mended']\n\
        [stream.last]\nafter = ['bad', 'c.d/e']\nrun = ['echo', '{{streams.bad.text}}']\n";
    let done = played(home.path(), plan, &[]).exits(0);
    let mut said = said(&done.out);
    said.sort();
    assert_eq!(
        said,
        [
            "a: $HOME `id` \\ 'x' {{ a",
            "b: <$(id) $HOME `id` \\ 'x' {{ a in a file>",
            "b: last ",
            "c.d/e: <$(id) $HOME `id` \\ 'x' {{ a in a file>",
            "c.d/e: last |it's",
            "last: mended",
            "mend: mended",
        ]
    );
    let mut make = command(tool("cl-plan"));
    make.args(["script", "plan.toml"])
        .current_dir(home.path())
        .env("HOME", home.path());
    std::fs::write(home.path().join("plan.sh"), finish(make, b"").ok().out).unwrap();
    let mut script = command("bash");
    script
        .args(["plan.sh", "other"])
        .current_dir(home.path())
        .env("HOME", home.path());
    let scripted = finish(script, b"").exits(0);
    assert_eq!(timeless(&done.out), timeless(&scripted.out));
    // The streams in the folder are those on stdout.
    let kept = std::fs::read(home.path().join("run/c.d/e.ndjson")).unwrap();
    let merged = done.out.split_inclusive(|&byte| byte == b'\n');
    let merged: Vec<u8> = merged
        .filter(|line| line.starts_with(br#"{"cl":{"stream":"c.d/e","#))
        .flatten()
        .copied()
        .collect();
    assert!(kept == merged);
    assert_eq!(
        std::fs::read_to_string(home.path().join("run/plan.toml")).unwrap(),
        plan
    );
}

/// The lines of each stream without what differs from run to run.
fn timeless(bytes: &[u8]) -> BTreeMap<String, Vec<serde_json::Value>> {
    let mut all: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for mut line in json_lines(bytes) {
        let stream = text(&line, "/cl/stream").to_owned();
        for member in ["pid", "duration", "cpu", "rss"] {
            line.as_object_mut().unwrap().remove(member);
        }
        line["cl"]["ts"] = 0.into();
        all.entry(stream).or_default().push(line);
    }
    all
}

/// The main answer and one more, from recordings, by the plan's policy; the rest is stopped.
#[test]
fn an_orchestra_on_recordings() {
    let home = scratch();
    let agent = format!("replay:{}", root().join("examples/recordings").display());
    let mut make = command(tool("cl-plan"));
    make.args(["orchestra", "Why?", "--agent", &agent]);
    let plan = finish(make, b"").ok();
    let done = played(home.path(), plan.text(), &["-j", "4"]).exits(0);
    let ended = outcomes(&done);
    assert_eq!(ended["main"], "success");
    assert!(
        ended.values().filter(|outcome| *outcome == "success").count() > 1,
        "{ended:?}"
    );
    // Each stream has told its end, also those that were stopped.
    assert_eq!(
        ended.len(),
        acts(home.path()).iter().filter(|act| act.starts_with("start ")).count()
    );
    let mut status = command(tool("cl-plan"));
    status.args(["status", "run"]).current_dir(home.path());
    let status = finish(status, b"").ok();
    assert!(status.text().contains("  + main "), "{}", status.text());
}

/// The most urgent first, and among equals the one on which the longest path hangs.
#[test]
fn the_critical_path_comes_first() {
    let home = scratch();
    let plan = "name = 'p'\njobs = 1\n[defaults]\nrun = []\n";
    let plan = plan.replace("[defaults]\nrun = []\n", "")
        + "[stream.low]\npriority = 2\nrun = ['true']\n\
           [stream.alone]\nrun = ['true']\n\
           [stream.first]\nrun = ['true']\n\
           [stream.second]\nafter = ['first']\nrun = ['true']\n\
           [stream.third]\nafter = ['second']\nrun = ['true']\n";
    played(home.path(), &plan, &[]).exits(0);
    let started: Vec<String> = acts(home.path())
        .into_iter()
        .filter(|act| act.starts_with("start"))
        .collect();
    assert_eq!(
        started,
        ["start first", "start second", "start alone", "start third", "start low"]
    );
    // A dry run says the same, and does nothing.
    let dry = finish(cl_run(home.path(), &["-n", "plan.toml"]), b"").ok();
    let order: Vec<&str> = dry.text().lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(order, ["first", "second", "alone", "third", "low"]);
    assert!(!home.path().join(".local").exists());
}

#[test]
fn a_run_has_a_folder_of_its_own() {
    let home = scratch();
    std::fs::write(
        home.path().join("p.json"),
        r#"{"name":"j","stream":{"a":{"run":["sh","-c","echo $CL_RUN"]}}}"#,
    )
    .unwrap();
    let done = finish(cl_run(home.path(), &["p.json"]), b"").exits(0);
    let run = home.path().join(".local/state/cl/runs/latest").canonicalize().unwrap();
    assert_eq!(said(&done.out), [format!("a: {}", run.display())]);
    assert!(run.to_str().unwrap().ends_with("-j") && run.join("plan.json").exists());
    assert_eq!(done.err, format!("cl-run: the run is kept in {}\n", run.display()));
    use std::os::unix::fs::PermissionsExt;
    for (path, mode) in [
        (".", 0o700),
        ("plan.json", 0o600),
        ("journal", 0o600),
        ("a.ndjson", 0o600),
    ] {
        assert_eq!(
            run.join(path).metadata().unwrap().permissions().mode() & 0o777,
            mode,
            "{path}"
        );
    }
    // A folder that holds a run is not begun in.
    let again = finish(cl_run(home.path(), &["--run", run.to_str().unwrap(), "p.json"]), b"").exits(2);
    assert!(
        again.err.contains("holds a run already: go on with --resume"),
        "{}",
        again.err
    );
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    let home = scratch();
    let done = played(
        home.path(),
        "name = 'w'\n[stream.a]\nafter = ['b']\nrun = ['touch', 'ran']\n[stream.b]\nafter = ['a', 'c']\nrun = ['touch', 'ran']\n",
        &[],
    )
    .exits(2);
    assert!(
        done.err.contains("a circle, in which nobody can begin: a -> b -> a"),
        "{}",
        done.err
    );
    assert!(done.err.contains("there is no stream 'c'"), "{}", done.err);
    assert!(!home.path().join("run").exists() && !home.path().join("ran").exists());
    finish(cl_run(home.path(), &["nowhere.toml"]), b"").exits(1);
    finish(cl_run(home.path(), &["--resume", "nowhere"]), b"").exits(1);
    finish(cl_run(home.path(), &[]), b"").exits(2);
    finish(cl_run(home.path(), &["--max-cost", "x", "plan.toml"]), b"").exits(2);
}

#[test]
fn a_log_of_jobs() {
    let home = scratch();
    let plan = "name = 'p'\njobs = 1\n[stream.a]\nrun = ['echo', 'a b']\n[stream.b]\nrun = ['sh', '-c', 'exit 3']\n\
                [stream.c]\nrun = ['sh', '-c', 'kill -9 $$']\n";
    played(home.path(), plan, &["-k", "--joblog", "jobs"]).exits(1);
    let log = std::fs::read_to_string(home.path().join("jobs")).unwrap();
    let rows: Vec<Vec<&str>> = log.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        rows[0],
        [
            "Seq",
            "Host",
            "Starttime",
            "JobRuntime",
            "Send",
            "Receive",
            "Exitval",
            "Signal",
            "Command"
        ]
    );
    let ends: Vec<[&str; 5]> = rows[1..]
        .iter()
        .map(|row| [row[0], row[5], row[6], row[7], row[8]])
        .collect();
    assert_eq!(
        ends,
        [
            ["1", "4", "0", "0", "cl-spawn a -- echo 'a b'"],
            ["2", "0", "3", "0", "cl-spawn b -- sh -c 'exit 3'"],
            ["3", "0", "137", "9", "cl-spawn c -- sh -c 'kill -9 $$'"],
        ]
    );
}
