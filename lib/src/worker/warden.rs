//! The warden: a process between us and the worker that outlives us by an instant.
//!
//! It is the parent of the worker and adopts whatever the worker's descendants leave behind, in whatever session or
//! group they hide, so that all of them can be found and ended. Its end of the socket says when we are gone: then it
//! ends everything at once. It has a session of its own and blocks every signal, so that neither a terminal, nor a
//! `kill` of our process group, nor a machine that is shut down ends it before its time; one that is stopped goes on
//! when we speak to it, and when we die. Should the warden be killed all the same, the worker dies with it, and its
//! orphans fall to us.

use super::tree;
use crate::outcome::End;
use crate::sys::process;
use crate::sys::process::Waited;
use crate::sys::spawn::Launch;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpgid, getpid};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What the warden is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Send this to the worker's process group.
    Signal(i32),
    /// Send this to every process of the tree.
    Everyone(i32),
    /// End what the worker left behind: SIGTERM, and SIGKILL after so long.
    Sweep(Duration),
    /// SIGKILL to everything.
    KillAll,
}

/// What the warden tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Report {
    /// The worker runs.
    Started(i32),
    /// The worker's own process has ended, or could not be started.
    Ended(End),
    /// The whole tree has ended: how many processes had to be ended after the worker, CPU seconds, peak bytes.
    Empty { orphans: u32, cpu: f64, rss: u64 },
    /// The warden is gone; so is the worker.
    Gone,
}

/// Our side of a warden.
#[derive(Debug)]
pub(super) struct Warden {
    socket: OwnedFd,
    pid: Pid,
    /// Children that we had before (a shell may `exec` us with jobs of its own): none of ours to end.
    strangers: Vec<i32>,
}

impl Warden {
    /// Starts a warden that starts the worker.
    ///
    /// # Errors
    /// When the system has no process or descriptor left.
    pub(super) fn launch(launch: Launch) -> io::Result<Self> {
        process::adopt_orphans()?;
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
            begun.inspect_err(|error| say(&theirs, unstartable(error)))?.serve()
        };
        let pid = process::fork(|| i32::from(serve().is_err()))?;
        drop(theirs);
        Ok(Self {
            socket: ours,
            pid,
            strangers,
        })
    }

    /// Its process, above the whole tree.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// The socket, readable when there is a report.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Tells the warden; one that is gone needs no telling.
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

    /// Has it go on where somebody has stopped it.
    pub(super) fn wake(&self) {
        let _ = kill(self.pid, Signal::SIGCONT);
    }

    /// The next report, if there is one.
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
            Ok(Some(_)) => None,
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Ok(None) | Err(_) => Some(Report::Gone),
        }
    }

    /// Takes over from a warden that was killed: ends what has fallen to us. Returns how many there were.
    pub(super) fn bury(&self) -> u32 {
        end_all(&self.strangers)
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        let _ = waitpid(self.pid, None);
    }
}

/// The warden's own side.
struct Service<'a> {
    socket: &'a OwnedFd,
    children: SignalFd,
    worker: Option<Pid>,
    ended: bool,
    orphans: u32,
    kill_at: Option<Instant>,
    killing: bool,
    /// The weight that the session is still to get.
    weight: Option<Weight>,
}

/// Where the kernel groups processes by session to share out the CPU (autogroup), niceness counts within a session
/// only: the session's own has to be set as well. It may be asked for once in a tenth of a second on the whole machine.
///
/// A session that is nice is made nicer by 9, for it competes with each other session as a whole: seven that are
/// nice by 5 to 15 take as much of the processors as one that is not, and they shall not hold that one up.
struct Weight {
    nice: i32,
    again: Instant,
    tries: u32,
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
        let weight = (launch.nice != 0).then(|| Weight {
            nice: if launch.nice > 0 {
                (launch.nice + 9).min(19)
            } else {
                launch.nice
            },
            again: Instant::now(),
            tries: 100,
        });
        let mut service = Self {
            socket,
            children,
            worker: None,
            ended: false,
            orphans: 0,
            kill_at: None,
            killing: false,
            weight,
        };
        service.weigh();
        match launch.start() {
            Ok(pid) => {
                service.worker = Some(pid);
                service.say([0, i64::from(pid.as_raw()), 0, 0]);
            }
            Err(error) => {
                service.ended = true;
                service.say(unstartable(&error));
            }
        }
        // What we inherited belongs to the worker and to others: held open here, they would never see an end.
        process::close_all_but(&[socket.as_fd(), service.children.as_fd(), null.as_fd()]);
        for fd in 0..3 {
            process::replace(fd, null.as_fd())?;
        }
        Ok(service)
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            if self.reap() {
                let (cpu, rss) = process::children_usage();
                self.say([4, i64::from(self.orphans), (cpu * 1000.0) as i64, rss as i64]);
                return Ok(());
            }
            let timeout = match self
                .kill_at
                .into_iter()
                .chain(self.weight.as_ref().map(|weight| weight.again))
                .min()
            {
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
            self.weigh();
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                (self.kill_at, self.killing) = (None, true);
            }
            loop {
                match receive_numbers(self.socket.as_fd()) {
                    Ok(Some([tag, number, ..])) => self.obey(tag, number),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => {}
                    // Nobody is there any more: what we started ends with them.
                    Ok(None) | Err(_) => {
                        end_all(&[]);
                        return Ok(());
                    }
                }
            }
            if self.killing {
                // Again after each end, for a process may make another while it is being ended.
                signal_all(Signal::SIGKILL);
            }
        }
    }

    fn obey(&mut self, tag: i64, number: i64) {
        let signal = Signal::try_from(number as i32);
        match (tag, signal) {
            (0, Ok(signal)) if !self.ended => {
                if let Some(worker) = self.worker {
                    // A stopped worker would not notice without being told to go on.
                    for signal in [signal, Signal::SIGCONT] {
                        let _ = killpg(worker, signal);
                        // One that has moved into another group hears it all the same.
                        if getpgid(Some(worker)) != Ok(worker) {
                            let _ = kill(worker, signal);
                        }
                    }
                }
            }
            (1, Ok(signal)) => signal_all(signal),
            (2, _) => {
                self.orphans = tree::descendants(getpid().as_raw()).len() as u32;
                signal_all(Signal::SIGTERM);
                signal_all(Signal::SIGCONT);
                self.kill_at = Some(Instant::now() + Duration::from_millis(number.max(0) as u64));
            }
            (3, _) => self.killing = true,
            _ => {}
        }
    }

    /// Waits for whoever has ended; whether nobody is left.
    fn reap(&mut self) -> bool {
        loop {
            let (pid, report) = match process::reap() {
                Waited::Exited(pid, code) => (pid, [1, i64::from(code), 0, 0]),
                Waited::Signalled(pid, signal) => (pid, [2, i64::from(signal), 0, 0]),
                Waited::Living => return false,
                Waited::Nobody => return self.ended,
            };
            if Some(pid) == self.worker {
                self.ended = true;
                self.say(report);
            }
        }
    }

    /// Gives the session its weight, as soon as the kernel takes it.
    fn weigh(&mut self) {
        let Some(weight) = &mut self.weight else { return };
        if Instant::now() < weight.again {
            return;
        }
        let written = std::fs::write("/proc/self/autogroup", weight.nice.to_string());
        weight.tries -= 1;
        weight.again = Instant::now() + Duration::from_millis(105);
        if weight.tries == 0 || !written.is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN)) {
            self.weight = None;
        }
    }

    fn say(&self, numbers: [i64; 4]) {
        say(self.socket, numbers);
    }
}

fn say(socket: &OwnedFd, numbers: [i64; 4]) {
    let _ = send_numbers(socket.as_fd(), numbers);
}

fn unstartable(error: &io::Error) -> [i64; 4] {
    [3, i64::from(error.raw_os_error().unwrap_or(libc::EINVAL)), 0, 0]
}

fn signal_all(signal: Signal) {
    for pid in tree::descendants(getpid().as_raw()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Ends everything below us but `strangers`, and waits until it is gone. Returns how many it met first.
fn end_all(strangers: &[i32]) -> u32 {
    let mut first = None;
    loop {
        let left = tree::descendants_but(getpid().as_raw(), strangers);
        first.get_or_insert(left.len() as u32);
        // One that runs as another user is not ours to end.
        let ours = |&pid: &i32| kill(Pid::from_raw(pid), Signal::SIGKILL) != Err(Errno::EPERM);
        let dying: Vec<i32> = left.into_iter().filter(ours).collect();
        if dying.is_empty() {
            return first.unwrap_or(0);
        }
        // Our own children's end can be waited for; theirs then fall to us and are met in the next round.
        for pid in dying {
            let _ = waitpid(Pid::from_raw(pid), None);
        }
    }
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
