//! How far a run is.

use crate::documents::{plan, wrong};
use harmony::cli::Failure;
use harmony::line::Outcome;
use harmony::plan::{Condition, Fate, Graph, Group, Plan, Stage, Status};
use harmony::role::Roles;
use harmony::run::{Kept, plan_of_run, resume, way_out};
use harmony::state::{State, Stream};
use harmony::view;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// How many characters a bar has.
const BAR: usize = 20;

/// A run: where it stands, and what its folder tells of each stream.
pub struct Run {
    /// Where it stands, with its plan.
    pub status: Status,
    /// The streams as their own files tell.
    pub state: State,
    kept: Kept,
}

impl Run {
    /// Reads a run folder.
    pub fn read(folder: &Path, roles: &Roles) -> Result<Self, Failure> {
        let plan = plan(&plan_of_run(folder)?, roles)?;
        let graph = Graph::new(&plan).map_err(|_| wrong("the plan has a circle"))?;
        let mut state = State::default();
        for stream in &plan.streams {
            let path = folder.join(format!("{}.ndjson", stream.name));
            let lines = match std::fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read.map_err(|error| Failure::io(path.display(), &error))?,
            };
            for line in lines.split(|&byte| byte == b'\n') {
                state.line(line);
            }
        }
        let kept = Kept::open(folder).map_err(|error| Failure::io(folder.display(), &error))?;
        let ended = |name: &str| state.get(name).map(Stream::outcome);
        let status = Status::new(Arc::new(plan), Arc::new(graph), kept.journal(), kept.lives(), ended);
        Ok(Self { status, state, kept })
    }

    /// How many of a stream's tasks are done, and of how many: its agent's own list, else what the plan says.
    pub fn tasks(&self, at: usize) -> Option<(usize, usize)> {
        let stream = &self.status.plan.streams[at];
        let listed = self
            .state
            .get(&stream.name)
            .map(|stream| stream.tasks.as_slice())
            .unwrap_or_default();
        if !listed.is_empty() {
            let done = listed
                .iter()
                .filter(|(_, state)| *state == harmony::agent::TaskState::Done)
                .count();
            return Some((done, listed.len()));
        }
        let tasks = stream.tasks? as usize;
        let done = if self.status.fates[at] == Fate::Well {
            tasks
        } else {
            stream.done.unwrap_or(0) as usize
        };
        Some((done, tasks))
    }

    /// How a stream ended, or how far it is, in a word.
    fn word(&self, at: usize) -> &'static str {
        match self.status.conditions[at] {
            Condition::After(..) | Condition::Lock(..) | Condition::Job | Condition::Ready => "waiting",
            Condition::Running => "running",
            Condition::Well => "done",
            Condition::Failed => {
                let name = &self.status.plan.streams[at].name;
                let outcome = self.state.get(name).and_then(Stream::outcome);
                outcome.map_or("failed", Outcome::as_str)
            }
            Condition::Skipped(_) => "skipped",
            Condition::Unneeded => "not needed",
            Condition::Unbegun => "not begun",
            Condition::Cut => "cut short",
        }
    }

    /// What a stream waits for, or why it does not run; of one that failed, why.
    fn why(&self, at: usize) -> String {
        let why = self.status.why(at);
        match &self.status.conditions[at] {
            Condition::After(first, count) => format!("waits for {}", self.status.names(first, *count)),
            Condition::Lock(..) | Condition::Job => format!("waits {why}"),
            Condition::Skipped(_) => view::clean(&why).into_owned(),
            Condition::Failed => {
                let stream = self.state.get(&self.status.plan.streams[at].name);
                let end = stream.and_then(|stream| stream.end.as_ref());
                end.map_or_else(String::new, |end| view::clean(&end.exit.because).into_owned())
            }
            _ => String::new(),
        }
    }
}

/// The streams by phase, who waits for whom, what to do next.
pub fn status(folder: &Path, roles: &Roles, color: bool) -> Result<String, Failure> {
    let run = Run::read(folder, roles)?;
    let Status { plan, fates, .. } = &run.status;
    let all: Vec<usize> = (0..plan.streams.len()).collect();
    let mut text = format!("{}  {}\n", plan.name, share(&run.status, &all, color));
    let width = plan.streams.iter().map(|stream| stream.name.len()).max().unwrap_or(0);
    for Group { title, members } in run.status.groups() {
        let _ = writeln!(text, "\n{title}  {}", share(&run.status, &members, color));
        for at in members {
            let mut line = format!(
                "  {} {:width$}  {:10}",
                mark(fates[at], color),
                name(plan, at),
                run.word(at)
            );
            if let Some((done, tasks)) = run.tasks(at) {
                let _ = write!(line, "  {} {done}/{tasks}", bar(done, tasks));
            }
            let _ = write!(line, "  {}", run.why(at));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    for (stream, code) in run.kept.journal().undone() {
        let how = match code {
            None => "was begun and has no end".to_owned(),
            Some(0) => "was taken back".to_owned(),
            Some(code) => format!("could not be taken back: its undo ended with {code}"),
        };
        let _ = writeln!(text, "\n{}: {how}", view::clean(stream));
    }
    let next = way_out(&run.status, folder).unwrap_or_else(|| next(&run.status, folder));
    let _ = writeln!(text, "\n{next}");
    Ok(text)
}

/// What to do next.
fn next(status: &Status, folder: &Path) -> String {
    let names = |all: Vec<usize>| -> Vec<&str> { all.into_iter().map(|at| name(&status.plan, at)).collect() };
    let running = names(status.named(Fate::Running));
    let waiting = status.named(Fate::Waiting).into_iter();
    let free = |at: &usize| {
        use Condition::{Job, Lock, Ready};
        matches!(status.conditions[*at], Ready | Job | Lock(_, None))
    };
    let ready = names(waiting.filter(free).collect());
    let unwell = status.graph.unwell(&status.fates);
    let failed = unwell.iter().copied().filter(|&at| status.fates[at] == Fate::Failed);
    let failed = names(failed.collect());
    let unwell = names(unwell);
    match (running.as_slice(), ready.as_slice(), failed.as_slice()) {
        (_, _, [_, ..]) => {
            let others = if running.is_empty() {
                String::new()
            } else {
                format!("; {} still at work", running.join(", "))
            };
            format!("next: see why {} did not end well{others}", failed.join(", "))
        }
        _ if matches!(&status.stage, Stage::Over { verdict, .. } if verdict == "met") => "all is done".to_owned(),
        ([], [], []) if unwell.is_empty() => "all is done".to_owned(),
        ([], [], []) if status.is_over() => format!("next: go on with {}", resume(folder)),
        ([], [], []) => format!("next: nothing can start: {} did not come about", unwell.join(", ")),
        ([], ready, []) => format!("next: {} can start", ready.join(", ")),
        (running, [], []) => format!("next: wait for {}", running.join(", ")),
        (running, ready, []) => format!("next: wait for {}; {} can start", running.join(", "), ready.join(", ")),
    }
}

fn name(plan: &Plan, at: usize) -> &str {
    &plan.streams[at].name
}

/// How much of several streams is done: a bar, and numbers.
fn share(status: &Status, members: &[usize], color: bool) -> String {
    let (done, bad) = (status.done(members), status.bad(members));
    let (open, close) = if color && bad > 0 {
        ("\x1b[31m", "\x1b[0m")
    } else {
        ("", "")
    };
    let bad = if bad > 0 {
        format!(", {open}{bad} not{close}")
    } else {
        String::new()
    };
    format!("{} {done} of {} done{bad}", bar(done, members.len()), members.len())
}

fn bar(done: usize, of: usize) -> String {
    let full = (done.min(of) * BAR).checked_div(of).unwrap_or(BAR);
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full))
}

fn mark(fate: Fate, color: bool) -> String {
    let (sign, code) = match fate {
        Fate::Waiting => (".", "2"),
        Fate::Running => (">", "36"),
        Fate::Well => ("+", "32"),
        Fate::Failed => ("x", "31"),
        Fate::Skipped => ("-", "33"),
        Fate::Unneeded => ("=", "2"),
    };
    if color {
        format!("\x1b[{code}m{sign}\x1b[0m")
    } else {
        sign.to_owned()
    }
}
