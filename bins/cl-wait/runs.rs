//! Plans' runs that are waited for: where they stand, and what their plans want.

use crate::args::Args;
use crate::input::{Input, failed};
use harmony::cli::Failure;
use harmony::line::Name;
use harmony::plan::{Condition, Status};
use harmony::run::way_out;
use harmony::state::State;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// So many streams of a plan are named where none fits.
const NAMED: usize = 20;

/// Runs are looked at no more often than this: a journal may grow as fast as it is read.
const INTERVAL: Duration = Duration::from_millis(50);

/// What is known of plans' runs.
#[derive(Default)]
pub struct Runs {
    /// Where each stands, once it has begun.
    statuses: Vec<Option<Status>>,
    /// How to go on with one that was cut short.
    pub way_out: Option<String>,
    /// Whether there may be something new, and whether it was looked at, or a source ended, since all lines were read.
    pub news: bool,
    pub fresh: bool,
    /// When they were looked at last.
    looked: Option<Instant>,
    /// Whether they were looked at out of turn for what may be new to a verdict.
    hurried: bool,
    /// Whether all that is waited for are plans' runs.
    pub alone: bool,
}

impl Runs {
    /// When they are to be looked at again, where there may be something new.
    pub fn due(&self) -> Option<Instant> {
        let due = self.looked.map_or_else(Instant::now, |looked| looked + INTERVAL);
        self.news.then_some(due)
    }

    /// Whether they are to be looked at now.
    pub fn are_due(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    /// Whether a verdict may be given by what is known. What may be new, and is not due yet, could void it: then that is
    /// looked at first, once.
    pub fn may_decide(&mut self) -> bool {
        if !self.news || self.hurried {
            return true;
        }
        (self.hurried, self.looked) = (true, None);
        false
    }

    /// No verdict is near: what is new has time.
    pub fn undecided(&mut self) {
        self.hurried = false;
    }

    /// Whether none of them goes on, and there is nothing else.
    pub fn are_over(&self) -> bool {
        let over = |status: &Option<Status>| status.as_ref().is_some_and(Status::is_over);
        self.alone && !self.statuses.is_empty() && self.statuses.iter().all(over)
    }

    /// All lines are read, and nothing of a run that is over writes more: what it had begun and has not told its end,
    /// tells none, unless another target may tell of it. A run of a plan that goes on tells of its plan's streams; whatever
    /// else is open, of any.
    pub fn lose(&self, input: &Input, state: &mut State) {
        if input.has_open_files() || self.statuses.iter().any(Option::is_none) {
            return;
        }
        let (mut silent, mut open): (HashSet<&str>, HashSet<&str>) = Default::default();
        for status in self.statuses.iter().flatten() {
            for (stream, condition) in status.plan.streams.iter().zip(&status.conditions) {
                if !status.is_over() {
                    open.insert(&stream.name);
                } else if matches!(condition, Condition::Well | Condition::Failed | Condition::Cut) {
                    silent.insert(&stream.name);
                }
            }
        }
        // What runs inside a stream ends with it.
        let inside = |name: &str, of: &HashSet<&str>| name.match_indices('/').any(|(at, _)| of.contains(&name[..at]));
        state.lose(|stream| {
            let name = stream.name.as_str();
            let is_silent = silent.contains(name) || (stream.has_begun() && inside(name, &silent));
            is_silent && !open.contains(name) && !inside(name, &open)
        });
    }

    /// A source has ended, so that nothing else may tell of a run's stream any more.
    pub fn source_left(&mut self) {
        self.fresh |= !self.statuses.is_empty();
    }

    /// Reads what is new, and takes it into the picture.
    pub fn look(&mut self, input: &mut Input, state: &mut State) -> Result<(), Failure> {
        (self.news, self.fresh, self.looked) = (false, true, Some(Instant::now()));
        (self.statuses, self.way_out) = (Vec::new(), None);
        for run in &mut input.runs {
            let shown = run.folder().display().to_string();
            run.look().map_err(|error| failed(&shown, &error))?;
            let status = run.status(state);
            if let Some(status) = &status {
                state.plan(status);
                self.way_out = self.way_out.take().or_else(|| way_out(status, run.folder()));
            }
            self.statuses.push(status);
        }
        Ok(())
    }

    /// A name that no plan has would be waited for in vain.
    pub fn check_names(&self, args: &Args) -> Result<(), Failure> {
        let known: Option<Vec<&Status>> = self.statuses.iter().map(Option::as_ref).collect();
        let Some(known) = known.filter(|_| self.alone) else {
            return Ok(());
        };
        let streams = || known.iter().flat_map(|status| &status.plan.streams);
        // Or one inside such a stream.
        let has = |name: &str| {
            streams().any(|stream| {
                name.strip_prefix(stream.name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let named = args.need.iter().chain(&args.expect).chain(&args.exit_code_from);
        let Some(name) = named.map(Name::as_str).find(|name| !has(name)) else {
            return Ok(());
        };
        let mut all: Vec<&str> = streams().map(|stream| stream.name.as_str()).take(NAMED + 1).collect();
        if all.len() > NAMED {
            all[NAMED] = "…";
        }
        Err(Failure {
            message: format!("{name}: no such stream in the plan, which has {}", all.join(", ")),
            code: 127,
        })
    }

    /// The run whose plan says what is enough, where nothing else does.
    pub fn by_plan(&self, args: &Args) -> Option<&Status> {
        let counted = args.trust || args.all || args.any.is_some() || args.first || args.turn.is_some();
        let asked = counted || !args.need.is_empty() || !args.expect.is_empty();
        match self.statuses.as_slice() {
            [Some(status)] if self.alone && !asked => Some(status),
            _ => None,
        }
    }
}
