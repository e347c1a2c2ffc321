use clap::{Parser, ValueEnum};
use harmony::manual::{
    self,
    Part::{Code, Item, Text},
};
use harmony::sink::{Policy, Rotation};
use harmony::units;
use std::path::PathBuf;

/// Copy stdin to stdout and to every SINK, none of which holds up another
///
/// A SINK is a file, which is made (for its owner alone) or overwritten; a FIFO, whose reader may come at any time; a
/// device; or /dev/fd/N, as a shell's >(command) is. Any bytes pass, and pass as they come. Lines are only looked at
/// where an option asks for it. On pipes and FIFOs, and (up to --buffer) in files opened with --append, the lines of
/// several cl tools that write at once stay whole.
///
/// When a reader falls behind, the others go on, and what it has still to get waits (see --on-full). stdout is waited
/// for, as in any pipeline. When stdout's reader goes away the pipeline was cancelled: cl-tee stops reading, gives the
/// other sinks what it had read, and ends with 0 (but see -p).
///
/// At the end of its input cl-tee waits until every sink has taken everything: a reader that is stopped, or a FIFO
/// that nobody ever opens, keeps it. The other readers see their end of file meanwhile.
#[derive(Debug, Parser)]
#[command(
    name = "cl-tee",
    version,
    after_long_help = manual::help(MANUAL)
)]
pub struct Args {
    #[command(flatten)]
    pub common: harmony::cli::Common,

    /// Where else to copy to
    #[arg(value_name = "SINK")]
    pub sinks: Vec<PathBuf>,

    /// Append to the files instead of overwriting them
    #[arg(short, long)]
    pub append: bool,

    /// Ignore the interrupt signal (Ctrl-C)
    #[arg(short, long)]
    pub ignore_interrupts: bool,

    /// Go on when a reader goes away, stdout's included; the same as --output-error=warn-nopipe
    #[arg(short = 'p', overrides_with = "output_error")]
    pub pipes: bool,

    /// What to do when a sink fails
    ///
    /// warn tells and goes on. warn-nopipe does too, but a reader that went away is neither told nor an error; cl-tee
    /// ends when no sink is left. exit tells and ends, once the other sinks have what was read. exit-nopipe ends for
    /// all but a reader that went away. Without this option a failure is told and the others go on, and when
    /// stdout's reader goes away cl-tee ends quietly.
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "warn-nopipe",
        overrides_with = "pipes",
        hide_possible_values = true
    )]
    pub output_error: Option<OutputError>,

    /// What to do when a SINK's reader is a whole --buffer behind: spill, block, drop or close
    ///
    /// spill goes on on disk, in a file without a name in $TMPDIR, up to --spill; when that is full, or the disk is,
    /// whole lines are left out as by drop, which is told on stderr and in the exit status; a reader that has begun a
    /// line of which 64K and more are to come is then given up. block waits for the
    /// reader, and so holds up everything. drop leaves out whole lines; the reader gets a gap event for each stream
    /// before the next line, which says what is missing, and never misses a stream's exit event; for lines that are
    /// not of a cl stream there can be no event, and stderr tells at the end. close gives the sink up.
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value = "spill",
        hide_possible_values = true
    )]
    pub on_full: Policy,

    /// How far a reader may be behind before something is done about it (at least 4K)
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = units::size)]
    pub buffer: u64,

    /// The most disk that one reader may cost
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = units::size)]
    pub spill: u64,

    /// Write a run folder: one file a stream, DIR/STREAM.ndjson
    ///
    /// The stream main/tests lies in DIR/main/tests.ndjson. Folders are made, for their owner alone; symbolic links in
    /// them are refused. A file that an earlier run left is overwritten when this run's first line for it comes,
    /// unless --append is given. Lines without a header go to DIR/_.ndjson. A folder whose stream has .ndjson in its
    /// name gets .d behind it, so that it cannot meet a file.
    #[arg(long, value_name = "DIR")]
    pub split: Option<PathBuf>,

    /// Begin a new file before a line that would make it larger than SIZE; of the old ones keep KEEP
    ///
    /// FILE becomes FILE.1, what was FILE.1 becomes FILE.2, and so on; without KEEP all are kept. A file is only
    /// larger when its one line is. It concerns files given by name, and those of --split.
    #[arg(long, value_name = "SIZE[,KEEP]")]
    pub rotate: Option<Rotation>,

    /// Bring files to the disk (fdatasync) at each exit event and at the end
    #[arg(long)]
    pub sync: bool,
}

/// What `--help` and the manual page say beyond the options.
pub const MANUAL: &manual::Sections = &[
    (
        "Exit status",
        &[
            Item("0", "Every sink got everything; or stdout's reader went away."),
            Item(
                "1",
                "The input or a sink failed, a sink was given up, or lines were left out because the disk was full. All are \
                 told on stderr, and the other sinks got everything.",
            ),
            Item("2", "cl-tee was misused."),
            Item("128+N", "After signal N."),
        ],
    ),
    (
        "Signals",
        &[Text(
            "At the first HUP, INT or TERM cl-tee takes what its writers still have to say, until they end but for at most 5 \
             seconds (not at all from a terminal), then ends as soon as no sink has taken anything for a second. At the \
             second it ends at once.",
        )],
    ),
    (
        "Environment",
        &[Item(
            "TMPDIR",
            "Where the files without a name lie that hold what a slow reader has still to get.",
        )],
    ),
    (
        "Examples",
        &[
            Text("Keep a run, look at it, and wait for it:"),
            Code("cl-spawn main 'Why is the build slow?' | cl-tee run.ndjson >(cl-progress) | cl-wait"),
            Text("A file for each stream:"),
            Code("cl-merge a b | cl-tee --split run/ > /dev/null"),
        ],
    ),
];

/// What to do when a sink fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputError {
    /// Tell and go on.
    Warn,
    /// The same, but a reader that went away is no error.
    WarnNopipe,
    /// Tell and end.
    Exit,
    /// The same, but a reader that went away is no error.
    ExitNopipe,
}
