//! How a run really ended: evidence in, outcome out. A pure function.
//!
//! The rule: `success` means that it worked. An agent's own exit code is one piece of evidence among several.

use crate::agent::{Account, ResultFact};
use crate::line::Outcome;

/// How the worker's process ended, as far as anybody saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited by itself with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// It could not be started: the system's error number.
    Unstartable(i32),
    /// Nobody saw it (a source that a reader stamped).
    Unseen,
    /// It lives on: a turn has ended, not the worker.
    Alive,
}

/// Why we stopped the worker, where we did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The deadline passed.
    Timeout,
    /// No sign of life.
    Idle,
    /// It lived on after its last result.
    Linger,
    /// We were told to, by this signal.
    Signal(i32),
    /// Our reader went away.
    Downstream,
}

impl Stop {
    /// The word in `stop.because`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::Linger => "linger",
            Self::Signal(_) => "signal",
            Self::Downstream => "downstream",
        }
    }
}

/// All that is known of a run's end.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// How the process ended.
    pub end: End,
    /// Why we stopped it, if we did: the first reason counts.
    pub stop: Option<Stop>,
    /// Whether the worker is an agent, which owes a result.
    pub agent: bool,
    /// Of a worker that is kept: how many prompts it was sent, and how many of them nobody answered.
    pub prompts: Option<(u32, usize)>,
    /// What the agent's lines add up to.
    pub account: &'a Account,
    /// Whether stdout ended at a line's end with no byte missing.
    pub whole: bool,
    /// Lines on stdout.
    pub lines: u64,
    /// The last of stderr.
    pub stderr: &'a str,
}

/// What became of it, and the evidence in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The outcome.
    pub outcome: Outcome,
    /// The evidence.
    pub because: String,
}

/// Judges a run.
pub fn judge(evidence: &Evidence<'_>) -> Judgement {
    let (outcome, because) = decide(evidence);
    Judgement { outcome, because }
}

fn decide(evidence: &Evidence<'_>) -> (Outcome, String) {
    let Evidence { end, stop, account, .. } = *evidence;
    if let End::Unstartable(errno) = end {
        let what = nix::errno::Errno::from_raw(errno).desc().to_lowercase();
        return (Outcome::Unstartable, what);
    }
    let ended = ended(end);
    match stop {
        Some(Stop::Timeout) => return (Outcome::Timeout, format!("stopped at the timeout, {ended}")),
        Some(Stop::Idle) => return (Outcome::Idle, format!("no sign of life, {ended}")),
        Some(Stop::Signal(signal)) => {
            return (
                Outcome::Cancelled,
                format!("told to stop by {}, {ended}", signal_name(signal)),
            );
        }
        Some(Stop::Downstream) => return (Outcome::Cancelled, format!("the reader went away, {ended}")),
        // A worker that we ended after its last result is judged by that result.
        Some(Stop::Linger) | None => {}
    }
    let result = account.result.as_ref();
    let aborted = |result: &ResultFact| {
        result
            .terminal_reason
            .as_deref()
            .is_some_and(|why| why.starts_with("aborted"))
    };
    if evidence.agent && result.is_some_and(aborted) {
        return (Outcome::Cancelled, format!("the agent was interrupted, {ended}"));
    }
    if stop.is_none()
        && let Some(killed) = killed(end)
    {
        return (Outcome::Killed, killed);
    }
    if let (Some((sent, unanswered)), End::Exited(0)) = (evidence.prompts, end) {
        match (sent, unanswered) {
            (_, 1..) => return (Outcome::Incomplete, format!("a prompt without its answer, {ended}")),
            (0, 0) => return (Outcome::Success, format!("no prompt came, {ended}")),
            _ => {}
        }
    }
    // A command that speaks no agent's language is judged as any command, whatever its name.
    if !evidence.agent || (!account.spoke && evidence.lines > 0 && end == End::Exited(0)) {
        return command(evidence);
    }
    match result {
        Some(result) if result.error || result.subtype.starts_with("error") => trouble(evidence, result),
        Some(result) => after_result(evidence, result),
        None => without_result(evidence),
    }
}

/// A command that is no agent: its exit code is all there is.
fn command(evidence: &Evidence<'_>) -> (Outcome, String) {
    match evidence.end {
        End::Unseen => (Outcome::Unknown, "nobody saw an exit code".to_owned()),
        End::Exited(0) => (Outcome::Success, ended(evidence.end)),
        end => (Outcome::Failed, ended(end)),
    }
}

/// An agent whose last result is good.
fn after_result(evidence: &Evidence<'_>, result: &ResultFact) -> (Outcome, String) {
    let Evidence {
        end,
        stop,
        account,
        whole,
        ..
    } = *evidence;
    let ended = ended(end);
    if !whole {
        return (Outcome::Truncated, format!("the output is cut, {ended}"));
    }
    if stop == Some(Stop::Linger) {
        return (
            Outcome::Success,
            format!("result {}, ended by us as it lived on", result.subtype),
        );
    }
    match end {
        End::Exited(0) | End::Unseen if !account.pending.is_empty() => {
            (Outcome::Incomplete, format!("background work unfinished, {ended}"))
        }
        End::Exited(0) | End::Unseen if account.in_turn => {
            (Outcome::Incomplete, format!("a turn without its result, {ended}"))
        }
        End::Exited(0) | End::Unseen | End::Alive => (Outcome::Success, format!("result {}, {ended}", result.subtype)),
        _ => (Outcome::Failed, format!("result {}, {ended}", result.subtype)),
    }
}

/// An agent that reports an error in its last result: whose error it is.
fn trouble(evidence: &Evidence<'_>, result: &ResultFact) -> (Outcome, String) {
    let Evidence { end, account, .. } = *evidence;
    let said = match result.api_status {
        Some(status) => format!("result {} with API status {status}, {}", result.subtype, ended(end)),
        None if result.error => format!("result {} with is_error, {}", result.subtype, ended(end)),
        None => format!("result {}, {}", result.subtype, ended(end)),
    };
    let mark = account.trouble.as_deref().unwrap_or_default();
    let outcome = match result.api_status {
        // Only the agent's own event tells a usage limit; its prose and a 429 may mean anything.
        _ if limited(account) => return limit(account, end),
        Some(401 | 403) => Outcome::Auth,
        None if mark.starts_with("authentication_failed") => Outcome::Auth,
        _ if result.subtype.starts_with("error_max") => Outcome::Exhausted,
        Some(408 | 429 | 500..) => Outcome::Unavailable,
        None if account.retrying.is_some() => {
            let because = account.retrying.as_deref().unwrap_or_default();
            return (
                Outcome::Unavailable,
                format!("the agent gave up after its retries ({because}), {}", ended(end)),
            );
        }
        None if ["rate_limit", "server_error", "overloaded"]
            .iter()
            .any(|kind| mark.starts_with(kind)) =>
        {
            Outcome::Unavailable
        }
        _ => Outcome::Error,
    };
    (outcome, said)
}

/// An agent that ended without any result.
fn without_result(evidence: &Evidence<'_>) -> (Outcome, String) {
    let Evidence {
        end,
        account,
        whole,
        stderr,
        ..
    } = *evidence;
    match end {
        _ if limited(account) => limit(account, end),
        End::Unseen => (Outcome::Unknown, "no result, and nobody saw an exit code".to_owned()),
        End::Exited(0) if !whole => (Outcome::Truncated, "the output is cut, exit 0".to_owned()),
        End::Exited(0) => (Outcome::Incomplete, "no result, exit 0".to_owned()),
        // Refused before it began, with a word on why; what is longer is a crash.
        _ if evidence.lines == 0 && (1..=3).contains(&stderr.lines().count()) => {
            let why: String = stderr.lines().next().unwrap_or_default().chars().take(200).collect();
            (Outcome::Error, format!("{}: {why}", ended(end)))
        }
        _ => (Outcome::Failed, format!("no result, {}", ended(end))),
    }
}

fn limited(account: &Account) -> bool {
    account.limit.as_ref().is_some_and(|(status, _)| status == "rejected")
}

fn limit(account: &Account, end: End) -> (Outcome, String) {
    let until = account.limit.as_ref().and_then(|(_, resets_at)| *resets_at);
    let until = until.map_or_else(String::new, |at| format!(" until {at:.0}"));
    (Outcome::Limit, format!("a usage limit{until}, {}", ended(end)))
}

/// Whether a signal ended it, or its exit code says that one did.
fn killed(end: End) -> Option<String> {
    match end {
        End::Signalled(_) => Some(ended(end)),
        End::Exited(code @ (129 | 130 | 137 | 143)) => {
            Some(format!("exit {code}, as {} gives", signal_name(code - 128)))
        }
        _ => None,
    }
}

fn ended(end: End) -> String {
    match end {
        End::Exited(code) => format!("exit {code}"),
        End::Signalled(signal) => format!("ended by {}", signal_name(signal)),
        End::Unstartable(_) => "not started".to_owned(),
        End::Unseen => "exit code unseen".to_owned(),
        End::Alive => "the worker stays".to_owned(),
    }
}

/// A signal's name, `SIGTERM`.
pub fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |known| known.as_str().to_owned())
}

/// cl-spawn's exit code for an end: 0 means that it worked.
pub fn exit_code(outcome: Outcome, end: End, stop: Option<Stop>) -> u8 {
    let own = match end {
        End::Exited(code) if code != 0 => code as u8,
        End::Signalled(signal) => 128u8.wrapping_add(signal as u8),
        _ => 1,
    };
    match outcome {
        Outcome::Success => 0,
        Outcome::Error | Outcome::Failed | Outcome::Exhausted | Outcome::Killed => own,
        Outcome::Incomplete | Outcome::Truncated | Outcome::Unknown | Outcome::Lost => 1,
        Outcome::Unavailable => 69,
        Outcome::Limit => 75,
        Outcome::Auth => 77,
        Outcome::Timeout | Outcome::Idle => 124,
        Outcome::Cancelled => match stop {
            Some(Stop::Signal(signal)) => 128u8.wrapping_add(signal as u8),
            Some(Stop::Downstream) => 141,
            _ => 130,
        },
        Outcome::Unstartable => match end {
            End::Unstartable(libc::ENOENT) => 127,
            // It was not for the command that it could not be started.
            End::Unstartable(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => 125,
            _ => 126,
        },
    }
}

#[cfg(test)]
mod tests;
