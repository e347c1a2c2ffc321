//! What is said at the end: the event, the answers, the exit code.

use harmony::line::{Outcome, Verdict};
use harmony::policy::{Ended, Policy};
use harmony::state::{Phase, State, Stream};
use harmony::view;
use serde_json::{Map, Value, json};

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Enough is there.
    Met,
    /// Enough can no longer come, for this reason.
    Unmet(String),
    /// Time is up.
    Timeout,
    /// This signal ended it.
    Cancelled(i32),
}

impl Ending {
    /// The verdict's word.
    fn word(&self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Unmet(_) => "unmet",
            Self::Timeout => "timeout",
            Self::Cancelled(_) => "cancelled",
        }
    }

    /// Why it is not met; nothing where it is, or where somebody ended it on purpose.
    pub fn because(&self, state: &State, policy: &Policy) -> Option<String> {
        match self {
            Self::Unmet(reason) => Some(reason.clone()),
            Self::Timeout => Some(missing(state, policy)),
            Self::Met | Self::Cancelled(_) => None,
        }
    }

    /// The exit code; that of a stream counts where the verdict is in.
    pub fn code(&self, from: Option<&Stream>, policy: &Policy) -> u8 {
        let own = from.and_then(|stream| exit_code(stream, policy));
        match self {
            Self::Met => own.unwrap_or(0),
            Self::Unmet(_) => own.unwrap_or(1),
            Self::Timeout => 124,
            Self::Cancelled(signal) => 128u8.wrapping_add(*signal as u8),
        }
    }
}

/// What is not there at a timeout.
fn missing(state: &State, policy: &Policy) -> String {
    let counted = state.streams().iter().filter(|stream| policy.counts(state, stream));
    let open = counted
        .filter(|stream| policy.is_open(stream))
        .map(|stream| stream.name.as_str());
    let named = policy.need.iter().chain(&policy.expect).map(String::as_str);
    let absent = named.filter(|name| state.get(name).is_none());
    let mut names: Vec<&str> = open.chain(absent).collect();
    names.sort_unstable();
    names.dedup();
    match names.is_empty() {
        true => "time is up".to_owned(),
        false => format!("time is up; not there yet: {}", names.join(", ")),
    }
}

/// The event's content, for a `partial` (no ending yet) or the `final`.
pub fn verdict(state: &State, policy: &Policy, ending: Option<&Ending>) -> Verdict {
    let streams = state.streams().iter();
    Verdict {
        verdict: ending.map_or("waiting", Ending::word).to_owned(),
        streams: streams
            .map(|stream| (stream.name.clone(), Value::Object(known(stream, policy))))
            .collect(),
        text: answers(state, policy, ending)
            .into_iter()
            .map(|(_, text)| text)
            .collect::<Vec<_>>()
            .join("\n\n"),
        because: ending
            .and_then(|ending| ending.because(state, policy))
            .unwrap_or_default(),
    }
}

/// A stream's exit event without its header, or the turn's that was waited for; of one that has told none, what is
/// known.
fn known(stream: &Stream, policy: &Policy) -> Map<String, Value> {
    if let Some(told) = policy.ended(stream).and_then(|ended| ended.told) {
        return told.raw.clone();
    }
    let mut known = Map::new();
    let mut add = |name: &str, value: Value| known.insert(name.to_owned(), value);
    match stream.phase {
        Phase::Ended(outcome) => {
            add("outcome", json!(outcome));
            add("because", json!("its stream stopped without telling its end"));
        }
        Phase::Waiting => drop(add("phase", json!("waiting"))),
        Phase::Skipped => drop(add("phase", json!("skipped"))),
        Phase::Unneeded => drop(add("phase", json!("unneeded"))),
        Phase::Running => drop(add("phase", json!("running"))),
        Phase::Retrying { .. } => drop(add("phase", json!("retrying"))),
        Phase::Parked { .. } => drop(add("phase", json!("parked"))),
        Phase::Stopping => drop(add("phase", json!("stopping"))),
    }
    if !stream.why().is_empty() {
        add("because", json!(stream.why()));
    }
    if !stream.has_begun() {
        return known;
    }
    add("attempts", json!(stream.attempt));
    add("lines", json!(stream.lines));
    add("bytes", json!(stream.bytes));
    if let Some(session) = &stream.session {
        add("session_id", json!(session));
    }
    if stream.usage().total() > 0 {
        add("usage", json!(stream.usage()));
    }
    if let Some(cost) = stream.cost() {
        add("cost_usd", json!(cost));
    }
    if let Some(text) = stream.answer() {
        add("text", json!(text));
    }
    known
}

/// The answers with the names of their streams: as they were named, then by name.
///
/// When the verdict is met these are the answers of the streams that ended well; otherwise all that came.
pub fn answers<'a>(state: &'a State, policy: &Policy, ending: Option<&Ending>) -> Vec<(&'a str, String)> {
    let met = ending == Some(&Ending::Met);
    let mut streams: Vec<&Stream> = state
        .streams()
        .iter()
        .filter(|stream| policy.counts(state, stream) && (!met || policy.is_well(stream)))
        .collect();
    streams.sort_by_key(|stream| policy.place(&stream.name));
    let with_text = streams.into_iter().filter_map(|stream| {
        let answer = match policy.ended(stream) {
            Some(Ended { turn: true, told, .. }) => told?.exit.text.clone(),
            _ => stream.answer(),
        };
        let text = answer.filter(|text| !text.trim().is_empty())?;
        Some((stream.name.as_str(), text.trim_end_matches(['\n', '\r']).to_owned()))
    });
    with_text.collect()
}

/// The answers for `-o text`. On a terminal nothing in them acts on it, and several have headings.
pub fn text(answers: &[(&str, String)], terminal: bool, color: bool) -> String {
    let mut all = String::new();
    for (i, (name, text)) in answers.iter().enumerate() {
        if i > 0 {
            all.push('\n');
        }
        if terminal && answers.len() > 1 {
            let (bold, plain) = if color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            all.push_str(&format!("{bold}{name}{plain}\n"));
        }
        match terminal {
            true => all.push_str(&view::clean_lines(text)),
            false => all.push_str(text),
        }
        all.push('\n');
    }
    all
}

/// The exit code of cl-spawn for a stream that has ended, as far as its events tell it.
fn exit_code(stream: &Stream, policy: &Policy) -> Option<u8> {
    let Ended { outcome, told, .. } = policy.ended(stream)?;
    let exit = told.map(|end| &end.exit);
    let signal = exit
        .and_then(|exit| exit.signal.as_deref()?.parse::<nix::sys::signal::Signal>().ok())
        .map(|signal| 128 + signal as u8);
    let code = exit
        .and_then(|exit| exit.code)
        .map(|code| code as u8)
        .filter(|code| *code != 0);
    Some(match outcome {
        Outcome::Success => 0,
        Outcome::Error | Outcome::Failed | Outcome::Exhausted | Outcome::Killed => code.or(signal).unwrap_or(1),
        Outcome::Incomplete | Outcome::Truncated | Outcome::Unknown | Outcome::Lost => 1,
        Outcome::Unavailable => 69,
        Outcome::Limit => 75,
        Outcome::Auth => 77,
        Outcome::Timeout | Outcome::Idle => 124,
        Outcome::Cancelled if stream.stop.as_deref() == Some("downstream") => 141,
        Outcome::Cancelled => signal.or(code.filter(|code| *code > 128)).unwrap_or(130),
        Outcome::Unstartable => code.unwrap_or(126),
    })
}
