//! From a worker's bytes to lines of the stream.

use super::event::{Bytes, Event};
use super::header::{Header, Heading, OWN, Ts, header};
use super::json::{self, Top};
use super::name::{MAX_NAME, Name};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashSet;

/// Numbers and stamps the lines of one stream.
#[derive(Debug, Clone)]
pub struct Stamper {
    stream: Name,
    seq: u64,
    heading: Heading,
    inner: Inner,
}

/// The streams that have shown themselves inside this one.
#[derive(Debug, Clone, Default)]
struct Inner {
    names: HashSet<Box<str>>,
    /// That of the line before: mostly that of the next one, too.
    last: Box<str>,
}

/// A worker that invents streams without end shall not fill the memory, or the disk, of whoever reads them.
const MOST_INNER: usize = 10_000;

impl Inner {
    /// Whether the line of an inner stream goes on as that.
    fn admits(&mut self, name: &str) -> bool {
        if *self.last == *name {
            return true;
        }
        if !self.names.contains(name) {
            if self.names.len() >= MOST_INNER {
                return false;
            }
            self.names.insert(name.into());
        }
        self.last = name.into();
        true
    }
}

impl Stamper {
    /// A stream that begins: its first line will be number 1.
    pub fn new(stream: Name) -> Self {
        Self::after(stream, 0)
    }

    /// A stream that goes on behind line `seq`.
    pub fn after(stream: Name, seq: u64) -> Self {
        Self {
            stream,
            seq,
            heading: Heading::default(),
            inner: Inner::default(),
        }
    }

    /// The stream's name.
    pub fn stream(&self) -> &Name {
        &self.stream
    }

    /// The last number given.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Appends a worker's stdout line (without its line feed) to `out`: spliced, prefixed or wrapped.
    pub fn line(&mut self, raw: &[u8], eol: bool, ts: Ts, out: &mut Vec<u8>) {
        self.checked(raw, json::object, eol, ts, out);
    }

    /// The same, of a line that may have been checked already: `top` is asked only where that decides.
    #[inline]
    pub fn checked(
        &mut self,
        raw: &[u8],
        top: impl FnOnce(&[u8]) -> Option<Top>,
        eol: bool,
        ts: Ts,
        out: &mut Vec<u8>,
    ) {
        match kind(raw, top, eol, self.stream.as_str()) {
            Kind::Spliced => {
                self.header(ts, out);
                out.push(b',');
                out.extend_from_slice(&raw[1..]);
                out.push(b'\n');
            }
            Kind::Nested(inner) if self.inner.admits(inner.stream) => {
                let stream = format!("{}/{}", self.stream, inner.stream);
                stamp_as(&stream, raw, &inner, out);
            }
            Kind::Nested(_) | Kind::Wrapped => self.event(
                &Event::Text {
                    bytes: Bytes::new(raw),
                    eol,
                },
                ts,
                out,
            ),
        }
    }

    /// Appends a piece of an over-long stdout line.
    pub fn chunk(&mut self, raw: &[u8], last: bool, eol: bool, ts: Ts, out: &mut Vec<u8>) {
        self.event(
            &Event::Chunk {
                bytes: Bytes::new(raw),
                last,
                eol: eol || !last,
            },
            ts,
            out,
        );
    }

    /// Appends a stderr line (without its line feed).
    pub fn stderr(&mut self, raw: &[u8], eol: bool, ts: Ts, out: &mut Vec<u8>) {
        self.event(
            &Event::Stderr {
                bytes: Bytes::new(raw),
                eol,
            },
            ts,
            out,
        );
    }

    /// Appends one of our own events as the stream's next line.
    pub fn event(&mut self, event: &Event, ts: Ts, out: &mut Vec<u8>) {
        self.header(ts, out);
        push_event(event, out);
    }

    fn header(&mut self, ts: Ts, out: &mut Vec<u8>) {
        // A hostile number may be the last there is.
        self.seq = self.seq.saturating_add(1);
        self.heading.push(out, self.stream.as_str(), self.seq, ts);
    }
}

/// Appends an event behind a header, with the line feed.
fn push_event(event: &Event, out: &mut Vec<u8>) {
    // serde puts the tag first: `{"subtype":"…",…}`, so the fixed beginning of an own event is a matter of splicing.
    let tag = OWN.len() - b",\"type\":\"cl\"".len();
    out.extend_from_slice(&OWN[..OWN.len() - tag]);
    out.push(b',');
    let from = out.len();
    serde_json::to_writer(&mut *out, event).expect("an event has only string keys and writes to memory");
    out.remove(from);
    out.push(b'\n');
}

/// Appends a line that has a header under another stream name, all else as it was, with a line feed.
pub fn stamp_as(stream: &str, line: &[u8], header: &Header<'_>, out: &mut Vec<u8>) {
    let name_at = super::header::PREFIX.len();
    out.extend_from_slice(super::header::PREFIX);
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(&line[name_at + header.stream.len()..]);
    out.push(b'\n');
}

enum Kind<'a> {
    Spliced,
    Nested(Header<'a>),
    Wrapped,
}

fn kind<'a>(raw: &'a [u8], top: impl FnOnce(&[u8]) -> Option<Top>, eol: bool, outer: &str) -> Kind<'a> {
    // An unterminated line is wrapped whatever it holds: only `text` can say that the line feed is missing.
    if !eol || !raw.starts_with(b"{\"") {
        return Kind::Wrapped;
    }
    let Some(top) = top(raw) else {
        return Kind::Wrapped;
    };
    if top.cl {
        // A nested stream's line is told by its header; any other `cl` would be taken for one of ours.
        return match header(raw) {
            Some(inner) if outer.len() + 1 + inner.stream.len() <= MAX_NAME && !top.twice && is_plain(raw, &inner) => {
                Kind::Nested(inner)
            }
            _ => Kind::Wrapped,
        };
    }
    // A worker that writes `"type":"cl"` must not be able to speak for the toolkit.
    if top.own { Kind::Wrapped } else { Kind::Spliced }
}

/// Whether no member of a line's header is there twice: a reader of JSON would take the last one, we the first.
fn is_plain(raw: &[u8], header: &Header<'_>) -> bool {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "stream")]
        _stream: IgnoredAny,
        #[serde(rename = "seq")]
        _seq: IgnoredAny,
        #[serde(rename = "ts")]
        _ts: IgnoredAny,
    }
    serde_json::from_slice::<Head>(&raw[b"{\"cl\":".len()..header.end]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{PREFIX, unwrap};
    use proptest::prelude::*;

    fn stamped(raw: &[u8], eol: bool) -> String {
        let mut out = Vec::new();
        Stamper::new(Name::new("s").unwrap()).line(raw, eol, Ts(1_500_000), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn splices_objects() {
        assert_eq!(
            stamped(br#"{"type":"x", "a":[1]} "#, true),
            "{\"cl\":{\"stream\":\"s\",\"seq\":1,\"ts\":1.500000},\"type\":\"x\", \"a\":[1]} \n"
        );
    }

    #[test]
    fn wraps_the_rest() {
        let head = r#"{"cl":{"stream":"s","seq":1,"ts":1.500000},"type":"cl","subtype":"text","#;
        for (raw, eol, rest) in [
            (&b"hi"[..], true, r#""text":"hi"}"#),
            (b"", true, r#""text":""}"#),
            (b"{}", true, r#""text":"{}"}"#),
            (b"[1]", true, r#""text":"[1]"}"#),
            (b" {\"a\":1}", true, r#""text":" {\"a\":1}"}"#),
            (b"{\"a\":", true, r#""text":"{\"a\":"}"#),
            (b"{\"cl\":1}", true, r#""text":"{\"cl\":1}"}"#),
            (
                b"{\"x\":1,\"type\":\"cl\"}",
                true,
                r#""text":"{\"x\":1,\"type\":\"cl\"}"}"#,
            ),
            (b"{\"a\":1}", false, r#""text":"{\"a\":1}","eol":false}"#),
            (b"a\r", true, r#""text":"a\r"}"#),
            (b"\xff", true, r#""base64":"/w=="}"#),
        ] {
            assert_eq!(stamped(raw, eol), format!("{head}{rest}\n"));
        }
    }

    #[test]
    fn prefixes_what_is_nested() {
        let inner = br#"{"cl":{"stream":"in","seq":9,"ts":3.000000},"type":"cl","subtype":"exit"}"#;
        assert_eq!(
            stamped(inner, true),
            "{\"cl\":{\"stream\":\"s/in\",\"seq\":9,\"ts\":3.000000},\"type\":\"cl\",\"subtype\":\"exit\"}\n"
        );
    }

    #[test]
    fn nobody_speaks_for_two() {
        for raw in [
            r#"{"cl":{"stream":"in","seq":9,"ts":3.0},"cl":{"stream":"main","seq":1,"ts":1.0},"type":"cl"}"#,
            r#"{"cl":{"stream":"in","seq":9,"ts":3.0},"\u0063l":{"stream":"main","seq":1,"ts":1.0}}"#,
            r#"{"cl":{"stream":"in","seq":9,"ts":3.0,"stream":"main"},"a":1}"#,
            r#"{"cl":{"stream":"in","seq":9,"ts":3.0,"x":{},"s\u0065q":1},"a":1}"#,
        ] {
            assert!(stamped(raw.as_bytes(), true).contains(r#""subtype":"text""#), "{raw}");
        }
        let later = r#"{"cl":{"stream":"in","seq":9,"ts":3.0,"x":{"stream":1}},"a":1}"#;
        assert!(stamped(later.as_bytes(), true).starts_with(r#"{"cl":{"stream":"s/in","#));
    }

    #[test]
    fn streams_inside_are_not_without_number() {
        let mut stamper = Stamper::new(Name::new("s").unwrap());
        let (mut out, mut raw) = (Vec::new(), Vec::new());
        for number in (0..MOST_INNER + 5).chain([0, 3]) {
            raw.clear();
            raw.extend_from_slice(format!(r#"{{"cl":{{"stream":"i{number}","seq":1,"ts":1.0}},"a":1}}"#).as_bytes());
            out.clear();
            stamper.line(&raw, true, Ts(7), &mut out);
            let inside = out.starts_with(br#"{"cl":{"stream":"s/"#);
            assert_eq!(inside, number < MOST_INNER, "{number}");
        }
        assert_eq!(stamper.seq(), 5, "the others are text, with nothing lost");
    }

    #[test]
    fn a_name_cannot_grow_without_end() {
        let long = ["n"; 512].join("/");
        let inner = format!(r#"{{"cl":{{"stream":"{long}","seq":9,"ts":3.000000}},"a":1}}"#);
        assert!(stamped(inner.as_bytes(), true).contains(r#""subtype":"text""#));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the bytes: every line is valid JSON with a header, and unwrapping gives the bytes back.
        #[test]
        fn round_trip(lines in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>().prop_filter("no line feed", |b| *b != b'\n'), 0..40),
            "\\{\"[a-z]{1,4}\":(1|\"\\PC{0,8}\"|\\{\\}|\\[null\\])\\}".prop_map(String::into_bytes),
            Just(br#"{"cl":5}"#.to_vec()),
            Just(br#"{"type":"cl","subtype":"exit"}"#.to_vec()),
        ], 0..8), tail: bool) {
            let mut stamper = Stamper::new(Name::new("s").unwrap());
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            let count = lines.len();
            for (i, line) in lines.iter().enumerate() {
                let eol = i + 1 < count || !tail;
                stamper.line(line, eol, Ts(7), &mut out);
                expected.extend_from_slice(line);
                if eol { expected.push(b'\n'); }
            }
            let mut back = Vec::new();
            for (i, line) in out.split_inclusive(|&b| b == b'\n').enumerate() {
                let line = &line[..line.len() - 1];
                prop_assert!(line.starts_with(PREFIX));
                prop_assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
                prop_assert_eq!(header(line).map(|h| h.seq), Some(i as u64 + 1));
                unwrap(line, &mut back);
            }
            prop_assert_eq!(back, expected);
        }

        /// The same for pieces of one over-long line.
        #[test]
        fn round_trip_of_chunks(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), eol: bool) {
            let mut stamper = Stamper::new(Name::new("s").unwrap());
            let (mut out, mut back) = (Vec::new(), Vec::new());
            for (i, piece) in pieces.iter().enumerate() {
                let last = i + 1 == pieces.len();
                stamper.chunk(piece, last, eol && last, Ts(7), &mut out);
            }
            for line in out.split_inclusive(|&b| b == b'\n') {
                unwrap(&line[..line.len() - 1], &mut back);
            }
            let mut expected = pieces.concat();
            if eol { expected.push(b'\n'); }
            prop_assert_eq!(back, expected);
        }
    }
}
