//! What must hold of a case that is over, whatever was done to it.

mod records;

use crate::commands::Site;
use crate::plan::{Case, Filter, Join, Policy, Reader, Target, Tee, Work};
use crate::prose;
use crate::run::Outcome;
use nix::sys::signal::Signal;
use std::fs;
use std::time::Duration;

/// So long what a killed cl-spawn has started may live on.
pub const OUTLIVE: Duration = Duration::from_secs(1);
/// So long after the last reason everything may take to end, on a loaded machine.
const LATE: Duration = Duration::from_secs(5);
/// So much longer where a filter was told to end: it hears out its writers for 5 seconds, its readers for one.
const WRAP_UP: Duration = Duration::from_millis(6500);

/// The figures of a case, and what is wrong.
#[derive(Debug, Default)]
pub struct Report {
    pub faults: u64,
    pub sent: u64,
    pub lost: u64,
    pub left: u64,
    /// From the last reason to end to the end.
    pub delay: Duration,
    /// The same where a filter was told to end, which first hears out its writers and readers.
    pub wrap_up: Duration,
    pub wrong: Vec<String>,
}

/// What a worker's ledger says of one attempt.
#[derive(Debug, Default)]
struct Ledger {
    begun: bool,
    intended: u64,
    written: u64,
    finished: bool,
    code: i32,
    bytes: Vec<u8>,
}

struct Check<'a> {
    case: &'a Case,
    site: &'a Site,
    seen: &'a Outcome,
    /// By stream and attempt.
    ledgers: Vec<Vec<Ledger>>,
    report: Report,
}

/// Checks a case.
pub fn check(case: &Case, site: &Site, seen: &Outcome) -> Report {
    let ledgers: Vec<Vec<Ledger>> = (0..case.spawns.len()).map(|at| ledgers(case, site, at)).collect();
    let mut check = Check {
        case,
        site,
        seen,
        ledgers,
        report: Report {
            faults: seen.done.len() as u64,
            left: seen.left.len() as u64,
            ..Report::default()
        },
    };
    check.report.sent = check.ledgers.iter().flatten().map(|ledger| ledger.written).sum();
    check.processes();
    // What hung was ended by force: nothing else is to be learned of it.
    if seen.hangs.is_empty() {
        check.codes();
        check.records();
        check.shown();
    }
    check.report
}

fn ledgers(case: &Case, site: &Site, spawn: usize) -> Vec<Ledger> {
    let mut all: Vec<Ledger> = Vec::new();
    for attempt in 1..=case.spawns[spawn].retries + 1 {
        // An attempt that was ended before its first word has none.
        let numbers = fs::read(site.ledger(spawn, attempt)).unwrap_or_default();
        let number = |place: usize| {
            let bytes = numbers
                .get(place * 8..place * 8 + 8)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let bytes = match &case.spawns[spawn].work {
            Work::Seeded(work) => prose::lines(work.seed, attempt, work.count, work.size)
                .flatten()
                .collect(),
            Work::Kept { .. } => {
                fs::read(site.folder.join(format!("ledgers/s{spawn}.{attempt}.said"))).unwrap_or_default()
            }
        };
        all.push(Ledger {
            begun: !numbers.is_empty(),
            intended: number(0),
            written: number(1),
            finished: number(2) == 1,
            code: number(3) as i32,
            bytes,
        });
    }
    all
}

impl Check<'_> {
    fn wrong(&mut self, what: String) {
        self.report.wrong.push(what);
    }

    /// How often that signal was sent there.
    fn sent(&self, on: Target, signal: Signal) -> usize {
        let those = self
            .seen
            .done
            .iter()
            .filter(|done| done.on == on && done.signal == signal);
        those.count()
    }

    /// Whether it was ended by force, before it was ready for anything else, or told twice.
    fn forced(&self, on: Target) -> bool {
        let unready = |signal| {
            self.seen
                .done
                .iter()
                .any(|done| done.on == on && done.signal == signal && !done.heeded)
        };
        self.sent(on, Signal::SIGKILL) > 0 || unready(Signal::SIGTERM) || self.sent(on, Signal::SIGTERM) > 1
    }

    /// Whether it goes on without a reader, for it has something else to write to.
    fn pipes(&self, at: usize) -> bool {
        let lasts = |tee: &Tee| (tee.file || tee.split) && tee.disk.is_none();
        matches!(&self.case.filters[at], Filter::Tee(tee) if tee.pipes && lasts(tee))
    }

    /// Whether it may have ended while there was something left to read.
    fn ends_early(&self, at: usize) -> bool {
        match self.case.filters.get(at) {
            None => matches!(self.case.reader, Reader::Dies(_)),
            Some(Filter::Wait { policy, .. }) => {
                let all = self.seen.spawns.iter().all(|spawn| spawn.code() == Some(0));
                self.sent(Target::Filter(at), Signal::SIGTERM) > 0
                    || self.forced(Target::Filter(at))
                    || *policy != Policy::All
                    || !all
            }
            Some(_) => self.forced(Target::Filter(at)),
        }
    }

    /// Whether what a filter writes may have found no reader.
    fn cut_behind(&self, at: usize) -> bool {
        for next in at + 1..=self.case.filters.len() {
            if self.pipes(next - 1) {
                return false;
            }
            if self.ends_early(next) {
                return true;
            }
        }
        false
    }

    /// Whether all that reaches cl-merge must have come out of this filter.
    fn passes(&self, at: usize) -> bool {
        (0..=at).all(|at| !self.ends_early(at)) && !self.cut_behind(at)
    }

    fn processes(&mut self) {
        for hangs in &self.seen.hangs {
            self.report.wrong.push(format!("hangs: {hangs}"));
        }
        for left in &self.seen.left {
            self.report.wrong.push(format!("left behind: {left}"));
        }
        let told = (0..self.case.filters.len()).any(|at| self.sent(Target::Filter(at), Signal::SIGTERM) > 0);
        let (late, figure) = match told {
            true => (LATE + WRAP_UP, &mut self.report.wrap_up),
            false => (LATE, &mut self.report.delay),
        };
        *figure = self.seen.delay;
        if self.seen.delay > late {
            self.wrong(format!("ended {:?} after the last reason to", self.seen.delay));
        }
        for entry in fs::read_dir(self.site.folder.join("err"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let said = fs::read_to_string(entry.path()).unwrap_or_default();
            if said.contains("panicked") {
                self.wrong(format!("{:?}: {said}", entry.file_name()));
            }
        }
    }

    /// Whether the worker did all it had to do, and well.
    fn works(&self, spawn: usize) -> bool {
        self.natural(spawn) == Some(0)
    }

    /// The exit code of the last attempt, where the worker came to its end.
    fn natural(&self, spawn: usize) -> Option<i32> {
        let hangs = matches!(&self.case.spawns[spawn].work, Work::Seeded(work) if work.hang);
        let last = self.ledgers[spawn].iter().rfind(|ledger| ledger.begun)?;
        (last.finished && !hangs).then_some(last.code)
    }

    fn codes(&mut self) {
        for at in 0..self.seen.spawns.len() {
            let mut may: Vec<i32> = self.natural(at).into_iter().collect();
            let (spawn, warden, worker) = (Target::Spawn(at), Target::Warden(at), Target::Worker(at));
            if self.sent(spawn, Signal::SIGKILL)
                + self.sent(warden, Signal::SIGKILL)
                + self.sent(worker, Signal::SIGKILL)
                > 0
            {
                may.push(137);
            }
            if self.sent(spawn, Signal::SIGTERM) + self.sent(worker, Signal::SIGTERM) > 0 {
                may.push(143);
            }
            if self.ends_early(0) || self.cut_behind(0) {
                may.push(141);
            }
            let code = self.seen.spawns[at].code();
            if code.is_none_or(|code| !may.contains(&code)) {
                self.wrong(format!("cl-spawn s{at} exits with {code:?}, not one of {may:?}"));
            }
        }
        for at in 0..self.seen.filters.len() {
            let on = Target::Filter(at);
            let mut may = vec![0];
            may.extend((self.sent(on, Signal::SIGKILL) > 0).then_some(137));
            may.extend((self.sent(on, Signal::SIGTERM) > 0).then_some(143));
            match &self.case.filters[at] {
                Filter::Tee(tee) => may.extend(self.tee_may_fail(tee).then_some(1)),
                Filter::Wait { pass, .. } => {
                    may.push(1);
                    may.extend((*pass && matches!(self.case.reader, Reader::Dies(_))).then_some(141));
                }
                Filter::Merge { .. } | Filter::Progress { .. } => {}
            }
            let code = self.seen.filters[at].code();
            if code.is_none_or(|code| !may.contains(&code)) {
                self.wrong(format!("filter {at} exits with {code:?}, not one of {may:?}"));
            }
            if let Filter::Wait { policy, .. } = &self.case.filters[at] {
                self.verdict(at, *policy, code);
            }
        }
    }

    fn tee_may_fail(&self, tee: &Tee) -> bool {
        let dies = matches!(tee.fifo, Some(Reader::Dies(_))) && !tee.pipes;
        dies || tee.disk.is_some() || tee.on_full == "close"
    }

    /// 0 means that it worked; 1, that it could not.
    fn verdict(&mut self, at: usize, policy: Policy, code: Option<i32>) {
        let count = self.case.spawns.len();
        let broken = (0..at).any(|at| self.ends_early(at));
        let good = |all: &dyn Fn(usize) -> bool| match policy {
            Policy::All | Policy::Expected => (0..count).all(all),
            Policy::First | Policy::Any => (0..count).any(all),
            Policy::Need => all(0),
        };
        // Nothing at all may come through what is broken: all of nothing is there. And of a stream that was ended before
        // its first word nobody knows on a pipe.
        let unknown =
            |one| policy == Policy::All && (broken || self.case.join == Join::Pipe && self.forced(Target::Spawn(one)));
        let hasty = code == Some(0) && !good(&|one| self.works(one) || unknown(one));
        let blind = code == Some(1) && !broken && good(&|one| self.seen.spawns[one].code() == Some(0));
        if hasty {
            self.wrong("cl-wait says 0, but that is not so".to_owned());
        }
        if blind {
            self.wrong("cl-wait says 1, but enough is there".to_owned());
        }
    }
}
