//! Cut short at whatever moment, a run goes on: what ended well is not run again, and no attempts are mixed.

use super::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Each stream appends its name to `ran` when it is done, so that whatever ran twice to its end is seen.
const PLAN: &str = "name = 'k'\njobs = 3\n\
    [stream.a]\nrun = ['sh', '-c', 'seq 300; sleep 0.02; echo a >> ran']\n\
    [stream.b]\nafter = ['a', 'c']\nrun = ['sh', '-c', 'seq 200; sleep 0.03; echo b >> ran; echo b of $1', '-', '{{streams.c.text}}']\n\
    [stream.c]\nrun = ['sh', '-c', 'sleep 0.01; echo c >> ran; echo c']\n\
    [stream.d]\nafter = ['b', 'c']\nprompt = '{{streams.c.text}}'\nrun = ['sh', '-c', 'cat; sleep 0.02; echo d >> ran']\n\
    [stream.bad]\nafter = ['a']\noptional = true\nrun = ['sh', '-c', 'sleep 0.01; exit 1']\n\
    [stream.mend]\ninstead = 'bad'\nrun = ['sh', '-c', 'echo mend >> ran; echo m']\n\
    [stream.'in/e']\nafter = ['bad', 'd']\nrun = ['sh', '-c', 'echo $1 $2; echo e >> ran', '-', '{{streams.bad.text}}', '{{streams.d.text}}']\n";

/// What each stream says in its file, and that it is one attempt, whole.
#[track_caller]
fn answers(home: &Path) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for name in ["a", "b", "c", "d", "bad", "mend", "in/e"] {
        let bytes = std::fs::read(home.join(format!("run/{name}.ndjson"))).unwrap();
        let lines = json_lines(&bytes);
        let seqs: Vec<u64> = lines.iter().map(|line| line["cl"]["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=lines.len() as u64).collect::<Vec<_>>(), "{name}");
        let events = |subtype: &str| lines.iter().filter(|line| text(line, "/subtype") == subtype).count();
        assert_eq!((events("start"), events("exit")), (1, 1), "{name}");
        all.insert(name.to_owned(), said(&bytes));
    }
    all
}

fn ended_well(home: &Path) -> BTreeMap<String, usize> {
    let journal = json_lines(&std::fs::read(home.join("run/journal")).unwrap());
    let mut all = BTreeMap::new();
    for line in journal.iter().filter(|line| text(line, "/outcome") == "success") {
        *all.entry(text(line, "/stream").to_owned()).or_default() += 1;
    }
    all
}

/// Kills at random moments, each followed by `--resume`, until the plan is met.
#[test]
fn killed_at_random_and_resumed() {
    let undisturbed = scratch();
    played(undisturbed.path(), PLAN, &[]).exits(0);
    let wanted = answers(undisturbed.path());
    let kills: u32 = std::env::var("CL_KILLS").map_or(20, |kills| kills.parse().expect("a number"));
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut chance = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut killed = 0;
    while killed < kills {
        let home = scratch();
        std::fs::write(home.path().join("plan.toml"), PLAN).unwrap();
        let mut first = true;
        let done = loop {
            let args: &[&str] = match first {
                true => &["--run", "run", "plan.toml"],
                false => &["--resume", "run"],
            };
            let mut child = cl_run(home.path(), args).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(chance() % 160_000));
            let at_work = child.try_wait().unwrap().is_none();
            if at_work && killed < kills {
                killed += 1;
                child.kill().unwrap();
                wait(&mut child, "cl-run");
                // Before it has made its folder there is nothing to go on with.
                first &= !home.path().join("run/journal").exists();
                if first {
                    let _ = std::fs::remove_dir_all(home.path().join("run"));
                }
                continue;
            }
            break collect(child, "cl-run").exits(0);
        };
        assert_eq!(answers(home.path()), wanted);
        let wells: BTreeSet<String> = outcomes(&done)
            .into_iter()
            .filter(|(_, how)| how == "success")
            .map(|(name, _)| name)
            .collect();
        assert_eq!(wells.len(), 6, "the whole run is on stdout: {wells:?}");
        for (name, count) in ended_well(home.path()) {
            assert_eq!(count, 1, "{name} ended well more than once");
        }
        assert_eq!(said(&done.out).len(), wanted.values().map(Vec::len).sum::<usize>());
    }
}

/// What had ended well is passed on as it was, byte for byte.
#[test]
fn what_ended_well_is_not_run_again() {
    let home = scratch();
    let plan = "name = 'r'\njobs = 1\n[stream.a]\nrun = ['sh', '-c', 'echo a >> ran; date +%N']\n\
                [stream.b]\nafter = ['a']\nrun = ['sh', '-c', 'echo b >> ran; [ -e go ]']\n";
    let first = played(home.path(), plan, &[]).exits(1);
    std::fs::write(home.path().join("go"), "").unwrap();
    // From wherever: the plan's folders are those of the beginning.
    let elsewhere = scratch();
    let mut again = cl_run(home.path(), &["--resume", home.path().join("run").to_str().unwrap()]);
    again.current_dir(elsewhere.path());
    let again = finish(again, b"").exits(0);
    assert_eq!(said(&again.out), said(&first.out));
    assert_eq!(std::fs::read_to_string(home.path().join("ran")).unwrap(), "a\nb\nb\n");
    // The attempt that failed is set aside.
    assert!(home.path().join("run/b.ndjson.1").exists() && !home.path().join("run/a.ndjson.1").exists());
}

#[test]
fn what_is_asked_otherwise_runs_again_with_what_builds_on_it() {
    let home = scratch();
    let plan = "name = 'r'\njobs = 1\nprompt = 'p'\n[stream.a]\nrun = ['cat']\nprompt = 'one'\n[stream.b]\nafter = ['a']\nrun = ['true']\n\
                [stream.c]\nrun = ['true']\n[stream.d]\nrun = ['echo', '{{file:input}}']\n";
    std::fs::write(home.path().join("input"), "x").unwrap();
    played(home.path(), plan, &[]).exits(0);
    let starts = |home: &Path| -> Vec<String> {
        let acts = acts(home);
        let begun = acts.iter().rposition(|act| act == "begin").unwrap();
        acts[begun..]
            .iter()
            .filter_map(|act| Some(act.strip_prefix("start ")?.to_owned()))
            .collect()
    };
    assert_eq!(starts(home.path()).len(), 4);
    resumed(home.path(), &[]).exits(0);
    assert_eq!(starts(home.path()), Vec::<String>::new());
    std::fs::write(home.path().join("run/plan.toml"), plan.replace("one", "two")).unwrap();
    resumed(home.path(), &[]).exits(0);
    assert_eq!(starts(home.path()), ["a", "b"]);
    std::fs::write(home.path().join("input"), "y").unwrap();
    resumed(home.path(), &[]).exits(0);
    assert_eq!(starts(home.path()), ["d"]);
}

#[test]
fn a_run_that_goes_on_already_is_left_alone() {
    let home = scratch();
    let plan = "name = 'r'\n[stream.a]\nrun = ['sh', '-c', 'cat go']\n";
    mkfifo(&home.path().join("go"));
    std::fs::write(home.path().join("plan.toml"), plan).unwrap();
    let child = cl_run(home.path(), &["--run", "run", "plan.toml"]).spawn().unwrap();
    worker(home.path(), "a");
    let other = resumed(home.path(), &[]).exits(1);
    assert!(
        other.err.ends_with("/run: it runs, in another process\n"),
        "{}",
        other.err
    );
    std::fs::write(home.path().join("go"), "").unwrap();
    collect(child, "cl-run").exits(0);
}

/// Half a line in the journal, and a stream's file that the disk has lost: neither is taken for what it is not.
#[test]
fn a_machine_that_failed() {
    let home = scratch();
    let plan = "name = 'r'\njobs = 1\n[stream.a]\nrun = ['echo', 'a']\n[stream.b]\nrun = ['echo', 'b']\n";
    played(home.path(), plan, &[]).exits(0);
    let journal = home.path().join("run/journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.extend_from_slice(b"{\"ts\":1,\"act\":\"end\",\"stre");
    std::fs::write(&journal, bytes).unwrap();
    std::fs::write(home.path().join("run/a.ndjson"), "").unwrap();
    let done = resumed(home.path(), &[]).exits(0);
    assert_eq!(said(&done.out).len(), 2);
    let started = acts(home.path())
        .into_iter()
        .filter(|act| act.starts_with("start"))
        .count();
    assert_eq!(started, 3);
}

/// Old answers are none to what is asked now; what is asked the same is kept, and known at once.
#[test]
fn who_waits_for_a_run_that_goes_on() {
    let home = scratch();
    let plan = "name = 'r'\n[stream.a]\nlocks = ['db']\nrun = ['cat']\nprompt = 'one'\n\
                [stream.c]\nrun = ['cat']\nprompt = 'see'\n";
    played(home.path(), plan, &[]).exits(0);
    let wait = |args: &[&str]| {
        let mut wait = command(tool("cl-wait"));
        wait.args(args).args(["-o", "text", "run"]).current_dir(home.path());
        wait.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(wait, b"")
    };
    assert_eq!(wait(&[]).ok().text(), "one\n\nsee\n");
    std::fs::write(home.path().join("run/plan.toml"), plan.replace("one", "two")).unwrap();
    let lock = std::fs::File::create(home.path().join(".local/state/cl/locks/db")).unwrap();
    harmony::sys::fds::flock(&lock, false).unwrap();
    let child = cl_run(home.path(), &["--resume", "run"]).spawn().unwrap();
    until("the run goes on", || {
        acts(home.path()).contains(&"keep c".to_owned()).then_some(())
    });
    wait(&["-t", "0.2s"]).exits(124);
    wait(&["-t", "0.2s", "--need=a"]).exits(124);
    assert_eq!(wait(&["--need=c"]).ok().text(), "see\n");
    drop(lock);
    collect(child, "cl-run").exits(0);
    assert_eq!(wait(&[]).ok().text(), "two\n\nsee\n");
}
