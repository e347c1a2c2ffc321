//! Lines by their time: each waits for the window, so that an earlier one can overtake it.

use harmony::line::{Ts, header};
use harmony::source::Id;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

/// So much is held back at most; beyond it the earliest lines go on their way.
const HELD: usize = 64 << 20;

/// Lines that wait.
#[derive(Debug)]
pub struct Sorter {
    window: Duration,
    held: BinaryHeap<Reverse<Held>>,
    bytes: usize,
    count: u64,
    /// The latest time read of each file that is not read to its end: no line of it will be much earlier.
    files: BTreeMap<Id, Ts>,
    /// The source that is read now.
    current: Option<Id>,
    /// Whether what was there at the beginning has been read: until then all is held.
    caught_up: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    ts: Ts,
    /// Lines of the same time stay in the order in which they came.
    count: u64,
    /// Until when it waits; a file's line waits only for the other files.
    due: Option<Instant>,
    line: Box<[u8]>,
}

impl Sorter {
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            held: BinaryHeap::new(),
            bytes: 0,
            count: 0,
            files: BTreeMap::new(),
            current: None,
            caught_up: false,
        }
    }

    /// A regular file that will be read to its end.
    pub fn add_file(&mut self, id: Id) {
        self.files.insert(id, Ts(0));
    }

    /// A source has ended.
    pub fn remove(&mut self, id: Id) {
        self.files.remove(&id);
    }

    /// The lines that follow are of this source.
    pub fn from(&mut self, id: Id) {
        self.current = Some(id);
    }

    /// All that was there at the beginning has been read.
    pub fn catch_up(&mut self) {
        self.caught_up = true;
    }

    /// The file to read next: the one that has come least far.
    pub fn next_file(&self) -> Option<Id> {
        self.files.iter().min_by_key(|(_, ts)| **ts).map(|(id, _)| *id)
    }

    /// Takes a line with its line feed.
    pub fn push(&mut self, line: &[u8], now: Instant) {
        let ts = header(line).map_or(Ts(0), |head| head.ts);
        let file = self.current.and_then(|id| self.files.get_mut(&id));
        let due = if file.is_some() { None } else { Some(now + self.window) };
        if let Some(far) = file {
            *far = ts.max(*far);
        }
        self.count += 1;
        self.bytes += line.len();
        self.held.push(Reverse(Held {
            ts,
            count: self.count,
            due,
            line: line.into(),
        }));
    }

    /// The earliest line, if it need wait no longer.
    pub fn release(&mut self, now: Instant) -> Option<Box<[u8]>> {
        let first = &self.held.peek()?.0;
        let window = self.window.as_micros() as u64;
        let overtaken = self.files.values().any(|far| far.0 < first.ts.0.saturating_add(window));
        let waits = overtaken || !self.caught_up || first.due.is_some_and(|due| due > now);
        if waits && self.bytes <= HELD {
            return None;
        }
        self.pop()
    }

    /// The earliest line.
    pub fn pop(&mut self) -> Option<Box<[u8]>> {
        let line = self.held.pop()?.0.line;
        self.bytes -= line.len();
        Some(line)
    }

    /// How long until the next line need wait no longer; `None` when none waits for the time.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let due = self.held.peek()?.0.due?;
        Some(due.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ts: u64) -> Vec<u8> {
        format!("{{\"cl\":{{\"stream\":\"a\",\"seq\":1,\"ts\":{ts}.000000}}}}\n").into_bytes()
    }

    #[test]
    fn waits_for_the_window() {
        let mut sorter = Sorter::new(Duration::from_millis(50));
        let now = Instant::now();
        sorter.push(&line(2), now);
        sorter.push(&line(1), now + Duration::from_millis(10));
        assert_eq!(sorter.release(now + Duration::from_secs(1)), None);
        sorter.catch_up();
        assert_eq!(sorter.release(now + Duration::from_millis(55)), None);
        let late = now + Duration::from_millis(60);
        assert_eq!(sorter.wait(now), Some(Duration::from_millis(60)));
        assert_eq!(sorter.release(late).as_deref(), Some(&*line(1)));
        assert_eq!(sorter.release(late).as_deref(), Some(&*line(2)));
        assert_eq!(sorter.release(late), None);
    }

    #[test]
    fn files_wait_for_each_other_only() {
        let mut sorter = Sorter::new(Duration::ZERO);
        sorter.catch_up();
        let now = Instant::now();
        sorter.add_file(0);
        sorter.add_file(1);
        sorter.from(0);
        sorter.push(&line(5), now);
        assert_eq!((sorter.next_file(), sorter.release(now)), (Some(1), None));
        sorter.from(1);
        sorter.push(&line(3), now);
        sorter.push(&line(9), now);
        assert_eq!(sorter.next_file(), Some(0));
        assert_eq!(sorter.release(now).as_deref(), Some(&*line(3)));
        assert_eq!(sorter.release(now).as_deref(), Some(&*line(5)));
        assert_eq!(sorter.release(now), None);
        sorter.remove(0);
        assert_eq!(sorter.release(now).as_deref(), Some(&*line(9)));
    }
}
