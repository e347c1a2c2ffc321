//! Many processes of one program, without starting the program anew for each.
//!
//! The program is started once and waits on a socket; asked to, it forks, and the child does what it is asked for, with
//! arguments, stdin and stdout of its own. Each is a process like any other; what is saved is what a start costs before
//! the first line of its own code runs. When whoever asks is gone, so is the program, and so are all of them.

use crate::sys::fds::{received as received_fd, stay_open};
use crate::sys::files::in_memory;
use crate::sys::process::{self, Waited};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, sendmsg,
    socketpair,
};
use nix::unistd::{Pid, getpid, setpgid};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};

/// The most descriptors that one process is given beside its arguments, stdin and stdout.
const MOST_HELD: usize = 200;

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
}

impl Nursery {
    /// Starts the program, which is to call [`serve`] on its stdin. To be called from the thread that ends last.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null());
        process::prepare_tool(&mut command);
        Ok(Self {
            socket: ours,
            program: command.spawn()?,
            next: 0,
            ended: HashMap::new(),
            gone: false,
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
        let list = in_memory(c"arguments", args.join("\0").as_bytes())?;
        let fds: Vec<RawFd> = [list.as_fd(), stdin, stdout]
            .iter()
            .map(AsRawFd::as_raw_fd)
            .chain(held.iter().map(AsRawFd::as_raw_fd))
            .collect();
        self.next += 1;
        self.send([START, self.next, 0], &fds)?;
        Ok(self.next)
    }

    /// Sends a signal to a process, if it has not ended.
    pub fn signal(&self, id: i32, signal: Signal) {
        // Where the program is gone, the process is as well.
        let _ = self.send([SIGNAL, id, signal as i32], &[]);
    }

    /// Hears which processes have ended.
    pub fn hear(&mut self) {
        let mut bytes = [0; 12];
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
                Ok(_) | Err(_) => self.gone = true,
            }
        }
    }

    /// How a process ended, which is told once. When the program is gone, all have ended.
    pub fn ended(&mut self, id: i32) -> Option<Status> {
        let status = self.ended.remove(&id);
        status.or(self.gone.then_some(Status::Signalled(Signal::SIGKILL as i32)))
    }

    fn send(&self, numbers: [i32; 3], fds: &[RawFd]) -> io::Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let rights = [ControlMessage::ScmRights(fds)];
        let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
        loop {
            match sendmsg::<()>(
                self.socket.as_raw_fd(),
                &[IoSlice::new(&bytes)],
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
        let (ours, theirs) = match socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC) {
            Ok(pair) => pair,
            Err(_) => return,
        };
        drop(theirs);
        drop(std::mem::replace(&mut self.socket, ours));
        let _ = self.program.wait();
    }
}

/// The program's side: makes processes until nobody asks any more. `work` is what each of them does, with its
/// arguments; its result is the exit code.
///
/// # Errors
/// What the system says.
pub fn serve(socket: BorrowedFd<'_>, work: impl Fn(Vec<OsString>) -> i32) -> io::Result<()> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut running: HashMap<i32, i32> = HashMap::new();
    loop {
        let mut fds = [
            PollFd::new(socket, PollFlags::POLLIN),
            PollFd::new(children.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let asked = fds[0].any().unwrap_or(false);
        while let Ok(Some(_)) = children.read_signal() {}
        loop {
            let (pid, told) = match process::reap() {
                Waited::Exited(pid, code) => (pid, [EXITED, code]),
                Waited::Signalled(pid, signal) => (pid, [SIGNALLED, signal]),
                Waited::Living | Waited::Nobody => break,
            };
            if let Some(id) = running.remove(&pid.as_raw()) {
                tell(socket, [told[0], id, told[1]]);
            }
        }
        if !asked {
            continue;
        }
        let Some((order, fds)) = receive(socket)? else {
            return Ok(());
        };
        match order {
            [START, id, _] => match child(fds, &work) {
                Ok(pid) => {
                    running.insert(pid.as_raw(), id);
                }
                Err(_) => tell(socket, [EXITED, id, 125]),
            },
            [SIGNAL, id, signal] => {
                let pid = running.iter().find(|(_, known)| **known == id).map(|(pid, _)| *pid);
                if let (Some(pid), Ok(signal)) = (pid, Signal::try_from(signal)) {
                    // It was not waited for yet: its number is no other's.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
            _ => {}
        }
    }
}

/// Makes a process that works, in a group of its own; it dies with us.
fn child(fds: Vec<OwnedFd>, work: &impl Fn(Vec<OsString>) -> i32) -> io::Result<Pid> {
    let parent = getpid();
    process::fork(move || {
        let begin = || -> io::Result<Option<Vec<OsString>>> {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            SigSet::empty().thread_set_mask()?;
            if !process::on_parent_death(Signal::SIGKILL as i32, parent) {
                return Ok(None);
            }
            let mut fds = fds.into_iter();
            let (Some(list), Some(stdin), Some(stdout)) = (fds.next(), fds.next(), fds.next()) else {
                return Ok(None);
            };
            for held in fds {
                stay_open(&held)?;
                // It is open until the process ends.
                std::mem::forget(held);
            }
            process::replace(0, stdin.as_fd())?;
            process::replace(1, stdout.as_fd())?;
            let mut list = File::from(list);
            let mut bytes = Vec::new();
            list.read_to_end(&mut bytes)?;
            let args = bytes
                .split(|&byte| byte == 0)
                .map(|arg| OsString::from_vec(arg.to_vec()));
            Ok(Some(args.collect()))
        };
        match begin() {
            Ok(Some(args)) => work(args),
            Ok(None) | Err(_) => 125,
        }
    })
}

/// What is asked for next; `None` when nobody is there to ask.
fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<([i32; 3], Vec<OwnedFd>)>> {
    let mut bytes = [0; 12];
    let mut space = cmsg_space!([RawFd; MOST_HELD + 3]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
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
    Ok((message.bytes == 12).then(|| (numbers(&bytes), fds)))
}

fn tell(socket: BorrowedFd<'_>, numbers: [i32; 3]) {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    let _ = nix::sys::socket::send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
}

fn numbers(bytes: &[u8; 12]) -> [i32; 3] {
    let mut numbers = [0; 3];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *number = i32::from_ne_bytes(*bytes);
    }
    numbers
}
