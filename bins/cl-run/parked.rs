//! Who waits for the end of a usage limit, as the streams themselves tell it.

use harmony::line::{header, subtype};
use harmony::state::{Phase, State};
use memchr::memmem::Finder;

/// How all that cl-spawn says itself begins, behind the header.
const OWN: &str = r#""type":"cl","subtype":""#;

/// What the streams have said of it.
pub struct Parked {
    state: State,
    own: Finder<'static>,
}

impl Default for Parked {
    fn default() -> Self {
        Self {
            state: State::default(),
            own: Finder::new(OWN),
        }
    }
}

impl Parked {
    /// Looks through whole lines.
    pub fn look(&mut self, lines: &[u8]) {
        let mut from = 0;
        while let Some(found) = self.own.find(&lines[from..]) {
            let at = from + found;
            let begin = memchr::memrchr(b'\n', &lines[..at]).map_or(0, |feed| feed + 1);
            let end = memchr::memchr(b'\n', &lines[at..]).map_or(lines.len(), |feed| at + feed);
            let line = &lines[begin..end];
            if let Some(head) = header(line) {
                let tells = match subtype(line, &head) {
                    Some(b"limit" | b"retry") => true,
                    // Most start, and never wait.
                    Some(b"start") => self.state.get(head.stream).is_some(),
                    _ => false,
                };
                if tells {
                    self.state.line(line);
                }
            }
            from = end;
        }
    }

    /// Whether that stream waits.
    pub fn is(&self, name: &str) -> bool {
        let phase = self.state.get(name).map(|stream| &stream.phase);
        matches!(phase, Some(Phase::Parked { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmony::line::{Event, Name, Stamper, Ts};

    #[test]
    fn from_the_limit_to_the_next_start() {
        let mut parked = Parked::default();
        let mut writer = Stamper::new(Name::new("a/b").unwrap());
        let mut say = |event: Option<Event>, raw: &str| {
            let mut lines = b"{\"cl\":{\"stream\":\"other\",\"seq\":1,\"ts\":1.000000},\"x\":1}\n".to_vec();
            match event {
                Some(event) => writer.event(&event, Ts(7), &mut lines),
                None => writer.line(raw.as_bytes(), true, Ts(7), &mut lines),
            }
            parked.look(&lines);
            parked.is("a/b")
        };
        let limit = |status: &str| Event::Limit {
            status: status.to_owned(),
            resets_at: Some(9.0),
            kind: None,
        };
        let retry = Event::Retry {
            attempt: 2,
            of: 2,
            delay: 3.0,
            because: "limit".to_owned(),
            next: None,
        };
        assert!(!say(Some(limit("allowed_warning")), ""));
        assert!(!say(Some(retry.clone()), ""), "for another reason");
        assert!(!say(Some(Event::Start(Box::default())), ""));
        assert!(!say(Some(limit("rejected")), ""), "its worker has not ended");
        assert!(say(Some(retry), ""));
        assert!(
            say(None, r#"{"type":"cl","subtype":"start","v":1}"#),
            "a worker says so"
        );
        assert!(!say(Some(Event::Start(Box::default())), ""));
        assert!(say(Some(limit("held")), ""));
    }
}
