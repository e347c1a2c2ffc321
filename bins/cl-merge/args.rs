use clap::{Parser, ValueEnum};
use harmony::line::Glob;
use harmony::manual::{
    self,
    Part::{Code, Item, Text},
};
use harmony::units;
use std::ffi::OsString;
use std::time::Duration;

/// Bring many streams into one
///
/// Reads all sources at once and writes their lines on stdout as they come, each line whole. Lines that bear a header
/// (see cl-stream(5)) pass as they are. Other lines are stamped with the source's name, a number and the time, and
/// their stream gets a start and, when the source ends, an exit that tells what the lines themselves say about how it
/// went.
///
/// A FIFO is opened without waiting for a writer, so it does not matter who comes first. As long as nobody has written
/// it is waited for; when its last writer leaves, it has ended. cl-merge ends with its last source.
///
/// Nothing is lost in silence: numbers that are missing are told by a gap event, half a line of a writer that was
/// killed by torn, a stream that stops without its exit by lost.
#[derive(Debug, Parser)]
#[command(
    name = "cl-merge",
    version,
    after_long_help = manual::help(MANUAL)
)]
pub struct Args {
    /// FIFOs, files, folders, /dev/fd/N from <(…), or '-'; without any, stdin
    ///
    /// A folder stands for all FIFOs and *.ndjson in it and in its folders; what lies in a folder inside is called
    /// outer/inner. NAME is for lines without a header, and by default the file's name without its extension (stdin,
    /// fdN for /dev/fd/N; with -2, -3 … where a name is taken). A path that has a '=' in it can be written ./a=b.
    #[arg(value_name = "[NAME=]SOURCE")]
    pub sources: Vec<OsString>,

    /// Keep reading files that grow and FIFOs whose writers come and go
    ///
    /// Until every stream seen has its exit, and every source named here has shown a stream. Files that are rotated or
    /// cut short are read on from their new beginning, and what appears in a folder is read too. A source that is not
    /// there yet is waited for, where its folder is there.
    #[arg(short, long)]
    pub follow: bool,

    /// Make the FIFOs that do not exist, and remove them at the end
    #[arg(long)]
    pub mkfifo: bool,

    /// In which order lines are written: arrival (as they come) or time (by their header's time)
    ///
    /// By time, a line waits for the window, so that an earlier one of another source can overtake it; files are read
    /// in step and wait for nothing.
    #[arg(
        long,
        value_enum,
        value_name = "ORDER",
        default_value = "arrival",
        hide_possible_values = true
    )]
    pub order: Order,

    /// How long a line waits for earlier ones with --order time
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = units::duration)]
    pub window: Duration,

    /// Only streams of this name; may be given several times
    ///
    /// GLOB is for the whole name: '*' stands for any characters, '/' among them, and '?' for one.
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<Glob>,

    /// No streams of this name; may be given several times, and wins over --only
    #[arg(long, value_name = "GLOB")]
    pub not: Vec<Glob>,

    /// What to write: ndjson, text, raw or seq
    ///
    /// ndjson is the stream itself. text is for people: each line behind its stream's name, tool calls in one line,
    /// answers word by word where the agent tells them so. raw is what the workers themselves wrote on stdout, byte
    /// for byte. seq is ndjson as RFC 7464 has it, with a record separator before each line.
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "ndjson",
        hide_possible_values = true
    )]
    pub output: Output,

    /// Also write join and leave events when a source appears or ends
    #[arg(long)]
    pub verbose: bool,

    #[command(flatten)]
    pub common: harmony::cli::Common,
}

/// What `--help` and the manual page say beyond the options.
pub const MANUAL: &manual::Sections = &[
    (
        "Exit status",
        &[
            Item("0", "All sources could be read; or the reader of the output went away."),
            Item(
                "1",
                "A source could not be read, or stdout failed; the other sources were passed on.",
            ),
            Item("2", "cl-merge was misused."),
            Item("128+N", "After signal N."),
        ],
    ),
    (
        "Signals",
        &[Text(
            "At the first INT, TERM or HUP the writers may end by themselves for up to 5 seconds, so that their last lines are \
             passed on; then the streams are closed. With --follow or --mkfifo they are closed at once. The second ends it.",
        )],
    ),
    (
        "Examples",
        &[
            Text("Ask two at once, and end when the one that is needed is there:"),
            Code("cl-merge <(cl-spawn main \"$q\") <(cl-spawn context \"$q\") | cl-wait --need main"),
            Text("Make two FIFOs, to be written from elsewhere, as by claude -p ... > a:"),
            Code("cl-merge --mkfifo -o text a b"),
            Text("Look at a run that cl-tee --split writes:"),
            Code("cl-merge --follow -o text run/"),
            Text("What main wrote, byte for byte:"),
            Code("cl-merge -o raw --only main run/"),
        ],
    ),
];

/// The order of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// As they come.
    Arrival,
    /// By their header's time.
    Time,
}

/// The form of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The stream.
    Ndjson,
    /// For people.
    Text,
    /// The workers' bytes.
    Raw,
    /// RFC 7464.
    Seq,
}
