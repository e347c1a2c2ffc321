//! What both sides tell each other: three numbers, a text, and descriptors.

use crate::sys::fds::received;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The most descriptors that a task is given beside its arguments, stdin and stdout.
pub(super) const MOST_HELD: usize = 200;

/// Arguments that are longer than this in all come in a file.
pub(super) const INLINE: usize = 32 << 10;

/// Bytes ahead of the text: what it is, of which process or bell, and a number more.
pub(super) const HEAD: usize = 12;

/// To the program: make a process, which hears on this descriptor what it is to do.
pub(super) const MAKE: i32 = 0;
/// To the program: this signal for that process.
pub(super) const SIGNAL: i32 = 1;
/// To a process: a task, and whose bell is rung for what it writes. The number more says whether its arguments come in
/// a file.
pub(super) const TASK: i32 = 2;
/// From a process: the task has ended with that code, and it would take another.
pub(super) const DONE: i32 = 3;
/// From a process: the task has ended with that code, and it takes no other.
pub(super) const LAST: i32 = 4;
/// From the program: that process has exited with that code.
pub(super) const EXITED: i32 = 5;
/// From the program: that process was ended by that signal.
pub(super) const SIGNALLED: i32 = 6;

/// Tells the other side.
///
/// # Errors
/// When nobody is there, or the system says so.
pub(super) fn send(socket: BorrowedFd<'_>, numbers: [i32; 3], text: &[u8], fds: &[RawFd]) -> io::Result<()> {
    let mut head = [0; HEAD];
    for (bytes, number) in head.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
        *bytes = number.to_ne_bytes();
    }
    let parts = [IoSlice::new(&head), IoSlice::new(text)];
    let rights = [ControlMessage::ScmRights(fds)];
    let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &parts, rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop).map_err(io::Error::from),
        }
    }
}

/// What the other side has told.
pub(super) struct Told<'a> {
    pub(super) numbers: [i32; 3],
    pub(super) text: &'a [u8],
    /// All of them, or none where not all could be taken.
    pub(super) fds: Vec<OwnedFd>,
}

/// Room for what the other side tells.
pub(super) struct Space(Vec<u8>);

impl Space {
    /// For any message.
    pub(super) fn new() -> Self {
        Self(vec![0; HEAD + INLINE])
    }

    /// What is told next; `None` when nobody is there to tell anything.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Option<Told<'_>>> {
        let mut rights = cmsg_space!([RawFd; MOST_HELD + 3]);
        let mut fds = Vec::new();
        let count = {
            let mut parts = [IoSliceMut::new(&mut self.0)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = loop {
                match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut rights), flags) {
                    Err(Errno::EINTR) => {}
                    Err(Errno::ECONNRESET) => return Ok(None),
                    told => break told?,
                }
            };
            let rights = match message.cmsgs() {
                Ok(rights) => rights.collect(),
                // They found no room in our table; whoever misses them says so.
                Err(_) => Vec::new(),
            };
            for part in rights {
                if let ControlMessageOwned::ScmRights(rights) = part {
                    fds.extend(rights.into_iter().map(received));
                }
            }
            message.bytes
        };
        Ok(self.0[..count].split_first_chunk::<HEAD>().map(|(head, text)| Told {
            numbers: numbers(head),
            text,
            fds,
        }))
    }
}

/// The numbers of a message.
pub(super) fn numbers(head: &[u8; HEAD]) -> [i32; 3] {
    let mut numbers = [0; 3];
    for (number, bytes) in numbers.iter_mut().zip(head.as_chunks::<4>().0) {
        *number = i32::from_ne_bytes(*bytes);
    }
    numbers
}
