//! One stream's text, on the whole screen.

use super::said::all_rows;
use super::table::{Table, name_style};
use super::{Look, hint};
use crate::agent::TaskState;
use crate::line::Ts;
use crate::state::Stream;
use crate::sys::terminal::Size;
use crate::view::row::{Row, Style};
use crate::view::words;

/// The row that stands at the top: which message, of all that the stream has said, and which row of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Anchor {
    message: u64,
    row: usize,
}

/// More tasks are not listed.
const TASKS: usize = 8;

/// Draws the page of the stream at this place of the run; without an anchor its end, and what comes.
pub(super) fn page(
    (place, stream): (usize, &Stream),
    top: Option<Anchor>,
    now: Ts,
    size: Size,
    look: &Look,
) -> Vec<Row> {
    let new_row = || Row::new(size.columns, look.color);
    let mut rows = head((place, stream), now, size, look);
    let body = body(stream, size, look);
    let shown = match top {
        Some(top) => forward(stream, top, size.columns, body),
        None => last(stream, size.columns, body),
    };
    for (_, (style, text)) in &shown {
        let mut row = new_row();
        row.push(*style, text);
        rows.push(row);
    }
    let bottom = size.rows.saturating_sub(1);
    rows.truncate(bottom);
    rows.resize_with(bottom, new_row);
    let mut row = new_row();
    let place = match (top, shown.last()) {
        (None, _) => "end".to_owned(),
        (_, Some((anchor, _))) => format!("message {} of {}", anchor.message + 1, stream.said),
        (_, None) => "nothing yet".to_owned(),
    };
    let style = if top.is_some() { Style::Warn } else { Style::Dim };
    row.push(style, &place).push(Style::Plain, "   ");
    hint(&mut row, &[("esc", "back"), ("↑↓", "scroll"), ("←→", "other stream")]);
    rows.push(row);
    rows.truncate(size.rows);
    rows
}

/// What stands above the text.
fn head((place, stream): (usize, &Stream), now: Ts, size: Size, look: &Look) -> Vec<Row> {
    let streams = [(place, stream)];
    let table = Table::new(&streams, now, (size.columns, false), &look.zone);
    let mut row = Row::new(size.columns, look.color);
    table.fill(&mut row, 0, false);
    let mut rows = vec![row];
    if size.rows < 12 {
        return rows;
    }
    let mut row = Row::new(size.columns, look.color);
    row.push(Style::Dim, &facts(stream).join(" · "));
    rows.push(row);
    let tasks = stream.tasks.iter().take(if size.rows < 20 { 0 } else { TASKS });
    for (task, state) in tasks {
        let mut row = Row::new(size.columns, look.color);
        let (style, mark) = match state {
            TaskState::Done => (Style::Dim, "✓ "),
            TaskState::Active => (Style::Busy, "● "),
            TaskState::Pending => (Style::Plain, "· "),
        };
        row.push(style, mark).push(style, task);
        rows.push(row);
    }
    let mut row = Row::new(size.columns, look.color);
    row.push(name_style(place), &"─".repeat(size.columns));
    rows.push(row);
    rows
}

fn facts(stream: &Stream) -> Vec<String> {
    let start = stream.start.as_ref();
    let running = stream.outcome().is_none();
    [
        stream.role().map(|role| format!("role {role}")),
        stream.model.clone(),
        stream.session.as_ref().map(|session| format!("session {session}")),
        (stream.attempt > 1).then(|| format!("attempt {}", stream.attempt)),
        start
            .and_then(|start| start.pid)
            .filter(|_| running)
            .map(|pid| format!("pid {pid}")),
        (stream.tools > 0).then(|| words::counted(stream.tools, "tool call")),
        stream
            .load
            .filter(|_| running)
            .map(|(cpu, bytes)| format!("{cpu:.1}s CPU, {}B", words::count(bytes))),
        Some(words::counted(stream.stderr_lines, "line") + " on stderr").filter(|_| stream.stderr_lines > 0),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How many rows of text there is room for.
fn body(stream: &Stream, size: Size, look: &Look) -> usize {
    let head = head((0, stream), Ts(0), size, look).len();
    size.rows.saturating_sub(head + 1).max(1)
}

/// Moves by so many rows, up where they are negative; `None` is the end.
pub(super) fn scroll(stream: &Stream, top: Option<Anchor>, rows: isize, size: Size, look: &Look) -> Option<Anchor> {
    let (columns, room) = (size.columns, body(stream, size, look));
    let from = match top {
        Some(top) => clamp(stream, top, columns),
        None => last(stream, columns, room).first().map(|(anchor, _)| *anchor),
    }?;
    let to = if rows < 0 {
        up(stream, from, rows.unsigned_abs(), columns)
    } else {
        let ahead = forward(stream, from, columns, rows.unsigned_abs() + room + 1);
        // No further than to the last row.
        if ahead.len() <= rows.unsigned_abs() + room {
            return None;
        }
        ahead.get(rows.unsigned_abs()).map_or(from, |(anchor, _)| *anchor)
    };
    // A text that has room is its end.
    (forward(stream, to, columns, room + 1).len() > room).then_some(to)
}

/// The beginning of what is kept.
pub(super) fn first(stream: &Stream, size: Size, look: &Look) -> Option<Anchor> {
    let room = body(stream, size, look);
    let first = Anchor {
        message: stream.said.saturating_sub(stream.messages.len() as u64),
        row: 0,
    };
    (forward(stream, first, size.columns, room + 1).len() > room).then_some(first)
}

type Placed = (Anchor, (Style, String));

/// The rows of a message that is kept.
fn rows_of(stream: &Stream, message: u64, columns: usize) -> Option<Vec<Placed>> {
    let before = stream.said.saturating_sub(stream.messages.len() as u64);
    let at = usize::try_from(message.checked_sub(before)?).ok()?;
    let rows = all_rows(stream.messages.get(at)?, columns).into_iter().enumerate();
    Some(rows.map(|(row, text)| (Anchor { message, row }, text)).collect())
}

/// What was scrolled to may be kept no more, or take fewer rows on a terminal that is wider now.
fn clamp(stream: &Stream, top: Anchor, columns: usize) -> Option<Anchor> {
    let oldest = stream.said.saturating_sub(stream.messages.len() as u64);
    let newest = stream.said.checked_sub(1)?;
    if top.message < oldest {
        return Some(Anchor {
            message: oldest,
            row: 0,
        });
    }
    let message = top.message.min(newest);
    let rows = rows_of(stream, message, columns)?;
    let row = top.row.min(rows.len().saturating_sub(1));
    Some(Anchor { message, row })
}

fn forward(stream: &Stream, top: Anchor, columns: usize, most: usize) -> Vec<Placed> {
    let Some(top) = clamp(stream, top, columns) else {
        return Vec::new();
    };
    let rows = (top.message..stream.said).map_while(|message| rows_of(stream, message, columns));
    rows.flatten().skip(top.row).take(most).collect()
}

fn last(stream: &Stream, columns: usize, most: usize) -> Vec<Placed> {
    let rows = (0..stream.said)
        .rev()
        .map_while(|message| rows_of(stream, message, columns));
    let mut rows: Vec<Placed> = rows.flat_map(|rows| rows.into_iter().rev()).take(most).collect();
    rows.reverse();
    rows
}

fn up(stream: &Stream, from: Anchor, rows: usize, columns: usize) -> Anchor {
    let before = (0..=from.message)
        .rev()
        .map_while(|message| rows_of(stream, message, columns));
    let before = before.flat_map(|rows| rows.into_iter().rev()).map(|(anchor, _)| anchor);
    let reached = before.filter(|anchor| *anchor < from).take(rows).last();
    reached.unwrap_or(from)
}
