//! What came out where: on stdout, in files, in a FIFO, and what was told of it.

use super::{Check, Ledger};
use crate::commands::tee_limit;
use crate::plan::{Case, Disk, Filter, Join, Reader, Target, Tee, Work};
use crate::record::{End, Record, Stream};
use harmony::line::{Exit, Outcome as Word};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;

impl Check<'_> {
    pub(super) fn records(&mut self) {
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
    pub(super) fn shown(&mut self) {
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
