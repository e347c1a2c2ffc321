//! One stream in a process of its own, and how it ended.

use crate::work::{Work, exit_of};
use harmony::line::{Event, Exit, Name, Outcome, Stamper, Ts, header};
use harmony::run::last_line;
use harmony::sys::process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A stream that runs.
pub struct Running {
    /// Which of the plan.
    pub at: usize,
    /// When it began.
    pub began: Ts,
    /// What it does, for people.
    pub command: String,
    child: Child,
    name: String,
    /// Its file.
    pub file: File,
    /// What it was asked and how.
    pub key: String,
}

/// How a stream ended.
pub struct Ended {
    /// Its end, as its stream tells it.
    pub exit: Exit,
    /// cl-spawn's exit code.
    pub code: i32,
}

/// cl-spawn: the one beside this program, else the one on PATH.
pub fn spawner() -> OsString {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|us| Some(us.parent()?.join("cl-spawn")))
        .filter(|path| path.exists());
    beside.unwrap_or_else(|| PathBuf::from("cl-spawn")).into()
}

/// Starts cl-spawn with its output in `file`. To be called from the thread that ends last.
///
/// # Errors
/// When no process can be made.
pub fn start(
    spawner: &OsString,
    run: &Path,
    (at, name): (usize, &str),
    work: &Work,
    file: File,
    held: &[OwnedFd],
) -> io::Result<Running> {
    let mut command = Command::new(spawner);
    command
        .arg0("cl-spawn")
        .args(&work.args)
        .env("CL_RUN", run)
        .stdin(match &work.stdin {
            Some(text) => Stdio::from(in_memory(text)?),
            None => Stdio::null(),
        })
        .stdout(Stdio::from(file.try_clone()?));
    let held: Vec<_> = held.iter().map(AsFd::as_fd).collect();
    process::prepare_tool(&mut command, &held);
    Ok(Running {
        at,
        began: Ts::now(),
        child: command.spawn()?,
        command: told(&work.args),
        name: name.to_owned(),
        file,
        key: work.key.clone(),
    })
}

/// A command as a shell would take it, in one line.
pub fn told(args: &[String]) -> String {
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+{}".contains(&byte);
    let words = args.iter().map(|arg| match arg.bytes().all(simple) && !arg.is_empty() {
        true => arg.clone(),
        false => format!("'{}'", arg.replace('\'', "'\\''")),
    });
    let words: Vec<String> = std::iter::once("cl-spawn".to_owned()).chain(words).collect();
    words.join(" ")
}

impl Running {
    /// Tells it something.
    pub fn signal(&self, signal: Signal) {
        // It is our child, and was not waited for: its number is no other's.
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<Ended> {
        let status = self.child.try_wait().ok()??;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let exit = match exit_of(&self.file) {
            Ok(Some(exit)) => exit,
            // A file that cannot be read, or be written, has no end.
            _ => self.unsaid(status, code),
        };
        Some(Ended { exit, code })
    }

    /// Says how a stream ended whose cl-spawn did not.
    fn unsaid(&mut self, status: ExitStatus, code: i32) -> Exit {
        let because = match status.signal() {
            Some(signal) => format!("cl-spawn was ended by signal {signal}"),
            None => format!("cl-spawn ended with {code} and did not say how"),
        };
        let (line, whole) = last_line(&self.file).unwrap_or_default();
        let nothing = line.is_empty();
        let exit = Exit {
            outcome: if nothing && status.signal().is_none() {
                Outcome::Unstartable
            } else {
                Outcome::Lost
            },
            because,
            ..Exit::default()
        };
        let event = match exit.outcome {
            Outcome::Unstartable => Event::Exit(Box::new(exit.clone())),
            _ => Event::Lost {
                source: format!("{}.ndjson", self.name),
            },
        };
        let seq = header(&line).map_or(0, |head| head.seq);
        let half = !nothing && !whole;
        let _ = say(&mut self.file, &self.name, seq, half, &event);
        exit
    }
}

/// Says something of a stream in its place.
///
/// # Errors
/// What the system says.
pub fn say(file: &mut File, name: &str, seq: u64, half: bool, event: &Event) -> io::Result<()> {
    let mut line = Vec::new();
    if half {
        line.push(b'\n');
    }
    let name = Name::new(name).unwrap_or_else(|_| Name::near(name));
    Stamper::after(name, seq).event(event, Ts::now(), &mut line);
    file.write_all(&line)
}

/// A file in memory: it has an end from the beginning, and any size.
fn in_memory(text: &str) -> io::Result<OwnedFd> {
    let mut file = File::from(nix::sys::memfd::memfd_create(
        c"prompt",
        nix::sys::memfd::MFdFlags::MFD_CLOEXEC,
    )?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}
