//! Descriptors that were handed down, and pipes that several write to.

use super::*;

#[test]
fn inherited_descriptors_stay_as_they_were() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (mut reader, writer) = (File::from(reader), File::from(writer));
    let copy = writer.try_clone().unwrap();
    let tee = start_with(
        |command| {
            command.stdout(copy);
        },
        &[],
    );
    let child = tee.finish();
    child.ok();
    assert_eq!(fcntl(&writer, FcntlArg::F_GETFL).unwrap() & libc_nonblock(), 0);
    drop(writer);
    reader.read_to_end(&mut Vec::new()).unwrap();
}

fn libc_nonblock() -> i32 {
    OFlag::O_NONBLOCK.bits()
}

#[test]
fn a_socket_as_stdout() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut tee = start_with(
        |command| {
            command.stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        },
        &[],
    );
    let input = noise(3_000_000);
    let writer = tee.feed(input.clone());
    let mut all = Vec::new();
    ours.read_to_end(&mut all).unwrap();
    assert!(all == input);
    writer.join().unwrap();
    tee.finish().ok();
}

#[test]
fn descriptors_by_number() {
    let dir = scratch();
    let mut command = command("bash");
    let script =
        "echo before >log; exec 5>>log; echo hi | cl-tee /dev/fd/5 /dev/fd/5 /dev/fd/9; echo $?; echo after >&5";
    command.current_dir(dir.path()).arg("-c").arg(script);
    let done = harness::finish(command, b"").exits(0);
    assert_eq!(done.err, "cl-tee: /dev/fd/9: No such file or directory\n");
    assert_eq!(done.text(), "hi\n1\n");
    assert_eq!(
        std::fs::read(dir.path().join("log")).unwrap(),
        b"before\nhi\nhi\nafter\n"
    );
    // A shell's own way of naming a command.
    let done = harness::bash("{ seq 100000 | cl-tee >(wc -l >&3) >/dev/null; } 3>&1 | cat").ok();
    assert_eq!(done.text().trim(), "100000");
}

#[test]
fn lines_of_several_writers_stay_whole() {
    let dir = scratch();
    for writer in 0..4 {
        let text: String = (1..=100)
            .map(|seq| cl(&format!("w{writer}"), seq, 20_000 + 1800 * (seq as usize % 100)))
            .collect();
        std::fs::write(dir.path().join(format!("in{writer}")), text).unwrap();
    }
    for script in [
        "{ for i in 0 1 2 3; do cl-tee <in$i & done; wait; } | cat >out",
        "{ for i in 0 1 2 3; do cl-tee -a out <in$i >/dev/null & done; wait; }",
        "mkfifo f; { for i in 0 1 2 3; do cl-tee f <in$i >/dev/null & done; wait; } & cat f >out; wait",
        "{ for i in 0 1 2 3; do cl-tee <in$i & done; wait; } >out",
    ] {
        let _ = std::fs::remove_file(dir.path().join("out"));
        let mut command = command("bash");
        command.current_dir(dir.path()).arg("-c").arg(script);
        harness::finish(command, b"").ok();
        let out = std::fs::read(dir.path().join("out")).unwrap();
        assert_eq!(accounted(&out, &["w0", "w1", "w2", "w3"], 100), 0, "{script}");
    }
}

#[test]
fn a_busy_writer_lets_others_in() {
    // One writes without end, and none of its reads ends where a line does; the other has a single line to say.
    let script = r#"
        { printf x; yes "$(printf 'busy%04091d' 0)"; } | dd bs=64K iflag=fullblock status=none | cl-tee >pipe & busy=$!
        head -n 100 <&3 >/dev/null
        echo single | cl-tee >pipe &
        grep -m 1 -ao '^single$' <&3
        kill -KILL $busy; wait
    "#;
    let dir = scratch();
    mkfifo(&dir.path().join("pipe"));
    let mut command = command("bash");
    let script = format!("exec 3<>pipe\n{script}");
    command.current_dir(dir.path()).args(["-c", &script]);
    assert_eq!(harness::finish(command, b"").text(), "single\n");
}
