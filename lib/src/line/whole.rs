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
    let mut depth = Depth::default();
    match bits::fold(line, &mut depth) {
        Some(met) => {
            let closed = depth.0 == 0 && !met.open && !met.control;
            closed && (!met.beyond || std::str::from_utf8(line).is_ok())
        }
        // Without instructions for this, the whole check is as fast.
        None => super::object(line).is_some(),
    }
}

/// How many brackets are open.
#[derive(Debug, Clone, Copy, Default)]
struct Depth(i64);

impl See for Depth {
    #[inline(always)]
    fn see(&mut self, masks: Masks) {
        let opened = (masks.open & !masks.inside).count_ones();
        let closed = (masks.close & !masks.inside).count_ones();
        self.0 += i64::from(opened) - i64::from(closed);
    }
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
