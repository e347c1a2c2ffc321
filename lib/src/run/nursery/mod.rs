//! Many tasks of one program, without starting the program anew for each.
//!
//! The program is started once and waits on a socket; asked to, it forks, and the child does what it is asked for, one
//! task after another, each with arguments, stdin and stdout of its own. No process does two tasks at once. What is
//! saved is what it costs to start a program, and mostly also to make a process and to end it.
//!
//! The program is the warden of all of them: what one leaves behind falls to it and is ended, and when whoever asks is
//! gone, it ends all that there is, and then itself. Signals do not end it before; when it is killed, so are they, and
//! what they leave behind falls to whoever asks.

mod serve;
mod wire;

pub use serve::serve;

use crate::sys::files::in_memory;
use crate::sys::process;
use crate::sys::tree;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, shutdown, socketpair};
use nix::unistd::getpid;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{Child, Command, Stdio};

/// So many processes without a task are kept for those that are not asked for at once.
const MOST_IDLE: usize = 8;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// Our side: asks for tasks to be done.
#[derive(Debug)]
pub struct Nursery {
    socket: OwnedFd,
    program: Child,
    /// The number of the last task, or process.
    last: i32,
    processes: HashMap<i32, Process>,
    /// Those without a task.
    idle: Vec<i32>,
    ended: HashMap<i32, Status>,
    gone: bool,
    /// Children that we had before: none of its.
    strangers: Vec<i32>,
}

/// One that does tasks.
#[derive(Debug)]
struct Process {
    /// Where it hears of them; it ends when this is closed.
    orders: OwnedFd,
    task: Option<i32>,
    /// Whether a signal may be on its way to it, which is not for the next task.
    signalled: bool,
}

impl Nursery {
    /// Starts the program, which is to call [`serve`] on its stdin; `bells` is what is rung when a task has written
    /// something. To be called from the thread that ends last.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, bells: OwnedFd) -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        command.stdin(Stdio::from(theirs)).stdout(Stdio::from(bells));
        // One that is stopped goes on when we are gone, sees that we are, and ends what there is.
        process::prepare_tool(&mut command, Signal::SIGCONT);
        process::adopt_orphans()?;
        let strangers = tree::descendants(getpid().as_raw());
        Ok(Self {
            socket: ours,
            program: command.spawn()?,
            last: 0,
            processes: HashMap::new(),
            idle: Vec::new(),
            ended: HashMap::new(),
            gone: false,
            strangers,
        })
    }

    /// What is readable when there is something to [`Nursery::hear`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks for a task, for which the bell of that number is rung; `held` stays open until it has ended, also in what it
    /// starts. Gives the number that it is known by.
    ///
    /// # Errors
    /// When an argument holds a zero byte, no descriptor is left, or the program is gone.
    pub fn ask(
        &mut self,
        bell: i32,
        args: &[String],
        stdin: BorrowedFd<'_>,
        stdout: BorrowedFd<'_>,
        held: &[OwnedFd],
    ) -> io::Result<i32> {
        if args.iter().any(|arg| arg.contains('\0')) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a zero byte cannot stand in an argument",
            ));
        }
        let args = args.join("\0");
        let (inline, list) = if args.len() <= wire::INLINE {
            (args.as_bytes(), None)
        } else {
            (&[][..], Some(in_memory(c"arguments", args.as_bytes())?))
        };
        let fds: Vec<RawFd> = [stdin, stdout]
            .into_iter()
            .chain(list.as_ref().map(AsFd::as_fd))
            .chain(held.iter().map(AsFd::as_fd))
            .map(|fd| fd.as_raw_fd())
            .collect();
        self.last += 1;
        let task = self.last;
        let numbers = [wire::TASK, bell, i32::from(list.is_some())];
        while let Some(number) = self.idle.pop() {
            if let Some(process) = self.processes.get_mut(&number) {
                if wire::send(process.orders.as_fd(), numbers, inline, &fds).is_ok() {
                    process.task = Some(task);
                    return Ok(task);
                }
                // It has died, and that is not heard yet.
                self.processes.remove(&number);
            }
        }
        let (ours, theirs) = pair()?;
        wire::send(self.fd(), [wire::MAKE, task, 0], &[], &[theirs.as_raw_fd()])?;
        wire::send(ours.as_fd(), numbers, inline, &fds)?;
        let process = Process {
            orders: ours,
            task: Some(task),
            signalled: false,
        };
        // It is known by the number of its first task.
        self.processes.insert(task, process);
        Ok(task)
    }

    /// Sends a signal to who does a task, if it has not ended.
    pub fn signal(&mut self, task: i32, signal: Signal) {
        let doing = self
            .processes
            .iter_mut()
            .find(|(_, process)| process.task == Some(task));
        if let Some((&number, process)) = doing {
            process.signalled = true;
            // Where the program is gone, the process is as well.
            let _ = wire::send(self.socket.as_fd(), [wire::SIGNAL, number, signal as i32], &[], &[]);
        }
    }

    /// Hears which tasks have ended.
    pub fn hear(&mut self) {
        for number in self.idle.drain(MOST_IDLE.min(self.idle.len())..) {
            self.processes.remove(&number);
        }
        let mut head = [0; wire::HEAD];
        while !self.gone {
            match recv(self.socket.as_raw_fd(), &mut head, MsgFlags::MSG_DONTWAIT) {
                Ok(count) if count == head.len() => self.heard(wire::numbers(&head)),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => {
                    self.gone = true;
                    tree::end_all(&self.strangers);
                }
            }
        }
    }

    fn heard(&mut self, [what, number, value]: [i32; 3]) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let task = process.task.take();
        let status = match what {
            wire::SIGNALLED => Status::Signalled(value),
            _ => Status::Exited(value),
        };
        self.ended.extend(task.map(|task| (task, status)));
        if what == wire::DONE && !process.signalled {
            self.idle.push(number);
        } else {
            self.processes.remove(&number);
        }
    }

    /// How a task ended, which is told once. When the program is gone, all have ended.
    pub fn ended(&mut self, task: i32) -> Option<Status> {
        let status = self.ended.remove(&task);
        status.or(self.gone.then_some(Status::Signalled(Signal::SIGKILL as i32)))
    }
}

/// Two ends of a socket that keeps messages apart.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    pair.map_err(io::Error::from)
}

impl Drop for Nursery {
    fn drop(&mut self) {
        // It ends when nobody can ask any more.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let _ = self.program.wait();
    }
}
