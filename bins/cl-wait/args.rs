use clap::{Parser, ValueEnum};
use harmony::line::Name;
use harmony::manual::{
    self,
    Part::{Code, Item, Text},
};
use harmony::policy::Turn;
use harmony::units;
use std::ffi::OsString;
use std::time::Duration;

/// Wait until enough streams have ended well, and give their answers
///
/// Reads a cl stream (see cl-stream(5)) from stdin, or follows TARGETs, and ends as soon as its verdict is in: enough
/// is there, or enough can no longer come. Its stdin closes then, so that everything before it in the pipeline is
/// stopped. What came until then goes to stdout: the final event, with the end of each stream and the answers.
///
/// Without an option that says otherwise, every stream has to end well. On stdin that is known when the stream is
/// over, for another may always appear; name the streams with --expect to know it sooner. In a run folder those seen
/// count as all there are, so give --expect there while the run may still be starting. A stream that runs inside
/// another (outer/inner) counts only where it is named.
///
/// The run of a plan, as cl-run(1) keeps it, is known from its beginning. Without an option that says otherwise its plan
/// says what is enough; a stream that has not begun is waited for; one that will not run any more, and a run that was
/// cut short, are told at once. With other files, FIFOs or folders beside it, what ran when it was cut short may yet end
/// there, and is waited for as long as these are open.
#[derive(Debug, Parser)]
#[command(
    name = "cl-wait",
    version,
    after_long_help = manual::help(MANUAL)
)]
pub struct Args {
    /// A run folder as cl-tee --split writes it, a file with a stream, or the number of a process
    ///
    /// Folders and files are followed as they grow. How a process ended that is not our child nobody tells us: its
    /// outcome is unknown, which counts only with --trust.
    #[arg(value_name = "TARGET")]
    pub targets: Vec<OsString>,

    /// Every stream must end well (the default without --any, --need and --first)
    #[arg(long, conflicts_with_all = ["any", "first"])]
    pub all: bool,

    /// N streams must end well, of those that are not needed by name (1)
    ///
    /// Together with --need it is a wish: once all needed ones are there, the others are waited for as long as --grace
    /// says. Before a TARGET write --any=N.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub any: Option<u32>,

    /// This stream must end well; repeatable, or a comma list
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub need: Vec<Name>,

    /// The first stream that ends well is enough
    #[arg(long, conflicts_with_all = ["any", "need"])]
    pub first: bool,

    /// The streams that count, as a comma list: they must appear, and others do not count
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub expect: Vec<Name>,

    /// An end that nobody saw (unknown) counts as well
    #[arg(long)]
    pub trust: bool,

    /// Once all needed ones are there, how long to wait for the --any (15s, or as the plan says)
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub grace: Option<Duration>,

    /// A kept worker's turn counts as its stream's end: the next one, or its N-th
    ///
    /// For workers that live on after their answer (cl-spawn --keep). Without a number it is the next turn that ends
    /// after cl-wait has begun: in a run folder or a file one that stands behind what is there already, on stdin the
    /// first that comes. --turn=N is the N-th turn of each stream from its beginning, and met at once where that is
    /// there, so that a script that gives the second prompt and then waits for the second turn cannot come too late. A
    /// worker that ends before its turn ended as its exit says. The streams that were seen count as all there are, on
    /// stdin too; name them with --expect where others may still appear.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "next")]
    pub turn: Option<Turn>,

    /// How long to wait at all; 0 is for ever
    #[arg(short, long, value_name = "DURATION", value_parser = units::duration, default_value = "0")]
    pub timeout: Duration,

    /// Say what is there so far, in a partial event, at most this often and when something is new
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub partial: Option<Duration>,

    /// Copy the stream through to stdout, too
    #[arg(long)]
    pub pass: bool,

    /// What to write at the end: json (the final event), text (the answers) or none
    ///
    /// Answers come in the order of --need, then of --expect, then of the streams' names.
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "json",
        hide_possible_values = true
    )]
    pub output: Output,

    /// Exit as that stream did, or its turn, where it has ended when the verdict is in
    #[arg(long, value_name = "NAME")]
    pub exit_code_from: Option<Name>,

    #[command(flatten)]
    pub common: harmony::cli::Common,
}

/// What `--help` and the manual page say beyond the options.
pub const MANUAL: &manual::Sections = &[
    (
        "Exit status",
        &[
            Item("0", "The verdict is met."),
            Item("1", "It can no longer be met."),
            Item("124", "Time is up."),
            Item("125", "cl-wait itself failed or was misused."),
            Item("127", "There is no such TARGET, or its plan has no such stream."),
            Item("128+N", "Signal N ended the wait."),
            Item("141", "The reader of the output went away."),
            Text("With --exit-code-from, that stream's own where the verdict is in."),
        ],
    ),
    (
        "Examples",
        &[
            Text("The main answer, and one of the others if it comes soon:"),
            Code(
                "cl-merge <(cl-spawn main \"$q\") <(cl-spawn context \"$q\") |\n  cl-wait --need main --any 1 --grace 15s -o text",
            ),
            Text("Whichever answers first, within a minute; the others are stopped:"),
            Code("cl-merge <(cl-spawn a \"$q\") <(cl-spawn b --agent codex \"$q\") |\n  cl-wait --first -t 1m -o text"),
            Text("A run that another shell keeps in a folder:"),
            Code("cl-wait --expect main,context run/"),
            Text("A run of a plan, as the plan wants it; or one of its streams, which may not have begun:"),
            Code("cl-wait -o text ~/.local/state/cl/runs/latest\ncl-wait --need api -o text run/"),
            Text("The second answer of a kept worker, which takes its prompts from a FIFO:"),
            Code("echo 'And why?' >prompts\ncl-wait --turn=2 -o text main.ndjson"),
        ],
    ),
];

/// What is written at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The `final` event.
    Json,
    /// The answers.
    Text,
    /// Nothing.
    None,
}
