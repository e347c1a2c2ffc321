//! What is left out where there is no room for all.

use super::{Entry, What};
use std::time::Duration;

/// What is kept first: an end and the attempts, then results and waits, then the rest; among equals what took longest.
fn weight(entry: &Entry) -> (u8, Duration) {
    let rank = match entry.what {
        What::Exit | What::Attempt => 3,
        What::Result | What::Stop | What::Backoff | What::Limit => 2,
        What::Turn | What::Retry => 1,
        What::Tool | What::Silence | What::Trouble => 0,
    };
    (rank, entry.length())
}

/// Leaves so many entries, those that weigh most, in the order they are in; tells how many went.
pub(super) fn thin(entries: &mut Vec<Entry>, room: usize) -> u64 {
    let Some(over) = entries.len().checked_sub(room).filter(|over| *over > 0) else {
        return 0;
    };
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| weight(&entries[*at]));
    let mut goes = vec![false; entries.len()];
    order[..over].iter().for_each(|at| goes[*at] = true);
    let mut goes = goes.into_iter();
    entries.retain(|_| !goes.next().unwrap_or(false));
    over as u64
}

/// At most so many of the entries, those that weigh most, in the order they are in, and how many are left out.
pub fn weightiest(mut entries: Vec<Entry>, room: usize) -> (Vec<Entry>, u64) {
    let left_out = thin(&mut entries, room);
    (entries, left_out)
}
