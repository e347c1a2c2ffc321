//! Processes: forking, being told of a parent's death, adopting orphans.

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, Pid};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a thread that was joined may take to be off the kernel's list.
const LEAVING: Duration = Duration::from_secs(5);

/// A file of `/proc` that is one short line: without asking for its length, which is told as 0, and in one read.
///
/// # Errors
/// When it cannot be read, as when its process has gone.
pub fn small_file(path: &str) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let mut bytes = vec![0; 1024];
    let count = io::Read::read(&mut file, &mut bytes)?;
    let all = count < bytes.len();
    bytes.truncate(count);
    if !all {
        io::Read::read_to_end(&mut file, &mut bytes)?;
    }
    Ok(bytes)
}

/// Forks; the child runs `child`, ends with the exit code it gives, and never returns.
///
/// # Errors
/// When no process can be made.
///
/// # Panics
/// When called while other threads run: the child of such a fork could find a lock held for ever.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // Besides its own two, such a folder has a link for each thread.
    let threads = || std::fs::metadata("/proc/self/task").map_or(1, |task| task.nlink().saturating_sub(2));
    // A thread that was joined holds nothing any more, and is on the kernel's list for an instant yet.
    let patience = Instant::now() + LEAVING;
    let mut count = threads();
    while count > 1 && Instant::now() < patience {
        std::thread::yield_now();
        count = threads();
    }
    assert_eq!(count, 1, "only a process with one thread may fork");
    // SAFETY: there is one thread, so no lock is held by another one in the child.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => exit_now(child()),
    }
}

/// Makes this process the one that orphaned descendants fall to.
///
/// # Errors
/// Never on the kernels we support.
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: prctl with this option takes one integer and touches no memory.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })?;
    Ok(())
}

/// Names this process, in the lists by name and in those by command line: a `pkill -f` that means the program it was
/// forked from does not mean it.
///
/// To be called with one thread only, and when nobody needs the program's arguments any more.
pub fn set_name(name: &std::ffi::CStr) {
    // SAFETY: prctl reads the string, which ends with a zero byte, and keeps no reference.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    let Some((start, end)) = small_file("/proc/self/stat").ok().as_deref().and_then(arguments) else {
        return;
    };
    let bytes = name.to_bytes();
    if bytes.len() >= end.saturating_sub(start) {
        return;
    }
    // SAFETY: the kernel says that the arguments which it put on our stack stand there; the stack is ours to write, the
    // name fits, and no other thread reads them.
    unsafe {
        let area = std::ptr::with_exposed_provenance_mut::<u8>(start);
        std::ptr::write_bytes(area, 0, end - start);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), area, bytes.len());
    }
}

/// Where a process's arguments stand in its memory, from a line of `/proc/PID/stat`.
fn arguments(stat: &[u8]) -> Option<(usize, usize)> {
    let behind = memchr::memrchr(b')', stat)?;
    let mut fields = std::str::from_utf8(stat.get(behind + 2..)?)
        .ok()?
        .split_ascii_whitespace()
        .skip(45);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Closes every descriptor above stderr but these.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) {
    let mut keep: Vec<u32> = keep
        .iter()
        .map(|fd| fd.as_raw_fd() as u32)
        .filter(|&fd| fd > 2)
        .collect();
    keep.sort_unstable();
    let mut from = 3;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if from < fd {
            // SAFETY: whoever owned these descriptors is the process we were forked from; nothing here uses them again.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = fd.saturating_add(1);
    }
}

/// Prepares a tool of ours that is to run below us: a group of its own, signals as they are by default, and this one
/// when the thread dies that starts it.
pub fn prepare_tool(command: &mut Command, signal: Signal) {
    command.process_group(0);
    let parent = nix::unistd::getpid();
    let before_exec = move || {
        SigSet::empty().thread_set_mask()?;
        if !on_parent_death(signal as i32, parent) {
            exit_now(128 + libc::SIGKILL);
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and calls only functions that are safe between fork and exec.
    unsafe { command.pre_exec(before_exec) };
}

/// Ends this process without running what others have left to be run at exit: a forked child's way out.
fn exit_now(code: i32) -> ! {
    // SAFETY: _exit only ends the process.
    unsafe { libc::_exit(code) }
}

/// Makes descriptor `fd` lead where `to` leads.
///
/// # Errors
/// When the system refuses.
pub fn replace(fd: i32, to: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: only called for stdin, stdout and stderr, which no Rust object owns.
    Errno::result(unsafe { libc::dup2(to.as_raw_fd(), fd) })?;
    Ok(())
}

/// CPU seconds and the largest resident size in bytes of all children that were waited for.
pub fn children_usage() -> (f64, u64) {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    match getrusage(UsageWho::RUSAGE_CHILDREN) {
        Ok(usage) => {
            let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
            (micros as f64 / 1e6, usage.max_rss() as u64 * 1024)
        }
        Err(_) => (0.0, 0),
    }
}

/// Has a signal do what it does by default, whatever we inherited.
///
/// # Errors
/// When there is no such signal.
pub fn default_action(signal: i32) -> io::Result<()> {
    // SAFETY: setting a default disposition runs no code of ours.
    if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Has this signal sent to us when our parent, which is `parent`, dies. Whether it still lived then.
pub fn on_parent_death(signal: i32, parent: Pid) -> bool {
    // SAFETY: prctl with this option takes one integer and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
    nix::unistd::getppid() == parent
}

/// What a look at our children gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// This child exited with this code.
    Exited(Pid, i32),
    /// This child was ended by this signal, which may be one of the real-time signals that have no name.
    Signalled(Pid, i32),
    /// There are children, and none has ended.
    Living,
    /// There are no children.
    Nobody,
}

/// What processes have used that were reaped, with all that they had reaped themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// CPU seconds.
    pub cpu: f64,
    /// The largest resident size of one of them, in bytes.
    pub rss: u64,
}

/// Reaps one child that has ended, if there is one, and adds what it used.
pub fn reap(usage: &mut Usage) -> Waited {
    loop {
        let mut status = 0;
        let mut used = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: wait4 writes one integer and one record, which live until it returns.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, used.as_mut_ptr()) };
        if pid > 0 && (libc::WIFEXITED(status) || libc::WIFSIGNALED(status)) {
            // SAFETY: zeroes are a valid value of it, and wait4 has written over them.
            let used = unsafe { used.assume_init() };
            let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
            usage.cpu += seconds(used.ru_utime) + seconds(used.ru_stime);
            usage.rss = usage.rss.max(used.ru_maxrss as u64 * 1024);
        }
        return match pid {
            0 => Waited::Living,
            -1 if Errno::last() == Errno::EINTR => continue,
            -1 => Waited::Nobody,
            _ if libc::WIFEXITED(status) => Waited::Exited(Pid::from_raw(pid), libc::WEXITSTATUS(status)),
            _ if libc::WIFSIGNALED(status) => Waited::Signalled(Pid::from_raw(pid), libc::WTERMSIG(status)),
            _ => continue,
        };
    }
}

/// Ends this process by a signal, as one that never heard of it would; returns when the signal ends nobody by default.
pub fn die_by(signal: Signal) {
    // A signal that leaves a core would leave ours.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: setting a default disposition runs no code of ours. KILL and STOP cannot be set, and need not.
    unsafe { libc::signal(signal as i32, libc::SIG_DFL) };
    let _ = SigSet::from(signal).thread_unblock();
    let _ = nix::sys::signal::raise(signal);
}

/// Whether a signal is ignored, as it is under `nohup`.
pub fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action given, sigaction only writes the present one, and zeroes are a valid value of it.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: it was zeroed, and written where the call succeeded.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
