//! git worktrees of streams: made, used again, told from those that are left over.

use harmony::cli::reason;
use harmony::sys::fds::flock;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A worktree that a stream is to have.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Its folder.
    pub path: PathBuf,
    branch: String,
    /// The repository's own folder, which all its worktrees share.
    common: PathBuf,
}

/// What git calls a worktree that it has not finished to make.
const UNFINISHED: &str = "initializing";

impl Tree {
    /// The worktree of a branch: in that folder, else beside the repository we are in.
    ///
    /// # Errors
    /// In a few words, why there cannot be any.
    pub fn new(folder: Option<&str>, branch: String) -> Result<Self, String> {
        // One that is there may be that of another repository.
        let inside = folder.map(Path::new).filter(|folder| folder.is_dir());
        let common = git(inside, &["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
        let common = PathBuf::from(common);
        let path = match folder {
            Some(folder) => std::path::absolute(folder).map_err(|error| format!("{folder}: {}", reason(&error)))?,
            None => {
                let mut beside = match common.file_name() {
                    Some(name) if name == ".git" => common.parent().unwrap_or(&common).to_owned().into_os_string(),
                    _ => common.clone().into_os_string(),
                };
                beside.push(".worktrees");
                PathBuf::from(beside).join(&branch)
            }
        };
        Ok(Self { path, branch, common })
    }

    /// The file that is locked by whoever uses the worktree.
    pub fn lock(&self) -> Result<PathBuf, String> {
        let folder = self.common.join("cl-worktrees");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {}", folder.display(), reason(&error)))?;
        let name: String = self.path.to_string_lossy().replace('%', "%25").replace('/', "%");
        // A name that is too long for a file is that of its end, which is what differs.
        let from = (0..name.len()).find(|&at| name.is_char_boundary(at) && name.len() - at <= 200);
        Ok(folder.join(&name[from.unwrap_or(0)..]))
    }

    /// Makes the worktree, with its branch, where it is not there; one after the other in a repository, for git's own
    /// locks do not wait. To be called when its lock is held: then what is half made is left over.
    ///
    /// # Errors
    /// What git says.
    pub fn make(&self) -> Result<(), String> {
        let path = self.path.display().to_string();
        let _lock = hold(&self.common.join("cl-worktrees.lock"), true)
            .map_err(|error| format!("the lock of git's worktrees: {}", reason(&error)))?;
        if self.path.exists() && self.is_unfinished() {
            self.git(&["worktree", "remove", "--force", "--force", &path])?;
        }
        if !self.path.exists() {
            // What git remembers of a folder that has gone keeps it from being made anew.
            self.git(&["worktree", "prune"])?;
            let known = format!("refs/heads/{}", self.branch);
            let is_there = self.git(&["show-ref", "--verify", "--quiet", &known]).is_ok();
            let add: &[&str] = match is_there {
                true => &["worktree", "add", "--quiet", &path, &self.branch],
                false => &["worktree", "add", "--quiet", "-b", &self.branch, &path],
            };
            self.git(add)?;
        }
        let top = git(Some(&self.path), &["rev-parse", "--show-toplevel"]).map(PathBuf::from);
        let real = |path: &Path| fs::canonicalize(path).ok();
        match top {
            Ok(top) if real(&top) == real(&self.path) => Ok(()),
            _ => Err(format!("{path}: there, but no worktree of git; move it away")),
        }
    }

    /// Whether git was cut short when it made the worktree.
    fn is_unfinished(&self) -> bool {
        let own = git(Some(&self.path), &["rev-parse", "--absolute-git-dir"]);
        let why = own.and_then(|own| fs::read_to_string(Path::new(&own).join("locked")).map_err(|e| e.to_string()));
        why.is_ok_and(|why| why.trim() == UNFINISHED)
    }

    fn git(&self, args: &[&str]) -> Result<String, String> {
        // From the repository itself, wherever we are.
        git(Some(&self.common), args)
    }
}

/// Runs git; what it says in its first line.
fn git(folder: Option<&Path>, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    if let Some(folder) = folder {
        command.arg("-C").arg(folder);
    }
    let done = command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("git: {}", reason(&error)))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said = said
        .lines()
        .find(|line| line.starts_with("fatal:"))
        .or(said.lines().last());
    let what = args.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    Err(format!("git {what}: {}", said.unwrap_or("it failed")))
}

/// Takes the lock on a file, and waits for it where another one holds it.
///
/// # Errors
/// What the system says.
pub fn hold(path: &Path, wait: bool) -> io::Result<OwnedFd> {
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    flock(&file, wait)?;
    Ok(file.into())
}
