//! Frames as a drawing that plays them, in a style sheet: no script, and one frame where nothing may move.

use super::cells::Piece;
use harmony::view::width;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One frame.
pub struct Frame {
    pub rows: Vec<Vec<Piece>>,
    /// For how long it stands, in tenths of a second.
    pub tenths: usize,
    /// Whether it is the one that stands where nothing moves.
    pub still: bool,
}

/// A cell, the edge, and the bar above, in pixels.
const WIDE: f64 = 8.4;
const HIGH: f64 = 19.0;
const EDGE: f64 = 16.0;
const BAR: f64 = 34.0;

const STYLE: &str = "\
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace;fill:#d0d7de;white-space:pre}\
.b{font-weight:bold}.d{fill:#7d8590}.r{fill:#ff7b72}.g{fill:#56d364}.y{fill:#e3b341}.u{fill:#79c0ff}.m{fill:#d2a8ff}.c{fill:#56d4dd}.o{fill:#ffa198}";

/// The whole drawing.
pub fn drawing(frames: &[Frame], columns: usize) -> String {
    let rows = frames.iter().map(|frame| frame.rows.len()).max().unwrap_or(0);
    let (width, height) = (columns as f64 * WIDE + 2.0 * EDGE, rows as f64 * HIGH + BAR + EDGE);
    // Rows that many frames share are drawn once.
    let mut known: BTreeMap<&[Piece], usize> = BTreeMap::new();
    let mut shared = String::new();
    let mut shown = String::new();
    let all: usize = frames.iter().map(|frame| frame.tenths).sum();
    let mut timing = String::new();
    let mut from = 0;
    for (at, frame) in frames.iter().enumerate() {
        let to = from + frame.tenths;
        let part = |tenths: usize| tenths as f64 * 100.0 / all as f64;
        let _ = write!(
            timing,
            "@keyframes f{at}{{0%,{:.2}%{{visibility:{}}}{:.2}%,{:.2}%{{visibility:visible}}{:.2}%,100%{{visibility:hidden}}}}",
            (part(from) - 0.01).max(0.0),
            if from == 0 { "visible" } else { "hidden" },
            part(from),
            part(to) - 0.01,
            part(to).min(100.0),
        );
        let _ = write!(
            timing,
            "#f{at}{{animation:f{at} {:.1}s step-end infinite}}",
            all as f64 / 10.0
        );
        let hidden = if frame.still { "" } else { " visibility=\"hidden\"" };
        let _ = writeln!(shown, "<g id=\"f{at}\"{hidden}>");
        for (line, row) in frame.rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
            let next = known.len();
            let id = *known.entry(row).or_insert(next);
            if id == next {
                let _ = writeln!(shared, "<g id=\"r{id}\">{}</g>", drawn(row));
            }
            let y = BAR + line as f64 * HIGH;
            let _ = writeln!(shown, "<use href=\"#r{id}\" y=\"{y}\"/>");
        }
        shown.push_str("</g>\n");
        from = to;
    }
    let dots: String = [("#ff5f57", 20), ("#febc2e", 38), ("#28c840", 56)]
        .iter()
        .map(|(color, x)| format!("<circle cx=\"{x}\" cy=\"17\" r=\"5.5\" fill=\"{color}\"/>"))
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n\
         <title>cl-progress shows six streams at work</title>\n\
         <style>{STYLE}@media (prefers-reduced-motion:no-preference){{{timing}}}</style>\n\
         <defs>\n{shared}</defs>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"9\" fill=\"#0d1117\"/>{dots}\n\
         {shown}</svg>\n"
    )
}

fn drawn(row: &[Piece]) -> String {
    row.iter().map(piece).collect()
}

fn piece(piece: &Piece) -> String {
    let class = match piece.look.as_str() {
        "1" => "b",
        "2" => "d",
        "31" => "r",
        "32" => "g",
        "33" => "y",
        "34" => "u",
        "35" => "m",
        "36" => "c",
        "91" => "o",
        _ => "",
    };
    let left = |column: usize| EDGE + column as f64 * WIDE;
    let rest = piece.text.trim_start_matches(|c| eighths(c).is_some() || c == '│');
    let mut out = String::new();
    let mut column = piece.column;
    // Bars and rules are drawn: a font's would leave gaps.
    for c in piece.text[..piece.text.len() - rest.len()].chars() {
        let class = if class.is_empty() { "d" } else { class };
        let (x, high) = (left(column), HIGH);
        if let Some(eighths) = eighths(c) {
            let full = WIDE * eighths as f64 / 8.0;
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"4\" width=\"{WIDE:.1}\" height=\"11\" opacity=\".25\"/><rect class=\"{class}\" x=\"{x:.1}\" y=\"4\" width=\"{full:.1}\" height=\"11\"/>"
            );
        } else {
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{:.1}\" width=\"1.5\" height=\"{high}\" opacity=\".6\"/>",
                x + WIDE / 2.0
            );
        }
        column += 1;
    }
    let rest = rest.trim_end();
    if !rest.is_empty() {
        let class = if class.is_empty() {
            String::new()
        } else {
            format!(" class=\"{class}\"")
        };
        let text = rest.replace('&', "&amp;").replace('<', "&lt;");
        let long = width(rest) as f64 * WIDE;
        // As long as it is on a terminal, whatever the font.
        let fit = if width(rest) > 1 {
            format!(" textLength=\"{long:.1}\" lengthAdjust=\"spacingAndGlyphs\"")
        } else {
            String::new()
        };
        let _ = write!(
            out,
            "<text{class} x=\"{:.1}\" y=\"14\"{fit}>{text}</text>",
            left(column)
        );
    }
    out
}

/// How much of a cell a block fills.
fn eighths(c: char) -> Option<usize> {
    Some(match c {
        '█' => 8,
        '▉' => 7,
        '▊' => 6,
        '▋' => 5,
        '▌' => 4,
        '▍' => 3,
        '▎' => 2,
        '▏' => 1,
        '░' => 0,
        _ => return None,
    })
}
