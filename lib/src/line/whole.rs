//! Telling a whole line from one that was torn or glued, at the speed of a copy.
//!
//! A line with a header was checked when it was stamped. What can have happened to it since is that its writer was
//! killed inside a write, and that another line was glued to the half: then strings are left open, or brackets are.
//! This asks only that, 64 bytes at a time and without a branch for what they hold.

use crate::sys::bits::{self, Masks, See};

/// Whether a line with a header ends as an object does, is UTF-8, has every string and bracket closed and no control
/// character in it. Where this says no, [`object`](super::object) has the last word.
#[inline]
pub fn looks_whole(line: &[u8]) -> bool {
    if line.last() != Some(&b'}') {
        return false;
    }
    let mut seen = Seen::default();
    match bits::fold(line, &mut seen) {
        Some(met) => {
            let closed = seen.depth == 0 && !seen.strings.is_open() && !met.control;
            closed && (!met.beyond || std::str::from_utf8(line).is_ok())
        }
        // Without instructions for this, the whole check is as fast.
        None => super::object(line).is_some(),
    }
}

/// What goes on from one 64 bytes to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    depth: i64,
    strings: Strings,
}

impl See for Seen {
    #[inline(always)]
    fn see(&mut self, masks: Masks) {
        let inside = self.strings.see(masks).inside;
        let opened = (masks.open & !inside).count_ones();
        let closed = (masks.close & !inside).count_ones();
        self.depth += i64::from(opened) - i64::from(closed);
    }
}

/// Where strings are, from one 64 bytes to the next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strings {
    /// All bits set inside a string.
    inside: u64,
    /// 1 when the next character is escaped.
    escaped: u64,
}

/// What [`Strings`] makes of 64 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    /// From each opening quote to before the closing one.
    pub(super) inside: u64,
    /// Quotes that open or close.
    pub(super) quotes: u64,
    /// What stands behind a backslash that is none itself.
    pub(super) escaped: u64,
}

impl Strings {
    #[inline(always)]
    pub(super) fn see(&mut self, masks: Masks) -> Text {
        let (escaped, carry) = escapes(masks.backslash, self.escaped);
        let quotes = masks.quote & !escaped;
        let inside = prefix_xor(quotes) ^ self.inside;
        *self = Self {
            inside: ((inside as i64) >> 63) as u64,
            escaped: carry,
        };
        Text {
            inside,
            quotes,
            escaped,
        }
    }

    /// Whether a string has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.inside != 0
    }
}

/// Which characters a backslash before them escapes, and whether the first of the next 64 is; `carry` is 1 when the
/// first of these is.
#[inline(always)]
fn escapes(backslash: u64, carry: u64) -> (u64, u64) {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslash = backslash & !carry;
    let follows = backslash << 1 | carry;
    // In a run of backslashes every second one is escaped itself; an addition finds where runs end.
    let odd_starts = backslash & !EVEN & !follows;
    let (ends, over) = odd_starts.overflowing_add(backslash);
    ((EVEN ^ (ends << 1)) & follows, u64::from(over))
}

/// Each bit becomes the parity of all bits up to it.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::object;
    use proptest::prelude::*;

    #[test]
    fn whole_and_torn() {
        let line = br#"{"cl":{"stream":"a","seq":1,"ts":1.0},"text":"a \"quoted\" {word\\","more":[{"x":"]\\\""}],"type":"x"}"#;
        assert!(looks_whole(line));
        for cut in 1..line.len() {
            assert!(!looks_whole(&line[..cut]), "{cut}");
            let glued = [&line[..cut], line].concat();
            assert!(!looks_whole(&glued), "{cut}");
            let glued = [&line[..cut], br#"{"type":"x"}"#].concat();
            assert!(!looks_whole(&glued), "{cut}");
        }
        assert!(!looks_whole(b"{\"a\":\"\t\"}") && !looks_whole(b"{\"a\":\"\xff\"}"));
        assert!(looks_whole("{\"a\":\"é\"}".as_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is valid looks whole.
        #[test]
        fn valid_lines_pass(keys in prop::collection::vec("[\\PC\\\\\"\n{}\\[\\]]{0,70}", 0..6), texts in prop::collection::vec("[\\PC\\\\\"\n{}\\[\\]]{0,200}", 6)) {
            let map: serde_json::Map<String, serde_json::Value> = keys.into_iter().zip(texts).map(|(key, text)| {
                (key.clone(), serde_json::json!([{ key: text }, 1.5, null]))
            }).collect();
            let line = serde_json::to_vec(&map).unwrap();
            prop_assert!(object(&line).is_some());
            prop_assert!(looks_whole(&line));
        }
    }
}
