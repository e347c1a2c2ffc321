//! Readers that read well, slowly, not for a while, or no more.

use crate::plan::Reader;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Instant;

/// A reader at work.
pub struct Reading {
    thread: JoinHandle<Taken>,
    over: Arc<AtomicBool>,
}

/// What it has read.
pub struct Taken {
    pub bytes: Vec<u8>,
    /// When the last of it came.
    pub last: Instant,
}

impl Reading {
    /// Begins to read.
    pub fn start(from: File, how: Reader) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        Self {
            thread: spawn(move || read(from, how, &told)),
            over,
        }
    }

    /// Waits for the end. No writer will come any more, where none came yet.
    pub fn end(self) -> Taken {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("a reader does not fail")
    }
}

fn read(mut from: File, how: Reader, over: &AtomicBool) -> Taken {
    let mut all = Taken {
        bytes: Vec::new(),
        last: Instant::now(),
    };
    let mut block = vec![0; 1 << 16];
    let mut paused = false;
    loop {
        let mut most = block.len();
        match how {
            Reader::Greedy | Reader::Never => {}
            Reader::Slow(size, rest) => {
                sleep(rest);
                most = size;
            }
            Reader::Stops(after, rest) if !paused => {
                if all.bytes.len() >= after {
                    sleep(rest);
                    paused = true;
                } else {
                    most = most.min(after - all.bytes.len());
                }
            }
            Reader::Stops(..) => {}
            Reader::Dies(after) => {
                most = most.min(after - all.bytes.len());
                if most == 0 {
                    return all;
                }
            }
        }
        // A FIFO without a writer yet is not at its end. Asked before the look: what was written until then is seen by it.
        let none_will_come = over.load(Ordering::SeqCst);
        let ready = poll(
            &mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)],
            PollTimeout::from(20u8),
        );
        if ready == Ok(0) {
            if none_will_come {
                return all;
            }
            continue;
        }
        match from.read(&mut block[..most]) {
            Ok(0) | Err(_) => return all,
            Ok(count) => all.bytes.extend_from_slice(&block[..count]),
        }
        all.last = Instant::now();
    }
}
