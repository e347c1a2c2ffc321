//! The program's side: it makes processes and is their warden, and each of them does one task after another.

use super::wire::{self, Space, Told};
use crate::sink::Rope;
use crate::sys::condition::Condition;
use crate::sys::fds::stay_open;
use crate::sys::process::{self, Usage, Waited};
use crate::sys::tree;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::{Pid, getpid, setsid};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

/// Signals that wait until a task listens to them.
const FOR_LATER: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// The exit code of a process that could not be made, and of a task that could not be begun.
const UNMADE: i32 = 125;

/// Makes processes until nobody asks any more, and ends all that is left then. `read` makes of its arguments what a
/// task is, or gives its exit code; `work` does it, rings when it has written something, and its result is the exit code.
///
/// # Errors
/// What the system says.
pub fn serve<A>(
    socket: BorrowedFd<'_>,
    mut read: impl FnMut(Vec<OsString>) -> Result<A, i32>,
    work: impl Fn(A, Rope) -> i32,
) -> io::Result<()> {
    // The leader of a session can be told nothing by a terminal.
    let _ = setsid();
    process::adopt_orphans()?;
    SigSet::all().thread_set_mask()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut running: HashMap<i32, i32> = HashMap::new();
    let mut space = Space::new();
    let mut sweeps = false;
    loop {
        let mut fds = [
            PollFd::new(socket, PollFlags::POLLIN),
            PollFd::new(children.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [asked, ended] = fds.map(|fd| fd.any().unwrap_or(false));
        if ended {
            while let Ok(Some(_)) = children.read_signal() {}
            reap(socket, &mut running, &mut sweeps);
        }
        if !asked {
            continue;
        }
        let Some(Told { numbers, mut fds, .. }) = space.receive(socket)? else {
            tree::end_all(&[]);
            return Ok(());
        };
        match (numbers, fds.pop()) {
            ([wire::MAKE, number, _], orders) => {
                let mut begin = |orders| Post::take(orders, socket, number)?.work(&mut read, &work);
                // Without a descriptor left there is no way to it.
                let made = orders.ok_or_else(|| Errno::EMFILE.into());
                match made.and_then(|orders| child(|| begin(orders).is_ok())) {
                    Ok(pid) => drop(running.insert(pid.as_raw(), number)),
                    Err(_) => tell(socket, [wire::EXITED, number, UNMADE]),
                }
            }
            ([wire::SIGNAL, number, signal], _) => {
                let pid = running.iter().find(|(_, known)| **known == number).map(|(pid, _)| *pid);
                if let (Some(pid), Ok(signal)) = (pid, Signal::try_from(signal)) {
                    // It was not waited for yet: its number is no other's.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
            _ => {}
        }
    }
}

/// Reaps those that have ended, and kills what they left behind; `sweeps` says that some of that may be left. Nothing is
/// waited for here: who is killed tells us by its end, and what it has started falls to us then.
fn reap(socket: BorrowedFd<'_>, running: &mut HashMap<i32, i32>, sweeps: &mut bool) {
    let mut ended = Vec::new();
    let mut any = *sweeps;
    loop {
        let (pid, told) = match process::reap(&mut Usage::default()) {
            Waited::Exited(pid, code) => (pid, [wire::EXITED, code]),
            Waited::Signalled(pid, signal) => (pid, [wire::SIGNALLED, signal]),
            Waited::Living | Waited::Nobody => break,
        };
        any = true;
        ended.extend(running.remove(&pid.as_raw()).map(|number| [told[0], number, told[1]]));
    }
    // None of ours leaves any if it ends of its own accord; but it need not. What was left may leave others in its turn.
    if any {
        let others: Vec<i32> = running.keys().copied().collect();
        *sweeps = tree::kill_all(&others) > 0;
    }
    ended.into_iter().for_each(|told| tell(socket, told));
}

fn tell(socket: BorrowedFd<'_>, numbers: [i32; 3]) {
    let _ = wire::send(socket, numbers, &[], &[]);
}

/// Makes a process that works, in a session of its own; it dies with us.
fn child(work: impl FnOnce() -> bool) -> io::Result<Pid> {
    let parent = getpid();
    process::fork(move || {
        let _ = setsid();
        let masked = SigSet::from_iter(FOR_LATER).thread_set_mask().is_ok();
        if masked && process::on_parent_death(Signal::SIGKILL as i32, parent) && work() {
            0
        } else {
            UNMADE
        }
    })
}

/// Where a process does its tasks.
struct Post {
    orders: OwnedFd,
    answers: OwnedFd,
    number: i32,
    rope: Rope,
    null: File,
    /// What has come for a task and was not heard by it.
    signals: SignalFd,
    condition: Condition,
}

impl Post {
    fn take(orders: OwnedFd, answers: BorrowedFd<'_>, number: i32) -> io::Result<Self> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            orders,
            // They came on our stdin, which each task has for itself.
            answers: answers.try_clone_to_owned()?,
            number,
            // The bells are our stdout until then.
            rope: Rope::new(io::stdout().as_fd().try_clone_to_owned()?, 0),
            null: File::options().read(true).write(true).open("/dev/null")?,
            signals: SignalFd::with_flags(&SigSet::from_iter(FOR_LATER), flags)?,
            condition: Condition::now(),
        })
    }

    /// Does tasks until there are no more, or it is no longer fit for any.
    fn work<A>(
        self,
        mut read: impl FnMut(Vec<OsString>) -> Result<A, i32>,
        work: impl Fn(A, Rope) -> i32,
    ) -> io::Result<()> {
        let mut space = Space::new();
        loop {
            self.rest()?;
            let Some(told) = space.receive(self.orders.as_fd())? else {
                return Ok(());
            };
            let begun = Task::begin(told);
            let fit = begun.is_ok();
            let code = begun.map_or(UNMADE, |Task { args, held, bell }| {
                let code = read(args).map_or_else(|code| code, |args| work(args, self.rope.of(bell)));
                drop(held);
                code
            });
            // Whoever waits for the end of what it wrote shall not wait for the next task's.
            process::replace(0, self.null.as_fd())?;
            process::replace(1, self.null.as_fd())?;
            while let Ok(Some(_)) = self.signals.read_signal() {}
            if !fit || !self.condition.holds() {
                tell(self.answers.as_fd(), [wire::LAST, self.number, code]);
                return Ok(());
            }
            tell(self.answers.as_fd(), [wire::DONE, self.number, code]);
        }
    }

    /// Waits for a task. Who is told to end before there is one takes none any more.
    fn rest(&self) -> io::Result<()> {
        loop {
            let mut fds = [self.orders.as_fd(), self.signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if fds[0].any() == Some(true) {
                return Ok(());
            }
            let Ok(Some(signal)) = self.signals.read_signal() else {
                continue;
            };
            let signal = Signal::try_from(signal.ssi_signo as i32)?;
            // What came with a task is the task's: it was sent after it, and the task is there by now.
            let mut orders = [PollFd::new(self.orders.as_fd(), PollFlags::POLLIN)];
            if poll(&mut orders, PollTimeout::ZERO)? > 0 {
                return Ok(raise(signal)?);
            }
            if ![Signal::SIGTSTP, Signal::SIGCONT].contains(&signal) {
                // One that is being sent is taken yet, and whoever comes later hears that nobody is there.
                return Ok(shutdown(self.orders.as_raw_fd(), Shutdown::Read)?);
            }
        }
    }
}

/// What is to be done.
struct Task {
    args: Vec<OsString>,
    /// Whose bell is rung.
    bell: i32,
    /// Open until it is done, also in what it starts.
    held: Vec<OwnedFd>,
}

impl Task {
    /// Takes its stdin and stdout.
    fn begin(told: Told<'_>) -> io::Result<Self> {
        let mut fds = told.fds.into_iter();
        let mut next = || fds.next().ok_or(Errno::EBADF);
        process::replace(0, next()?.as_fd())?;
        process::replace(1, next()?.as_fd())?;
        let mut list = told.text.to_vec();
        if told.numbers[2] != 0 {
            File::from(next()?).read_to_end(&mut list)?;
        }
        let args = list.split(|&byte| byte == 0);
        let args = args.map(|arg| OsString::from_vec(arg.to_vec())).collect();
        let held: Vec<OwnedFd> = fds.collect();
        held.iter().try_for_each(stay_open)?;
        Ok(Self {
            args,
            bell: told.numbers[1],
            held,
        })
    }
}
