//! The data, made from the project's recordings.

use crate::pair::{Pairs, timed};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where everything lies, and how much of it there is.
pub struct Data {
    pub folder: PathBuf,
    pub quick: bool,
    /// Where programs are found: the built tools first.
    path: String,
    /// Where tee writes its files: in memory, where that is possible.
    scratch: PathBuf,
}

impl Data {
    /// Makes what is missing.
    ///
    /// # Errors
    /// When there is no room.
    pub fn make(folder: &Path, quick: bool) -> io::Result<Self> {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let claude = root.join("target/claude/node_modules/.bin");
        let shm = PathBuf::from(format!("/dev/shm/cl-bench-{}", std::process::id()));
        let in_memory = std::fs::create_dir(&shm).is_ok();
        let data = Self {
            folder: folder.to_owned(),
            quick,
            path: format!(
                "{}:{}:{}",
                crate::tools().display(),
                std::env::var("PATH").unwrap_or_default(),
                claude.display()
            ),
            scratch: if in_memory { shm } else { folder.to_owned() },
        };
        let lines = recorded()?;
        data.file("big.ndjson", &lines, if quick { 128 << 20 } else { 512 << 20 })?;
        data.file("middle.ndjson", &lines, if quick { 32 << 20 } else { 128 << 20 })?;
        data.file("small.ndjson", &lines, if quick { 16 << 20 } else { 64 << 20 })?;
        let part = if quick { 16 << 20 } else { 64 << 20 };
        data.file("part.ndjson", &lines, part)?;
        for i in 1..=8 {
            let stamp = format!("cl-spawn s{i} --agent plain -- cat part.ndjson > stamped{i}.ndjson && mkfifo fifo{i}");
            if !data.script(&stamp).status()?.success() {
                return Err(io::Error::other("cl-spawn fails"));
            }
        }
        Ok(data)
    }

    /// A program with its arguments; `speed` is ourselves.
    pub fn command(&self, words: &[&str]) -> Command {
        let own = std::env::current_exe().unwrap_or_default();
        let mut command = match words[0] {
            "speed" => Command::new(&own),
            // Found once, so that no search is measured.
            name => Command::new(self.find(name).unwrap_or_else(|| name.into())),
        };
        command
            .args(&words[1..])
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .env("SPEED", own);
        command
    }

    /// A bash script, in the folder of the data. What hangs is ended.
    pub fn script(&self, text: &str) -> Command {
        let mut command = self.command(&["timeout", "--foreground", "120", "bash", "-c"]);
        command.arg(text);
        command
    }

    /// Two scripts in turn.
    pub fn pairs(&self, ours: &str, theirs: &str, runs: usize) -> io::Result<Pairs> {
        let run = |text| timed(self.script(text));
        Pairs::run(self.runs(runs), || run(ours), || run(theirs))
    }

    /// Files in memory, where that is possible.
    pub fn scratch(&self, names: &str) -> String {
        let files = names
            .split(' ')
            .map(|name| self.scratch.join(name).display().to_string());
        files.collect::<Vec<_>>().join(" ")
    }

    /// An error that says so where a program is missing.
    pub fn needs(&self, name: &str) -> io::Result<()> {
        match self.find(name) {
            Some(_) => Ok(()),
            None => Err(io::Error::other(format!("{name} is not there"))),
        }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    }

    /// So many runs of each, or fewer.
    pub fn runs(&self, full: usize) -> usize {
        if self.quick { (full / 3).max(5).min(full) } else { full }
    }

    fn file(&self, name: &str, lines: &[Vec<u8>], size: usize) -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(self.folder.join(name))?);
        let mut written = 0;
        for line in lines.iter().cycle() {
            if written >= size {
                break;
            }
            file.write_all(line)?;
            written += line.len();
        }
        file.flush()
    }
}

/// The lines of claude's recordings, 660 bytes at the mean: without the few that are very long, and with every other
/// one of those that are long.
fn recorded() -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings/claude");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    let (mut lines, mut long) = (Vec::new(), 0);
    for file in files {
        for line in std::fs::read(file)?.split_inclusive(|&byte| byte == b'\n') {
            long += usize::from(line.len() > 2000);
            let taken = line.len() < 4096 && (line.len() <= 2000 || long % 2 == 1);
            if taken && line.starts_with(b"{\"") && line.ends_with(b"}\n") {
                lines.push(line.to_vec());
            }
        }
    }
    Ok(lines)
}

impl Drop for Data {
    fn drop(&mut self) {
        // What was measured with is large, and quickly made.
        let _ = std::fs::remove_dir_all(&self.scratch);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
