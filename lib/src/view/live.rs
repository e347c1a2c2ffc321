//! The picture of a run: a line a stream, its last messages below, a line that sums up.
//!
//! A pure function of what is known, the time and the room: any room from 40 columns and 6 rows on, and less in need.

use super::clean::{clean_lines, width};
use super::row::{NAME_COLORS, Row, Style};
use super::words;
use crate::line::{Glob, Outcome, Ts};
use crate::state::{Activity, State, Stream, Voice};
use crate::sys::terminal::Size;
use jiff::tz::TimeZone;

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

    /// Whether there is a stream to show, and all of them have ended.
    pub fn all_ended(&self, state: &State) -> bool {
        let mut streams = self.streams(state).peekable();
        streams.peek().is_some() && streams.all(|(_, stream)| stream.outcome().is_some())
    }
}

/// The rows of the picture, at most as many as there is room for.
pub fn picture(state: &State, now: Ts, size: Size, look: &Look) -> Vec<Row> {
    let streams: Vec<(usize, &Stream)> = look.streams(state).collect();
    let plans = share_out(&streams, size.rows, look.messages);
    let shown: Vec<(usize, &Stream)> = plans.iter().map(|&(at, _)| streams[at]).collect();
    let table = Table::new(&shown, now, size.columns, &look.zone);
    let mut rows = Vec::new();
    for (line, &(at, messages)) in plans.iter().enumerate() {
        let (place, stream) = streams[at];
        let mut row = Row::new(size.columns, look.color);
        table.fill(&mut row, line, place, stream);
        rows.push(row);
        for (style, text) in last_lines(stream, messages) {
            let mut row = Row::new(size.columns, look.color);
            row.push(Style::Plain, "  ").push(style, &text);
            rows.push(row);
        }
    }
    let left_out: Vec<&Stream> = (0..streams.len())
        .filter(|at| plans.iter().all(|(shown, _)| shown != at))
        .map(|at| streams[at].1)
        .collect();
    if !left_out.is_empty() && !plans.is_empty() {
        let mut row = Row::new(size.columns, look.color);
        row.push(
            Style::Dim,
            &format!("… {} more: {}", left_out.len(), words::counts(&left_out)),
        );
        rows.push(row);
    }
    if size.rows > 0 {
        rows.push(summary(state, &streams, now, size.columns, look));
    }
    rows
}

/// Which streams get a line, in their order, and how many lines of messages each: everybody's line comes first, then
/// the messages of those at work, a line each in turn.
fn share_out(streams: &[(usize, &Stream)], rows: usize, messages: usize) -> Vec<(usize, usize)> {
    let room = rows.saturating_sub(1);
    let ended = |at: &usize| streams[*at].1.outcome().is_some();
    let mut order: Vec<usize> = (0..streams.len()).collect();
    // Who works is looked at first, then who ended badly.
    order.sort_by_key(|at| match streams[*at].1.outcome() {
        None => 0,
        Some(Outcome::Success) => 2,
        Some(_) => 1,
    });
    if streams.len() > room {
        // A row tells how many are left out.
        order.truncate(room.saturating_sub(1));
    }
    let mut left = room.saturating_sub(streams.len());
    let mut plans: Vec<(usize, usize)> = order.into_iter().map(|at| (at, 0)).collect();
    for group in [false, true] {
        for round in 0..messages {
            for (at, given) in plans.iter_mut().filter(|(at, _)| ended(at) == group) {
                if left > 0 && *given == round && last_lines(streams[*at].1, round + 1).len() > round {
                    *given += 1;
                    left -= 1;
                }
            }
        }
    }
    plans.sort_unstable();
    plans
}

/// The last lines of what the stream said, oldest first.
fn last_lines(stream: &Stream, most: usize) -> Vec<(Style, String)> {
    let mut lines = Vec::new();
    let mut messages = stream.messages.iter().rev().peekable();
    // The tool that is at work stands in the stream's own line.
    if matches!(stream.activity, Activity::Tool { .. }) && stream.outcome().is_none() {
        messages.next_if(|message| message.voice == Voice::Tool);
    }
    for message in messages {
        if lines.len() >= most {
            break;
        }
        let (style, sign) = match message.voice {
            Voice::Worker | Voice::Open => (Style::Plain, ""),
            Voice::Sub => (Style::Dim, "↳ "),
            Voice::Tool => (Style::Dim, "→ "),
            Voice::Stderr => (Style::Dim, "! "),
            Voice::Trouble => (Style::Warn, "! "),
        };
        // A line that rewrites itself shows what it says last.
        let text = clean_lines(&message.text);
        let said = text.split('\n').rev().filter(|line| !line.trim().is_empty());
        lines.extend(
            said.take(most - lines.len())
                .map(|line| (style, format!("{sign}{}", line.trim_end()))),
        );
    }
    lines.reverse();
    lines
}

/// One column of the table.
struct Column {
    cells: Vec<(Style, String)>,
    width: usize,
    right: bool,
    /// Columns with a higher rank go first when there is no room.
    rank: usize,
}

/// The streams' lines, in columns that fit together.
struct Table {
    name: usize,
    columns: Vec<Column>,
    doing: Vec<(Style, String)>,
}

/// What the last column, what a stream does, should have before others get room.
const DOING: usize = 24;
const BAR: usize = 8;

impl Table {
    fn new(streams: &[(usize, &Stream)], now: Ts, columns: usize, zone: &TimeZone) -> Self {
        let longest = streams.iter().map(|(_, stream)| width(&stream.name)).max().unwrap_or(0);
        let name = longest.min((columns / 4).clamp(8, 32));
        let cells = |right, rank, cell: &dyn Fn(&Stream) -> (Style, String)| {
            let cells: Vec<(Style, String)> = streams.iter().map(|(_, stream)| cell(stream)).collect();
            let width = cells.iter().map(|(_, text)| width(text)).max().unwrap_or(0);
            Column {
                cells,
                width,
                right,
                rank,
            }
        };
        let some = |text: Option<String>| text.unwrap_or_default();
        let mut table = vec![
            cells(false, 6, &|stream| {
                (Style::Dim, some(stream.agent().map(|kind| kind.as_str().to_owned())))
            }),
            cells(true, 1, &|stream| (Style::Plain, words::time(stream, now))),
            cells(true, 4, &|stream| (Style::Plain, words::counted(stream.lines, "line"))),
            cells(true, 5, &|stream| {
                let tokens = words::tokens(stream.usage());
                (
                    Style::Plain,
                    some((tokens > 0).then(|| format!("{} tok", words::count(tokens)))),
                )
            }),
            cells(true, 5, &|stream| {
                (
                    Style::Plain,
                    some(stream.cost().filter(|cost| *cost > 0.0).map(words::dollars)),
                )
            }),
            cells(false, 3, &|stream| {
                let open = stream.progress.filter(|_| stream.outcome().is_none());
                (Style::Busy, some(open.map(|progress| words::bar(progress, BAR))))
            }),
            cells(true, 2, &|stream| {
                let open = stream.progress.filter(|_| stream.outcome().is_none());
                (Style::Plain, some(open.map(words::share)))
            }),
        ];
        table.retain(|column| column.width > 0);
        let doing: Vec<(Style, String)> = streams
            .iter()
            .map(|(_, stream)| words::doing(stream, now, zone))
            .collect();
        let widest = doing.iter().map(|(_, text)| width(text));
        let widest = widest.max().unwrap_or(0).min(DOING);
        let need =
            |table: &[Column]| 2 + name + table.iter().map(|column| column.width + 2).sum::<usize>() + 2 + widest;
        while need(&table) > columns {
            let Some(worst) = table.iter().map(|column| column.rank).max().filter(|rank| *rank > 1) else {
                break;
            };
            table.retain(|column| column.rank != worst);
        }
        Self {
            name,
            columns: table,
            doing,
        }
    }

    fn fill(&self, row: &mut Row, line: usize, place: usize, stream: &Stream) {
        let (style, mark) = words::mark(stream);
        let color = u8::try_from(place % usize::from(NAME_COLORS)).unwrap_or(0);
        row.push(style, mark)
            .push(Style::Plain, " ")
            .push_padded(Style::Name(color), &stream.name, self.name);
        for column in &self.columns {
            let (style, text) = &column.cells[line];
            let lead = if column.right { column.width - width(text) } else { 0 };
            let end = row.used() + 2 + column.width;
            row.pad_to(row.used() + 2 + lead).push(*style, text).pad_to(end);
        }
        let (style, doing) = &self.doing[line];
        row.push(Style::Plain, "  ");
        if stream.lost > 0 {
            row.push(Style::Bad, &format!("{} lost, ", words::counted(stream.lost, "line")));
        }
        if stream.attempt > 1 {
            row.push(*style, &format!("#{} ", stream.attempt));
        }
        row.push(*style, doing);
    }
}

fn summary(state: &State, streams: &[(usize, &Stream)], now: Ts, columns: usize, look: &Look) -> Row {
    let mut row = Row::new(columns, look.color);
    let streams: Vec<&Stream> = streams.iter().map(|(_, stream)| *stream).collect();
    if streams.is_empty() {
        row.push(Style::Dim, "no stream yet");
        return row;
    }
    row.push(Style::Bold, &words::counted(streams.len() as u64, "stream"))
        .push(Style::Plain, &format!(": {}", words::counts(&streams)));
    for part in words::totals(state, &streams, now) {
        if width(&part) + 3 > row.left() {
            break;
        }
        row.push(Style::Dim, " · ").push(Style::Plain, &part);
    }
    row
}
