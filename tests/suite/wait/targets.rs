//! Run folders, files and processes.

use super::*;

#[test]
fn a_run_folder_is_followed() {
    let dir = scratch();
    let run = dir.path().join("run");
    std::fs::create_dir(&run).expect("a folder");
    let put = |name: &str, text: &str| {
        let path = run.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        append(&path, text);
    };
    put("a.ndjson", &start("a"));
    let waiting = Waiting::new(&["--expect", "a,b,c/d", run.to_str().expect("UTF-8")]);
    put("b.ndjson", &good("b"));
    put("a.ndjson", &(says("a", "I am a") + &line("a", 3, r#""type":"later""#)));
    put("c/d.ndjson", &start("c/d"));
    put(
        "a.ndjson",
        &line("a", 4, r#""type":"cl","subtype":"exit","outcome":"success""#),
    );
    put("c/d.ndjson", &ends("c/d", "success", ""));
    let done = waiting.done().ok();
    assert_eq!(text(&verdict(&done), "/streams/c~1d/outcome"), "success");
    // Again, now that all is over: what is seen counts as all there is.
    let again = run.to_str().expect("UTF-8");
    let done = finish_without_stdin(&[again, "-o", "text"]).ok();
    assert_eq!(done.text(), "I am a\n\nI am b\n");
    put("e.ndjson", &ends("e", "failed", ""));
    finish_without_stdin(&[again]).exits(1);
}

#[test]
fn a_fifo_in_a_run_folder_is_another_ones() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("x"));
    // Open on both sides, so that what is written stays in it.
    let mut held = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&fifo)
        .expect("opens");
    held.write_all(ends("x", "failed", "").as_bytes()).expect("writes");
    std::fs::write(dir.path().join("a.ndjson"), good("a")).expect("writes");
    let folder = dir.path().to_str().expect("UTF-8");
    let done = finish_without_stdin(&[folder]).ok();
    assert!(verdict(&done).pointer("/streams/x").is_none());
    let mut line = vec![0; ends("x", "failed", "").len()];
    held.read_exact(&mut line).expect("reads");
    assert_eq!(line, ends("x", "failed", "").as_bytes());
}

#[test]
fn more_files_than_descriptors() {
    let dir = scratch();
    for i in 10..50 {
        std::fs::write(dir.path().join(format!("s{i}.ndjson")), good(&format!("s{i}"))).expect("writes");
    }
    let script = |args: &str| {
        format!(
            "ulimit -n 30; cl-wait {args} {} | cat; exit ${{PIPESTATUS[0]}}",
            dir.path().display()
        )
    };
    let done = bash(&script("")).exits(1);
    assert!(
        done.err
            .contains("/s49.ndjson: Too many open files; allow more with `ulimit -n`\n"),
        "{}",
        done.err
    );
    assert!(
        done.err.ends_with("cl-wait: not every source could be read\n"),
        "{}",
        done.err
    );
    assert_eq!(text(&verdict(&done), "/verdict"), "unmet");
    // What is needed could be read.
    bash(&script("--need s10")).exits(0);
}

#[test]
fn a_process_of_another_parent() {
    let mut sleeper = command("sleep").arg("300").spawn().expect("starts");
    let pid = sleeper.id().to_string();
    Waiting::new(&[&pid, "-t", "50ms"]).done().exits(124);
    let (trusting, strict) = (Waiting::new(&["--trust", &pid]), Waiting::new(&[&pid]));
    for waiting in [&trusting, &strict] {
        // Once the number is free, it would be no such process.
        until("the process as a descriptor", || waiting.holds(&pid).then_some(()));
    }
    sleeper.kill().expect("it runs");
    sleeper.wait().expect("ends");
    let done = trusting.done().ok();
    assert_eq!(text(&verdict(&done), &format!("/streams/{pid}/outcome")), "unknown");
    let done = strict.done().exits(1);
    assert!(done.err.contains("start it by cl-spawn"), "{}", done.err);
}

#[test]
fn no_such_target() {
    for target in ["/nonexistent/run", "99999999999", "4194305", "nobody"] {
        let done = finish_without_stdin(&[target]).exits(127);
        assert!(
            done.err.starts_with(&format!("cl-wait: {target}: no such ")),
            "{}",
            done.err
        );
        assert_eq!(done.out, b"");
    }
}
