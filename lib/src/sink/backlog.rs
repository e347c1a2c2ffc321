//! What a reader that is behind has still to be given before anything from the window: pieces on disk and in memory, in order.

use super::spill::Spill;
use std::collections::VecDeque;
use std::io;

#[derive(Debug)]
enum Piece {
    Memory(Vec<u8>),
    Disk(u64),
}

impl Piece {
    fn memory(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Disk(_) => 0,
        }
    }
}

/// Bytes in the order in which they are due.
#[derive(Debug)]
pub(super) struct Backlog {
    /// What is being given out, and from where.
    front: Vec<u8>,
    from: usize,
    pieces: VecDeque<Piece>,
    spill: Option<Spill>,
    cap: u64,
}

/// How much is read from the disk at once.
const READ: u64 = 128 << 10;
/// Rests of lines are kept in memory up to this size in all.
const SMALL: usize = 64 << 10;

impl Backlog {
    /// An empty backlog that may take `cap` bytes of disk.
    pub(super) fn new(cap: u64) -> Self {
        Self {
            front: Vec::new(),
            from: 0,
            pieces: VecDeque::new(),
            spill: None,
            cap,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from == self.front.len() && self.pieces.is_empty()
    }

    /// How much waits, in bytes.
    pub(super) fn len(&self) -> u64 {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Memory(bytes) => bytes.len() as u64,
            Piece::Disk(length) => *length,
        });
        (self.front.len() - self.from) as u64 + pieces.sum::<u64>()
    }

    /// How much disk is taken.
    pub(super) fn on_disk(&self) -> u64 {
        self.spill.as_ref().map_or(0, Spill::used)
    }

    /// Appends a few bytes, in memory.
    pub(super) fn remember(&mut self, bytes: &[u8]) {
        match self.pieces.back_mut() {
            Some(Piece::Memory(back)) => back.extend_from_slice(bytes),
            _ => self.pieces.push_back(Piece::Memory(bytes.to_vec())),
        }
    }

    /// How many of so many bytes are best stored now; the others may follow with the next ones.
    pub(super) fn stretch(&self, length: usize) -> usize {
        self.spill.as_ref().map_or(length, |spill| spill.stretch(length))
    }

    /// Appends bytes on disk: all, or as many as fit; then also why.
    pub(super) fn store(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => match Spill::new(self.cap) {
                Ok(spill) => self.spill.insert(spill),
                Err(error) => return (0, Some(error)),
            },
        };
        let (count, why) = spill.append(bytes);
        match self.pieces.back_mut() {
            _ if count == 0 => {}
            Some(Piece::Disk(back)) => *back += count as u64,
            _ => self.pieces.push_back(Piece::Disk(count as u64)),
        }
        (count, why)
    }

    /// Appends bytes where there is most likely room for them.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let remembered: usize = self.pieces.iter().map(Piece::memory).sum();
        if remembered + bytes.len() <= SMALL {
            self.remember(bytes);
            return (bytes.len(), None);
        }
        self.store(bytes)
    }

    /// Takes back the last bytes stored; no more than the last [`Backlog::store`] appended.
    pub(super) fn retract(&mut self, count: usize) {
        let (Some(Piece::Disk(back)), Some(spill)) = (self.pieces.back_mut(), &mut self.spill) else {
            return;
        };
        spill.retract(count);
        *back -= count as u64;
        if *back == 0 {
            self.pieces.pop_back();
        }
    }

    /// The bytes that are due next; empty when there are none.
    pub(super) fn front(&mut self) -> io::Result<&[u8]> {
        if self.from == self.front.len() {
            self.from = 0;
            self.front.clear();
            match (self.pieces.front_mut(), &mut self.spill) {
                (Some(Piece::Disk(length)), Some(spill)) => {
                    let count = READ.min(*length);
                    self.front.resize(count as usize, 0);
                    spill.read(&mut self.front)?;
                    *length -= count;
                    if *length == 0 {
                        self.pieces.pop_front();
                    }
                }
                (Some(Piece::Memory(bytes)), _) => {
                    self.front = std::mem::take(bytes);
                    self.pieces.pop_front();
                }
                _ => {}
            }
        }
        Ok(&self.front[self.from..])
    }

    /// Says that so many of the bytes due were given out.
    pub(super) fn consume(&mut self, count: usize) {
        self.from += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order() {
        let mut backlog = Backlog::new(1 << 20);
        assert!(backlog.is_empty() && backlog.front().unwrap().is_empty());
        let big: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
        backlog.remember(b"a");
        assert_eq!(backlog.store(&big).0, big.len());
        assert_eq!(backlog.store(b"tail").0, 4);
        backlog.retract(2);
        backlog.remember(b"b");
        assert_eq!(backlog.keep(b"c").0, 1);
        let expected = [b"a", &big[..], b"ta", b"bc"].concat();
        assert_eq!(backlog.len(), expected.len() as u64);
        let mut back = Vec::new();
        while !backlog.is_empty() {
            let front = backlog.front().unwrap();
            let count = front.len().min(1000);
            back.extend_from_slice(&front[..count]);
            backlog.consume(count);
        }
        assert_eq!(back, expected);
        assert_eq!(backlog.on_disk(), 0);
    }
}
