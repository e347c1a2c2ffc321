//! Writing at the recorded times.

use crate::args::Speed;
use harmony::cli;
use harmony::replay::{Stage, Stopped};
use harmony::sink::Shared;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Pieces that are due at once are written as one, up to this size.
const BLOCK: usize = 256 << 10;

/// A worker's stdout and stderr, and its clock.
#[derive(Debug)]
pub struct Player {
    out: Shared,
    buffer: Vec<u8>,
    begin: Instant,
    speed: Speed,
    /// What the recording is called in messages.
    name: String,
}

impl Player {
    /// The clock starts.
    pub fn new(speed: Speed, name: String) -> Result<Self, Stopped> {
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
            name,
        })
    }
}

impl Stage for Player {
    fn wait(&mut self, offset: Duration) -> Result<(), Stopped> {
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

    fn stdout(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn settle(&mut self) -> Result<(), Stopped> {
        if self.buffer.len() >= BLOCK {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        self.out.write(&self.buffer)?;
        self.buffer.clear();
        // What one long line needed is not kept.
        self.buffer.shrink_to(4 * BLOCK);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.flush()?;
        match io::stderr().write_all(bytes) {
            // A worker without stderr goes on as well.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    fn complain(&mut self, message: &str) -> Result<(), Stopped> {
        self.flush()?;
        cli::complain("cl-replay", &format!("{}: {message}", self.name));
        Ok(())
    }
}
