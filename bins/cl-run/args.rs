use clap::Parser;
use harmony::manual::{
    self,
    Part::{Code, Item, Text},
};
use harmony::units;
use std::path::PathBuf;
use std::time::Duration;

/// Run a plan: a graph of streams
///
/// Each stream starts as soon as all it is after have ended as the plan, cl-plan(5), wants it: one cl-spawn(1) each.
/// Their lines are merged on stdout, and each stream is kept in a file of the run's folder, with the plan and a
/// journal. What was cut short, by whatever, goes on with --resume.
///
/// Where not all can start that might, those with the lowest priority do, and among these the ones on which the longest
/// path hangs, by the times of earlier runs. A failure lets nothing else begin, unless the stream is optional, another
/// one stands in for it, the plan has a policy of its own in [wait], or with --keep-going; what runs goes on to its end.
/// Once the plan's policy is met, or can no longer be met, what still runs is stopped.
#[derive(Debug, Parser)]
#[command(name = "cl-run", version, after_long_help = manual::help(MANUAL))]
pub struct Args {
    /// The plan, TOML or JSON; '-' is stdin
    #[arg(value_name = "PLAN", required_unless_present = "resume")]
    pub plan: Option<PathBuf>,

    /// How many streams run at once; 0 is one a core [default: as the plan says]
    ///
    /// A stream that waits for the end of a usage limit gives way to those of other agents. When it goes on there may
    /// for a while be more than N.
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<u32>,

    /// Go on with what does not build on a stream that failed
    #[arg(short, long)]
    pub keep_going: bool,

    /// Print what would be started, in the order of the start, and start nothing
    #[arg(short = 'n', long, conflicts_with = "resume")]
    pub dry_run: bool,

    /// The run's folder, which is made [default: a new one in $XDG_STATE_HOME/cl/runs]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub run: Option<PathBuf>,

    /// Go on with the run in this folder
    ///
    /// What ended well is not run again, unless what it is asked has changed, as the plan in the folder now says:
    /// prompt, command, options, role, or an answer or file that they are made of. It is passed on as it was, so that
    /// the streams on stdout are those of the whole run. What had begun and not ended well is run anew; the file of
    /// that attempt is set aside. A rollback that was cut short goes on as such.
    #[arg(long, value_name = "RUN", conflicts_with = "plan")]
    pub resume: Option<PathBuf>,

    /// When the plan is not met, take back what ended well, the last to end first
    ///
    /// Each stream's undo, where it has one, is run to its end. One that fails does not keep the others from being
    /// run; it is told, and named again at the end.
    #[arg(long)]
    pub undo: bool,

    /// Add the streams of PLAN to the run in this folder, which may be running
    ///
    /// They may be after streams of that run, and build on their answers. They are checked as any plan, here and by
    /// whoever runs the run; it takes them while it runs, or when it is resumed. A stream of the run may do so itself:
    /// cl-run --add "$CL_RUN" PLAN. The same is a file that ends in .toml or .json, moved into the folder add of the
    /// run's folder.
    #[arg(long, value_name = "RUN", requires = "plan", conflicts_with_all = ["resume", "run", "dry_run"])]
    pub add: Option<PathBuf>,

    /// Refuse additions beyond so many streams in all
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_streams: usize,

    /// Refuse additions by streams that were added themselves, beyond so many steps; 0 refuses all
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub max_depth: u32,

    /// Stop what runs once the streams that have ended have cost so many US dollars
    ///
    /// A stream is counted when it ends, with all its attempts; what those that run have cost so far is not known.
    #[arg(long, value_name = "USD", value_parser = cost)]
    pub max_cost: Option<f64>,

    /// Stop what runs after so long; 0 is never
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub max_time: Option<Duration>,

    /// Append a line for each stream that has ended, in the columns of GNU parallel's --joblog
    ///
    /// The exit value is cl-spawn's, which is 0 only where the stream ended well; the signal that of its worker.
    #[arg(long, value_name = "FILE")]
    pub joblog: Option<PathBuf>,

    #[command(flatten)]
    pub common: harmony::cli::Common,
}

fn cost(text: &str) -> Result<f64, String> {
    let cost: Option<f64> = text.parse().ok();
    cost.filter(|cost| cost.is_finite() && *cost > 0.0)
        .ok_or_else(|| "write an amount above 0, as 1.50".to_owned())
}

/// What `--help` and the manual page say beyond the options.
pub const MANUAL: &manual::Sections = &[
    (
        "Signals",
        &[Text(
            "At the first INT, TERM or HUP what runs is told to end, nothing else is started, and cl-run ends when all \
             of it has. At the second it is ended at once. TSTP and CONT pause and resume the streams, and the clocks. \
             When cl-run is killed, so is all that it has started. When whoever reads its output goes away, what runs \
             is told to end: that is how a pipeline is cancelled, and no failure.",
        )],
    ),
    (
        "Exit status",
        &[
            Item("0", "The plan is met, or the reader of its output went away."),
            Item("1", "It is not met, or input or output failed."),
            Item("2", "The plan is wrong, or cl-run was misused."),
            Item("124", "The time was up."),
            Item("128+N", "Signal N told it to end."),
        ],
    ),
    (
        "Environment",
        &[
            Item(
                "XDG_STATE_HOME",
                "Where runs are kept, in cl/runs, with latest leading to the newest, and locks in cl/locks; without it \
                 $HOME/.local/state.",
            ),
            Item("CL_RUN", "Is set for each stream: the run's folder."),
        ],
    ),
    (
        "Files",
        &[Text(
            "The folder of a run is described in cl-plan(5). cl-progress(1), cl-wait(1) and cl-plan status take it.",
        )],
    ),
    (
        "Examples",
        &[
            Text("Ask four roles at once, and look on:"),
            Code("cl-plan orchestra 'Why is the build slow?' | cl-run - | cl-progress > /dev/null"),
            Text("Go on with the last run, after whatever cut it short:"),
            Code("cl-run --resume ~/.local/state/cl/runs/latest | cl-merge -o text"),
            Text("All or nothing:"),
            Code("cl-run --undo --max-time 1h migrate.toml > /dev/null"),
        ],
    ),
];
