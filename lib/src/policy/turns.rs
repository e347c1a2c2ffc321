//! Which turn of a kept worker stands for its stream's end.

use crate::state::{End, Stream};
use std::collections::HashMap;

/// Which turn is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The next one, whatever its number.
    Next,
    /// That one, counted from the stream's beginning; the first is 1.
    Number(u64),
}

impl std::str::FromStr for Turn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "next" => Ok(Self::Next),
            Ok(number @ 1..) => Ok(Self::Number(number)),
            _ => Err("a turn's number is 1 or more".to_owned()),
        }
    }
}

/// The turns that are waited for, as far as they are there.
#[derive(Debug, Clone)]
pub struct Turns {
    which: Turn,
    there: HashMap<String, End>,
}

impl Turns {
    /// None is there yet.
    pub fn new(which: Turn) -> Self {
        Self {
            which,
            there: HashMap::new(),
        }
    }

    /// Takes note of a stream's turn, after its `turn` event; `fresh` unless that had been written before the wait
    /// began.
    pub fn see(&mut self, stream: &Stream, fresh: bool) {
        let is_it = match self.which {
            Turn::Next => fresh && !self.there.contains_key(&stream.name),
            Turn::Number(number) => stream.turns == number,
        };
        if let Some(turn) = stream.turn.as_deref().filter(|_| is_it) {
            self.there.insert(stream.name.clone(), turn.clone());
        }
    }

    /// That stream's turn, once it is there.
    pub fn of(&self, stream: &str) -> Option<&End> {
        self.there.get(stream)
    }
}
