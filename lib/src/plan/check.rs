//! What hangs together in a plan: names, circles, templates, locks, worktrees, roles, the policy.

mod templates;

use super::near::near;
use super::{Edge, Graph, Lines, Plan, Problem, Settings, Stream, Wait, When, Worktree};
use crate::line::Name;
use crate::role::Roles;
use std::collections::BTreeMap;

/// A name that a run folder needs for itself.
const RESERVED: [&str; 3] = ["journal", "plan.toml", "plan.json"];

/// All that is wrong.
pub(super) fn check(plan: &Plan, lines: &Lines, roles: &Roles) -> Vec<Problem> {
    let mut check = Check {
        plan,
        lines,
        roles,
        problems: Vec::new(),
    };
    if plan.streams.is_empty() {
        check.tell(
            "stream",
            "there is none: add [stream.NAME] with a prompt, or with run".to_owned(),
        );
    }
    for stream in &plan.streams {
        check.name(stream);
        check.links(stream);
        check.work(stream);
        check.locks(stream);
        check.place(stream);
    }
    if plan
        .defaults
        .role
        .as_deref()
        .is_some_and(|role| role != "auto" && roles.get(role).is_none())
    {
        check.unknown_role("defaults", plan.defaults.role.as_deref().unwrap_or_default());
    }
    match Graph::new(plan) {
        Err(circles) => {
            circles.iter().for_each(|circle| check.circle(circle));
            check.templates(None);
        }
        Ok(graph) => {
            check.templates(Some(&graph));
            check.shared_worktrees(&graph);
        }
    }
    if let Some(wait) = &plan.wait {
        check.wait(wait);
    }
    check.problems
}

struct Check<'a> {
    plan: &'a Plan,
    lines: &'a Lines,
    roles: &'a Roles,
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// Tells what is wrong with a key; the line is its own, or that of what it stands in.
    fn tell(&mut self, place: &str, what: String) {
        let mut at = Some(place);
        let line = loop {
            let Some(known) = at else { break 0 };
            if let Some(&line) = self.lines.0.get(known) {
                break line;
            }
            at = known.rsplit_once('.').map(|(outer, _)| outer);
        };
        self.problems.push(Problem {
            line,
            place: place.to_owned(),
            what,
        });
    }

    fn key(&mut self, stream: &Stream, key: &str, what: String) {
        self.tell(&format!("stream.{}.{key}", stream.name), what);
    }

    fn name(&mut self, stream: &Stream) {
        let place = format!("stream.{}", stream.name);
        if let Err(error) = Name::new(&stream.name) {
            self.tell(&place, error.to_string());
        } else if stream.name.starts_with('-') {
            self.tell(
                &place,
                "it would be taken for an option: begin it with a letter".to_owned(),
            );
        } else if stream
            .name
            .split_once('/')
            .is_some_and(|(first, _)| RESERVED.contains(&first))
        {
            self.tell(
                &place,
                "a run folder keeps that name for itself: choose another".to_owned(),
            );
        }
    }

    /// The names of other streams.
    fn links(&mut self, stream: &Stream) {
        for (at, name) in stream.after.iter().enumerate() {
            if *name == stream.name {
                self.key(
                    stream,
                    "after",
                    "a stream cannot be after itself: take it out".to_owned(),
                );
            } else if stream.after[..at].contains(name) {
                self.key(stream, "after", format!("'{name}' stands there twice: take one out"));
            } else {
                self.known(stream, "after", name);
            }
        }
        let Some(whose) = &stream.instead else { return };
        if *whose == stream.name {
            self.key(
                stream,
                "instead",
                "a stream cannot stand in for itself: take it out".to_owned(),
            );
            return;
        }
        self.known(stream, "instead", whose);
        if stream.when != When::Success {
            let what = "a stream with instead runs when that one fails: take `when` out".to_owned();
            self.key(stream, "when", what);
        }
        let mut earlier = self.plan.streams.iter().take_while(|other| other.name != stream.name);
        if let Some(other) = earlier.find(|other| other.instead.as_ref() == Some(whose)) {
            let what = format!(
                "{0} stands in for '{whose}' already: write instead = \"{0}\"",
                other.name
            );
            self.key(stream, "instead", what);
        }
    }

    fn known(&mut self, stream: &Stream, key: &str, name: &str) {
        if self.plan.get(name).is_none() {
            self.key(stream, key, self.no_stream(name));
        }
    }

    fn no_stream(&self, name: &str) -> String {
        match near(name, self.plan.streams.iter().map(|stream| stream.name.as_str())) {
            Some(near) => format!("there is no stream '{name}'; is it '{near}'?"),
            None => format!("there is no stream '{name}': add [stream.{name}], or take it out"),
        }
    }

    /// Whether there is anything to do, and somebody to do it.
    fn work(&mut self, stream: &Stream) {
        let settings = self.plan.settings(stream);
        if stream.run.is_empty() && self.plan.asks(stream).is_none() && !replays(&settings) {
            let place = format!("stream.{}", stream.name);
            self.tell(
                &place,
                "nothing to do: give it a prompt (or the plan one), or run = [\"PROGRAM\", ...]".to_owned(),
            );
        }
        if stream.prompt.as_deref().is_some_and(|prompt| prompt.trim().is_empty()) {
            self.key(stream, "prompt", "it is empty: say what to ask".to_owned());
        }
        if !stream.run.is_empty() && settings.fallback.is_some_and(|list| !list.is_empty()) && stream.prompt.is_none() {
            let what = "another agent has to be asked something: give the stream a prompt as well".to_owned();
            self.key(stream, "fallback", what);
        }
        if let Some(role) = settings
            .role
            .filter(|role| role != "auto" && self.roles.get(role).is_none())
            && stream.settings.role.is_some()
        {
            self.unknown_role(&format!("stream.{}", stream.name), &role);
        }
        if stream.done.zip(stream.tasks).is_some_and(|(done, tasks)| done > tasks) {
            self.key(stream, "done", "more than there are tasks".to_owned());
        }
        if stream.done.is_some() && stream.tasks.is_none() {
            self.key(stream, "done", "of how many? give tasks as well".to_owned());
        }
    }

    fn unknown_role(&mut self, place: &str, role: &str) {
        let known = near(role, self.roles.iter().map(|(name, _)| name));
        let hint = known.map_or_else(
            || "cl-spawn --roles lists them".to_owned(),
            |near| format!("is it '{near}'?"),
        );
        self.tell(&format!("{place}.role"), format!("there is no role '{role}'; {hint}"));
    }

    /// Locks are taken in the order of their names, so two streams cannot wait for each other; a stream for itself can.
    fn locks(&mut self, stream: &Stream) {
        for (at, lock) in stream.locks.iter().enumerate() {
            if Name::new(lock).is_err() || lock.contains('/') {
                let what = format!("'{lock}' is no name of a lock: use letters, digits, '_', '.' and '-'");
                self.key(stream, "locks", what);
            } else if stream.locks[..at].contains(lock) {
                let what = format!("'{lock}' stands there twice, and nobody can take it twice: take one out");
                self.key(stream, "locks", what);
            }
        }
        let program = stream.run.first().and_then(|program| program.rsplit('/').next());
        if program == Some("cl-run") && !stream.locks.is_empty() {
            let what = "held while another plan runs that may want the same they block each other for ever: take them \
                        only in that plan";
            self.key(stream, "locks", what.to_owned());
        }
    }

    /// Where it runs.
    fn place(&mut self, stream: &Stream) {
        let settings = self.plan.settings(stream);
        let has_worktree = matches!(settings.worktree, Some(Worktree::Own | Worktree::At(_)));
        if has_worktree && settings.cwd.is_some() {
            self.key(
                stream,
                "cwd",
                "a stream runs in its worktree: give one of them".to_owned(),
            );
        }
        match &stream.branch {
            Some(_) if !has_worktree => {
                self.key(
                    stream,
                    "branch",
                    "of which worktree? give worktree = true as well".to_owned(),
                );
            }
            Some(branch) if !is_branch(branch) => {
                self.key(
                    stream,
                    "branch",
                    format!("'{branch}' is no name of a branch; see git check-ref-format"),
                );
            }
            _ => {}
        }
    }

    fn circle(&mut self, circle: &[usize]) {
        let name = |at: usize| self.plan.streams[at].name.as_str();
        let mut path = name(circle[0]).to_owned();
        let next = |at: usize| circle[(at + 1) % circle.len()];
        for (at, &from) in circle.iter().enumerate() {
            let why = match Graph::edge(self.plan, from, next(at)) {
                Edge::After => "",
                Edge::Phase => " (by its phase)",
                Edge::Instead => " (by instead)",
            };
            path += &format!(" -> {}{why}", name(next(at)));
        }
        // The circle of one is told where its link is.
        if circle.len() == 1 {
            return;
        }
        let named = circle
            .iter()
            .enumerate()
            .find(|&(at, &from)| Graph::edge(self.plan, from, next(at)) == Edge::After);
        let place = match named {
            Some((at, _)) => format!("stream.{}.after", name(next(at))),
            None => format!("stream.{}", name(circle[0])),
        };
        self.tell(
            &place,
            format!("a circle, in which nobody can begin: {path}; take one of these out"),
        );
    }

    /// Two streams at once in one worktree would write over each other.
    fn shared_worktrees(&mut self, graph: &Graph) {
        let plan = self.plan;
        let mut users: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, stream) in plan.streams.iter().enumerate() {
            if let Some(Worktree::At(path)) = plan.settings(stream).worktree {
                users.entry(path.trim_end_matches('/').to_owned()).or_default().push(at);
            }
        }
        for (path, users) in users {
            for (place, &later) in users.iter().enumerate() {
                let (streams, locks) = (&plan.streams, &plan.streams[later].locks);
                let at_once = |&&earlier: &&usize| {
                    let locked = streams[earlier].locks.iter().any(|lock| locks.contains(lock));
                    !locked && !graph.leads(earlier, later) && !graph.leads(later, earlier)
                };
                if let Some(&earlier) = users[..place].iter().find(at_once) {
                    let what = format!(
                        "{} may run in {path} at the same time: let one be after the other, or give both the same lock",
                        streams[earlier].name
                    );
                    self.key(&streams[later], "worktree", what);
                }
            }
        }
    }

    fn wait(&mut self, wait: &Wait) {
        for (at, name) in wait.need.iter().enumerate() {
            match self.plan.get(name) {
                None => self.tell("wait.need", self.no_stream(name)),
                Some(_) if wait.need[..at].contains(name) => {
                    self.tell("wait.need", format!("'{name}' stands there twice: take one out"));
                }
                Some(_)
                    if self
                        .plan
                        .streams
                        .iter()
                        .any(|other| other.instead.as_ref() == Some(name)) =>
                {
                    let what = format!("another stream may stand in for '{name}': leave it out, or leave [wait] out");
                    self.tell("wait.need", what);
                }
                Some(_) => {}
            }
        }
        if wait.first && (wait.any.is_some() || !wait.need.is_empty()) {
            self.tell(
                "wait.first",
                "the first alone is enough: take need and any out, or first".to_owned(),
            );
        }
        if wait.any == Some(0) {
            self.tell(
                "wait.any",
                "none is enough at once: write 1 or more, or take it out".to_owned(),
            );
        }
        let others = self.plan.streams.len().saturating_sub(wait.need.len());
        if wait.any.is_some_and(|any| any as usize > others) {
            self.tell(
                "wait.any",
                format!("of those that are not needed by name there are only {others}"),
            );
        }
        if wait.grace.is_some() && (wait.any.is_none() || wait.need.is_empty()) {
            self.tell(
                "wait.grace",
                "it is for `any` once all in `need` are there: give both, or take it out".to_owned(),
            );
        }
    }
}

/// A recording needs no prompt, for it was asked already.
fn replays(settings: &Settings) -> bool {
    settings
        .agent
        .as_deref()
        .is_some_and(|agent| agent.starts_with("replay:"))
}

/// What git takes as a branch, in short.
fn is_branch(name: &str) -> bool {
    let bad = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !name.contains(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && name.split('/').all(part)
}
