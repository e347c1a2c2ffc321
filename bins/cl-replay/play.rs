//! Writing at the recorded times.

use crate::args::Speed;
use harmony::cli::{self, Failure};
use harmony::sink::Shared;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Pieces that are due at once are written as one, up to this size.
const BLOCK: usize = 256 << 10;

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

/// A worker's stdout and stderr, and its clock.
#[derive(Debug)]
pub struct Player {
    out: Shared,
    buffer: Vec<u8>,
    begin: Instant,
    speed: Speed,
}

impl Player {
    /// The clock starts.
    pub fn new(speed: Speed) -> Result<Self, Stopped> {
        if harmony::sys::startup::was_closed(1) {
            return Err(Stopped::Output(io::Error::from_raw_os_error(
                nix::errno::Errno::EBADF as i32,
            )));
        }
        Ok(Self {
            out: Shared::stdout()?,
            buffer: Vec::new(),
            begin: Instant::now(),
            speed,
        })
    }

    /// Waits until the recording was `offset` old. What is before it is written first.
    pub fn wait(&mut self, offset: Duration) -> Result<(), Stopped> {
        let Speed::Times(times) = self.speed else {
            return Ok(());
        };
        // Deadlines hang on the begin, not on each other, so that nothing adds up.
        let offset = Duration::try_from_secs_f64(offset.as_secs_f64() / times).unwrap_or(Duration::MAX);
        let left = |begin: Instant| offset.saturating_sub(begin.elapsed());
        if left(self.begin).is_zero() {
            return Ok(());
        }
        self.flush()?;
        loop {
            let left = left(self.begin);
            if left.is_zero() {
                return Ok(());
            }
            let left = TimeSpec::from_duration(left.min(Duration::from_secs(1 << 31)));
            let mut stdout = [PollFd::new(self.out.fd(), PollFlags::empty())];
            match ppoll(&mut stdout, Some(left), None) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Err(Stopped::Gone),
                Err(errno) => return Err(Stopped::Output(errno.into())),
            }
        }
    }

    /// Where the next bytes of stdout go.
    pub fn stdout(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes when enough has come together.
    pub fn settle(&mut self) -> Result<(), Stopped> {
        if self.buffer.len() >= BLOCK {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes what is due.
    pub fn flush(&mut self) -> Result<(), Stopped> {
        self.out.write(&self.buffer)?;
        self.buffer.clear();
        // What one long line needed is not kept.
        self.buffer.shrink_to(4 * BLOCK);
        Ok(())
    }

    /// Writes on stderr, behind all that came before on stdout.
    pub fn stderr(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.flush()?;
        match io::stderr().write_all(bytes) {
            // A worker without stderr goes on as well.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    /// Says something of our own on stderr.
    pub fn complain(&mut self, message: &str) -> Result<(), Stopped> {
        self.flush()?;
        cli::complain("cl-replay", message);
        Ok(())
    }
}
