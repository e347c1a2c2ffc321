//! What must hold of a case that is over, whatever was done to it.

use crate::commands::{Site, tee_limit};
use crate::plan::{Case, Disk, Filter, Join, Policy, Reader, Target, Tee, Work};
use crate::prose;
use crate::record::{End, Record, Stream};
use crate::run::Outcome;
use harmony::line::{Exit, Outcome as Word};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
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

    fn records(&mut self) {
        let last = self.case.filters.len() - 1;
        let mut end = Record::default();
        end.read(&self.seen.out);
        let waits = matches!(self.case.filters[last], Filter::Wait { pass: false, .. });
        if let Some(verdict) = end.verdict.take() {
            self.told(&verdict);
        }
        if !waits {
            let whole = self.passes(last) && !self.ends_early(last + 1);
            self.record("the end", end, whole, false);
        }
        // The case outlives us: it is not held by `self`.
        let case = self.case;
        let Some((at, tee)) = tee(case) else { return };
        let Tee {
            file,
            split,
            fifo,
            disk,
            on_full,
            ..
        } = *tee;
        let files = self.site.files(tee);
        let whole = self.passes(at);
        // A disk that was full is told; where it is not told, nothing is missing.
        let told = self.seen.filters[at]
            .code()
            .is_some_and(|code| code == 1 || code == 143);
        let limited = disk.is_some() && tee_limit(self.site, tee).is_some();
        let full = disk == Some(Disk::Files) || limited;
        if file {
            let mut record = Record::default();
            record.read(&fs::read(files.join("all.ndjson")).unwrap_or_default());
            self.record("the file", record, whole && !(full && told), full);
        }
        if split {
            let mut record = Record::default();
            for part in parts(&files.join("run")) {
                record.read(&part);
            }
            self.record("the run folder", record, whole && !(full && told), full);
        }
        if let (Some(how), Some(bytes)) = (fifo, &self.seen.fifo) {
            let mut record = Record::default();
            record.read(bytes);
            let short = told && (disk == Some(Disk::Spill) || limited);
            // Where the disk has no room for the rest of a long line that the reader has begun, no gap can be told of.
            let may_give_up = on_full == "close" || (short && matches!(on_full, "spill" | "drop"));
            let given_up = told && may_give_up && self.gives_up(tee);
            let drops = on_full == "drop" || (on_full == "spill" && short);
            let gone = matches!(how, Reader::Dies(_)) || given_up;
            self.record("the FIFO", record, whole && !gone, drops);
        }
    }

    /// What cl-progress tells to be lost must be lost.
    fn shown(&mut self) {
        let shows = |filter: &Filter| matches!(filter, Filter::Progress { .. });
        let Some(at) = self.case.filters.iter().position(shows) else {
            return;
        };
        let torn = (0..self.case.spawns.len()).any(|spawn| self.forced(Target::Spawn(spawn)));
        let said = fs::read_to_string(self.site.folder.join("err/cl-progress")).unwrap_or_default();
        // A line a change: as JSON with a member, in words only where there is something to tell.
        let lies = said.lines().find(|line| match line.split_once("\"lost\":") {
            Some((_, rest)) => !rest.starts_with(['0', 'n']),
            None => line.contains(" lost)"),
        });
        if let Some(line) = lies.filter(|_| !torn && self.passes(at)) {
            self.wrong(format!("cl-progress tells of a loss: {line}"));
        }
    }

    /// Whether cl-tee says that it gave up the FIFO's reader.
    fn gives_up(&self, tee: &Tee) -> bool {
        let program = if tee_limit(self.site, tee).is_some() {
            "sh"
        } else {
            "cl-tee"
        };
        let said = fs::read_to_string(self.site.folder.join("err").join(program)).unwrap_or_default();
        said.lines().any(|line| line.contains("sink.fifo: given up: "))
    }

    /// A success that cl-wait tells of must be one.
    fn told(&mut self, verdict: &harmony::line::Verdict) {
        for (name, stream) in &verdict.streams {
            let at = (0..self.case.spawns.len()).find(|at| *name == format!("s{at}"));
            if stream["outcome"] == "success" && at.is_none_or(|at| !self.works(at)) {
                self.wrong(format!("cl-wait tells of a success of {name}, which was none"));
            }
        }
    }

    /// Checks what was recorded in one place. `whole` says that nothing may be missing there, `gaps` that lines may be,
    /// where that is told.
    fn record(&mut self, place: &str, mut record: Record, whole: bool, gaps: bool) {
        for wrong in std::mem::take(&mut record.wrong) {
            self.wrong(format!("{place}: {wrong}"));
        }
        if record.cut && whole && !gaps {
            self.wrong(format!("{place}: ends amid a line"));
        }
        for at in 0..self.case.spawns.len() {
            let name = format!("s{at}");
            let forced = self.forced(Target::Spawn(at));
            match record.streams.remove(&name) {
                Some(stream) => {
                    if let Err(why) = self.stream(at, &stream, whole, gaps) {
                        self.wrong(format!("{place}: {name}: {why}"));
                    }
                }
                // On a pipe nobody may know of one that was ended before its first word.
                None if whole && !(forced && self.case.join == Join::Pipe) => {
                    self.report.lost += self.ledgers[at].iter().map(|ledger| ledger.written).sum::<u64>();
                    self.wrong(format!("{place}: {name} is missing"));
                }
                None => {}
            }
        }
        let told = record.streams.remove("cl-merge");
        if let Err(why) = self.of_sources(told, whole, gaps) {
            self.wrong(format!("{place}: cl-merge: {why}"));
        }
        for (name, stream) in record.streams {
            let halves = stream.torn > 0 && (0..self.case.spawns.len()).any(|at| self.forced(Target::Spawn(at)));
            let never = name == "never" && self.case.unopened;
            if !(halves || never) || stream.attempts.iter().any(|attempt| !attempt.is_empty()) {
                self.wrong(format!("{place}: a stream {name} that nobody wrote: {stream:?}"));
            }
        }
    }

    /// Checks what cl-merge says of its sources.
    fn of_sources(&self, told: Option<Stream>, whole: bool, gaps: bool) -> Result<(), String> {
        let Filter::Merge { verbose, .. } = self.case.filters[0] else {
            return Ok(());
        };
        let told = told.unwrap_or_default();
        if told.gaps > 0 && !gaps {
            return Err(format!("a gap of {} lines", told.gaps));
        }
        let sources = match self.case.join {
            Join::Pipe => 1,
            Join::Fifos => self.case.spawns.len() + usize::from(self.case.unopened),
        };
        let all = if verbose { sources } else { 0 };
        let (joins, leaves) = (told.joins, told.leaves);
        // Who was told to end hears out its writers for so long as cl-merge waits for what never comes, and not for longer.
        let unheard = self.case.unopened
            && (1..self.case.filters.len()).any(|at| self.sent(Target::Filter(at), Signal::SIGTERM) > 0);
        let told_all = whole && told.gaps == 0 && !unheard;
        let (most, missing) = (joins.max(leaves), joins.min(leaves) < all && told_all);
        if most > all || missing || !told.attempts.is_empty() {
            return Err(format!("{joins} joins and {leaves} leaves of {all} sources"));
        }
        Ok(())
    }

    fn stream(&mut self, at: usize, stream: &Stream, whole: bool, gaps: bool) -> Result<(), String> {
        let forced = self.forced(Target::Spawn(at));
        if stream.torn > 0 && !forced {
            return Err("a torn line of a writer that was not ended by force".to_owned());
        }
        if stream.gaps > 0 && !gaps {
            return Err(format!("a gap of {} lines", stream.gaps));
        }
        if stream.stamped {
            // What cl-merge says of a source that never said a word.
            let silent = stream.attempts.iter().all(Vec::is_empty);
            return (forced && silent)
                .then_some(())
                .ok_or_else(|| "was stamped by cl-merge".to_owned());
        }
        let ended = matches!(stream.end, End::Exit(_));
        if stream.gaps == 0 {
            for (number, bytes) in stream.attempts.iter().enumerate() {
                let over = ended || number + 1 < stream.attempts.len() || (whole && !forced);
                self.bytes(at, number, bytes, over)?;
            }
        }
        match &stream.end {
            End::Exit(exit) => self.exit(at, stream, exit),
            End::Lost if !forced && (whole || self.passes(0)) => Err("is told to be lost".to_owned()),
            End::Open if whole => Err("has no end".to_owned()),
            End::Open | End::Lost => Ok(()),
        }
    }

    /// Compares one attempt's bytes with what was written; `over` says that all of them must be there.
    fn bytes(&mut self, at: usize, number: usize, bytes: &[u8], over: bool) -> Result<(), String> {
        let none = Ledger::default();
        let ledger = self.ledgers[at].get(number).unwrap_or(&none);
        let count = bytes.len() as u64;
        if !ledger.bytes.starts_with(bytes) || count > ledger.intended {
            let same = bytes
                .iter()
                .zip(&ledger.bytes)
                .take_while(|(one, other)| one == other)
                .count();
            return Err(format!(
                "attempt {} has other bytes than the worker wrote, from {same} of {count}; it meant to write {}",
                number + 1,
                ledger.intended
            ));
        }
        if over && count < ledger.written {
            self.report.lost += ledger.written - count;
            return Err(format!("attempt {}: {count} of {} bytes", number + 1, ledger.written));
        }
        Ok(())
    }

    /// Compares what the last line claims with what is known.
    fn exit(&mut self, at: usize, stream: &Stream, exit: &Exit) -> Result<(), String> {
        let bytes: usize = stream.attempts.iter().map(Vec::len).sum();
        if stream.gaps == 0 && (exit.bytes != bytes as u64 || exit.attempts as usize != stream.attempts.len()) {
            return Err(format!(
                "its exit tells {} attempts and {} bytes, here are {} and {bytes}",
                exit.attempts,
                exit.bytes,
                stream.attempts.len()
            ));
        }
        if exit.outcome == Word::Success && !self.works(at) {
            return Err("its exit tells of a success that was none".to_owned());
        }
        if let (Word::Success, Work::Kept { prompts }) = (exit.outcome, &self.case.spawns[at].work)
            && stream.gaps == 0
            && stream.turns as u64 != *prompts
        {
            return Err(format!("{} turns for {prompts} prompts", stream.turns));
        }
        let natural = self.natural(at);
        let code = self.seen.spawns[at].code().unwrap_or(-1);
        // It may have been ended after its last word.
        let fits = self.forced(Target::Spawn(at))
            || match exit.outcome {
                Word::Success => code == 0,
                Word::Failed => code > 0 && exit.code == Some(code) && natural == Some(code),
                Word::Killed => matches!(code, 137 | 143),
                Word::Cancelled => matches!(code, 141 | 143),
                _ => false,
            };
        if !fits {
            return Err(format!(
                "its exit tells {:?} ({}), and cl-spawn exits with {code}",
                exit.outcome, exit.because
            ));
        }
        Ok(())
    }
}

/// The cl-tee of a case, and its place in the pipe.
fn tee(case: &Case) -> Option<(usize, &Tee)> {
    case.filters.iter().enumerate().find_map(|(at, filter)| match filter {
        Filter::Tee(tee) => Some((at, tee)),
        _ => None,
    })
}

/// The files of a run folder.
fn parts(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read(entry.path()).ok()).collect()
}
