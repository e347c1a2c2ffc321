//! Choosing streams by their names.

use std::str::FromStr;

/// A pattern for a whole stream name: `*` stands for any characters, also for none and also across `/`; `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Whether the name is of this pattern.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where the last star was, and up to where it has swallowed the name.
        let mut star = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(&byte) if byte == b'?' || byte == name[n] => (p, n) = (p + 1, n + 1),
                _ => {
                    let Some((at, swallowed)) = star else {
                        return false;
                    };
                    star = Some((at, swallowed + 1));
                    (p, n) = (at + 1, swallowed + 1);
                }
            }
        }
        pattern[p..].iter().all(|&byte| byte == b'*')
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/*?".contains(&byte);
        if !text.is_empty() && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "'{}' matches no stream: names have letters, digits, '_', '.', '-' and '/'; '*' and '?' stand for others",
                text.escape_default()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, matches) in [
            ("main", "main", true),
            ("main", "main/x", false),
            ("main*", "main/x", true),
            ("*", "a/b", true),
            ("*/b", "a/b", true),
            ("*/b", "a/c/b", true),
            ("a?", "ab", true),
            ("a?", "a", false),
            ("*a*b*c", "xxaxxbxbxxc", true),
            ("*a*b*c", "xxaxxbxbxx", false),
            ("a**", "a", true),
        ] {
            assert_eq!(
                pattern.parse::<Glob>().unwrap().matches(name),
                matches,
                "{pattern} {name}"
            );
        }
        assert!("".parse::<Glob>().is_err() && "a b".parse::<Glob>().is_err());
    }
}
