//! Sources of every other kind.

use super::*;

#[test]
fn stdin_of_every_kind() {
    let dir = scratch();
    let file = dir.path().join("f");
    fs::write(&file, "hi\n").expect("writes");
    let (socket, mut peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
    peer.write_all(b"hi\n").expect("writes");
    drop(peer);
    let (pipe, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"hi\n").expect("writes");
    drop(writer);
    let inputs: [OwnedFd; 3] = [File::open(&file).expect("opens").into(), socket.into(), pipe.into()];
    for input in inputs {
        let mut merge = command(tool("cl-merge"));
        let child = merge
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = collect(child, "cl-merge").ok().json();
        assert_eq!(subtypes(&of(&lines, "stdin")), ["start", "text", "exit"]);
    }
    // A terminal: what is typed comes in lines, and Ctrl-D is the end.
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let child = command(tool("cl-merge"))
        .args(["-o", "raw"])
        .stdin(pty.slave.try_clone().expect("clones"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut master = File::from(pty.master);
    master.write_all(b"typed\n\x04").expect("writes");
    assert_eq!(collect(child, "cl-merge").ok().text(), "typed\n");
}

#[test]
fn an_inherited_pipe_stays_blocking_for_those_who_share_it() {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (input, writer) = std::io::pipe().expect("a pipe");
    let (reader, output) = std::io::pipe().expect("a pipe");
    let child = command(tool("cl-merge"))
        .stdin(input.try_clone().expect("clones"))
        .stdout(output.try_clone().expect("clones"))
        .spawn()
        .expect("starts");
    let mut writer = writer;
    writeln!(writer, "hi").expect("writes");
    let mut out = BufReader::new(reader);
    next_subtype(&mut out, "text");
    for fd in [input.as_fd(), output.as_fd()] {
        let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL).expect("flags"));
        assert!(!flags.contains(OFlag::O_NONBLOCK));
    }
    drop((writer, output));
    assert_eq!(ends(child, out).0, 0);
}

#[test]
fn names_from_places() {
    let done = bash(
        r#"cd "$(mktemp -d)" && mkdir x && echo 1 > a.log && echo 2 > x/a.ndjson && echo 3 > 'b c'
        echo 4 | cl-merge a.log x/a.ndjson 'b c' - own=<(echo 5) <(echo 6) | cat; rm -r "$PWD""#,
    )
    .ok();
    let lines = done.json();
    let texts: Vec<(&str, &str)> = lines
        .iter()
        .filter(|line| text(line, "/subtype") == "text")
        .map(|line| (text(line, "/text"), text(line, "/cl/stream")))
        .collect();
    for (content, name) in [("1", "a"), ("2", "a-2"), ("3", "b_c"), ("4", "stdin"), ("5", "own")] {
        assert!(texts.contains(&(content, name)), "{content}: {texts:?}");
    }
    let six = texts.iter().find(|(content, _)| *content == "6").expect("there");
    assert!(six.1.starts_with("fd"), "{six:?}");
    let done = run("cl-merge", &["n=/dev/null", "n=/dev/zero"]).exits(2);
    assert_eq!(done.err, "cl-merge: n: two sources have this name; give each its own\n");
}

#[test]
fn a_source_that_cannot_be_opened_is_told_and_the_others_flow() {
    let dir = scratch();
    fs::write(dir.path().join("good.ndjson"), whole("good", 3)).expect("writes");
    let good = dir.path().join("good.ndjson");
    // Whoever runs the tests may have left us a descriptor 3.
    let script = format!(
        "exec cl-merge /nonexistent {} /dev/fd/200 /dev/fd/3 3<&-",
        good.display()
    );
    let done = bash(&script).exits(1);
    assert_eq!(done.text(), whole("good", 3));
    let mut told: Vec<&str> = done.err.lines().collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "cl-merge: /dev/fd/200: Bad file descriptor",
            "cl-merge: /dev/fd/3: Bad file descriptor",
            "cl-merge: /nonexistent: No such file or directory"
        ]
    );
}

#[test]
fn nothing_in_is_nothing_out_and_a_named_source_owes_its_end() {
    assert_eq!(run::<&str>("cl-merge", &[]).ok().out, b"");
    let lines = run("cl-merge", &["n=/dev/null"]).ok().json();
    assert_eq!(subtypes(&of(&lines, "n")), ["start", "exit"]);
}

#[test]
fn more_sources_than_the_soft_limit_of_descriptors() {
    let done = bash(
        r#"cd "$(mktemp -d)" && ulimit -S -n 64 && for i in $(seq 200); do echo "$i" > "s$i.ndjson"; done
        cl-merge s*.ndjson | grep -c '"subtype":"exit"'; cl-merge . | grep -c '"subtype":"exit"'; rm -r "$PWD""#,
    )
    .ok();
    assert_eq!(done.text(), "200\n200\n");
}

#[test]
fn more_sources_than_descriptors() {
    let dir = scratch();
    for i in 10..50 {
        fs::write(dir.path().join(format!("s{i}.ndjson")), whole(&format!("s{i}"), 1)).expect("writes");
    }
    let script = format!("cd {}; ulimit -n 24; cl-merge s*.ndjson", dir.path().display());
    for script in [
        script.clone(),
        script.replace("s*.ndjson", ".") + " | cat; exit ${PIPESTATUS[0]}",
    ] {
        let done = bash(&script).exits(1);
        let told: Vec<&str> = done.err.lines().collect();
        assert!(!told.is_empty());
        for (line, i) in told.iter().rev().zip((10..50).rev()) {
            let expected = format!("s{i}.ndjson: Too many open files; allow more with `ulimit -n`");
            assert!(line.starts_with("cl-merge: ") && line.ends_with(&expected), "{line}");
        }
        let lines = done.json();
        let ends = lines.iter().filter(|line| text(line, "/subtype") == "exit").count();
        assert_eq!((ends + told.len(), subtypes(&of(&lines, "s10")).len()), (40, 3));
    }
}

#[test]
fn folders_with_nested_streams() {
    let dir = scratch();
    fs::create_dir_all(dir.path().join("run/outer")).expect("makes");
    fs::write(dir.path().join("run/main.ndjson"), whole("main", 1)).expect("writes");
    fs::write(dir.path().join("run/outer/inner.ndjson"), "bare\n").expect("writes");
    fs::write(dir.path().join("run/notes.txt"), "no source\n").expect("writes");
    fs::write(dir.path().join("run/.hidden.ndjson"), "no source\n").expect("writes");
    std::os::unix::fs::symlink("..", dir.path().join("run/loop")).expect("links");
    let folder = dir.path().join("run");
    let lines = run("cl-merge", &[&folder]).ok().json();
    assert_eq!(
        (of(&lines, "main").len(), of(&lines, "outer/inner").len(), lines.len()),
        (3, 3, 6)
    );
    let named = format!("x={}", folder.display());
    let lines = run("cl-merge", &[named]).ok().json();
    assert_eq!(of(&lines, "x/outer/inner").len(), 3);
}
