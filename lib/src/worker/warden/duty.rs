//! What a warden does: it starts the worker, reaps, passes signals on, and ends what is left.

use super::{Command, Report};
use crate::outcome::End;
use crate::sys::process::{self, Usage, Waited};
use crate::sys::spawn::Launch;
use crate::sys::tree;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getpid};
use std::time::{Duration, Instant};

/// A worker and all that descends from it, which descends from us as well.
#[derive(Debug)]
pub(in crate::worker) struct Duty {
    worker: Option<Pid>,
    ended: bool,
    usage: Usage,
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
#[derive(Debug)]
struct Weight {
    nice: i32,
    again: Instant,
    tries: u32,
}

impl Duty {
    /// Starts the worker; what is to be reported of that.
    pub(super) fn begin(launch: Launch) -> (Self, Report) {
        let weight = (launch.nice != 0).then(|| Weight {
            nice: if launch.nice > 0 {
                (launch.nice + 9).min(19)
            } else {
                launch.nice
            },
            again: Instant::now(),
            tries: 100,
        });
        let mut duty = Self {
            worker: None,
            ended: false,
            usage: Usage::default(),
            orphans: 0,
            kill_at: None,
            killing: false,
            weight,
        };
        duty.weigh();
        let report = match launch.start() {
            Ok(pid) => {
                duty.worker = Some(pid);
                Report::Started(pid.as_raw())
            }
            Err(error) => {
                duty.ended = true;
                Report::unstartable(&error)
            }
        };
        (duty, report)
    }

    /// When there is something to do though nobody says so.
    pub(super) fn next(&self) -> Option<Instant> {
        let weight = self.weight.as_ref().map(|weight| weight.again);
        self.kill_at.into_iter().chain(weight).min()
    }

    /// Does what is due, and reports what has happened. Whether nobody is left, which is the last report.
    pub(super) fn work(&mut self, mut say: impl FnMut(Report)) -> bool {
        self.weigh();
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            (self.kill_at, self.killing) = (None, true);
        }
        if self.killing {
            // Again after each end, for a process may make another while it is being ended.
            signal_all(Signal::SIGKILL);
        }
        let empty = self.reap(&mut say);
        if empty {
            say(Report::Empty {
                orphans: self.orphans,
                cpu: self.usage.cpu,
                rss: self.usage.rss,
            });
        }
        empty
    }

    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Signal(number) if !self.ended => {
                if let (Some(worker), Ok(signal)) = (self.worker, Signal::try_from(number)) {
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
            Command::Signal(_) => {}
            Command::Everyone(number) => {
                if let Ok(signal) = Signal::try_from(number) {
                    signal_all(signal);
                }
            }
            Command::Sweep(after) => {
                self.orphans = tree::descendants(getpid().as_raw()).len() as u32;
                signal_all(Signal::SIGTERM);
                signal_all(Signal::SIGCONT);
                self.kill_at = Some(Instant::now() + after);
            }
            Command::KillAll => {
                self.killing = true;
                signal_all(Signal::SIGKILL);
            }
        }
    }

    /// Waits for whoever has ended; whether nobody is left.
    fn reap(&mut self, say: &mut impl FnMut(Report)) -> bool {
        loop {
            let (pid, end) = match process::reap(&mut self.usage) {
                Waited::Exited(pid, code) => (pid, End::Exited(code)),
                Waited::Signalled(pid, signal) => (pid, End::Signalled(signal)),
                Waited::Living => return false,
                Waited::Nobody => return self.ended,
            };
            if Some(pid) == self.worker {
                self.ended = true;
                say(Report::Ended(end));
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
}

fn signal_all(signal: Signal) {
    for pid in tree::descendants(getpid().as_raw()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
