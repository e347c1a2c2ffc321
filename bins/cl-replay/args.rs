use clap::Parser;
use harmony::line::Name;
use harmony::manual::{
    self,
    Part::{Code, Item, Text},
};
use std::path::PathBuf;

/// Play a recorded stream back as a worker would
///
/// Writes what the recorded worker wrote, byte for byte: its stdout on stdout, its stderr on stderr, with its pauses,
/// and ends as it did, by the same exit code or the same signal. So a run can be looked at again, and a pipeline tried
/// out, without an agent, an account or a network: cl-spawn --agent replay:FOLDER NAME plays FOLDER/NAME.ndjson.
#[derive(Debug, Parser)]
#[command(
    name = "cl-replay",
    version,
    after_long_help = manual::help(MANUAL)
)]
pub struct Args {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// How much faster than recorded; max leaves out all pauses
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    pub speed: Speed,

    /// Which stream to play, where FILE holds several
    ///
    /// Streams that ran inside it come with it, as they came out of it.
    #[arg(long, value_name = "NAME")]
    pub stream: Option<Name>,

    /// End with 0 once all is played, however the recorded worker ended
    #[arg(long, conflicts_with = "exit")]
    pub no_exit: bool,

    /// End with this exit code instead of the recorded end
    #[arg(long, value_name = "CODE")]
    pub exit: Option<u8>,

    #[command(flatten)]
    pub common: harmony::cli::Common,
}

/// What `--help` and the manual page say beyond the options.
pub const MANUAL: &manual::Sections = &[
    (
        "Recordings",
        &[
            Text(
                "A recording is a stream as cl-spawn writes it and cl-tee stores it. When its lines bear no header, FILE is \
                 taken for the worker's own output, as claude -p --output-format stream-json > x.ndjson gives it. Then \
                 x.meta.json beside it may hold the rest, all of it optional:",
            ),
            Item(
                "exit",
                "The exit code; or signal, the name of the signal that ended it.",
            ),
            Item("duration_ms", "How long it ran, in milliseconds."),
            Item("stderr", "What it wrote on stderr; and stderr_ms, when each line came."),
            Item("arrivals", "When stdout came: [[MS, BYTES], ...]."),
        ],
    ),
    (
        "Exit status",
        &[
            Item("N", "As recorded; or death by the recorded signal."),
            Item("1", "FILE cannot be read, or holds no end."),
            Item("2", "cl-replay was misused."),
        ],
    ),
    (
        "Examples",
        &[
            Text("A worker as it was, in a pipeline:"),
            Code("cl-spawn main --agent replay:run | cl-merge -o text"),
            Text("What it wrote, without its pauses:"),
            Code("cl-replay --speed max run/main.ndjson"),
        ],
    ),
];

/// How pauses are played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast.
    Times(f64),
    /// Not at all.
    Max,
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse() {
        Ok(times) if times > 0.0 && f64::is_finite(times) => Ok(Speed::Times(times)),
        _ => Err("write a number above 0, as 2 or 0.5, or max".to_owned()),
    }
}
