//! What a worker reads on its stdin, in each of its attempts.

use crate::args::{Args, Stdin};
use crate::ours;
use harmony::cli::{Failure, reason};
use harmony::sys::fds::{What, reopen, what};
use harmony::sys::files::in_memory;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

const NONBLOCK: i32 = nix::fcntl::OFlag::O_NONBLOCK.bits();

/// Where a worker's stdin comes from.
#[derive(Debug)]
pub enum Source {
    /// These bytes, which may be a prompt.
    Bytes(Vec<u8>),
    /// Nothing.
    Null,
    /// A terminal that says nothing.
    Terminal,
    /// A file, or our own stdin, and where it stood. Of what cannot be read twice, a further attempt gets what is left.
    File(OwnedFd, Option<u64>),
}

impl Source {
    /// What the options say, for a worker with that prompt.
    pub fn choose(args: &Args, prompt: Option<Vec<u8>>, agent: bool) -> Result<Self, Failure> {
        Ok(match (&args.stdin, prompt) {
            (_, Some(prompt)) => Self::Bytes(prompt),
            (Some(Stdin::Null), None) => Self::Null,
            (Some(Stdin::Pty), None) => Self::Terminal,
            (Some(Stdin::Inherit), None) => Self::ours()?,
            // A FIFO is waited for here, where a signal still ends us, and only once.
            (Some(Stdin::File(path)), None) => Self::file(
                File::open(path).map_err(|error| ours(format!("--stdin {}: {}", path.display(), reason(&error))))?,
            ),
            (None, None) => {
                let given = matches!(what(io::stdin()), Ok(What::Pipe | What::File | What::Socket));
                if given && !agent { Self::ours()? } else { Self::Null }
            }
        })
    }

    fn ours() -> Result<Self, Failure> {
        Ok(Self::file(
            io::stdin()
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| ours(format!("stdin: {}", reason(&error))))?
                .into(),
        ))
    }

    fn file(mut file: File) -> Self {
        let at = file.stream_position().ok();
        Self::File(file.into(), at)
    }

    /// A descriptor for one attempt, which may be the `last`; `None` is a silent terminal.
    ///
    /// # Errors
    /// When there is no descriptor left, or no memory.
    pub fn open(&mut self, last: bool) -> io::Result<Option<OwnedFd>> {
        let null = || File::open("/dev/null").map(OwnedFd::from);
        Ok(Some(match self {
            Self::Terminal => return Ok(None),
            Self::Bytes(bytes) => in_memory(c"prompt", bytes)?,
            Self::Null => null()?,
            // Held open by us as well, it would keep whoever writes to it from seeing that nobody reads.
            Self::File(..) if last => match std::mem::replace(self, Self::Null) {
                Self::File(fd, _) => fd,
                _ => null()?,
            },
            Self::File(fd, at) => {
                let mut file = File::from(fd.try_clone()?);
                if let Some(at) = at {
                    file.seek(SeekFrom::Start(*at))?;
                }
                file.into()
            }
        }))
    }
}

/// What is asked: PROMPT, or what stands on stdin where an agent of ours is to be asked and nothing else is its stdin.
pub fn prompt(args: &Args, replay: bool) -> Result<Option<Vec<u8>>, Failure> {
    use std::os::unix::ffi::OsStrExt;
    if let Some(prompt) = &args.prompt {
        return match args.stdin {
            Some(_) if !args.keep => Err(ours("--stdin: the prompt is the worker's stdin; give one of them")),
            _ => Ok(Some(prompt.as_bytes().to_vec())),
        };
    }
    if args.keep || args.stdin.is_some() || !args.command.is_empty() || replay {
        return Ok(None);
    }
    if io::stdin().is_terminal() {
        return Err(ours("no prompt: give it as PROMPT, or on stdin"));
    }
    let mut prompt = Vec::new();
    io::stdin()
        .read_to_end(&mut prompt)
        .map_err(|error| ours(format!("stdin: {}", reason(&error))))?;
    if prompt.trim_ascii().is_empty() {
        return Err(ours("no prompt: stdin is empty; give it as PROMPT, or on stdin"));
    }
    Ok(Some(prompt))
}

/// Where a kept worker's prompts come from.
pub fn prompts(args: &Args) -> Result<File, Failure> {
    match &args.stdin {
        Some(Stdin::Null | Stdin::Pty) => Err(ours("--keep: its prompts come on stdin; give --stdin FILE or inherit")),
        // Without O_NONBLOCK the opening of a FIFO would wait for its first writer.
        Some(Stdin::File(path)) => File::options()
            .read(true)
            .custom_flags(NONBLOCK)
            .open(path)
            .map_err(|error| ours(format!("--stdin {}: {}", path.display(), reason(&error)))),
        Some(Stdin::Inherit) | None => {
            let stdin = io::stdin();
            let pipe = matches!(what(&stdin), Ok(What::Pipe));
            // A pipe is opened anew: another reader of it may take what we were told is there, and O_NONBLOCK on ours
            // would be set for all who share it.
            let anew = File::options().read(true).custom_flags(NONBLOCK).to_owned();
            match reopen(stdin.as_fd(), &anew) {
                Ok(file) if pipe => Ok(file),
                _ => stdin.as_fd().try_clone_to_owned().map(File::from),
            }
            .map_err(|error| ours(format!("stdin: {}", reason(&error))))
        }
    }
}
