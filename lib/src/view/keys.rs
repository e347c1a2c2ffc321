//! What a terminal sends for keys.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Char(char),
}

/// Reads keys from what a terminal sends, in whatever pieces it comes.
#[derive(Debug, Default)]
pub struct Keys {
    /// The beginning of a sequence.
    pending: Vec<u8>,
}

/// No sequence is longer.
const LONGEST: usize = 32;

impl Keys {
    /// Takes bytes, gives the keys that they complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let (mut at, mut keys) = (0, Vec::new());
        while let Some((used, key)) = one(&self.pending[at..]) {
            at += used;
            keys.extend(key);
        }
        self.pending.drain(..at);
        if self.pending.len() > LONGEST {
            self.pending.clear();
        }
        keys
    }

    /// Whether the next bytes may belong to what came.
    pub fn awaits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// No more came for a while: what looked like the beginning of a sequence was the key Escape.
    pub fn settle(&mut self) -> Option<Key> {
        let alone = self.pending == [ESC];
        self.pending.clear();
        alone.then_some(Key::Escape)
    }
}

const ESC: u8 = 0x1b;

/// The first key and how many bytes it takes; `None` when they are only its beginning.
fn one(bytes: &[u8]) -> Option<(usize, Option<Key>)> {
    let first = *bytes.first()?;
    match first {
        ESC => match bytes.get(1)? {
            b'[' => control(bytes),
            b'O' => Some((3, named(*bytes.get(2)?, b""))),
            // The key again.
            &ESC => Some((1, Some(Key::Escape))),
            // With Alt: nothing of ours.
            _ => Some((2, None)),
        },
        b'\r' | b'\n' => Some((1, Some(Key::Enter))),
        0x7f | 0x08 => Some((1, Some(Key::Escape))),
        b' '..=b'~' => Some((1, Some(Key::Char(char::from(first))))),
        _ => Some((1, None)),
    }
}

/// A control sequence.
fn control(bytes: &[u8]) -> Option<(usize, Option<Key>)> {
    let end = bytes[2..].iter().position(|byte| !(0x20..0x40).contains(byte))? + 2;
    Some((end + 1, named(bytes[end], &bytes[2..end])))
}

fn named(last: u8, parameters: &[u8]) -> Option<Key> {
    Some(match (last, parameters) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        (b'M', b"") => Key::Enter,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_terminals_send() {
        let mut keys = Keys::default();
        for (bytes, expected) in [
            (&b"q"[..], vec![Key::Char('q')]),
            (b"\x1b[A\x1bOB\x1b[1;5C", vec![Key::Up, Key::Down, Key::Right]),
            (
                b"\x1b[5~\x1b[6~\x1b[H\x1b[4~",
                vec![Key::PageUp, Key::PageDown, Key::Home, Key::End],
            ),
            (b"\r\n\x7f", vec![Key::Enter, Key::Enter, Key::Escape]),
            (b"\x1bx\x00\xc3\xa9j", vec![Key::Char('j')]),
            (b"\x1b\x1b[B", vec![Key::Escape, Key::Down]),
        ] {
            assert_eq!(keys.take(bytes), expected, "{bytes:?}");
            assert!(!keys.awaits());
        }
    }

    #[test]
    fn in_pieces_and_alone() {
        let mut keys = Keys::default();
        assert_eq!(keys.take(b"\x1b"), []);
        assert!(keys.awaits());
        assert_eq!(keys.take(b"["), []);
        assert_eq!(keys.take(b"A"), [Key::Up]);
        keys.take(b"\x1b");
        assert_eq!((keys.settle(), keys.awaits()), (Some(Key::Escape), false));
        keys.take(b"\x1b[");
        assert_eq!(keys.settle(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10)) {
            let mut keys = Keys::default();
            for piece in pieces {
                keys.take(&piece);
                prop_assert!(keys.pending.len() <= LONGEST);
            }
        }
    }
}
