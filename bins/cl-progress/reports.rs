//! The files that tell of the run afterwards.

use crate::args::Args;
use harmony::cli::{Failure, complain, reason};
use harmony::line::Ts;
use harmony::state::State;
use harmony::view::{Look, html, summary, trace};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The summary stays below this, with what the file held before.
const SUMMARY: u64 = 1 << 20;

/// Which files are to be written.
#[derive(Debug, Clone)]
pub struct Reports {
    summary: Option<PathBuf>,
    trace: Option<PathBuf>,
    html: Option<PathBuf>,
}

impl Reports {
    /// What the arguments ask for; an error where it is known already that a file cannot be written.
    pub fn asked(args: &Args) -> Result<Self, Failure> {
        let (summary, trace, html) = (args.summary.clone(), args.trace.clone(), args.html.clone());
        if let Some(path) = &summary {
            // A FIFO would make us wait for its reader.
            if !path.metadata().is_ok_and(|about| !about.is_file() && !about.is_dir()) {
                append(path).map_err(|error| Failure::io(path.display(), &error))?;
            }
        }
        for path in [&trace, &html].into_iter().flatten() {
            writable(path).map_err(|error| Failure::io(path.display(), &error))?;
        }
        Ok(Self { summary, trace, html })
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.summary.is_some() || self.trace.is_some() || self.html.is_some()
    }

    /// Writes them; says what could not be written, and whether all was.
    pub fn write(&self, state: &State, look: &Look) -> bool {
        let now = Ts::now();
        let mut whole = true;
        let mut wrote = |path: &Path, written: io::Result<()>| {
            if let Err(error) = written {
                complain("cl-progress", &format!("{}: {}", path.display(), reason(&error)));
                whole = false;
            }
        };
        if let Some(path) = &self.summary {
            wrote(path, add(path, |room| summary(state, now, look, room)));
        }
        if let Some(path) = &self.trace {
            wrote(path, replace(path, trace(state, now, look).as_bytes()));
        }
        if let Some(path) = &self.html {
            wrote(path, replace(path, html(state, now, look).as_bytes()));
        }
        whole
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Adds what fits to what others wrote; they may be at it now.
fn add(path: &Path, text: impl FnOnce(usize) -> Option<String>) -> io::Result<()> {
    // Where nothing can be locked, it is done without.
    let (locked, open);
    let mut file: &File = match Flock::lock(append(path)?, FlockArg::LockExclusive) {
        Ok(file) => {
            locked = file;
            &locked
        }
        Err((file, _)) => {
            open = file;
            &open
        }
    };
    let about = file.metadata()?;
    let held = if about.is_file() { about.len() } else { 0 };
    let room = (SUMMARY - 1).saturating_sub(held);
    let text = text(usize::try_from(room).unwrap_or(0));
    let full = || io::Error::other("full: it holds 1 MiB already, which is all that is shown of a summary");
    file.write_all(text.ok_or_else(full)?.as_bytes())
}

/// Whether the file can be replaced, as far as that is known.
fn writable(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(about) if about.is_dir() => return Err(nix::errno::Errno::EISDIR.into()),
        Ok(about) if !about.is_file() => return Ok(()),
        _ => {}
    }
    let flags = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    Ok(nix::unistd::access(folder(&real(path)), flags)?)
}

/// Puts a file in the place of the one that is there, at once; what is no file is written to.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let there = path.metadata();
    if there.as_ref().is_ok_and(|about| !about.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let path = real(path);
    let mode = there.map_or(0o600, |about| about.permissions().mode() & 0o777);
    let mut file = tempfile::Builder::new()
        .prefix(".cl-progress-")
        .tempfile_in(folder(&path))?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// What a link stands for, so that it stays one.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
