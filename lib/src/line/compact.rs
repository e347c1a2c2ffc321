//! Checking a line that is written without blanks, as agents write theirs, 64 bytes at a time.
//!
//! Where no blank stands between its parts, the grammar of JSON is nearly a matter of what may stand beside what, and
//! that is a few operations on masks for 64 bytes at once. One by one are looked at: brackets, for the nesting;
//! escapes; and numbers that are no integer, `true`, `false` and `null`. Whatever is not certain here is left to
//! [`object`](super::object), so this may say no too often, but never yes.

use super::json;
use crate::sys::bits::{self, Masks, See};

/// Whether this is certainly a JSON object whose top holds no member named `cl` and no `"type":"cl"`.
#[inline]
pub(super) fn is_plain(line: &[u8]) -> bool {
    check(line, false, ())
}

/// The same, and tells `marks` where in the line the top members stand: the place before the first name, then colon and
/// what follows the value of each in turn. `inside` says that the line begins behind the first member, with a comma.
#[inline(always)]
pub(super) fn check(line: &[u8], inside: bool, mut marks: impl Mark) -> bool {
    let first: &[u8] = if inside { b",\"" } else { b"{\"" };
    let Some(rest) = line.strip_prefix(first) else {
        return false;
    };
    // Who puts a blank behind the first name does so behind every one: no need to come upon it.
    if memchr::memchr(b'"', rest).is_none_or(|at| rest.get(at + 2).is_none_or(|&byte| byte <= b' ')) {
        return false;
    }
    if !inside {
        marks.mark(0);
    }
    let mut seen = Seen {
        line,
        marks,
        at: 0,
        before: Before::default(),
        carry: 0,
        open: u64::from(inside),
        depth: u32::from(inside),
        end: 0,
        bad: 0,
    };
    let Some(met) = bits::fold(line, &mut seen) else {
        return false;
    };
    let ended = seen.end == line.len() && seen.bad == 0 && !met.control;
    ended && (!met.beyond || std::str::from_utf8(line).is_ok())
}

/// Who is told where the top members stand.
pub(super) trait Mark {
    /// Whether anything is done with it.
    const WANTED: bool;
    /// There.
    fn mark(&mut self, at: usize);
}

impl Mark for () {
    const WANTED: bool = false;
    #[inline(always)]
    fn mark(&mut self, _: usize) {}
}

impl Mark for &mut Vec<usize> {
    const WANTED: bool = true;
    #[inline(always)]
    fn mark(&mut self, at: usize) {
        if self.len() == self.capacity() {
            more(self);
        }
        self.push(at);
    }
}

/// Apart, for it is rare, and what calls functions keeps less in registers.
#[cold]
#[inline(never)]
fn more(marks: &mut Vec<usize>) {
    marks.reserve(64);
}

/// What goes on from one 64 bytes to the next.
struct Seen<'a, M> {
    line: &'a [u8],
    marks: M,
    /// Where the next 64 bytes begin.
    at: usize,
    before: Before,
    /// Of the addition that runs through strings.
    carry: u64,
    /// The open brackets, the innermost lowest: 1 for an object.
    open: u64,
    depth: u32,
    /// Behind the bracket that closed the outermost one.
    end: usize,
    /// Not 0 when something stands beside what it may not stand beside, or takes a closer look.
    bad: u64,
}

/// What the 64 bytes before were, of which the last one counts.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    /// An opening bracket or a comma.
    begins: u64,
    /// A colon or a comma.
    value: u64,
    /// A closing quote or bracket.
    ended: u64,
    scalar: u64,
    digit: u64,
    first_zero: u64,
    /// The closing quote of a string that may be a name.
    name: u64,
}

/// Marks the bits behind those of `mask`, the last one of the 64 before included.
#[inline(always)]
fn behind(mask: u64, before: &mut u64) -> u64 {
    mask << 1 | std::mem::replace(before, mask) >> 63
}

impl<M: Mark> See for Seen<'_, M> {
    #[inline(always)]
    fn see(&mut self, masks: Masks) {
        let (valid, inside) = (masks.valid, masks.inside);
        let (opens, closes) = (masks.quote & inside, masks.quote & !inside);
        let outside = valid & !(inside | closes);

        let (open, close) = (masks.open & outside, masks.close & outside);
        let (colon, comma) = (masks.colon & outside, masks.comma & outside);
        let scalar = outside & !(open | close | colon | comma);
        let digit = masks.digit & scalar;

        let before = &mut self.before;
        let begins = behind(open | comma, &mut before.begins);
        let needs_value = behind(colon | comma, &mut before.value);
        let after_ended = behind(close | closes, &mut before.ended);
        let after_scalar = behind(scalar, &mut before.scalar);
        let after_digit = behind(digit, &mut before.digit);
        let starts = scalar & !after_scalar;
        let after_zero = behind(starts & masks.zero, &mut before.first_zero);

        // A string behind an opening bracket or a comma is a name or a value: what follows it tells. An addition runs
        // through it to its closing quote.
        let (sum, over) = inside.overflowing_add(opens & begins);
        let (sum, over_too) = sum.overflowing_add(self.carry);
        self.carry = u64::from(over | over_too);
        let after_name = behind(sum & closes, &mut before.name);

        // What may stand beside what.
        let value = opens | open | starts;
        let ends = comma | close;
        let mut bad = begins & !(value | close);
        bad |= needs_value & !value;
        bad |= after_ended & !(ends | colon);
        bad |= after_scalar & !(ends | scalar);
        bad |= colon & !after_name;
        bad |= after_zero & digit;
        bad |= masks.blank & outside;
        self.bad |= bad & valid;
        // A name is only in an object; there alone, and always, behind an opening bracket or a comma.
        let in_array = after_name & !colon | begins & !(opens | close);

        // A name `cl`, or a value: whether it counts is left to others. What the first three close may have opened before.
        let mut short = closes & (opens << 3 | 0b111) & (masks.ell << 1 | 1);
        while short != 0 {
            let at = self.at + short.trailing_zeros() as usize;
            self.bad |= u64::from(self.line[..at].ends_with(b"\"cl"));
            short &= short - 1;
        }

        let mut odd = masks.escaped & inside & valid;
        while odd != 0 {
            self.escape(self.at + odd.trailing_zeros() as usize);
            odd &= odd - 1;
        }
        let mut odd = scalar & !digit & (starts | after_digit);
        while odd != 0 {
            self.scalar(self.at + odd.trailing_zeros() as usize);
            odd &= odd - 1;
        }
        self.brackets(
            [open | close, open, masks.curly],
            [colon, in_array & valid],
            colon | comma,
        );
        self.at += 64;
    }
}

impl<M: Mark> Seen<'_, M> {
    /// A character that a backslash stands before.
    #[inline(always)]
    fn escape(&mut self, at: usize) {
        match self.line[at] {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
            b'u' => match spelled(self.line, at) {
                // It may spell a letter of `cl` or `type`, or of another name that somebody looks for.
                Some(letter) => self.bad |= u64::from(letter),
                None => self.bad = 1,
            },
            _ => self.bad = 1,
        }
    }

    /// The beginning of `true`, `false`, `null` or a negative number, or what follows an integer.
    #[inline(always)]
    fn scalar(&mut self, at: usize) {
        let begins = !self.line[at - 1].is_ascii_digit();
        let end = match self.line[at] {
            b't' if begins => word(self.line, at, b"true"),
            b'f' if begins => word(self.line, at, b"false"),
            b'n' if begins => word(self.line, at, b"null"),
            b'-' if begins => negative(self.line, at),
            b'.' | b'e' | b'E' if !begins => fraction(self.line, at),
            _ => None,
        };
        let next = end.and_then(|end| self.line.get(end));
        self.bad |= u64::from(!matches!(next, Some(b',' | b'}' | b']')));
    }

    /// The nesting, what may stand only in an object, or only in an array, and what parts the members.
    #[inline(always)]
    fn brackets(&mut self, [all, open, curly]: [u64; 3], [in_object, in_array]: [u64; 2], parting: u64) {
        let (mut rest, mut left) = (all, u64::MAX);
        loop {
            // Up to the next bracket, itself included, what is around is the same.
            let here = left & (rest ^ rest.wrapping_sub(1));
            self.bad |= here & if self.open & 1 == 1 { in_array } else { in_object };
            if M::WANTED && self.depth == 1 {
                let mut parting = parting & here;
                while parting != 0 {
                    self.marks.mark(self.at + parting.trailing_zeros() as usize);
                    parting &= parting - 1;
                }
            }
            if rest == 0 {
                return;
            }
            let bit = rest & rest.wrapping_neg();
            let object = u64::from(curly & bit != 0);
            if open & bit != 0 {
                self.bad |= u64::from(self.depth == u64::BITS);
                self.open = self.open << 1 | object;
                self.depth += 1;
            } else {
                self.bad |= (self.open & 1) ^ object | u64::from(self.depth == 0);
                self.open >>= 1;
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.end = self.at + bit.trailing_zeros() as usize + 1;
                    self.bad |= u64::from(self.end != self.line.len());
                    self.marks.mark(self.end - 1);
                }
            }
            left &= !here;
            rest &= rest - 1;
        }
    }
}

/// Whether the four hexadecimal digits behind a `u` may spell a letter from A to z; none when there are no such four.
#[cold]
#[inline(never)]
fn spelled(line: &[u8], at: usize) -> Option<bool> {
    let hex = line.get(at + 1..at + 5)?;
    let digits = hex.iter().all(u8::is_ascii_hexdigit);
    digits.then(|| hex.starts_with(b"00") && matches!(hex[2], b'4'..=b'7'))
}

#[cold]
#[inline(never)]
fn negative(line: &[u8], at: usize) -> Option<usize> {
    json::after_number(line, at)
}

#[cold]
#[inline(never)]
fn fraction(line: &[u8], at: usize) -> Option<usize> {
    json::after_fraction(line, at)
}

#[inline(always)]
fn word(line: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    line[at..].starts_with(word).then_some(at + word.len())
}

#[cfg(test)]
mod tests {
    use super::super::values::values;
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What the plain way says.
    fn plain(line: &[u8]) -> bool {
        json::slowly(line) == Some(json::Top::default())
    }

    /// Whether the machine has instructions for it.
    fn able() -> bool {
        is_plain(b"{\"a\":1}")
    }

    fn object(value: Value) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({ "a": value })).unwrap()
    }

    #[test]
    fn refuses_whatever_is_wrong_wherever_it_stands() {
        let good = br#"{"a":[{"b":"c","d":[1,-2.5e+3,true,false,null,"x",[],{}],"e":{"f":10.25,"\u00e9":"\"\\"}},0,0.5],"g":1e5}"#;
        assert_eq!(is_plain(good), able());
        let bytes = br#"{}[]:,"\ -+.eEtfnul019ax/"#;
        for shift in [0, 1, 31, 62, 63, 64] {
            let mut line = format!("{{\"{}\":1,", "p".repeat(shift)).into_bytes();
            line.extend_from_slice(&good[1..]);
            assert_eq!(is_plain(&line), able());
            for at in 0..line.len() {
                for &byte in bytes {
                    let was = std::mem::replace(&mut line[at], byte);
                    assert!(!is_plain(&line) || plain(&line), "{}", String::from_utf8_lossy(&line));
                    line[at] = was;
                }
                let mut less = line.clone();
                less.remove(at);
                assert!(!is_plain(&less) || plain(&less), "{}", String::from_utf8_lossy(&less));
                assert!(!is_plain(&line[..at]));
                for &byte in bytes {
                    let mut more = line.clone();
                    more.insert(at, byte);
                    assert!(!is_plain(&more) || plain(&more), "{}", String::from_utf8_lossy(&more));
                }
            }
        }
    }

    #[test]
    fn leaves_what_is_rare_to_others() {
        for line in [
            r#"{"cl":1}"#,
            r#"{"a":"cl"}"#,
            r#"{"\u0063l":1}"#,
            r#"{"a": 1}"#,
            r#"{"a":1, "b":2}"#,
            r#"{"a":[1, 2]}"#,
            r#"{"a":1} "#,
            "{}",
        ] {
            assert!(!is_plain(line.as_bytes()), "{line}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64));
        assert!(!is_plain(deep.as_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

        /// What is valid and compact passes here, unless something in it takes a closer look.
        #[test]
        fn takes_what_is_compact(value in values()) {
            let line = object(value);
            let rare = [&b"\"cl\""[..], b"\\u006", b"\\u007"];
            let rare = rare.iter().any(|rare| memchr::memmem::find(&line, rare).is_some());
            prop_assert_eq!(is_plain(&line), able() && !rare);
        }

        /// What passes here is valid, whatever was done to it.
        #[test]
        fn takes_nothing_broken(value in values(), edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            3 => prop::sample::select(&b"{}[]:,\"\\ -+.eEtfn019\t"[..]), 1 => any::<u8>()
        ], 0..3), 1..4)) {
            let mut line = object(value);
            for (at, byte, how) in edits {
                let at = at.index(line.len());
                match how {
                    0 => line[at] = byte,
                    1 => line.insert(at, byte),
                    _ => { line.remove(at); }
                }
                if line.is_empty() { break; }
            }
            let known_good = std::str::from_utf8(&line).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
            prop_assert!(!is_plain(&line) || known_good && plain(&line), "{}", String::from_utf8_lossy(&line));
        }
    }
}
