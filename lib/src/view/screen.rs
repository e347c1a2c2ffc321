//! From one frame to the next: the bytes that turn what a terminal shows into what it should show.
//!
//! The picture stands in the normal screen, below what was there, and the cursor rests on the line beneath it: what is
//! drawn stays, scrolls and can be copied as everything else. A text to be read has the terminal's other screen, so that
//! afterwards the picture is where it was.

use super::row::Row;
use crate::sys::terminal::Size;

/// What stands on the terminal.
#[derive(Debug, Default)]
pub struct Screen {
    rows: Vec<Row>,
    columns: usize,
    /// What stands on the other screen, while that is shown.
    other: Option<(Vec<Row>, Size)>,
}

/// All at once where the terminal can, no cursor, and no wrapping should it count columns otherwise than we do.
const BEGIN: &[u8] = b"\x1b[?2026h\x1b[?25l\x1b[?7l";
const END: &[u8] = b"\x1b[?7h\x1b[?2026l";

impl Screen {
    /// The bytes to write to show these rows on the other screen, all of it; `None` when they stand there already.
    pub fn draw_other(&mut self, rows: Vec<Row>, size: Size) -> Option<Vec<u8>> {
        let known = self.other.as_ref().filter(|(_, known)| *known == size);
        if known.is_some_and(|(old, _)| *old == rows) {
            return None;
        }
        let mut out = BEGIN.to_vec();
        if self.other.is_none() {
            out.extend_from_slice(b"\x1b[?1049h");
        }
        if known.is_none() {
            out.extend_from_slice(b"\x1b[2J");
        }
        for (index, row) in rows.iter().enumerate() {
            if known.and_then(|(old, _)| old.get(index)) != Some(row) {
                out.extend_from_slice(format!("\x1b[{}H", index + 1).as_bytes());
                push(row, size, &mut out);
            }
        }
        out.extend_from_slice(END);
        self.other = Some((rows, size));
        Some(out)
    }

    /// The bytes to write to show these rows, which are fewer than the terminal's; `None` when they stand there already.
    pub fn draw(&mut self, rows: Vec<Row>, size: Size) -> Option<Vec<u8>> {
        let resized = self.columns != size.columns && !self.rows.is_empty();
        let back = self.other.take().is_some();
        if rows == self.rows && !resized && !back {
            return None;
        }
        let first = if resized {
            0
        } else {
            let pairs = rows.iter().zip(&self.rows);
            pairs.take_while(|(new, old)| new == old).count()
        };
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(BEGIN);
        if back {
            // The cursor is where it was then.
            out.extend_from_slice(b"\x1b[?1049l");
        }
        out.push(b'\r');
        let up = self.height(first, size);
        if up > 0 {
            out.extend_from_slice(format!("\x1b[{up}A").as_bytes());
        }
        if resized {
            out.extend_from_slice(b"\x1b[J");
        }
        for (index, row) in rows.iter().enumerate().skip(first) {
            if resized || self.rows.get(index) != Some(row) {
                push(row, size, &mut out);
            }
            out.extend_from_slice(b"\r\n");
        }
        if rows.len() < self.rows.len() && !resized {
            out.extend_from_slice(b"\x1b[J");
        }
        out.extend_from_slice(END);
        self.rows = rows;
        self.columns = size.columns;
        Some(out)
    }

    /// The next frame begins where the cursor then is: others wrote to the terminal meanwhile.
    pub fn forget(&mut self) {
        self.rows.clear();
        self.other = None;
    }

    /// How many lines of the terminal the rows from `first` on take: one each, but a terminal that became narrower has
    /// wrapped what no longer fits.
    fn height(&self, first: usize, size: Size) -> usize {
        let rows = self.rows.iter().skip(first);
        let lines: usize = rows.map(|row| row.used().div_ceil(size.columns.max(1)).max(1)).sum();
        lines.min(size.rows.saturating_sub(1))
    }
}

fn push(row: &Row, size: Size, out: &mut Vec<u8>) {
    out.extend_from_slice(row.as_str().as_bytes());
    // At the last column this would erase the last character.
    if row.used() < size.columns {
        out.extend_from_slice(b"\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::row::Style;

    const SIZE: Size = Size { columns: 10, rows: 6 };

    fn rows(texts: &[&str], columns: usize) -> Vec<Row> {
        let row = |text: &&str| {
            let mut row = Row::new(columns, false);
            row.push(Style::Plain, text);
            row
        };
        texts.iter().map(row).collect()
    }

    fn drawn(screen: &mut Screen, texts: &[&str], size: Size) -> String {
        let bytes = screen.draw(rows(texts, size.columns), size).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap();
        let inner = text.strip_prefix("\x1b[?2026h\x1b[?25l\x1b[?7l\r");
        inner
            .map(|inner| inner.strip_suffix("\x1b[?7h\x1b[?2026l").unwrap().to_owned())
            .unwrap_or(text)
    }

    #[test]
    fn only_what_changed() {
        let mut screen = Screen::default();
        assert_eq!(
            drawn(&mut screen, &["a", "b", "c"], SIZE),
            "a\x1b[K\r\nb\x1b[K\r\nc\x1b[K\r\n"
        );
        assert_eq!(drawn(&mut screen, &["a", "b", "c"], SIZE), "");
        assert_eq!(drawn(&mut screen, &["a", "x", "c"], SIZE), "\x1b[2Ax\x1b[K\r\n\r\n");
        assert_eq!(drawn(&mut screen, &["a", "x"], SIZE), "\x1b[1A\x1b[J");
        assert_eq!(drawn(&mut screen, &["a", "x", "0123456789"], SIZE), "0123456789\r\n");
        screen.forget();
        assert_eq!(drawn(&mut screen, &["a"], SIZE), "a\x1b[K\r\n");
    }

    #[test]
    fn the_other_screen_and_back() {
        let mut screen = Screen::default();
        drawn(&mut screen, &["a", "b"], SIZE);
        let mut other = |texts: &[&str], size: Size| {
            let bytes = screen.draw_other(rows(texts, size.columns), size).unwrap_or_default();
            String::from_utf8(bytes).unwrap().replace('\x1b', "^")
        };
        let whole = |inner: &str| format!("^[?2026h^[?25l^[?7l{inner}^[?7h^[?2026l");
        assert_eq!(other(&["x", "y"], SIZE), whole("^[?1049h^[2J^[1Hx^[K^[2Hy^[K"));
        assert_eq!(other(&["x", "y"], SIZE), "");
        assert_eq!(other(&["x", "z"], SIZE), whole("^[2Hz^[K"));
        let wide = Size { columns: 12, rows: 6 };
        assert_eq!(other(&["x", "z"], wide), whole("^[2J^[1Hx^[K^[2Hz^[K"));
        let back = screen.draw(rows(&["a", "c"], SIZE.columns), SIZE).unwrap();
        let back = String::from_utf8(back).unwrap().replace('\x1b', "^");
        assert_eq!(back, whole("^[?1049l\r^[1Ac^[K\r\n"));
        drawn(&mut screen, &["a", "c"], SIZE);
    }

    #[test]
    fn a_narrower_terminal_has_wrapped() {
        let mut screen = Screen::default();
        drawn(&mut screen, &["0123456789", "b"], SIZE);
        let narrow = Size { columns: 4, rows: 6 };
        assert_eq!(
            drawn(&mut screen, &["a", "b"], narrow),
            "\x1b[4A\x1b[Ja\x1b[K\r\nb\x1b[K\r\n"
        );
        // Never further up than the terminal has lines.
        let flat = Size { columns: 1, rows: 2 };
        drawn(&mut screen, &["c", "d", "e"], Size { columns: 3, rows: 6 });
        assert!(drawn(&mut screen, &["x"], flat).starts_with("\x1b[1A"));
    }
}
