//! The picture of a run: a line a stream, the last messages of those at work below it, a line that sums up; and the text
//! of one stream.
//!
//! Pure functions of what is known, the time and the room: any room from 40 columns and 6 rows on, and less in need.

mod board;
mod order;
mod page;
mod said;
mod table;

use super::row::{Row, Style};
use super::words;
use crate::line::{Glob, Ts};
use crate::state::{Phase, State, Stream};
use crate::sys::terminal::Size;
pub use board::{Act, Board, Frame};
use jiff::tz::TimeZone;
use order::{Need, Shown, Sort, shown};
use said::last_rows;
use table::{Table, name_style};

/// How to draw.
#[derive(Debug, Clone)]
pub struct Look {
    /// Whether to colour.
    pub color: bool,
    /// How many lines of its last messages a stream may take.
    pub messages: usize,
    /// Which streams to show; all where there is none.
    pub only: Vec<Glob>,
    /// Where times of day are told.
    pub zone: TimeZone,
}

impl Look {
    /// Whether a stream of that name is to be shown.
    pub fn shows(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|glob| glob.matches(name))
    }

    /// The streams to show, each with its place in the run.
    pub fn streams<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (usize, &'a Stream)> {
        state
            .streams()
            .iter()
            .enumerate()
            .filter(|(_, stream)| self.shows(&stream.name))
    }

    /// Whether there is a stream to show, and all of them have ended, or will not run.
    pub fn all_ended(&self, state: &State) -> bool {
        let mut streams = self.streams(state).peekable();
        streams.peek().is_some() && streams.all(|(_, stream)| stream.is_over())
    }
}

/// What keys have chosen.
#[derive(Debug, Clone, Copy, Default)]
struct Pick {
    sort: Sort,
    chosen: Option<usize>,
    /// Whether to say which keys there are.
    keys: bool,
}

/// The rows of the picture, at most as many as there is room for.
pub fn picture(state: &State, now: Ts, size: Size, look: &Look) -> Vec<Row> {
    overview(state, now, size, look, Pick::default())
}

/// With fewer rows than this, each is needed for streams.
const TALL: usize = 10;
/// What stands before a message.
const GUTTER: &str = "  │ ";

fn overview(state: &State, now: Ts, size: Size, look: &Look, pick: Pick) -> Vec<Row> {
    let new_row = || Row::new(size.columns, look.color);
    let Shown {
        streams,
        groups,
        headed,
    } = shown(state, now, size, look, pick.sort);
    let tall = size.rows >= TALL && !streams.is_empty();
    let hints = pick.keys && tall;
    // Where no heading tells how far the phases are, a row does.
    let phases = if tall && !headed {
        words::groups(state, size.columns)
    } else {
        String::new()
    };
    let groups_shown = groups.as_deref().filter(|_| headed);
    let headings = headings(groups_shown, state.groups.len());
    let mut rest = 1 + usize::from(tall) + usize::from(hints) + usize::from(!phases.is_empty()) + headings;
    // An empty row before the sum, where no stream goes without one for it.
    let spaced = tall && streams.len() + rest < size.rows;
    rest += usize::from(spaced);
    let room = size.rows.saturating_sub(rest);
    let window = window(&streams, room, pick.chosen);
    let shown = &streams[window.clone()];
    // Where not all have a line, the row that is left counts the others.
    let left = if shown.len() < streams.len() {
        0
    } else {
        room - shown.len()
    };
    let said = share_out(shown, now, left, size.columns, look);

    let table = Table::new(shown, now, (size.columns, tall), &look.zone);
    let mut rows = Vec::new();
    if !phases.is_empty() {
        let mut row = new_row();
        row.push(Style::Dim, &phases);
        rows.push(row);
    }
    if tall {
        let mut row = new_row();
        table.titles(&mut row);
        rows.push(row);
    }
    for (line, ((place, _), messages)) in shown.iter().zip(said).enumerate() {
        if let Some(group) = heading(groups_shown, line).and_then(|at| state.groups.get(at)) {
            let mut row = new_row();
            row.push(Style::Bold, &group.title)
                .push(Style::Dim, &format!(" {}/{}", group.done, group.of));
            rows.push(row);
        }
        let mut row = new_row();
        table.fill(&mut row, line, pick.chosen == Some(*place));
        rows.push(row);
        for (style, text) in messages {
            let mut row = new_row();
            row.push(name_style(*place), GUTTER).push(style, &text);
            rows.push(row);
        }
    }
    let left_out: Vec<&Stream> = [&streams[..window.start], &streams[window.end..]]
        .concat()
        .into_iter()
        .map(|(_, stream)| stream)
        .collect();
    if !left_out.is_empty() && rows.len() < room + usize::from(tall) + usize::from(!phases.is_empty()) {
        let mut row = new_row();
        row.push(Style::Dim, &format!("  … {} more: ", left_out.len()));
        tell_counts(&mut row, &left_out, now);
        rows.push(row);
    }
    if spaced {
        rows.push(new_row());
    }
    if size.rows > 0 {
        let mut row = new_row();
        let streams: Vec<&Stream> = streams.iter().map(|(_, stream)| *stream).collect();
        sum_up(&mut row, state, &streams, now);
        rows.push(row);
    }
    if hints {
        let mut row = new_row();
        let sorted = format!("sort: {}", if groups.is_some() { "plan" } else { pick.sort.as_str() });
        hint(
            &mut row,
            &[("↑↓", "choose"), ("enter", "read"), ("s", &sorted), ("q", "close")],
        );
        rows.push(row);
    }
    rows
}

/// The group that begins with the stream at this place of those shown.
fn heading(groups: Option<&[usize]>, at: usize) -> Option<usize> {
    let groups = groups?;
    let group = *groups.get(at)?;
    (at == 0 || groups[at - 1] != group).then_some(group)
}

/// How many groups have streams that are shown.
fn headings(groups: Option<&[usize]>, all: usize) -> usize {
    let count = groups.map_or(0, <[usize]>::len);
    let known = |at: &usize| heading(groups, *at).is_some_and(|group| group < all);
    (0..count).filter(known).count()
}

/// Which of so many streams get a line: all, or as many as leave a row that counts the others, the chosen one among
/// them.
fn window(streams: &[(usize, &Stream)], room: usize, chosen: Option<usize>) -> std::ops::Range<usize> {
    if streams.len() <= room {
        return 0..streams.len();
    }
    let lines = if room > 1 { room - 1 } else { room };
    let chosen = chosen.and_then(|place| streams.iter().position(|(other, _)| *other == place));
    let start = chosen.map_or(0, |at| (at + 1).saturating_sub(lines));
    let start = start.min(streams.len() - lines);
    start..start + lines
}

/// The messages of each stream, in as many rows as are left: a row each in turn. Those that are over need none.
fn share_out(
    streams: &[(usize, &Stream)],
    now: Ts,
    mut left: usize,
    columns: usize,
    look: &Look,
) -> Vec<Vec<(Style, String)>> {
    let columns = columns.saturating_sub(super::width(GUTTER));
    let all = |(_, stream): &(usize, &Stream)| match Need::of(stream, now) {
        Need::Over => Vec::new(),
        _ if left == 0 => Vec::new(),
        _ => last_rows(stream, look.messages.min(left), columns),
    };
    let mut said: Vec<_> = streams.iter().map(all).collect();
    let mut given = vec![0; said.len()];
    let mut more = true;
    while std::mem::take(&mut more) {
        for (said, given) in said.iter().zip(&mut given) {
            if left > 0 && *given < said.len() {
                (*given, left, more) = (*given + 1, left - 1, true);
            }
        }
    }
    for (said, given) in said.iter_mut().zip(given) {
        said.drain(..said.len() - given);
    }
    said
}

/// `1 failed, 2 running, 4 success`: how many there are of each state, what wants most to be looked at first.
fn tell_counts(row: &mut Row, streams: &[&Stream], now: Ts) {
    let mut groups: Vec<(Need, &str, Style, usize)> = Vec::new();
    for stream in streams {
        let (need, state) = (Need::of(stream, now), words::state(stream));
        match groups.iter_mut().find(|group| group.1 == state) {
            Some(group) => (group.0, group.3) = (group.0.min(need), group.3 + 1),
            None => {
                // One that retries by itself runs like the others that it is counted with.
                let style = match stream.phase {
                    Phase::Running => Style::Busy,
                    _ => words::mark(stream).0,
                };
                groups.push((need, state, style, 1));
            }
        }
    }
    groups.sort_by_key(|group| group.0);
    for (at, (_, state, style, count)) in groups.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        row.push(Style::Plain, comma).push(*style, &format!("{count} {state}"));
    }
}

fn sum_up(row: &mut Row, state: &State, streams: &[&Stream], now: Ts) {
    if streams.is_empty() {
        row.push(Style::Dim, "no stream yet");
        return;
    }
    row.push(Style::Bold, &words::counted(streams.len() as u64, "stream"))
        .push(Style::Plain, ": ");
    tell_counts(row, streams, now);
    let mut parts = words::totals(state, streams, now);
    parts.insert(1, words::saved(streams, now));
    parts.retain(|part| !part.is_empty());
    // The last ones go first where there is no room.
    for part in parts {
        if super::width(&part) + 3 > row.left() {
            break;
        }
        row.push(Style::Dim, " · ").push(Style::Plain, &part);
    }
}

/// Which keys there are, as many as fit.
fn hint(row: &mut Row, keys: &[(&str, &str)]) {
    for (at, (key, what)) in keys.iter().enumerate() {
        let gap = if at > 0 { "   " } else { "" };
        if super::width(&format!("{gap}{key} {what}")) > row.left() {
            break;
        }
        row.push(Style::Plain, gap)
            .push(Style::Bold, key)
            .push(Style::Dim, &format!(" {what}"));
    }
}

#[cfg(test)]
mod tests;
