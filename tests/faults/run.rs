//! Starts a case's pipeline, does to it what is planned, and waits for its end.

use crate::commands::{self, Site};
use crate::plan::{Case, Fault, Filter, Join, Reader, Target, What, Work};
use crate::processes;
use crate::reader::{Reading, Taken};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// So long after the last thing that was done to it a pipeline that still runs hangs.
const HANGS: Duration = Duration::from_secs(20);

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(3);

/// What became of a case.
pub struct Outcome {
    pub spawns: Vec<Ended>,
    pub filters: Vec<Ended>,
    /// What came out of the end of the pipe.
    pub out: Vec<u8>,
    /// What the reader of cl-tee's FIFO got.
    pub fifo: Option<Vec<u8>>,
    pub done: Vec<Done>,
    /// What had not ended when everything should have.
    pub hangs: Vec<String>,
    /// What was left behind.
    pub left: Vec<String>,
    /// From the last reason to end to the end.
    pub delay: Duration,
    /// The longest that something lived on after its cl-spawn was killed.
    pub outlived: Duration,
}

/// How a process of the pipeline ended; one that never began has no code.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub status: Option<ExitStatus>,
}

impl Ended {
    /// The exit code as a shell says it.
    pub fn code(self) -> Option<i32> {
        let status = self.status?;
        status.code().or_else(|| Some(128 + status.signal()?))
    }
}

/// A signal that was sent.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub on: Target,
    pub signal: Signal,
    /// Whether the process had made its arrangements for it.
    pub heeded: bool,
}

struct Live<'a> {
    case: &'a Case,
    site: &'a Site,
    spawns: Vec<Running>,
    filters: Vec<Running>,
    done: Vec<Done>,
    /// When something was last done to it.
    last: Instant,
    /// The CONTs that are due.
    conts: Vec<(Instant, Target, i32)>,
    /// The cl-spawns that were killed, and when: their processes have a second.
    killed: Vec<(usize, Instant)>,
    outlived: Duration,
    left: Vec<String>,
}

struct Running {
    child: Child,
    ended: Option<(ExitStatus, Instant)>,
}

impl Running {
    fn look(&mut self) -> bool {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended = Some((status, Instant::now()));
        }
        self.ended.is_some()
    }
}

/// Runs a case.
pub fn run(case: &Case, site: &Site) -> Outcome {
    commands::prepare(case, site);
    let (end, fifo, mut live) = start(case, site);
    let begun = Instant::now();
    let hangs = live.watch(begun);
    let all_ended = live
        .spawns
        .iter()
        .chain(&live.filters)
        .filter_map(|running| running.ended);
    let ended = all_ended.map(|(_, at)| at).max().unwrap_or(begun);
    let end = end.end();
    let fifo = fifo.map(Reading::end);
    live.sweep();
    let mut reason = live.last.max(begun);
    for (taken, how) in [(Some(&end), Some(case.reader)), (fifo.as_ref(), fifo_reader(case))] {
        // Whoever reads in its own time sets the pace.
        if let (Some(taken), Some(Reader::Slow(..) | Reader::Stops(..))) = (taken, how) {
            reason = reason.max(taken.last);
        }
    }
    let written = written(site).map_or(begun, |age| Instant::now().checked_sub(age).unwrap_or(begun));
    Outcome {
        delay: ended.saturating_duration_since(reason.max(written)),
        spawns: live.spawns.iter().map(Running::how).collect(),
        filters: live.filters.iter().map(Running::how).collect(),
        out: end.bytes,
        fifo: fifo.map(|taken: Taken| taken.bytes),
        done: live.done,
        hangs,
        left: live.left,
        outlived: live.outlived,
    }
}

impl Running {
    fn how(&self) -> Ended {
        Ended {
            status: self.ended.map(|(status, _)| status),
        }
    }
}

/// How long ago a worker last wrote.
fn written(site: &Site) -> Option<Duration> {
    let ledgers = std::fs::read_dir(site.folder.join("ledgers")).ok()?;
    let at = ledgers
        .flatten()
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max()?;
    SystemTime::now().duration_since(at).ok()
}

fn fifo_reader(case: &Case) -> Option<Reader> {
    case.filters.iter().find_map(|filter| match filter {
        Filter::Tee(tee) => tee.fifo,
        _ => None,
    })
}

fn start<'a>(case: &'a Case, site: &'a Site) -> (Reading, Option<Reading>, Live<'a>) {
    let (mut input, shared) = match case.join {
        Join::Pipe => {
            let (read, write) = pipe();
            (Some(read), Some(write))
        }
        Join::Fifos => (None, None),
    };
    let mut filters = Vec::new();
    for at in 0..case.filters.len() {
        let (read, write) = pipe();
        let mut command = commands::filter(case, site, at);
        command
            .stdin(input.take().map_or_else(Stdio::null, Stdio::from))
            .stdout(write);
        filters.push(begin(command));
        input = Some(read);
    }
    let end = Reading::start(File::from(input.expect("there is a filter")), case.reader);
    let fifo = fifo_reader(case).filter(|how| *how != Reader::Never).map(|how| {
        let fifo = open(
            &site.sink(),
            OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        let fifo = File::from(fifo.expect("opens a FIFO"));
        waits(&fifo);
        Reading::start(fifo, how)
    });
    let mut spawns = Vec::new();
    for at in 0..case.spawns.len() {
        let stdout = match &shared {
            Some(pipe) => pipe.try_clone().expect("has a descriptor left"),
            None => fifo_for_writing(site, at, &mut filters[0]),
        };
        let mut command = commands::spawn(case, site, at);
        command.stdin(Stdio::null()).stdout(stdout);
        spawns.push(begin(command));
    }
    let live = Live {
        case,
        site,
        spawns,
        filters,
        done: Vec::new(),
        last: Instant::now(),
        conts: Vec::new(),
        killed: Vec::new(),
        outlived: Duration::ZERO,
        left: Vec::new(),
    };
    (end, fifo, live)
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = std::io::pipe().expect("has a descriptor left");
    (read.into(), write.into())
}

fn begin(mut command: std::process::Command) -> Running {
    let child = command.spawn().expect("starts");
    Running { child, ended: None }
}

/// A FIFO as a shell opens it for a program's stdout: cl-merge will read it. When that has ended already, a pipe that
/// nobody reads.
fn fifo_for_writing(site: &Site, at: usize, merge: &mut Running) -> OwnedFd {
    let begun = Instant::now();
    loop {
        if merge.look() {
            return pipe().1;
        }
        match open(
            &site.source(at),
            OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            Ok(fifo) => {
                let fifo = File::from(fifo);
                waits(&fifo);
                return fifo.into();
            }
            Err(Errno::ENXIO) if begun.elapsed() < HANGS => std::thread::sleep(LOOK),
            Err(error) => panic!("cl-merge does not open its FIFO: {error}"),
        }
    }
}

/// Makes reads and writes wait again.
fn waits(file: &File) {
    fcntl(file, FcntlArg::F_SETFL(OFlag::empty())).expect("is open");
}

impl Live<'_> {
    /// Does what is planned until all have ended; what hangs.
    fn watch(&mut self, begun: Instant) -> Vec<String> {
        let mut faults: Vec<Fault> = self.case.faults.clone();
        let mut quiet_since = None;
        loop {
            let now = Instant::now();
            while let Some(fault) = faults.first().copied().filter(|fault| begun + fault.at <= now) {
                faults.remove(0);
                self.strike(fault);
            }
            let (due, later) = self.conts.iter().partition(|(at, ..)| *at <= now);
            self.conts = later;
            let due: Vec<(Instant, Target, i32)> = due;
            for (_, on, pid) in due {
                if self.lives(on, pid) {
                    processes::send(pid, Signal::SIGCONT);
                    self.last = Instant::now();
                }
            }
            let mut ended = true;
            for running in self.spawns.iter_mut().chain(&mut self.filters) {
                ended &= running.look();
            }
            self.watch_killed();
            if ended {
                return Vec::new();
            }
            if faults.is_empty() && self.conts.is_empty() {
                self.bring_to_an_end(&mut quiet_since);
            }
            if now.saturating_duration_since(self.last) > HANGS {
                return self.give_up();
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Whether that process may be sent something: ours are known by their number until they were waited for.
    fn lives(&mut self, on: Target, pid: i32) -> bool {
        match on {
            Target::Spawn(at) => !self.spawns[at].look(),
            Target::Filter(at) => !self.filters[at].look(),
            Target::Warden(at) | Target::Worker(at) => processes::marked(&self.site.mark(at)).contains(&pid),
        }
    }

    fn pid(&mut self, on: Target) -> Option<i32> {
        let (at, spawns) = match on {
            Target::Filter(at) => return (!self.filters[at].look()).then_some(self.filters[at].child.id() as i32),
            Target::Spawn(at) | Target::Warden(at) | Target::Worker(at) => (at, &mut self.spawns),
        };
        let spawn = (!spawns[at].look()).then_some(spawns[at].child.id() as i32)?;
        match on {
            Target::Warden(_) => processes::warden(spawn),
            Target::Worker(_) => processes::worker(spawn),
            _ => Some(spawn),
        }
    }

    fn strike(&mut self, fault: Fault) {
        let Some(pid) = self.pid(fault.on) else { return };
        let signal = match fault.what {
            What::Kill => Signal::SIGKILL,
            What::Term => Signal::SIGTERM,
            What::Cont => Signal::SIGCONT,
            What::Stop(pause) => {
                self.conts.push((Instant::now() + pause, fault.on, pid));
                Signal::SIGSTOP
            }
        };
        self.send(fault.on, pid, signal);
    }

    fn send(&mut self, on: Target, pid: i32, signal: Signal) {
        let heeded = processes::heeds(pid, signal);
        if !processes::send(pid, signal) {
            return;
        }
        self.last = Instant::now();
        self.done.push(Done { on, signal, heeded });
        if let (Target::Spawn(at), Signal::SIGKILL) = (on, signal) {
            self.killed.push((at, self.last));
        }
    }

    /// Looks whether what a killed cl-spawn started has ended.
    fn watch_killed(&mut self) {
        let killed = std::mem::take(&mut self.killed);
        for (at, when) in killed {
            let alive = processes::marked(&self.site.mark(at));
            let age = when.elapsed();
            if alive.is_empty() {
                self.outlived = self.outlived.max(age);
            } else if age > super::check::OUTLIVE {
                let those = alive.iter().map(|&pid| processes::picture(pid));
                self.left
                    .extend(those.map(|one| format!("{age:?} after cl-spawn {at} was killed: {one}")));
            } else {
                self.killed.push((at, when));
            }
        }
    }

    /// Tells to end what would not end by itself, once nothing else happens.
    fn bring_to_an_end(&mut self, quiet_since: &mut Option<Instant>) {
        let mut hanging = Vec::new();
        let mut working = false;
        for (at, spawn) in self
            .spawns
            .iter_mut()
            .enumerate()
            .filter(|(_, spawn)| spawn.ended.is_none())
        {
            match &self.case.spawns[at].work {
                Work::Seeded(seeded) if seeded.hang => hanging.push((Target::Spawn(at), spawn.child.id() as i32)),
                _ => working = true,
            }
        }
        if working {
            *quiet_since = None;
            return;
        }
        let since = *quiet_since.get_or_insert(Instant::now());
        if since.elapsed() < Duration::from_millis(200) {
            return;
        }
        // One thing after another: first the workers, then what waits for somebody who never comes.
        let merges = self.filters[0].ended.is_none() && self.case.unopened;
        let tees = |filter: &Filter| matches!(filter, Filter::Tee(tee) if tee.fifo == Some(Reader::Never));
        let next = if !hanging.is_empty() {
            hanging
        } else if merges {
            vec![(Target::Filter(0), self.filters[0].child.id() as i32)]
        } else if let Some(at) = self
            .case
            .filters
            .iter()
            .position(tees)
            .filter(|&at| self.filters[at].ended.is_none())
        {
            vec![(Target::Filter(at), self.filters[at].child.id() as i32)]
        } else {
            return;
        };
        for (on, pid) in next {
            let told = self
                .done
                .iter()
                .filter(|done| done.on == on && done.signal == Signal::SIGTERM);
            // What the plan has told to end already needs no second word.
            if told.count() == 0 {
                self.send(on, pid, Signal::SIGTERM);
            }
        }
        *quiet_since = None;
    }

    /// Ends by force what hangs; what that is.
    fn give_up(&mut self) -> Vec<String> {
        let all = processes::marked(&self.site.tag);
        let pictures = all.iter().map(|&pid| processes::picture(pid)).collect();
        for running in self.spawns.iter_mut().chain(&mut self.filters) {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        pictures
    }

    /// Finds and ends what was left behind.
    fn sweep(&mut self) {
        let begun = Instant::now();
        loop {
            let alive = processes::marked(&self.site.tag);
            if alive.is_empty() {
                return;
            }
            if begun.elapsed() > super::check::OUTLIVE {
                for pid in alive {
                    self.left.push(format!("at the end: {}", processes::picture(pid)));
                    processes::send(pid, Signal::SIGKILL);
                }
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}
