//! What a stream's state is in words and marks: the same in the live picture and in the log.

use super::row::Style;
use crate::line::{Exit, Outcome, Ts, Usage};
use crate::state::{Activity, Phase, Progress, State, Stream};
use crate::units::brief;
use jiff::tz::TimeZone;
use std::time::Duration;

/// Silence worth a word.
const SILENT: Duration = Duration::from_secs(10);

/// The state as one mark.
pub(super) fn mark(stream: &Stream) -> (Style, &'static str) {
    match stream.phase {
        Phase::Waiting => (Style::Dim, "·"),
        Phase::Skipped => (Style::Warn, "–"),
        Phase::Unneeded => (Style::Dim, "–"),
        Phase::Running => match stream.activity {
            Activity::Retry { .. } => (Style::Warn, "↻"),
            Activity::Prompt => (Style::Dim, "◦"),
            _ => (Style::Busy, "●"),
        },
        Phase::Retrying { .. } => (Style::Warn, "↻"),
        Phase::Parked { .. } => (Style::Warn, "‖"),
        Phase::Stopping => (Style::Warn, "○"),
        Phase::Ended(Outcome::Success) => (Style::Good, "✓"),
        Phase::Ended(Outcome::Cancelled) => (Style::Warn, "–"),
        Phase::Ended(Outcome::Unknown) => (Style::Warn, "?"),
        Phase::Ended(_) => (Style::Bad, "✗"),
    }
}

/// The state as one word.
pub(super) fn state(stream: &Stream) -> &'static str {
    match stream.phase {
        Phase::Waiting => "waiting",
        Phase::Skipped => "skipped",
        Phase::Unneeded => "not needed",
        Phase::Running if stream.activity == Activity::Prompt => "idle",
        Phase::Running => "running",
        Phase::Retrying { .. } => "retrying",
        Phase::Parked { .. } => "parked",
        Phase::Stopping => "stopping",
        Phase::Ended(outcome) => outcome.as_str(),
    }
}

/// What the stream does now and for how long it has been silent, or how it ended.
pub(super) fn doing(stream: &Stream, now: Ts, zone: &TimeZone) -> (Style, String) {
    let (style, text) = act(stream, now, zone);
    match silence(stream, now) {
        Some(silent) => (Style::Warn, format!("{text}, silent for {}", brief(silent))),
        None => (style, text),
    }
}

/// For how long a worker has said nothing that should say something, where that is worth a word.
pub(super) fn silence(stream: &Stream, now: Ts) -> Option<Duration> {
    let works = stream.phase == Phase::Running && stream.activity != Activity::Prompt;
    let silent = now.since(stream.heard.max(stream.started));
    (works && silent >= SILENT).then_some(silent)
}

/// What the stream does now, or how it ended.
pub(super) fn act(stream: &Stream, now: Ts, zone: &TimeZone) -> (Style, String) {
    match stream.phase {
        Phase::Waiting if stream.why().is_empty() => (Style::Dim, "waiting".to_owned()),
        Phase::Waiting => (Style::Dim, stream.why().to_owned()),
        Phase::Skipped => (Style::Warn, join("skipped", stream.why())),
        Phase::Unneeded => (Style::Dim, "not needed".to_owned()),
        Phase::Running => activity(stream, now),
        Phase::Retrying { attempt, of, until } => {
            let of = if of > 0 { format!(" of {of}") } else { String::new() };
            let text = format!("retry {attempt}{of} {}", until_then(until, now));
            (Style::Warn, join(&text, stream.again.as_deref().unwrap_or_default()))
        }
        Phase::Parked { until } => {
            let until = until.map(|until| format!(" until {}", time_of_day(until, now, zone)));
            (Style::Warn, format!("waits for the limit{}", until.unwrap_or_default()))
        }
        Phase::Stopping => {
            let because = stream.stop.as_deref().unwrap_or_default();
            (Style::Warn, join("stopping", because))
        }
        Phase::Ended(outcome) => ended(stream, outcome),
    }
}

fn activity(stream: &Stream, now: Ts) -> (Style, String) {
    let (style, mut text) = match &stream.activity {
        Activity::Starting => (Style::Dim, "starting".to_owned()),
        Activity::Thinking => (Style::Plain, "thinking".to_owned()),
        Activity::Writing => (Style::Plain, "writing".to_owned()),
        Activity::Tool { name, what } => (Style::Plain, join(name, what)),
        Activity::Retry {
            attempt,
            max,
            until,
            because,
        } => {
            let of = max.map(|max| format!("/{max}")).unwrap_or_default();
            let text = format!("retry {attempt}{of} {}", until_then(*until, now));
            (Style::Warn, join(&text, because))
        }
        Activity::Idle => match stream.background.len() {
            0 => (Style::Plain, "turn done".to_owned()),
            count => (
                Style::Plain,
                join(&format!("{count} in the background"), &stream.background.join(", ")),
            ),
        },
        Activity::Prompt => {
            let (style, turn) = turn(stream);
            return (style, format!("{turn}, waiting for the next prompt"));
        }
    };
    if let Some(limit) = stream.limit.as_ref().filter(|limit| limit.status != "allowed") {
        text.push_str(", usage limit: ");
        text.push_str(&limit.status);
    }
    (style, text)
}

/// How a kept worker's last turn ended.
pub(super) fn turn(stream: &Stream) -> (Style, String) {
    let exit = stream.turn.as_ref().map(|turn| &turn.exit);
    let (style, text) = told(exit.map_or(Outcome::Unknown, |exit| exit.outcome), exit);
    let style = if style == Style::Good { Style::Dim } else { style };
    (style, format!("turn {}: {text}", stream.turns))
}

fn ended(stream: &Stream, outcome: Outcome) -> (Style, String) {
    told(outcome, stream.end.as_ref().map(|end| &end.exit))
}

fn told(outcome: Outcome, exit: Option<&Exit>) -> (Style, String) {
    let because = exit.map(|exit| exit.because.as_str()).unwrap_or_default();
    let (style, mut text) = match outcome {
        Outcome::Success => (Style::Good, outcome.as_str().to_owned()),
        Outcome::Cancelled | Outcome::Unknown => (Style::Warn, join(outcome.as_str(), because)),
        _ => (Style::Bad, join(outcome.as_str(), because)),
    };
    for warning in exit.iter().flat_map(|exit| &exit.warnings) {
        text.push_str(", ");
        text.push_str(warning);
    }
    (style, text)
}

fn join(head: &str, rest: &str) -> String {
    if rest.is_empty() {
        head.to_owned()
    } else {
        format!("{head}: {rest}")
    }
}

fn until_then(until: Ts, now: Ts) -> String {
    match until.since(now) {
        Duration::ZERO => "now".to_owned(),
        wait => format!("in {}", clock(wait)),
    }
}

/// When that is, on a clock; with the day where that is another than today may be.
fn time_of_day(at: Ts, now: Ts, zone: &TimeZone) -> String {
    const FAR: Duration = Duration::from_secs(20 * 3600);
    let format = if at.since(now) > FAR { "%b %-d %H:%M" } else { "%H:%M" };
    in_zone(at, format, zone).unwrap_or_else(|| "--:--".to_owned())
}

/// A time in a form that `strftime` knows; `None` for one that no calendar holds.
pub(super) fn in_zone(at: Ts, format: &str, zone: &TimeZone) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(i64::try_from(at.0).ok()?).ok()?;
    Some(time.to_zoned(zone.clone()).strftime(format).to_string())
}

/// A time that runs: in whole seconds, so that it changes once a second.
pub(super) fn clock(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => brief(Duration::from_secs(seconds)),
    }
}

/// How long the stream has run, or ran.
pub(super) fn elapsed(stream: &Stream, now: Ts) -> Duration {
    if !stream.has_begun() {
        return Duration::ZERO;
    }
    let told = stream.end.as_ref().map(|end| end.exit.duration);
    told.filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or_else(|| stream.ended.unwrap_or(now).since(stream.started))
}

/// The time column: exact at the end, empty before the beginning.
pub(super) fn time(stream: &Stream, now: Ts) -> String {
    if !stream.has_begun() {
        return String::new();
    }
    let elapsed = elapsed(stream, now);
    if stream.outcome().is_some() {
        brief(elapsed)
    } else {
        clock(elapsed)
    }
}

/// A count in at most five characters: 999, 1.2k, 45k, 1.2M.
pub(super) fn count(number: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if number < 1000 {
        return number.to_string();
    }
    let mut value = number as f64 / 1000.0;
    let mut unit = 0;
    // What would be rounded to 1000 belongs to the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$}{}", UNITS[unit])
}

/// `3 lines`, `1 line`.
pub(super) fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Tokens in one figure: what was read fresh and put into a cache, and what was written. Reading from a cache is hardly
/// paid for, and would hide the rest.
pub(super) fn tokens(usage: Usage) -> u64 {
    [usage.input, usage.output, usage.cache_write]
        .into_iter()
        .fold(0, u64::saturating_add)
}

/// `2 running, 1 failed`: how many there are of each state, in the order of the first of each.
pub(super) fn counts(streams: &[&Stream]) -> String {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for stream in streams {
        let state = state(stream);
        match groups.iter_mut().find(|(name, _)| *name == state) {
            Some((_, count)) => *count += 1,
            None => groups.push((state, 1)),
        }
    }
    let words: Vec<String> = groups.iter().map(|(state, count)| format!("{count} {state}")).collect();
    words.join(", ")
}

/// What the run has taken so far: time, lines, tokens, cost, and what cl-wait says of it.
pub(super) fn totals(state: &State, streams: &[&Stream], now: Ts) -> Vec<String> {
    let began = begun(streams).map(|stream| stream.started).min().unwrap_or(now);
    let over = streams.iter().all(|stream| stream.is_over());
    let end = if over {
        streams.iter().filter_map(|stream| stream.ended).max()
    } else {
        None
    };
    let mut parts = vec![clock(end.unwrap_or(now).since(began))];
    let lines = streams
        .iter()
        .fold(0, |sum: u64, stream| sum.saturating_add(stream.lines));
    parts.push(counted(lines, "line"));
    let used = streams
        .iter()
        .fold(0, |sum: u64, stream| sum.saturating_add(tokens(stream.usage())));
    if used > 0 {
        parts.push(format!("{} tok", count(used)));
    }
    let cost: f64 = streams.iter().filter_map(|stream| stream.cost()).sum();
    if cost > 0.0 {
        parts.push(dollars(cost));
    }
    if let Some(verdict) = &state.verdict {
        parts.push(format!("verdict {}", verdict.verdict));
    }
    parts
}

/// Those that have said something.
fn begun<'a>(streams: &'a [&'a Stream]) -> impl Iterator<Item = &'a Stream> {
    streams.iter().copied().filter(|stream| stream.has_begun())
}

/// How far the phases or levels of the plan are: `foundation 1/1 · parallel 2/5`, or, where that takes more columns, how
/// many of them are done; empty where the plan has but one, or there is none.
pub(super) fn groups(state: &State, columns: usize) -> String {
    let groups = &state.groups;
    if groups.len() < 2 {
        return String::new();
    }
    let told = groups
        .iter()
        .map(|group| format!("{} {}/{}", group.title, group.done, group.of));
    let told = told.collect::<Vec<_>>().join(" · ");
    if super::width(&told) <= columns {
        return told;
    }
    let done = groups.iter().filter(|group| group.done == group.of).count();
    let what = match groups.iter().all(|group| group.title.starts_with("level ")) {
        true => "levels",
        false => "phases",
    };
    format!("{done} of {} {what} done", groups.len())
}

/// How much sooner the streams were through than one after the other: what they took together, less what the run took;
/// empty where that is nothing.
pub(super) fn saved(streams: &[&Stream], now: Ts) -> String {
    let end = |stream: &Stream| stream.ended.unwrap_or(now);
    let began = begun(streams).map(|stream| stream.started).min().unwrap_or(now);
    let took = begun(streams).map(end).max().unwrap_or(now).since(began);
    let alone: Duration = begun(streams).fold(Duration::ZERO, |sum, stream| {
        sum.saturating_add(end(stream).since(stream.started))
    });
    match alone.saturating_sub(took) {
        saved if saved < Duration::from_secs(1) => String::new(),
        saved => format!("{} saved", clock(saved)),
    }
}

/// US dollars.
pub(super) fn dollars(cost: f64) -> String {
    if cost < 0.995 {
        format!("${cost:.3}")
    } else {
        format!("${cost:.2}")
    }
}

/// How far, in words.
pub(super) fn share(progress: Progress) -> String {
    match progress {
        Progress::Percent(percent) => format!("{percent:.0}%"),
        Progress::Steps { done, total } => format!("{done}/{total}"),
    }
}

/// How far, as a bar of so many columns.
pub(super) fn bar(progress: Progress, columns: usize) -> String {
    const PARTS: [&str; 8] = ["░", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (progress.fraction() * (columns * 8) as f64).floor() as usize;
    let (full, part) = (eighths / 8, eighths % 8);
    let mut bar = "█".repeat(full.min(columns));
    if full < columns {
        bar.push_str(PARTS[part]);
        bar.push_str(&"░".repeat(columns - full - 1));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (1234, "1.2k"),
            (9949, "9.9k"),
            (9950, "10k"),
            (45_678, "46k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(count(number), text, "{number}");
        }
        assert_eq!(
            (counted(1, "line"), counted(0, "line")),
            ("1 line".into(), "0 lines".into())
        );
        assert_eq!(
            (dollars(0.0123), dollars(0.996), dollars(12.345)),
            ("$0.012".into(), "$1.00".into(), "$12.35".into())
        );
    }

    #[test]
    fn bars() {
        for (percent, text) in [
            (0.0, "░░░░"),
            (50.0, "██░░"),
            (53.2, "██▏░"),
            (99.9, "███▉"),
            (100.0, "████"),
        ] {
            assert_eq!(bar(Progress::Percent(percent), 4), text);
        }
        assert_eq!(bar(Progress::Steps { done: 1, total: 2 }, 0), "");
        assert_eq!(share(Progress::Steps { done: 1, total: 2 }), "1/2");
    }

    #[test]
    fn clocks() {
        for (millis, text) in [(900, "0s"), (59_999, "59s"), (61_000, "1m01s"), (7_620_000, "2h07m")] {
            assert_eq!(clock(Duration::from_millis(millis)), text);
        }
    }
}
