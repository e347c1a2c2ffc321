//! A run that is over, waited for beside what goes on: that may tell more of a stream that the run has told of.

use super::seen::{BEGUN, by_hand, looks_on, watches};
use super::*;
use harmony::run::HELD;
use std::fs::File;
use std::io::Write;
use std::process::Child;

/// A line of a stream, of cl-spawn.
fn line(stream: &str, seq: u64, subtype: &str) -> String {
    let head = format!(r#"{{"cl":{{"stream":"{stream}","seq":{seq},"ts":{seq}.000000}}"#);
    format!("{head},\"type\":\"cl\",\"subtype\":{subtype}}}\n")
}

fn start(stream: &str) -> String {
    line(stream, 1, r#""start","attempt":1,"agent":"plain""#)
}

fn well(stream: &str) -> String {
    line(stream, 2, r#""exit","outcome":"success""#)
}

/// A run that was cut short in the folder `cut` while its stream `a` ran.
fn cut(home: &Path) {
    by_hand(&home.join("cut"), BEGUN);
    add(&home.join("cut/a.ndjson"), &start("a"));
}

fn add(path: &Path, text: &str) {
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A FIFO, open on both sides, so that nobody waits at it.
fn fifo(path: &Path) -> File {
    File::options().read(true).write(true).open(mkfifo(path)).unwrap()
}

/// A cl-wait for one stream, as it has read all there is and sleeps; or has ended, where it should not.
fn waits(home: &Path, need: &str, targets: [&str; 2]) -> Child {
    let args = ["--need", need, "-o", "none", targets[0], targets[1]].map(str::to_owned);
    let child = looks_on(home, "cl-wait", &args);
    watches(&child, 3);
    until("sleep", || {
        let state = state(child.id() as i32);
        matches!(state, Some('S' | 'Z')).then_some(())
    });
    child
}

fn ends_well(child: Child) {
    let done = collect(child, "cl-wait").exits(0);
    assert_eq!(done.err, "");
}

#[test]
fn what_was_cut_short_is_done_anew_by_hand() {
    let home = scratch();
    let path = |name: &str| home.path().join(name);
    cut(home.path());
    std::fs::create_dir(path("folder")).unwrap();
    File::create(path("log")).unwrap();
    let _held = fifo(&path("fifo"));
    for (target, file) in [("fifo", "fifo"), ("log", "log"), ("folder", "folder/a.ndjson")] {
        let child = waits(home.path(), "a", ["cut", target]);
        add(&path(file), &(start("a") + &well("a")));
        ends_well(child);
    }
}

#[test]
fn nobody_is_left_who_could_do_it_anew() {
    let home = scratch();
    let path = home.path().join("fifo");
    cut(home.path());
    let held = fifo(&path);
    let child = waits(home.path(), "a", ["cut", "fifo"]);
    // As long as it has its name, another writer may come.
    std::fs::remove_file(&path).unwrap();
    drop(held);
    let done = collect(child, "cl-wait").exits(1);
    let because = "cl-wait: a stopped without telling its end";
    assert!(done.err.starts_with(because), "{}", done.err);
}

#[test]
fn a_stream_of_another_one_inside_a_name_of_a_run_that_is_over() {
    let home = scratch();
    let over = BEGUN.to_owned()
        + "{\"ts\":3,\"act\":\"end\",\"stream\":\"a\",\"outcome\":\"success\"}\n\
        {\"ts\":3,\"act\":\"finish\",\"verdict\":\"met\"}\n";
    by_hand(&home.path().join("over"), &over);
    add(&home.path().join("over/a.ndjson"), &(start("a") + &well("a")));
    let mut held = fifo(&home.path().join("fifo"));
    held.write_all(start("a/later").as_bytes()).unwrap();
    let child = waits(home.path(), "a/later", ["over", "fifo"]);
    held.write_all(well("a/later").as_bytes()).unwrap();
    ends_well(child);
    // And one of a run that goes on.
    let going = home.path().join("going");
    by_hand(&going, &BEGUN.replace("\"a\"", "\"a/x\""));
    std::fs::write(going.join("plan.toml"), "name = 'p'\n[stream.'a/x']\nrun = ['x']\n").unwrap();
    let lives = File::create(going.join(HELD)).unwrap();
    harmony::sys::fds::flock(&lives, false).unwrap();
    add(&going.join("x.ndjson"), &start("a/x"));
    let child = waits(home.path(), "a/x", ["over", "going"]);
    add(&going.join("x.ndjson"), &well("a/x"));
    ends_well(child);
}
