//! A line as a terminal shows it: pieces of text, each with its column and its look.

use harmony::view::width;

/// A piece of a line that looks the same throughout.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Piece {
    /// Where it begins.
    pub column: usize,
    /// The parameter of the sequence that makes it look as it does; empty for plain text.
    pub look: String,
    /// What it says.
    pub text: String,
}

/// Reads a line with the sequences that set a look. Where two blanks or more follow each other a new piece begins, so
/// that columns stay columns whatever the font.
pub fn pieces(line: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut column = 0;
    for (at, part) in line.split("\x1b[").enumerate() {
        // Before the first sequence there is none.
        let (look, text) = match at {
            0 => ("", part),
            _ => part.split_once('m').unwrap_or(("", part)),
        };
        let look = if look == "0" { "" } else { look };
        let mut rest = text;
        while !rest.is_empty() {
            let gap = rest.len() - rest.trim_start_matches(' ').len();
            column += gap;
            rest = &rest[gap..];
            let end = rest.find("  ").unwrap_or(rest.len());
            let said = &rest[..end];
            if !said.is_empty() {
                pieces.push(Piece {
                    column,
                    look: look.to_owned(),
                    text: said.to_owned(),
                });
            }
            column += width(said);
            rest = &rest[end..];
        }
    }
    pieces
}
