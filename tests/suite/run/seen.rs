//! What others see of a run: cl-progress, cl-wait and cl-plan status know its plan, and its end.

use super::*;
use harmony::run::HELD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::process::Child;

/// Streams that run until their gates are opened.
const PLAN: &str = "name = 'shop'\n[stream.schema]\nphase = 'foundation'\nrun = ['cat', 'schema.gate']\n\
    [stream.api]\nphase = 'parallel'\nlocks = ['db']\nrun = ['cat', 'api.gate']\n\
    [stream.data]\nphase = 'parallel'\nlocks = ['db']\nrun = ['true']\n\
    [stream.page]\nphase = 'parallel'\noptional = true\nrun = ['false']\n\
    [stream.all]\nphase = 'integration'\nrun = ['true']\n";

/// A run on its way in the folder `run` of its home.
struct Going {
    home: tempfile::TempDir,
    child: Option<Child>,
}

impl Going {
    fn new(plan: &str, args: &[&str]) -> Self {
        let home = scratch();
        for gate in ["schema.gate", "api.gate"] {
            mkfifo(&home.path().join(gate));
        }
        std::fs::write(home.path().join("plan.toml"), plan).unwrap();
        // Who looks on may be there first.
        std::fs::create_dir(home.path().join("run")).unwrap();
        let all = [&["--run", "run", "plan.toml"], args].concat();
        let child = cl_run(home.path(), &all).spawn().unwrap();
        Self {
            home,
            child: Some(child),
        }
    }

    /// cl-run ends so.
    fn ends(&mut self, code: i32) {
        collect(self.child.take().unwrap(), "cl-run").exits(code);
    }

    /// Lets the stream at a gate come to its end.
    fn open(&self, gate: &str) {
        drop(File::create(self.home.path().join(gate)).unwrap());
    }

    fn tool(&self, name: &str, args: &[&str]) -> Command {
        let mut command = command(tool(name));
        command.args(args).current_dir(self.home.path());
        command.env("HOME", self.home.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, name: &str, args: &[&str]) -> Child {
        self.tool(name, args).spawn().unwrap()
    }

    fn told(&self, name: &str, args: &[&str]) -> String {
        finish(self.tool(name, args), b"").exits(0).text().to_owned()
    }

    /// The picture, once it holds all these.
    fn shows(&self, parts: &[&str]) -> String {
        until("a picture", || {
            let picture = self.told("cl-progress", &["--once", "run"]);
            parts.iter().all(|part| picture.contains(part)).then_some(picture)
        })
    }

    fn kill(&self) {
        kill(Pid::from_raw(self.child.as_ref().unwrap().id() as i32), Signal::SIGKILL).unwrap();
    }
}

/// The next line of a log that holds this.
fn line_with(child: &mut Child, part: &str) -> String {
    use std::io::Read;
    let (mut line, mut before, mut byte) = (Vec::new(), Vec::new(), [0]);
    while child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 {
        if byte[0] != b'\n' {
            line.push(byte[0]);
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
        if text.contains(part) {
            return text;
        }
        before.push(text);
    }
    let mut err = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut err).unwrap();
    panic!("no line with {part}: {before:#?}{err}")
}

#[test]
fn all_of_a_plan_is_seen_from_the_beginning() {
    let mut run = Going::new(PLAN, &[]);
    let picture = run.shows(&["● schema"]);
    let rows: Vec<&str> = picture.lines().map(str::trim_end).collect();
    let at = |row: &str| rows.iter().position(|known| *known == row);
    let order = [
        at("foundation 0/1"),
        at("parallel 0/3"),
        at("· api     after schema"),
        at("· page    after schema"),
        at("integration 0/1"),
        at("· all     after schema, api, data and 1 more"),
    ];
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{picture}");
    assert!(picture.contains("5 streams: 1 running, 4 waiting"), "{picture}");
    let objects = run.told("cl-progress", &["--once", "--progress", "json", "run"]);
    let api = json_lines(objects.as_bytes())
        .into_iter()
        .find(|line| line["stream"] == "api")
        .unwrap();
    assert_eq!(
        (text(&api, "/state"), text(&api, "/waits")),
        ("waiting", "after schema")
    );
    assert!(api.get("started").is_none() && api.get("doing").is_none(), "{api}");
    assert!(
        run.told("cl-plan", &["status", "run"])
            .contains("  . api     waiting     waits for schema\n")
    );
    let mut log = run.start("cl-progress", &["--progress", "plain", "run"]);
    line_with(&mut log, " foundation 0/1 · parallel 0/3 · integration 0/1");
    run.open("schema.gate");
    let waits = "for the lock db, which api holds";
    run.shows(&[
        "foundation 1/1",
        "● api",
        "✗ page",
        waits,
        "· all     after api, data\n",
    ]);
    line_with(&mut log, " foundation 1/1 · parallel 0/3 · integration 0/1");
    run.open("api.gate");
    run.ends(0);
    let done = collect(log, "the log").ok();
    assert!(done.text().contains("all: success"), "{}", done.text());
    assert!(
        done.text()
            .ends_with(", foundation 1/1 · parallel 2/3 · integration 1/1)\n"),
        "{}",
        done.text()
    );
}

/// Nothing runs for a while, for somebody else holds a lock: that is no end, and costs nothing.
#[test]
fn who_looks_on_stays_between_two_stages() {
    let locks = |home: &Path| {
        let locks = home.join(".local/state/cl/locks");
        std::fs::create_dir_all(&locks).unwrap();
        let held = File::create(locks.join("db")).unwrap();
        harmony::sys::fds::flock(&held, false).unwrap();
        held
    };
    let mut run = Going::new(PLAN, &[]);
    let held = locks(run.home.path());
    let mut log = run.start("cl-progress", &["--progress", "json", "run"]);
    let mut waits = run.start("cl-wait", &["--need", "all", "-o", "none", "run"]);
    let mut plain = run.start("cl-wait", &["-o", "none", "run"]);
    run.open("schema.gate");
    line_with(&mut log, r#""waits":"for the lock db""#);
    let picture = run.shows(&["· api     for the lock db", "✗ page"]);
    assert!(!picture.contains('●'), "{picture}");
    let time = |child: &Child| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(' ').collect();
        (
            fields[fields.len() - 14].to_owned(),
            fields[fields.len() - 15].to_owned(),
        )
    };
    let before = [time(&log), time(&waits), time(&plain)];
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(before, [time(&log), time(&waits), time(&plain)], "no work is done");
    for child in [&mut log, &mut waits, &mut plain] {
        assert!(child.try_wait().unwrap().is_none(), "nothing is over");
    }
    drop(held);
    run.open("api.gate");
    run.ends(0);
    for child in [log, waits, plain] {
        collect(child, "who looks on").ok();
    }
}

#[test]
fn a_run_that_is_killed_has_ended() {
    let run = Going::new(PLAN, &[]);
    let start = |name: &str, args: &[&str]| run.start(name, args);
    let mut log = start("cl-progress", &["--progress", "plain", "run"]);
    let needs = start("cl-wait", &["--need", "all", "-o", "none", "run"]);
    let whole = start("cl-wait", &["run"]);
    line_with(&mut log, "schema: running");
    run.kill();
    let way_out = "cl-run is gone before the run's end: go on with cl-run --resume run\n";
    let done = collect(log, "the log").exits(0);
    assert_eq!(done.err, format!("cl-progress: {way_out}"));
    assert!(done.text().contains("1 lost, 4 skipped"), "{}", done.text());
    let done = collect(needs, "cl-wait").exits(1);
    assert_eq!(
        done.err,
        format!("cl-wait: all does not run: it had not begun; {way_out}")
    );
    let done = collect(whole, "cl-wait").exits(1);
    assert_eq!(done.err, format!("cl-wait: the run was cut short; {way_out}"));
    assert_eq!(text(&done.json()[0], "/verdict"), "unmet");
    assert_eq!(text(&done.json()[0], "/streams/api/phase"), "skipped");
    let status = run.told("cl-plan", &["status", "run"]);
    assert!(
        status.contains("  > schema  cut short\n") && status.ends_with(way_out),
        "{status}"
    );
    // It goes on, and what it was is no more.
    let child = cl_run(run.home.path(), &["--resume", "run"]).spawn().unwrap();
    run.shows(&["● schema", "· api     after schema", "1 running, 4 waiting"]);
    run.open("schema.gate");
    run.open("api.gate");
    collect(child, "cl-run").exits(0);
    finish(run.tool("cl-wait", &["-o", "none", "run"]), b"").ok();
    assert!(run.told("cl-plan", &["status", "run"]).ends_with("\nall is done\n"));
}

#[test]
fn what_can_never_come_is_told_at_once() {
    let plan = format!("{PLAN}[stream.more]\nafter = ['bad']\nrun = ['true']\n[stream.bad]\nrun = ['false']\n");
    let mut run = Going::new(&plan, &["--keep-going"]);
    run.shows(&["● schema", "– more    skipped: bad did not end well"]);
    let wait = |args: &[&str]| finish(run.tool("cl-wait", &[args, &["-o", "none", "run"]].concat()), b"");
    let done = wait(&["--need", "more"]).exits(1);
    assert_eq!(done.err, "cl-wait: more does not run: bad did not end well\n");
    let done = wait(&["--need", "schema,nobody"]).exits(127);
    let known = "the plan, which has schema, api, data, page, all, more, bad";
    assert_eq!(done.err, format!("cl-wait: nobody: no such stream in {known}\n"));
    wait(&["--expect", "schema/inner", "-t", "0.1s"]).exits(124);
    wait(&["--exit-code-from", "nobody"]).exits(127);
    // By the plan itself it can no longer be met, although it goes on.
    assert_eq!(wait(&[]).exits(1).err, "cl-wait: bad ended as failed\n");
    let needs = run.start("cl-wait", &["--need", "api", "-o", "none", "run"]);
    run.open("schema.gate");
    run.open("api.gate");
    collect(needs, "cl-wait").ok();
    run.ends(1);
}

#[test]
fn enough_is_what_the_plan_says_and_streams_may_be_added() {
    let mut run = Going::new(&format!("{PLAN}[wait]\nneed = ['api']\n"), &[]);
    run.shows(&["● schema"]);
    std::fs::write(
        run.home.path().join("more.toml"),
        "[stream.late]\nphase = 'integration'\nafter = ['all']\nrun = ['cat', 'late.gate']\n",
    )
    .unwrap();
    let mut log = run.start("cl-progress", &["--progress", "json", "run"]);
    line_with(&mut log, r#""waits":"after schema""#);
    let add = finish(cl_run(run.home.path(), &["--add", "run", "more.toml"]), b"");
    add.ok();
    run.shows(&["integration 0/2", "· late    after schema, api, data and 2 more"]);
    line_with(&mut log, r#""stream":"late""#);
    let waits = run.start("cl-wait", &["-o", "json", "run"]);
    run.open("schema.gate");
    run.open("api.gate");
    let done = collect(waits, "cl-wait").ok();
    assert_eq!(text(&done.json()[0], "/streams/api/outcome"), "success");
    run.ends(0);
    collect(log, "the log").ok();
    let mut reports = run.tool(
        "cl-progress",
        &["--once", "--progress", "none", "--summary", "s.md", "--html", "p.html"],
    );
    reports.arg("run");
    finish(reports, b"").ok();
    let read = |name: &str| std::fs::read_to_string(run.home.path().join(name)).unwrap();
    assert!(
        read("p.html").contains("foundation 1/1 · parallel "),
        "{}",
        read("p.html")
    );
    assert!(
        read("s.md").contains("foundation 1&#47;1 · parallel "),
        "{}",
        read("s.md")
    );
}

/// A run that is over and whose journal knows more than its streams' files have: nothing is waited for in vain.
#[test]
fn a_stream_that_was_begun_and_said_nothing() {
    let home = scratch();
    let run = home.path().join("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("plan.toml"), "name = 'p'\n[stream.a]\nrun = ['x']\n").unwrap();
    let begun = "{\"ts\":1,\"act\":\"begin\",\"v\":1,\"plan\":\"p\",\"pid\":1}\n\
        {\"ts\":2,\"act\":\"start\",\"stream\":\"a\",\"key\":\"\"}\n";
    let ended = format!(
        "{begun}{{\"ts\":3,\"act\":\"end\",\"stream\":\"a\",\"outcome\":\"success\"}}\n\
        {{\"ts\":3,\"act\":\"finish\",\"verdict\":\"met\"}}\n"
    );
    let torn = "{\"cl\":{\"stream\":\"a\",";
    for (journal, file) in [(begun, ""), (&ended, ""), (begun, torn)] {
        std::fs::write(run.join("journal"), journal).unwrap();
        std::fs::write(run.join("a.ndjson"), file).unwrap();
        for asked in ["--need=a", "--all", "--any=1", "--expect=a"] {
            let mut wait = command(tool("cl-wait"));
            wait.args([asked, "-t", "20s", "run"]).current_dir(home.path());
            wait.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let done = finish(wait, b"").exits(1);
            let told = ["a has said nothing", "a stopped without telling its end"];
            assert!(told.iter().any(|told| done.err.contains(told)), "{asked}: {}", done.err);
        }
    }
}

/// What is said on the command line wins over the plan.
#[test]
fn how_long_and_whom_to_trust_is_for_who_waits_to_say() {
    let plan = "name = 'p'\n[wait]\nneed = ['a']\nany = 1\ngrace = '1h'\n[stream.a]\nrun = ['true']\n\
        [stream.b]\nrun = ['cat', 'api.gate']\n[stream.bad]\noptional = true\nrun = ['false']\n";
    let mut run = Going::new(plan, &[]);
    run.shows(&["✗ bad"]);
    finish(run.tool("cl-wait", &["--grace", "1ms", "-o", "none", "run"]), b"").ok();
    run.open("api.gate");
    run.ends(0);
    finish(run.tool("cl-wait", &["-o", "none", "run"]), b"").ok();
    let done = finish(run.tool("cl-wait", &["--trust", "-o", "none", "run"]), b"").exits(1);
    assert!(done.err.starts_with("cl-wait: bad ended as failed"), "{}", done.err);
}

/// A run's folder as it is made by hand: a plan with two streams, of which the second waits for the first.
pub(super) fn by_hand(folder: &Path, journal: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let plan = "name = 'p'\n[stream.a]\nrun = ['x']\n[stream.b]\nafter = ['a']\nrun = ['x']\n";
    std::fs::write(folder.join("plan.toml"), plan).unwrap();
    std::fs::write(folder.join("journal"), journal).unwrap();
}

pub(super) const BEGUN: &str = "{\"ts\":1,\"act\":\"begin\",\"v\":1,\"plan\":\"p\",\"pid\":1}\n\
    {\"ts\":2,\"act\":\"start\",\"stream\":\"a\",\"key\":\"\"}\n";

/// A tool at work in a folder.
pub(super) fn looks_on(home: &Path, name: &str, args: &[String]) -> Child {
    let mut command = command(tool(name));
    command.args(args).current_dir(home).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until a tool watches so many things.
pub(super) fn watches(child: &Child, count: usize) {
    let about = format!("/proc/{}/fdinfo", child.id());
    until("watches", || {
        assert!(alive(child.id() as i32), "it has ended");
        let all = std::fs::read_dir(&about).unwrap().flatten();
        let all = all.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        let watches = all.map(|text| text.lines().filter(|line| line.starts_with("inotify wd:")).count());
        (watches.sum::<usize>() >= count).then_some(())
    });
}

/// A user may have no more than 128 of what tells of news.
#[test]
fn more_runs_than_may_be_watched_apart() {
    const COUNT: usize = 200;
    let home = scratch();
    let folder = |at: usize| home.path().join(format!("r{at}"));
    let held = |at: usize| {
        let held = File::create(folder(at).join(HELD)).unwrap();
        harmony::sys::fds::flock(&held, false).unwrap();
        held
    };
    for at in 0..COUNT {
        std::fs::create_dir(folder(at)).unwrap();
    }
    let runs: Vec<String> = (0..COUNT).map(|at| format!("r{at}")).collect();
    let waits = |args: &[&str]| {
        let given = args.iter().map(|arg| (*arg).to_owned());
        looks_on(home.path(), "cl-wait", &given.chain(runs.clone()).collect::<Vec<_>>())
    };
    // Whom its journal alone tells of, in the last of them that begins when all are watched.
    let journal = waits(&["--need", "b", "-o", "none"]);
    watches(&journal, 2 * COUNT);
    by_hand(
        &folder(COUNT - 1),
        &(BEGUN.to_owned() + "{\"ts\":3,\"act\":\"end\",\"stream\":\"a\",\"outcome\":\"failed\"}\n"),
    );
    let done = collect(journal, "cl-wait").exits(1);
    assert!(done.err.contains("b does not run"), "{}", done.err);
    // All of them live; then one is killed.
    let killed = COUNT / 2;
    let mut lives: Vec<Option<File>> = (0..COUNT).map(|at| Some(held(at))).collect();
    (0..COUNT).for_each(|at| by_hand(&folder(at), BEGUN));
    std::fs::write(
        folder(killed).join("plan.toml"),
        "name = 'p'\n[stream.a]\nrun = ['x']\n[stream.c]\nafter = ['a']\nrun = ['x']\n",
    )
    .unwrap();
    let end = waits(&["--need", "c", "-o", "none"]);
    watches(&end, 3 * COUNT);
    lives[killed] = None;
    let done = collect(end, "cl-wait").exits(1);
    let told = format!(
        "c does not run: it had not begun; cl-run is gone before the run's end: go on with cl-run --resume r{killed}\n"
    );
    assert_eq!(done.err, format!("cl-wait: {told}"));
}

/// What was cut short with its run ends no more, and whatever else is waited for does not change that.
#[test]
fn a_run_that_is_killed_while_more_than_it_is_waited_for() {
    let us = std::process::id().to_string();
    let run = Going::new(PLAN, &[]);
    let mut log = run.start("cl-progress", &["--progress", "plain", "run"]);
    let whole = run.start("cl-wait", &["-o", "none", "run", &us]);
    let needs = run.start("cl-wait", &["--need", "schema", "-o", "none", "run", &us]);
    line_with(&mut log, "schema: running");
    watches(&whole, 3);
    watches(&needs, 3);
    run.kill();
    collect(log, "the log").exits(0);
    for waits in [whole, needs] {
        let done = collect(waits, "cl-wait").exits(1);
        let because = "schema stopped without telling its end";
        assert!(done.err.contains(because), "{}", done.err);
    }
    // And one whose streams have said nothing, or less than its journal knows of.
    let ended = "{\"ts\":3,\"act\":\"end\",\"stream\":\"a\",\"outcome\":\"success\"}\n";
    let inner = "{\"cl\":{\"stream\":\"a/x\",\"seq\":1,\"ts\":2.0},\"type\":\"later\"}\n";
    let hand = run.home.path().join("hand");
    for journal in [BEGUN.to_owned(), BEGUN.to_owned() + ended] {
        by_hand(&hand, &journal);
        std::fs::create_dir_all(hand.join("a")).unwrap();
        std::fs::write(hand.join("a/x.ndjson"), inner).unwrap();
        for need in ["a", "a/x"] {
            let waits = run.start("cl-wait", &["--need", need, "-o", "none", "hand", &us]);
            let done = collect(waits, "cl-wait").exits(1);
            let because = format!("{need} stopped without telling its end");
            assert!(done.err.contains(&because), "{}", done.err);
        }
    }
}

/// A frame may stand for an hour, but that a run is over is heard of at once; and nobody is busy until then.
#[test]
fn a_picture_that_stands_for_long() {
    let home = scratch();
    let run = home.path().join("run");
    by_hand(&run, BEGUN);
    let held = File::create(run.join(HELD)).unwrap();
    harmony::sys::fds::flock(&held, false).unwrap();
    let args = ["--progress=plain", "-i", "1h", "run"].map(str::to_owned);
    let mut shows = looks_on(home.path(), "cl-progress", &args);
    line_with(&mut shows, "level 1 0/1");
    let mut journal = File::options().append(true).open(run.join("journal")).unwrap();
    let ends = "{\"ts\":3,\"act\":\"end\",\"stream\":\"a\",\"outcome\":\"failed\"}\n\
        {\"ts\":3,\"act\":\"finish\",\"verdict\":\"unmet\"}\n";
    std::io::Write::write_all(&mut journal, ends.as_bytes()).unwrap();
    drop(held);
    collect(shows, "cl-progress").exits(0);
}
