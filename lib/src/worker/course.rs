//! The course of a run over its attempts: what each came to, whether another follows, and what all add up to.

use super::again::{Again, Attempted, Next};
use super::ending::{Ended, millis};
use crate::agent;
use crate::hold::{Account, Hold, Holds};
use crate::line::{Event, Exit, Name, Outcome, Ts, Usage};
use std::time::Duration;

/// So many warnings and denials of earlier attempts are told at the end, however many attempts there are.
const WARNINGS: usize = 200;
const DENIALS: usize = 1000;

/// The course of a run.
pub(super) struct Course {
    stream: Name,
    again: Again,
    /// How long all attempts together may take.
    timeout: Option<Duration>,
    /// What `retry` calls the workers.
    names: Vec<String>,
    holds: Option<Holds>,
    /// Whether the last start came in spite of a hold.
    pub(super) in_spite: bool,
    /// How many attempts have begun.
    pub(super) attempts: u32,
    /// What the attempts before this one came to.
    sum: Exit,
    /// Whether its text is an answer that some agent called good.
    good: bool,
    /// The last attempt's end, and the exit code that goes with it.
    last: Option<(Exit, u8)>,
    /// What the last attempt's lines came to, if the same worker makes the next.
    pub(super) before: Option<agent::Account>,
    /// What follows.
    pub(super) next: Next,
}

/// How one attempt ended.
pub(super) struct AttemptEnd {
    /// Its part of the stream's `exit`.
    pub(super) exit: Exit,
    /// The exit code that goes with it.
    pub(super) code: u8,
    /// What its lines came to.
    pub(super) account: agent::Account,
    /// Whether it is a kept worker that has answered a prompt.
    pub(super) answered: bool,
    /// Whether nothing is left that another attempt could do.
    pub(super) done: bool,
    /// What is to be told if no other attempt follows.
    pub(super) parting: Vec<String>,
    /// When it ended, since the run began.
    pub(super) at: Duration,
}

impl Course {
    pub(super) fn new(
        stream: Name,
        again: Again,
        timeout: Option<Duration>,
        names: Vec<String>,
        holds: Option<Holds>,
    ) -> Self {
        Self {
            stream,
            again,
            timeout,
            names,
            holds,
            in_spite: false,
            attempts: 0,
            sum: Exit::default(),
            good: false,
            last: None,
            before: None,
            next: Next::After(Duration::ZERO),
        }
    }

    /// Which worker makes the next attempt.
    pub(super) fn worker(&self) -> usize {
        self.again.worker
    }

    /// Whether there is another worker to fall back on.
    pub(super) fn may_fall_back(&self) -> bool {
        self.again.may_fall_back()
    }

    /// What holds a start by this account, if anything does.
    pub(super) fn held(&self, account: Option<&Account>) -> Option<Hold> {
        self.holds.as_ref()?.check(account?, Ts::now().seconds())
    }

    /// Whether others are told that starts by this account wait.
    pub(super) fn is_held(&self, account: Option<&Account>) -> bool {
        let hold = self.holds.as_ref().zip(account);
        hold.is_some_and(|(holds, account)| holds.read(account, Ts::now().seconds()).is_some())
    }

    /// Takes the end of an attempt: tells the others what concerns them, decides what follows, and gives the line that
    /// says so.
    pub(super) fn ended(&mut self, mut end: AttemptEnd, account: Option<&Account>) -> Event {
        self.tell(&end.exit, account);
        if end.answered {
            self.again.refresh();
        }
        let from = self.again.worker;
        self.next = if end.done {
            Next::End
        } else {
            self.again.next(Attempted {
                outcome: end.exit.outcome,
                resets_at: end.exit.resets_at,
                now: Ts::now().seconds(),
                left: self.timeout.map(|timeout| timeout.saturating_sub(end.at)),
                chance: fastrand::f64(),
            })
        };
        if self.next == Next::TooLate {
            end.exit.warnings.push("no time is left for another attempt".to_owned());
            self.next = Next::End;
        }
        let because = format!("{}: {}", end.exit.outcome.as_str(), end.exit.because);
        let session = end.exit.session_id.clone();
        let good = end.account.is_good();
        self.before = Some(end.account).filter(|_| self.again.worker == from);
        let delay = match self.next {
            Next::End | Next::TooLate => {
                end.exit.warnings.append(&mut end.parting);
                return Event::Exit(Box::new(self.exit(end.exit, end.code, good)));
            }
            Next::Fallback => 0.0,
            Next::After(delay) => delay.as_secs_f64(),
            Next::At(at, jitter) => (at - Ts::now().seconds()).max(0.0) + jitter.as_secs_f64(),
        };
        self.add(&end.exit, good);
        self.warn(vec![format!("attempt {} was no success: {because}", self.attempts)]);
        self.sum.session_id = session;
        self.last = Some((end.exit, end.code));
        self.retry(delay, because)
    }

    /// The line that says that another attempt follows.
    fn retry(&self, delay: f64, because: String) -> Event {
        Event::Retry {
            attempt: self.attempts + 1,
            of: self.attempts + 1 + self.again.left(),
            delay: millis(delay),
            because,
            next: (self.next == Next::Fallback).then(|| self.names[self.again.worker].clone()),
        }
    }

    /// The end of a run whose next attempt does not come about.
    pub(super) fn broken_off(&mut self, outcome: Outcome, because: String, code: u8, duration: Duration) -> Event {
        let (last, _) = self.last.take().unwrap_or_default();
        let exit = Exit {
            outcome,
            because,
            duration: super::ending::seconds(duration),
            attempts: self.attempts,
            lines: last.lines,
            bytes: last.bytes,
            whole: self.attempts == 0 || last.whole,
            stderr: last.stderr,
            code: last.code,
            signal: last.signal,
            resets_at: last.resets_at.or(self.sum.resets_at),
            pending: last.pending,
            turns: last.turns,
            ..std::mem::take(&mut self.sum)
        };
        self.last = Some((exit.clone(), code));
        Event::Exit(Box::new(exit))
    }

    /// Adds what is worth knowing at the end.
    pub(super) fn warn(&mut self, warnings: Vec<String>) {
        let room = WARNINGS.saturating_sub(self.sum.warnings.len());
        self.sum.warnings.extend(warnings.into_iter().take(room));
    }

    /// Says until when the limit holds for which no attempt is made.
    pub(super) fn limited(&mut self, resets_at: f64) {
        self.sum.resets_at = Some(resets_at);
    }

    /// The same for a start that is refused or that would come too late, for what other streams tell: another worker
    /// may do instead.
    pub(super) fn refused(&mut self, outcome: Outcome, because: String, code: u8, duration: Duration) -> Event {
        if !self.again.fall_back() {
            self.next = Next::End;
            return self.broken_off(outcome, because, code, duration);
        }
        self.next = Next::Fallback;
        self.before = None;
        self.retry(0.0, format!("{}: {because}", outcome.as_str()))
    }

    /// How it ended, once the last line was made.
    pub(super) fn end(self) -> Ended {
        let (exit, code) = self.last.unwrap_or_default();
        Ended { exit, code, sink: None }
    }

    /// Tells other streams of a limit or a refused key, and that there is none any more.
    pub(super) fn tell(&self, exit: &Exit, account: Option<&Account>) {
        let (Some(holds), Some(account)) = (&self.holds, account) else {
            return;
        };
        let now = Ts::now().seconds();
        let stream = self.stream.as_str().to_owned();
        let hold = match (exit.outcome, exit.resets_at) {
            (Outcome::Limit, Some(resets_at)) => Hold::Limit { resets_at, stream },
            (Outcome::Auth, _) => Hold::Auth { since: now, stream },
            (Outcome::Success, _) => {
                // What was begun before a limit was met proves nothing.
                if matches!(holds.read(account, now), Some(Hold::Auth { .. })) || self.in_spite {
                    let _ = holds.release(account);
                }
                return;
            }
            _ => return,
        };
        // Nobody can be told: then nobody waits.
        let _ = holds.tell(account, &hold, now);
    }

    /// Adds an attempt that was not the last.
    fn add(&mut self, exit: &Exit, good: bool) {
        self.warn(exit.warnings.clone());
        let sum = &mut self.sum;
        add_used(sum, exit);
        let room = DENIALS.saturating_sub(sum.denials.len());
        sum.denials.extend(exit.denials.iter().take(room).cloned());
        if exit.text.is_some() && (good || !self.good) {
            sum.text.clone_from(&exit.text);
            self.good |= good;
        }
    }

    /// The stream's last line: the last attempt's end, and what all attempts used.
    fn exit(&mut self, mut exit: Exit, code: u8, good: bool) -> Exit {
        let earlier = std::mem::take(&mut self.sum);
        exit.attempts = self.attempts;
        add_used(&mut exit, &earlier);
        // A good answer is not given away for what a later attempt says of its failure.
        exit.text = match (exit.text, earlier.text) {
            (Some(_), Some(earlier)) if self.good && !good => Some(earlier),
            (text, earlier) => text.or(earlier),
        };
        exit.session_id = exit.session_id.or(earlier.session_id);
        exit.denials = [earlier.denials, exit.denials].concat();
        exit.warnings = [earlier.warnings, exit.warnings].concat();
        self.last = Some((exit.clone(), code));
        exit
    }
}

/// Adds what another attempt used.
fn add_used(sum: &mut Exit, other: &Exit) {
    sum.orphans += other.orphans;
    sum.cpu = added(sum.cpu, other.cpu);
    sum.cost_usd = added(sum.cost_usd, other.cost_usd);
    sum.rss = sum.rss.max(other.rss);
    if let Some(usage) = other.usage {
        *sum.usage.get_or_insert(Usage::default()) += usage;
    }
}

fn added(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (one, other) => one.or(other),
    }
}
