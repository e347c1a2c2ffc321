//! A run as it goes: who starts next, who will not run any more, and whether the whole is enough.
//!
//! It is told how streams begin and end, and knows neither clocks nor processes.

use super::{Decision, Fate, Graph, Plan, When};
use crate::line::Outcome;
use std::collections::{BTreeSet, VecDeque};

/// A plan on its way.
#[derive(Debug, Clone)]
pub struct Schedule {
    graph: Graph,
    fates: Vec<Fate>,
    /// The place of each stream in the order in which they are started.
    rank: Vec<usize>,
    /// Who may start, in that order.
    ready: BTreeSet<(usize, usize)>,
    /// How many have not come to an end.
    open: usize,
    /// Who is to be asked again.
    asked: VecDeque<usize>,
    /// How those ended that did not end well.
    outcomes: Vec<Option<Outcome>>,
    keep_going: bool,
    /// The stream whose failure lets nothing else begin.
    halted: Option<usize>,
}

/// A stream that will not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// For another one's end; why, in a few words.
    Skipped(usize, String),
    /// What it was for did not come about.
    Unneeded(usize),
}

/// Whether the whole is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not yet.
    Waiting,
    /// All that is needed by name is there, not yet the others; whoever asks decides how long to wait for these.
    Needed,
    /// It is.
    Met,
    /// It can no longer be; why, in a few words.
    Unmet(String),
}

impl Schedule {
    /// A plan of which nothing has begun. `ranks` is the order in which streams are started where not all can be; with
    /// `keep_going` a failure stops only what builds on it.
    pub fn new(graph: Graph, ranks: &[usize], keep_going: bool) -> Self {
        let count = ranks.len();
        let mut rank = vec![0; count];
        for (place, &at) in ranks.iter().enumerate() {
            rank[at] = place;
        }
        Self {
            asked: graph.order().iter().copied().collect(),
            graph,
            fates: vec![Fate::Waiting; count],
            rank,
            ready: BTreeSet::new(),
            open: count,
            outcomes: vec![None; count],
            keep_going,
            halted: None,
        }
    }

    /// The same run with a plan that has grown: streams are added behind those that were there.
    #[must_use]
    pub fn grown(&self, graph: Graph, ranks: &[usize]) -> Self {
        let mut grown = Self::new(graph, ranks, self.keep_going);
        for (at, &fate) in self.fates.iter().enumerate() {
            (grown.fates[at], grown.outcomes[at]) = (fate, self.outcomes[at]);
        }
        grown.open = grown.fates.iter().filter(|fate| is_open(**fate)).count();
        grown.asked.retain(|&at| grown.fates[at] == Fate::Waiting);
        grown.halted = self.halted;
        grown
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How far each stream is.
    pub fn fates(&self) -> &[Fate] {
        &self.fates
    }

    /// How many streams run.
    pub fn running(&self) -> usize {
        self.fates.iter().filter(|fate| **fate == Fate::Running).count()
    }

    /// Finds out who may start, and who will not run any more.
    pub fn advance(&mut self, plan: &Plan) -> Vec<Settled> {
        let mut settled = Vec::new();
        while let Some(at) = self.asked.pop_front() {
            if self.fates[at] != Fate::Waiting {
                continue;
            }
            match self.decide(plan, at) {
                Decision::Wait => {}
                Decision::Start => {
                    self.ready.insert((self.rank[at], at));
                }
                Decision::Skip(because) => {
                    self.ready.remove(&(self.rank[at], at));
                    self.turn(at, Fate::Skipped);
                    settled.push(Settled::Skipped(at, because));
                }
                Decision::Unneeded => {
                    self.turn(at, Fate::Unneeded);
                    settled.push(Settled::Unneeded(at));
                }
            }
        }
        settled
    }

    /// Who may start, the first to be started first.
    pub fn ready(&self) -> impl Iterator<Item = usize> {
        self.ready.iter().map(|&(_, at)| at)
    }

    /// A stream is about to start.
    pub fn began(&mut self, at: usize) {
        self.ready.remove(&(self.rank[at], at));
        self.fates[at] = Fate::Running;
    }

    /// A stream has ended, or need not run because it ended so before.
    pub fn ended(&mut self, plan: &Plan, at: usize, outcome: Outcome) {
        self.ready.remove(&(self.rank[at], at));
        if outcome == Outcome::Success {
            self.turn(at, Fate::Well);
            return;
        }
        self.outcomes[at] = Some(outcome);
        self.turn(at, Fate::Failed);
        // With a policy of its own the plan says itself what is a failure.
        let matters = !plan.streams[at].optional && self.graph.stand_in(at).is_none() && !has_policy(plan);
        if matters && !self.keep_going && self.halted.is_none() {
            self.halted = Some(at);
            self.asked.extend(self.ready.iter().map(|&(_, at)| at));
            let waiting = (0..self.fates.len()).filter(|&at| self.fates[at] == Fate::Waiting);
            self.asked.extend(waiting);
        }
    }

    /// The whole has come to its end before the streams have: who has not begun is not going to.
    pub fn over(&mut self) {
        self.asked.clear();
        self.ready.clear();
    }

    /// Whether the whole is enough.
    pub fn standing(&self, plan: &Plan) -> Standing {
        debug_assert_eq!(self.open, self.fates.iter().filter(|fate| is_open(**fate)).count());
        // Asked at each step; mostly there are many.
        if self.open > 0 && !has_policy(plan) {
            return Standing::Waiting;
        }
        standing(plan, &self.graph, &self.fates, &self.outcomes)
    }

    fn decide(&self, plan: &Plan, at: usize) -> Decision {
        let decision = self.graph.decide(plan, at, &self.fates);
        let begins = plan.streams[at].when == When::Success && self.graph.instead(at).is_none();
        match self.halted {
            Some(halted) if begins && matches!(decision, Decision::Start | Decision::Wait) => {
                Decision::Skip(format!("{} did not end well", plan.streams[halted].name))
            }
            _ => decision,
        }
    }

    fn turn(&mut self, at: usize, fate: Fate) {
        self.open -= usize::from(is_open(self.fates[at]));
        self.fates[at] = fate;
        self.asked.extend(self.graph.behind(at));
    }
}

fn is_open(fate: Fate) -> bool {
    matches!(fate, Fate::Waiting | Fate::Running)
}

/// Whether the whole is enough, where the streams are so far; `outcomes` is how those ended that did not end well.
pub(super) fn standing(plan: &Plan, graph: &Graph, fates: &[Fate], outcomes: &[Option<Outcome>]) -> Standing {
    let Some(wait) = plan.wait.as_ref().filter(|_| has_policy(plan)) else {
        if fates.iter().copied().any(is_open) {
            return Standing::Waiting;
        }
        return match graph.unwell(fates).as_slice() {
            [] => Standing::Met,
            // Those that were skipped were so for another one's end.
            unwell => {
                let failed = unwell.iter().find(|&&at| fates[at] == Fate::Failed);
                Standing::Unmet(why(plan, fates, outcomes, *failed.unwrap_or(&unwell[0])))
            }
        };
    };
    let needed = |at: usize| wait.need.contains(&plan.streams[at].name);
    let all = 0..fates.len();
    let bad = |&at: &usize| !is_open(fates[at]) && fates[at] != Fate::Well;
    if let Some(at) = all.clone().filter(|&at| needed(at)).find(bad) {
        return Standing::Unmet(why(plan, fates, outcomes, at));
    }
    let missing = all.clone().any(|at| needed(at) && fates[at] != Fate::Well);
    let enough = if wait.first { 1 } else { wait.any.unwrap_or(0) as usize };
    let count = |is: &dyn Fn(Fate) -> bool| all.clone().filter(|&at| !needed(at) && is(fates[at])).count();
    let well = count(&|fate| fate == Fate::Well);
    let to_come = count(&is_open);
    match (missing, wait.need.is_empty()) {
        (true, _) => Standing::Waiting,
        (false, _) if well >= enough => Standing::Met,
        (false, true) if well + to_come >= enough => Standing::Waiting,
        (false, false) if well + to_come >= enough => Standing::Needed,
        // What is needed is there, and the others cannot come any more: there is nothing to wait for.
        (false, false) => Standing::Met,
        (false, true) if enough == 1 => Standing::Unmet("none ended well".to_owned()),
        (false, true) => Standing::Unmet(format!("only {} of {enough} can still end well", well + to_come)),
    }
}

/// Why a stream is none that ended well, in a few words.
pub(super) fn why(plan: &Plan, fates: &[Fate], outcomes: &[Option<Outcome>], at: usize) -> String {
    let name = &plan.streams[at].name;
    match (fates[at], outcomes[at]) {
        (Fate::Failed, Some(outcome)) => format!("{name} ended as {}", outcome.as_str()),
        (Fate::Skipped, _) => format!("{name} was skipped"),
        _ => format!("{name} did not come about"),
    }
}

/// Whether the plan says itself which of its streams are enough.
pub(super) fn has_policy(plan: &Plan) -> bool {
    plan.wait
        .as_ref()
        .is_some_and(|wait| !wait.need.is_empty() || wait.any.is_some() || wait.first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Format;
    use crate::role::Roles;

    fn plan(text: &str) -> Plan {
        Plan::read(&format!("name = 'p'\n{text}"), Format::Toml, &Roles::builtin()).unwrap()
    }

    fn schedule(plan: &Plan, keep_going: bool) -> Schedule {
        let graph = Graph::new(plan).unwrap();
        let ranks = graph.ranks(&vec![1; plan.streams.len()], &vec![1.0; plan.streams.len()]);
        Schedule::new(graph, &ranks, keep_going)
    }

    fn ready(schedule: &Schedule) -> Vec<usize> {
        schedule.ready().collect()
    }

    /// Runs a plan whose streams end as `ends` says, one at a time; who ran.
    fn play(schedule: &mut Schedule, plan: &Plan, ends: impl Fn(&str) -> Outcome) -> Vec<String> {
        let mut ran = Vec::new();
        loop {
            schedule.advance(plan);
            let Some(at) = schedule.ready().next() else { return ran };
            schedule.began(at);
            let name = plan.streams[at].name.clone();
            schedule.ended(plan, at, ends(&name));
            ran.push(name);
        }
    }

    fn failing(names: &'static [&str]) -> impl Fn(&str) -> Outcome {
        move |name| {
            if names.contains(&name) {
                Outcome::Failed
            } else {
                Outcome::Success
            }
        }
    }

    const GRAPH: &str = "[stream.bad]\nrun=['x']\n[stream.good]\nrun=['x']\n[stream.needs]\nafter=['bad']\nrun=['x']\n\
        [stream.mend]\nafter=['bad']\nwhen='failure'\nrun=['x']\n[stream.tidy]\nafter=['bad','good']\nwhen='always'\nrun=['x']\n\
        [stream.rest]\nafter=['good','tidy']\nrun=['x']\n";

    #[test]
    fn a_failure_stops_what_builds_on_it_or_all() {
        let plan = plan(GRAPH);
        let mut all = schedule(&plan, true);
        assert_eq!(
            play(&mut all, &plan, failing(&["bad"])),
            ["bad", "good", "tidy", "mend", "rest"]
        );
        assert_eq!(all.standing(&plan), Standing::Unmet("bad ended as failed".to_owned()));
        assert_eq!(all.fates()[2], Fate::Skipped);
        let mut first = schedule(&plan, false);
        // `tidy` runs always, once it is settled that `good` does not.
        assert_eq!(play(&mut first, &plan, failing(&["bad"])), ["bad", "tidy", "mend"]);
        assert_eq!(schedule(&plan, false).standing(&plan), Standing::Waiting);
        let mut well = schedule(&plan, false);
        play(&mut well, &plan, failing(&[]));
        assert_eq!(well.standing(&plan), Standing::Met);
    }

    #[test]
    fn one_stands_in() {
        let plan =
            plan("[stream.a]\nrun=['x']\n[stream.b]\ninstead='a'\nrun=['x']\n[stream.c]\nafter=['a']\nrun=['x']\n");
        for (bad, ran) in [
            (&["a"][..], &["a", "b", "c"][..]),
            (&[], &["a", "c"]),
            (&["a", "b"], &["a", "b"]),
        ] {
            let mut run = schedule(&plan, false);
            let played = play(&mut run, &plan, |name| {
                if bad.contains(&name) {
                    Outcome::Failed
                } else {
                    Outcome::Success
                }
            });
            assert_eq!(played, ran);
            assert_eq!(run.standing(&plan) == Standing::Met, bad.len() < 2);
        }
    }

    #[test]
    fn enough_is_what_the_plan_says() {
        let streams = "[stream.a]\nrun=['x']\n[stream.b]\nrun=['x']\n[stream.c]\nrun=['x']\n";
        let standing = |wait: &str, ends: &[(usize, Outcome)]| {
            let plan = plan(&format!("{streams}[wait]\n{wait}\n"));
            let mut run = schedule(&plan, false);
            run.advance(&plan);
            for &(at, outcome) in ends {
                run.ended(&plan, at, outcome);
            }
            assert_eq!(ready(&run).len(), 3 - ends.len(), "nobody is held back");
            run.standing(&plan)
        };
        let (well, bad) = (Outcome::Success, Outcome::Failed);
        let need = "need=['a']\nany=1\ngrace='1s'";
        assert_eq!(standing(need, &[(1, well)]), Standing::Waiting);
        assert_eq!(standing(need, &[(0, well)]), Standing::Needed);
        assert_eq!(standing(need, &[(0, well), (1, bad), (2, well)]), Standing::Met);
        assert_eq!(standing(need, &[(0, well), (1, bad), (2, bad)]), Standing::Met);
        assert_eq!(
            standing(need, &[(0, bad)]),
            Standing::Unmet("a ended as failed".to_owned())
        );
        assert_eq!(standing("first=true", &[(0, bad), (1, well)]), Standing::Met);
        assert_eq!(
            standing("first=true", &[(0, bad), (1, bad), (2, bad)]),
            Standing::Unmet("none ended well".to_owned())
        );
        assert_eq!(
            standing("any=2", &[(0, bad), (1, bad)]),
            Standing::Unmet("only 1 of 2 can still end well".to_owned())
        );
        assert_eq!(standing("need=['a']", &[(0, well)]), Standing::Met);
    }
}
