//! A run as a Mermaid gantt chart.

use super::report::{Report, Told, name};
use crate::line::Outcome;
use crate::timeline::{Entry, What, weightiest};

/// Mermaid draws nothing at all of a text of more than 50,000 characters.
const MOST: usize = 45_000;
/// As many lines as anybody looks at, and no stream more than its share.
const LINES: usize = 400;
const EACH: usize = 12;

/// The chart, fenced, with a word on what is not in it; empty where nothing has happened.
pub(super) fn gantt(report: &Report<'_>) -> String {
    let mut chart = String::new();
    let each = (LINES / report.streams.len().max(1)).clamp(1, EACH);
    let (mut shown, mut left_out) = (0, 0);
    for told in &report.streams {
        let section = section(told, report, each, &mut left_out);
        if chart.len() + section.len() > MOST {
            break;
        }
        chart.push_str(&section);
        shown += 1;
    }
    if chart.is_empty() {
        return chart;
    }
    let mut text = format!("```mermaid\ngantt\n    dateFormat x\n    axisFormat %H:%M:%S\n{chart}```\n\n");
    let more = report.streams.len() - shown;
    if more > 0 {
        text.push_str(&format!("{more} more streams are not in the chart.\n\n"));
    }
    if left_out > 0 {
        text.push_str(&format!("{left_out} shorter times are not in the chart.\n\n"));
    }
    text
}

fn section(told: &Told<'_>, report: &Report<'_>, each: usize, left_out: &mut u64) -> String {
    let mut entries = told.entries(report.span);
    entries.retain(|entry| !entry.what.is_moment());
    let (entries, gone) = weightiest(entries, each);
    *left_out += gone + told.left_out();
    if entries.is_empty() {
        return String::new();
    }
    let mut text = format!("    section {}\n", told.stream.name);
    for entry in &entries {
        let (from, to) = (entry.from.0 / 1000, entry.to.0 / 1000);
        let tag = tag(entry, told);
        // Nothing that takes no time is drawn.
        text.push_str(&format!("    {} :{tag}{from}, {}\n", label(entry), to.max(from + 1)));
    }
    text
}

fn tag(entry: &Entry, told: &Told<'_>) -> &'static str {
    match entry.what {
        _ if entry.bad => "crit, ",
        _ if entry.open => "active, ",
        What::Attempt if told.stream.outcome() == Some(Outcome::Success) => "done, ",
        What::Turn => "done, ",
        _ => "",
    }
}

/// Letters, digits and what parts them: everything else may mean something to Mermaid.
fn label(entry: &Entry) -> String {
    let name = match entry.what {
        What::Tool => format!("tool {}", name(entry)),
        _ => name(entry),
    };
    let plain = name.chars().map(|c| {
        if c.is_alphanumeric() || "._-/".contains(c) {
            c
        } else {
            ' '
        }
    });
    let plain: String = plain.collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ").chars().take(40).collect()
}
