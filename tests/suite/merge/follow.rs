//! Files that grow, folders that fill, writers that come and go.

use super::*;

#[test]
fn follows_a_file_until_its_stream_has_ended() {
    let dir = scratch();
    let path = dir.path().join("main.ndjson");
    let mut file = File::create(&path).expect("creates");
    let content = whole("main", 3);
    let (first, rest) = content.split_at(content.len() / 2);
    file.write_all(first.as_bytes()).expect("writes");
    let (merge, mut out) = start(&["-f", "main.ndjson"], dir.path());
    let mut got = String::new();
    out.read_line(&mut got).expect("reads");
    for byte in rest.as_bytes().chunks(7) {
        file.write_all(byte).expect("writes");
    }
    let (code, end) = ends(merge, out);
    assert_eq!((code, got + std::str::from_utf8(&end).expect("text")), (0, content));
}

#[test]
fn follows_through_rotation_and_truncation() {
    let dir = scratch();
    let path = dir.path().join("main.ndjson");
    fs::write(&path, line("main", 1, 1.0, START)).expect("writes");
    let (merge, mut out) = start(&["-f", "main.ndjson"], dir.path());
    next_subtype(&mut out, "start");
    // Renamed away, still written to, and begun anew under its name.
    let mut old = File::options().append(true).open(&path).expect("opens");
    fs::rename(&path, dir.path().join("main.ndjson.1")).expect("renames");
    old.write_all(line("main", 2, 2.0, r#""n":2"#).as_bytes())
        .expect("writes");
    fs::write(&path, line("main", 3, 3.0, r#""n":3"#)).expect("writes");
    assert_eq!(next(&mut out)["n"], 2);
    assert_eq!(next(&mut out)["n"], 3);
    // Cut to nothing and written again.
    let mut file = File::options().write(true).truncate(true).open(&path).expect("opens");
    file.write_all(line("main", 4, 4.0, r#""n":4"#).replace("main", "m").as_bytes())
        .expect("writes");
    assert_eq!(next(&mut out)["n"], 4);
    file.write_all((line("m", 5, 5.0, EXIT) + &line("main", 4, 5.0, EXIT)).as_bytes())
        .expect("writes");
    let (code, rest) = ends(merge, out);
    assert_eq!((code, json_lines(&rest).len()), (0, 2));
}

#[test]
fn follows_a_folder_as_it_fills() {
    let dir = scratch();
    fs::create_dir(dir.path().join("run")).expect("makes");
    fs::write(dir.path().join("run/a.ndjson"), line("a", 1, 1.0, START)).expect("writes");
    let (merge, mut out) = start(&["-f", "run"], dir.path());
    next_subtype(&mut out, "start");
    // A file, a FIFO, and a folder with a file, all later.
    fs::write(dir.path().join("run/b.ndjson"), whole("b", 1)).expect("writes");
    assert_eq!(text(&next_subtype(&mut out, "exit"), "/cl/stream"), "b");
    let fifo = mkfifo(&dir.path().join("run/c"));
    fs::write(&fifo, whole("c", 1)).expect("writes");
    assert_eq!(text(&next_subtype(&mut out, "exit"), "/cl/stream"), "c");
    fs::create_dir(dir.path().join("run/d")).expect("makes");
    fs::write(dir.path().join("run/d/e.ndjson"), whole("d/e", 1)).expect("writes");
    assert_eq!(text(&next_subtype(&mut out, "exit"), "/cl/stream"), "d/e");
    let mut file = File::options()
        .append(true)
        .open(dir.path().join("run/a.ndjson"))
        .expect("opens");
    file.write_all(line("a", 2, 2.0, EXIT).as_bytes()).expect("writes");
    assert_eq!(ends(merge, out).0, 0);
}

#[test]
fn follows_a_fifo_whose_writers_come_and_go() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("a"));
    let (merge, mut out) = start(&["--follow", "a"], dir.path());
    for seq in 1..=50 {
        let rest = if seq == 1 { START } else { r#""n":1"# };
        put(&fifo, &line("s", seq, 1.0, rest));
        assert_eq!(next(&mut out)["cl"]["seq"], seq);
    }
    // What a writer leaves unfinished is not glued to what the next one writes.
    put(&fifo, r#"{"cl":{"stream":"s","seq":51,"ts":1.0},"n":"#);
    assert_eq!(text(&next(&mut out), "/subtype"), "torn");
    put(&fifo, &line("s", 52, 1.0, EXIT));
    assert_eq!(ends(merge, out).0, 0);
}

#[test]
fn following_waits_for_every_source_that_was_named() {
    let dir = scratch();
    fs::write(dir.path().join("a.ndjson"), whole("a", 1)).expect("writes");
    let fifo = mkfifo(&dir.path().join("b"));
    let (merge, mut out) = start(&["-f", "a.ndjson", "b"], dir.path());
    next_subtype(&mut out, "exit");
    fs::write(&fifo, whole("b", 1)).expect("writes");
    let (code, rest) = ends(merge, out);
    assert_eq!((code, json_lines(&rest).len()), (0, 3));
}

#[test]
fn follows_a_fifo_though_no_descriptor_is_left() {
    let dir = scratch();
    for i in 10..50 {
        mkfifo(&dir.path().join(format!("s{i}")));
    }
    let mut command = crate::harness::command("bash");
    command
        .current_dir(dir.path())
        .args(["-c", "ulimit -n 24; exec cl-merge -f s*"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut merge = command.spawn().expect("starts");
    let mut out = BufReader::new(merge.stdout.take().expect("piped"));
    for seq in 1..=5 {
        put(
            &dir.path().join("s10"),
            &line("s", seq, 1.0, if seq == 1 { START } else { r#""n":1"# }),
        );
        assert_eq!(next(&mut out)["cl"]["seq"], seq);
    }
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ends(merge, out).0, 143);
}

/// cl-merge that follows what is not there yet, once it has said so.
fn awaiting(args: &[&str], dir: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut command = crate::harness::command(crate::harness::tool("cl-merge"));
    command
        .current_dir(dir)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut merge = command.spawn().expect("starts");
    let out = BufReader::new(merge.stdout.take().expect("piped"));
    let mut said = String::new();
    let mut err = BufReader::new(merge.stderr.take().expect("piped"));
    err.read_line(&mut said).expect("reads");
    let name = args.last().and_then(|arg| arg.rsplit('=').next()).expect("an argument");
    assert_eq!(said, format!("cl-merge: {name}: not there yet; waiting for it\n"));
    (merge, out)
}

#[test]
fn waits_for_a_file_that_is_not_there_yet() {
    let dir = scratch();
    fs::write(dir.path().join("a.ndjson"), whole("a", 1)).expect("writes");
    let (merge, mut out) = awaiting(&["-f", "a.ndjson", "b.ndjson"], dir.path());
    // All streams seen have ended, and still it waits.
    next_subtype(&mut out, "exit");
    fs::write(dir.path().join("other.ndjson"), whole("other", 1)).expect("writes");
    let content = whole("b", 2);
    let (first, rest) = content.split_at(content.len() / 2);
    let mut file = File::create(dir.path().join("b.ndjson")).expect("creates");
    file.write_all(first.as_bytes()).expect("writes");
    assert_eq!(text(&next(&mut out), "/cl/stream"), "b");
    file.write_all(rest.as_bytes()).expect("writes");
    let (code, rest) = ends(merge, out);
    assert_eq!((code, json_lines(&rest).len()), (0, 3));

    // One that is moved into place, with lines of no header; and a folder.
    let (merge, out) = awaiting(&["-f", "name=./c"], dir.path());
    fs::write(dir.path().join("tmp"), whole("c", 1)).expect("writes");
    fs::rename(dir.path().join("tmp"), dir.path().join("c")).expect("renames");
    let (code, rest) = ends(merge, out);
    assert_eq!((code, json_lines(&rest).len()), (0, 3));
    let (merge, out) = awaiting(&["-f", "run/"], dir.path());
    fs::create_dir(dir.path().join("run")).expect("makes");
    fs::write(dir.path().join("run/d.ndjson"), whole("d", 1)).expect("writes");
    let (code, rest) = ends(merge, out);
    assert_eq!((code, json_lines(&rest).len()), (0, 3));

    // Without its folder there is nothing to wait for, nor without --follow.
    for args in [&["-f", "/nonexistent/x"][..], &["/nonexistent/x"], &["x"]] {
        let done = crate::harness::run("cl-merge", args).exits(1);
        assert!(done.err.ends_with(": No such file or directory\n"), "{}", done.err);
    }
    let (merge, out) = awaiting(&["-f", "never"], dir.path());
    signal(&merge, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ends(merge, out).0, 143);
}
