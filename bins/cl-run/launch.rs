//! One stream, done by a cl-spawn, and how it ended.

use crate::work::Work;
use harmony::line::{Event, Exit, Name, Outcome, Stamper, Ts};
use harmony::run::{Nursery, Status, exit_of, last_line, last_seq};
use harmony::sys::files::in_memory;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// A stream that runs.
pub struct Running {
    /// Which of the plan.
    pub at: usize,
    /// When it began.
    pub began: Ts,
    /// What it does, for people.
    pub command: String,
    id: i32,
    name: String,
    /// Its file.
    pub file: Arc<File>,
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
fn spawner() -> OsString {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|us| Some(us.parent()?.join("cl-spawn")))
        .filter(|path| path.exists());
    beside.unwrap_or_else(|| PathBuf::from("cl-spawn")).into()
}

/// Starts what starts the streams of a run, each as a cl-spawn that rings the bell of its number when it has written.
///
/// # Errors
/// When it cannot be started.
pub fn nursery(run: &Path, bells: OwnedFd) -> io::Result<Nursery> {
    let mut command = Command::new(spawner());
    command.arg0("cl-spawn").arg("--serve").env("CL_RUN", run);
    Nursery::start(command, bells)
}

/// Starts a stream with its output in `file`; `null` is what stands on its stdin where nothing else does.
///
/// # Errors
/// When no process can be asked for.
pub fn start(
    nursery: &mut Nursery,
    (at, name): (usize, &str),
    work: &Work,
    file: Arc<File>,
    held: &[OwnedFd],
    null: BorrowedFd<'_>,
) -> io::Result<Running> {
    let prompt = work.stdin.as_ref().map(|text| in_memory(c"prompt", text.as_bytes()));
    let prompt = prompt.transpose()?;
    let stdin = prompt.as_ref().map_or(null, AsFd::as_fd);
    let mut args = vec!["cl-spawn".to_owned()];
    args.extend(work.args.iter().cloned());
    Ok(Running {
        at,
        began: Ts::now(),
        id: nursery.ask(at as i32, &args, stdin, file.as_fd(), held)?,
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
    pub fn signal(&self, nursery: &mut Nursery, signal: Signal) {
        nursery.signal(self.id, signal);
    }

    /// How it ended, once it has.
    pub fn ended(&mut self, nursery: &mut Nursery) -> Option<Ended> {
        let status = nursery.ended(self.id)?;
        let code = match status {
            Status::Exited(code) => code,
            Status::Signalled(signal) => 128 + signal,
        };
        // A file that cannot be read, or be written, has no end.
        let told = exit_of(&self.file, &self.name).ok().flatten();
        Some(Ended {
            code,
            exit: told.unwrap_or_else(|| self.unsaid(status, code)),
        })
    }

    /// Says how a stream ended whose cl-spawn did not.
    fn unsaid(&mut self, status: Status, code: i32) -> Exit {
        let because = match status {
            Status::Signalled(signal) => format!("cl-spawn was ended by signal {signal}"),
            Status::Exited(_) => format!("cl-spawn ended with {code} and did not say how"),
        };
        let (line, whole) = last_line(&self.file).unwrap_or_default();
        let nothing = line.is_empty();
        let exit = Exit {
            outcome: if nothing && matches!(status, Status::Exited(_)) {
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
        let seq = last_seq(&self.file, &self.name).unwrap_or_default();
        let half = !nothing && !whole;
        let _ = say(&self.file, &self.name, seq, half, &event);
        exit
    }
}

/// Says something of a stream in its place.
///
/// # Errors
/// What the system says.
pub fn say(mut file: &File, name: &str, seq: u64, half: bool, event: &Event) -> io::Result<()> {
    let mut line = Vec::new();
    if half {
        line.push(b'\n');
    }
    let name = Name::new(name).unwrap_or_else(|_| Name::near(name));
    Stamper::after(name, seq).event(event, Ts::now(), &mut line);
    file.write_all(&line)
}
