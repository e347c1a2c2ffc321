//! The allocator's settings.

/// Larger blocks than this, in bytes, come from the system and go back to it: what the allocator would begin with.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 128 << 10;

/// Sets the allocator up for a process that runs workers. To be called before there is a second thread.
///
/// All threads take memory from one place: a second one is else given an area of its own, which costs more to make and
/// to give back than a process needs that has two threads and little to do.
///
/// Large blocks keep coming from the system, which has them zeroed where they are touched. By itself the allocator
/// stops that with the first one that is freed, and zeroes all of each from then on.
pub fn settle() {
    // SAFETY: mallopt sets a number of the allocator's.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
