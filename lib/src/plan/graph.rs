//! Who comes before whom, and what that means for who may start.

use super::{Phase, Plan, When};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// More circles than anybody would read at once.
const CIRCLES: usize = 20;

/// Streams by their index in the plan, and the edges between them.
#[derive(Debug, Clone)]
pub struct Graph {
    /// What each names, itself or by its phase.
    after: Vec<Vec<usize>>,
    /// The same with all who stand in: what must have ended first.
    before: Vec<Vec<usize>>,
    behind: Vec<Vec<usize>>,
    order: Vec<usize>,
    levels: Vec<usize>,
    instead: Vec<Option<usize>>,
    stand_in: Vec<Option<usize>>,
    when: Vec<When>,
    optional: Vec<bool>,
}

/// Why one stream comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// It is named in `after`.
    After,
    /// By their phases.
    Phase,
    /// It stands in for it, or for one that is named.
    Instead,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has not begun.
    Waiting,
    /// It runs.
    Running,
    /// It ended well.
    Well,
    /// It ended otherwise.
    Failed,
    /// It cannot run any more, because of another one's end.
    Skipped,
    /// What it was for did not come about.
    Unneeded,
}

/// What is to become of a stream that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Others must end first.
    Wait,
    /// It may start.
    Start,
    /// It will not run; why, in a few words.
    Skip(String),
    /// It need not run.
    Unneeded,
}

impl Graph {
    /// The graph of a plan. Names that are unknown are no edges.
    ///
    /// # Errors
    /// The circles, each as streams of which each comes before the next, and the last before the first.
    pub fn new(plan: &Plan) -> Result<Self, Vec<Vec<usize>>> {
        let count = plan.streams.len();
        let index: HashMap<&str, usize> = (0..)
            .zip(&plan.streams)
            .map(|(at, stream)| (stream.name.as_str(), at))
            .collect();
        let find = |name: &String| index.get(name.as_str()).copied();
        let instead: Vec<Option<usize>> = plan
            .streams
            .iter()
            .map(|stream| stream.instead.as_ref().and_then(find))
            .collect();
        let mut stand_in = vec![None; count];
        for (at, whose) in instead.iter().enumerate() {
            if let Some(whose) = *whose {
                stand_in[whose] = Some(at);
            }
        }
        let phases: Vec<Option<Phase>> = plan.streams.iter().map(|stream| stream.phase).collect();
        let mut after = Vec::with_capacity(count);
        for (at, stream) in plan.streams.iter().enumerate() {
            let mut named: Vec<usize> = stream.after.iter().filter_map(find).collect();
            if let Some(phase) = phases[at] {
                named.extend((0..count).filter(|&other| phases[other].is_some_and(|earlier| earlier < phase)));
            }
            named.sort_unstable();
            named.dedup();
            after.push(named);
        }
        let mut before: Vec<Vec<usize>> = Vec::with_capacity(count);
        for (at, named) in after.iter().enumerate() {
            let mut all = named.clone();
            for &first in named {
                // Not itself: one that stands in for a stream may be after that very stream.
                let chain = std::iter::successors(stand_in[first], |&next| stand_in[next]).take(count);
                all.extend(chain.filter(|&next| next != at && !Self::stands_in(&instead, at, first)));
            }
            all.extend(instead[at]);
            all.sort_unstable();
            all.dedup();
            before.push(all);
        }
        let order = sorted(&before)?;
        let mut behind = vec![Vec::new(); count];
        let mut levels = vec![0; count];
        for &at in &order {
            for &earlier in &before[at] {
                behind[earlier].push(at);
                levels[at] = levels[at].max(levels[earlier] + 1);
            }
        }
        Ok(Self {
            after,
            before,
            behind,
            order,
            levels,
            instead,
            stand_in,
            when: plan.streams.iter().map(|stream| stream.when).collect(),
            optional: plan.streams.iter().map(|stream| stream.optional).collect(),
        })
    }

    /// Whether `at` stands in for `whose`, itself or down the line.
    fn stands_in(instead: &[Option<usize>], at: usize, whose: usize) -> bool {
        let mut chain = std::iter::successors(instead[at], |&next| instead[next]).take(instead.len());
        chain.any(|next| next == whose)
    }

    /// The streams that must have ended before this one may start.
    pub fn before(&self, at: usize) -> &[usize] {
        &self.before[at]
    }

    /// The streams that wait for this one.
    pub fn behind(&self, at: usize) -> &[usize] {
        &self.behind[at]
    }

    /// All streams, each behind those before it; else as in the plan.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The streams of each level: the first has nothing before it, each other follows the one before.
    pub fn levels(&self) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); self.levels.iter().max().map_or(0, |last| last + 1)];
        for (at, &level) in self.levels.iter().enumerate() {
            all[level].push(at);
        }
        all
    }

    /// The stream in whose place this one runs.
    pub fn instead(&self, at: usize) -> Option<usize> {
        self.instead[at]
    }

    /// The stream that runs in this one's place, should it fail.
    pub fn stand_in(&self, at: usize) -> Option<usize> {
        self.stand_in[at]
    }

    /// The streams that this one names, itself or by its phase, without those that stand in for them.
    pub fn after(&self, at: usize) -> &[usize] {
        &self.after[at]
    }

    /// Whether one stream comes before another, maybe with others in between.
    pub fn leads(&self, from: usize, to: usize) -> bool {
        let mut seen = vec![false; self.before.len()];
        let mut open = vec![to];
        while let Some(at) = open.pop() {
            for &earlier in &self.before[at] {
                if earlier == from {
                    return true;
                }
                if !std::mem::replace(&mut seen[earlier], true) {
                    open.push(earlier);
                }
            }
        }
        false
    }

    /// For each stream the longest time from its start to the end of the last one behind it, where each takes so long.
    pub fn rest(&self, takes: &[f64]) -> Vec<f64> {
        let mut rest = takes.to_vec();
        for &at in self.order.iter().rev() {
            let behind = self.behind[at].iter().map(|&next| rest[next]);
            rest[at] = takes[at] + behind.fold(0.0, f64::max);
        }
        rest
    }

    /// The path that takes longest: no order of starting makes the whole shorter.
    pub fn critical(&self, takes: &[f64]) -> Vec<usize> {
        let rest = self.rest(takes);
        let longest =
            |among: &mut dyn Iterator<Item = usize>| among.reduce(|a, b| if rest[b] > rest[a] { b } else { a });
        let mut firsts = self.order.iter().copied().filter(|&at| self.before[at].is_empty());
        let first = longest(&mut firsts);
        std::iter::successors(first, |&at| longest(&mut self.behind[at].iter().copied())).collect()
    }

    /// In which order streams are started where not all can be: by priority, then by how much hangs on them.
    pub fn ranks(&self, priorities: &[u32], takes: &[f64]) -> Vec<usize> {
        let rest = self.rest(takes);
        let mut all = self.order.clone();
        all.sort_by(|&a, &b| {
            priorities[a]
                .cmp(&priorities[b])
                .then(rest[b].total_cmp(&rest[a]))
                .then(a.cmp(&b))
        });
        all
    }

    /// How long the whole takes with so many at once (0: any number), when all end well.
    pub fn whole(&self, priorities: &[u32], takes: &[f64], jobs: usize) -> f64 {
        let ranks = self.ranks(priorities, takes);
        let mut rank = vec![0; ranks.len()];
        for (place, &at) in ranks.iter().enumerate() {
            rank[at] = place;
        }
        let mut missing: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let ready = (0..missing.len()).filter(|&at| missing[at] == 0);
        let mut ready: BinaryHeap<_> = ready.map(|at| Reverse((rank[at], at))).collect();
        let mut running: Vec<(f64, usize)> = Vec::new();
        let mut now = 0.0;
        loop {
            while let Some(Reverse((_, at))) = ready.peek().copied().filter(|_| jobs == 0 || running.len() < jobs) {
                ready.pop();
                running.push((now + takes[at], at));
            }
            let Some(next) = (0..running.len()).min_by(|&a, &b| running[a].0.total_cmp(&running[b].0)) else {
                return now;
            };
            let (end, at) = running.swap_remove(next);
            now = end;
            for &later in &self.behind[at] {
                missing[later] -= 1;
                if missing[later] == 0 {
                    ready.push(Reverse((rank[later], later)));
                }
            }
        }
    }

    /// What becomes of a stream that waits. Once another one's fate has changed, those [`Graph::behind`] it are asked.
    pub fn decide(&self, plan: &Plan, at: usize, fates: &[Fate]) -> Decision {
        let ended = |&other: &usize| !matches!(fates[other], Fate::Waiting | Fate::Running);
        if !self.before[at].iter().all(ended) {
            return Decision::Wait;
        }
        let name = |other: usize| &plan.streams[other].name;
        let named: Vec<(usize, Fate)> = self.after[at]
            .iter()
            .map(|&other| (other, self.settled(other, fates)))
            .collect();
        let bad = named.iter().find(|(other, fate)| match fate {
            Fate::Failed => !self.optional[*other],
            Fate::Skipped => true,
            _ => false,
        });
        let skip = |other: usize, fate: Fate| {
            let what = if fate == Fate::Failed {
                "did not end well"
            } else {
                "was skipped"
            };
            Decision::Skip(format!("{} {what}", name(other)))
        };
        if let Some(whose) = self.instead[at] {
            return match (fates[whose], bad) {
                (Fate::Skipped, _) => skip(whose, Fate::Skipped),
                (Fate::Failed, Some((other, fate))) if *other != whose => skip(*other, *fate),
                (Fate::Failed, _) => Decision::Start,
                _ => Decision::Unneeded,
            };
        }
        let failed = named
            .iter()
            .any(|(_, fate)| matches!(fate, Fate::Failed | Fate::Skipped));
        match self.when[at] {
            When::Always => Decision::Start,
            When::Failure if failed => Decision::Start,
            When::Failure => Decision::Unneeded,
            When::Success => match bad {
                Some((other, fate)) => skip(*other, *fate),
                None if named.iter().any(|(_, fate)| *fate == Fate::Unneeded) => Decision::Unneeded,
                None => Decision::Start,
            },
        }
    }

    /// A stream's fate with those that stand in for it: well, if one of them ended well.
    pub fn settled(&self, at: usize, fates: &[Fate]) -> Fate {
        let speaker = self.speaker(at, fates);
        if fates[speaker] == Fate::Well {
            Fate::Well
        } else {
            fates[at]
        }
    }

    /// Whose answer is the stream's: its own, or that of the one in its place that ended well.
    pub fn speaker(&self, at: usize, fates: &[Fate]) -> usize {
        let mut chain = std::iter::successors(Some(at), |&next| self.stand_in[next]).take(fates.len());
        chain.find(|&next| fates[next] == Fate::Well).unwrap_or(at)
    }

    /// The streams that stand in the way of success, where the plan has no policy of its own.
    pub fn unwell(&self, fates: &[Fate]) -> Vec<usize> {
        let well =
            |at: usize| matches!(self.settled(at, fates), Fate::Well | Fate::Unneeded) || self.instead[at].is_some();
        (0..fates.len()).filter(|&at| !self.optional[at] && !well(at)).collect()
    }

    /// Why one stream comes directly before another.
    pub(super) fn edge(plan: &Plan, from: usize, to: usize) -> Edge {
        let (from, to) = (&plan.streams[from], &plan.streams[to]);
        if to.after.contains(&from.name) {
            Edge::After
        } else if from.phase.zip(to.phase).is_some_and(|(from, to)| from < to) {
            Edge::Phase
        } else {
            Edge::Instead
        }
    }
}

/// Each behind those before it, the first of the plan first; or the circles.
fn sorted(before: &[Vec<usize>]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut edges = before.to_vec();
    let mut circles = Vec::new();
    loop {
        let mut behind = vec![Vec::new(); edges.len()];
        for (at, earlier) in edges.iter().enumerate() {
            earlier.iter().for_each(|&earlier| behind[earlier].push(at));
        }
        let mut missing: Vec<usize> = edges.iter().map(Vec::len).collect();
        let ready = (0..edges.len()).filter(|&at| missing[at] == 0);
        let mut ready: BinaryHeap<Reverse<usize>> = ready.map(Reverse).collect();
        let mut order = Vec::with_capacity(edges.len());
        while let Some(Reverse(at)) = ready.pop() {
            order.push(at);
            for &next in &behind[at] {
                missing[next] -= 1;
                if missing[next] == 0 {
                    ready.push(Reverse(next));
                }
            }
        }
        let Some(start) = missing.iter().position(|&missing| missing > 0) else {
            return if circles.is_empty() { Ok(order) } else { Err(circles) };
        };
        if circles.len() == CIRCLES {
            return Err(circles);
        }
        // Each of those left has one of those left before it: going back from one to the next must meet one again.
        let mut path = vec![start];
        let circle = loop {
            let at = path[path.len() - 1];
            let Some(&earlier) = edges[at].iter().find(|&&earlier| missing[earlier] > 0) else {
                return Err(circles);
            };
            if let Some(from) = path.iter().position(|&seen| seen == earlier) {
                let mut circle = path.split_off(from);
                circle.reverse();
                break circle;
            }
            path.push(earlier);
        };
        // One edge less, so that the next round finds another circle, also through the same streams.
        let (first, last) = (circle[0], circle[circle.len() - 1]);
        edges[first].retain(|&earlier| earlier != last);
        let least = (0..circle.len()).min_by_key(|&at| circle[at]).unwrap_or(0);
        circles.push([&circle[least..], &circle[..least]].concat());
    }
}
