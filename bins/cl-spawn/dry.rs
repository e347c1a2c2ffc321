//! `--dry-run`: the command as one line that a shell would take.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The line, with its line feed.
pub fn line(cwd: Option<&Path>, env: &[(OsString, Option<OsString>)], argv: &[OsString]) -> Vec<u8> {
    let mut words: Vec<Vec<u8>> = vec![b"env".to_vec()];
    if let Some(cwd) = cwd {
        words.extend([b"-C".to_vec(), quoted(cwd.as_os_str())]);
    }
    for (name, value) in env {
        match value {
            Some(value) => words.push([quoted(name), quoted(value)].join(&b'=')),
            None => words.extend([b"-u".to_vec(), quoted(name)]),
        }
    }
    words.extend(argv.iter().map(|word| quoted(word)));
    let mut line = words.join(&b' ');
    line.push(b'\n');
    line
}

/// A word as a shell reads it back, whatever its bytes.
fn quoted(word: &OsStr) -> Vec<u8> {
    let bytes = word.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-./=:,@%+".contains(b);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    // What a terminal acts on, and a role file may hold, is shown and not sent; bash, zsh and ksh read it back.
    if acts(bytes) {
        let mut quoted = b"$'".to_vec();
        for &byte in bytes {
            match byte {
                b'\'' | b'\\' => quoted.extend([b'\\', byte]),
                b' '..=b'~' | b'\n' => quoted.push(byte),
                byte => quoted.extend(format!("\\x{byte:02x}").as_bytes()),
            }
        }
        quoted.push(b'\'');
        return quoted;
    }
    let mut quoted = vec![b'\''];
    for &byte in bytes {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// Whether a terminal acts on anything in it.
fn acts(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    harmony::view::clean_json(&text) != text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [("a-b=c", "a-b=c"), ("", "''"), ("it's", r"'it'\''s'"), ("a b", "'a b'")] {
            assert_eq!(quoted(OsStr::new(word)), expected.as_bytes());
        }
        assert_eq!(quoted(OsStr::new("a\u{1b}[1m'é")), br"$'a\x1b[1m\'\xc3\xa9'");
        assert_eq!(quoted(OsStr::new("two\nlines")), b"'two\nlines'");
    }
}
