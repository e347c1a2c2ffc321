//! State in, text out: what the tools draw and print for people.

mod clean;
mod text;

pub use clean::{clean, clean_lines, clip, line, width};
pub use text::Text;
