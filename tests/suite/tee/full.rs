//! What happens when a sink is full.

use super::*;

/// Runs cl-tee with a FIFO whose reader reads nothing before stdout has everything.
fn late_reader(args: &[&str], input: &[u8]) -> (Done, Vec<u8>) {
    late_reader_with(|_| {}, args, input)
}

fn late_reader_with(set: impl FnOnce(&mut Command), args: &[&str], input: &[u8]) -> (Done, Vec<u8>) {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut reader = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&fifo)
        .expect("the FIFO");
    let mut tee = start_with(set, &[args, &[str(&fifo)]].concat());
    let writer = tee.feed(input.to_vec());
    assert!(tee.stdout() == input);
    writer.join().expect("writes");
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty())).expect("the FIFO");
    let mut late = Vec::new();
    reader.read_to_end(&mut late).expect("the FIFO");
    (tee.finish(), late)
}

#[test]
fn drop_leaves_out_whole_lines_and_says_which() {
    let (done, late) = late_reader(&["--on-full", "drop", "--buffer", "64K"], &two_streams(8000));
    let lost = accounted(&late, &["a", "b/c"], 8001);
    assert!(lost > 1000, "{lost}");
    // A stream's end is never left out, however slow the reader.
    let exits = harness::json_lines(&late)
        .into_iter()
        .filter(|line| line["subtype"] == "exit");
    assert_eq!(exits.count(), 2);
    let done = done.exits(0);
    assert!(
        done.err
            .ends_with(&format!(": {lost} lines were left out, and gap events tell which\n")),
        "{}",
        done.err
    );
}

#[test]
fn drop_of_lines_without_a_header() {
    let input: String = (0..300_000).map(|i| format!("line {i}\n")).collect();
    let (done, late) = late_reader(&["--on-full=drop", "--buffer=64K"], input.as_bytes());
    let late = String::from_utf8(late).unwrap();
    let mut last = -1;
    for line in late.lines() {
        let number: i64 = line.strip_prefix("line ").unwrap().parse().unwrap();
        assert!(number > last, "{line}");
        last = number;
    }
    let lost = 300_000 - late.lines().count();
    let done = done.exits(0);
    assert!(
        done.err.ends_with(&format!(
            ": {lost} lines were left out, {lost} of them without a gap event\n"
        )),
        "{}",
        done.err
    );
}

#[test]
fn drop_never_cuts_a_line_that_was_begun() {
    // The reader has part of the first line, which is far larger than pipe and buffer together.
    let mut input = cl("a", 1, 3_000_000).into_bytes();
    for seq in 2..2000 {
        input.extend_from_slice(cl("a", seq, 1000).as_bytes());
    }
    let (done, late) = late_reader(&["--on-full=drop", "--buffer=64K"], &input);
    assert!(accounted(&late, &[], 0) > 0);
    assert!(late.starts_with(cl("a", 1, 3_000_000).as_bytes()));
    done.exits(0);
}

#[test]
fn close_gives_the_reader_up() {
    let input = noise(2_000_000);
    let (done, late) = late_reader(&["--on-full", "close", "--buffer", "100K"], &input);
    let done = done.exits(1);
    assert!(
        done.err.ends_with("given up: its reader is 100 KiB behind\n"),
        "{}",
        done.err
    );
    assert!(late.len() < input.len() && input.starts_with(&late));
}

#[test]
fn block_waits() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut tee = start(&["--on-full", "block", "--buffer", "64K", str(&fifo)]);
    let mut reader = File::open(&fifo).unwrap();
    let input = noise(4_000_000);
    let writer = tee.feed(input.clone());
    // Pipe and buffer fill, and then nothing more is read: cl-tee sleeps with most of the input still to come.
    let mut head = tee.read_stdout(64 << 10);
    let late = std::thread::spawn(move || {
        let mut late = Vec::new();
        reader.read_to_end(&mut late).unwrap();
        late
    });
    head.extend(tee.stdout());
    writer.join().unwrap();
    tee.finish().ok();
    assert!(head == input && late.join().unwrap() == input);
}

#[test]
fn block_holds_the_input_up() {
    let dir = scratch();
    let fifo = mkfifo(&dir.path().join("fifo"));
    let mut tee = start(&["--on-full", "block", "--buffer", "64K", str(&fifo)]);
    let reader = File::open(&fifo).unwrap();
    // A writer that does not wait sees how much is taken.
    let stdin = tee.stdin.take().unwrap();
    fcntl(&stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let (mut taken, mut stdin) = (0, File::from(std::os::fd::OwnedFd::from(stdin)));
    let pid = tee.child.id();
    let out = tee.child.stdout.take().unwrap();
    let drain = std::thread::spawn(move || std::io::copy(&mut BufReader::new(out), &mut std::io::sink()).unwrap());
    let asleep = || {
        let wchan = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        wchan.contains("State:\tS")
    };
    until("cl-tee to take no more", || match stdin.write(&[b'x'; 4096]) {
        Ok(count) => {
            taken += count as u64;
            None
        }
        Err(_) => asleep().then_some(()),
    });
    // Three pipes' worth at most, and the buffer; never all that one might write.
    assert!(taken < 4 << 20, "{taken}");
    drop((stdin, reader));
    tee.finish().exits(1);
    assert_eq!(drain.join().unwrap(), taken);
}

#[test]
fn a_spill_that_is_full_leaves_out_lines_and_says_so() {
    let input = two_streams(8000);
    let (done, late) = late_reader(&["--spill", "512K", "--buffer", "64K"], &input);
    let lost = accounted(&late, &["a", "b/c"], 8001);
    assert!(lost > 1000 && late.len() > 512 << 10, "{lost} {}", late.len());
    let done = done.exits(1);
    assert_eq!(done.err.lines().count(), 2, "{}", done.err);
    assert!(
        done.err
            .contains(": its reader is 512 KiB behind; lines are left out\n"),
        "{}",
        done.err
    );
}

#[test]
fn a_spill_without_a_folder() {
    let set = |command: &mut Command| {
        command.env("TMPDIR", "/nonexistent");
    };
    let (done, late) = late_reader_with(set, &["--buffer", "64K"], &two_streams(4000));
    assert!(accounted(&late, &["a", "b/c"], 4001) > 0);
    let done = done.exits(1);
    assert!(
        done.err.contains("no room to spill to: No such file or directory"),
        "{}",
        done.err
    );
}

#[test]
fn a_reader_amid_a_long_line_is_given_up_where_nothing_can_be_kept() {
    let set = |command: &mut Command| {
        command.env("TMPDIR", "/nonexistent");
    };
    let input = cl("a", 1, 3_000_000) + &cl("a", 2, 100);
    let (done, late) = late_reader_with(set, &["--buffer", "64K"], input.as_bytes());
    let done = done.exits(1);
    assert!(
        done.err
            .ends_with("given up: its reader stands in a long line: No such file or directory\n"),
        "{}",
        done.err
    );
    assert!(late.len() < input.len() && input.as_bytes().starts_with(&late));
}

#[test]
fn spilled_lines_have_no_name_on_disk() {
    let tmp = scratch();
    let seen = tmp.path().to_owned();
    let (done, late) = late_reader_with(
        |command| {
            command.env("TMPDIR", &seen);
        },
        &[],
        &noise(5_000_000),
    );
    done.ok();
    assert_eq!(
        (late.len(), std::fs::read_dir(tmp.path()).unwrap().count()),
        (5_000_000, 0)
    );
}
