//! How it ended: what supervisor and pump know, put together into the stream's last line.

use crate::agent::Account;
use crate::line::{Exit, Outcome};
use crate::outcome::{End, Evidence, Stop, exit_code, judge, signal_name};
use std::io;
use std::time::Duration;

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The `exit` event, as it was written where the sink still took it.
    pub exit: Exit,
    /// The exit code that goes with it.
    pub code: u8,
    /// Why our own output failed, where it did for another reason than a reader that went away.
    pub sink: Option<io::Error>,
}

/// What the supervisor knows when the worker and all it started are gone.
#[derive(Debug)]
pub(super) struct Closing {
    /// What could not be started, where that is how it ended.
    pub(super) what: String,
    pub(super) end: End,
    pub(super) stop: Option<Stop>,
    /// What the whole tree used; `None` when it never was, or nobody is left who knows.
    pub(super) used: Option<Used>,
    /// Processes that had to be ended after the worker.
    pub(super) orphans: u32,
    pub(super) duration: Duration,
    pub(super) warnings: Vec<String>,
    /// Of a worker that is kept: its prompts.
    pub(super) kept: Option<Kept>,
}

/// What became of a kept worker's prompts.
#[derive(Debug)]
pub(super) struct Kept {
    /// How many it was sent.
    pub(super) sent: u32,
    /// Whether the last of those was not known to be answered yet.
    pub(super) asked: bool,
    /// How many nobody answered, that one among them.
    pub(super) unanswered: usize,
    /// The same for people, that one first, to be told when no other attempt follows.
    pub(super) warnings: Vec<String>,
    /// Whether there will never be another.
    pub(super) last: bool,
}

/// What a tree of processes used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Used {
    /// CPU seconds.
    pub(super) cpu: f64,
    /// The largest resident size of one process, in bytes.
    pub(super) rss: u64,
}

/// What the pump knows when all is pumped.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) account: &'a Account,
    pub(super) agent: bool,
    pub(super) whole: bool,
    /// Lines of this attempt.
    pub(super) lines: u64,
    /// Lines and bytes of all attempts.
    pub(super) all: (u64, u64),
    /// The last of stderr.
    pub(super) stderr: String,
    /// Why output may be missing.
    pub(super) harms: Vec<&'static str>,
}

impl Kept {
    /// Takes what its output said up to the end: so many of the prompts that it was sent were answered.
    pub(super) fn settle(&mut self, answered: u32) {
        if self.asked && answered >= self.sent {
            self.asked = false;
            self.unanswered -= 1;
            self.warnings.remove(0);
        }
    }

    /// Whether all there will ever be is answered.
    pub(super) fn is_done(&self) -> bool {
        self.last && self.unanswered == 0
    }
}

impl Closing {
    /// The last line, and the exit code that goes with it.
    pub(super) fn exit(self, told: Told<'_>) -> (Exit, u8) {
        let judged = judge(&Evidence {
            end: self.end,
            stop: self.stop,
            agent: told.agent,
            prompts: self.kept.as_ref().map(|kept| (kept.sent, kept.unanswered)),
            account: told.account,
            whole: told.whole,
            lines: told.lines,
            stderr: &told.stderr,
        });
        let mut exit = Exit {
            outcome: judged.outcome,
            because: judged.because,
            duration: seconds(self.duration),
            attempts: 1,
            lines: told.all.0,
            bytes: told.all.1,
            whole: told.whole,
            orphans: self.orphans,
            stderr: told.stderr,
            cpu: self.used.map(|used| millis(used.cpu)),
            rss: self.used.map(|used| used.rss),
            warnings: self.warnings,
            ..told.account.exit()
        };
        // What an agent says of a limit that it has not met is no news at its end.
        exit.resets_at = exit.resets_at.filter(|_| exit.outcome == Outcome::Limit);
        match self.end {
            End::Exited(code) => exit.code = Some(code),
            End::Signalled(signal) => exit.signal = Some(signal_name(signal)),
            End::Unstartable(_) => exit.because = format!("{}: {}", self.what, exit.because),
            End::Unseen | End::Alive => {}
        }
        if self.orphans > 0 {
            let orphans = self.orphans;
            exit.warnings
                .push(format!("{orphans} left behind by the worker had to be ended"));
        }
        exit.warnings.extend(told.harms.iter().map(|&harm| harm.to_owned()));
        exit.warnings.extend(notable(&exit, told.account, self.kept.is_some()));
        let code = exit_code(exit.outcome, self.end, self.stop);
        (exit, code)
    }
}

/// What is worth knowing of an agent's run and did not change its outcome.
fn notable(exit: &Exit, account: &Account, kept: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if !account.denials.is_empty() {
        let mut tools: Vec<&str> = account.denials.iter().map(String::as_str).collect();
        tools.sort_unstable();
        tools.dedup();
        warnings.push(format!("not permitted: {}", tools.join(", ")));
    }
    if account.results > 1 && !kept {
        warnings.push(format!("{} results, of which the last one counts", account.results));
    }
    if account.is_cut() {
        warnings.push("the answer was too long to be kept; its end is told".to_owned());
    }
    let warns = |line: &&str| {
        let line = line.trim_start().as_bytes();
        line.len() > 7 && line[..7].eq_ignore_ascii_case(b"warning")
    };
    // What is no success has its stderr looked at anyway.
    if exit.outcome == Outcome::Success
        && let Some(line) = exit.stderr.lines().find(warns)
    {
        warnings.push(format!("stderr: {}", line.trim().chars().take(200).collect::<String>()));
    }
    warnings
}

/// Seconds as they are told, to the millisecond.
pub(super) fn seconds(duration: Duration) -> f64 {
    millis(duration.as_secs_f64())
}

/// The same of seconds.
pub(super) fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
