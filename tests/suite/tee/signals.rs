//! Signals.

use super::*;

#[test]
fn signals_wrap_up() {
    // What the writers still say passes, until they end.
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let dir = scratch();
        let file = dir.path().join("file");
        let mut tee = start(&[str(&file)]);
        tee.write(b"one\n");
        tee.read_stdout(4);
        tee.signal(signal);
        tee.write(b"two\n");
        assert_eq!(tee.read_stdout(4), b"two\n");
        let done = tee.finish().exits(code);
        assert_eq!(
            (done.err.as_str(), std::fs::read(&file).unwrap()),
            ("", b"one\ntwo\n".to_vec())
        );
    }
}

#[test]
fn a_signal_ends_the_wait_for_a_stopped_reader() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut tee = start(&[str(&fifo)]);
    let reader = File::open(&fifo).unwrap();
    let writer = tee.feed(noise(1_000_000));
    assert_eq!(tee.stdout().len(), 1_000_000);
    writer.join().unwrap();
    tee.signal(Signal::SIGTERM);
    let done = tee.finish().exits(143);
    assert!(done.err.ends_with(" bytes were not taken\n"), "{}", done.err);
    drop(reader);
}

#[test]
fn the_second_signal_ends_at_once() {
    let mut tee = start(&[]);
    tee.write(b"x");
    tee.read_stdout(1);
    tee.signal(Signal::SIGINT);
    // The second is only a second when the first has been taken.
    let status = format!("/proc/{}/status", tee.child.id());
    until("the first signal to be taken", || {
        let status = std::fs::read_to_string(&status).ok()?;
        let mut pending = status
            .lines()
            .filter(|line| line.starts_with("SigPnd") || line.starts_with("ShdPnd"));
        pending.all(|line| line.ends_with("0000000000000000")).then_some(())
    });
    tee.signal(Signal::SIGTERM);
    let stdin = tee.stdin.take();
    collect(tee.child, "cl-tee").exits(143);
    drop(stdin);
}

#[test]
fn interrupts_can_be_ignored() {
    let mut tee = start(&["-i"]);
    for _ in 0..3 {
        tee.write(b"x");
        tee.read_stdout(1);
        tee.signal(Signal::SIGINT);
    }
    tee.finish().ok();
    // As they are when we are started that way.
    let mut tee = {
        let mut command = command("bash");
        command
            .args(["-c", "trap '' INT; exec cl-tee"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        Running { child, stdin }
    };
    tee.write(b"x");
    tee.read_stdout(1);
    tee.signal(Signal::SIGINT);
    tee.finish().ok();
}
