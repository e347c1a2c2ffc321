//! Where the members of an object stand, so that only those that matter are read.
//!
//! [`Index`] is made in the pass that checks a line; [`parts`] is for what lies deeper, in a line that was checked.

use super::compact;
use super::header::header;
use super::json::{self, Top};
use crate::sys::bits::{self, Masks, See};

/// Where the top members of a line stand.
#[derive(Debug, Default)]
pub struct Index {
    marks: Vec<usize>,
    /// Behind the header; 0 where there is none.
    from: usize,
    sure: bool,
}

impl Index {
    /// Checks a line as [`object`](super::object) does, and remembers where its members stand if it is compact.
    #[inline]
    pub fn object(&mut self, line: &[u8]) -> Option<Top> {
        self.marks.clear();
        self.from = 0;
        self.sure = compact::check(line, false, &mut self.marks);
        if self.sure {
            return Some(Top::default());
        }
        json::slowly(line)
    }

    /// Looks for the members of a line that may have a header. It is not checked any further if it is not compact.
    pub fn stamped(&mut self, line: &[u8]) {
        self.marks.clear();
        let header = header(line);
        self.from = header.map_or(0, |header| header.end);
        self.sure = compact::check(&line[self.from..], header.is_some(), &mut self.marks);
    }

    /// The name and the value of each member, as they stand in the line; `None` when it was not compact, or no object.
    /// No letter from A to z is written in another way than as itself.
    #[inline]
    pub fn members<'a>(&'a self, line: &'a [u8]) -> Option<Walk<'a>> {
        let line = line.get(self.from..).filter(|_| self.sure)?;
        let marks = &self.marks;
        Some(Walk { line, marks })
    }
}

/// The members of a line, one after the other.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    line: &'a [u8],
    /// Two a member, and the end of one is the beginning of the next.
    marks: &'a [usize],
}

impl<'a> Walk<'a> {
    /// The values of the members of these names, empty where there is none; of two with the same name the last.
    #[inline]
    pub fn values<const N: usize>(&self, names: [&[u8]; N]) -> [&'a [u8]; N] {
        // How far the colon is from the mark before the name, a bit for each of these names: few others are as long.
        let far = |name: &[u8]| 1u64.checked_shl(name.len() as u32 + 3).unwrap_or(0);
        let wanted = names.iter().fold(0, |wanted, name| wanted | far(name));
        let mut values = [&b""[..]; N];
        let mut rest = self.marks;
        while let &[start, colon, end, ..] = rest {
            rest = &rest[2..];
            if wanted
                .checked_shr((colon - start) as u32)
                .is_none_or(|bits| bits & 1 == 0)
            {
                continue;
            }
            let name = self.line.get(start + 2..colon - 1).unwrap_or_default();
            for (known, value) in names.iter().zip(&mut values) {
                if *known == name {
                    *value = self.line.get(colon + 1..end).unwrap_or_default();
                }
            }
        }
        values
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let &[start, colon, end, ..] = self.marks else {
            return None;
        };
        self.marks = &self.marks[2..];
        Some((self.line.get(start + 2..colon - 1)?, self.line.get(colon + 1..end)?))
    }
}

/// Room for so many marks is kept for the lines that wait next.
const MARKS_KEPT: usize = 32 << 10;

/// Lines that wait, and where their members stand.
#[derive(Debug, Default)]
pub struct Waiting {
    bytes: Vec<u8>,
    marks: Vec<usize>,
    /// Where bytes and marks of each line end.
    ends: Vec<(usize, usize)>,
}

impl Waiting {
    /// Has a line wait, without header, if it is compact; whether it was.
    pub fn push(&mut self, line: &[u8], index: &Index) -> bool {
        if index.sure && index.from == 0 {
            self.bytes.extend_from_slice(line);
            self.marks.extend_from_slice(&index.marks);
            self.ends.push((self.bytes.len(), self.marks.len()));
        }
        index.sure && index.from == 0
    }

    /// How many bytes wait, with what is known of where their members stand.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&self.marks[..])
    }

    /// How many lines wait.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The lines' members.
    pub fn lines(&self) -> impl Iterator<Item = Walk<'_>> {
        let mut from = (0, 0);
        self.ends.iter().map(move |&(end, marks_end)| {
            let walk = Walk {
                line: &self.bytes[from.0..end],
                marks: &self.marks[from.1..marks_end],
            };
            from = (end, marks_end);
            walk
        })
    }

    /// No line waits any more.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
        self.ends.clear();
        // What many short members needed once is not kept.
        self.marks.shrink_to(MARKS_KEPT);
    }
}

/// Shows each member of an object, its name as it stands between its quotes, or each element of an array, with an empty
/// name. The text is known to be valid JSON. False, and nothing was shown, on a machine without instructions for it.
#[inline]
pub fn parts<'a>(text: &'a [u8], each: impl FnMut(&'a [u8], &'a [u8])) -> bool {
    // Many are empty, and that takes no look.
    if matches!(text, b"{}" | b"[]") {
        return true;
    }
    let mut parts = Parts {
        text,
        each,
        at: 0,
        depth: 0,
        start: 0,
        colon: None,
    };
    bits::fold(text, &mut parts).is_some()
}

struct Parts<'a, F> {
    text: &'a [u8],
    each: F,
    at: usize,
    depth: u32,
    /// Behind what began the present part.
    start: usize,
    colon: Option<usize>,
}

impl<'a, F: FnMut(&'a [u8], &'a [u8])> See for Parts<'a, F> {
    #[inline(always)]
    fn see(&mut self, masks: Masks) {
        let outside = !(masks.inside | masks.quote);
        let open = masks.open & outside;
        let (colon, comma) = (masks.colon & outside, masks.comma & outside);
        let (mut rest, mut left) = (open | masks.close & outside, u64::MAX);
        loop {
            // Up to the next bracket the depth is the same.
            let here = left & (rest ^ rest.wrapping_sub(1));
            if self.depth == 1 {
                let mut parting = (colon | comma) & here;
                while parting != 0 {
                    let bit = parting & parting.wrapping_neg();
                    let at = self.at + bit.trailing_zeros() as usize;
                    if colon & bit != 0 {
                        self.colon = Some(at);
                    } else {
                        self.part(at);
                    }
                    parting &= parting - 1;
                }
            }
            if rest == 0 {
                break;
            }
            let bit = rest & rest.wrapping_neg();
            if open & bit != 0 {
                self.depth += 1;
                if self.depth == 1 {
                    self.start = self.at + bit.trailing_zeros() as usize + 1;
                }
            } else {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.part(self.at + bit.trailing_zeros() as usize);
                }
            }
            left &= !here;
            rest &= rest - 1;
        }
        self.at += 64;
    }
}

impl<'a, F: FnMut(&'a [u8], &'a [u8])> Parts<'a, F> {
    #[inline]
    fn part(&mut self, end: usize) {
        let text = self.text;
        let get = |from: usize, to: usize| {
            let part = text.get(from..to).unwrap_or_default();
            // Mostly there are no blanks.
            match part {
                [first, .., last] if *first > b' ' && *last > b' ' => part,
                _ => part.trim_ascii(),
            }
        };
        let colon = self.colon.take();
        let name = colon.map_or(&b""[..], |colon| get(self.start, colon));
        let value = get(colon.map_or(self.start, |colon| colon + 1), end);
        self.start = end + 1;
        if !value.is_empty() {
            let name = match name {
                [b'"', name @ .., b'"'] => name,
                name => name,
            };
            (self.each)(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::values;
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    type Members = Vec<(Vec<u8>, Vec<u8>)>;

    fn shown(text: &[u8]) -> Option<Members> {
        let mut shown = Vec::new();
        parts(text, |name, value| shown.push((name.to_vec(), value.to_vec()))).then_some(shown)
    }

    #[test]
    fn a_line_with_a_header_is_no_other() {
        let mut index = Index::default();
        let line = br#"{"cl":{"stream":"a","seq":1,"ts":1.0},"a":1,"b":{"c":[2,3]}}"#;
        index.stamped(line);
        if let Some(members) = index.members(line) {
            let members: Vec<_> = members.collect();
            assert_eq!(members, [(&b"a"[..], &b"1"[..]), (b"b", br#"{"c":[2,3]}"#)]);
        }
        for other in [
            &b",\"a\":1}"[..],
            b"{\"a\":1",
            b"{\"a\":1}}",
            b"[1]",
            b"",
            br#"{"cl":{"stream":"a","seq":1,"ts":1.0}}"#,
        ] {
            index.stamped(other);
            assert!(index.members(other).is_none(), "{}", String::from_utf8_lossy(other));
            index.object(other);
            assert!(index.members(other).is_none());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What is shown is what a parser finds, with blanks and without.
        #[test]
        fn shows_what_a_parser_finds(value in values(), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let expected: Members = match &value {
                Value::Object(_) => {
                    // serde keeps no raw names, so they are told by what they spell.
                    let members: std::collections::BTreeMap<String, &RawValue> = serde_json::from_slice(&text).unwrap();
                    members.into_iter().map(|(name, value)| (name.into_bytes(), value.get().as_bytes().to_vec())).collect()
                }
                Value::Array(_) => {
                    let elements: Vec<&RawValue> = serde_json::from_slice(&text).unwrap();
                    elements.into_iter().map(|value| (Vec::new(), value.get().as_bytes().to_vec())).collect()
                }
                _ => Vec::new(),
            };
            let plainly = |members: Members| -> Members {
                let mut members: Members = members.into_iter().map(|(name, value)| {
                    let quoted = [b"\"", &name[..], b"\""].concat();
                    (serde_json::from_slice::<String>(&quoted).unwrap().into_bytes(), value)
                }).collect();
                if value.is_object() { members.sort(); }
                members
            };
            if let Some(shown) = shown(&text) {
                prop_assert_eq!(plainly(shown), expected.clone());
            }
            let mut index = Index::default();
            index.object(&text);
            if let Some(members) = index.members(&text) {
                let members = members.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                prop_assert_eq!(plainly(members), expected);
            }
        }
    }
}
