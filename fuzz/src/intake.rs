//! Any source's lines, and the numbers that streams carry.

use harmony::line::{self, Name, Sequence, Ts};
use harmony::source::{Intake, Out, Registry};
use std::io;

/// Takes what an intake gives out.
#[derive(Default)]
struct Taken(Vec<u8>);

impl Out for Taken {
    fn wants(&mut self, stream: &str) -> bool {
        !stream.ends_with('x')
    }

    fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        assert!(lines.ends_with(b"\n"), "whole lines");
        self.0.extend_from_slice(lines);
        Ok(())
    }
}

/// The first byte says how the rest is cut into reads. Every line that comes out says whose it is, and what was made
/// here is valid; all streams have an end.
pub fn intake(data: &[u8]) {
    let Some((step, data)) = data.split_first() else {
        return;
    };
    let (mut all, mut out) = (Registry::default(), Taken::default());
    let name = Name::new("s").expect("a name");
    let mut intake = Intake::new(name, "source".to_owned(), step % 2 == 0, step % 3 == 0);
    let end = data.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let (whole, tail) = data.split_at(end);
    let mut rest = whole;
    let took: Result<(), io::Error> = (|| {
        while !rest.is_empty() {
            let from = rest.len().min(usize::from(*step) * 8);
            let feed = rest[from..].iter().position(|&byte| byte == b'\n');
            let (block, next) = rest.split_at(feed.map_or(rest.len(), |feed| from + feed + 1));
            intake.lines(block, Ts(7), &mut all, &mut out)?;
            rest = next;
        }
        if !tail.is_empty() {
            intake.tail(tail, Ts(7), &mut all, &mut out)?;
        }
        intake.end(None, Ts(8), &mut all, &mut out)?;
        all.files_done(&mut out)
    })();
    assert!(took.is_ok());
    assert_eq!(all.running(), 0, "every stream has ended");
    for (made, eol) in super::lines(&out.0) {
        assert!(
            eol && line::header(made).is_some(),
            "{:?}",
            String::from_utf8_lossy(made)
        );
        assert!(line::looks_whole(made) || line::object(made).is_some());
        // What is passed on as it stands was valid when it was stamped; ours is.
        if !super::lines(data).any(|(line, _)| line.ends_with(made)) {
            assert!(line::object(made).is_some(), "{:?}", String::from_utf8_lossy(made));
        }
    }
    numbers(data);
}

/// Numbers as a hostile writer chooses them.
fn numbers(data: &[u8]) {
    let mut sequence = Sequence::default();
    for number in data.as_chunks::<9>().0 {
        let [kind, rest @ ..] = *number;
        let seq = u64::from_le_bytes(rest) >> (kind % 64);
        let last = sequence.last();
        if kind >= 192 {
            sequence.told(seq);
        } else if let Some(hole) = sequence.see(seq) {
            assert!(hole.from > last && hole.from <= hole.to && hole.to < seq && hole.lost() >= 1);
        }
    }
}
