use clap::{Parser, ValueEnum};
use harmony::line::Name;
use harmony::manual::{
    self,
    Part::{Code, Item, Text},
};
use harmony::units;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Run one coding agent, or any command, and write its stream on stdout
///
/// Starts a worker, takes every byte it writes, and passes it on as a cl stream (see cl-stream(5)): each line under
/// the stream's NAME, numbered and with its time, with events for the start, for stderr, for silence, and for the end.
/// The last line says what became of the worker and why, and the exit code agrees with it: 0 means that it worked.
///
/// The worker never waits for a slow reader when its output is captured in a file, as an agent's is. When the reader
/// goes away, at a timeout, or on Ctrl-C, the worker is stopped, the gentle way first. When cl-spawn ends, however it
/// ends, everything that descends from the worker has ended too.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "cl-spawn",
    version,
    override_usage = "cl-spawn [OPTIONS] NAME [PROMPT]\n       cl-spawn [OPTIONS] NAME [PROMPT] -- COMMAND [ARG]...",
    after_long_help = manual::help(MANUAL)
)]
pub struct Args {
    /// What the stream is called: letters, digits, '_', '.' and '-', with '/' between levels
    ///
    /// Where NAME is also a role (see --roles), an agent plays that role: it fills in what the options leave open, and
    /// puts its frame around the prompt.
    #[arg(value_name = "NAME", required_unless_present_any = ["roles", "serve"])]
    pub name: Option<Name>,

    /// What to ask; absent and without COMMAND, it is read from stdin
    ///
    /// The prompt reaches the worker on its stdin, never in its arguments, where others could read it.
    #[arg(value_name = "PROMPT")]
    pub prompt: Option<OsString>,

    /// What to run instead of an agent of ours
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// How to start the worker and how to read its lines
    ///
    /// claude, codex, gemini, qwen, opencode or plain; replay:FOLDER plays FOLDER/NAME.ndjson by cl-replay. Without
    /// COMMAND the default is claude. With COMMAND the default is auto: by the command's name, else by its first JSON
    /// line, else plain.
    #[arg(long, value_name = "AGENT", value_parser = agent)]
    pub agent: Option<Agent>,

    /// Another role than NAME; auto chooses a crew role by the words of the prompt
    ///
    /// With a COMMAND this is the only way to a role, and gives it the role's limits and priority.
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,

    /// Start workers as they are asked for on the socket that is stdin, for cl-run
    ///
    /// Each gets arguments, stdin and stdout of its own and is the work of a process like any cl-spawn. It only starts
    /// faster, for a process may do one after another, and it has no warden of its own, for this one is the warden of
    /// all. When nobody can ask any more it ends them, and ends.
    #[arg(long, exclusive = true)]
    pub serve: bool,

    /// List the roles in force and where each comes from, and do nothing else
    #[arg(long)]
    pub roles: bool,

    /// A further file of roles, read after the others
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The run folder from which a role's frame takes the answers of other streams
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,

    /// The model, by the agent's own name for it
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<String>,

    /// The tools that the agent may use without asking, as a comma list; an empty list is none
    #[arg(long, value_name = "LIST")]
    pub tools: Option<String>,

    /// What to add to the agent's system prompt
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,

    /// Ask for the answer token by token
    #[arg(long)]
    pub partial: bool,

    /// Begin the conversation under this id; claude, gemini and qwen take one, a UUID
    ///
    /// Without it cl-spawn chooses an id for them before the start, and says it in the stream's first line, so that the
    /// conversation can be resumed whatever becomes of the run.
    #[arg(long, value_name = "ID", conflicts_with = "resume")]
    pub session: Option<String>,

    /// Go on with an earlier conversation: its id, or the run folder in which NAME's stream tells it
    #[arg(long, value_name = "ID|RUN")]
    pub resume: Option<OsString>,

    /// Go on with a copy of the conversation to resume, and leave that as it is
    #[arg(long, requires = "resume")]
    pub fork: bool,

    /// Keep the agent for one prompt after another: a line each, from --stdin FILE or our stdin
    ///
    /// A line is plain text, or a message in the agent's own format. The next prompt is sent when the one before is
    /// answered, and a turn event tells each answer, as exit does for a run. PROMPT, if given, is the first one. The
    /// last writer's closing of a FIFO is the end: hold it open as long as there may be more, as in exec 3>FIFO. What
    /// nobody answered is named in the warnings of exit.
    #[arg(long)]
    pub keep: bool,

    /// A further argument for the agent, as it is; repeatable
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    pub args: Vec<OsString>,

    /// Where the worker runs
    #[arg(short = 'C', long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,

    /// A variable for the worker's environment; repeatable
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(OsString, OsString)>,

    /// How many further attempts there may be, where one can help
    ///
    /// One can after a crash, an unfinished or cut answer, silence, or trouble of the service; not after an error that
    /// would be the same again, a refused key, a limit of the agent's own, or when the run was told to end. A usage
    /// limit is waited for until it ends, which costs no attempt. An agent whose conversation can go on is not begun
    /// anew.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub retries: Option<u32>,

    /// How long to wait before the first further attempt; twice as long before each that follows, at most 5m (1s)
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub backoff: Option<Duration>,

    /// Another agent, or agent:model, to ask once the attempts are used up; repeatable
    ///
    /// Each has as many attempts of its own. It is asked at once where the agent before cannot be started, is not let
    /// in, reports an error, or has met its usage limit.
    #[arg(long, value_name = "AGENT[:MODEL]", value_parser = fallback)]
    pub fallback: Vec<Fallback>,

    /// Start even where another stream has met a usage limit or had its key refused a short while ago
    ///
    /// Without it a start waits for the end of a limit that another stream of the same account has met, and does not
    /// come about for a minute after the account's key was refused, unless there is a new login. A run that succeeds in
    /// spite of it releases the others.
    #[arg(long)]
    pub anyway: bool,

    /// How long the whole run may take; 0 is for ever (the default, unless the role says more)
    ///
    /// All attempts and the waits between them count.
    #[arg(short, long, value_name = "DURATION", value_parser = units::duration)]
    pub timeout: Option<Duration>,

    /// How long to wait between two steps when stopping a worker
    #[arg(short, long, value_name = "DURATION", value_parser = units::duration, default_value = "5s")]
    pub kill_after: Duration,

    /// How long the worker may show no sign of life; 0 is for ever (for agents 10m)
    ///
    /// Signs of life are output, an agent's notice that it retries, and CPU use of what it started.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub idle: Option<Duration>,

    /// How long an agent may live on after its last result with nothing pending; 0 is for ever (for agents 10s)
    ///
    /// It is stopped then; what became of it stays what its result said.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub linger: Option<Duration>,

    /// The worker's stdin: null, pty (a terminal that says nothing), inherit, or a file
    ///
    /// By default the prompt; for a COMMAND without one: inherit when our stdin is a pipe or a file, else null.
    #[arg(long, value_name = "WHAT", value_parser = stdin)]
    pub stdin: Option<Stdin>,

    /// How stdout is taken: auto, file, pipe or pty
    ///
    /// Into a file the worker can always write, and a slow reader costs disk; agents lose output on pipes, so for them
    /// auto is file. Through a pipe a slow reader holds the worker up, as in any pipeline; for a COMMAND auto is pipe.
    /// A pty is for programs that would write in large blocks otherwise.
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub capture: CaptureHow,

    /// The length of line from which on it travels in pieces
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value = "64M")]
    pub max_line: u64,

    /// Where the worker's stderr goes: event (into the stream), pass (to our stderr) or drop
    #[arg(
        long,
        value_enum,
        value_name = "WHERE",
        default_value = "event",
        hide_possible_values = true
    )]
    pub stderr: StderrWhere,

    /// After how long a silence to say so in the stream; 0 is never
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "5s")]
    pub heartbeat: Duration,

    /// The niceness of the worker and all it starts (by the role's priority 0, 5, 10 or 15, else 0)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(-20..=19), allow_negative_numbers = true)]
    pub nice: Option<i32>,

    /// Print the environment and the command that would be run, and nothing else
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub common: harmony::cli::Common,
}

/// What `--help` and the manual page say beyond the options.
pub const MANUAL: &manual::Sections = &[
    (
        "Exit status",
        &[
            Item("0", "The worker succeeded."),
            Item("N", "The worker failed with this code of its own."),
            Item("1", "Its result is an error, incomplete, or cut."),
            Item("69", "The service could not be reached, or was overloaded."),
            Item("75", "A usage limit was reached; resets_at in exit says until when."),
            Item("77", "No key, or one that is not accepted."),
            Item("124", "Stopped at the timeout, or for want of a sign of life."),
            Item("125", "cl-spawn itself failed or was misused."),
            Item("126, 127", "The worker could not be started: no program, or not found."),
            Item("128+N", "Signal N ended the worker, or told cl-spawn to stop."),
            Item("141", "The reader went away."),
        ],
    ),
    (
        "Signals",
        &[Text(
            "INT, TERM, QUIT and HUP stop the worker: claude and codex get SIGINT first, so that they write their result; \
             then, as for every other worker, SIGTERM, and then SIGKILL, with --kill-after in between. A second signal \
             skips to SIGKILL. TSTP and CONT pause the worker and every clock.",
        )],
    ),
    (
        "Roles",
        &[
            Text(
                "A role is a named set of options with a frame for the prompt. The built-in ones are laid under \
                 $XDG_CONFIG_HOME/cl/roles.toml, then ./cl.toml, then the file of --config, then the options given here; \
                 what comes later wins, key by key.",
            ),
            Code(
                "[role.context]\n\
                 about    = \"what the code around the question looks like\"\n\
                 prompt   = \"Describe the code that matters for: {{prompt}}\"\n\
                 agent    = \"claude\"         # as --agent; also model, system, partial\n\
                 tools    = [\"Read\", \"Glob\"]\n\
                 priority = 2                # 1 first, to 4: niceness 0, 5, 10, 15\n\
                 timeout  = \"10m\"            # also idle, linger, retries, backoff\n\
                 fallback = [\"codex\"]       # as --fallback",
            ),
            Text(
                "A frame may hold {{prompt}}, {{file:PATH}}, and {{streams.NAME.text}}, which is the answer of another \
                 stream in the folder of --run. A role whose name two sets share is written SET.NAME.",
            ),
        ],
    ),
    (
        "Environment",
        &[
            Text("The worker gets our environment, with these changes:"),
            Item("CL_STREAM", "NAME."),
            Item("CL_ATTEMPT", "The number of the attempt, from 1."),
            Item(
                "CLAUDE_STREAM_ID",
                "NAME, and where it is known before the start, the conversation's id: NAME:ID.",
            ),
            Item("CL_ROLE, CLAUDE_TASK_TYPE", "The role, where there is one."),
            Item(
                "CLAUDECODE",
                "Removed, so that a claude may be started from within a claude.",
            ),
            Item("NO_COLOR", "1, for agents; and FORCE_COLOR is 0."),
            Text(
                "In $XDG_RUNTIME_DIR/cl, else $TMPDIR/cl-UID, small files tell of usage limits and refused keys, one for \
                 each agent and account; to remove one is to release who waits for it.",
            ),
            Text(
                "cl-spawn itself heeds TMPDIR, where captured output lies, unlinked, until it is passed on, and NO_COLOR.",
            ),
        ],
    ),
    (
        "Examples",
        &[
            Text("Ask, and read the answer as it comes:"),
            Code("cl-spawn main 'Why is the build slow?' | cl-merge -o text"),
            Text("A quick answer first, then a better one on it:"),
            Code(
                "cl-spawn quick \"$q\" | cl-tee --split run/ | cl-merge -o text\n\
                 cl-spawn enhanced --run run/ \"$q\" | cl-merge -o text",
            ),
            Text("Go on where a stream of an earlier run ended:"),
            Code("cl-spawn main --resume run/ 'And now the tests.' | cl-merge -o text"),
            Text("Three questions to one agent, which starts only once:"),
            Code(
                "mkfifo asks; mkdir run\n\
                 cl-spawn main --keep --stdin asks | cl-tee --split run/ | cl-merge -o text &\n\
                 exec 3>asks\n\
                 echo 'Where is the parser?' >&3; cl-wait run/ --expect main --turn=1\n\
                 echo 'Who calls it?' >&3; cl-wait run/ --expect main --turn=2\n\
                 exec 3>&-; wait",
            ),
            Text("Any command, with two minutes to end in:"),
            Code("cl-spawn -t 2m tests -- cargo test"),
        ],
    ),
];

/// How a worker is started and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// By the command's name or its first line.
    Auto,
    /// One we know.
    Known(harmony::agent::Kind),
    /// Recordings in this folder.
    Replay(PathBuf),
}

/// Who is asked next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// How it is started and read.
    pub agent: Agent,
    /// Its model.
    pub model: Option<String>,
}

/// A worker's stdin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing.
    Null,
    /// A terminal that says nothing.
    Pty,
    /// Ours.
    Inherit,
    /// A file.
    File(PathBuf),
}

/// How stdout is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CaptureHow {
    /// As suits the worker.
    Auto,
    /// Into an unlinked file.
    File,
    /// Through a pipe.
    Pipe,
    /// Through a terminal.
    Pty,
}

/// Where stderr goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StderrWhere {
    /// Into the stream.
    Event,
    /// To our stderr.
    Pass,
    /// Nowhere.
    Drop,
}

/// Reads `--agent`; a role's `agent` is written the same way.
pub fn agent(text: &str) -> Result<Agent, String> {
    match text.split_once(':') {
        Some(("replay", folder)) if !folder.is_empty() => Ok(Agent::Replay(folder.into())),
        _ if text == "auto" => Ok(Agent::Auto),
        _ => harmony::agent::Kind::named(text)
            .map(Agent::Known)
            .ok_or_else(|| "choose claude, codex, gemini, qwen, opencode, plain, auto or replay:FOLDER".to_owned()),
    }
}

/// Reads `--fallback`; a role's `fallback` is written the same way.
pub fn fallback(text: &str) -> Result<Fallback, String> {
    let whole = agent(text);
    let (agent, model) = match (whole, text.split_once(':')) {
        (Ok(agent), _) => (agent, None),
        (Err(_), Some((name, model))) if !model.is_empty() => (agent(name)?, Some(model.to_owned())),
        (Err(why), _) => return Err(why),
    };
    match agent {
        Agent::Auto | Agent::Known(harmony::agent::Kind::Plain) => Err("name an agent".to_owned()),
        agent => Ok(Fallback { agent, model }),
    }
}

fn stdin(text: &str) -> Result<Stdin, std::convert::Infallible> {
    Ok(match text {
        "null" => Stdin::Null,
        "pty" => Stdin::Pty,
        "inherit" => Stdin::Inherit,
        file => Stdin::File(file.into()),
    })
}

fn variable(text: &str) -> Result<(OsString, OsString), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
