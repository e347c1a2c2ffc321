//! What a user names as a source: `[NAME=]SOURCE`.

use crate::line::Name;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A descriptor that was handed down to us: `-`, `/dev/stdin`, `/dev/fd/N`.
    Inherited(RawFd),
    /// Anything with a path: a FIFO, a file, a folder.
    Path(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherited(0) => f.write_str("stdin"),
            Self::Inherited(fd) => write!(f, "/dev/fd/{fd}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Place {
    fn new(text: &OsStr) -> Self {
        if text == "-" || text == "/dev/stdin" {
            return Self::Inherited(0);
        }
        let number = ["/dev/fd/", "/proc/self/fd/"]
            .iter()
            .find_map(|folder| text.to_str()?.strip_prefix(folder))
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        match number {
            Some(fd) => Self::Inherited(fd),
            None => Self::Path(text.into()),
        }
    }

    /// The name for lines without a header, where the user gave none: the file's stem.
    pub fn stem(&self) -> Name {
        match self {
            Self::Inherited(0) => Name::near("stdin"),
            Self::Inherited(fd) => Name::near(&format!("fd{fd}")),
            Self::Path(path) => stem(path),
        }
    }
}

/// The nearest stream name to a file's name without its extension.
pub(super) fn stem(path: &Path) -> Name {
    let whole = path.canonicalize();
    // `.` and `..` have no name of their own.
    let named = path
        .file_stem()
        .or_else(|| whole.as_ref().ok().and_then(|path| path.file_stem()));
    Name::near(&named.unwrap_or_default().to_string_lossy())
}

/// A source with the name its lines get where they have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name the user gave.
    pub name: Option<Name>,
    /// Where it is.
    pub place: Place,
}

/// Reads `[NAME=]SOURCE`. What exists under the whole text is taken for a path.
pub fn parse(text: &OsStr) -> Named {
    let bytes = text.as_bytes();
    let split = bytes.iter().position(|&b| b == b'=').and_then(|at| {
        let name = Name::new(std::str::from_utf8(&bytes[..at]).ok()?).ok()?;
        Some((name, OsString::from_vec(bytes[at + 1..].to_vec())))
    });
    match split {
        Some((name, rest)) if !rest.is_empty() && Path::new(text).symlink_metadata().is_err() => Named {
            name: Some(name),
            place: Place::new(&rest),
        },
        _ => Named {
            name: None,
            place: Place::new(text),
        },
    }
}

/// Names for all sources: the given ones, else stems, with `-2`, `-3` … where one is taken already.
///
/// # Errors
/// The name that was given to two sources.
pub fn names(sources: &[Named]) -> Result<Vec<Name>, Name> {
    let mut taken = HashSet::new();
    for name in sources.iter().filter_map(|source| source.name.as_ref()) {
        if !taken.insert(name.clone()) {
            return Err(name.clone());
        }
    }
    let named = sources.iter().map(|source| match &source.name {
        Some(name) => name.clone(),
        None => {
            let name = free(source.place.stem(), |name| taken.contains(name));
            taken.insert(name.clone());
            name
        }
    });
    Ok(named.collect())
}

/// The name, or the first of `name-2`, `name-3` … that is free.
pub(super) fn free(name: Name, taken: impl Fn(&Name) -> bool) -> Name {
    if !taken(&name) {
        return name;
    }
    let text = name.as_str();
    (2u64..)
        .filter_map(|number| {
            let suffix = format!("-{number}");
            // The last part may be as long as a part can be: then it gives way.
            let part = text.rfind('/').map_or(0, |at| at + 1);
            let keep = text.len().min(part + 64 - suffix.len());
            Name::new(&format!("{}{suffix}", &text[..keep])).ok()
        })
        .find(|name| !taken(name))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, name, place) in [
            ("-", None, Place::Inherited(0)),
            ("/dev/fd/63", None, Place::Inherited(63)),
            ("/proc/self/fd/7", None, Place::Inherited(7)),
            ("/dev/fd/x", None, Place::Path("/dev/fd/x".into())),
            ("main=-", Some("main"), Place::Inherited(0)),
            ("a/b=c=d", Some("a/b"), Place::Path("c=d".into())),
            ("./a=b", None, Place::Path("./a=b".into())),
            ("a b=c", None, Place::Path("a b=c".into())),
            ("a=", None, Place::Path("a=".into())),
        ] {
            let got = parse(OsStr::new(text));
            assert_eq!(
                (got.name.as_ref().map(Name::as_str), &got.place),
                (name, &place),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_kept_apart() {
        let list: Vec<Named> = ["x/a.ndjson", "y/a.ndjson", "a-2=z", "-", "/dev/fd/9", "z/a", "b c.log"]
            .iter()
            .map(|text| parse(OsStr::new(text)))
            .collect();
        let got: Vec<String> = names(&list).unwrap().iter().map(Name::to_string).collect();
        assert_eq!(got, ["a", "a-3", "a-2", "stdin", "fd9", "a-4", "b_c"]);
        let twice = [parse(OsStr::new("n=x")), parse(OsStr::new("n=y"))];
        assert_eq!(names(&twice).unwrap_err().as_str(), "n");
    }

    #[test]
    fn a_long_name_gives_way_to_its_number() {
        let long = Name::near(&"n".repeat(64));
        let second = free(long.clone(), |name| *name == long);
        assert_eq!(second.as_str(), format!("{}-2", "n".repeat(62)));
    }
}
