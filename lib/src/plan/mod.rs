//! Plans: a graph of streams, as cl-plan(5) describes it.
//!
//! A text becomes a [`Plan`], or a list of all that is wrong with it. What is to run next is a
//! question to its [`Graph`], which is asked with the [`Fate`] of each stream and knows neither clocks nor processes.

mod check;
mod fields;
mod graph;
mod grow;
mod journal;
mod near;
mod read;
mod schedule;
mod status;
mod template;
mod tree;
mod write;

pub use graph::{Decision, Edge, Fate, Graph};
pub use journal::{Act, Entry, Journal, Told};
pub use read::KEYS;
pub use schedule::{Schedule, Settled, Standing};
pub use status::{Condition, Group, Stage, Status, groups};
pub use template::{Place, fill, places};

use crate::line::Name;
use crate::role::{Role, Roles};
use crate::units;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a plan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

impl Format {
    /// What a file's name ends with behind its dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Json => "json",
        }
    }

    /// What a plan's file is called in a run folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Toml => "plan.toml",
            Self::Json => "plan.json",
        }
    }
}

/// A graph of streams, and when it is enough.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What the run is called.
    pub name: String,
    /// What `{{prompt}}` stands for, and the prompt of streams that have none of their own.
    pub prompt: Option<String>,
    /// At most so many streams at once; 0 is one a core.
    pub jobs: u32,
    /// What streams leave open.
    pub defaults: Settings,
    /// The streams, in the order of the document.
    pub streams: Vec<Stream>,
    /// When the whole is enough; without it every stream has to end well that is not optional.
    pub wait: Option<Wait>,
}

/// One stream of a plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// What it does, for people.
    pub about: Option<String>,
    /// Its phase.
    pub phase: Option<Phase>,
    /// The streams that must have ended before it starts.
    pub after: Vec<String>,
    /// How they must have ended.
    pub when: When,
    /// The stream in whose place it runs, should that one fail.
    pub instead: Option<String>,
    /// Whether its failure is no failure of the plan.
    pub optional: bool,
    /// Named locks that it holds while it runs.
    pub locks: Vec<String>,
    /// What to ask; a template.
    pub prompt: Option<String>,
    /// A command instead of an agent; templates.
    pub run: Vec<String>,
    /// What takes back what it did; templates.
    pub undo: Vec<String>,
    /// How many tasks it has.
    pub tasks: Option<u32>,
    /// How many of them were done when the plan was written.
    pub done: Option<u32>,
    /// The branch of its worktree.
    pub branch: Option<String>,
    /// How it runs.
    pub settings: Settings,
}

/// How a stream runs: what `[defaults]` may say for all; mostly cl-spawn's options.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The role it plays.
    pub role: Option<String>,
    /// `--agent`.
    pub agent: Option<String>,
    /// `--model`.
    pub model: Option<String>,
    /// `--tools`; an empty list is none.
    pub tools: Option<Vec<String>>,
    /// `--system`.
    pub system: Option<String>,
    /// `--partial`.
    pub partial: Option<bool>,
    /// `--arg`, each.
    pub args: Option<Vec<String>>,
    /// 1 starts first, to 4; niceness 0, 5, 10, 15.
    pub priority: Option<u32>,
    /// `--timeout`.
    pub timeout: Option<String>,
    /// `--idle`.
    pub idle: Option<String>,
    /// `--linger`.
    pub linger: Option<String>,
    /// `--retries`.
    pub retries: Option<u32>,
    /// `--backoff`.
    pub backoff: Option<String>,
    /// `--fallback`, each.
    pub fallback: Option<Vec<String>>,
    /// `--cwd`.
    pub cwd: Option<String>,
    /// `--env`, each.
    pub env: BTreeMap<String, String>,
    /// A git worktree to run in.
    pub worktree: Option<Worktree>,
}

/// A stream's git worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worktree {
    /// None.
    No,
    /// One of its own, beside the repository.
    Own,
    /// The one in this folder.
    At(String),
}

/// When a plan as a whole is enough, as cl-wait takes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wait {
    /// These must end well.
    pub need: Vec<String>,
    /// So many of the others.
    pub any: Option<u32>,
    /// The first that ends well.
    pub first: bool,
    /// How long to wait for `any`.
    pub grace: Option<String>,
    /// How long to wait at all.
    pub timeout: Option<String>,
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident, $($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in a plan.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// A phase, which puts a stream after all those of the phases before.
    Phase,
    /// Before all.
    Foundation = "foundation",
    /// After every foundation stream.
    Parallel = "parallel",
    /// After every foundation and parallel stream.
    Integration = "integration",
}

words! {
    /// How the streams before must have ended.
    When,
    /// All well.
    Success = "success",
    /// One of them not well.
    Failure = "failure",
    /// However.
    Always = "always",
}

#[allow(clippy::derivable_impls)] // the macro makes the enum
impl Default for When {
    fn default() -> Self {
        Self::Success
    }
}

/// What is wrong with a plan, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line in the document; 0 where there is none.
    pub line: usize,
    /// The key, as `stream.api.after`.
    pub place: String,
    /// What, and the way out.
    pub what: String,
}

impl Problem {
    /// One line that begins with the file's name.
    pub fn told(&self, file: &str) -> String {
        match self.line {
            0 => format!("{file}: {self}"),
            line => format!("{file}:{line}: {self}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.what),
            place => write!(f, "{place}: {}", self.what),
        }
    }
}

/// Where each key of a document stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(BTreeMap<String, usize>);

impl Plan {
    /// Reads a plan and checks all of it.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the document.
    pub fn read(text: &str, format: Format, roles: &Roles) -> Result<Self, Vec<Problem>> {
        let (plan, lines, mut problems, whole) = read::read(text, format);
        if whole {
            problems.extend(check::check(&plan, &lines, roles));
        }
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    /// Reads a plan whose run has begun, and which was checked then: only its form and its streams' names have to be
    /// right, for roles may be others by now.
    pub fn recall(text: &str, format: Format) -> Option<Self> {
        let (plan, _, problems, _) = read::read(text, format);
        let named = plan.streams.iter().all(|stream| Name::new(&stream.name).is_ok());
        (problems.is_empty() && named).then_some(plan)
    }

    /// What is wrong with a plan that was put together otherwise.
    pub fn check(&self, roles: &Roles) -> Vec<Problem> {
        check::check(self, &Lines::default(), roles)
    }

    /// The plan as a document.
    pub fn write(&self, format: Format) -> String {
        write::write(self, format)
    }

    /// The stream of that name.
    pub fn get(&self, name: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// How a stream runs: its own settings over the defaults. What concerns agents alone is not for a command.
    pub fn settings(&self, stream: &Stream) -> Settings {
        let mut settings = self.defaults.clone();
        if !stream.run.is_empty() {
            settings = Settings {
                priority: settings.priority,
                timeout: settings.timeout,
                idle: settings.idle,
                linger: settings.linger,
                retries: settings.retries,
                backoff: settings.backoff,
                cwd: settings.cwd,
                env: settings.env,
                worktree: settings.worktree,
                ..Settings::default()
            };
        }
        // Where it runs is said once: a folder of its own takes the place of a worktree by default, and the other way.
        if stream.settings.cwd.is_some() {
            settings.worktree = None;
        }
        if stream.settings.worktree.is_some() {
            settings.cwd = None;
        }
        settings.layer(stream.settings.clone());
        settings
    }

    /// The role that a stream plays, as cl-spawn finds it: the one it names, else for an agent the one of its name.
    pub fn role<'a>(&self, stream: &Stream, roles: &'a Roles) -> Option<&'a Role> {
        let settings = self.settings(stream);
        let by_name = stream.run.is_empty().then_some(stream.name.as_str());
        let name = settings.role.as_deref().or(by_name)?;
        roles.get(name).map(|known| &known.role)
    }

    /// What a stream asks: its own prompt, else the plan's where it is an agent.
    pub fn asks<'a>(&'a self, stream: &'a Stream) -> Option<&'a str> {
        let own = stream.prompt.as_deref();
        own.or_else(|| self.prompt.as_deref().filter(|_| stream.run.is_empty()))
    }

    /// Whether a stream runs in a git worktree.
    pub fn has_worktree(&self, stream: &Stream) -> bool {
        matches!(self.settings(stream).worktree, Some(Worktree::Own | Worktree::At(_)))
    }

    /// The branch of a stream's worktree.
    pub fn branch(&self, stream: &Stream) -> String {
        let own = || format!("cl/{}/{}", self.name, stream.name);
        stream.branch.clone().unwrap_or_else(own)
    }

    /// The priority of each stream: its own, else its role's, else 1.
    pub fn priorities(&self, roles: &Roles) -> Vec<u32> {
        let priority = |stream: &Stream| {
            let role = || self.role(stream, roles)?.priority;
            self.settings(stream).priority.or_else(role).unwrap_or(1)
        };
        self.streams.iter().map(priority).collect()
    }
}

impl Settings {
    /// Lays `over` on top: what it says wins; of the environment, variable by variable.
    pub fn layer(&mut self, over: Self) {
        macro_rules! later_wins {
            ($($key:ident)*) => { $( if over.$key.is_some() { self.$key = over.$key; } )* };
        }
        later_wins!(role agent model tools system partial args priority timeout idle linger retries backoff fallback);
        later_wins!(cwd worktree);
        self.env.extend(over.env);
    }

    /// The same as options of cl-spawn, all but the worktree: `--NAME=VALUE`, or `--NAME`.
    pub fn options(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut option = |name: &str, value: Option<String>| {
            all.extend(value.map(|value| format!("--{name}={value}")));
        };
        option("role", self.role.clone());
        option("agent", self.agent.clone());
        option("model", self.model.clone());
        option("tools", self.tools.as_ref().map(|tools| tools.join(",")));
        option("system", self.system.clone());
        option("nice", self.nice().map(|nice| nice.to_string()));
        option("timeout", self.timeout.clone());
        option("idle", self.idle.clone());
        option("linger", self.linger.clone());
        option("retries", self.retries.map(|retries| retries.to_string()));
        option("backoff", self.backoff.clone());
        option("cwd", self.cwd.clone());
        for arg in self.args.iter().flatten() {
            option("arg", Some(arg.clone()));
        }
        for fallback in self.fallback.iter().flatten() {
            option("fallback", Some(fallback.clone()));
        }
        for (name, value) in &self.env {
            option("env", Some(format!("{name}={value}")));
        }
        if self.partial == Some(true) {
            all.push("--partial".to_owned());
        }
        all
    }

    /// The niceness that goes with the priority.
    pub fn nice(&self) -> Option<u32> {
        self.priority.map(|priority| (priority.clamp(1, 4) - 1) * 5)
    }
}

impl Wait {
    /// How long to wait for `any` once all needed ones are there (15 s).
    pub fn grace(&self) -> Duration {
        duration(self.grace.as_deref()).unwrap_or(Duration::from_secs(15))
    }

    /// How long to wait at all.
    pub fn timeout(&self) -> Option<Duration> {
        duration(self.timeout.as_deref()).filter(|timeout| !timeout.is_zero())
    }
}

/// A duration of a plan, which was checked when it was read.
fn duration(text: Option<&str>) -> Option<Duration> {
    units::duration(text?).ok()
}

#[cfg(test)]
mod tests;
