//! How far a run is.

use crate::documents::{plan, wrong};
use harmony::cli::{Failure, reason};
use harmony::line::Outcome;
use harmony::plan::{Decision, Fate, Graph, Journal, Phase, Plan};
use harmony::role::Roles;
use harmony::run::plan_of_run;
use harmony::state::{State, Stream};
use harmony::view;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

/// How many characters a bar has.
const BAR: usize = 20;

/// A run: its plan, and what its folder tells of each stream.
pub struct Run {
    /// The plan as it was.
    pub plan: Plan,
    /// Who comes before whom.
    pub graph: Graph,
    /// How far each stream is.
    pub fates: Vec<Fate>,
    /// The streams as their own files tell.
    pub state: State,
    journal: Journal,
}

impl Run {
    /// Reads a run folder.
    pub fn read(folder: &Path, roles: &Roles) -> Result<Self, Failure> {
        let plan = plan(&plan_of_run(folder)?, roles)?;
        let graph = Graph::new(&plan).map_err(|_| wrong("the plan has a circle"))?;
        let file = |name: &str| {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(wrong(format!("{}: {}", path.display(), reason(&error)))),
            }
        };
        let journal = file("journal")?.map(|bytes| Journal::read(&bytes)).unwrap_or_default();
        let mut state = State::default();
        for stream in &plan.streams {
            let lines = file(&format!("{}.ndjson", stream.name))?.unwrap_or_default();
            for line in lines.split(|&byte| byte == b'\n') {
                state.line(line);
            }
        }
        // The journal knows more of a run that cl-run keeps; where there is none, the streams tell themselves.
        let mut fates = journal.fates(&plan);
        for (fate, stream) in fates.iter_mut().zip(&plan.streams) {
            if journal.entries.is_empty() {
                *fate = match state.get(&stream.name).map(Stream::outcome) {
                    None => Fate::Waiting,
                    Some(None) => Fate::Running,
                    Some(Some(Outcome::Success)) => Fate::Well,
                    Some(Some(_)) => Fate::Failed,
                };
            }
        }
        // Who cannot start any more need not be told by anybody.
        for &at in graph.order() {
            if fates[at] == Fate::Waiting {
                match graph.decide(&plan, at, &fates) {
                    Decision::Skip(_) => fates[at] = Fate::Skipped,
                    Decision::Unneeded => fates[at] = Fate::Unneeded,
                    Decision::Wait | Decision::Start => {}
                }
            }
        }
        Ok(Self {
            plan,
            graph,
            fates,
            state,
            journal,
        })
    }

    /// How many of a stream's tasks are done, and of how many: its agent's own list, else what the plan says.
    pub fn tasks(&self, at: usize) -> Option<(usize, usize)> {
        let stream = &self.plan.streams[at];
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
        let done = if self.fates[at] == Fate::Well {
            tasks
        } else {
            stream.done.unwrap_or(0) as usize
        };
        Some((done, tasks))
    }

    /// How a stream ended, or how far it is, in a word.
    fn word(&self, at: usize) -> &'static str {
        match self.fates[at] {
            Fate::Waiting => "waiting",
            Fate::Running => "running",
            Fate::Well => "done",
            Fate::Failed => {
                let outcome = self.state.get(&self.plan.streams[at].name).and_then(Stream::outcome);
                outcome.map_or("failed", Outcome::as_str)
            }
            Fate::Skipped => "skipped",
            Fate::Unneeded => "not needed",
        }
    }
}

/// The streams by phase, who waits for whom, what to do next.
pub fn status(folder: &Path, roles: &Roles, color: bool) -> Result<String, Failure> {
    let run = Run::read(folder, roles)?;
    let plan = &run.plan;
    let all: Vec<usize> = (0..plan.streams.len()).collect();
    let mut text = format!("{}  {}\n", plan.name, share(&run, &all, color));
    let width = plan.streams.iter().map(|stream| stream.name.len()).max().unwrap_or(0);
    for (title, members) in groups(&run) {
        let _ = writeln!(text, "\n{title}  {}", share(&run, &members, color));
        for at in members {
            let stream = &plan.streams[at];
            let mut line = format!(
                "  {} {:width$}  {:10}",
                mark(run.fates[at], color),
                stream.name,
                run.word(at)
            );
            if let Some((done, tasks)) = run.tasks(at) {
                let _ = write!(line, "  {} {done}/{tasks}", bar(done, tasks));
            }
            let open = |other: &&usize| matches!(run.fates[**other], Fate::Waiting | Fate::Running);
            let waits: Vec<&str> = run
                .graph
                .before(at)
                .iter()
                .filter(open)
                .map(|&other| name(plan, other))
                .collect();
            if run.fates[at] == Fate::Waiting && !waits.is_empty() {
                let _ = write!(line, "  waits for {}", waits.join(", "));
            }
            if let Some(end) = run.state.get(&stream.name).and_then(|stream| stream.end.as_ref())
                && run.fates[at] == Fate::Failed
            {
                let _ = write!(line, "  {}", view::clean(&end.exit.because));
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    for (stream, code) in run.journal.undone() {
        let how = match code {
            None => "was begun and has no end".to_owned(),
            Some(0) => "was taken back".to_owned(),
            Some(code) => format!("could not be taken back: its undo ended with {code}"),
        };
        let _ = writeln!(text, "\n{}: {how}", view::clean(stream));
    }
    let _ = writeln!(text, "\n{}", next(&run));
    Ok(text)
}

/// The streams of each phase, those without one by their level.
pub fn groups(run: &Run) -> Vec<(String, Vec<usize>)> {
    groups_of(&run.plan, &run.graph)
}

/// The same, of a plan.
pub fn groups_of(plan: &Plan, graph: &Graph) -> Vec<(String, Vec<usize>)> {
    let mut all = Vec::new();
    for phase in Phase::ALL {
        let members = (0..plan.streams.len()).filter(|&at| plan.streams[at].phase == Some(*phase));
        all.push((phase.as_str().to_owned(), members.collect()));
    }
    for (level, members) in (1..).zip(graph.levels()) {
        let members = members.into_iter().filter(|&at| plan.streams[at].phase.is_none());
        all.push((format!("level {level}"), members.collect()));
    }
    all.retain(|(_, members): &(String, Vec<usize>)| !members.is_empty());
    all
}

/// What to do next.
fn next(run: &Run) -> String {
    let plan = &run.plan;
    let names = |wanted: Fate| -> Vec<&str> {
        let all = (0..plan.streams.len()).filter(|&at| run.fates[at] == wanted);
        all.map(|at| name(plan, at)).collect()
    };
    let running = names(Fate::Running);
    let waiting = (0..plan.streams.len()).filter(|&at| run.fates[at] == Fate::Waiting);
    let ready = waiting.filter(|&at| run.graph.decide(plan, at, &run.fates) == Decision::Start);
    let ready: Vec<&str> = ready.map(|at| name(plan, at)).collect();
    let unwell: Vec<&str> = run
        .graph
        .unwell(&run.fates)
        .into_iter()
        .map(|at| name(plan, at))
        .collect();
    let failed: Vec<&str> = unwell
        .iter()
        .copied()
        .filter(|name| names(Fate::Failed).contains(name))
        .collect();
    match (running.as_slice(), ready.as_slice(), failed.as_slice()) {
        (_, _, [_, ..]) => {
            let others = if running.is_empty() {
                String::new()
            } else {
                format!("; {} still at work", running.join(", "))
            };
            format!("next: see why {} did not end well{others}", failed.join(", "))
        }
        ([], [], []) if unwell.is_empty() => "all is done".to_owned(),
        ([], [], []) => format!("next: nothing can start: {} did not come about", unwell.join(", ")),
        ([], ready, []) => format!("next: {} can start", ready.join(", ")),
        (running, [], []) => format!("next: wait for {}", running.join(", ")),
        (running, ready, []) => format!("next: wait for {}; {} can start", running.join(", "), ready.join(", ")),
    }
}

fn name(plan: &Plan, at: usize) -> &str {
    &plan.streams[at].name
}

/// How much of several streams is done, those that another one stood in for included: a bar, and numbers.
fn share(run: &Run, members: &[usize], color: bool) -> String {
    let done = members
        .iter()
        .filter(|&&at| matches!(run.graph.settled(at, &run.fates), Fate::Well | Fate::Unneeded))
        .count();
    let bad = members
        .iter()
        .filter(|&&at| matches!(run.graph.settled(at, &run.fates), Fate::Failed | Fate::Skipped))
        .count();
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
