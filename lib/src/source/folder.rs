//! What a folder holds for us: FIFOs and `*.ndjson`, and folders of these for nested streams.

use crate::line::Name;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// A FIFO, or a file with lines.
    Source,
    /// A folder.
    Folder,
}

/// What lies at the path, if it concerns us.
pub(super) fn entry(path: &Path) -> Option<Entry> {
    let hidden = path.file_name()?.as_encoded_bytes().starts_with(b".");
    if hidden {
        return None;
    }
    // A link to a file is as good as the file; a link to a folder could lead in circles.
    let link = path.symlink_metadata().ok()?.is_symlink();
    let kind = path.metadata().ok()?.file_type();
    let lines = || path.extension().is_some_and(|extension| extension == "ndjson");
    if kind.is_dir() && !link {
        Some(Entry::Folder)
    } else if kind.is_fifo() || (kind.is_file() && lines()) {
        Some(Entry::Source)
    } else {
        None
    }
}

/// The entries of one folder that concern us, in the order of their names.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(PathBuf, Entry)>> {
    let mut found = Vec::new();
    for item in folder.read_dir()? {
        let path = item?.path();
        if let Some(kind) = entry(&path) {
            found.push((path, kind));
        }
    }
    found.sort();
    Ok(found)
}

/// The name of a stream inside another: `outer/inner`. One that would be too long stands alone.
pub(super) fn nested(outer: Option<&Name>, inner: &Name) -> Name {
    match outer {
        Some(outer) => Name::new(&format!("{outer}/{inner}")).unwrap_or_else(|_| inner.clone()),
        None => inner.clone(),
    }
}
