//! Which run is meant where none, or only a name, is given.
//!
//! A run folder holds a file for each stream, as `cl-tee --split` writes them, and where it was made from a plan that
//! plan. Those of plans lie in one folder, named `TIME-NAME`. The newest of several is the one in which a file, and so a
//! stream, appeared last.

use super::folder::{JOURNAL, PLANS, is_run_of};
use crate::line::header;
use crate::plan::Format;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A header is not longer.
const HEADER: u64 = 4096;

/// The newest run folder in this one; `None` where there is none.
pub fn newest(folder: &Path) -> Option<PathBuf> {
    runs(folder).max().map(|(_, path)| path)
}

/// The run that is meant by what somebody typed: a path; or a folder of run folders, whose newest it then is; or, where
/// no such thing is there, the name of a run in `home`, of whose runs the newest is taken.
///
/// # Errors
/// Where there is nothing of the kind.
pub fn find(typed: &Path, home: Option<&Path>) -> io::Result<PathBuf> {
    match typed.metadata() {
        Ok(about) if about.is_dir() && !is_run(typed) => {
            let inside = newest(typed).filter(|inside| !is_part(inside));
            Ok(inside.unwrap_or_else(|| typed.to_owned()))
        }
        Ok(_) => Ok(typed.to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => home.and_then(|home| named(typed, home)).ok_or(error),
        Err(error) => Err(error),
    }
}

/// The newest run of that name, or the one that is called exactly so.
fn named(typed: &Path, home: &Path) -> Option<PathBuf> {
    let name = typed.to_str().filter(|name| !name.contains('/'))?;
    let exact = home.join(name);
    if exact.is_dir() {
        return Some(exact);
    }
    let fits = |path: &Path| path.file_name().is_some_and(|file| is_run_of(file, name));
    runs(home).filter(|(_, path)| fits(path)).max().map(|(_, path)| path)
}

/// The run folders in a folder, with the time of their last change. A link is another name of one of them.
fn runs(folder: &Path) -> impl Iterator<Item = (SystemTime, PathBuf)> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let (path, about) = (entry.path(), entry.metadata().ok()?);
        let run = about.is_dir() && !is_hidden(&path) && is_run(&path);
        run.then_some((about.modified().ok()?, path))
    })
}

/// Whether a folder has a stream, or the plan of some.
fn is_run(folder: &Path) -> bool {
    let planned = || PLANS.map(Format::file_name).into_iter().chain([JOURNAL]);
    streams(folder).next().is_some() || planned().any(|file| folder.join(file).is_file())
}

/// Whether the streams in a folder are those inside a stream of the same name, so that it is a part of a run.
fn is_part(folder: &Path) -> bool {
    let Some(outer) = folder.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    streams(folder).any(|file| {
        let mut head = Vec::new();
        let read = File::open(file).and_then(|file| file.take(HEADER).read_to_end(&mut head));
        let name = read.ok().and_then(|_| Some(header(&head)?.stream));
        name.and_then(|name| name.strip_prefix(outer)?.strip_prefix('/'))
            .is_some()
    })
}

/// The regular files of a folder that hold streams.
fn streams(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let paths = folder
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    paths.filter(|path| !is_hidden(path) && path.extension().is_some_and(|end| end == "ndjson") && path.is_file())
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::time::Duration;

    fn run(home: &Path, name: &str, age: u64) -> PathBuf {
        let folder = home.join(name);
        create_dir_all(&folder).unwrap();
        write(folder.join("main.ndjson"), "").unwrap();
        let then = SystemTime::now().checked_sub(Duration::from_secs(age)).unwrap();
        File::open(&folder).unwrap().set_modified(then).unwrap();
        folder
    }

    #[test]
    fn by_name_or_by_age() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        assert_eq!(newest(home), None);
        assert_eq!(newest(Path::new("/no/such")), None);
        let old = run(home, "2026-01-31T235959.123-auth", 9);
        let new = run(home, "2026-02-01T000000.000-auth", 5);
        let other = run(home, "2026-02-01T000000.001-x-auth", 1);
        run(home, ".hidden", 0);
        create_dir_all(home.join("empty")).unwrap();
        std::os::unix::fs::symlink(&old, home.join("latest")).unwrap();
        assert_eq!(newest(home), Some(other.clone()));
        let found = |typed: &str| find(Path::new(typed), Some(home)).ok();
        assert_eq!(found("auth"), Some(new));
        assert_eq!(found("x-auth"), Some(other.clone()));
        assert_eq!(found("2026-01-31T235959.123-auth"), Some(old));
        assert_eq!(found("latest"), Some(home.join("latest")));
        assert_eq!((found("uth"), found("a/auth"), found("..x")), (None, None, None));
        // A folder of runs stands for its newest, a run for itself.
        assert_eq!(find(home, None).unwrap(), other);
        assert_eq!(find(&other, None).unwrap(), other);
        let file = other.join("main.ndjson");
        assert_eq!(find(&file, None).unwrap(), file);
    }

    #[test]
    fn streams_inside_a_stream_are_no_run() {
        let whole = tempfile::tempdir().unwrap();
        let whole = whole.path();
        let inner = run(whole, "outer", 1);
        write(
            inner.join("main.ndjson"),
            "{\"cl\":{\"stream\":\"outer/main\",\"seq\":1,\"ts\":1.000000},\"type\":\"cl\"}\n",
        )
        .unwrap();
        assert_eq!(find(whole, None).unwrap(), whole);
        // Before anything is there, it is waited for where it was said.
        let empty = whole.join("empty");
        create_dir_all(&empty).unwrap();
        assert_eq!(find(&empty, None).unwrap(), empty);
        write(empty.join("journal"), "").unwrap();
        assert_eq!(newest(whole), Some(empty));
    }
}
