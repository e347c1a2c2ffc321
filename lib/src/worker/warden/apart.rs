//! The warden as a process of its own.
//!
//! Its end of the socket says when we are gone: then it ends everything at once. It has a session of its own and blocks
//! every signal, so that neither a terminal, nor a `kill` of our process group, nor a machine that is shut down ends it
//! before its time; one that is stopped goes on when we speak to it, and when we die. Should the warden be killed all
//! the same, the worker dies with it, and its orphans fall to us.

use super::duty::Duty;
use super::{Command, Report};
use crate::outcome::End;
use crate::sys::process;
use crate::sys::spawn::Launch;
use crate::sys::tree;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Our side.
#[derive(Debug)]
pub(in crate::worker) struct Apart {
    socket: OwnedFd,
    pid: Pid,
    /// Children that we had before (a shell may `exec` us with jobs of its own): none of ours to end.
    strangers: Vec<i32>,
}

impl Apart {
    pub(super) fn launch(launch: Launch) -> io::Result<Self> {
        let parent = getpid();
        let strangers = tree::descendants(parent.as_raw());
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        )?;
        let serve = || -> io::Result<()> {
            if !process::on_parent_death(libc::SIGCONT, parent) {
                return Ok(());
            }
            let begun = Service::begin(&theirs, launch);
            begun
                .inspect_err(|error| say(&theirs, Report::unstartable(error)))?
                .serve()
        };
        let pid = process::fork(|| i32::from(serve().is_err()))?;
        drop(theirs);
        Ok(Self {
            socket: ours,
            pid,
            strangers,
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn tell(&self, command: Command) {
        let (tag, number) = match command {
            Command::Signal(signal) => (0, i64::from(signal)),
            Command::Everyone(signal) => (1, i64::from(signal)),
            Command::Sweep(after) => (2, after.as_millis() as i64),
            Command::KillAll => (3, 0),
        };
        let _ = send_numbers(self.socket.as_fd(), [tag, number, 0, 0]);
        self.wake();
    }

    pub(super) fn wake(&self) {
        let _ = kill(self.pid, Signal::SIGCONT);
    }

    pub(super) fn report(&self) -> Option<Report> {
        match receive_numbers(self.socket.as_fd()) {
            Ok(Some([0, pid, ..])) => Some(Report::Started(pid as i32)),
            Ok(Some([1, code, ..])) => Some(Report::Ended(End::Exited(code as i32))),
            Ok(Some([2, signal, ..])) => Some(Report::Ended(End::Signalled(signal as i32))),
            Ok(Some([3, errno, ..])) => Some(Report::Ended(End::Unstartable(errno as i32))),
            Ok(Some([4, orphans, millis, rss])) => Some(Report::Empty {
                orphans: orphans as u32,
                cpu: millis as f64 / 1000.0,
                rss: rss as u64,
            }),
            Ok(Some(_)) | Err(Errno::EAGAIN | Errno::EINTR) => None,
            // It was killed: what it left behind has fallen to us.
            Ok(None) | Err(_) => Some(Report::Gone {
                orphans: tree::end_all(&self.strangers),
            }),
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // One that has work left ends when it hears nothing of us any more.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let _ = waitpid(self.pid, None);
    }
}

/// The warden's own side.
struct Service<'a> {
    socket: &'a OwnedFd,
    children: SignalFd,
    duty: Duty,
}

impl<'a> Service<'a> {
    fn begin(socket: &'a OwnedFd, launch: Launch) -> io::Result<Self> {
        let _ = nix::unistd::setsid();
        process::adopt_orphans()?;
        process::set_name(c"cl-warden");
        // Children that nobody waits for would vanish without a word where this was inherited as ignored.
        process::default_action(libc::SIGCHLD)?;
        SigSet::all().thread_set_mask()?;
        let mut child = SigSet::empty();
        child.add(Signal::SIGCHLD);
        let children = SignalFd::with_flags(&child, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        let (duty, report) = Duty::begin(launch);
        say(socket, report);
        // What we inherited belongs to the worker and to others: held open here, they would never see an end.
        process::close_all_but(&[socket.as_fd(), children.as_fd(), null.as_fd()]);
        for fd in 0..3 {
            process::replace(fd, null.as_fd())?;
        }
        Ok(Self { socket, children, duty })
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            if self.duty.work(|report| say(self.socket, report)) {
                return Ok(());
            }
            let timeout = match self.duty.next() {
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now()).as_millis() as u64 + 1;
                    PollTimeout::try_from(left.min(1 << 30)).unwrap_or(PollTimeout::MAX)
                }
                None => PollTimeout::NONE,
            };
            let mut fds = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            while let Ok(Some(_)) = self.children.read_signal() {}
            loop {
                match receive_numbers(self.socket.as_fd()) {
                    Ok(Some([0, signal, ..])) => self.duty.obey(Command::Signal(signal as i32)),
                    Ok(Some([1, signal, ..])) => self.duty.obey(Command::Everyone(signal as i32)),
                    Ok(Some([2, millis, ..])) => {
                        self.duty
                            .obey(Command::Sweep(Duration::from_millis(millis.max(0) as u64)));
                    }
                    Ok(Some(_)) => self.duty.obey(Command::KillAll),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => {}
                    // Nobody is there any more: what we started ends with them.
                    Ok(None) | Err(_) => {
                        tree::end_all(&[]);
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn say(socket: &OwnedFd, report: Report) {
    let numbers = match report {
        Report::Started(pid) => [0, i64::from(pid), 0, 0],
        Report::Ended(End::Exited(code)) => [1, i64::from(code), 0, 0],
        Report::Ended(End::Signalled(signal)) => [2, i64::from(signal), 0, 0],
        Report::Ended(End::Unstartable(errno)) => [3, i64::from(errno), 0, 0],
        Report::Empty { orphans, cpu, rss } => [4, i64::from(orphans), (cpu * 1000.0) as i64, rss as i64],
        // A warden that lives has seen its worker end, and is not gone.
        Report::Ended(_) | Report::Gone { .. } => return,
    };
    let _ = send_numbers(socket.as_fd(), numbers);
}

fn send_numbers(socket: BorrowedFd<'_>, numbers: [i64; 4]) -> nix::Result<usize> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL)
}

/// The next message; `None` when the other side is gone.
fn receive_numbers(socket: BorrowedFd<'_>) -> nix::Result<Option<[i64; 4]>> {
    let mut bytes = [0u8; 32];
    let mut take = || recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty());
    let taken = match take() {
        // The other side closed before it had read all that we sent. That is told once, ahead of what it sent itself.
        Err(Errno::ECONNRESET) => take()?,
        taken => taken?,
    };
    if taken < bytes.len() {
        return Ok(None);
    }
    let mut numbers = [0i64; 4];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = i64::from_ne_bytes(*bytes);
    }
    Ok(Some(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_heard_though_ours_were_not_read() {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        send_numbers(ours.as_fd(), [2, 0, 0, 0]).unwrap();
        send_numbers(theirs.as_fd(), [1, 7, 0, 0]).unwrap();
        drop(theirs);
        assert_eq!(receive_numbers(ours.as_fd()), Ok(Some([1, 7, 0, 0])));
        assert_eq!(receive_numbers(ours.as_fd()), Ok(None));
    }
}
