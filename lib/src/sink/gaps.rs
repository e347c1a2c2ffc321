//! What a sink left out, and how its reader is told.

use crate::line::{self, Event, Name, Stamper, Ts};
use std::collections::HashMap;

/// Lines left out since the reader was last told.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// The open range of each stream.
    ranges: HashMap<Box<str>, Range>,
    /// Lines for the reader: closed ranges, and what must not be left out.
    text: Vec<u8>,
    /// Lines left out so far, with and without a header.
    pub(super) lines: u64,
    /// Those without one, of which no event can tell.
    pub(super) untold: u64,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    from: u64,
    to: u64,
    lost: u64,
}

/// Nobody has more streams; a stream of lies must not eat the memory.
const MOST: usize = 100_000;

impl Gaps {
    /// Notes a line that is left out; its beginning is enough.
    pub(super) fn leave_out(&mut self, line: &[u8]) {
        self.lines += 1;
        let Some(header) = line::header(line).filter(|header| header.seq > 0) else {
            self.untold += 1;
            return;
        };
        let seq = header.seq;
        if let Some(range) = self.ranges.get_mut(header.stream) {
            if seq > range.to {
                range.to = seq;
                range.lost += 1;
                return;
            }
            // The stream began anew.
            let range = *range;
            close(header.stream, range, &mut self.text);
        } else if self.ranges.len() == MOST {
            self.untold += 1;
            return;
        }
        let fresh = Range {
            from: seq,
            to: seq,
            lost: 1,
        };
        self.ranges.insert(header.stream.into(), fresh);
    }

    /// Takes in a line that must not be left out, whole and with a header, behind what its stream lost.
    pub(super) fn keep(&mut self, line: &[u8]) {
        let stream = line::header(line).map(|header| header.stream);
        if let Some((stream, range)) = stream.and_then(|stream| self.ranges.remove_entry(stream)) {
            close(&stream, range, &mut self.text);
        }
        self.text.extend_from_slice(line);
    }

    /// Whether there is nothing that the reader must be told.
    pub(super) fn nothing_to_tell(&self) -> bool {
        self.ranges.is_empty() && self.text.is_empty()
    }

    /// How many bytes of lines wait for the reader.
    pub(super) fn kept(&self) -> usize {
        self.text.len()
    }

    /// Takes the lines that tell the reader; none when nothing is to be told.
    pub(super) fn tell(&mut self) -> Vec<u8> {
        let mut ranges: Vec<_> = self.ranges.drain().collect();
        ranges.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (stream, range) in ranges {
            close(&stream, range, &mut self.text);
        }
        std::mem::take(&mut self.text)
    }
}

/// Appends a `gap` event. Its own number is the last one missing, so that it fills the hole.
fn close(stream: &str, range: Range, out: &mut Vec<u8>) {
    let Ok(name) = Name::new(stream) else { return };
    let event = Event::Gap {
        from: range.from,
        to: range.to,
        lost: range.lost,
    };
    Stamper::after(name, range.to - 1).event(&event, Ts::now(), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: &str, seq: u64) -> Vec<u8> {
        format!("{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":1.0}},\"x\":1}}\n").into_bytes()
    }

    /// A stream, a number, and the range of a gap.
    type Told = (String, u64, Option<(u64, u64, u64)>);

    fn told(gaps: &mut Gaps) -> Vec<Told> {
        let text = gaps.tell();
        text.split_inclusive(|&b| b == b'\n')
            .map(|line| {
                let header = line::header(line).unwrap();
                let gap = match Event::read(line) {
                    Some(Event::Gap { from, to, lost }) => Some((from, to, lost)),
                    _ => None,
                };
                (header.stream.to_owned(), header.seq, gap)
            })
            .collect()
    }

    #[test]
    fn a_range_a_stream() {
        let mut gaps = Gaps::default();
        for (stream, seq) in [("a", 3), ("b", 7), ("a", 4), ("a", 6)] {
            gaps.leave_out(&line(stream, seq));
        }
        gaps.leave_out(b"plain\n");
        gaps.leave_out(&line("a", 0));
        assert_eq!((gaps.lines, gaps.untold), (6, 2));
        assert_eq!(
            told(&mut gaps),
            [
                ("a".to_owned(), 6, Some((3, 6, 3))),
                ("b".to_owned(), 7, Some((7, 7, 1)))
            ]
        );
        assert!(gaps.tell().is_empty());
    }

    #[test]
    fn order_within_a_stream() {
        let mut gaps = Gaps::default();
        gaps.leave_out(&line("a", 3));
        gaps.keep(&line("a", 4));
        gaps.leave_out(&line("a", 1));
        gaps.leave_out(&line("a", 1));
        assert_eq!(
            told(&mut gaps),
            [
                ("a".to_owned(), 3, Some((3, 3, 1))),
                ("a".to_owned(), 4, None),
                ("a".to_owned(), 1, Some((1, 1, 1))),
                ("a".to_owned(), 1, Some((1, 1, 1))),
            ]
        );
    }
}
