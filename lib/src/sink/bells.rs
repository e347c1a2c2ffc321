//! The bells of many, for one who waits in `poll` and is to know whose bell it was.
//!
//! They are a pipe: whoever rings writes a number. Nobody waits for room in it. Where there is none, it is full of
//! numbers that were not heard yet, and whoever hears so many at once looks at all.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A number in the pipe.
const NUMBER: usize = size_of::<i32>();

/// Hears who rings.
#[derive(Debug)]
pub struct Bells {
    pipe: File,
    /// As much as the pipe can hold.
    space: Vec<u8>,
}

/// Rings one of the bells.
#[derive(Debug, Clone)]
pub struct Rope {
    pipe: Arc<File>,
    number: i32,
}

/// Who has rung.
#[derive(Debug, PartialEq, Eq)]
pub enum Rung {
    /// These, each once, the first to ring first.
    These(Vec<i32>),
    /// Anybody may have.
    Any,
}

impl Bells {
    /// Silent bells, and what they are rung by.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // A user's share of pipe memory may be used up; then it is small.
        let room = fcntl(&ours, FcntlArg::F_GETPIPE_SZ)?;
        let bells = Self {
            pipe: File::from(ours),
            space: vec![0; room as usize],
        };
        Ok((bells, theirs))
    }

    /// Who has rung since this was asked last.
    pub fn rung(&mut self) -> Rung {
        // What is there is read at once, so a pipe without room for another number is one that fills the space.
        let count = self.pipe.read(&mut self.space).unwrap_or(0);
        // Whole numbers, that is. Whatever else is in it has come from elsewhere, as far as that can be seen.
        if count + NUMBER > self.space.len() || !count.is_multiple_of(NUMBER) {
            return Rung::Any;
        }
        let mut numbers = Vec::new();
        for bytes in self.space[..count].as_chunks::<NUMBER>().0 {
            let number = i32::from_ne_bytes(*bytes);
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        Rung::These(numbers)
    }
}

impl AsFd for Bells {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Rope {
    /// Rings the bell of that number.
    pub fn new(pipe: OwnedFd, number: i32) -> Self {
        Self {
            pipe: Arc::new(File::from(pipe)),
            number,
        }
    }

    /// The same for another number.
    #[must_use]
    pub fn of(&self, number: i32) -> Self {
        Self {
            pipe: self.pipe.clone(),
            number,
        }
    }

    /// Rings. Where nobody hears it any more, nothing happens.
    pub fn ring(&self) {
        let _ = (&*self.pipe).write(&self.number.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_who_rang() {
        let (mut bells, pipe) = Bells::new().unwrap();
        let seven = Rope::new(pipe, 7);
        let eight = seven.of(-8);
        assert_eq!(bells.rung(), Rung::These(vec![]));
        seven.ring();
        eight.ring();
        seven.ring();
        assert_eq!(bells.rung(), Rung::These(vec![7, -8]));
        assert_eq!(bells.rung(), Rung::These(vec![]));
        eight.ring();
        assert_eq!(bells.rung(), Rung::These(vec![-8]));
    }

    /// Also where a number was heard before all were, and the pipe is as small as can be.
    #[test]
    fn too_many_are_anybody() {
        for room in [0, 1 << 12] {
            let (mut bells, pipe) = Bells::new().unwrap();
            if room > 0 {
                bells.space = vec![0; fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(room)).unwrap() as usize];
            }
            let fits = bells.space.len() / NUMBER;
            let rope = Rope::new(pipe, 0);
            for lost in [0, 1, 1000] {
                (0..fits + lost).for_each(|number| rope.of(number as i32).ring());
                assert_eq!(bells.rung(), Rung::Any);
                assert_eq!(bells.rung(), Rung::These(vec![]));
                (0..3).for_each(|number| rope.of(number).ring());
                assert_eq!(bells.rung(), Rung::These(vec![0, 1, 2]));
            }
        }
    }

    /// A worker can find the pipe, and write to it what it likes.
    #[test]
    fn what_is_no_number_is_anybody() {
        let (mut bells, pipe) = Bells::new().unwrap();
        let rope = Rope::new(pipe, 1);
        for lost in [1, 6, bells.space.len() - 1] {
            (&*rope.pipe).write_all(&vec![7; lost]).unwrap();
            rope.ring();
            assert_eq!(bells.rung(), Rung::Any);
            rope.ring();
            assert_eq!(bells.rung(), Rung::These(vec![1]));
        }
    }

    #[test]
    fn nobody_need_be_there() {
        let (bells, pipe) = Bells::new().unwrap();
        drop(bells);
        Rope::new(pipe, 1).ring();
    }
}
