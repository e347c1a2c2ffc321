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

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn look() -> Look {
        Look {
            color: false,
            messages: 0,
            only: Vec::new(),
            zone: TimeZone::UTC,
        }
    }

    #[test]
    fn nothing_means_anything() {
        assert_eq!(inert("a|b <c> 1, 2"), "a&#124;b &#60;c&#62; 1, 2");
        assert_eq!(
            (code("x_y"), code(" ")),
            ("<code>x&#95;y</code>".to_owned(), String::new())
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn it_has_its_size(streams in 0usize..300, answer in 0usize..4000, room in 0usize..60_000) {
            let mut state = State::default();
            state.record();
            for at in 0..streams {
                let text = "<é".repeat(answer * (at % 3) / 2);
                let line = |seq, rest: &str| {
                    format!("{{\"cl\":{{\"stream\":\"stream-{at}\",\"seq\":{seq},\"ts\":{at}.5}},\"type\":\"cl\",\"subtype\":{rest}}}")
                };
                state.line(line(1, r#""start","agent":"plain","attempt":1"#).as_bytes());
                let exit = format!(r#""exit","outcome":"failed","because":"{}","text":"{text}""#, "|".repeat(at));
                state.line(line(2, &exit).as_bytes());
            }
            let text = summary(&state, Ts(1_000_000_000), &look(), room);
            prop_assert_eq!(text.is_some(), room >= LEAST);
            let text = text.unwrap_or_default();
            prop_assert!(text.len() <= room, "{} of {room}", text.len());
            prop_assert_eq!(text.matches("<details").count(), text.matches("</details>").count());
            prop_assert_eq!(text.matches("```").count() % 2, 0);
        }
    }
}
