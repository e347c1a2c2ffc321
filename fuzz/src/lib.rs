//! What must hold for any bytes, a function a format. The fuzz targets call these with what the fuzzer finds, the suite
//! with the recordings; both go through `harmony`'s public functions alone.

mod agents;
mod frame;
mod intake;
mod plan;
mod replay;
mod roles;
mod text;
mod wire;
mod words;

pub use agents::{claude, codex, gemini, opencode, qwen};
pub use frame::frame;
pub use intake::intake;
pub use plan::{grown, plan};
pub use replay::replay;
pub use roles::roles;
pub use text::text;
pub use wire::wire;
pub use words::words;

/// A check, and its name.
pub type Check = (&'static str, fn(&[u8]));

/// All checks.
pub const ALL: [Check; 14] = [
    ("wire", wire),
    ("frame", frame),
    ("intake", intake),
    ("claude", claude),
    ("codex", codex),
    ("gemini", gemini),
    ("qwen", qwen),
    ("opencode", opencode),
    ("replay", replay),
    ("roles", roles),
    ("words", words),
    ("text", text),
    ("plan", plan),
    ("grown", grown),
];

/// The lines of a text, each with whether a line feed followed.
fn lines(data: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    data.split_inclusive(|&byte| byte == b'\n')
        .map(|line| match line.strip_suffix(b"\n") {
            Some(line) => (line, true),
            None => (line, false),
        })
}

/// Whether a reader that goes deeper and deeper into what is nested would still follow.
fn shallow(line: &[u8]) -> bool {
    line.iter().filter(|byte| b"[{".contains(byte)).count() < 100
}
