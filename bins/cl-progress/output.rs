//! Where the picture goes: frames onto a terminal, or lines into a log. Neither is ever waited for.

use harmony::line::Ts;
use harmony::state::{State, Stream};
use harmony::sys::terminal::Terminal;
use harmony::view::{
    Act, Board, Changes, Frame, Keys, Look, Screen, alive, change, command_free, day, entry, groups, object,
    time_of_day, total,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What a log's reader may leave unread; what comes then is left out, and that is said.
const BACKLOG: usize = 1 << 20;
/// A pipe that has room at all takes so much at once.
const PIECE: usize = 4096;
/// Whoever was told of so lately is known to be running.
const LATELY: Duration = Duration::from_secs(30);
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
    pub board: Board,
    screen: Screen,
    keys: Keys,
    /// Whether keys are ours.
    held: bool,
    /// Whether the picture tells which keys there are before any was pressed.
    hints: bool,
    /// When a byte that begins a sequence is taken for the key Escape.
    pub escape: Option<Instant>,
}

/// The bytes of one key come closer together than this.
const SEQUENCE: Duration = Duration::from_millis(40);

impl Live {
    /// `hints` says whether the picture tells of keys unasked.
    pub fn new(terminal: Terminal, hints: bool) -> Self {
        Self {
            terminal,
            board: Board::default(),
            screen: Screen::default(),
            keys: Keys::default(),
            held: false,
            hints,
            escape: None,
        }
    }

    /// Draws, unless the terminal still has a frame to take, or is not ours at the moment.
    pub fn draw(&mut self, state: &State, now: Ts, look: &Look) -> io::Result<()> {
        if self.terminal.busy() {
            return Ok(());
        }
        if !self.terminal.foreground() {
            self.leave();
            return Ok(());
        }
        // Whoever has to have the terminal for itself has taken it by the time that a stream begins.
        self.held = look.streams(state).next().is_some() && self.terminal.take_keys();
        self.show(state, now, look)
    }

    /// Draws what stays when we are gone.
    pub fn draw_last(&mut self, state: &State, now: Ts, look: &Look) -> io::Result<()> {
        self.board.close();
        self.held = false;
        if !self.terminal.foreground() {
            return Ok(());
        }
        self.show(state, now, look)
    }

    fn show(&mut self, state: &State, now: Ts, look: &Look) -> io::Result<()> {
        let size = self.terminal.size();
        let hints = self.held && (self.hints || self.board.is_used());
        let (other, bytes) = match self.board.frame(state, now, size, look, hints) {
            Frame::Streams(rows) => (false, self.screen.draw(rows, size)),
            Frame::Text(rows) => (true, self.screen.draw_other(rows, size)),
        };
        match bytes {
            Some(bytes) => self.terminal.write_on(other, &bytes),
            None => Ok(()),
        }
    }

    /// Whether something is shown that belongs to keys.
    pub fn is_marked(&self) -> bool {
        self.held && (self.hints || self.board.is_used())
    }

    /// Leaves the terminal to others; the next frame begins where the cursor then is.
    pub fn leave(&mut self) {
        self.terminal.restore();
        self.screen.forget();
        (self.held, self.escape) = (false, None);
    }

    /// Does what keys ask for that have been pressed.
    pub fn pressed(&mut self, state: &State, now: Ts, look: &Look) -> io::Result<Act> {
        let mut bytes = [0; 256];
        let count = self.terminal.read_keys(&mut bytes)?;
        if count == 0 {
            self.held = self.terminal.take_keys();
            return Ok(Act::Nothing);
        }
        let size = self.terminal.size();
        let mut act = Act::Nothing;
        for key in self.keys.take(&bytes[..count]) {
            act = act.max(self.board.press(key, state, now, size, look));
        }
        self.escape = self.keys.awaits().then(|| Instant::now() + SEQUENCE);
        Ok(act)
    }

    /// Takes what looked like the beginning of a sequence for the key Escape, when it is time.
    pub fn settle(&mut self, state: &State, now: Ts, look: &Look) -> Act {
        if self.escape.is_none_or(|at| at > Instant::now()) {
            return Act::Nothing;
        }
        self.escape = None;
        let size = self.terminal.size();
        let key = self.keys.settle();
        key.map_or(Act::Nothing, |key| self.board.press(key, state, now, size, look))
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
    /// The day that the last line is of, as it was told.
    day: String,
    /// How many phases or levels of the plan are done, as it was told last.
    groups: Option<usize>,
    /// When each stream was last told of.
    said: HashMap<usize, Instant>,
    pending: Vec<u8>,
    left_out: u64,
    /// When it was last told who is still running.
    pub alive: Instant,
}

impl Log {
    pub fn new(file: File, json: bool, actions: bool) -> Self {
        Self {
            file,
            json,
            actions,
            ended: HashMap::new(),
            changes: Changes::default(),
            day: String::new(),
            groups: None,
            said: HashMap::new(),
            pending: Vec::new(),
            left_out: 0,
            alive: Instant::now(),
        }
    }

    /// There is news of the plan that the streams belong to: tells how far its phases are, and who will not run.
    pub fn planned(&mut self, state: &State, at: Ts, look: &Look) {
        let done = state.groups.iter().filter(|group| group.done == group.of).count();
        let groups = groups(state);
        if self.groups.replace(done) != Some(done) && !self.json && !groups.is_empty() {
            self.line(&format!("{} {groups}", time_of_day(at, &look.zone)), at, look);
        }
        for (place, stream) in look.streams(state).filter(|(_, stream)| !stream.has_begun()) {
            self.told(place, stream, at, look);
        }
    }

    /// A line of this stream was read: tells what changed.
    pub fn told(&mut self, place: usize, stream: &Stream, at: Ts, look: &Look) {
        // Who waits for others is told of by these.
        if !self.json && !stream.has_begun() && !stream.is_over() {
            return;
        }
        if self.changes.look(place, stream, self.json) {
            self.said.insert(place, Instant::now());
            if self.json {
                self.say(&object(stream, at).to_string());
            } else {
                // What belongs to an end is told once.
                let before = stream.ended.and_then(|ended| self.ended.insert(place, ended));
                let text = if before.is_some() && before == stream.ended {
                    self.free(change(stream, at, &look.zone))
                } else {
                    entry(stream, at, look, self.actions)
                };
                self.line(&text, at, look);
            }
        }
    }

    /// Tells what still runs and was not told of lately: nothing that is stuck hides behind what is busy.
    pub fn alive(&mut self, state: &State, look: &Look) {
        let (at, now) = (Instant::now(), Ts::now());
        self.alive = at;
        let said = |place: &usize| {
            self.said
                .get(place)
                .is_some_and(|said| at.duration_since(*said) < LATELY)
        };
        let quiet = look.streams(state).filter(|(place, _)| !said(place));
        if self.json {
            let running = quiet.filter(|(_, stream)| stream.has_begun() && !stream.is_over());
            let objects: Vec<String> = running.map(|(_, stream)| object(stream, now).to_string()).collect();
            for object in objects {
                self.say(&object);
            }
        } else if let Some(line) = alive(quiet, now, &look.zone) {
            self.line(&self.free(line), now, look);
        }
    }

    /// Tells what it came to.
    pub fn total(&mut self, state: &State, look: &Look) {
        let now = Ts::now();
        if let Some(line) = total(state, now, look).filter(|_| !self.json) {
            self.line(&self.free(line), now, look);
        }
    }

    /// A line that is no command to whoever reads the log.
    fn free(&self, line: String) -> String {
        if self.actions {
            command_free(&line).into_owned()
        } else {
            line
        }
    }

    /// A line with a time, and before it the day, where that is another.
    fn line(&mut self, text: &str, at: Ts, look: &Look) {
        let day = day(at, &look.zone);
        if day != self.day {
            self.say(&day);
            self.day = day;
        }
        self.say(text);
    }

    fn say(&mut self, line: &str) {
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

    /// What the descriptor is to be watched for.
    pub fn wants(&self) -> EpollFlags {
        let keys = matches!(self, Self::Live(live) if live.held);
        let mut wants = EpollFlags::empty();
        wants.set(EpollFlags::EPOLLOUT, self.busy());
        wants.set(EpollFlags::EPOLLIN, keys);
        wants
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn what_is_stuck_does_not_hide_behind_what_is_busy() {
        let mut state = State::default();
        let mut log = Log::new(tempfile::tempfile().unwrap(), false, false);
        let look = Look {
            color: false,
            messages: 0,
            only: Vec::new(),
            zone: harmony::view::TimeZone::UTC,
        };
        let now = Ts::now().seconds();
        for stream in ["stuck", "busy"] {
            let line = format!(
                r#"{{"cl":{{"stream":"{stream}","seq":1,"ts":{now:.6}}},"type":"cl","subtype":"start","attempt":1}}"#
            );
            let place = state.line(line.as_bytes()).unwrap();
            log.told(place, &state.streams()[place], Ts::now(), &look);
        }
        log.alive(&state, &look);
        let long_ago = Instant::now().checked_sub(LATELY).unwrap();
        log.said.insert(0, long_ago);
        log.alive(&state, &look);
        log.total(&state, &look);
        log.flush().unwrap();
        let mut text = String::new();
        log.file.rewind().unwrap();
        log.file.read_to_string(&mut text).unwrap();
        let still: Vec<&str> = text.lines().filter(|line| line.contains("still running")).collect();
        assert!(still.len() == 1 && still[0].contains("running: stuck (0s"), "{text}");
        assert!(
            !still[0].contains("busy") && text.trim_end().ends_with("2 running (0s, 0 lines)"),
            "{text}"
        );
    }
}
