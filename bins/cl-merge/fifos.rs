//! The FIFOs that we make, and remove again.

use harmony::source::{Named, Place};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// FIFOs that exist because of us; they go when this goes, or is told to clear.
#[derive(Debug, Clone, Default)]
pub struct Fifos {
    made: Arc<Mutex<Vec<Made>>>,
}

#[derive(Debug)]
struct Made {
    path: PathBuf,
    id: (u64, u64),
}

impl Fifos {
    /// Makes a FIFO where a source does not exist.
    pub fn make(&self, source: &Named) -> io::Result<()> {
        let Place::Path(path) = &source.place else {
            return Ok(());
        };
        match nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(()) => {
                let made = Made {
                    path: path.clone(),
                    id: id(path)?,
                };
                self.made.lock().unwrap_or_else(PoisonError::into_inner).push(made);
                Ok(())
            }
            Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what was made, unless something else lies there by now.
    pub fn clear(&self) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        for fifo in made.drain(..) {
            if id(&fifo.path).is_ok_and(|id| id == fifo.id) {
                let _ = std::fs::remove_file(&fifo.path);
            }
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let meta = path.symlink_metadata()?;
    Ok((meta.dev(), meta.ino()))
}
