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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [("a-b=c", "a-b=c"), ("", "''"), ("it's", r"'it'\''s'"), ("a b", "'a b'")] {
            assert_eq!(quoted(OsStr::new(word)), expected.as_bytes());
        }
    }
}
