//! How far a plan's run is: what its plan, its journal and its streams tell together.
//!
//! `cl-plan status`, cl-progress and cl-wait ask this one picture, so they cannot disagree.

use super::journal::Told;
use super::schedule::{has_policy, standing, why};
use super::{Act, Decision, Fate, Graph, Journal, Phase, Plan, Standing};
use crate::line::Outcome;
use std::collections::HashMap;
use std::sync::Arc;

/// So many streams are named that another one waits for; the others are counted.
const NAMED: usize = 3;

/// Where a stream of a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// So many must end first, of which these are the first few.
    After(Vec<usize>, usize),
    /// It waits for the lock of this name, which that stream holds; or, maybe, another run.
    Lock(String, Option<usize>),
    /// As many run as may at once.
    Job,
    /// Nothing is in its way.
    Ready,
    /// It runs.
    Running,
    /// It ended well.
    Well,
    /// It ended otherwise.
    Failed,
    /// It will not run, for another one's end; why.
    Skipped(String),
    /// What it was for did not come about.
    Unneeded,
    /// The run was over before it began.
    Unbegun,
    /// It ran when the run was cut short.
    Cut,
}

/// Where a run stands as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// No journal tells.
    Unknown,
    /// It goes on.
    Going,
    /// cl-run is gone, and all that it had started, without a word of the run's end.
    Cut,
    /// It is over.
    Over {
        /// `met`, `unmet`, `timeout` or `cancelled`.
        verdict: String,
        /// Why it is not `met`.
        because: String,
    },
}

/// A run of a plan as it stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Who comes before whom.
    pub graph: Arc<Graph>,
    /// How far each stream is.
    pub fates: Vec<Fate>,
    /// Where each stream stands.
    pub conditions: Vec<Condition>,
    /// Where the whole stands.
    pub stage: Stage,
    /// When the run began, or went on; Unix seconds.
    pub began: f64,
    outcomes: Vec<Option<Outcome>>,
}

/// Streams that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// A phase, or a level.
    pub title: String,
    /// Its streams.
    pub members: Vec<usize>,
}

impl Status {
    /// Puts together what is told. `lives` says whether anything of the run is there still. Where no journal tells, `ended`
    /// does: of a stream that has appeared how it ended, if it has.
    pub fn new(
        plan: Arc<Plan>,
        graph: Arc<Graph>,
        journal: &Journal,
        lives: bool,
        ended: impl Fn(&str) -> Option<Option<Outcome>>,
    ) -> Self {
        let begun = journal.begun();
        let stage = match (begun, journal.finished()) {
            (None, _) => Stage::Unknown,
            (_, Some((verdict, because))) => Stage::Over {
                verdict: verdict.to_owned(),
                because: because.to_owned(),
            },
            (_, None) if lives => Stage::Going,
            (_, None) => Stage::Cut,
        };
        let told = if begun.is_some() {
            let mut all = journal.told(&plan);
            // What is not run any more stays as it was.
            if stage != Stage::Going || journal.undoing() {
                let kept = all.iter_mut().filter(|told| told.before && told.fate == Fate::Waiting);
                kept.for_each(|told| *told = Told::ended(Outcome::Success));
            }
            all
        } else {
            let told = |outcome: Option<Outcome>| outcome.map_or(Told::from(Fate::Running), Told::ended);
            let streams = plan.streams.iter();
            streams
                .map(|stream| ended(&stream.name).map_or_else(Told::default, told))
                .collect()
        };
        let jobs = match begun {
            Some((_, Act::Begin { jobs, .. })) => *jobs,
            _ => 0,
        };
        let mut status = Self {
            fates: told.iter().map(|told| told.fate).collect(),
            outcomes: told.iter().map(|told| told.outcome).collect(),
            conditions: Vec::new(),
            began: begun.map_or(0.0, |(ts, _)| ts),
            plan,
            graph,
            stage,
        };
        let skipped: Vec<String> = told.into_iter().map(|told| told.because).collect();
        status.settle(skipped, jobs);
        status
    }

    /// Finds out where each stream stands. Who cannot start any more need not be told by anybody.
    fn settle(&mut self, skipped: Vec<String>, jobs: usize) {
        let goes_on = matches!(self.stage, Stage::Unknown | Stage::Going);
        let mut skipped = skipped;
        let mut ready = vec![false; self.fates.len()];
        for &at in self.graph.order() {
            if self.fates[at] == Fate::Waiting {
                match self.graph.decide(&self.plan, at, &self.fates) {
                    Decision::Skip(because) => (self.fates[at], skipped[at]) = (Fate::Skipped, because),
                    Decision::Unneeded => self.fates[at] = Fate::Unneeded,
                    Decision::Start => ready[at] = true,
                    Decision::Wait => {}
                }
            }
        }
        let running = self.named(Fate::Running);
        let mut holders: HashMap<&str, usize> = HashMap::new();
        for &at in &running {
            for lock in &self.plan.streams[at].locks {
                holders.entry(lock).or_insert(at);
            }
        }
        let full = jobs > 0 && running.len() >= jobs;
        let conditions = (0..self.fates.len())
            .zip(skipped)
            .map(|(at, skipped)| match self.fates[at] {
                Fate::Waiting if !goes_on => Condition::Unbegun,
                Fate::Waiting if !ready[at] => self.after(at),
                Fate::Waiting => self.held_up(at, full, &holders),
                Fate::Running if goes_on => Condition::Running,
                Fate::Running => Condition::Cut,
                Fate::Well => Condition::Well,
                Fate::Failed => Condition::Failed,
                Fate::Skipped => Condition::Skipped(skipped),
                Fate::Unneeded => Condition::Unneeded,
            })
            .collect();
        self.conditions = conditions;
    }

    /// What keeps a stream that may start; `holders` tells who has which lock.
    fn held_up(&self, at: usize, full: bool, holders: &HashMap<&str, usize>) -> Condition {
        let locks = &self.plan.streams[at].locks;
        let held = locks.iter().find_map(|lock| Some((lock, *holders.get(lock.as_str())?)));
        match (held, locks.first()) {
            (Some((lock, holder)), _) => Condition::Lock(lock.clone(), Some(holder)),
            _ if full => Condition::Job,
            (None, Some(lock)) => Condition::Lock(lock.clone(), None),
            (None, None) => Condition::Ready,
        }
    }

    /// The streams of that fate.
    pub fn named(&self, fate: Fate) -> Vec<usize> {
        (0..self.fates.len()).filter(|&at| self.fates[at] == fate).collect()
    }

    /// Who has to end before this one may start, and has not.
    fn after(&self, at: usize) -> Condition {
        let open = |other: &usize| matches!(self.fates[*other], Fate::Waiting | Fate::Running);
        let open = || self.graph.before(at).iter().copied().filter(open);
        Condition::After(open().take(NAMED).collect(), open().count())
    }

    /// What a stream waits for, or why it does not run: in a few words, empty where there is nothing to say.
    pub fn why(&self, at: usize) -> String {
        match &self.conditions[at] {
            Condition::After(first, count) => format!("after {}", self.names(first, *count)),
            Condition::Lock(lock, None) => format!("for the lock {lock}"),
            Condition::Lock(lock, Some(holder)) => {
                format!("for the lock {lock}, which {} holds", self.plan.streams[*holder].name)
            }
            Condition::Job => "for another one's end: no more may run at once".to_owned(),
            Condition::Ready => "about to start".to_owned(),
            Condition::Skipped(because) => because.clone(),
            Condition::Unbegun if self.stage == Stage::Cut => "it had not begun".to_owned(),
            Condition::Unbegun => "the run was over before it began".to_owned(),
            Condition::Running | Condition::Well | Condition::Failed | Condition::Unneeded | Condition::Cut => {
                String::new()
            }
        }
    }

    /// Some streams by their names: the first of them, and how many others there are of so many.
    pub fn names(&self, some: &[usize], count: usize) -> String {
        let names = some.iter().take(NAMED).map(|&at| self.plan.streams[at].name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        match count.saturating_sub(NAMED) {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    }

    /// The streams of each phase, those without one by their level.
    pub fn groups(&self) -> Vec<Group> {
        groups(&self.plan, &self.graph)
    }

    /// How many of these are done: well, or not needed, or another one stood in for them.
    pub fn done(&self, members: &[usize]) -> usize {
        self.settled(members, |fate| matches!(fate, Fate::Well | Fate::Unneeded))
    }

    /// How many of these did not come about.
    pub fn bad(&self, members: &[usize]) -> usize {
        self.settled(members, |fate| matches!(fate, Fate::Failed | Fate::Skipped))
    }

    fn settled(&self, members: &[usize], is: impl Fn(Fate) -> bool) -> usize {
        let is = |at: &&usize| is(self.graph.settled(**at, &self.fates));
        members.iter().filter(is).count()
    }

    /// Whether the whole is enough, as the plan says it: known as soon as it cannot change. Where the run is over, its own
    /// word counts.
    pub fn standing(&self) -> Standing {
        match &self.stage {
            Stage::Over { verdict, .. } if verdict == "met" => return Standing::Met,
            Stage::Over { verdict, because } if because.is_empty() => return Standing::Unmet(verdict.clone()),
            Stage::Over { because, .. } => return Standing::Unmet(because.clone()),
            Stage::Unknown | Stage::Going | Stage::Cut => {}
        }
        match standing(&self.plan, &self.graph, &self.fates, &self.outcomes) {
            Standing::Waiting | Standing::Needed if self.stage == Stage::Cut => {
                Standing::Unmet("the run was cut short".to_owned())
            }
            Standing::Waiting if !has_policy(&self.plan) => self.lost().map_or(Standing::Waiting, |at| {
                Standing::Unmet(why(&self.plan, &self.fates, &self.outcomes, at))
            }),
            standing => standing,
        }
    }

    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over { .. } | Stage::Cut)
    }

    /// A stream that had to end well and did not, where nobody can stand in for it any more.
    fn lost(&self) -> Option<usize> {
        let mut unwell = self.graph.unwell(&self.fates).into_iter();
        unwell.find(|&at| {
            let mut chain = std::iter::successors(Some(at), |&next| self.graph.stand_in(next)).take(self.fates.len());
            self.fates[at] == Fate::Failed && chain.all(|at| !matches!(self.fates[at], Fate::Waiting | Fate::Running))
        })
    }
}

/// The streams of each phase, those without one by their level.
pub fn groups(plan: &Plan, graph: &Graph) -> Vec<Group> {
    let mut all = Vec::new();
    for phase in Phase::ALL {
        let members = (0..plan.streams.len()).filter(|&at| plan.streams[at].phase == Some(*phase));
        all.push(Group {
            title: phase.as_str().to_owned(),
            members: members.collect(),
        });
    }
    for (level, members) in (1..).zip(graph.levels()) {
        let members = members.into_iter().filter(|&at| plan.streams[at].phase.is_none());
        all.push(Group {
            title: format!("level {level}"),
            members: members.collect(),
        });
    }
    all.retain(|group| !group.members.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Entry, Format};

    const PLAN: &str = "name = 'p'\n[stream.schema]\nphase = 'foundation'\nrun = ['x']\n\
        [stream.api]\nphase = 'parallel'\nlocks = ['db']\nrun = ['x']\n\
        [stream.data]\nphase = 'parallel'\nlocks = ['db']\nrun = ['x']\n\
        [stream.page]\nphase = 'parallel'\nrun = ['x']\n[stream.spare]\ninstead = 'page'\nrun = ['x']\n\
        [stream.all]\nphase = 'integration'\nrun = ['x']\n";

    fn status(plan: &str, acts: &[Act], lives: bool) -> Status {
        let plan = Plan::recall(plan, Format::Toml).unwrap();
        let graph = Graph::new(&plan).unwrap();
        let entries = acts.iter().map(|act| Entry {
            ts: 1.0,
            act: act.clone(),
        });
        let journal = Journal {
            entries: entries.collect(),
            unread: 0,
        };
        Status::new(Arc::new(plan), Arc::new(graph), &journal, lives, |_| None)
    }

    fn begin(jobs: usize) -> Act {
        Act::Begin {
            v: 1,
            plan: "p".to_owned(),
            pid: 1,
            cwd: String::new(),
            jobs,
        }
    }

    fn start(stream: &str) -> Act {
        Act::Start {
            stream: stream.to_owned(),
            key: String::new(),
        }
    }

    fn end(stream: &str, outcome: Outcome) -> Act {
        Act::End {
            stream: stream.to_owned(),
            outcome,
        }
    }

    fn told(status: &Status) -> Vec<String> {
        (0..status.fates.len()).map(|at| status.why(at)).collect()
    }

    #[test]
    fn who_waits_for_whom() {
        let first = status(PLAN, &[begin(2)], true);
        assert_eq!(first.stage, Stage::Going);
        assert_eq!(
            told(&first),
            [
                "about to start",
                "after schema",
                "after schema",
                "after schema",
                "after page",
                "after schema, api, data and 2 more"
            ]
        );
        let acts = [begin(2), start("schema"), end("schema", Outcome::Success), start("api")];
        let next = status(PLAN, &acts, true);
        assert_eq!(next.conditions[0..2], [Condition::Well, Condition::Running]);
        assert_eq!(next.why(2), "for the lock db, which api holds");
        assert_eq!(next.conditions[3], Condition::Ready);
        let full = status(PLAN, &[&acts[..], &[start("page")]].concat(), true);
        assert_eq!(full.conditions[2], Condition::Lock("db".to_owned(), Some(1)));
        let full = status(PLAN, &[&[begin(1)], &acts[1..]].concat(), true);
        assert_eq!(full.conditions[3], Condition::Job);
        let groups = full.groups();
        let done: Vec<(&str, usize)> = groups
            .iter()
            .map(|group| (group.title.as_str(), full.done(&group.members)))
            .collect();
        assert_eq!(
            done,
            [("foundation", 1), ("parallel", 0), ("integration", 0), ("level 3", 0)]
        );
    }

    #[test]
    fn each_lock_has_its_own_holder() {
        const LOCKS: usize = 100;
        // Half of them run, each under a lock of its own; the others wait for these locks.
        let mut text = "name = 'p'\n".to_owned();
        for at in 0..2 * LOCKS {
            text += &format!("[stream.s{at}]\nlocks = ['k{}']\nrun = ['x']\n", at % LOCKS);
        }
        let starts = (0..LOCKS).map(|at| start(&format!("s{at}")));
        let acts: Vec<Act> = std::iter::once(begin(0)).chain(starts).collect();
        let status = status(&text, &acts, true);
        let held = (0..LOCKS).map(|at| Condition::Lock(format!("k{at}"), Some(at)));
        assert_eq!(status.conditions[LOCKS..], held.collect::<Vec<_>>());
    }

    #[test]
    fn who_will_not_run() {
        let acts = [begin(9), start("schema"), end("schema", Outcome::Failed)];
        let failed = status(PLAN, &acts, true);
        assert_eq!(failed.why(1), "schema did not end well");
        assert_eq!(failed.fates[5], Fate::Skipped);
        assert_eq!(failed.standing(), Standing::Unmet("schema ended as failed".to_owned()));
        let cut = status(PLAN, &[begin(9), start("schema")], false);
        assert_eq!((&cut.stage, &cut.conditions[0]), (&Stage::Cut, &Condition::Cut));
        assert_eq!(cut.conditions[1], Condition::Unbegun);
        assert_eq!(cut.standing(), Standing::Unmet("the run was cut short".to_owned()));
        let finish = Act::Finish {
            verdict: "timeout".to_owned(),
            because: "late".to_owned(),
        };
        let over = status(PLAN, &[begin(9), finish.clone()], false);
        assert_eq!(over.standing(), Standing::Unmet("late".to_owned()));
        assert_eq!(over.why(1), "the run was over before it began");
        // Whatever its streams have come to, the run's own word counts.
        let well = |at: usize| end(["schema", "api", "data", "page", "all"][at], Outcome::Success);
        let all = (0..5).map(well);
        let over = [begin(9)].into_iter().chain(all).chain([finish.clone()]);
        let over = status(PLAN, &over.collect::<Vec<_>>(), false);
        assert_eq!(over.standing(), Standing::Unmet("late".to_owned()));
        // What goes on is not over, and what failed may run again.
        let again = [&acts[..], &[finish, begin(9)]].concat();
        let again = status(PLAN, &again, true);
        assert_eq!(
            (again.stage.clone(), again.fates[0], again.standing()),
            (Stage::Going, Fate::Waiting, Standing::Waiting)
        );
    }

    /// Whether it is asked the same again is found out when the run comes to it.
    #[test]
    fn what_ended_well_counts_again_once_it_is_kept() {
        let plan = "name = 'p'\n[stream.a]\nrun = ['x']\n[stream.b]\nafter = ['a']\nrun = ['x']\n";
        let well = |stream: &str| [start(stream), end(stream, Outcome::Success)];
        let met = Act::Finish {
            verdict: "met".to_owned(),
            because: String::new(),
        };
        let before = [&[begin(2)][..], &well("a"), &well("b"), &[met]].concat();
        assert_eq!(status(plan, &before, false).standing(), Standing::Met);
        let on = [&before[..], &[begin(2)]].concat();
        let again = status(plan, &on, true);
        assert_eq!(again.standing(), Standing::Waiting);
        assert_eq!(told(&again), ["about to start", "after a"]);
        let keep = |stream: &str| Act::Keep {
            stream: stream.to_owned(),
        };
        let kept = status(plan, &[&on[..], &[keep("a")]].concat(), true);
        assert_eq!(kept.conditions, [Condition::Well, Condition::Ready]);
        let kept = status(plan, &[&on[..], &[keep("a"), keep("b")]].concat(), true);
        assert_eq!(kept.standing(), Standing::Met);
        // Cut short before it came to them, it leaves them as they were.
        assert_eq!(status(plan, &on, false).conditions, [Condition::Well, Condition::Well]);
        let undo = Act::Undo { stream: "b".to_owned() };
        let undoing = status(plan, &[&on[..], &[undo]].concat(), true);
        assert_eq!(undoing.conditions, [Condition::Well, Condition::Well]);
    }

    #[test]
    fn one_that_stands_in_is_waited_for() {
        let begun = [
            begin(9),
            start("schema"),
            end("schema", Outcome::Success),
            start("page"),
        ];
        let failed = [&begun[..], &[end("page", Outcome::Failed)]].concat();
        let waits = status(PLAN, &failed, true);
        assert_eq!(
            (waits.standing(), waits.why(4).as_str()),
            (Standing::Waiting, "about to start")
        );
        let both = [&failed[..], &[start("spare"), end("spare", Outcome::Killed)]].concat();
        let both = status(PLAN, &both, true);
        assert_eq!(both.standing(), Standing::Unmet("page ended as failed".to_owned()));
        let well = [&begun[..], &[end("page", Outcome::Success)]].concat();
        assert_eq!(status(PLAN, &well, true).conditions[4], Condition::Unneeded);
    }
}
