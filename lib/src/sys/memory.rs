//! The allocator's settings.

/// Has all threads take memory from one place. A second thread is else given an area of its own, which costs more to
/// make and to give back than a process needs that has two threads and little to do.
pub fn share() {
    // SAFETY: mallopt sets a number of the allocator's; it is called before there is a second thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
