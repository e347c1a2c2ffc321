//! State in, text out: what the tools draw and print for people.

mod actions;
mod clean;
mod gantt;
mod html;
mod keys;
mod live;
mod log;
mod report;
mod row;
mod screen;
mod summary;
mod text;
mod trace;
mod words;
pub use actions::command_free;
pub use clean::{clean, clean_json, clean_lines, clip, line, width};
pub use html::html;
pub use jiff::tz::TimeZone;
pub use keys::{Key, Keys};
pub use live::{Act, Board, Frame, Look, picture};
pub use log::{Changes, alive, change, day, entry, groups, object, time_of_day, total};
pub use row::{NAME_COLORS, Row, Style};
pub use screen::Screen;
pub use summary::summary;
pub use text::Text;
pub use trace::trace;

#[cfg(test)]
mod tests;
