//! Changes of state as lines: for a CI log or a file, and as JSON for other programs.
//!
//! A stream is looked at after each of its lines, so that no change falls between two looks.

use super::clean::clean;
use super::words;
use crate::agent::TaskState;
use crate::line::{Outcome, Ts};
use crate::state::{Activity, Phase, Progress, Stream};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

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
    /// What only programs want to be told.
    fine: Option<(Activity, Option<Progress>, usize)>,
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
            fine: fine.then(|| (stream.activity.clone(), stream.progress, stream.background.len())),
        }
    }

    /// As comparing with [`Seen::of`], but nothing is copied: this is asked for each line.
    fn holds(&self, stream: &Stream, fine: bool) -> bool {
        self.phase == stream.phase
            && self.attempt == stream.attempt
            && self.started == stream.started
            && self.limit.as_deref() == stream.limit.as_ref().map(|limit| limit.status.as_str())
            && self.retry == retry(stream)
            && (!fine
                || self.fine.as_ref().is_some_and(|(activity, progress, background)| {
                    (activity, *progress, *background) == (&stream.activity, stream.progress, stream.background.len())
                }))
    }
}

fn retry(stream: &Stream) -> Option<u64> {
    match stream.activity {
        Activity::Retry { attempt, .. } => Some(attempt),
        _ => None,
    }
}

/// The line for a change: `12:34:05 main: running, claude`.
pub fn change(stream: &Stream, at: Ts, zone: &TimeZone) -> String {
    let mut text = format!("{} {}: ", time_of_day(at, zone), stream.name);
    match stream.phase {
        Phase::Running => {
            if retry(stream).is_some() || stream.limit.as_ref().is_some_and(|limit| limit.status != "allowed") {
                text.push_str(&words::doing(stream, at).1);
            } else {
                text.push_str("running, ");
                text.push_str(stream.kind.as_str());
            }
            if stream.attempt > 1 {
                text.push_str(&format!(", attempt {}", stream.attempt));
            }
        }
        Phase::Ended(_) => {
            text.push_str(&words::doing(stream, at).1);
            let mut facts = vec![words::time(stream, at), words::counted(stream.lines, "line")];
            let tokens = words::tokens(stream.usage());
            if tokens > 0 {
                facts.push(format!("{} tok", words::count(tokens)));
            }
            if let Some(cost) = stream.cost().filter(|cost| *cost > 0.0) {
                facts.push(words::dollars(cost));
            }
            if stream.lost > 0 {
                facts.push(format!("{} lost", words::counted(stream.lost, "line")));
            }
            text.push_str(&format!(" ({})", facts.join(", ")));
        }
        _ => text.push_str(&words::doing(stream, at).1),
    }
    clean(&text).into_owned()
}

/// The line that says that all is well while nothing changes; `None` when nothing runs.
pub fn alive<'a>(streams: impl Iterator<Item = (usize, &'a Stream)>, now: Ts, zone: &TimeZone) -> Option<String> {
    let running: Vec<String> = streams
        .filter(|(_, stream)| stream.outcome().is_none())
        .map(|(_, stream)| {
            let share = stream.progress.map(|progress| format!(", {}", words::share(progress)));
            format!(
                "{} ({}, {}{}, {})",
                stream.name,
                words::time(stream, now),
                words::counted(stream.lines, "line"),
                share.unwrap_or_default(),
                words::doing(stream, now).1
            )
        })
        .collect();
    if running.is_empty() {
        return None;
    }
    let text = format!("{} still running: {}", time_of_day(now, zone), running.join(", "));
    Some(clean(&text).into_owned())
}

fn time_of_day(at: Ts, zone: &TimeZone) -> String {
    let micros = i64::try_from(at.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string(),
        Err(_) => "--:--:--".to_owned(),
    }
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
    put("agent", json!(stream.kind.as_str()));
    put("model", json!(stream.model));
    put("role", json!(stream.role()));
    put("session_id", json!(stream.session));
    put("pid", json!(stream.pid()));
    put("attempt", json!(stream.attempt));
    put("started", json!(stream.started.seconds()));
    put("ended", json!(stream.ended.map(Ts::seconds)));
    put("elapsed", json!(words::elapsed(stream, at).as_secs_f64()));
    put("lines", json!(stream.lines));
    put("bytes", json!(stream.bytes));
    put("lost", json!(stream.lost));
    put("tools", json!(stream.tools));
    put("usage", json!(stream.usage()));
    put("cost_usd", json!(stream.cost()));
    if stream.outcome().is_none() {
        put("doing", doing(stream));
        put(
            "silent",
            json!(at.since(stream.heard.max(stream.started)).as_secs_f64()),
        );
    }
    if let Phase::Retrying { until } | Phase::Parked { until } = stream.phase {
        put("until", json!(until.seconds()));
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
