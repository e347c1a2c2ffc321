//! A run in Markdown, for a page that others write to as well and that is not to grow beyond a size.

use super::gantt::gantt;
use super::live::Look;
use super::report::{Report, Told, answers};
use crate::line::Ts;
use crate::state::State;

/// The least that is worth writing.
const LEAST: usize = 1024;
/// What a word on what was left out takes.
const NOTE: usize = 256;

/// The run in at most `room` bytes of Markdown: a table of the streams, a chart, the answers folded. `None` where there
/// is no room for any of it. What workers wrote is text and no markup.
pub fn summary(state: &State, now: Ts, look: &Look, room: usize) -> Option<String> {
    if room < LEAST {
        return None;
    }
    let report = Report::new(state, now, look);
    let mut out = format!("\n### {}\n\n", inert(&report.title));
    out.push_str(&inert(&report.totals.join(" · ")));
    out.push_str("\n\n");
    if !report.streams.is_empty() {
        table(&report, room - NOTE, &mut out);
    }
    let chart = gantt(&report);
    // The answers matter more than the chart.
    if out.len() + chart.len() <= room / 2 {
        out.push_str(&chart);
    }
    let left = room.saturating_sub(out.len());
    answers(&report.streams, left, &mut out);
    Some(out)
}

fn table(report: &Report<'_>, room: usize, out: &mut String) {
    out.push_str("| | stream | outcome | agent | time | turns | tokens | cost | because |\n");
    out.push_str("|---|---|---|---|---:|---:|---:|---:|---|\n");
    let mut shown = 0;
    for told in &report.streams {
        let row = row(told);
        if out.len() + row.len() > room {
            break;
        }
        out.push_str(&row);
        shown += 1;
    }
    out.push('\n');
    let more = report.streams.len() - shown;
    if more > 0 {
        out.push_str(&format!("{more} more streams, for which there is no room.\n\n"));
    }
}

fn row(told: &Told<'_>) -> String {
    let name = inert(&told.stream.name);
    let (state, time) = (told.state, &told.time);
    let (turns, tokens, cost) = (&told.turns, &told.tokens, inert(&told.cost));
    format!(
        "| {} | {name} | {state} | {} | {time} | {turns} | {tokens} | {cost} | {} |\n",
        told.mark.1,
        code(&told.agent),
        code(&told.because)
    )
}

/// A worker's words in a line of Markdown: as code, in which no name is mentioned and nothing becomes a link.
fn code(text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    format!("<code>{}</code>", inert(text))
}

/// Clean text that means nothing to Markdown or HTML: what could is written as a number, which never begins anything.
fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, ',' | ';' | '%') {
            out.push_str(&format!("&#{};", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}
