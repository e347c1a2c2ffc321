//! Bytes to lines.

use harmony::frame::{Framer, Part};

/// The first two bytes choose the cap and the reads; the rest, however it is read, comes out as a plain split would
/// have it, in pieces no longer than the cap.
pub fn frame(data: &[u8]) {
    let [cap, step, data @ ..] = data else {
        return;
    };
    let (cap, step) = (usize::from(*cap) * usize::from(*cap), usize::from(*step) * 257 + 1);
    let mut framer = Framer::new(cap);
    let mut got: Vec<(Vec<u8>, bool)> = Vec::new();
    let mut open = false;
    let mut take = |bytes: &[u8], eol: bool, part: Part| {
        assert!(bytes.len() <= cap.max(8), "no longer than the cap");
        match got.last_mut() {
            Some((line, ended)) if open => {
                line.extend_from_slice(bytes);
                *ended = eol;
            }
            _ => got.push((bytes.to_vec(), eol)),
        }
        assert_eq!(open, part == Part::Last || open && part == Part::Piece);
        open = part == Part::Piece;
    };
    for read in data.chunks(step) {
        let mut read = read;
        while !read.is_empty() {
            let space = framer.space();
            let count = read.len().min(space.len());
            space[..count].copy_from_slice(&read[..count]);
            framer.filled(count);
            read = &read[count..];
            while let Some(frame) = framer.next() {
                take(frame.bytes, frame.eol, frame.part);
            }
        }
        assert!(framer.pending() <= cap.max(8));
    }
    if let Some(frame) = framer.finish() {
        take(frame.bytes, frame.eol, frame.part);
    }
    assert!(framer.finish().is_none());
    let expected: Vec<_> = super::lines(data).map(|(line, eol)| (line.to_vec(), eol)).collect();
    assert_eq!(got, expected);
}
