//! The run's journal, as it is written.
//!
//! What is written survives our own end at once, by a kill, too; the disk has it a little later, brought there by a
//! thread. Only an `undo` waits for the disk: a start that is lost with the machine's power runs again, as one that was
//! begun would anyway, and an end that is lost is that of a stream which runs again.

use harmony::line::Ts;
use harmony::plan::{Act, Entry, Journal};
use harmony::run::JOURNAL;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::time::Duration;

/// How often the disk is to take what was written, at most.
const EVERY: Duration = Duration::from_millis(100);

/// How long a journal may be locked yet by the child of a cl-run that was killed while it made it: until the child's own
/// program runs.
const LETTING_GO: Duration = Duration::from_millis(500);

/// A journal that is ours to write.
pub struct Log {
    file: File,
    /// Held as long as we run.
    _lock: Flock<File>,
    /// Asks for what was written to be brought to the disk; asked for once, all of it is.
    disk: SyncSender<()>,
    dirty: bool,
    buffer: Vec<u8>,
}

impl Log {
    /// Opens the journal of a run, makes it ours, and reads it. Half a line at its end is cut off.
    ///
    /// # Errors
    /// `WouldBlock` when another process runs it; else what the system says.
    pub fn open(folder: &Path) -> io::Result<(Self, Journal)> {
        let options = |append: bool| {
            let mut options = File::options();
            options.read(true).append(append).write(true).create(true).mode(0o600);
            options
        };
        let file = options(true).truncate(false).open(folder.join(JOURNAL))?;
        let lock = lock(file.try_clone()?)?;
        let mut text = vec![0; file.metadata()?.len() as usize];
        file.read_exact_at(&mut text, 0)?;
        let whole = memchr::memrchr(b'\n', &text).map_or(0, |feed| feed + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        let journal = Journal::read(&text[..whole]);
        let log = Self {
            disk: disk(file.try_clone()?),
            file,
            _lock: lock,
            dirty: false,
            buffer: Vec::new(),
        };
        Ok((log, journal))
    }

    /// Notes an act, to be written with those that follow it.
    pub fn note(&mut self, act: Act) {
        let ts = Ts::now().seconds();
        // The types have no form that JSON has not.
        if let Ok(line) = serde_json::to_vec(&Entry { ts, act }) {
            self.buffer.extend_from_slice(&line);
            self.buffer.push(b'\n');
        }
    }

    /// Writes what was noted.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        self.dirty = true;
        Ok(())
    }

    /// Has the disk take what was written, without waiting for it.
    pub fn sync_later(&mut self) {
        if std::mem::take(&mut self.dirty) {
            // Where it is asked for already, this is meant as well.
            let _ = self.disk.try_send(());
        }
    }

    /// Writes what was noted, and waits until it is on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        self.dirty = false;
        self.file.sync_data()
    }
}

/// Takes the lock of a journal; waits a moment for whoever is about to let go of it.
fn lock(file: File) -> io::Result<Flock<File>> {
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => return Ok(lock),
        Err((file, Errno::EWOULDBLOCK)) => file,
        Err((_, error)) => return Err(error.into()),
    };
    let (tell, told) = channel();
    // Where it waits in vain it ends with the process.
    std::thread::spawn(move || tell.send(Flock::lock(file, FlockArg::LockExclusive)));
    let locked = told
        .recv_timeout(LETTING_GO)
        .map_err(|_| io::Error::from(Errno::EWOULDBLOCK))?;
    locked.map_err(|(_, error)| error.into())
}

/// A thread that brings a file to the disk when it is asked to. It ends with the process, or when nobody can ask.
fn disk(file: File) -> SyncSender<()> {
    let (ask, asked) = sync_channel(1);
    std::thread::spawn(move || {
        while asked.recv().is_ok() {
            // Who has to know whether it came about waits for the disk.
            let _ = file.sync_data();
            std::thread::sleep(EVERY);
        }
    });
    ask
}
