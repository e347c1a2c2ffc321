//! Many processes of one program, without starting the program anew for each.
//!
//! The program is started once and waits on a socket; asked to, it forks, and the child does what it is asked for, with
//! arguments, stdin and stdout of its own. Each is a process like any other; what is saved is what a start costs before
//! the first line of its own code runs.
//!
//! The program is the warden of all of them: what one leaves behind falls to it and is ended, and when whoever asks is
//! gone, it ends all that there is, and then itself. Signals do not end it before; when it is killed, so are they, and
//! what they leave behind falls to whoever asks.

use crate::sys::fds::{received as received_fd, stay_open};
use crate::sys::files::in_memory;
use crate::sys::process::{self, Usage, Waited};
use crate::sys::tree;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recv, recvmsg, sendmsg,
    shutdown, socketpair,
};
use nix::unistd::{Pid, getpid, setsid};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};

/// The most descriptors that one process is given beside its arguments, stdin and stdout.
const MOST_HELD: usize = 200;

/// Arguments that are longer than this in all come in a file.
const INLINE: usize = 32 << 10;

/// Signals that wait until a process listens to them.
const FOR_LATER: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// The exit code of a process that could not be made.
const UNMADE: i32 = 125;

/// Bytes ahead of the arguments: what is asked, of which process, and a number more.
const HEAD: usize = 12;

const START: i32 = 0;
const SIGNAL: i32 = 1;
const EXITED: i32 = 2;
const SIGNALLED: i32 = 3;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// Our side: asks for processes.
#[derive(Debug)]
pub struct Nursery {
    socket: OwnedFd,
    program: Child,
    next: i32,
    ended: HashMap<i32, Status>,
    gone: bool,
    /// Children that we had before: none of its.
    strangers: Vec<i32>,
}

impl Nursery {
    /// Starts the program, which is to call [`serve`] on its stdin. To be called from the thread that ends last.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null());
        // One that is stopped goes on when we are gone, sees that we are, and ends what there is.
        process::prepare_tool(&mut command, Signal::SIGCONT);
        process::adopt_orphans()?;
        let strangers = tree::descendants(getpid().as_raw());
        Ok(Self {
            socket: ours,
            program: command.spawn()?,
            next: 0,
            ended: HashMap::new(),
            gone: false,
            strangers,
        })
    }

    /// What is readable when there is something to [`Nursery::hear`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks for a process; `held` stays open in it and in what it starts. Gives the number that it is known by.
    ///
    /// # Errors
    /// When an argument holds a zero byte, no descriptor is left, or the program is gone.
    pub fn ask(
        &mut self,
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
        let (inline, list) = if args.len() <= INLINE {
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
        self.next += 1;
        self.send([START, self.next, i32::from(list.is_some())], inline, &fds)?;
        Ok(self.next)
    }

    /// Sends a signal to a process, if it has not ended.
    pub fn signal(&self, id: i32, signal: Signal) {
        // Where the program is gone, the process is as well.
        let _ = self.send([SIGNAL, id, signal as i32], &[], &[]);
    }

    /// Hears which processes have ended.
    pub fn hear(&mut self) {
        let mut bytes = [0; HEAD];
        while !self.gone {
            match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Ok(count) if count == bytes.len() => {
                    let [kind, id, value] = numbers(&bytes);
                    let status = match kind {
                        SIGNALLED => Status::Signalled(value),
                        _ => Status::Exited(value),
                    };
                    self.ended.insert(id, status);
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => {
                    self.gone = true;
                    tree::end_all(&self.strangers);
                }
            }
        }
    }

    /// How a process ended, which is told once. When the program is gone, all have ended.
    pub fn ended(&mut self, id: i32) -> Option<Status> {
        let status = self.ended.remove(&id);
        status.or(self.gone.then_some(Status::Signalled(Signal::SIGKILL as i32)))
    }

    fn send(&self, numbers: [i32; 3], more: &[u8], fds: &[RawFd]) -> io::Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let rights = [ControlMessage::ScmRights(fds)];
        let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
        loop {
            match sendmsg::<()>(
                self.socket.as_raw_fd(),
                &[IoSlice::new(&bytes), IoSlice::new(more)],
                rights,
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Err(Errno::EINTR) => {}
                sent => return sent.map(drop).map_err(io::Error::from),
            }
        }
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        // It ends when nobody can ask any more.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let _ = self.program.wait();
    }
}

/// The program's side: makes processes until nobody asks any more, and ends all that is left then. `read` makes of its
/// arguments what a process is to do, or gives its exit code; `work` is what each of them does with that, and its
/// result the exit code.
///
/// # Errors
/// What the system says.
pub fn serve<A>(
    socket: BorrowedFd<'_>,
    mut read: impl FnMut(Vec<OsString>) -> Result<A, i32>,
    work: impl Fn(A) -> i32,
) -> io::Result<()> {
    // The leader of a session can be told nothing by a terminal.
    let _ = setsid();
    process::adopt_orphans()?;
    SigSet::all().thread_set_mask()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut running: HashMap<i32, i32> = HashMap::new();
    let mut space = vec![0; HEAD + INLINE];
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
        let Some(order) = receive(socket, &mut space)? else {
            tree::end_all(&[]);
            return Ok(());
        };
        match order {
            Order::Start { id, args, fds } => {
                let made = read(args).and_then(|args| child(fds, || work(args)).map_err(|_| UNMADE));
                match made {
                    Ok(pid) => {
                        running.insert(pid.as_raw(), id);
                    }
                    Err(code) => tell(socket, [EXITED, id, code]),
                }
            }
            Order::Signal { id, signal } => {
                let pid = running.iter().find(|(_, known)| **known == id).map(|(pid, _)| *pid);
                if let (Some(pid), Ok(signal)) = (pid, Signal::try_from(signal)) {
                    // It was not waited for yet: its number is no other's.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
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
            Waited::Exited(pid, code) => (pid, [EXITED, code]),
            Waited::Signalled(pid, signal) => (pid, [SIGNALLED, signal]),
            Waited::Living | Waited::Nobody => break,
        };
        any = true;
        ended.extend(running.remove(&pid.as_raw()).map(|id| [told[0], id, told[1]]));
    }
    // None of ours leaves any if it ends of its own accord; but it need not. What was left may leave others in its turn.
    if any {
        let others: Vec<i32> = running.keys().copied().collect();
        *sweeps = tree::kill_all(&others) > 0;
    }
    ended.into_iter().for_each(|told| tell(socket, told));
}

/// Makes a process that works, in a session of its own; it dies with us.
fn child(fds: Vec<OwnedFd>, work: impl FnOnce() -> i32) -> io::Result<Pid> {
    let parent = getpid();
    process::fork(move || {
        let begin = || -> io::Result<bool> {
            let _ = setsid();
            SigSet::from_iter(FOR_LATER).thread_set_mask()?;
            if !process::on_parent_death(Signal::SIGKILL as i32, parent) {
                return Ok(false);
            }
            let mut fds = fds.into_iter();
            let (Some(stdin), Some(stdout)) = (fds.next(), fds.next()) else {
                return Ok(false);
            };
            for held in fds {
                stay_open(&held)?;
                // It is open until the process ends.
                std::mem::forget(held);
            }
            process::replace(0, stdin.as_fd())?;
            process::replace(1, stdout.as_fd())?;
            Ok(true)
        };
        match begin() {
            Ok(true) => work(),
            Ok(false) | Err(_) => UNMADE,
        }
    })
}

/// What is asked of the program.
enum Order {
    /// A process.
    Start {
        id: i32,
        args: Vec<OsString>,
        /// Its stdin, its stdout, and what stays open in it.
        fds: Vec<OwnedFd>,
    },
    /// A signal for one.
    Signal { id: i32, signal: i32 },
}

/// What is asked for next; `None` when nobody is there to ask.
fn receive(socket: BorrowedFd<'_>, space: &mut [u8]) -> io::Result<Option<Order>> {
    let mut rights = cmsg_space!([RawFd; MOST_HELD + 3]);
    let mut parts = [IoSliceMut::new(space)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut rights), flags) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            received => break received?,
        }
    };
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = part {
            fds.extend(received.into_iter().map(received_fd));
        }
    }
    let bytes = message.bytes;
    let Some((head, inline)) = space[..bytes].split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    Ok(Some(match numbers(head) {
        [SIGNAL, id, signal] => Order::Signal { id, signal },
        [_, id, in_file] => {
            let mut list = inline.to_vec();
            if in_file != 0 && fds.len() > 2 {
                File::from(fds.remove(2)).read_to_end(&mut list)?;
            }
            let args = list.split(|&byte| byte == 0);
            let args = args.map(|arg| OsString::from_vec(arg.to_vec())).collect();
            Order::Start { id, args, fds }
        }
    }))
}

fn tell(socket: BorrowedFd<'_>, numbers: [i32; 3]) {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    let _ = nix::sys::socket::send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
}

fn numbers(bytes: &[u8; HEAD]) -> [i32; 3] {
    let mut numbers = [0; 3];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *number = i32::from_ne_bytes(*bytes);
    }
    numbers
}
