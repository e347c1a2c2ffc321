//! Who does the work, in each attempt: the worker that was asked for, then what it falls back on.

use crate::args::{Agent, Args, CaptureHow, Fallback};
use crate::role::InForce;
use crate::stdin::Source;
use crate::{ours, session};
use harmony::agent::{Ask, Kind, Session, command, is_kept};
use harmony::cli::{Failure, complain};
use harmony::hold::Account;
use harmony::line::Name;
use harmony::worker::{Attempt, Attempts, Capture, Which};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What agents get where nothing else is said.
const AGENT_IDLE: Duration = Duration::from_secs(600);
const AGENT_LINGER: Duration = Duration::from_secs(10);

/// What a conversation that was cut off is asked to do.
const GO_ON: &str = "The last run was cut off before it ended. Go on where you left off.";

/// Changes to the environment: `None` removes.
pub type Environment = Vec<(OsString, Option<OsString>)>;

/// A worker: what to run, how to read it.
#[derive(Debug, Clone)]
pub struct Worker {
    start: Start,
    /// How its lines are read; `None` when its first line is to tell.
    kind: Option<Kind>,
    name: String,
}

#[derive(Debug, Clone)]
enum Start {
    /// The user's command.
    Command(Vec<OsString>),
    /// cl-replay with a recording.
    Replay(Vec<OsString>),
    /// An agent.
    Agent(Ask),
}

impl Worker {
    /// The worker that was asked for.
    pub fn choose(args: &Args, name: &Name) -> Result<Self, Failure> {
        if !args.command.is_empty() {
            return Self::command(args);
        }
        match args.agent.clone().unwrap_or(Agent::Known(Kind::Claude)) {
            Agent::Auto | Agent::Known(Kind::Plain) => Err(ours(
                "--agent: auto and plain need a COMMAND; put it behind --, as in cl-spawn NAME -- COMMAND",
            )),
            Agent::Replay(folder) => {
                no_agent_options(args, "a recording")?;
                no_recording_is_kept(args)?;
                Ok(Self::replay(&folder, name, &args.args))
            }
            Agent::Known(kind) => {
                let ask = Ask {
                    agent: kind,
                    model: args.model.clone(),
                    tools: args.tools.clone(),
                    system: args.system.clone(),
                    partial: args.partial,
                    session: session::asked(args, name, kind)?,
                    keep: args.keep,
                    args: args.args.clone(),
                };
                command(&ask).map_err(ours)?;
                Ok(Self::agent(ask))
            }
        }
    }

    /// One to fall back on. What it has no word for is told and left to it.
    pub fn fallback(args: &Args, name: &Name, to: &Fallback) -> Result<Self, Failure> {
        let kind = match &to.agent {
            Agent::Replay(folder) => {
                no_recording_is_kept(args)?;
                return Ok(Self::replay(folder, name, &[]));
            }
            Agent::Known(kind) => *kind,
            Agent::Auto => return Err(ours("--fallback: name an agent")),
        };
        let ask = Ask {
            model: to.model.clone(),
            session: session::begin(kind, &[]),
            keep: args.keep,
            ..Ask::new(kind)
        };
        command(&ask).map_err(|why| ours(format!("--fallback {}: {why}", kind.as_str())))?;
        let asked = Ask {
            tools: args.tools.clone(),
            system: args.system.clone(),
            partial: args.partial,
            ..ask
        };
        Ok(Self::agent(asked.as_far_as_known(|why| {
            complain("cl-spawn", &format!("--fallback {}: {why}", kind.as_str()));
        })))
    }

    fn agent(ask: Ask) -> Self {
        let kind = ask.agent;
        let model = ask.model.iter().map(|model| format!(":{model}"));
        Self {
            name: std::iter::once(kind.as_str().to_owned()).chain(model).collect(),
            start: Start::Agent(ask),
            kind: Some(kind),
        }
    }

    fn replay(folder: &Path, name: &Name, args: &[OsString]) -> Self {
        let file = folder.join(format!("{name}.ndjson"));
        let mut argv = vec![beside_us("cl-replay"), file.into()];
        argv.extend(args.iter().cloned());
        Self {
            start: Start::Replay(argv),
            kind: None,
            name: format!("replay:{}", folder.display()),
        }
    }

    fn command(args: &Args) -> Result<Self, Failure> {
        no_agent_options(args, "a COMMAND")?;
        if !args.args.is_empty() {
            return Err(ours(
                "--arg: goes with an agent; give a COMMAND its arguments behind it",
            ));
        }
        let program = Path::new(&args.command[0]);
        let kind = match &args.agent {
            None | Some(Agent::Auto) => Kind::of_command(program),
            Some(Agent::Known(kind)) => Some(*kind),
            Some(Agent::Replay(_)) => {
                return Err(ours("--agent: a recording is played, or a COMMAND is run, not both"));
            }
        };
        if args.keep && !kind.is_some_and(Kind::takes_messages) {
            return Err(ours(
                "--keep: goes with a COMMAND only where --agent claude or qwen says how it is asked",
            ));
        }
        Ok(Self {
            start: Start::Command(args.command.clone()),
            kind,
            name: program.display().to_string(),
        })
    }

    /// Whether it reads its stdin for a prompt, and nothing but that.
    pub fn is_agent(&self) -> bool {
        self.kind.is_some_and(Kind::is_agent)
    }

    /// Whether it is an agent, or plays one.
    fn acts_as_agent(&self) -> bool {
        self.is_agent() || matches!(self.start, Start::Replay(_))
    }

    /// The agent whose usage limits and keys concern it. What a recording says of limits is of no account.
    pub fn account_of(&self) -> Option<Kind> {
        let replays = match &self.start {
            Start::Replay(_) => true,
            Start::Command(argv) => Path::new(&argv[0]).file_name() == Some("cl-replay".as_ref()),
            Start::Agent(_) => false,
        };
        self.kind.filter(|kind| kind.is_agent() && !replays)
    }

    /// Whether it has an agent's conversation that we name.
    fn ask(&self) -> Option<&Ask> {
        match &self.start {
            Start::Agent(ask) => Some(ask),
            Start::Command(_) | Start::Replay(_) => None,
        }
    }

    fn argv(&self, session: &Session) -> io::Result<Vec<OsString>> {
        match &self.start {
            Start::Command(argv) | Start::Replay(argv) => Ok(argv.clone()),
            Start::Agent(ask) => {
                let ask = Ask {
                    session: session.clone(),
                    ..ask.clone()
                };
                Ok(command(&ask).map_err(io::Error::other)?.argv)
            }
        }
    }

    fn capture(&self, how: CaptureHow) -> Capture {
        match how {
            CaptureHow::Auto if self.acts_as_agent() => Capture::File,
            CaptureHow::Auto | CaptureHow::Pipe => Capture::Pipe,
            CaptureHow::File => Capture::File,
            CaptureHow::Pty => Capture::Pty,
        }
    }
}

fn no_agent_options(args: &Args, what: &str) -> Result<(), Failure> {
    let given = [
        ("--model", args.model.is_some()),
        ("--tools", args.tools.is_some()),
        ("--system", args.system.is_some()),
        ("--partial", args.partial),
        ("--session", args.session.is_some()),
        ("--resume", args.resume.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(ours(format!("{option}: goes with an agent, not with {what}"))),
        None => Ok(()),
    }
}

fn no_recording_is_kept(args: &Args) -> Result<(), Failure> {
    if args.keep {
        return Err(ours("--keep: a recording hears no prompt; keep an agent"));
    }
    Ok(())
}

/// A tool of ours: the one beside this program, else the one on PATH.
fn beside_us(tool: &str) -> OsString {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|us| Some(us.parent()?.join(tool)))
        .filter(|path| path.exists());
    beside.unwrap_or_else(|| PathBuf::from(tool)).into()
}

/// All workers of a run, the one that was asked for first.
pub struct Workers {
    pub args: Args,
    pub name: Name,
    pub role: Option<InForce>,
    pub workers: Vec<Worker>,
    /// What is asked, in its frame.
    pub prompt: Option<Vec<u8>>,
    pub stdin: Source,
}

impl Workers {
    /// The conversation of an attempt, and whether it is that of the attempt before.
    fn session(&self, which: &Which<'_>) -> (Session, bool) {
        let worker = &self.workers[which.worker];
        let Some(ask) = worker.ask() else {
            return (Session::Unnamed, false);
        };
        // Where the user's own arguments name the conversation, they do so each time.
        let own = ask.agent.names_session(&ask.args);
        let Some(before) = which.before.filter(|_| !own) else {
            return (ask.session.clone(), false);
        };
        let id = before.session.as_deref().or(ask.session.id());
        let Some(id) = id else {
            return (ask.session.clone(), false);
        };
        // What was answered well is not asked to go on; why it ended badly is another matter.
        let began = matches!(ask.session, Session::New(_) | Session::Unnamed);
        if before.is_good() && began && self.args.session.is_none() && !self.args.keep {
            return (session::begin(ask.agent, &ask.args), false);
        }
        // Where we cannot look whether it was kept, one with work in it is worth the try.
        let kept = is_kept(ask.agent, id, |name| self.variable(name)).unwrap_or(before.worked);
        match (&ask.session, kept) {
            (_, true) => (Session::Resumed(id.to_owned()), true),
            (Session::New(_), false) if self.args.session.is_none() => (session::begin(ask.agent, &ask.args), false),
            (asked, false) => (asked.clone(), false),
        }
    }

    /// A variable of the worker's environment.
    fn variable(&self, name: &str) -> Option<OsString> {
        let own = self.args.env.iter().rev().find(|(own, _)| own == name);
        own.map(|(_, value)| value.clone()).or_else(|| std::env::var_os(name))
    }

    /// The changes to the environment, the user's own last.
    fn environment(&self, worker: &Worker, session: Option<&str>, number: u32) -> Environment {
        let name = self.name.as_str();
        let mut env: Environment = vec![("CLAUDECODE".into(), None)];
        let mut set = |name: &str, value: &str| env.push((name.into(), Some(value.into())));
        set("CL_STREAM", name);
        set("CL_ATTEMPT", &number.to_string());
        let conversation = session.map_or_else(|| name.to_owned(), |session| format!("{name}:{session}"));
        set("CLAUDE_STREAM_ID", &conversation);
        if let Some(role) = &self.role {
            set("CL_ROLE", &role.played.name);
            set("CLAUDE_TASK_TYPE", &role.played.name);
        }
        if worker.acts_as_agent() {
            set("NO_COLOR", "1");
            set("FORCE_COLOR", "0");
        }
        let own = self.args.env.iter();
        env.extend(own.map(|(name, value)| (name.clone(), Some(value.clone()))));
        env
    }

    /// The first attempt's environment and command, for `--dry-run`.
    pub fn first(&self) -> io::Result<(Environment, Vec<OsString>)> {
        let which = Which {
            number: 1,
            worker: 0,
            before: None,
        };
        let (session, _) = self.session(&which);
        let worker = &self.workers[0];
        Ok((self.environment(worker, session.id(), 1), worker.argv(&session)?))
    }
}

impl Attempts for Workers {
    fn prepare(&mut self, which: &Which<'_>) -> io::Result<Attempt> {
        let (session, resumed) = self.session(which);
        let worker = self.workers[which.worker].clone();
        let argv = worker.argv(&session)?;
        let env = self.environment(&worker, session.id(), which.number);
        let never = |limit: Duration| (!limit.is_zero()).then_some(limit);
        let agent_limits = (
            never(self.args.idle.unwrap_or(AGENT_IDLE)),
            never(self.args.linger.unwrap_or(AGENT_LINGER)),
        );
        let given = |limit: Option<Duration>, agents: Option<Duration>| match limit {
            None if worker.is_agent() => agents,
            given => given.and_then(never),
        };
        let cut_off = resumed && which.before.is_some_and(|before| before.worked && !before.is_good());
        let prompt = match &self.prompt {
            Some(_) if cut_off => Some(GO_ON.as_bytes()),
            prompt => prompt.as_deref(),
        };
        let stdin = if self.args.keep {
            None
        } else if cut_off && self.prompt.is_some() {
            Source::Bytes(GO_ON.into()).open(true)?
        } else {
            let last = self.args.retries.unwrap_or(0) == 0 && self.args.fallback.is_empty();
            self.stdin.open(last)?
        };
        let told = prompt.map(|prompt| String::from_utf8_lossy(prompt).into_owned());
        Ok(Attempt {
            kind: worker.kind,
            account: worker.account_of().map(|kind| Account::of_launch(kind, &argv, &env)),
            argv,
            env,
            cwd: self.args.cwd.clone(),
            nice: self.args.nice.unwrap_or(0),
            stdin,
            prompt: told,
            session: session.id().map(str::to_owned),
            resumed,
            capture: worker.capture(self.args.capture),
            idle: given(self.args.idle, agent_limits.0),
            linger: given(self.args.linger, agent_limits.1),
            agent_limits,
        })
    }

    fn name(&self, worker: usize) -> String {
        self.workers[worker].name.clone()
    }
}
