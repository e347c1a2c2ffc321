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
