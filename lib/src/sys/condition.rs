//! Whether a process is fit for more than one task.

use nix::sys::resource::{UsageWho, getrusage};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// By how much it may have grown, in KiB. Who was large keeps some of it, and the system counts our size among that of
/// what we start: up to the start it is in our memory.
const MORE: i64 = 4 << 10;

/// What a process was like before its first task.
#[derive(Debug)]
pub struct Condition {
    /// The weight of its session, where the kernel gives it one.
    weight: Option<File>,
    weighed: Vec<u8>,
    /// Its largest resident size, in KiB.
    size: i64,
}

impl Condition {
    /// Of this process, as it is now.
    pub fn now() -> Self {
        let weight = File::open("/proc/self/autogroup").ok();
        Self {
            weighed: weigh(weight.as_ref()),
            weight,
            size: size(),
        }
    }

    /// Whether the process is still as good: no task has made its session nicer, which cannot be taken back, nor the
    /// process large.
    pub fn holds(&self) -> bool {
        size() <= self.size + MORE && weigh(self.weight.as_ref()) == self.weighed
    }
}

fn size() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(i64::MAX / 2, |usage| usage.max_rss())
}

fn weigh(weight: Option<&File>) -> Vec<u8> {
    let mut text = [0; 64];
    let count = weight.and_then(|file| file.read_at(&mut text, 0).ok());
    text[..count.unwrap_or(0)].to_vec()
}
