//! Lines that come in pieces: cut without ever being held whole.

use crate::line;

/// As much of a line is looked at to tell whose it is.
pub(super) const HEAD: usize = 4096;

/// Where in a line a sink stands.
#[derive(Debug, Default)]
pub(super) struct Lines {
    mid: bool,
}

/// A line, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch<'a> {
    /// The bytes, with the line feed where there is one.
    pub(super) bytes: &'a [u8],
    /// Whether the line begins here.
    pub(super) begins: bool,
    /// Whether the line ends here.
    pub(super) ends: bool,
}

impl Lines {
    /// Takes the next stretch off `bytes`. A line's beginning is not given out before enough of it is there to tell
    /// whose it is, unless nothing follows any more (`last`).
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8], last: bool) -> Option<Stretch<'a>> {
        let feed = memchr::memchr(b'\n', bytes);
        let length = feed.map_or(bytes.len(), |at| at + 1);
        if length == 0 || (feed.is_none() && !self.mid && length < HEAD && !last) {
            return None;
        }
        let (head, rest) = bytes.split_at(length);
        *bytes = rest;
        let stretch = Stretch {
            bytes: head,
            begins: !self.mid,
            ends: feed.is_some(),
        };
        self.mid = !stretch.ends;
        Some(stretch)
    }
}

impl Stretch<'_> {
    /// Whether an `exit` event begins here.
    pub(super) fn is_exit(&self) -> bool {
        self.begins
            && line::header(self.bytes).is_some_and(|header| line::subtype(self.bytes, &header) == Some(b"exit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_once() {
        let mut lines = Lines::default();
        let long = [b'x'; HEAD];
        let mut bytes = &b"ab\ncd"[..];
        let stretch = |bytes, begins, ends| Some(Stretch { bytes, begins, ends });
        assert_eq!(lines.next(&mut bytes, false), stretch(b"ab\n", true, true));
        assert_eq!((lines.next(&mut bytes, false), bytes), (None, &b"cd"[..]));
        assert_eq!(lines.next(&mut &long[..], false), stretch(&long, true, false));
        assert_eq!(lines.next(&mut &b"y"[..], false), stretch(b"y", false, false));
        let mut bytes = &b"z\n\ncd"[..];
        assert_eq!(lines.next(&mut bytes, false), stretch(b"z\n", false, true));
        assert_eq!(lines.next(&mut bytes, false), stretch(b"\n", true, true));
        assert_eq!(lines.next(&mut bytes, true), stretch(b"cd", true, false));
        assert_eq!(lines.next(&mut bytes, true), None);
    }
}
