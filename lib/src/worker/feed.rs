//! What feeds a kept worker: its prompts, one a line, each sent when the one before is answered.
//!
//! A prompt that is on its way when the worker dies is sent again to the next attempt. What nobody answers is told at
//! the end.

use super::ending::Kept;
use super::order::{Frame, Prompts};
use crate::agent::message;
use crate::frame::{Framer, Part};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

/// So many prompts are read ahead; whoever writes more waits, as at any pipe.
const AHEAD: usize = 16;

/// So many bytes are read without a look at anything else: a source without end, or without line feeds, shall keep
/// nobody from hearing a signal.
const AT_ONCE: usize = 1 << 20;

/// The prompts on their way to the worker.
pub(super) struct Feed {
    source: File,
    lines: Framer,
    /// Whether more may come.
    open: bool,
    frame: Frame,
    waiting: VecDeque<String>,
    /// The one that is not answered yet.
    asked: Option<String>,
    /// The worker's stdin.
    worker: Option<OwnedFd>,
    /// What its stdin did not take yet.
    rest: VecDeque<u8>,
    /// How many prompts this attempt was sent.
    pub(super) sent: u32,
    /// How many were too long to be sent.
    too_long: u32,
}

/// So many characters are told of a prompt that nobody answered.
const TOLD: usize = 200;

/// So many such prompts are named; of the others their number is told.
const NAMED: usize = 20;

/// What came of working on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// Nothing that matters to the worker.
    Nothing,
    /// A prompt was sent.
    Asked,
    /// There will be no more: the worker's stdin was closed.
    Finished,
}

impl Feed {
    pub(super) fn new(prompts: Prompts, max_line: usize) -> Self {
        let mut feed = Self {
            source: prompts.source,
            lines: Framer::new(max_line),
            open: true,
            frame: prompts.frame,
            waiting: VecDeque::new(),
            asked: None,
            worker: None,
            rest: VecDeque::new(),
            sent: 0,
            too_long: 0,
        };
        feed.waiting.extend(prompts.first);
        feed
    }

    /// A stdin for the next attempt.
    pub(super) fn attach(&mut self) -> io::Result<OwnedFd> {
        let (theirs, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        self.worker = Some(ours);
        self.rest.clear();
        self.sent = 0;
        if let Some(prompt) = self.asked.take() {
            self.waiting.push_front(prompt);
        }
        Ok(theirs)
    }

    /// What is to be watched.
    pub(super) fn fds(&self) -> Vec<PollFd<'_>> {
        let source =
            (self.open && self.waiting.len() < AHEAD).then(|| PollFd::new(self.source.as_fd(), PollFlags::POLLIN));
        let worker = self.worker.as_ref().filter(|_| !self.rest.is_empty());
        let worker = worker.map(|worker| PollFd::new(worker.as_fd(), PollFlags::POLLOUT));
        source.into_iter().chain(worker).collect()
    }

    /// Whether it waits for nothing but another prompt.
    pub(super) fn is_resting(&self) -> bool {
        self.worker.is_some() && self.asked.is_none()
    }

    /// Whether the worker was told that no more will come.
    pub(super) fn is_finished(&self) -> bool {
        self.worker.is_none()
    }

    /// The prompt that was asked is answered.
    pub(super) fn answered(&mut self) {
        self.asked = None;
    }

    /// Reads and sends what can be without waiting.
    pub(super) fn work(&mut self) -> Fed {
        self.read(AHEAD, AT_ONCE);
        let mut fed = Fed::Nothing;
        if self.worker.is_some() && self.asked.is_none() {
            if let Some(prompt) = self.waiting.pop_front() {
                self.rest.extend(message(&prompt).into_bytes());
                self.rest.push_back(b'\n');
                self.asked = Some(prompt);
                self.sent += 1;
                fed = Fed::Asked;
            } else if !self.open {
                self.worker = None;
                return Fed::Finished;
            }
        }
        self.send();
        fed
    }

    /// Closes the worker's stdin, so that it does not wait for more while it is stopped.
    pub(super) fn close(&mut self) {
        self.worker = None;
    }

    /// What became of the prompts, those that still stand in the source among them, as far as answers are known.
    pub(super) fn kept(&mut self) -> Kept {
        self.worker = None;
        // What a pipe holds now: whoever goes on writing does so after the end.
        let stands = fcntl(&self.source, FcntlArg::F_GETPIPE_SZ).ok();
        let stands = stands.and_then(|size| usize::try_from(size).ok());
        self.read(usize::MAX, stands.unwrap_or(AT_ONCE));
        Kept {
            sent: self.sent,
            asked: self.asked.is_some(),
            unanswered: self.waiting.len() + usize::from(self.asked.is_some()),
            warnings: self.warnings(),
            last: !self.open,
        }
    }

    /// What nobody answered, as warnings.
    fn warnings(&self) -> Vec<String> {
        let unanswered = self.asked.iter().chain(&self.waiting);
        let named = unanswered.clone().take(NAMED).map(|prompt| {
            let beginning: String = prompt.chars().take(TOLD).collect();
            let cut = if beginning.len() < prompt.len() { "…" } else { "" };
            format!("a prompt that nobody answered: {beginning}{cut}")
        });
        let others = unanswered.skip(NAMED).count();
        let unread = self.open && readable(&self.source);
        named
            .chain((others > 0).then(|| format!("{others} more prompts that nobody answered")))
            .chain(unread.then(|| "more stood on stdin that was not read".to_owned()))
            .chain((self.too_long > 0).then(|| format!("{} too long to be sent", self.too_long)))
            .collect()
    }

    /// Reads lines until so many wait, so many bytes were read, or there is nothing now.
    fn read(&mut self, enough: usize, mut bytes: usize) {
        while self.open && self.waiting.len() < enough && bytes > 0 && readable(&self.source) {
            match self.source.read(self.lines.space()) {
                Ok(0) => self.open = false,
                Ok(count) => {
                    self.lines.filled(count);
                    bytes = bytes.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A FIFO between two readings; a source that cannot be read has no more.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.open = false,
            }
            self.take_lines();
        }
    }

    fn take_lines(&mut self) {
        let mut take = |bytes: &[u8], part: Part| {
            // An over-long line would reach the worker in pieces that mean nothing.
            self.too_long += u32::from(part == Part::Last);
            if part == Part::Whole && !bytes.trim_ascii().is_empty() {
                let text = String::from_utf8_lossy(bytes);
                let own = message(&text) == text;
                self.waiting
                    .push_back(if own { text.into_owned() } else { (self.frame.0)(&text) });
            }
        };
        while let Some(frame) = self.lines.next() {
            take(frame.bytes, frame.part);
        }
        if !self.open
            && let Some(frame) = self.lines.finish()
        {
            take(frame.bytes, frame.part);
        }
    }

    fn send(&mut self) {
        while let (Some(worker), false) = (&self.worker, self.rest.is_empty()) {
            match nix::unistd::write(worker, self.rest.as_slices().0) {
                Ok(count) => drop(self.rest.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // It reads no more: how it ends is told elsewhere.
                Err(_) => self.rest.clear(),
            }
        }
    }
}

fn readable(file: &File) -> bool {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}
