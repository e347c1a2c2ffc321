//! The run itself: streams, signals and time in one loop, until the whole has come to its end.

mod hears;
mod slots;
mod starts;

use crate::add::Additions;
use crate::args::Args;
use crate::end::Ending;
use crate::journal::Log;
use crate::launch::{Ended, Running};
use crate::open::{order, write_new};
use crate::prepare::{Held, Waiting};
use crate::pump::{Pump, Told};
use crate::undo::Rollback;
use harmony::cli::{self, Failure, reason};
use harmony::line::Outcome;
use harmony::plan::{Act, Format, Graph, Journal, Plan, Schedule, Settled, Standing};
use harmony::role::Roles;
use harmony::run::{JOURNAL, Nursery};
use harmony::sink::Folder;
use harmony::worker::{Heard, Signals};
use nix::sys::signal::Signal;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a run is made in.
pub struct Setting<'a> {
    pub args: &'a Args,
    pub roles: &'a Roles,
    /// The run's folder.
    pub folder: &'a Path,
    /// The plan in it, and its form.
    pub plan: PathBuf,
    pub format: Format,
    /// The same, open.
    pub streams: &'a Folder,
    /// Where the locks of all plans lie.
    pub locks: Option<PathBuf>,
}

/// A run on its way.
pub struct Run<'a> {
    pub set: &'a Setting<'a>,
    pub plan: Plan,
    pub schedule: Schedule,
    pub log: Log,
    signals: Signals,
    pump: Pump,
    /// Starts the streams.
    pub nursery: Nursery,
    /// What they read where there is nothing to be read.
    pub null: File,
    joblog: Option<File>,
    /// What ran before this and ended well, with the key it ran under.
    before: HashMap<String, String>,
    /// A rollback that was cut short.
    undoing: bool,
    /// The keys of those that have started, or need not.
    keys: Vec<Option<String>>,
    running: Vec<Running>,
    /// Who waits for the end of a usage limit; or did, when it ended.
    parked: HashSet<usize>,
    waiting: Waiting,
    /// How many wait for what they need.
    preparing: usize,
    /// Who has all that it needs and waits for its turn.
    prepared: VecDeque<(usize, Held)>,
    /// Locks that our own streams hold, or wait for.
    locked: HashSet<String>,
    jobs: usize,
    pub ending: Option<Ending>,
    timeout: Option<Instant>,
    grace: Option<Instant>,
    cost: f64,
    asked: Option<Instant>,
    /// How many streams have ended, for the log of jobs.
    ended: u64,
    additions: Additions,
    /// Whether it was looked for additions at all.
    looked: bool,
}

impl<'a> Run<'a> {
    /// A run that begins, or goes on from what its journal tells.
    ///
    /// # Errors
    /// When no descriptor is left.
    #[allow(clippy::too_many_arguments)] // each of them once, in one place
    pub fn new(
        set: &'a Setting<'a>,
        plan: Plan,
        graph: Graph,
        ranks: &[usize],
        log: Log,
        journal: &Journal,
        signals: Signals,
        pump: Pump,
        nursery: Nursery,
        joblog: Option<File>,
    ) -> io::Result<Self> {
        let jobs = at_once(set.args, &plan);
        let now = Instant::now();
        let limits = [plan.wait.as_ref().and_then(|wait| wait.timeout()), set.args.max_time];
        let timeout = limits.into_iter().flatten().filter(|limit| !limit.is_zero()).min();
        let before = journal.well().into_iter();
        Ok(Self {
            keys: vec![None; plan.streams.len()],
            schedule: Schedule::new(graph, ranks, set.args.keep_going),
            before: before.map(|(name, key)| (name.to_owned(), key.to_owned())).collect(),
            undoing: journal.undoing(),
            waiting: Waiting::new()?,
            set,
            plan,
            log,
            signals,
            pump,
            nursery,
            null: File::open("/dev/null")?,
            joblog,
            running: Vec::new(),
            parked: HashSet::new(),
            preparing: 0,
            prepared: VecDeque::new(),
            locked: HashSet::new(),
            jobs,
            ending: None,
            timeout: timeout.and_then(|timeout| now.checked_add(timeout)),
            grace: None,
            cost: 0.0,
            asked: None,
            ended: 0,
            additions: Additions::watch(set.folder, set.args.max_streams, set.args.max_depth, journal)?,
            looked: false,
        })
    }

    /// Runs it; gives the exit code.
    pub fn until_it_ends(mut self) -> Result<u8, Failure> {
        if self.undoing {
            self.ending = Some(Ending::Unmet("it was being taken back".to_owned()));
        }
        loop {
            if let Err(error) = self.grow().and_then(|()| self.advance()) {
                self.end(Ending::failed(self.set.folder.display(), &error));
            }
            if self.ending.is_some() && self.running.is_empty() && !self.waiting.is_busy() {
                break;
            }
            self.wait();
            self.hear();
            self.prepared();
            self.reap();
        }
        self.finish()
    }

    /// Takes in what was added.
    fn grow(&mut self) -> io::Result<()> {
        let looked = std::mem::replace(&mut self.looked, true);
        if self.ending.is_some() || (looked && !self.additions.any()) {
            return Ok(());
        }
        let Some((plan, acts, files)) = self.additions.take(&self.plan, self.set.roles) else {
            return Ok(());
        };
        if plan != self.plan {
            let (graph, ranks) = order(&plan, self.set.roles).map_err(|failure| io::Error::other(failure.message))?;
            // The plan first: a stream that the journal tells of is one of the plan's.
            write_new(&self.set.plan, &plan.write(self.set.format))?;
            acts.into_iter().for_each(|act| self.log.note(act));
            self.log.write()?;
            self.schedule = self.schedule.grown(graph, &ranks);
            self.keys.resize(plan.streams.len(), None);
            self.plan = plan;
        }
        files.iter().try_for_each(std::fs::remove_file)
    }

    /// Starts what may start, and looks whether the whole has come to its end.
    fn advance(&mut self) -> io::Result<()> {
        while self.ending.is_none() {
            for settled in self.schedule.advance(&self.plan) {
                let name = |at: usize| self.plan.streams[at].name.clone();
                self.log.note(match settled {
                    Settled::Skipped(at, because) => {
                        cli::complain("cl-run", &format!("{}: skipped: {because}", name(at)));
                        Act::Skip {
                            stream: name(at),
                            because,
                        }
                    }
                    Settled::Unneeded(at) => Act::Unneeded { stream: name(at) },
                });
            }
            self.judge();
            if self.ending.is_some() || !self.start_one()? {
                break;
            }
        }
        self.log.write()?;
        self.log.sync_later();
        Ok(())
    }

    /// A stream has ended.
    fn over_with(&mut self, at: usize, outcome: Outcome) {
        self.pump.end(at);
        let stream = &self.plan.streams[at];
        for lock in &stream.locks {
            self.locked.remove(lock);
        }
        self.log.note(Act::End {
            stream: stream.name.clone(),
            outcome,
        });
        self.schedule.ended(&self.plan, at, outcome);
    }

    /// Looks who has ended.
    fn reap(&mut self) {
        self.nursery.hear();
        let mut place = 0;
        while place < self.running.len() {
            let Some(ended) = self.running[place].ended(&mut self.nursery) else {
                place += 1;
                continue;
            };
            let running = self.running.swap_remove(place);
            self.keys[running.at] = Some(running.key.clone());
            self.log_job(&running, &ended);
            self.cost += ended.exit.cost_usd.unwrap_or(0.0);
            self.over_with(running.at, ended.exit.outcome);
        }
    }

    fn log_job(&mut self, running: &Running, ended: &Ended) {
        let Some(joblog) = &mut self.joblog else { return };
        self.ended += 1;
        let exit = &ended.exit;
        let line = format!(
            "{}\t:\t{:.3}\t{:10.3}\t0\t{}\t{}\t{}\t{}\n",
            self.ended,
            running.began.seconds(),
            harmony::line::Ts::now().since(running.began).as_secs_f64(),
            exit.bytes,
            ended.code,
            exit.signal.as_deref().map_or(0, signal_number),
            running.command.replace('\n', " "),
        );
        if let Err(error) = joblog.write_all(line.as_bytes()) {
            let path = self.set.args.joblog.as_deref().unwrap_or(Path::new("joblog"));
            cli::complain("cl-run", &format!("{}: {}", path.display(), reason(&error)));
            self.joblog = None;
        }
    }

    /// Whether the whole is enough, or cannot be any more, or has taken too long.
    fn judge(&mut self) {
        let now = Instant::now();
        match self.schedule.standing(&self.plan) {
            Standing::Met => self.end(Ending::Met),
            Standing::Unmet(because) => self.end(Ending::Unmet(because)),
            Standing::Needed => {
                let grace = self
                    .plan
                    .wait
                    .as_ref()
                    .map(harmony::plan::Wait::grace)
                    .unwrap_or_default();
                let until = *self.grace.get_or_insert(now + grace);
                // What is needed is there, so the time that is up is only that for the rest.
                if until <= now || self.timeout.is_some_and(|timeout| timeout <= now) {
                    self.end(Ending::Met);
                }
            }
            Standing::Waiting if self.timeout.is_some_and(|timeout| timeout <= now) => self.end(Ending::Timeout),
            Standing::Waiting => {}
        }
        if let Some(most) = self.set.args.max_cost.filter(|most| self.cost >= *most) {
            let because = format!("it has cost {:.2} of {most:.2} US dollars", self.cost);
            self.end(Ending::Unmet(because));
        }
    }

    /// The whole has come to its end: what still runs is told so.
    fn end(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        self.tell_all(match &ending {
            Ending::Signal(number) => signal(*number),
            _ => Signal::SIGTERM,
        });
        self.schedule.over();
        self.waiting.over();
        self.prepared.clear();
        self.ending = Some(ending);
    }

    /// Tells all that run.
    fn tell_all(&mut self, signal: Signal) {
        self.running
            .iter()
            .for_each(|running| running.signal(&mut self.nursery, signal));
    }

    /// Takes those who have what they need.
    fn prepared(&mut self) {
        while let Some((at, ready)) = self.waiting.ready() {
            self.preparing -= 1;
            if self.ending.is_none()
                && let Err(error) = self.take(at, ready)
            {
                self.end(Ending::failed(self.set.folder.display(), &error));
            }
        }
    }

    /// What is left to do once nothing runs.
    fn finish(mut self) -> Result<u8, Failure> {
        let ending = self.ending.take().unwrap_or(Ending::Met);
        ending.tell();
        let journal = self.set.folder.join(JOURNAL);
        let own = |error: io::Error| Failure::io(journal.display(), &error);
        self.log.write().map_err(own)?;
        self.pump.rest();
        if !matches!(ending, Ending::Met) && (self.set.args.undo || self.undoing) {
            match Rollback::of(&mut self)?.run()? {
                None => {}
                Some(signal) => return Ok(128u8.wrapping_add(signal as u8)),
            }
        }
        self.log.note(Act::Finish {
            verdict: ending.verdict().to_owned(),
            because: ending.because(),
        });
        self.log.sync().map_err(own)?;
        self.drain(&ending)
    }

    /// Passes on what is left, however long its reader takes.
    fn drain(mut self, ending: &Ending) -> Result<u8, Failure> {
        self.pump.finish();
        loop {
            match self.pump.heard() {
                Some(Told::Parked { .. }) => continue,
                Some(Told::Failed(error)) => return Err(Failure::io("stdout", &error)),
                Some(Told::Done | Told::ReaderGone) => return Ok(ending.code()),
                None if matches!(ending, Ending::ReaderGone | Ending::Failed(_)) => return Ok(ending.code()),
                None => {}
            }
            self.wait_for_pump();
            while let Some(heard) = self.signals.next() {
                if let Heard::End(signal) = heard {
                    return Ok(128u8.wrapping_add(signal as u8));
                }
            }
        }
    }
}

/// How many streams run at once at most.
pub fn at_once(args: &Args, plan: &Plan) -> usize {
    match args.jobs.unwrap_or(plan.jobs) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs as usize,
    }
}

/// The signal of a number; one that has none asks to end all the same.
pub fn signal(number: i32) -> Signal {
    Signal::try_from(number).unwrap_or(Signal::SIGTERM)
}

/// The number of a signal that has this name.
fn signal_number(name: &str) -> i32 {
    name.parse::<Signal>().map_or(0, |signal| signal as i32)
}
