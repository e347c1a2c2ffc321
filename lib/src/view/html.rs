//! A run as one page that needs nothing but itself.
//!
//! What workers wrote stands in it as escaped text. Should a hole be in that, the page's policy still lets no other script
//! or style than its own two run, nothing be loaded and nothing be sent.

use super::live::Look;
use super::report::{Report, Told, answers, escape, name};
use super::row::Style;
use super::words;
use crate::line::Ts;
use crate::state::State;
use crate::timeline::{Entry, What, weightiest};
use std::fmt::Write as _;

const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");
/// Digests of the two, by which the policy knows them.
const CSS_DIGEST: &str = "sha256-bzUQRkEm93Kg85fMj91FIH77LTpLYyWEpVft3Ol9qQs=";
const JS_DIGEST: &str = "sha256-ZiInLfqvaPFySL4MpEPDtKFhgdyYD2lr20c+ZkeJ/h4=";

/// What a browser shows without effort.
const ANSWERS: usize = 32 << 20;
const ENTRIES: usize = 20_000;
const EACH: usize = 500;
/// No entry is drawn thinner, in parts of the whole width.
const THIN: f64 = 0.0015;

/// The run as a page.
pub fn html(state: &State, now: Ts, look: &Look) -> String {
    let report = Report::new(state, now, look);
    let title = escape(&report.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{CSS_DIGEST}'; \
         script-src '{JS_DIGEST}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    let began = words::in_zone(report.span.0, "%Y-%m-%d %H:%M:%S %:z", &look.zone);
    let mut about = report.totals.clone();
    about.extend(began.map(|began| format!("began {began}")));
    put(&mut out, format_args!("<p>{}</p>\n", escape(&about.join(" · "))));
    out.push_str(FILTER);
    table(&report, &mut out);
    timeline(&report, look, &mut out);
    out.push_str("<h2>Answers</h2>\n");
    answers(&report.streams, ANSWERS, &mut out);
    put(&mut out, format_args!("<script>{JS}</script>\n</body>\n</html>\n"));
    out
}

/// Writing to a string cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Shown by the script: without it, it would do nothing.
const FILTER: &str = "<form id=\"filter\" hidden>\n\
    <input id=\"words\" type=\"search\" placeholder=\"Filter by stream\" aria-label=\"Filter by stream\" autocomplete=\"off\">\n\
    <select id=\"state\" aria-label=\"Filter by state\"><option value=\"\">all states</option>\
    <option value=\"good\">succeeded</option><option value=\"bad\">failed</option>\
    <option value=\"warn\">cancelled, waiting or unknown</option><option value=\"busy\">running</option></select>\n\
    <button type=\"button\" id=\"open\">Open answers</button> <button type=\"button\" id=\"close\">Close</button>\n\
    <span id=\"count\" role=\"status\"></span>\n</form>\n";

fn class(style: Style) -> &'static str {
    match style {
        Style::Good => "good",
        Style::Bad => "bad",
        Style::Busy | Style::Plain | Style::Dim => "busy",
        _ => "warn",
    }
}

fn table(report: &Report<'_>, out: &mut String) {
    out.push_str(
        "<div class=\"scroll\"><table>\n<thead><tr><th>Stream</th><th>Outcome</th><th>Agent</th><th class=\"number\">Time</th>\
         <th class=\"number\">Turns</th><th class=\"number\">Tokens</th><th class=\"number\">Cost</th><th>Because</th></tr></thead>\n<tbody>\n",
    );
    for told in &report.streams {
        let (style, mark) = told.mark;
        let (class, name, agent) = (class(style), &told.stream.name, escape(&told.agent));
        let unit = if told.turns == "1" { "turn" } else { "turns" };
        let (state, time, turns, tokens, cost) = (told.state, &told.time, &told.turns, &told.tokens, &told.cost);
        put(
            out,
            format_args!(
                "<tr data-stream=\"{name}\" data-state=\"{class}\"><td class=\"name\">{name}</td>\
                 <td class=\"state {class}\">{mark} {state}</td><td>{agent}</td><td class=\"number\">{time}</td>\
                 <td class=\"number\" data-unit=\" {unit}\">{turns}</td>\
                 <td class=\"number\" data-unit=\" tokens\">{tokens}</td><td class=\"number\">{cost}</td>\
                 <td class=\"because\">{}</td></tr>\n",
                escape(&told.because)
            ),
        );
    }
    out.push_str("</tbody>\n");
    let tokens = report.streams.iter().map(|told| words::tokens(told.stream.usage()));
    let tokens = tokens.fold(0, u64::saturating_add);
    let cost: f64 = report.streams.iter().filter_map(|told| told.stream.cost()).sum();
    if tokens > 0 {
        put(
            out,
            format_args!(
                "<tfoot><tr><td colspan=\"5\">In all</td><td class=\"number\" data-unit=\" tokens\">{}</td><td class=\"number\">{}</td><td></td></tr></tfoot>\n",
                words::count(tokens),
                words::dollars(cost)
            ),
        );
    }
    out.push_str("</table></div>\n");
}

fn timeline(report: &Report<'_>, look: &Look, out: &mut String) {
    out.push_str("<h2>Timeline</h2>\n<p class=\"key\">");
    for (class, name) in [
        ("attempt", "attempts"),
        ("turn", "turns"),
        ("wait", "waits"),
        ("tool", "tools"),
    ] {
        put(
            out,
            format_args!("<span><svg><rect class=\"{class}\" width=\"12\" height=\"12\"/></svg>{name}</span>"),
        );
    }
    out.push_str("<span>a dot is a result, red where something went wrong</span></p>\n");
    axis(report, look, out);
    let each = (ENTRIES / report.streams.len().max(1)).clamp(5, EACH);
    for told in &report.streams {
        track(told, report.span, each, out);
    }
}

/// The time of day at the beginning, and how much later it is further to the right.
fn axis(report: &Report<'_>, look: &Look, out: &mut String) {
    let began = words::in_zone(report.span.0, "%H:%M:%S", &look.zone).unwrap_or_default();
    put(
        out,
        format_args!("<div class=\"track\"><span></span><svg><text x=\"0\" y=\"20\">{began}</text>"),
    );
    let whole = report.span.1.since(report.span.0);
    for (percent, class, anchor) in [
        (25, "some", "middle"),
        (50, "", "middle"),
        (75, "some", "middle"),
        (100, "", "end"),
    ] {
        let later = whole * percent / 100;
        let later = match whole.as_millis() {
            ..1000 => format!("{}ms", later.as_millis()),
            _ => crate::units::brief(later),
        };
        put(
            out,
            format_args!("<text class=\"{class}\" x=\"{percent}%\" y=\"20\" text-anchor=\"{anchor}\">+{later}</text>"),
        );
    }
    out.push_str("</svg></div>\n");
}

/// Where the axis has its times, in a stream's track.
const GRID: &str = "<line x1=\"25%\" x2=\"25%\" y2=\"32\"/><line x1=\"50%\" x2=\"50%\" y2=\"32\"/>\
    <line x1=\"75%\" x2=\"75%\" y2=\"32\"/>";

fn track(told: &Told<'_>, span: (Ts, Ts), each: usize, out: &mut String) {
    let name = &told.stream.name;
    put(
        out,
        format_args!(
            "<div class=\"track\" data-stream=\"{name}\"><span class=\"name\" title=\"{name}\">{name}</span><svg>{GRID}"
        ),
    );
    let (entries, gone) = weightiest(told.entries(span), each);
    let whole = span.1.since(span.0).as_secs_f64().max(1e-6);
    for entry in &entries {
        mark(
            entry,
            entry.from.since(span.0).as_secs_f64() / whole,
            entry.length().as_secs_f64() / whole,
            out,
        );
    }
    out.push_str("</svg></div>\n");
    let gone = gone + told.left_out();
    if gone > 0 {
        put(
            out,
            format_args!("<p data-stream=\"{name}\">{gone} shorter times of {name} are not drawn.</p>\n"),
        );
    }
}

/// One entry; where it is and how long, as parts of the whole.
fn mark(entry: &Entry, at: f64, length: f64, out: &mut String) {
    let wrong = if entry.bad { " wrong" } else { "" };
    let mut told = name(entry);
    if !entry.what.is_moment() {
        told.push_str(&format!(", {}", crate::units::brief(entry.length())));
    }
    let detail = super::clean::line(&entry.detail, 200);
    if !detail.is_empty() {
        told.push_str(&format!(": {detail}"));
    }
    if entry.open {
        told.push_str(" (unfinished)");
    }
    let told = escape(&told);
    if entry.what.is_moment() {
        // A little from the edges, so that none is cut.
        let x = 0.5 + at * 99.0;
        put(
            out,
            format_args!(
                "<circle class=\"moment{wrong}\" cx=\"{x:.3}%\" cy=\"6\" r=\"3\"><title>{told}</title></circle>"
            ),
        );
        return;
    }
    let (class, y, height) = match entry.what {
        What::Attempt => ("attempt", 2, 8),
        What::Turn => ("turn", 12, 6),
        What::Tool => ("tool", 20, 9),
        _ => ("wait", 12, 6),
    };
    let width = length.max(THIN);
    let x = at.min(1.0 - width).max(0.0);
    put(
        out,
        format_args!(
            "<rect class=\"{class}{wrong}\" x=\"{:.3}%\" y=\"{y}\" width=\"{:.3}%\" height=\"{height}\"><title>{told}</title></rect>",
            x * 100.0,
            width * 100.0
        ),
    );
}
