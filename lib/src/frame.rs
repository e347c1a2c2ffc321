//! Bytes to lines: a reused buffer with a partial tail and a cap.
//!
//! Whoever reads fills [`Framer::space`], says how much came with [`Framer::filled`], and takes frames until there is
//! none. A line longer than the cap comes in pieces, so that memory stays bounded by the cap.

/// One line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The bytes without the line feed.
    pub bytes: &'a [u8],
    /// Whether a line feed followed.
    pub eol: bool,
    /// What part of a line it is.
    pub part: Part,
}

/// What part of a line a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A whole line (without line feed when it is the last and unterminated).
    Whole,
    /// A piece of an over-long line, others follow.
    Piece,
    /// The last piece of an over-long line.
    Last,
}

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Where the first byte not yet given out stands.
    start: usize,
    /// Up to where no line feed was found.
    scanned: usize,
    /// Where the bytes end.
    end: usize,
    cap: usize,
    over_long: bool,
    /// Whether a read has filled all the room that there was: there is much to come.
    filled: bool,
}

/// Room for the first reads; many a worker says little.
const FIRST: usize = 16 << 10;

const BLOCK: usize = 256 << 10;

impl Framer {
    /// A framer whose lines are at most `cap` bytes long (and at least one).
    pub fn new(cap: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            end: 0,
            cap: cap.max(8),
            over_long: false,
            filled: false,
        }
    }

    /// Room for the next read: a little until a read has filled that, then at least 128 KiB.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.scanned, self.end) = (0, 0, 0);
            // What one long line needed is not kept for ever.
            if self.buffer.len() > 4 * BLOCK {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; if self.filled { 2 * BLOCK } else { FIRST }];
        } else if self.filled && self.buffer.len() - self.end < BLOCK / 2 {
            self.make_room();
        }
        let until = self.buffer.len().min(self.end + BLOCK);
        &mut self.buffer[self.end..until]
    }

    /// Makes room for at least half a block.
    fn make_room(&mut self) {
        if self.start >= BLOCK {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end >= BLOCK / 2 {
            return;
        }
        // Doubling keeps the copies of a growing line linear; the cap bounds it.
        let grown = (self.buffer.len() * 2).clamp(2 * BLOCK, self.cap.saturating_add(self.end + 2 * BLOCK));
        if self.buffer.len() == FIRST {
            // So large that the zeroes come from the system: pages that nothing is read into are never touched.
            let mut wide = vec![0; grown];
            wide[..self.end].copy_from_slice(&self.buffer[..self.end]);
            self.buffer = wide;
        } else {
            self.buffer.resize(grown, 0);
        }
    }

    /// Says that a read put `count` bytes into [`Framer::space`].
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        self.filled |= self.end == self.buffer.len();
        assert!(self.end <= self.buffer.len(), "more bytes than there was space for");
    }

    /// Takes bytes that are in memory already.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let count = bytes.len().min(space.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
    }

    /// The next line that is complete, or piece that is full.
    #[allow(clippy::should_implement_trait)] // it lends
    pub fn next(&mut self) -> Option<Frame<'_>> {
        let found = memchr::memchr(b'\n', &self.buffer[self.scanned..self.end]).map(|at| self.scanned + at);
        let length = found.unwrap_or(self.end) - self.start;
        if length > self.cap {
            let cut = self.start + char_boundary(&self.buffer[self.start..self.start + self.cap + 1], self.cap);
            let bytes = &self.buffer[self.start..cut];
            (self.start, self.scanned) = (cut, found.unwrap_or(self.end));
            self.over_long = true;
            return Some(Frame {
                bytes,
                eol: false,
                part: Part::Piece,
            });
        }
        let Some(feed) = found else {
            self.scanned = self.end;
            return None;
        };
        let bytes = &self.buffer[self.start..feed];
        (self.start, self.scanned) = (feed + 1, feed + 1);
        let part = if std::mem::take(&mut self.over_long) {
            Part::Last
        } else {
            Part::Whole
        };
        Some(Frame { bytes, eol: true, part })
    }

    /// What is left when no byte follows any more: a line without line feed.
    pub fn finish(&mut self) -> Option<Frame<'_>> {
        let over_long = std::mem::take(&mut self.over_long);
        if self.start == self.end && !over_long {
            return None;
        }
        let bytes = &self.buffer[self.start..self.end];
        self.start = self.end;
        self.scanned = self.end;
        let part = if over_long { Part::Last } else { Part::Whole };
        Some(Frame {
            bytes,
            eol: false,
            part,
        })
    }

    /// How many bytes wait for their line's end.
    pub fn pending(&self) -> usize {
        self.end - self.start
    }
}

/// The largest cut up to `at` that does not part a character, where there is one nearby.
pub(crate) fn char_boundary(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at)
        .rev()
        .find(|&i| i > 0 && bytes[i] & 0xc0 != 0x80)
        .unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(cap: usize, reads: &[&[u8]]) -> Vec<(Vec<u8>, bool, Part)> {
        let mut framer = Framer::new(cap);
        let mut all = Vec::new();
        for read in reads {
            framer.push(read);
            while let Some(frame) = framer.next() {
                all.push((frame.bytes.to_vec(), frame.eol, frame.part));
            }
        }
        all.extend(
            framer
                .finish()
                .map(|frame| (frame.bytes.to_vec(), frame.eol, frame.part)),
        );
        all
    }

    #[test]
    fn lines_and_a_tail() {
        let whole = |text: &str, eol| (text.as_bytes().to_vec(), eol, Part::Whole);
        assert_eq!(
            frames(100, &[b"a\nbc", b"d\n\n", b"e"]),
            [whole("a", true), whole("bcd", true), whole("", true), whole("e", false)]
        );
        assert_eq!(frames(100, &[b"a\n"]), [whole("a", true)]);
        assert_eq!(frames(100, &[]), []);
    }

    #[test]
    fn any_cap() {
        let whole = |text: &str| (text.as_bytes().to_vec(), true, Part::Whole);
        assert_eq!(frames(usize::MAX, &[b"a\nb\n"]), [whole("a"), whole("b")]);
        assert_eq!(frames(0, &[b"a\n"]), [whole("a")]);
    }

    #[test]
    fn long_lines_come_in_pieces_between_characters() {
        let got = frames(8, &["0123456789abcdef\nx\n0123456é9".as_bytes()]);
        let part = |text: &str, eol, part| (text.as_bytes().to_vec(), eol, part);
        assert_eq!(
            got,
            [
                part("01234567", false, Part::Piece),
                part("89abcdef", true, Part::Last),
                part("x", true, Part::Whole),
                part("0123456", false, Part::Piece),
                part("é9", false, Part::Last),
            ]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_lost_however_it_is_read(bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\n')], 0..300), step in 1usize..50, cap in 8usize..40) {
            let reads: Vec<&[u8]> = bytes.chunks(step).collect();
            let mut back = Vec::new();
            for (line, eol, part) in frames(cap, &reads) {
                prop_assert!(line.len() <= cap);
                prop_assert!(!(eol && part == Part::Piece));
                back.extend(line);
                if eol { back.push(b'\n'); }
            }
            prop_assert_eq!(back, bytes);
        }

        /// Around the sizes at which the room grows, with reads that fill all of it, or little.
        #[test]
        fn nothing_is_lost_while_the_room_grows(
            lines in prop::collection::vec((prop::sample::select(vec![0, 1, FIRST, BLOCK / 2, 2 * BLOCK, 5 * BLOCK]), 0usize..5), 1..5),
            reads in prop::collection::vec(prop::sample::select(vec![1, 100, FIRST - 1, FIRST, BLOCK, usize::MAX]), 1..8),
        ) {
            let mut bytes = Vec::new();
            for (at, (length, more)) in lines.iter().enumerate() {
                bytes.extend((0..(length + more).saturating_sub(2)).map(|n| b'a' + ((n + at) % 23) as u8));
                bytes.push(b'\n');
            }
            let mut framer = Framer::new(usize::MAX / 4);
            let (mut back, mut read) = (Vec::new(), 0);
            let mut sizes = reads.iter().cycle();
            while read < bytes.len() {
                let space = framer.space();
                prop_assert!(!space.is_empty());
                // A read of one byte follows one of another size, or there would be too many.
                let count = space.len().min(*sizes.next().unwrap_or(&1)).min(bytes.len() - read);
                let count = if read % 2 == 1 && count == 1 { space.len().min(bytes.len() - read) } else { count };
                space[..count].copy_from_slice(&bytes[read..read + count]);
                framer.filled(count);
                read += count;
                while let Some(frame) = framer.next() {
                    prop_assert_eq!((frame.eol, frame.part), (true, Part::Whole));
                    back.extend_from_slice(frame.bytes);
                    back.push(b'\n');
                }
            }
            prop_assert_eq!(framer.pending(), 0);
            prop_assert!(back == bytes);
        }
    }
}
