//! What keys do to the picture: which stream is chosen, which one is open, how they are sorted.

use super::order::{Sort, shown};
use super::page::{self, Anchor, page};
use super::{Look, Pick, overview};
use crate::line::Ts;
use crate::state::{State, Stream};
use crate::sys::terminal::Size;
use crate::view::keys::Key;
use crate::view::row::Row;

/// A picture that keys change. Streams are known by their place in the run.
#[derive(Debug, Clone, Default)]
pub struct Board {
    sort: Sort,
    chosen: Option<usize>,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    place: usize,
    top: Option<Anchor>,
}

/// What is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// All streams: rows below what the terminal showed.
    Streams(Vec<Row>),
    /// One stream's text: the whole screen.
    Text(Vec<Row>),
}

/// What a key asks for; of several, the last one here counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Nothing that it does.
    Nothing,
    /// To be drawn anew.
    Draw,
    /// The display is to be closed.
    Close,
}

impl Board {
    /// The picture now. `keys` says whether somebody can press any.
    pub fn frame(&self, state: &State, now: Ts, size: Size, look: &Look, keys: bool) -> Frame {
        if let Some((open, stream)) = self
            .open
            .and_then(|open| Some((open, state.streams().get(open.place)?)))
        {
            return Frame::Text(page((open.place, stream), open.top, now, size, look));
        }
        let pick = Pick {
            sort: self.sort,
            chosen: self.chosen,
            keys: keys && !look.all_ended(state),
        };
        Frame::Streams(overview(state, now, above_the_cursor(size), look, pick))
    }

    /// Whether one stream's text is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether keys have changed what is shown.
    pub fn is_used(&self) -> bool {
        self.open.is_some() || self.chosen.is_some() || self.sort != Sort::default()
    }

    /// Back to all streams, none of which is chosen.
    pub fn close(&mut self) {
        (self.open, self.chosen) = (None, None);
    }

    /// Does what a key asks for.
    pub fn press(&mut self, key: Key, state: &State, now: Ts, size: Size, look: &Look) -> Act {
        match self.open {
            Some(open) => self.read(open, key, state, now, size, look),
            None => self.choose(key, state, now, size, look),
        }
    }

    fn order<'a>(&self, state: &'a State, now: Ts, size: Size, look: &'a Look) -> Vec<(usize, &'a Stream)> {
        shown(state, now, above_the_cursor(size), look, self.sort).streams
    }

    /// Keys where all streams are shown.
    fn choose(&mut self, key: Key, state: &State, now: Ts, size: Size, look: &Look) -> Act {
        let order = self.order(state, now, size, look);
        let last = order.len().saturating_sub(1);
        let at = self
            .chosen
            .and_then(|place| order.iter().position(|(other, _)| *other == place));
        let to = match key {
            Key::Char('q') => return Act::Close,
            Key::Char('s') => {
                self.sort = self.sort.next();
                return Act::Draw;
            }
            Key::Escape if self.chosen.take().is_some() => return Act::Draw,
            Key::Enter | Key::Right | Key::Char('l') => {
                let Some((place, _)) = order.get(at.unwrap_or(0)) else {
                    return Act::Nothing;
                };
                self.chosen = Some(*place);
                self.open = Some(Open {
                    place: *place,
                    top: None,
                });
                return Act::Draw;
            }
            Key::Up | Key::Char('k') => at.map_or(last, |at| at.saturating_sub(1)),
            Key::Down | Key::Char('j') => at.map_or(0, |at| (at + 1).min(last)),
            Key::PageUp => at.unwrap_or(0).saturating_sub(10),
            Key::PageDown => (at.unwrap_or(0) + 10).min(last),
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => last,
            _ => return Act::Nothing,
        };
        self.chosen = order.get(to).map(|(place, _)| *place);
        Act::Draw
    }

    /// Keys where one stream's text is open.
    fn read(&mut self, open: Open, key: Key, state: &State, now: Ts, size: Size, look: &Look) -> Act {
        let Some(stream) = state.streams().get(open.place) else {
            self.open = None;
            return Act::Draw;
        };
        let whole = isize::try_from(size.rows / 2 + size.rows / 4).unwrap_or(1).max(1);
        let scroll = |rows| page::scroll(stream, open.top, rows, size, look);
        let top = match key {
            Key::Escape | Key::Char('q') => {
                self.open = None;
                return Act::Draw;
            }
            Key::Left | Key::Char('h') => return self.turn_to(-1, open.place, state, now, size, look),
            Key::Right | Key::Char('l') => return self.turn_to(1, open.place, state, now, size, look),
            Key::Up | Key::Char('k') => scroll(-1),
            Key::Down | Key::Char('j') => scroll(1),
            Key::PageUp | Key::Char('b') => scroll(-whole),
            Key::PageDown | Key::Char(' ') => scroll(whole),
            Key::Home | Key::Char('g') => page::first(stream, size, look),
            Key::End | Key::Char('G') => None,
            _ => return Act::Nothing,
        };
        self.open = Some(Open { top, ..open });
        Act::Draw
    }

    /// Opens the stream that many places on.
    fn turn_to(&mut self, by: isize, from: usize, state: &State, now: Ts, size: Size, look: &Look) -> Act {
        let order = self.order(state, now, size, look);
        let at = order.iter().position(|(place, _)| *place == from);
        let to = at.and_then(|at| at.checked_add_signed(by)).and_then(|at| order.get(at));
        let Some((place, _)) = to else {
            return Act::Nothing;
        };
        self.chosen = Some(*place);
        self.open = Some(Open {
            place: *place,
            top: None,
        });
        Act::Draw
    }
}

/// The room for all streams: the cursor rests below.
fn above_the_cursor(size: Size) -> Size {
    let rows = size.rows.saturating_sub(1).max(1);
    Size { rows, ..size }
}
