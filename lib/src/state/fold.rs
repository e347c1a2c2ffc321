//! One line into the picture.

use super::stream::{Activity, End, Limit, Output, Phase, Stream, Voice};
use super::{Progress, State};
use crate::agent::{Fact, Kind, Reader, TaskState};
use crate::line::{Event, Exit, Header, Outcome, Ts, body, subtype, unwrap};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::time::Duration;

/// More tools than an agent uses at once, and more tasks than anybody lists.
const MANY: usize = 100;
/// A `limit` event of our own: the start waits.
const HELD: &str = "held";

/// Takes a line whose header is `head`.
pub(super) fn line(state: &mut State, line: &[u8], head: &Header<'_>) -> Option<usize> {
    let own = subtype(line, head);
    match own {
        Some(b"partial" | b"final") => {
            if let Some(Event::Partial(verdict) | Event::Final(verdict)) = Event::read(line) {
                state.verdict = Some(verdict);
            }
            return None;
        }
        // These tell of sources, not of streams.
        Some(b"join" | b"leave") => return None,
        // Half a line under a name that may be no stream at all.
        Some(b"torn") if state.get(head.stream).is_none() => return None,
        _ => {}
    }
    let at = state.at(head.stream);
    let stream = &mut state.streams[at];
    stream.seen(head.ts);
    match own {
        None => worker_line(stream, &mut state.facts, line, head),
        Some(b"start") => start(stream, line, head),
        Some(b"gap") => gap(stream, line, head),
        Some(own) => {
            // A start that waits for a limit says so, or even its end, before anything else.
            if head.seq == 1 && stream.sequence.last() > 1 && matches!(own, b"limit" | b"exit") {
                anew(stream);
                stream.seen(head.ts);
            }
            see(stream, head);
            match own {
                b"text" | b"chunk" | b"stderr" => text(stream, own, line, head),
                b"exit" => exit(stream, line, head),
                b"turn" => turn(stream, line, head),
                b"torn" => lose(stream, 1, head.ts),
                b"lost" => end(stream, (Outcome::Lost, ""), head.ts),
                _ => other(stream, line, head),
            }
        }
    }
    Some(at)
}

fn see(stream: &mut Stream, head: &Header<'_>) {
    if let Some(hole) = stream.sequence.see(head.seq) {
        lose(stream, hole.lost(), head.ts);
    }
}

fn lose(stream: &mut Stream, lines: u64, ts: Ts) {
    stream.lost = stream.lost.saturating_add(lines);
    stream.record(|track| track.lost(lines, ts));
}

fn gap(stream: &mut Stream, line: &[u8], head: &Header<'_>) {
    if let Some(Event::Gap { from, to, lost }) = Event::read(line) {
        let lost = lost.max(u64::from(to >= from));
        lose(stream, lost, head.ts);
        stream.sequence.told(to);
    }
    // Its number is the last one missing, so that it fills the hole.
    stream.sequence.told(head.seq);
}

/// A stream that is known begins anew: nothing was seen of it yet.
pub(super) fn anew(stream: &mut Stream) {
    let (assumed, keep, track) = (stream.assumed, stream.keep, stream.track.take());
    let (planned, wiped) = (stream.planned.take(), stream.wiped);
    *stream = Stream::new(&std::mem::take(&mut stream.name));
    stream.assume(assumed);
    (stream.keep, stream.planned, stream.wiped) = (keep, planned, wiped);
    stream.track = track.map(|track| Box::new(track.anew()));
}

/// An attempt begins. Its number tells whether the stream goes on with it, or begins anew.
fn start(stream: &mut Stream, line: &[u8], head: &Header<'_>) {
    if head.seq <= stream.sequence.last() {
        anew(stream);
        stream.seen(head.ts);
    }
    see(stream, head);
    let Some(Event::Start(start)) = Event::read(line) else {
        return;
    };
    stream.next_attempt(start.session_id.as_deref());
    let kind = Kind::named(&start.agent);
    // Whoever only stamped a stream may not know what wrote it: then its first line tells.
    stream.known = kind.is_some_and(|kind| kind.is_agent() || start.pid.is_some());
    stream.kind = kind.unwrap_or(Kind::Plain);
    stream.reader = Reader::new(stream.kind);
    if !stream.kind.is_agent() {
        stream.assume(stream.assumed);
    }
    stream.attempt = start.attempt.max(1);
    stream.phase = Phase::Running;
    stream.record(|track| track.attempt(start.attempt.max(1), &start.agent, head.ts));
    stream.start = Some(start);
}

/// The worker gives a sign of life of its own.
fn hear(stream: &mut Stream, ts: Ts) {
    stream.heard = stream.heard.max(ts);
    stream.record(|track| track.heard(ts));
    // An attempt may begin without us, where the line that tells it is lost.
    if matches!(
        stream.phase,
        Phase::Waiting | Phase::Skipped | Phase::Unneeded | Phase::Retrying { .. } | Phase::Parked { .. }
    ) {
        stream.phase = Phase::Running;
    }
}

/// Takes a worker's line without reading it.
pub(super) fn count(state: &mut State, line: &[u8], head: &Header<'_>) -> usize {
    let at = state.at(head.stream);
    let stream = &mut state.streams[at];
    stream.seen(head.ts);
    count_line(stream, line, head);
    at
}

fn count_line(stream: &mut Stream, line: &[u8], head: &Header<'_>) {
    see(stream, head);
    hear(stream, head.ts);
    stream.lines += 1;
    let (brace, rest) = body(line, head);
    stream.bytes += (brace.len() + rest.len() + 1) as u64;
}

fn worker_line(stream: &mut Stream, facts: &mut Vec<Fact>, line: &[u8], head: &Header<'_>) {
    count_line(stream, line, head);
    if !stream.known {
        recognise(stream, line);
    }
    if stream.kind == Kind::Plain {
        stream.output.add(|out| unwrap(line, out));
        stream.activity = Activity::Writing;
        return;
    }
    stream.reader.read(line, facts);
    for fact in facts.drain(..) {
        stream.account.add(&fact);
        stream.record(|track| track.fact(&fact));
        self::fact(stream, fact, head.ts);
    }
}

fn recognise(stream: &mut Stream, line: &[u8]) {
    stream.known = true;
    if let Some(kind) = Kind::of_line(line) {
        stream.kind = kind;
        stream.reader = Reader::new(kind);
    }
}

fn fact(stream: &mut Stream, fact: Fact, ts: Ts) {
    match fact {
        Fact::Init { session, model } => {
            stream.session = session.or(stream.session.take());
            stream.model = model.or(stream.model.take());
            stream.activity = Activity::Thinking;
        }
        Fact::Text { text, sub } => {
            stream.say(ts, if sub { Voice::Sub } else { Voice::Worker }, &text);
            if !sub && stream.open_tools.is_empty() {
                stream.activity = Activity::Writing;
            }
        }
        Fact::Delta { text, .. } => {
            stream.say(ts, Voice::Open, &text);
            stream.activity = Activity::Writing;
        }
        Fact::Thinking => stream.activity = Activity::Thinking,
        Fact::ToolStart { id, name, what } => {
            stream.tools += 1;
            stream.say(ts, Voice::Tool, format!("{name} {what}").trim_end());
            if stream.open_tools.len() < MANY {
                stream.open_tools.push((id, name, what));
            }
            at_tool(stream);
        }
        Fact::ToolEnd { id, .. } => {
            stream.open_tools.retain(|(open, ..)| *open != id);
            at_tool(stream);
        }
        Fact::Denied { tool } => stream.say(ts, Voice::Trouble, &format!("{tool} was not permitted")),
        Fact::Retry {
            attempt,
            max,
            delay,
            because,
        } => {
            stream.say(ts, Voice::Trouble, &because);
            stream.activity = Activity::Retry {
                attempt,
                max,
                until: after(ts, delay),
                because,
            };
        }
        Fact::Limit {
            status,
            resets_at,
            kind,
        } => limit(stream, status, resets_at, kind),
        Fact::Background(open) => stream.background = open,
        Fact::Tasks(mut tasks) => {
            tasks.truncate(MANY);
            let done = tasks.iter().filter(|(_, state)| *state == TaskState::Done).count() as u64;
            let total = tasks.len() as u64;
            stream.progress = (total > 0).then_some(Progress::Steps { done, total });
            stream.tasks = tasks;
        }
        Fact::Trouble(text) => stream.say(ts, Voice::Trouble, &text),
        Fact::Result(result) => {
            stream.session = result.session.or(stream.session.take());
            stream.open_tools.clear();
            stream.activity = Activity::Idle;
            if result.error
                && let Some(text) = result.text
            {
                stream.say(ts, Voice::Trouble, &text);
            }
        }
        Fact::Usage { .. } | Fact::Cost(_) => {}
    }
}

fn at_tool(stream: &mut Stream) {
    stream.activity = match stream.open_tools.last() {
        Some((_, name, what)) => Activity::Tool {
            name: name.clone(),
            what: what.clone(),
        },
        None => Activity::Thinking,
    };
}

fn limit(stream: &mut Stream, status: String, resets_at: Option<f64>, kind: Option<String>) {
    stream.limit = Some(Limit {
        status,
        resets_at,
        kind,
    });
}

/// `text`, `stderr` and `chunk` events, read without a tree: a command's log is made of them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wrapped<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
    eol: Option<bool>,
    last: bool,
}

fn text(stream: &mut Stream, own: &[u8], line: &[u8], head: &Header<'_>) {
    hear(stream, head.ts);
    let wrapped: Wrapped<'_> = serde_json::from_slice(line).unwrap_or_default();
    let bytes = match (wrapped.text, wrapped.base64) {
        (Some(Cow::Borrowed(text)), _) => Cow::Borrowed(text.as_bytes()),
        (Some(Cow::Owned(text)), _) => Cow::Owned(text.into_bytes()),
        (None, Some(code)) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(code.as_bytes());
            Cow::Owned(decoded.unwrap_or_default())
        }
        (None, None) => Cow::Borrowed(&b""[..]),
    };
    let ends = own != b"chunk" || wrapped.last;
    let stderr = own == b"stderr";
    if stderr {
        stream.stderr_lines += 1;
    } else {
        stream.lines += u64::from(ends);
        let feed = ends && wrapped.eol.unwrap_or(true);
        stream.bytes += bytes.len() as u64 + u64::from(feed);
        if !stream.kind.is_agent() {
            stream.activity = Activity::Writing;
            stream.output.add(|out| {
                out.extend_from_slice(&bytes);
                out.extend_from_slice(if feed { b"\n" } else { b"" });
            });
        }
    }
    if own == b"chunk" {
        return;
    }
    let text = String::from_utf8_lossy(&bytes);
    // A task list says it better than a line does.
    if stream.tasks.is_empty()
        && let Some(progress) = Progress::read(&text)
    {
        stream.progress = Some(progress);
    }
    if !text.trim().is_empty() {
        stream.say(head.ts, if stderr { Voice::Stderr } else { Voice::Worker }, &text);
    }
}

fn other(stream: &mut Stream, line: &[u8], head: &Header<'_>) {
    match Event::read(line) {
        Some(Event::Heartbeat { rss, cpu, .. }) => stream.load = Some((cpu, rss)),
        Some(Event::Limit {
            status,
            resets_at,
            kind,
        }) => {
            if status == HELD && stream.outcome().is_none() {
                let until = resets_at.map(|seconds| after(Ts(0), seconds));
                stream.phase = Phase::Parked { until };
                stream.record(|track| track.held(head.ts));
            }
            limit(stream, status, resets_at, kind);
        }
        Some(Event::Retry {
            attempt,
            of,
            delay,
            because,
            next,
        }) => {
            let ended = stream.outcome().is_some();
            stream.say(head.ts, Voice::Trouble, &because);
            if ended {
                return;
            }
            let until = after(head.ts, delay);
            let limited = |limit: &Limit| matches!(limit.status.as_str(), "rejected" | HELD);
            // Another agent need not wait for it.
            let parked = next.is_none() && stream.limit.as_ref().is_some_and(limited);
            stream.record(|track| track.backs_off(attempt, &because, parked, head.ts));
            stream.phase = if parked {
                Phase::Parked { until: Some(until) }
            } else {
                Phase::Retrying { attempt, of, until }
            };
            stream.rest();
            stream.again = Some(match next {
                Some(next) => format!("{because}, by {next}"),
                None => because,
            });
        }
        Some(Event::Stop { because, .. }) => {
            if stream.outcome().is_none() {
                stream.phase = Phase::Stopping;
                stream.record(|track| track.stops(&because, head.ts));
            }
            stream.stop = Some(because);
        }
        _ => {}
    }
}

/// A kept worker is done with one prompt.
fn turn(stream: &mut Stream, line: &[u8], head: &Header<'_>) {
    let turn = told(line);
    stream.record(|track| track.turned(turn.exit.outcome, head.ts));
    stream.session = turn.exit.session_id.clone().or(stream.session.take());
    stream.turns += 1;
    stream.turn = Some(Box::new(turn));
    stream.activity = Activity::Prompt;
    stream.open_tools.clear();
    // The next turn has an answer of its own.
    stream.output = Output::default();
}

fn exit(stream: &mut Stream, line: &[u8], head: &Header<'_>) {
    let told = told(line);
    end(stream, (told.exit.outcome, &told.exit.because), head.ts);
    stream.session = told.exit.session_id.clone().or(stream.session.take());
    stream.end = Some(Box::new(told));
}

/// The members of an `exit`, or a `turn`.
fn told(line: &[u8]) -> End {
    let mut raw: Map<String, Value> = serde_json::from_slice(line).unwrap_or_default();
    for member in ["cl", "type", "subtype"] {
        raw.remove(member);
    }
    // A later version's exit that we cannot read whole is still the end.
    let exit = match Event::read(line) {
        Some(Event::Exit(exit) | Event::Turn(exit)) => *exit,
        _ => Exit {
            outcome: raw
                .get("outcome")
                .and_then(|word| serde_json::from_value(word.clone()).ok())
                .unwrap_or_default(),
            text: raw.get("text").and_then(Value::as_str).map(str::to_owned),
            ..Exit::default()
        },
    };
    End { exit, raw }
}

fn end(stream: &mut Stream, (outcome, because): (Outcome, &str), ts: Ts) {
    // A `lost` after an `exit` is only another reader's view.
    if matches!(stream.outcome(), None | Some(Outcome::Lost)) {
        stream.phase = Phase::Ended(outcome);
        stream.ended = Some(ts);
        stream.record(|track| track.ends(outcome, because, ts));
    }
    stream.activity = Activity::Idle;
    stream.open_tools.clear();
}

fn after(ts: Ts, seconds: f64) -> Ts {
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
    Ts(ts.0.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)))
}
