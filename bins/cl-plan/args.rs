use clap::{Parser, Subcommand};
use harmony::manual::{
    self,
    Part::{Code, Item, Text},
};
use std::path::PathBuf;

/// Make, check and show plans: graphs of streams
///
/// A plan says which streams there are, who comes after whom, and when the whole is enough; its form is described in
/// cl-plan(5). Some commands write one, from a question, from lines of stdin or from another program's file; others
/// find everything that is wrong with one, draw it, turn it into a script of the other tools, or tell how far its run
/// is. Nothing is started here.
#[derive(Debug, Parser)]
#[command(
    name = "cl-plan",
    version,
    disable_help_subcommand = true,
    after_long_help = manual::help(MANUAL)
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub common: harmony::cli::Common,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the plan of an orchestra: four roles at once on one question
    ///
    /// The main answer is needed; once it is there, one of the others is waited for 15 seconds.
    Orchestra(Question),

    /// Write the plan of specialists: each does one kind of work on the same task
    Specialists(Question),

    /// Write the plan of an ensemble: one does the work, three others look at the task
    ///
    /// The soloist's answer is needed; once it is there, one of the others is waited for 15 seconds.
    Ensemble(Question),

    /// Write the plan of a quick answer, a better one built on it, and the full one
    Progressive(Question),

    /// Write a plan in which each line of stdin is asked with the answer to the line before
    Chain(Lines),

    /// Write a plan in which N lines of stdin at a time are asked, with the answers of the N before
    Batch {
        /// How many at a time
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        size: u32,

        #[command(flatten)]
        lines: Lines,
    },

    /// Write a plan in which a line of stdin is asked only when those before it failed
    First(Lines),

    /// Find everything that is wrong with a plan
    ///
    /// Each error is told on stderr with its place and what to do; none is the silence of exit status 0.
    Check(File),

    /// Show a plan: its levels, its critical path, how long it may take
    ///
    /// The times are those that the streams of the same name took in earlier runs: of the plan's name in
    /// $XDG_STATE_HOME/cl/runs, or those given by --run.
    Show {
        #[command(flatten)]
        file: File,

        /// Write the graph for Graphviz instead
        #[arg(long, conflicts_with = "mermaid")]
        dot: bool,

        /// Write the graph for Mermaid instead, as Markdown pages draw it
        #[arg(long)]
        mermaid: bool,

        /// The folder of an earlier run to take the times from; repeatable
        #[arg(long, value_name = "RUN", conflicts_with_all = ["dot", "mermaid"])]
        run: Vec<PathBuf>,
    },

    /// Write a bash script of cl-spawn, cl-tee, cl-merge and cl-wait that runs a plan
    ///
    /// It needs bash 4.4, and flock(1) where the plan has locks. Its --help tells what it takes.
    Script(File),

    /// Write the plan that an orchestration-config.json describes
    ///
    /// FILE has streams (streamId, streamName, streamPhase, totalTasks, completedTasks, dependencies, projectRoot,
    /// worktreePath) and may have an executionPlan (foundation, parallel, integration). At most five run at once. A
    /// stream whose tasks are all done stays in the plan as a command that does nothing.
    Import {
        /// The file; '-' is stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,

        #[command(flatten)]
        form: Form,
    },

    /// Tell how far a run is: its streams by phase, their tasks, who waits for whom, what to do next
    Status {
        /// A run folder: the plan, plan.toml or plan.json, and a file for each stream
        #[arg(value_name = "RUN")]
        run: PathBuf,
    },

    /// Write a plan or a run as a task list, in Markdown
    Todo {
        /// A plan, or a run folder, whose streams' own task lists are shown as well
        #[arg(value_name = "PLAN|RUN")]
        file: PathBuf,

        /// Write the input of the TodoWrite tool instead
        #[arg(long)]
        json: bool,
    },
}

/// A plan to read.
#[derive(Debug, clap::Args)]
pub struct File {
    /// The plan, TOML or JSON; '-' is stdin
    #[arg(value_name = "PLAN")]
    pub file: PathBuf,
}

/// How a plan that is made is written.
#[derive(Debug, clap::Args)]
pub struct Form {
    /// The plan's name, by which its runs are called
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Write JSON instead of TOML
    #[arg(long)]
    pub json: bool,
}

/// What concerns all streams of a plan that is made.
#[derive(Debug, clap::Args)]
pub struct Make {
    /// Who is asked, as cl-spawn --agent takes it
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,

    /// The model, by the agent's own name for it
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,

    /// How long each stream may take
    #[arg(short, long, value_name = "DURATION")]
    pub timeout: Option<String>,

    #[command(flatten)]
    pub form: Form,
}

/// One question for a set of roles.
#[derive(Debug, clap::Args)]
pub struct Question {
    /// What to ask; absent, it is read from stdin
    #[arg(value_name = "PROMPT")]
    pub prompt: Option<String>,

    #[command(flatten)]
    pub make: Make,
}

/// Prompts from stdin.
#[derive(Debug, clap::Args)]
pub struct Lines {
    #[command(flatten)]
    pub make: Make,

    /// What to run instead of an agent, with the line in place of {}, else on its stdin
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What `--help` and the manual page say beyond the options.
pub const MANUAL: &manual::Sections = &[
    (
        "Exit status",
        &[
            Item("0", "What was asked for was written; the plan is in order."),
            Item("1", "The plan is wrong, or input or output failed."),
            Item("2", "cl-plan was misused."),
        ],
    ),
    (
        "Environment",
        &[Item(
            "XDG_STATE_HOME",
            "Where earlier runs lie, in cl/runs; without it $HOME/.local/state.",
        )],
    ),
    (
        "Examples",
        &[
            Text("Ask four roles, by a script that can be read first:"),
            Code(
                "cl-plan orchestra 'Why is the build slow?' > ask.toml\ncl-plan script ask.toml > ask.sh\nbash ask.sh | cl-merge -o text",
            ),
            Text("See the graph of a plan:"),
            Code("cl-plan show --dot plan.toml | dot -Tsvg > plan.svg"),
            Text("Compress files, four at a time:"),
            Code("ls *.log | cl-plan batch 4 -- gzip {} > gzip.toml"),
            Text("Each agent gets its chance until one answers:"),
            Code(
                "printf '%s\\n' 'Fix the test.' 'Fix the test; if you cannot, say why.' |\n  cl-plan first --agent codex > fix.toml",
            ),
        ],
    ),
];
