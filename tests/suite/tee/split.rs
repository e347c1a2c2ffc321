//! One file a stream.

use super::*;

#[test]
fn split_into_streams() {
    let dir = scratch();
    let run_dir = dir.path().join("x/run");
    let mut input = String::new();
    let mut own: HashMap<&str, String> = HashMap::new();
    for seq in 1..400 {
        for stream in ["a", "a/b", "a.ndjson/c", "a.ndjson", "main", "..."] {
            let line = cl(stream, seq, 10 + (seq as usize * 37) % 20_000);
            input += &line;
            *own.entry(stream).or_default() += &line;
        }
        let line = format!("no header {seq} {{\"cl\":1}}\n");
        input += &line;
        *own.entry("_").or_default() += &line;
    }
    input += "and no end";
    *own.get_mut("_").unwrap() += "and no end";
    let done = feed("cl-tee", &["--split", str(&run_dir)], input.as_bytes()).ok();
    assert!(done.out == input.as_bytes());
    for (stream, file) in [
        ("a", "a"),
        ("a/b", "a/b"),
        ("a.ndjson/c", "a.ndjson.d/c"),
        ("a.ndjson", "a.ndjson"),
        ("main", "main"),
        ("...", "..."),
        ("_", "_"),
    ] {
        let path = run_dir.join(format!("{file}.ndjson"));
        assert!(std::fs::read_to_string(&path).unwrap() == own[stream], "{stream}");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    }
    assert_eq!(run_dir.metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(run_dir.join("a").metadata().unwrap().mode() & 0o7777, 0o700);

    // Another run overwrites the streams that it has, and only those; or appends.
    feed("cl-tee", &["--split", str(&run_dir)], cl("main", 1, 100).as_bytes()).ok();
    feed(
        "cl-tee",
        &["-a", "--split", str(&run_dir)],
        cl("main", 2, 100).as_bytes(),
    )
    .ok();
    assert_eq!(
        std::fs::read_to_string(run_dir.join("main.ndjson")).unwrap(),
        cl("main", 1, 100) + &cl("main", 2, 100)
    );
    assert!(std::fs::read_to_string(run_dir.join("a.ndjson")).unwrap() == own["a"]);
}

#[test]
fn split_of_lines_in_small_pieces() {
    let dir = scratch();
    let mut tee = start(&["--split", str(dir.path())]);
    let (one, two) = (cl("one", 1, 9000), cl("two", 1, 90));
    let input = [one.as_bytes(), two.as_bytes()].concat();
    for piece in input.chunks(7) {
        tee.write(piece);
        tee.read_stdout(piece.len());
    }
    tee.finish().ok();
    assert_eq!(std::fs::read_to_string(dir.path().join("one.ndjson")).unwrap(), one);
    assert_eq!(std::fs::read_to_string(dir.path().join("two.ndjson")).unwrap(), two);
}

#[test]
fn a_thousand_streams_with_few_descriptors() {
    let name = |stream| format!("group{}/s{stream}", stream % 7);
    for (streams, limit, option) in [(1000, 256, ""), (1000, 20, ""), (60, 20, "--sync")] {
        let dir = scratch();
        let lines = (1..=3).flat_map(|seq| (0..streams).map(move |stream| cl(&name(stream), seq, 200)));
        let ends = (0..streams).map(|stream| exit_event(&name(stream), 4));
        std::fs::write(dir.path().join("in"), lines.chain(ends).collect::<String>()).unwrap();
        let script = format!("ulimit -n {limit}; cl-tee {option} --split run <in | cmp - in");
        let mut command = command("bash");
        command.current_dir(dir.path()).args(["-o", "pipefail", "-c", &script]);
        harness::finish(command, b"").ok();
        for stream in 0..streams {
            let name = name(stream);
            let text = std::fs::read(dir.path().join(format!("run/{name}.ndjson"))).unwrap();
            assert_eq!(accounted(&text, &[&name], 4), 0);
        }
    }
}

#[test]
fn split_follows_no_link() {
    let dir = scratch();
    let run_dir = dir.path().join("run");
    std::fs::create_dir(&run_dir).unwrap();
    std::fs::write(dir.path().join("precious"), "p").unwrap();
    std::os::unix::fs::symlink("../precious", run_dir.join("a.ndjson")).unwrap();
    std::os::unix::fs::symlink("..", run_dir.join("up")).unwrap();
    let input = [cl("a", 1, 90), cl("up/b", 1, 90), cl("c", 1, 90), cl("a", 2, 90)].concat();
    let done = feed("cl-tee", &["--split", str(&run_dir)], input.as_bytes()).exits(1);
    assert_eq!(done.text(), input);
    assert_eq!(done.err.lines().count(), 2, "{}", done.err);
    assert!(
        done.err.contains("run/a.ndjson: ") && done.err.contains("run/up/b.ndjson: "),
        "{}",
        done.err
    );
    assert_eq!(std::fs::read(dir.path().join("precious")).unwrap(), b"p");
    assert!(!dir.path().join("b.ndjson").exists());
    assert_eq!(
        std::fs::read_to_string(run_dir.join("c.ndjson")).unwrap(),
        cl("c", 1, 90)
    );
}
