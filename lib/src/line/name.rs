//! Names of streams.

use std::fmt;

/// The longest full name, all levels together.
pub const MAX_NAME: usize = 1024;
const MAX_PART: usize = 64;

/// A stream's name: parts of `[A-Za-z0-9_.-]{1,64}`, not `.` or `..`, joined by `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a text is no stream name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no stream name: use letters, digits, '_', '.' and '-', at most 64, with '/' between levels")]
pub struct NameError(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// When a part is empty, too long, `.`, `..`, or holds another character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if is_name(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.escape_default().to_string()))
        }
    }

    /// The nearest name to any text, for a source that is called after its file: what a name cannot hold becomes `_`.
    pub fn near(text: &str) -> Self {
        let mut near: String = text
            .chars()
            .map(|c| if c.is_ascii() && is_name_byte(c as u8) { c } else { '_' })
            .take(MAX_PART)
            .collect();
        if !is_name(near.as_bytes()) {
            near = "_".to_owned();
        }
        Self(near)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Whether the bytes are a full stream name.
pub(super) fn is_name(bytes: &[u8]) -> bool {
    let part = |part: &[u8]| {
        (1..=MAX_PART).contains(&part.len()) && part != b"." && part != b".." && part.iter().all(|&b| is_name_byte(b))
    };
    bytes.len() <= MAX_NAME && bytes.split(|&b| b == b'/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["main", "a/b/c", "x.y", "A-1_2", "...", &"n".repeat(64)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "/",
            "a/",
            "/a",
            "a//b",
            "a/../b",
            "a b",
            "é",
            "a\n",
            "a\"",
            &"n".repeat(65),
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        assert!(Name::new(&["n"; 600].join("/")).is_err());
    }

    #[test]
    fn near_names() {
        for (text, near) in [
            ("main", "main"),
            ("a b", "a_b"),
            ("..", "_"),
            ("", "_"),
            ("übung", "_bung"),
            ("a/b", "a_b"),
        ] {
            assert_eq!(Name::near(text).as_str(), near);
        }
    }
}
