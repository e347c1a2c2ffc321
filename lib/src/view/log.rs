//! Changes of state as lines: for a CI log or a file, and as JSON for other programs.
//!
//! A stream is looked at after each of its lines, so that no change falls between two looks.

use super::actions::{command_free, logged};
use super::clean::clean;
use super::live::Look;
use super::report::{Report, Told};
use super::{row::Style, words};
use crate::agent::{Kind, TaskState};
use crate::line::{Exit, Outcome, Ts, Usage};
use crate::state::{Activity, Phase, Progress, State, Stream};
use crate::units::brief;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// So many of its last lines tell why a stream failed, each of so many columns.
const LAST: usize = 10;
const COLUMNS: usize = 1000;
/// So many streams are named in the line that says that all is well.
const NAMED: usize = 20;

/// What a log last said of each stream.
#[derive(Debug, Default)]
pub struct Changes {
    seen: Vec<Option<Seen>>,
}

/// All of a stream's state whose change is worth a line.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    started: Ts,
    attempt: u32,
    phase: Phase,
    limit: Option<String>,
    retry: Option<u64>,
    turns: u64,
    /// Whether it waits for a prompt.
    prompt: bool,
    /// Which agent it turned out to be.
    agent: Option<Kind>,
    /// What only programs want to be told.
    fine: Option<(Activity, Option<Progress>, usize, String)>,
}

impl Changes {
    /// Whether the state of the stream at that place is another than when it was last asked for. `fine` counts what a
    /// worker does and how far it is as state, too.
    pub fn look(&mut self, place: usize, stream: &Stream, fine: bool) -> bool {
        if self.seen.len() <= place {
            self.seen.resize(place + 1, None);
        }
        let last = &mut self.seen[place];
        let same = last.as_ref().is_some_and(|last| last.holds(stream, fine));
        if !same {
            *last = Some(Seen::of(stream, fine));
        }
        !same
    }
}

impl Seen {
    fn of(stream: &Stream, fine: bool) -> Self {
        Self {
            started: stream.started,
            attempt: stream.attempt,
            phase: stream.phase,
            limit: stream.limit.as_ref().map(|limit| limit.status.clone()),
            retry: retry(stream),
            turns: stream.turns,
            prompt: prompt(stream),
            agent: agent(stream),
            fine: fine.then(|| {
                let why = stream.why().to_owned();
                (stream.activity.clone(), stream.progress, stream.background.len(), why)
            }),
        }
    }

    /// As comparing with [`Seen::of`], but nothing is copied: this is asked for each line.
    fn holds(&self, stream: &Stream, fine: bool) -> bool {
        self.phase == stream.phase
            && self.attempt == stream.attempt
            && self.started == stream.started
            && self.limit.as_deref() == stream.limit.as_ref().map(|limit| limit.status.as_str())
            && self.retry == retry(stream)
            && (self.turns, self.prompt, self.agent) == (stream.turns, prompt(stream), agent(stream))
            && (!fine
                || self.fine.as_ref().is_some_and(|(activity, progress, background, why)| {
                    (activity, *progress, *background) == (&stream.activity, stream.progress, stream.background.len())
                        && why == stream.why()
                }))
    }
}

fn retry(stream: &Stream) -> Option<u64> {
    match stream.activity {
        Activity::Retry { attempt, .. } => Some(attempt),
        _ => None,
    }
}

fn prompt(stream: &Stream) -> bool {
    stream.activity == Activity::Prompt
}

fn agent(stream: &Stream) -> Option<Kind> {
    stream.agent().filter(|kind| kind.is_agent())
}

/// The line for a change: `12:34:05 main: running, claude`.
pub fn change(stream: &Stream, at: Ts, zone: &TimeZone) -> String {
    let mut text = format!("{} {}: ", time_of_day(at, zone), stream.name);
    match stream.phase {
        Phase::Running if prompt(stream) => {
            let (_, turn) = words::turn(stream);
            let turn = turn.replacen(": ", " ended: ", 1);
            let mut facts = Vec::new();
            if let Some(exit) = stream.turn.as_ref().map(|turn| &turn.exit) {
                let duration = Duration::try_from_secs_f64(exit.duration).unwrap_or_default();
                facts.push(brief(duration));
                facts.extend(spent(exit.usage.unwrap_or_default(), exit.cost_usd));
            }
            text.push_str(&format!("{turn} ({})", facts.join(", ")));
        }
        Phase::Running => {
            if retry(stream).is_some() || stream.limit.as_ref().is_some_and(|limit| limit.status != "allowed") {
                text.push_str(&words::doing(stream, at, zone).1);
            } else {
                text.push_str("running");
                if let Some(agent) = stream.agent() {
                    text.push_str(", ");
                    text.push_str(agent.as_str());
                }
                if stream.turns > 0 {
                    text.push_str(&format!(", turn {}", stream.turns.saturating_add(1)));
                }
            }
            if stream.attempt > 1 {
                text.push_str(&format!(", attempt {}", stream.attempt));
            }
        }
        Phase::Ended(_) => {
            text.push_str(&words::doing(stream, at, zone).1);
            let mut facts: Vec<String> = stream.model.iter().cloned().collect();
            facts.extend([words::time(stream, at), words::counted(stream.lines, "line")]);
            if stream.attempt > 1 {
                facts.push(format!("{} attempts", stream.attempt));
            }
            facts.extend(spent(stream.usage(), stream.cost()));
            if stream.lost > 0 {
                facts.push(format!("{} lost", words::counted(stream.lost, "line")));
            }
            text.push_str(&format!(" ({})", facts.join(", ")));
        }
        _ => text.push_str(&words::doing(stream, at, zone).1),
    }
    clean(&text).into_owned()
}

/// All that a log says of a change: the line, and what belongs to an end, if that is the change. `actions` is for a log
/// that GitHub Actions reads.
pub fn entry(stream: &Stream, at: Ts, look: &Look, actions: bool) -> String {
    let mut text = change(stream, at, &look.zone);
    if actions {
        text = command_free(&text).into_owned();
    }
    if stream.outcome().is_none() {
        return text;
    }
    let told = Told::new(0, stream, at, look);
    let mut lines = Vec::new();
    if told.mark.0 == Style::Bad {
        let exit = stream.end.as_deref().map(|end| end.exit.stderr.as_str());
        lines = last(exit.unwrap_or_default());
        if lines.is_empty() && !actions {
            lines = last(&told.answer().unwrap_or_default());
        }
    }
    for line in lines {
        text.push_str("\n  | ");
        text.push_str(&if actions {
            command_free(&line).into_owned()
        } else {
            line
        });
    }
    if actions {
        text.push_str(&logged(&told));
    }
    text
}

/// The last lines of a text that say something.
fn last(text: &str) -> Vec<String> {
    let lines = text.lines().rev().map(|line| super::clean::line(line, COLUMNS));
    let lines = lines.map(|line| line.trim_end().to_owned());
    let mut lines: Vec<String> = lines.filter(|line| !line.is_empty()).take(LAST).collect();
    lines.reverse();
    lines
}

/// The line for a day's first time: `2026-11-21 (UTC+01:00)`.
pub fn day(at: Ts, zone: &TimeZone) -> String {
    words::in_zone(at, "%Y-%m-%d (UTC%:z)", zone).unwrap_or_else(|| "no day that a calendar holds".to_owned())
}

/// The last line of a log: how all of it ended and what it took; `None` where there was nothing.
pub fn total(state: &State, now: Ts, look: &Look) -> Option<String> {
    let report = Report::new(state, now, look);
    let time = time_of_day(report.span.1, &look.zone);
    let text = format!("{time} {} ({})", report.title, report.totals.join(", "));
    (!report.streams.is_empty()).then_some(text)
}

/// What was used: tokens and money.
fn spent(usage: Usage, cost: Option<f64>) -> impl Iterator<Item = String> {
    let tokens = words::tokens(usage);
    let tokens = (tokens > 0).then(|| format!("{} tok", words::count(tokens)));
    tokens
        .into_iter()
        .chain(cost.filter(|cost| *cost > 0.0).map(words::dollars))
}

/// The line that says that all is well while nothing changes; `None` when nothing runs.
pub fn alive<'a>(streams: impl Iterator<Item = (usize, &'a Stream)>, now: Ts, zone: &TimeZone) -> Option<String> {
    let mut streams = streams.filter(|(_, stream)| stream.has_begun() && !stream.is_over());
    let running: Vec<String> = streams
        .by_ref()
        .take(NAMED)
        .map(|(_, stream)| {
            let share = stream.progress.map(|progress| format!(", {}", words::share(progress)));
            format!(
                "{} ({}, {}{}, {})",
                stream.name,
                words::time(stream, now),
                words::counted(stream.lines, "line"),
                share.unwrap_or_default(),
                words::doing(stream, now, zone).1
            )
        })
        .collect();
    if running.is_empty() {
        return None;
    }
    let mut text = format!("{} still running: {}", time_of_day(now, zone), running.join(", "));
    let more = streams.count();
    if more > 0 {
        text.push_str(&format!(", and {more} more"));
    }
    Some(clean(&text).into_owned())
}

/// How far the phases or levels of the plan are, on one line; empty where there are none to tell of.
pub fn groups(state: &State) -> String {
    words::groups(state, COLUMNS)
}

/// The time that begins a line.
pub fn time_of_day(at: Ts, zone: &TimeZone) -> String {
    words::in_zone(at, "%H:%M:%S", zone).unwrap_or_else(|| "--:--:--".to_owned())
}

/// What is known of a stream, as one JSON object.
pub fn object(stream: &Stream, at: Ts) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            all.insert(name.to_owned(), value);
        }
    };
    let state = match stream.phase {
        Phase::Ended(_) => "ended",
        _ => words::state(stream),
    };
    put("ts", json!(at.seconds()));
    put("stream", json!(stream.name));
    put("state", json!(state));
    put("outcome", json!(stream.outcome().map(Outcome::as_str)));
    put("agent", json!(stream.agent().map(Kind::as_str)));
    put("model", json!(stream.model));
    put("role", json!(stream.role()));
    put("session_id", json!(stream.session));
    put("pid", json!(stream.pid()));
    put("attempt", json!(stream.attempt));
    if !stream.why().is_empty() {
        let waits = stream.phase == Phase::Waiting;
        put(if waits { "waits" } else { "because" }, json!(stream.why()));
    }
    put("started", json!(stream.has_begun().then(|| stream.started.seconds())));
    put("ended", json!(stream.ended.map(Ts::seconds)));
    put("elapsed", json!(words::elapsed(stream, at).as_secs_f64()));
    put("lines", json!(stream.lines));
    put("bytes", json!(stream.bytes));
    put("lost", json!(stream.lost));
    put("tools", json!(stream.tools));
    put("usage", json!(stream.usage()));
    put("cost_usd", json!(stream.cost()));
    if stream.has_begun() && !stream.is_over() {
        put("doing", doing(stream));
        put(
            "silent",
            json!(at.since(stream.heard.max(stream.started)).as_secs_f64()),
        );
    }
    match stream.phase {
        Phase::Retrying { attempt, of, until } => {
            put("retry", json!({"attempt": attempt, "of": of, "because": stream.again}));
            put("until", json!(until.seconds()));
        }
        Phase::Parked { until } => put("until", json!(until.map(Ts::seconds))),
        _ => {}
    }
    if let Some(turn) = &stream.turn {
        let Exit { outcome, because, .. } = &turn.exit;
        put(
            "turn",
            json!({"number": stream.turns, "outcome": outcome.as_str(), "because": because}),
        );
    }
    put("stop", json!(stream.stop));
    put("progress", stream.progress.map_or(Value::Null, progress));
    if !stream.tasks.is_empty() {
        put("tasks", stream.tasks.iter().map(task).collect());
    }
    if !stream.background.is_empty() {
        put("background", json!(stream.background));
    }
    if let Some(limit) = &stream.limit {
        put(
            "limit",
            json!({"status": limit.status, "resets_at": limit.resets_at, "kind": limit.kind}),
        );
    }
    if let Some(end) = &stream.end {
        put("because", json!(end.exit.because));
        put("code", json!(end.exit.code));
        put("signal", json!(end.exit.signal));
    }
    Value::Object(all)
}

fn doing(stream: &Stream) -> Value {
    match &stream.activity {
        Activity::Starting => json!({"what": "starting"}),
        Activity::Thinking => json!({"what": "thinking"}),
        Activity::Writing => json!({"what": "writing"}),
        Activity::Tool { name, what } => json!({"what": "tool", "tool": name, "on": what}),
        Activity::Retry {
            attempt,
            max,
            until,
            because,
        } => json!({"what": "retry", "attempt": attempt, "of": max, "until": until.seconds(), "because": because}),
        Activity::Idle => json!({"what": "idle"}),
        Activity::Prompt => json!({"what": "prompt"}),
    }
}

fn progress(progress: Progress) -> Value {
    match progress {
        Progress::Percent(percent) => json!({"fraction": percent / 100.0}),
        Progress::Steps { done, total } => json!({"fraction": progress.fraction(), "done": done, "total": total}),
    }
}

fn task((what, state): &(String, TaskState)) -> Value {
    let state = match state {
        TaskState::Pending => "pending",
        TaskState::Active => "in_progress",
        TaskState::Done => "completed",
    };
    json!({"what": what, "state": state})
}
