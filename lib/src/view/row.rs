//! One line of a picture: styled pieces of clean text that together never exceed the columns there are.

use super::clean::{line, width};

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// As the terminal writes.
    #[default]
    Plain,
    /// What matters.
    Bold,
    /// What is there to be looked up.
    Dim,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It waits or may go wrong.
    Warn,
    /// It works.
    Busy,
    /// A name, in one of the colours that tell streams apart.
    Name(u8),
}

/// How many colours names have.
pub const NAME_COLORS: u8 = 6;

impl Style {
    /// The parameters of the select-graphic-rendition sequence; none for plain text.
    fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warn => "33",
            Self::Busy => "36",
            Self::Name(index) => ["36", "35", "34", "33", "32", "91"][usize::from(index % NAME_COLORS)],
        }
    }
}

/// A line of a picture, built from the left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    text: String,
    used: usize,
    columns: usize,
    color: bool,
}

impl Row {
    /// An empty row of that many columns.
    pub fn new(columns: usize, color: bool) -> Self {
        Self {
            text: String::new(),
            used: 0,
            columns,
            color,
        }
    }

    /// Appends text, made harmless and cut to the columns that are left.
    pub fn push(&mut self, style: Style, text: &str) -> &mut Self {
        self.push_cut(style, text, usize::MAX)
    }

    /// Appends text, made harmless and cut to `most` columns and to what is left.
    pub fn push_cut(&mut self, style: Style, text: &str, most: usize) -> &mut Self {
        let text = line(text, most.min(self.left()));
        self.used += width(&text);
        let sgr = style.sgr();
        if !self.color || sgr.is_empty() || text.is_empty() {
            self.text.push_str(&text);
        } else {
            for part in ["\x1b[", sgr, "m", &text, "\x1b[0m"] {
                self.text.push_str(part);
            }
        }
        self
    }

    /// Appends text and pads it to `columns`, as far as there is room.
    pub fn push_padded(&mut self, style: Style, text: &str, columns: usize) -> &mut Self {
        let end = (self.used + columns).min(self.columns);
        self.push_cut(style, text, columns).pad_to(end)
    }

    /// Fills with spaces up to a column.
    pub fn pad_to(&mut self, column: usize) -> &mut Self {
        while self.used < column.min(self.columns) {
            self.text.push(' ');
            self.used += 1;
        }
        self
    }

    /// Columns that are left.
    pub fn left(&self) -> usize {
        self.columns - self.used
    }

    /// Columns that are used.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The text with its colours.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_and_padding() {
        let mut row = Row::new(12, true);
        row.push(Style::Good, "ok")
            .push_padded(Style::Plain, "日本", 5)
            .push(Style::Dim, "too long");
        assert_eq!(row.as_str(), "\x1b[32mok\x1b[0m日本 \x1b[2mtoo …\x1b[0m");
        assert_eq!((row.used(), row.left()), (12, 0));
        let mut plain = Row::new(12, false);
        plain.push(Style::Bad, "x\x1b[2Jy").pad_to(4).push(Style::Plain, "");
        assert_eq!(plain.as_str(), "xy  ");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_too_wide(columns in 0usize..30, pieces in prop::collection::vec((".{0,20}", 0usize..20), 0..6)) {
            let mut row = Row::new(columns, false);
            for (text, most) in &pieces {
                row.push_padded(Style::Bold, text, *most);
            }
            prop_assert!(row.used() <= columns);
            prop_assert_eq!(width(row.as_str()), row.used());
        }
    }
}
