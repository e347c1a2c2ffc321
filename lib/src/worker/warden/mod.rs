//! The warden: it stands between us and the worker, and sees to it that nothing of the worker is left.
//!
//! It is the parent of the worker and adopts whatever the worker's descendants leave behind, in whatever session or
//! group they hide, so that all of them can be found and ended. Usually it is a process of its own ([`apart`]), which
//! outlives us by an instant. Where whoever started us does that part anyway, we do the rest ourselves: a process less.

mod apart;
mod duty;

use crate::outcome::End;
use crate::sys::process;
use crate::sys::spawn::Launch;
use crate::sys::tree::{self, Load};
use apart::Apart;
use duty::Duty;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
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
    /// The warden is gone; so is the worker, and so many that it left behind.
    Gone { orphans: u32 },
}

impl Report {
    /// The worker could not be started.
    fn unstartable(error: &io::Error) -> Self {
        Self::Ended(End::Unstartable(error.raw_os_error().unwrap_or(libc::EINVAL)))
    }
}

/// Our side of a warden.
#[derive(Debug)]
pub(super) enum Warden {
    /// A process of its own.
    Apart(Apart),
    /// Ourselves. While the worker is started we stand still, on a folder of a dead network mount for as long as that
    /// takes; only KILL is heard then.
    Within {
        duty: Duty,
        reports: VecDeque<Report>,
        closed: bool,
        /// CPU seconds of what we had reaped before: of earlier attempts, and of earlier streams.
        before: f64,
    },
}

impl Warden {
    /// Starts a warden that starts the worker; `within` says that it is ourselves, for what we leave behind is ended
    /// by whoever started us.
    ///
    /// # Errors
    /// When the system has no process or descriptor left.
    pub(super) fn launch(launch: Launch, within: bool) -> io::Result<Self> {
        process::adopt_orphans()?;
        if !within {
            return Apart::launch(launch).map(Self::Apart);
        }
        let before = process::children_usage().0;
        let (duty, report) = Duty::begin(launch);
        Ok(Self::Within {
            duty,
            reports: VecDeque::from([report]),
            closed: false,
            before,
        })
    }

    /// What the worker's tree uses and has used.
    pub(super) fn load(&self) -> Load {
        match self {
            Self::Apart(apart) => tree::load(apart.pid()),
            Self::Within { before, .. } => {
                let load = tree::load(nix::unistd::getpid().as_raw());
                Load {
                    cpu: (load.cpu - before).max(0.0),
                    ..load
                }
            }
        }
    }

    /// What is readable when there is a report, beside what [`Warden::wake`] is for.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Apart(apart) => Some(apart.fd()),
            Self::Within { .. } => None,
        }
    }

    /// When to ask for a report at the latest.
    pub(super) fn next(&self) -> Option<Instant> {
        match self {
            Self::Apart(_) => None,
            Self::Within { duty, reports, .. } if reports.is_empty() => duty.next(),
            Self::Within { .. } => Some(Instant::now()),
        }
    }

    /// Tells the warden; one that is gone needs no telling.
    pub(super) fn tell(&mut self, command: Command) {
        match self {
            Self::Apart(apart) => apart.tell(command),
            Self::Within { duty, .. } => duty.obey(command),
        }
    }

    /// A child of ours has changed its state: a warden that somebody has stopped goes on.
    pub(super) fn wake(&mut self) {
        if let Self::Apart(apart) = self {
            apart.wake();
        }
    }

    /// The next report, if there is one.
    pub(super) fn report(&mut self) -> Option<Report> {
        match self {
            Self::Apart(apart) => apart.report(),
            Self::Within {
                duty, reports, closed, ..
            } => {
                if reports.is_empty() && !*closed {
                    *closed = duty.work(|report| reports.push_back(report));
                }
                reports.pop_front()
            }
        }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        if let Self::Within { closed: false, .. } = self {
            tree::end_all(&[]);
        }
    }
}
