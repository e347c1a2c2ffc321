//! Choosing streams by name, as a shell chooses files.

/// A pattern for names: `*` any characters (`/` too: `main*` means main and all that runs inside it), `?` one, `[a-c]`
/// one of these, `[!a-c]` one other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Any,
    One,
    Byte(u8),
    /// Ranges with both ends included, and whether a byte has to be in one of them.
    Set(Vec<(u8, u8)>, bool),
}

impl Glob {
    /// Whether the whole name fits.
    pub fn matches(&self, name: &str) -> bool {
        let (name, pieces) = (name.as_bytes(), &self.0);
        let (mut at, mut piece) = (0, 0);
        // Where to go on when the last `*` has to take one byte more.
        let mut again = None;
        loop {
            match pieces.get(piece) {
                Some(Piece::Any) => {
                    again = Some((at, piece + 1));
                    piece += 1;
                    continue;
                }
                Some(other) if name.get(at).is_some_and(|&byte| other.takes(byte)) => {
                    (at, piece) = (at + 1, piece + 1);
                    continue;
                }
                None if at == name.len() => return true,
                _ => {}
            }
            match again {
                Some((from, after)) if from < name.len() => {
                    (at, piece) = (from + 1, after);
                    again = Some((from + 1, after));
                }
                _ => return false,
            }
        }
    }
}

impl Piece {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Byte(own) => *own == byte,
            Self::Set(ranges, inside) => ranges.iter().any(|&(low, high)| (low..=high).contains(&byte)) == *inside,
        }
    }
}

impl std::str::FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            pieces.push(match byte {
                b'*' if pieces.last() == Some(&Piece::Any) => continue,
                b'*' => Piece::Any,
                b'?' => Piece::One,
                b'[' => {
                    let (set, after) = set(rest).ok_or_else(|| format!("'{text}' is no pattern: a '[' has no ']'"))?;
                    rest = after;
                    set
                }
                other => Piece::Byte(other),
            });
        }
        Ok(Self(pieces))
    }
}

/// What stands between the brackets; a `]` that comes first belongs to the set.
fn set(text: &[u8]) -> Option<(Piece, &[u8])> {
    let inside = !matches!(text.first(), Some(b'!' | b'^'));
    let text = &text[usize::from(!inside)..];
    let end = 1 + memchr::memchr(b']', text.get(1..)?)?;
    let mut ranges = Vec::new();
    let mut members = &text[..end];
    while let Some(&low) = members.first() {
        let high = match members {
            [_, b'-', high, ..] => *high,
            _ => low,
        };
        members = &members[if members.len() >= 3 && members[1] == b'-' { 3 } else { 1 }..];
        ranges.push((low, high));
    }
    Some((Piece::Set(ranges, inside), &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (glob, name, fits) in [
            ("main", "main", true),
            ("main", "mains", false),
            ("*", "a/b", true),
            ("main*", "main/sub", true),
            ("*/sub", "main/x/sub", true),
            ("*a*b", "xaybzb", true),
            ("*a*b", "xayc", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("", "", true),
            ("", "a", false),
            ("**", "", true),
            ("*", "", true),
        ] {
            assert_eq!(glob.parse::<Glob>().unwrap().matches(name), fits, "{glob} {name}");
        }
        assert!("[a".parse::<Glob>().is_err());
        assert!("[".parse::<Glob>().is_err());
    }

    #[test]
    fn many_stars_take_no_time() {
        let glob: Glob = format!("{}b", "*a".repeat(500)).parse().unwrap();
        assert!(!glob.matches(&"a".repeat(1000)));
    }
}
