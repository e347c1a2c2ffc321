//! The header that every line begins with, read without a JSON parser.

use super::json;
use super::name::is_name;
use memchr::memmem::Finder;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

/// What every line begins with. These bytes cannot stand unescaped inside a JSON string.
pub const PREFIX: &[u8] = b"{\"cl\":{\"stream\":\"";

/// What stands between the header and the rest of one of our own events, up to its subtype.
pub(super) const OWN: &[u8] = b",\"type\":\"cl\",\"subtype\":\"";

/// A time on the wire: microseconds since 1970, written as seconds with six decimals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ts(pub u64);

impl Ts {
    /// The time now.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self(since.as_micros() as u64)
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// How long after `earlier` this is; zero when the clock went back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A line's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The stream that wrote the line.
    pub stream: &'a str,
    /// The line's place in its stream, from 1.
    pub seq: u64,
    /// When the line was complete at capture.
    pub ts: Ts,
    /// The offset just behind the header object: there stands `,` or the final `}`.
    pub end: usize,
}

/// Reads the header of a line; `None` when the line has none in the fixed form.
///
/// Only the header is looked at: whether the rest is valid is [`json::object`]'s to say.
#[inline]
pub fn header(line: &[u8]) -> Option<Header<'_>> {
    let rest = line.strip_prefix(PREFIX)?;
    let quote = memchr::memchr(b'"', rest)?;
    let stream = &rest[..quote];
    if !is_name(stream) {
        return None;
    }
    let stream = std::str::from_utf8(stream).ok()?;
    let mut at = PREFIX.len() + quote;
    let rest = line[at..].strip_prefix(b"\",\"seq\":")?;
    let (seq, digits) = number(rest)?;
    at += b"\",\"seq\":".len() + digits;
    let rest = line[at..].strip_prefix(b",\"ts\":")?;
    let (micros, length) = seconds(rest)?;
    at += b",\"ts\":".len() + length;
    let end = match line.get(at)? {
        b'}' => at + 1,
        // Further members that a later version may add.
        b',' => json::skip_object(line, b"{\"cl\":".len())?,
        _ => return None,
    };
    matches!(line.get(end)?, b',' | b'}').then_some(Header {
        stream,
        seq,
        ts: Ts(micros),
        end,
    })
}

fn number(text: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    let mut at = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        at += 1;
    }
    (at > 0).then_some((value, at))
}

/// Seconds with any number of decimals (a `jq` in between drops final zeros), as microseconds.
fn seconds(text: &[u8]) -> Option<(u64, usize)> {
    let (whole, mut at) = number(text)?;
    let mut micros = 0u64;
    if text.get(at) == Some(&b'.') {
        at += 1;
        let from = at;
        let mut unit = 100_000;
        while let Some(digit @ b'0'..=b'9') = text.get(at) {
            micros += u64::from(digit - b'0') * unit;
            unit /= 10;
            at += 1;
        }
        if at == from {
            return None;
        }
    }
    Some((whole.checked_mul(1_000_000)?.checked_add(micros)?, at))
}

/// Appends `digits` of decimal width, or as many as needed.
pub(super) fn push_number(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut text = [b'0'; 20];
    let mut from = text.len();
    while value > 0 || from > text.len() - width {
        from -= 1;
        text[from] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text[from..]);
}

/// Appends a header up to its closing brace: what follows is `,` and members, or `}`.
pub(super) fn push_header(out: &mut Vec<u8>, stream: &str, seq: u64, ts: Ts) {
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(b"\",\"seq\":");
    push_number(out, seq, 1);
    out.extend_from_slice(b",\"ts\":");
    push_number(out, ts.0 / 1_000_000, 1);
    out.push(b'.');
    push_number(out, ts.0 % 1_000_000, 6);
    out.push(b'}');
}

/// The headers of a stream's lines, one after the other: mostly the next one is the last one with its number counted up.
#[derive(Debug, Clone, Default)]
pub(super) struct Heading {
    text: Vec<u8>,
    /// What it says.
    seq: u64,
    ts: Ts,
    /// Where its number begins and ends.
    digits: (usize, usize),
}

impl Heading {
    /// Appends what [`push_header`] does. The stream's name is always the same.
    #[inline]
    pub(super) fn push(&mut self, out: &mut Vec<u8>, stream: &str, seq: u64, ts: Ts) {
        if ts != self.ts || self.seq.checked_add(1) != Some(seq) || !self.count() {
            self.write(stream, seq, ts);
        }
        self.seq = seq;
        out.extend_from_slice(&self.text);
    }

    /// Counts up; whether there was room for it.
    #[inline]
    fn count(&mut self) -> bool {
        let (from, to) = self.digits;
        for digit in self.text[from..to].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return true;
            }
            *digit = b'0';
        }
        false
    }

    fn write(&mut self, stream: &str, seq: u64, ts: Ts) {
        self.text.clear();
        push_header(&mut self.text, stream, seq, ts);
        let from = PREFIX.len() + stream.len() + b"\",\"seq\":".len();
        let digits = self.text[from..].iter().take_while(|byte| byte.is_ascii_digit());
        self.digits = (from, from + digits.count());
        self.ts = ts;
    }
}

/// Whether the line is one of our own events; `header` is the line's own.
#[inline]
pub fn own_event(line: &[u8], header: &Header<'_>) -> bool {
    line[header.end..].starts_with(OWN)
}

/// The subtype of one of our own events; `None` when the line is a worker's.
#[inline]
pub fn subtype<'a>(line: &'a [u8], header: &Header<'_>) -> Option<&'a [u8]> {
    let rest = line[header.end..].strip_prefix(OWN)?;
    Some(&rest[..memchr::memchr(b'"', rest)?])
}

/// The worker's own line as it was before it was spliced, in two pieces, so that nothing is copied.
#[inline]
pub fn body<'a>(line: &'a [u8], header: &Header<'_>) -> (&'static [u8], &'a [u8]) {
    match line.get(header.end) {
        Some(b',') => (b"{", &line[header.end + 1..]),
        _ => (b"{", &line[header.end..]),
    }
}

/// The offset, beyond the first byte, at which a header begins inside a line: where a whole line was glued to half a one.
pub fn find_header(line: &[u8]) -> Option<usize> {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PREFIX));
    let inside = line.get(1..)?;
    FINDER
        .find_iter(inside)
        .map(|at| at + 1)
        .find(|&at| header(&line[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (stream, seq, micros) in [("main", 1, 1_763_680_000_123_456), ("a/b", u64::MAX, 0), ("x", 10, 5)] {
            let mut line = Vec::new();
            push_header(&mut line, stream, seq, Ts(micros));
            let end = line.len();
            line.extend_from_slice(b",\"type\":\"x\"}");
            assert_eq!(
                header(&line),
                Some(Header {
                    stream,
                    seq,
                    ts: Ts(micros),
                    end
                })
            );
        }
    }

    #[test]
    fn counts_as_it_writes() {
        let mut heading = Heading::default();
        let (mut out, mut plain) = (Vec::new(), Vec::new());
        let numbers = (1..=2000).chain([1999, 7, 8, u64::MAX - 1, u64::MAX, u64::MAX, 0, 1]);
        for (n, seq) in numbers.enumerate() {
            let ts = Ts(n as u64 / 150 * 999_999);
            heading.push(&mut out, "a/b", seq, ts);
            push_header(&mut plain, "a/b", seq, ts);
            assert_eq!(out, plain, "{seq}");
            out.clear();
            plain.clear();
        }
    }

    #[test]
    fn tolerates_what_may_come() {
        let line = br#"{"cl":{"stream":"a","seq":7,"ts":12.5,"later":{"x":["}"]}},"type":"x"}"#;
        let head = header(line).unwrap();
        assert_eq!((head.seq, head.ts), (7, Ts(12_500_000)));
        assert_eq!(&line[head.end..], br#","type":"x"}"#);
        assert_eq!(
            header(br#"{"cl":{"stream":"a","seq":7,"ts":12}}"#).unwrap().ts,
            Ts(12_000_000)
        );
    }

    #[test]
    fn refuses_other_forms() {
        for line in [
            r#"{"cl":{"stream":"..","seq":1,"ts":1.0}}"#,
            r#"{"cl":{"stream":"a","seq":-1,"ts":1.0}}"#,
            r#"{"cl":{"stream":"a","seq":,"ts":1.0}}"#,
            r#"{"cl":{"stream":"a","seq":1,"ts":1.}}"#,
            r#"{"cl":{"stream":"a","seq":1,"ts":1.0}"#,
            r#"{"cl":{"stream":"a","seq":1,"ts":1.0}x"#,
            r#"{"cl":{"stream":"a","seq":99999999999999999999999,"ts":1.0}}"#,
            r#"{"cl": {"stream":"a","seq":1,"ts":1.0}}"#,
            r#"{"cl":{"stream":"a","#,
            "",
        ] {
            assert_eq!(header(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn finds_the_way_back() {
        let line = br#"{"cl":{"stream":"a","seq":1,"ts":1.0},"x":"hal{"cl":{"stream":"b","seq":4,"ts":2.0},"y":1}"#;
        let at = find_header(line).unwrap();
        assert_eq!(header(&line[at..]).unwrap().stream, "b");
        assert_eq!(find_header(br#"{"cl":{"stream":"a","seq":1,"ts":1.0}}"#), None);
    }
}
