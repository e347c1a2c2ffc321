use clap::{Parser, ValueEnum};
use harmony::agent::Kind;
use harmony::line::Glob;
use harmony::manual::{
    self,
    Part::{Code, Item, Text},
};
use harmony::units;
use std::path::PathBuf;
use std::time::Duration;

/// Show how the streams of a run are getting on
///
/// In the middle of a pipe, cl-progress copies stdin to stdout byte for byte and draws a picture of what flows on the
/// terminal; drawing never holds up the pipe, and a terminal that is slow misses frames. At the end of a pipe (stdout is
/// a terminal), or given a RUN, it only draws, until all streams have ended. Several may look at one run, and one that
/// has ended draws its end.
///
/// The picture has a line for each stream: its state, name, agent (and role, where the name does not tell it), how far
/// it is, what it does now or how it ended, time, lines, tokens, cost; below it its last messages. Streams that failed
/// come first, then those that wait, retry or are silent for a minute, then those at work; what is done is folded to its
/// line. At the bottom a line sums up, and tells how much time was saved against one stream after the other. The picture
/// fits the terminal: what matters least goes first. It stands below what the terminal showed, and stays there at the
/// end.
///
/// What workers wrote is shown without escape sequences and control characters.
#[derive(Debug, Parser)]
#[command(
    name = "cl-progress",
    version,
    after_long_help = manual::help(MANUAL)
)]
pub struct Args {
    /// A run folder as cl-tee --split writes it, or a file with a stream, or a run's name; without it stdin is read
    ///
    /// Of a folder all *.ndjson files are read, also in folders inside it and those that appear later; FIFOs are left to
    /// their readers. One that is empty as yet is waited in; one that is not there is an error. A folder that holds
    /// nothing but run folders stands for the newest of them, which is the one where a stream began last.
    ///
    /// Of the run of a plan, as cl-run(1) keeps it, all streams are shown from the beginning: what each waits for, or why it
    /// does not run, and how far the plan's phases or levels are. The streams stand in the plan's order where all have
    /// room. Such a run is over when cl-run says so, or is gone.
    ///
    /// Where there is no such file, RUN is looked up in $XDG_STATE_HOME/cl/runs (~/.local/state/cl/runs): a folder of
    /// that name (latest, say), or the newest of those named TIME-RUN. Without RUN, and with a terminal for stdin, the
    /// newest run there is shown. Which one it is, is then told on stderr.
    #[arg(value_name = "RUN")]
    pub run: Option<PathBuf>,

    /// How to show it: auto, tty, plain, json or none
    ///
    /// tty is the picture, drawn on the terminal that stderr is, else on the controlling terminal (when only drawing: on
    /// stdout's). plain is a log: the day, a line for each change of state with its time, below a
    /// failure the last of what it said (its stderr, else its answer), once a minute who still runs of those that were
    /// not told of lately, and at the end what all of it came to. json is an object for each change of state or of what
    /// a worker does, with all that is known of the stream. plain and json go to stderr in the middle of a pipe, and to
    /// stdout otherwise. none shows nothing. auto is tty, but plain where the environment variable CI is set, TERM is
    /// dumb, or there is no terminal: in the middle of a pipe when stderr is redirected, otherwise when stdout is.
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "auto",
        hide_possible_values = true
    )]
    pub progress: How,

    /// How long a frame stands at least: 50ms or more
    #[arg(short, long, value_name = "DURATION", default_value = "50ms", value_parser = interval)]
    pub interval: Duration,

    /// How many lines of its last messages to show for each stream, room permitting
    #[arg(short = 'n', long, value_name = "N", default_value_t = 3)]
    pub lines: usize,

    /// Show the run as it is now on stdout, once, and end
    ///
    /// Needs no terminal: the width is that of stdout's terminal, else of COLUMNS, else 80. stdin is read to its end
    /// first. With --progress plain or json it is a line for each stream.
    #[arg(long)]
    pub once: bool,

    /// Show the run as it was that long after its first line
    ///
    /// Only of a RUN. On a terminal that picture stands, to be looked into, until q or Ctrl-C; elsewhere, or with
    /// --once, it is shown once.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub at: Option<Duration>,

    /// At the end, append the run to FILE as Markdown: a table, a chart, the answers folded
    ///
    /// Meant for the file that $GITHUB_STEP_SUMMARY names. With what it holds already it stays below 1 MiB, which is all
    /// that is shown there: where the answers are too long for that, each is cut alike, and says so.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,

    /// At the end, write to FILE what happened when, as ui.perfetto.dev opens it
    ///
    /// In the trace-event format: a group of tracks for each stream, with its attempts and turns, its waits (for another
    /// attempt, for a usage limit, for an agent that retries, ten seconds or more of silence), and its tools.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// At the end, write the run to FILE as a page for a browser
    ///
    /// Outcomes, costs, a timeline and the answers, to be filtered by stream. The page is one file, and loads nothing.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// How to read streams that do not say what agent writes them: claude, codex, gemini, qwen, opencode or plain
    ///
    /// By default their first line tells.
    #[arg(long, value_name = "AGENT", value_parser = agent)]
    pub agent: Option<Kind>,

    /// Show only streams whose name fits; repeatable
    ///
    /// In GLOB, * stands for any characters (/ too), ? for one. All streams still flow.
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<Glob>,

    #[command(flatten)]
    pub common: harmony::cli::Common,
}

/// What `--help` and the manual page say beyond the options.
pub const MANUAL: &manual::Sections = &[
    (
        "Marks",
        &[
            Item("●", "Running."),
            Item("↻", "Retrying."),
            Item("‖", "Waiting for a usage limit to pass."),
            Item("○", "Being stopped."),
            Item("✓", "Succeeded."),
            Item("✗", "Failed."),
            Item("–", "Cancelled, skipped, or not needed."),
            Item("?", "Ended, nobody knows how."),
            Item("·", "Not begun."),
            Item("◦", "Kept, and waiting for its next prompt."),
            Text("Tokens are those read fresh, put into a cache, and written; reading from a cache is not counted."),
        ],
    ),
    (
        "Keys",
        &[
            Text(
                "They work while cl-progress draws in the foreground, unless another program reads keys from the terminal one by one. All else that is typed is ignored until the end.",
            ),
            Item(
                "Up, Down, k, j",
                "Choose a stream; Page Up, Page Down, Home and End go further.",
            ),
            Item(
                "Enter",
                "Open what the chosen stream said, on the whole screen: as much as is kept, 128 KiB. Up, Down, Page Up, Page Down, Home and End scroll; at its end it follows what comes. Left and Right open another stream; Escape or q leads back. A text that is open when the run ends stays open, unless a pipe goes on behind us.",
            ),
            Item(
                "s",
                "Sort by need (which is the plan's order, where all of it has room), time, cost or name.",
            ),
            Item("Escape", "Choose none."),
            Item(
                "q",
                "Close the picture. In the middle of a pipe the stream flows on; otherwise cl-progress ends, and at the end of a pipe that cancels what writes to it.",
            ),
        ],
    ),
    (
        "Files",
        &[Text(
            "What --summary, --trace and --html name is written when the run is over, a signal ends us or nobody reads stdout any more; streams that run then are told as running. An old page or trace is there until the new one is whole. A new file is for its owner alone (mode 0600). Of a stream that does very much, the shortest times are left out, and that is said.",
        )],
    ),
    (
        "Exit status",
        &[
            Item(
                "0",
                "All was shown; or nothing reads stdout any more, of which whoever writes to us hears by that.",
            ),
            Item("1", "Input or output failed."),
            Item("2", "cl-progress was misused."),
            Item("128+N", "Signal N ended it."),
        ],
    ),
    (
        "Signals",
        &[Text(
            "The first Ctrl-C or SIGTERM in the middle of a pipe lets the rest of the stream through, the second ends at once.",
        )],
    ),
    (
        "Environment",
        &[
            Item("CI", "Set: lines instead of a picture. So it is with TERM=dumb."),
            Item(
                "GITHUB_ACTIONS",
                "true: in lines, an answer stands in a group that folds, and a stream that failed gives an error annotation. No line lets a worker's text act as a command; but what is copied to stdout is copied as it is, so end a pipe there by > /dev/null or cl-wait.",
            ),
            Item(
                "XDG_STATE_HOME",
                "The folder of cl/runs, in which runs are known by their names (~/.local/state).",
            ),
            Item("COLUMNS", "The width where no terminal tells it."),
            Item("NO_COLOR", "Set: no colours."),
        ],
    ),
    (
        "Examples",
        &[
            Text("In the midst of a pipe:"),
            Code("cl-merge <(cl-spawn main \"$q\") <(cl-spawn context \"$q\") | cl-progress | cl-wait --need main"),
            Text("In another pane, a run that cl-tee --split writes:"),
            Code("cl-progress run/"),
            Text("The newest of several runs, as a folder at a time each; the newest of the plan auth:"),
            Code("cl-progress runs/\ncl-progress auth"),
            Text("A page of a run that is over:"),
            Code("cl-progress --once --progress none --html run.html run/"),
        ],
    ),
];

/// How to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// What fits the surroundings.
    Auto,
    /// A picture on the terminal.
    Tty,
    /// A line a change.
    Plain,
    /// An object a change.
    Json,
    /// Nothing.
    None,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    if interval < Duration::from_millis(50) {
        return Err("nobody sees more than 20 frames a second: 50ms or more".to_owned());
    }
    Ok(interval)
}

fn agent(text: &str) -> Result<Kind, String> {
    Kind::named(text).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("no such agent; known are {}", known.join(", "))
    })
}
