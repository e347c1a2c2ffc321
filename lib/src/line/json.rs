//! One pass over a line that says whether it is a JSON object, and what matters of its top members.
//!
//! A worker's line is spliced only when it is valid, and this is asked of every line, so it allocates nothing,
//! keeps no tree and has no depth limit beyond a bit for each level.

use super::compact;

/// What the top level of a valid object holds that decides how it travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Top {
    /// It has a member named `cl`, however that name is escaped.
    pub cl: bool,
    /// It has more than one of them: readers would not agree on which one counts.
    pub twice: bool,
    /// It has a member `type` whose value is the string `cl`: it would pass for one of our own events.
    pub own: bool,
    /// It has no member at all.
    pub empty: bool,
}

/// Checks that `line` is one JSON object and nothing else; `None` when it is not.
pub fn object(line: &[u8]) -> Option<Top> {
    if compact::is_plain(line) {
        return Some(Top::default());
    }
    slowly(line)
}

/// The same, one byte after the other.
pub(super) fn slowly(line: &[u8]) -> Option<Top> {
    let mut scan = Scan { bytes: line, at: 0 };
    scan.space();
    if scan.peek()? != b'{' {
        return None;
    }
    std::str::from_utf8(line).ok()?;
    let top = scan.top()?;
    scan.space();
    (scan.at == line.len()).then_some(top)
}

/// The offset just after the object that begins at `from`; the object is only followed, not checked.
pub(super) fn skip_object(line: &[u8], from: usize) -> Option<usize> {
    let mut scan = Scan { bytes: line, at: from };
    if scan.peek()? != b'{' {
        return None;
    }
    scan.value()?;
    Some(scan.at)
}

/// The offset just behind the number that begins at `from`.
pub(super) fn after_number(line: &[u8], from: usize) -> Option<usize> {
    let mut scan = Scan { bytes: line, at: from };
    scan.number()?;
    Some(scan.at)
}

/// The offset just behind the fraction and exponent, of which there may be none, that begin at `from`.
pub(super) fn after_fraction(line: &[u8], from: usize) -> Option<usize> {
    let mut scan = Scan { bytes: line, at: from };
    scan.fraction()?;
    Some(scan.at)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The open brackets as bits, 1 for an object.
#[derive(Default)]
struct Nesting {
    word: u64,
    depth: u32,
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        if self.depth == 64 {
            self.outer.push(self.word);
            self.depth = 0;
        }
        self.word = self.word << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.word >>= 1;
        self.depth -= 1;
        if self.depth == 0
            && let Some(word) = self.outer.pop()
        {
            self.word = word;
            self.depth = 64;
        }
    }

    fn is_empty(&self) -> bool {
        self.depth == 0
    }

    fn in_object(&self) -> bool {
        self.word & 1 == 1
    }
}

impl<'a> Scan<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The members of the outermost object, whose names are looked at.
    fn top(&mut self) -> Option<Top> {
        let mut top = Top::default();
        self.eat(b'{')?;
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            top.empty = true;
            return Some(top);
        }
        loop {
            let name = self.string()?;
            self.space();
            self.eat(b':')?;
            self.space();
            if is(name, b"cl") {
                top.twice |= top.cl;
                top.cl = true;
            }
            if self.peek()? == b'"' {
                let text = self.string()?;
                top.own |= is(text, b"cl") && is(name, b"type");
            } else {
                self.value()?;
            }
            self.space();
            match self.peek()? {
                b',' => {
                    self.at += 1;
                    self.space();
                }
                b'}' => {
                    self.at += 1;
                    return Some(top);
                }
                _ => return None,
            }
        }
    }

    /// Any value, nested to any depth, without recursion.
    fn value(&mut self) -> Option<()> {
        let mut open = Nesting::default();
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' => {
                    self.at += 1;
                    self.space();
                    if self.peek()? == b'}' {
                        self.at += 1;
                    } else {
                        open.push(true);
                        self.name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    self.space();
                    if self.peek()? == b']' {
                        self.at += 1;
                    } else {
                        open.push(false);
                        continue;
                    }
                }
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => self.number()?,
            }
            // A value has ended: close what ends with it, or go on to the next one beside it.
            loop {
                if open.is_empty() {
                    return Some(());
                }
                self.space();
                match (self.peek()?, open.in_object()) {
                    (b',', true) => {
                        self.at += 1;
                        self.space();
                        self.name()?;
                        break;
                    }
                    (b',', false) => {
                        self.at += 1;
                        self.space();
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return None,
                }
            }
        }
    }

    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.space();
        self.eat(b':')?;
        self.space();
        Some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        self.fraction()
    }

    fn fraction(&mut self) -> Option<()> {
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// A string, as it stands between its quotes.
    #[inline]
    fn string(&mut self) -> Option<&'a [u8]> {
        self.eat(b'"')?;
        let from = self.at;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(&self.bytes[from..self.at - 1]);
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let hex = self.bytes.get(self.at + 2..self.at + 6)?;
                if !hex.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }
}

/// How many bytes pass before a quote, a backslash or a control character: eight at a time.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | control;
        if found != 0 {
            // A borrow can only mark bytes after the first true hit, so the lowest mark is right.
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let stop = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
    words.len() * 8 + stop.unwrap_or(rest.len())
}

/// Whether a string as it stands in the source spells `plain`.
fn is(raw: &[u8], plain: &[u8]) -> bool {
    if !raw.contains(&b'\\') {
        return raw == plain;
    }
    // Only `\u00xx` can spell the letters asked for here.
    let mut left = raw;
    for &want in plain {
        let got = match left {
            [b'\\', b'u', b'0', b'0', a, b, ..] => {
                let nibble = |c: u8| char::from(c).to_digit(16).map_or(0, |d| d as u8);
                let byte = nibble(*a) << 4 | nibble(*b);
                left = &left[6..];
                byte
            }
            [byte, ..] => {
                left = &left[1..];
                *byte
            }
            [] => return false,
        };
        if got != want {
            return false;
        }
    }
    left.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    fn known_good(line: &[u8]) -> bool {
        // serde_json does not look at the UTF-8 of what it ignores.
        line.iter().find(|b| !b" \t\r\n".contains(b)) == Some(&b'{')
            && std::str::from_utf8(line).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
    }

    #[test]
    fn what_matters_at_the_top() {
        let top = |line: &str| object(line.as_bytes());
        assert_eq!(top(r#"{"a":1}"#), Some(Top::default()));
        assert_eq!(top(r#"{"a":{"cl":1},"type":"x"}"#), Some(Top::default()));
        assert_eq!(top(r#"{"a":1,"cl":{}}"#).map(|t| t.cl), Some(true));
        assert_eq!(top(r#"{"\u0063\u006C":1}"#).map(|t| t.cl), Some(true));
        assert_eq!(top(r#"{"cl":1,"a":2}"#).map(|t| t.twice), Some(false));
        assert_eq!(top(r#"{"cl":1,"c\u006c":2}"#).map(|t| t.twice), Some(true));
        assert_eq!(top(r#"{"x":1,"type":"cl"}"#).map(|t| t.own), Some(true));
        assert_eq!(top(r#"{"type":"c\u006c"}"#).map(|t| t.own), Some(true));
        assert_eq!(top("{ }").map(|t| t.empty), Some(true));
    }

    #[test]
    fn what_is_no_object() {
        for line in [
            "",
            "{",
            "[]",
            "{}x",
            "{\"a\"}",
            "{\"a\":01}",
            "{\"a\":.5}",
            "{\"a\":1,}",
            "{\"a\":[1}]",
            "{\"a\":\"\t\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":tru}",
            "{\"a\":-}",
            "{\"a\":1 2}",
            "{\"a\":\"\\",
        ] {
            assert_eq!(object(line.as_bytes()), None, "{line}");
            assert_eq!(slowly(line.as_bytes()), None, "{line}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn depth_has_no_limit() {
        let deep = format!("{{\"a\":{}1{}}}", "[{\"b\":".repeat(100_000), "}]".repeat(100_000));
        assert!(object(deep.as_bytes()).is_some());
        assert!(object(deep.replacen("}]", "]}", 1).as_bytes()).is_none());
    }

    fn json_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(":"),
            Just(","),
            Just("\""),
            Just("\\"),
            Just(" "),
            Just("\"a\""),
            Just("\"a\":"),
            Just("1"),
            Just("-0.5e+3"),
            Just("true"),
            Just("null"),
            Just("\\u0041"),
            Just("\u{e9}"),
            Just("\u{1}"),
            Just("\"long enough for eight at a time\""),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| format!("{{{}", pieces.concat()).into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_serde_json(line in json_text()) {
            prop_assert_eq!(object(&line).is_some(), known_good(&line));
            prop_assert_eq!(slowly(&line).is_some(), known_good(&line));
        }

        #[test]
        fn agrees_on_broken_documents(value in "\\PC{0,20}", cut in 0usize..60, byte: u8) {
            let mut line = serde_json::to_vec(&serde_json::json!({"k": value, "n": [1, {"m": [value.len(), null]}], "s": "\u{0}\n"})).unwrap();
            prop_assert!(object(&line).is_some());
            let at = cut % line.len();
            line[at] = byte;
            prop_assert_eq!(object(&line).is_some(), known_good(&line));
            prop_assert_eq!(slowly(&line).is_some(), known_good(&line));
        }
    }
}
