//! Readers that die, stop, or have not come yet.

use super::*;

#[test]
fn a_reader_that_dies() {
    // (option, told and an error, ends)
    for (option, told, ends) in [
        ("--append", true, false),
        ("--output-error=warn", true, false),
        ("--output-error=warn-nopipe", false, false),
        ("--output-error", false, false),
        ("-p", false, false),
        ("--output-error=exit", true, true),
        ("--output-error=exit-nopipe", false, false),
    ] {
        let dir = scratch();
        let fifo = mkfifo(&dir.path().join("fifo"));
        let mut tee = start(&[option, str(&fifo)]);
        let mut reader = File::open(&fifo).unwrap();
        tee.write(b"one\n");
        reader.read_exact(&mut [0; 4]).unwrap();
        drop(reader);
        let message = format!("cl-tee: {}: Broken pipe\n", fifo.display());
        if told {
            // Without a write.
            assert_eq!(tee.stderr_line(), message, "{option}");
        }
        if !ends {
            tee.write(b"two\n");
            assert_eq!(tee.read_stdout(8), b"one\ntwo\n", "{option}");
            tee.stdin = None;
        }
        let done = collect(tee.child, option).exits(i32::from(told));
        assert_eq!(done.err, "", "{option}");
    }
}

#[test]
fn stdout_reader_that_dies() {
    // (option, told and an error, ends)
    for (option, told, ends) in [
        ("--append", false, true),
        ("-p", false, false),
        ("--output-error=warn", true, false),
        ("--output-error=warn-nopipe", false, false),
        ("--output-error=exit", true, true),
        ("--output-error=exit-nopipe", false, false),
    ] {
        let dir = scratch();
        let file = dir.path().join("file");
        let mut tee = start(&[option, str(&file)]);
        tee.write(b"one\n");
        tee.read_stdout(4);
        // Noticed without a write.
        tee.child.stdout = None;
        let message = if told {
            "cl-tee: standard output: Broken pipe\n"
        } else {
            ""
        };
        if ends {
            let done = collect(tee.child, option).exits(i32::from(told));
            assert_eq!(
                (done.err.as_str(), std::fs::read(&file).unwrap()),
                (message, b"one\n".to_vec())
            );
        } else {
            tee.write(b"two\n");
            let done = tee.finish().exits(i32::from(told));
            assert_eq!(
                (done.err.as_str(), std::fs::read(&file).unwrap()),
                (message, b"one\ntwo\n".to_vec())
            );
        }
    }
    // The last sink: there is nobody left to go on for.
    for option in ["-p", "--output-error=exit-nopipe"] {
        let mut tee = start(&[option]);
        tee.child.stdout = None;
        collect(tee.child, option).exits(0);
    }
}

#[test]
fn a_writer_learns_that_its_reader_is_gone() {
    let done = harness::bash("yes | cl-tee | head -n 1; echo ${PIPESTATUS[@]}").ok();
    assert_eq!(done.text(), "y\n141 0 0\n");
}

#[test]
fn a_stopped_reader_holds_up_nobody_and_loses_nothing() {
    let dir = scratch();
    let (fifo, out) = (mkfifo(&dir.path().join("fifo")), dir.path().join("out"));
    let file = dir.path().join("file");
    let mut tee = start(&[str(&fifo), str(&file)]);
    let cat = Cat::start(&fifo, &out);
    tee.write(b"first");
    until("cat's first bytes", || {
        (std::fs::read(&out).ok()? == b"first").then_some(())
    });
    cat.stop();
    // Far more than pipe and buffer hold; none of it by lines.
    let input = noise(20_000_000);
    let writer = tee.feed(input.clone());
    let whole = [b"first", &input[..]].concat();
    assert!(tee.stdout() == whole, "stdout is whole and ended");
    assert!(std::fs::read(&file).unwrap() == whole, "the file is whole");
    assert!(tee.alive(), "the stopped reader is waited for");
    writer.join().unwrap();
    cat.go_on();
    cat.wait();
    tee.finish().ok();
    assert!(
        std::fs::read(&out).unwrap() == whole,
        "the stopped reader got everything, in order"
    );
}

#[test]
fn one_stopped_and_one_dead() {
    let dir = scratch();
    let (stopped, dead) = (mkfifo(&dir.path().join("stopped")), mkfifo(&dir.path().join("dead")));
    let (out, file) = (dir.path().join("out"), dir.path().join("file"));
    let mut tee = start(&[str(&stopped), str(&dead), str(&file)]);
    let (one, two) = (Cat::start(&stopped, &out), Cat::start(&dead, &dir.path().join("gone")));
    tee.write(b"first\n");
    for path in [&out, &dir.path().join("gone")] {
        until("the first bytes", || {
            (std::fs::read(path).ok()? == b"first\n").then_some(())
        });
    }
    one.stop();
    two.die();
    let input = two_streams(10_000);
    let writer = tee.feed(input.clone());
    let whole = [b"first\n", &input[..]].concat();
    assert!(tee.stdout() == whole);
    assert!(std::fs::read(&file).unwrap() == whole);
    writer.join().unwrap();
    one.go_on();
    one.wait();
    let done = tee.finish().exits(1);
    assert_eq!(done.err, format!("cl-tee: {}: Broken pipe\n", dead.display()));
    assert!(std::fs::read(&out).unwrap() == whole);
}

#[test]
fn a_fifo_that_nobody_reads_yet() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut tee = start(&[str(&fifo)]);
    let input = noise(3_000_000);
    let writer = tee.feed(input.clone());
    assert!(tee.stdout() == input);
    writer.join().unwrap();
    assert!(tee.alive());
    assert!(std::fs::read(&fifo).unwrap() == input);
    tee.finish().ok();
}
