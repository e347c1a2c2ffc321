//! The streams' own lines, in columns that fit together.

use crate::line::{Outcome, Ts};
use crate::state::Stream;
use crate::view::clean::width;
use crate::view::row::{NAME_COLORS, Row, Style};
use crate::view::words;
use jiff::tz::TimeZone;

/// What the column that tells what a stream does should have before figures get room, and what it has at most.
const DOING: std::ops::RangeInclusive<usize> = 24..=90;
/// The same where there is little room at all.
const LITTLE: usize = 16;
const BAR: usize = 6;

/// A column of figures.
struct Figures {
    title: &'static str,
    cells: Vec<String>,
    width: usize,
    /// Columns with a higher rank go first when there is no room.
    rank: usize,
}

/// The columns.
pub(super) struct Table<'a> {
    streams: &'a [(usize, &'a Stream)],
    now: Ts,
    zone: &'a TimeZone,
    name: usize,
    who: usize,
    roles: bool,
    doing: usize,
    figures: Vec<Figures>,
}

/// The columns' ranks.
const TIME: usize = 1;
const COST: usize = 2;
const TOKENS: usize = 3;
const WHO: usize = 4;
const LINES: usize = 5;

/// So many columns have room for roles.
const ROLES: usize = 100;

impl<'a> Table<'a> {
    /// Columns for these streams. Where there is no row of titles, figures have units.
    pub(super) fn new(
        streams: &'a [(usize, &'a Stream)],
        now: Ts,
        (columns, titles): (usize, bool),
        zone: &'a TimeZone,
    ) -> Self {
        let widest = |cell: &dyn Fn(&Stream) -> usize| streams.iter().map(|(_, stream)| cell(stream)).max();
        let name = widest(&|stream| width(&stream.name)).unwrap_or(0);
        let name = name.max("stream".len() * usize::from(titles));
        // The role only where there is room.
        let roles = columns >= ROLES;
        let who = widest(&|stream| width(&who(stream, roles))).unwrap_or(0);
        // Columns are as wide from the beginning as they will be: nothing moves when figures grow.
        let column = |title: &'static str, rank, least: usize, cell: &dyn Fn(&Stream) -> String| {
            let cells: Vec<String> = streams.iter().map(|(_, stream)| cell(stream)).collect();
            let widest = cells.iter().map(|text| width(text)).max().unwrap_or(0);
            Figures {
                title,
                width: widest.max(least),
                cells,
                rank,
            }
        };
        // Where an agent is at work, they are filled in the end.
        let counted = streams
            .iter()
            .any(|(_, stream)| stream.kind.is_agent() || stream.cost().is_some());
        let mut figures = vec![
            column("time", TIME, 5, &|stream| words::time(stream, now)),
            column("lines", LINES, 5, &|stream| match titles {
                _ if !stream.has_begun() => String::new(),
                true => words::count(stream.lines),
                false => words::counted(stream.lines, "line"),
            }),
            column("tokens", TOKENS, 6, &|stream| match words::tokens(stream.usage()) {
                0 => String::new(),
                tokens if titles => words::count(tokens),
                tokens => format!("{} tok", words::count(tokens)),
            }),
            column("cost", COST, 6, &|stream| {
                let cost = stream.cost().filter(|cost| *cost > 0.0);
                cost.map(words::dollars).unwrap_or_default()
            }),
        ];
        figures.retain(|column| counted || column.rank == TIME || column.rank == LINES);
        let mut table = Self {
            streams,
            now,
            zone,
            name: name.min((columns / 4).clamp(8, 24)),
            who: who.min(20),
            roles,
            doing: 0,
            figures,
        };
        let least = if columns < 60 { LITTLE } else { *DOING.start() };
        while table.fixed() + least > columns {
            let figures = table.figures.iter().map(|column| column.rank);
            match figures.chain((table.who > 0).then_some(WHO)).max() {
                Some(WHO) => table.who = 0,
                Some(rank) if rank > TIME => table.figures.retain(|column| column.rank != rank),
                _ => break,
            }
        }
        table.doing = columns.saturating_sub(table.fixed()).min(*DOING.end());
        table
    }

    /// All but what the streams do, with two columns in between.
    fn fixed(&self) -> usize {
        let who = if self.who > 0 { self.who + 2 } else { 0 };
        2 + self.name + who + 2 + self.figures.iter().map(|column| column.width + 2).sum::<usize>()
    }

    /// What the columns mean.
    pub(super) fn titles(&self, row: &mut Row) {
        row.pad_to(2).push_padded(Style::Dim, "stream", self.name);
        if self.who > 0 {
            row.pad_to(row.used() + 2).push_padded(Style::Dim, "agent", self.who);
        }
        row.pad_to(row.used() + 2).push_padded(Style::Dim, "now", self.doing);
        for column in &self.figures {
            let end = row.used() + 2 + column.width;
            row.pad_to(end - column.title.len()).push(Style::Dim, column.title);
        }
    }

    /// The line of the stream that is at this place of those given; `chosen` marks it.
    pub(super) fn fill(&self, row: &mut Row, line: usize, chosen: bool) {
        let (place, stream) = self.streams[line];
        let (style, mark) = words::mark(stream);
        row.push(style, mark).push(Style::Bold, if chosen { "▸" } else { " " });
        row.push_padded(name_style(place), &stream.name, self.name);
        if self.who > 0 {
            row.pad_to(row.used() + 2)
                .push_padded(Style::Dim, &who(stream, self.roles), self.who);
        }
        row.pad_to(row.used() + 2);
        let end = row.used() + self.doing;
        self.does(row, stream);
        let style = match stream.outcome() {
            Some(Outcome::Success | Outcome::Cancelled | Outcome::Unknown) => Style::Dim,
            _ => Style::Plain,
        };
        let mut end = end;
        for column in &self.figures {
            let text = &column.cells[line];
            end += 2 + column.width;
            if !text.is_empty() {
                row.pad_to(end - width(text)).push(style, text);
            }
        }
    }

    /// How far it is, what it does, and for how long it has been silent: of the last nothing is cut.
    fn does(&self, row: &mut Row, stream: &Stream) {
        let end = row.used() + self.doing;
        let silent = words::silence(stream, self.now).map(|silent| format!("silent for {}", words::clock(silent)));
        let tail = silent.as_ref().map_or(0, |silent| width(silent) + 2);
        if let Some(progress) = stream.progress.filter(|_| stream.outcome().is_none()) {
            if self.doing >= *DOING.start() + tail {
                row.push(Style::Busy, &words::bar(progress, BAR))
                    .push(Style::Plain, " ");
            }
            row.push(Style::Plain, &words::share(progress)).push(Style::Plain, "  ");
        }
        if stream.lost > 0 {
            row.push(Style::Bad, &format!("{} lost, ", words::counted(stream.lost, "line")));
        }
        if stream.attempt > 1 {
            row.push(Style::Warn, &format!("#{} ", stream.attempt));
        }
        let (style, text) = words::act(stream, self.now, self.zone);
        let left = |row: &Row| end.saturating_sub(row.used());
        let Some(silent) = silent else {
            let room = left(row);
            row.push_cut(style, &text, room);
            let words = first_words(stream).filter(|_| stream.outcome() == Some(Outcome::Success));
            if let Some(words) = words.filter(|_| left(row) > 10) {
                let room = left(row) - 2;
                row.push(Style::Plain, "  ").push_cut(Style::Dim, &words, room);
            }
            return;
        };
        // Where both do not fit, that it is silent says more.
        if left(row) >= tail + 6 {
            let room = left(row) - tail;
            row.push_cut(style, &text, room).push(Style::Plain, ", ");
        }
        let room = left(row);
        row.push_cut(Style::Warn, &silent, room);
    }
}

/// The colour of the name of the stream at this place of the run.
pub(super) fn name_style(place: usize) -> Style {
    Style::Name(u8::try_from(place % usize::from(NAME_COLORS)).unwrap_or(0))
}

/// The agent, and the role where that is asked for and the name does not tell it.
fn who(stream: &Stream, roles: bool) -> String {
    let agent = stream.agent().map_or("", |kind| kind.as_str());
    match stream.role().filter(|role| roles && *role != stream.name) {
        Some(role) if agent.is_empty() => role.to_owned(),
        Some(role) => format!("{agent} {role}"),
        None => agent.to_owned(),
    }
}

/// How its answer begins, without what marks a quotation or a list; a heading only where nothing else is there.
fn first_words(stream: &Stream) -> Option<String> {
    const MARKS: [char; 5] = [' ', '#', '*', '>', '-'];
    let answer = stream.end.as_ref()?.exit.text.as_deref()?;
    let heads = |line: &str| line.starts_with('#') || (line.starts_with("**") && line.ends_with("**"));
    let bare = |line: &str| line.trim_matches(MARKS).is_empty() || line.starts_with("```");
    let lines = || answer.lines().take(20).map(str::trim).filter(|line| !bare(line));
    let found = lines().find(|line| !heads(line)).or_else(|| lines().next());
    let line = found?.trim_start_matches(MARKS).trim_end_matches(['#', ' ']);
    let mut before = ' ';
    // Marks of emphasis go, a product stays.
    let plain = line.chars().take(200).filter(|c| {
        let marks = *c == '*' && before != ' ';
        before = *c;
        !marks
    });
    Some(plain.collect())
}
