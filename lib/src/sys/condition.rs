//! Whether a process is fit for more than one task.

use nix::sys::resource::{UsageWho, getrusage};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Who has used more memory than this, in KiB, keeps some of it.
const MOST: i64 = 64 << 10;

/// What a process was like before its first task.
#[derive(Debug)]
pub struct Condition {
    /// The weight of its session, where the kernel gives it one.
    weight: Option<File>,
    was: Vec<u8>,
}

impl Condition {
    /// Of this process, as it is now.
    pub fn now() -> Self {
        let weight = File::open("/proc/self/autogroup").ok();
        let was = weigh(weight.as_ref());
        Self { weight, was }
    }

    /// Whether the process is still as good: no task has made its session nicer, which cannot be taken back, nor the
    /// process large.
    pub fn holds(&self) -> bool {
        let small = getrusage(UsageWho::RUSAGE_SELF).is_ok_and(|usage| usage.max_rss() <= MOST);
        small && weigh(self.weight.as_ref()) == self.was
    }
}

fn weigh(weight: Option<&File>) -> Vec<u8> {
    let mut text = [0; 64];
    let count = weight.and_then(|file| file.read_at(&mut text, 0).ok());
    text[..count.unwrap_or(0)].to_vec()
}
