//! Telling a whole line from one that was torn or glued, at the speed of a copy.
//!
//! A line with a header was checked when it was stamped. What can have happened to it since is that its writer was
//! killed inside a write, and that another line was glued to the half: then strings are left open, or brackets are.
//! This asks only that, 64 bytes at a time and without a branch for what they hold.

use crate::sys::bits;

/// Whether a line with a header (and of valid UTF-8) ends as an object does, with every string and bracket closed
/// and no control character in it. Where this says no, [`object`](super::object) has the last word.
#[inline]
pub fn looks_whole(line: &[u8]) -> bool {
    if line.last() != Some(&b'}') {
        return false;
    }
    let (mut depth, mut in_string, mut escaped, mut control) = (0i64, 0u64, 0u64, 0u64);
    let seen = bits::each(line, |masks| {
        let quote = masks.quote & !escapes(masks.backslash, &mut escaped);
        let strings = prefix_xor(quote) ^ in_string;
        in_string = ((strings as i64) >> 63) as u64;
        depth += i64::from((masks.open & !strings).count_ones());
        depth -= i64::from((masks.close & !strings).count_ones());
        control |= masks.control;
    });
    if !seen {
        return super::object(line).is_some();
    }
    depth == 0 && in_string == 0 && control == 0
}

/// Which characters a backslash before them escapes; `carry` is 1 when the first one is.
#[inline(always)]
fn escapes(backslash: u64, carry: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslash = backslash & !*carry;
    let follows = backslash << 1 | *carry;
    // In a run of backslashes every second one is escaped itself; an addition finds where runs end.
    let odd_starts = backslash & !EVEN & !follows;
    let (ends, over) = odd_starts.overflowing_add(backslash);
    *carry = u64::from(over);
    (EVEN ^ (ends << 1)) & follows
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
        assert!(!looks_whole(b"{\"a\":\"\t\"}"));
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
