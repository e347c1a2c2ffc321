//! State in, text out: what the tools draw and print for people.

mod clean;
mod row;
mod screen;

pub use clean::{clean, clean_lines, clip, line, width};
pub use row::{NAME_COLORS, Row, Style};
pub use screen::Screen;
