//! Playing a recording: what is due when, and how it ends. Whoever plays gives the [`Stage`].

mod bare;
mod stream;

pub use bare::{Meta, play as play_bare};
pub use stream::{LONGEST, play as play_stream};

use crate::cli::Failure;
use nix::sys::signal::Signal;
use std::io;
use std::time::Duration;

/// Where a recording is played: a worker's stdout and stderr, and its clock.
pub trait Stage {
    /// Waits until the recording was `offset` old. What is before it is written first.
    ///
    /// # Errors
    /// When nobody reads any more, or stdout failed.
    fn wait(&mut self, offset: Duration) -> Result<(), Stopped>;

    /// Where the next bytes of stdout go.
    fn stdout(&mut self) -> &mut Vec<u8>;

    /// Writes when enough has come together.
    ///
    /// # Errors
    /// As [`Stage::wait`].
    fn settle(&mut self) -> Result<(), Stopped>;

    /// Writes what is due.
    ///
    /// # Errors
    /// As [`Stage::wait`].
    fn flush(&mut self) -> Result<(), Stopped>;

    /// Writes on stderr, behind all that came before on stdout.
    ///
    /// # Errors
    /// As [`Stage::wait`], and when stderr failed.
    fn stderr(&mut self, bytes: &[u8]) -> Result<(), Stopped>;

    /// Says something about the recording, for people.
    ///
    /// # Errors
    /// As [`Stage::wait`].
    fn complain(&mut self, message: &str) -> Result<(), Stopped>;
}

/// How the recorded worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By this exit code.
    Code(u8),
    /// By this signal.
    Signal(Signal),
    /// The recording does not say.
    Untold,
}

/// Why the playing stopped before its end.
#[derive(Debug)]
pub enum Stopped {
    /// Nobody reads our stdout any more.
    Gone,
    /// stdout or stderr failed.
    Output(io::Error),
    /// The recording cannot be read.
    Input(io::Error),
    /// The recording is not what it should be.
    Broken(String),
    /// It was not said which of several streams to play.
    Misuse(String),
}

impl Stopped {
    /// The one line that tells it.
    pub fn failure(self, file: &dyn std::fmt::Display) -> Failure {
        match self {
            Self::Gone => Failure::io("stdout", &io::ErrorKind::BrokenPipe.into()),
            Self::Output(error) => Failure::io("stdout", &error),
            Self::Input(error) => Failure::io(file, &error),
            Self::Broken(why) => Failure {
                message: format!("{file}: {why}"),
                code: 1,
            },
            Self::Misuse(why) => Failure::usage(format!("{file}: {why}")),
        }
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Gone,
            _ => Self::Output(error),
        }
    }
}

/// The end by a signal of that name; `None` for one that would only stop whoever plays it, for ever.
fn signal(name: &str) -> Option<End> {
    let signal: Signal = name.parse().ok()?;
    let stops = [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];
    (!stops.contains(&signal)).then_some(End::Signal(signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends() {
        assert_eq!(signal("SIGTERM"), Some(End::Signal(Signal::SIGTERM)));
        assert_eq!(signal("SIGSTOP"), None, "who plays it would stand still for ever");
        assert_eq!(signal("TERM"), None);
    }
}
