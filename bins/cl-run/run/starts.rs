//! Who starts, and with what; who need not, and who cannot.

use super::Run;
use crate::launch;
use crate::prepare::{Held, Needs, Ready};
use crate::work::Works;
use crate::worktree::Tree;
use harmony::cli::{self, reason};
use harmony::line::{Event, Exit, Outcome};
use harmony::plan::{Act, Worktree};
use harmony::run::exit_of;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// No more streams than these wait at once for locks of other runs, each in a thread; the others are not asked.
const WAITERS: usize = 64;

impl<'a> Run<'a> {
    /// Starts the next one, or finds that it need not run; whether there may be another.
    pub(super) fn start_one(&mut self) -> io::Result<bool> {
        let room = self.may_have_room();
        let next = self.prepared.iter().position(|(at, _)| room && self.has_room(*at));
        if let Some((at, held)) = next.and_then(|next| self.prepared.remove(next)) {
            self.start(at, &held)?;
            return Ok(true);
        }
        let free = |at: &usize| {
            let mut locks = self.plan.streams[*at].locks.iter();
            let unlocked = !locks.any(|lock| self.locked.contains(lock));
            (room && self.preparing < WAITERS && unlocked && self.has_room(*at)) || self.may_be_kept(*at)
        };
        let Some(at) = self.schedule.ready().find(free) else {
            return Ok(false);
        };
        let tree = self.tree(at);
        if self.may_be_kept(at) && self.keep(at, tree.as_ref().ok().and_then(Option::as_ref)) {
            return Ok(true);
        }
        if !self.has_room(at) {
            return Ok(true);
        }
        let stream = &self.plan.streams[at];
        self.schedule.began(at);
        let needs = tree.and_then(|tree| Needs::new(self.set.locks.as_deref(), &stream.locks, tree));
        self.locked.extend(stream.locks.iter().cloned());
        match needs.map(|needs| (needs.at_once(), needs)) {
            Err(because) => self.refuse(at, because)?,
            Ok((Some(ready), _)) => self.take(at, ready)?,
            Ok((None, needs)) => {
                self.preparing += 1;
                self.waiting.wait(at, needs);
            }
        }
        Ok(true)
    }

    /// The worktree that a stream is to have.
    pub fn tree(&self, at: usize) -> Result<Option<Tree>, String> {
        let stream = &self.plan.streams[at];
        let folder = match self.plan.settings(stream).worktree {
            Some(Worktree::Own) => None,
            Some(Worktree::At(folder)) => Some(folder),
            Some(Worktree::No) | None => return Ok(None),
        };
        Tree::new(folder.as_deref(), self.plan.branch(stream)).map(Some)
    }

    pub fn works(&self) -> Works<'a> {
        Works {
            run: self.set.folder,
            folder: self.set.streams,
            roles: self.set.roles,
        }
    }

    /// Whether a stream ended well before, as far as the journal tells.
    pub(super) fn may_be_kept(&self, at: usize) -> bool {
        !self.before.is_empty() && self.before.contains_key(&self.plan.streams[at].name)
    }

    /// Finds out whether a stream ended well before on the same; then it need not run, and is passed on as it was.
    pub(super) fn keep(&mut self, at: usize, tree: Option<&Tree>) -> bool {
        let name = self.plan.streams[at].name.clone();
        // Once is enough: what is not kept now runs.
        let Some(key) = self.before.remove(&name) else {
            return false;
        };
        let tree = tree.map(|tree| tree.path.as_path());
        let works = self.works();
        let work = works.of(
            &self.plan,
            self.schedule.graph(),
            at,
            self.schedule.fates(),
            &self.keys,
            tree,
        );
        if !work.is_ok_and(|work| work.key == key) {
            return false;
        }
        // The machine may have lost what the disk had not taken yet.
        let Ok(file) = self.set.streams.read(&name) else {
            return false;
        };
        let Ok(Some(exit)) = exit_of(&file, &name) else {
            return false;
        };
        if exit.outcome != Outcome::Success {
            return false;
        }
        self.keys[at] = Some(key);
        self.pump.begin(at, &name, Arc::new(file));
        self.pump.end(at);
        self.cost += exit.cost_usd.unwrap_or(0.0);
        self.log.note(Act::Keep { stream: name });
        self.schedule.ended(&self.plan, at, Outcome::Success);
        true
    }

    /// Somebody has, or cannot have, what it needs.
    pub(super) fn take(&mut self, at: usize, ready: Ready) -> io::Result<()> {
        match ready {
            Ok(held) if self.has_room(at) => self.start(at, &held),
            Ok(held) => {
                self.prepared.push_back((at, held));
                Ok(())
            }
            Err(because) => self.refuse(at, because),
        }
    }

    pub(super) fn start(&mut self, at: usize, held: &Held) -> io::Result<()> {
        let name = self.plan.streams[at].name.clone();
        let (graph, fates) = (self.schedule.graph(), self.schedule.fates());
        let work = match self
            .works()
            .of(&self.plan, graph, at, fates, &self.keys, held.tree.as_deref())
        {
            Ok(work) => work,
            Err(because) => return self.refuse(at, because),
        };
        self.log.note(Act::Start {
            stream: name.clone(),
            key: work.key.clone(),
        });
        self.log.write()?;
        self.keys[at] = Some(work.key.clone());
        let file = Arc::new(self.set.streams.begin(&name)?);
        self.pump.begin(at, &name, file.clone());
        let null = self.null.as_fd();
        match launch::start(&mut self.nursery, (at, &name), &work, file, &held.locks, null) {
            Ok(running) => {
                self.running.push(running);
                Ok(())
            }
            Err(error) => {
                let because = format!("cl-spawn: {}", reason(&error));
                self.unstartable(at, &name, because)
            }
        }
    }

    /// A stream cannot run, for what it needs is not to be had.
    pub(super) fn refuse(&mut self, at: usize, because: String) -> io::Result<()> {
        let name = self.plan.streams[at].name.clone();
        self.log.note(Act::Start {
            stream: name.clone(),
            key: String::new(),
        });
        let file = self.set.streams.begin(&name)?;
        self.pump.begin(at, &name, Arc::new(file));
        self.unstartable(at, &name, because)
    }

    /// Says in a stream's place that it could not be started.
    pub(super) fn unstartable(&mut self, at: usize, name: &str, because: String) -> io::Result<()> {
        cli::complain("cl-run", &format!("{name}: {because}"));
        let exit = Exit {
            outcome: Outcome::Unstartable,
            because,
            ..Exit::default()
        };
        // Nobody else writes to the file that was just made.
        let path = self.set.folder.join(format!("{name}.ndjson"));
        let file = File::options().append(true).open(path)?;
        launch::say(&file, name, 0, false, &Event::Exit(Box::new(exit)))?;
        self.over_with(at, Outcome::Unstartable);
        Ok(())
    }
}
