//! The wire format: stamping, reading, and the way back.

use super::{lines, shallow};
use harmony::line::{self, Event, Name, Stamper, Ts};
use serde_json::Value;

/// Any worker's bytes: each of its lines becomes one valid line that says whose it is, to a reader of headers and to
/// a reader of JSON alike, and the way back gives the same bytes.
pub fn wire(data: &[u8]) {
    let name = Name::new("s").expect("a name");
    let mut stamper = Stamper::new(name.clone());
    let (mut out, mut back) = (Vec::new(), Vec::new());
    for (raw, eol) in lines(data) {
        read(raw);
        out.clear();
        let before = stamper.seq();
        stamper.line(raw, eol, Ts(1_500_000), &mut out);
        let stamped = out.strip_suffix(b"\n").expect("a line feed");
        assert!(!stamped.contains(&b'\n'), "one line");
        let head = line::header(stamped).expect("a header");
        read(stamped);
        same_to_both(stamped);
        if let Some(inner) = head.stream.strip_prefix("s/") {
            assert_eq!(stamper.seq(), before, "it keeps its own number");
            assert_ne!(inner, "");
            line::stamp_as(inner, stamped, &head, &mut back);
        } else {
            assert_eq!((head.stream, head.seq), ("s", before + 1));
            line::unwrap(stamped, &mut back);
        }
    }
    assert_eq!(back, data, "the way back");
    back.clear();
    let mut pieces = data.chunks(data.len() / 16 + 1).peekable();
    let mut stamper = Stamper::after(name, u64::MAX - 2);
    while let Some(piece) = pieces.next() {
        out.clear();
        stamper.chunk(piece, pieces.peek().is_none(), false, Ts(u64::MAX), &mut out);
        line::unwrap(out.strip_suffix(b"\n").expect("a line feed"), &mut back);
    }
    assert_eq!(back, data, "the way back in pieces");
}

/// The first header and the last member `cl` are one.
fn same_to_both(stamped: &[u8]) {
    assert!(line::object(stamped).is_some(), "valid");
    // White space where JSON allows it is left to the whole check.
    let odd = !stamped.ends_with(b"}") || stamped.iter().any(|byte| *byte < b' ');
    assert!(odd || line::looks_whole(stamped), "whole");
    if !shallow(stamped) {
        return;
    }
    let head = line::header(stamped).expect("a header");
    // Numbers that JSON allows and no float holds are for readers who keep them as they are written.
    let Ok(value) = serde_json::from_slice::<Value>(stamped) else {
        return;
    };
    assert_eq!(
        value["cl"]["stream"].as_str(),
        Some(head.stream),
        "the same stream to all"
    );
    assert_eq!(value["cl"]["seq"].as_u64(), Some(head.seq), "the same number to all");
    if head.stream == "s" && !line::own_event(stamped, &head) {
        assert_ne!(value["type"], "cl", "no worker speaks for the toolkit");
    }
}

/// Any line as a reader meets it.
fn read(raw: &[u8]) {
    let valid = line::object(raw).is_some();
    if shallow(raw) {
        let known = std::str::from_utf8(raw)
            .ok()
            .map(|text| text.trim_start_matches([' ', '\t', '\n', '\r']))
            .is_some_and(|text| {
                text.starts_with('{') && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
            });
        assert_eq!(valid, known, "{:?}", String::from_utf8_lossy(raw));
    }
    if let Some(at) = line::find_header(raw) {
        assert!(at > 0 && line::header(&raw[at..]).is_some());
    }
    let Some(head) = line::header(raw) else {
        return;
    };
    assert!(Name::new(head.stream).is_ok());
    let _ = (line::body(raw, &head), line::subtype(raw, &head));
    line::unwrap(raw, &mut Vec::new());
    if let Some(event) = Event::read(raw) {
        let mut again = Vec::new();
        Stamper::new(Name::near("s")).event(&event, head.ts, &mut again);
        let known = Event::read(again.strip_suffix(b"\n").expect("a line feed")).expect("an event");
        assert_eq!(std::mem::discriminant(&known), std::mem::discriminant(&event));
    }
}
