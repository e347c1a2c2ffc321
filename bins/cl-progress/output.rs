//! Where the picture goes: frames onto a terminal, or lines into a log. Neither is ever waited for.

use harmony::line::Ts;
use harmony::state::{State, Stream};
use harmony::sys::terminal::Terminal;
use harmony::view::{Changes, Look, Screen, alive, change, command_free, logged, object, picture};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What a log's reader may leave unread; what comes then is left out, and that is said.
const BACKLOG: usize = 1 << 20;
/// A pipe that has room at all takes so much at once.
const PIECE: usize = 4096;
/// How long the last frame or line is waited for.
const LAST: Duration = Duration::from_millis(500);

/// Where the picture goes.
#[derive(Debug)]
pub enum Output {
    /// A picture on a terminal.
    Live(Box<Live>),
    /// Lines.
    Log(Box<Log>),
    /// Nowhere.
    Nowhere,
}

/// A picture on a terminal.
#[derive(Debug)]
pub struct Live {
    pub terminal: Terminal,
    pub screen: Screen,
}

impl Live {
    pub fn new(terminal: Terminal) -> Self {
        Self {
            terminal,
            screen: Screen::default(),
        }
    }

    /// Draws, unless the terminal still has a frame to take, or is not ours at the moment.
    pub fn draw(&mut self, state: &State, look: &Look) -> io::Result<()> {
        if self.terminal.busy() {
            return Ok(());
        }
        if !self.terminal.foreground() {
            self.screen.forget();
            return Ok(());
        }
        let size = self.terminal.size();
        let mut room = size;
        // The cursor rests below.
        room.rows = room.rows.saturating_sub(1).max(1);
        match self.screen.draw(picture(state, Ts::now(), room, look), size) {
            Some(bytes) => self.terminal.write(&bytes),
            None => Ok(()),
        }
    }
}

/// Lines, each for a change.
#[derive(Debug)]
pub struct Log {
    file: File,
    json: bool,
    /// Whether GitHub Actions reads it, which takes commands from it.
    actions: bool,
    /// When each stream ended that has been told to have ended.
    ended: HashMap<usize, Ts>,
    changes: Changes,
    pending: Vec<u8>,
    left_out: u64,
    /// When a line was last written.
    pub said: Instant,
}

impl Log {
    pub fn new(file: File, json: bool, actions: bool) -> Self {
        Self {
            file,
            json,
            actions,
            ended: HashMap::new(),
            changes: Changes::default(),
            pending: Vec::new(),
            left_out: 0,
            said: Instant::now(),
        }
    }

    /// A line of this stream was read: tells what changed.
    pub fn told(&mut self, place: usize, stream: &Stream, at: Ts, look: &Look) {
        if self.changes.look(place, stream, self.json) {
            let line = if self.json {
                object(stream, at).to_string()
            } else {
                let change = change(stream, at, &look.zone);
                if self.actions {
                    self.noted(place, &change, stream, at, look)
                } else {
                    change
                }
            };
            self.say(&line);
        }
    }

    /// A change in GitHub Actions' notation; what belongs to an end is told once.
    fn noted(&mut self, place: usize, change: &str, stream: &Stream, at: Ts, look: &Look) -> String {
        let before = stream.ended.and_then(|ended| self.ended.insert(place, ended));
        if before.is_some() && before == stream.ended {
            return command_free(change).into_owned();
        }
        logged(change, stream, at, look)
    }

    /// Tells that it goes on.
    pub fn alive(&mut self, state: &State, look: &Look) {
        self.said = Instant::now();
        if self.json {
            for (_, stream) in look.streams(state).filter(|(_, stream)| stream.outcome().is_none()) {
                self.say(&object(stream, Ts::now()).to_string());
            }
        } else if let Some(line) = alive(look.streams(state), Ts::now(), &look.zone) {
            let line = if self.actions {
                command_free(&line)
            } else {
                line.as_str().into()
            };
            self.say(&line);
        }
    }

    fn say(&mut self, line: &str) {
        self.said = Instant::now();
        if self.pending.len() > BACKLOG {
            self.left_out += 1;
            return;
        }
        if self.left_out > 0 && !self.json {
            let note = format!("({} lines left out: nobody read them)\n", self.left_out);
            self.pending.extend_from_slice(note.as_bytes());
        }
        self.left_out = 0;
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
    }

    pub fn busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what its reader takes without being waited for.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let mut look = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut look, PollTimeout::ZERO) == Ok(0) {
                return Ok(());
            }
            let piece = &self.pending[..self.pending.len().min(PIECE)];
            match (&self.file).write(piece) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Output {
    /// The descriptor that is to be watched for room.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Live(live) => Some(live.terminal.as_fd()),
            Self::Log(log) => Some(log.file.as_fd()),
            Self::Nowhere => None,
        }
    }

    /// Whether something waits for room.
    pub fn busy(&self) -> bool {
        match self {
            Self::Live(live) => live.terminal.busy(),
            Self::Log(log) => log.busy(),
            Self::Nowhere => false,
        }
    }

    /// Writes what there is room for.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Live(live) => live.terminal.flush(),
            Self::Log(log) => log.flush(),
            Self::Nowhere => Ok(()),
        }
    }

    /// Writes the rest, and gives a reader that takes nothing a little time.
    pub fn finish(&mut self) -> io::Result<()> {
        let until = Instant::now() + LAST;
        self.flush()?;
        while self.busy() {
            let left = until.saturating_duration_since(Instant::now());
            let Some(fd) = self.fd().filter(|_| !left.is_zero()) else {
                break;
            };
            let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            match poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], wait) {
                Ok(_) | Err(Errno::EINTR) => self.flush()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
