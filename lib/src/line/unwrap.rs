//! From a line of the stream back to the worker's bytes.

use super::event::Event;
use super::header::{body, header, subtype};

/// Appends what the worker wrote on stdout for this line (given without its line feed): nothing for our own events
/// but `text` and `chunk`, and a line without header as it is.
pub fn unwrap(line: &[u8], out: &mut Vec<u8>) {
    let Some(head) = header(line) else {
        out.extend_from_slice(line);
        out.push(b'\n');
        return;
    };
    match subtype(line, &head) {
        None => {
            let (brace, rest) = body(line, &head);
            out.extend_from_slice(brace);
            out.extend_from_slice(rest);
            out.push(b'\n');
        }
        Some(b"text" | b"chunk") => {
            let (bytes, eol) = match Event::read(line) {
                Some(Event::Text { bytes, eol }) => (bytes, eol),
                Some(Event::Chunk { bytes, last, eol }) => (bytes, last && eol),
                _ => return,
            };
            out.extend_from_slice(&bytes.bytes().unwrap_or_default());
            if eol {
                out.push(b'\n');
            }
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_events_are_no_output() {
        let mut out = Vec::new();
        unwrap(
            br#"{"cl":{"stream":"s","seq":1,"ts":1.0},"type":"cl","subtype":"stderr","text":"x"}"#,
            &mut out,
        );
        unwrap(
            br#"{"cl":{"stream":"s","seq":1,"ts":1.0},"type":"cl","subtype":"text"}"#,
            &mut out,
        );
        assert_eq!(out, b"\n");
        out.clear();
        unwrap(b"no header", &mut out);
        unwrap(br#"{"cl":{"stream":"s","seq":1,"ts":1.0}}"#, &mut out);
        assert_eq!(out, b"no header\n{}\n");
    }
}
