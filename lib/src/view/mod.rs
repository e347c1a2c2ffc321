//! State in, text out: what the tools draw and print for people.

mod clean;
mod live;
mod log;
mod row;
mod screen;
mod text;
mod words;
pub use clean::{clean, clean_json, clean_lines, clip, line, width};
pub use jiff::tz::TimeZone;
pub use live::{Look, picture};
pub use log::{Changes, alive, change, object};
pub use row::{NAME_COLORS, Row, Style};
pub use screen::Screen;
pub use text::Text;

#[cfg(test)]
mod tests;
