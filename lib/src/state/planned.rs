//! What a plan tells of its run's streams, those that have not begun included.

use super::fold::anew;
use super::stream::Phase;
use super::{State, Stream};
use crate::line::Outcome;
use crate::plan::{Condition, Status};

/// What its plan tells of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// Its place in [`State::groups`].
    pub group: usize,
    /// Its place in the plan.
    pub place: usize,
    /// What it waits for, or why it does not run, in a few words; empty where there is nothing to say.
    pub why: String,
}

/// A phase or a level of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// What it is called.
    pub title: String,
    /// How many of its streams are done.
    pub done: usize,
    /// How many it has.
    pub of: usize,
}

impl State {
    /// Takes what is known of the plan's run: its streams appear that have not, and those that do not run say why. What
    /// a stream told before the run went on is over, unless it ended well and is kept.
    pub fn plan(&mut self, status: &Status) {
        let groups = status.groups();
        self.groups = groups
            .iter()
            .map(|group| Stretch {
                title: group.title.clone(),
                done: status.done(&group.members),
                of: group.members.len(),
            })
            .collect();
        for (group, members) in (0..).zip(groups.into_iter().map(|group| group.members)) {
            for place in members {
                let at = self.at(&status.plan.streams[place].name);
                let stream = &mut self.streams[at];
                stream.planned = Some(Box::new(Planned {
                    group,
                    place,
                    why: status.why(place),
                }));
                let phase = match &status.conditions[place] {
                    Condition::After(..) | Condition::Lock(..) | Condition::Job | Condition::Ready => Phase::Waiting,
                    Condition::Skipped(_) | Condition::Unbegun => Phase::Skipped,
                    Condition::Unneeded => Phase::Unneeded,
                    // Its lines tell more, once they are there.
                    Condition::Running if !told_lately(stream, status) => {
                        // Once is enough: clocks may be set back, and then it seems to have told nothing since.
                        if stream.wiped != status.began {
                            anew(stream);
                            stream.wiped = status.began;
                        }
                        continue;
                    }
                    Condition::Well if std::mem::take(&mut stream.former) => {
                        stream.phase = Phase::Ended(Outcome::Success);
                        continue;
                    }
                    Condition::Running | Condition::Well | Condition::Failed | Condition::Cut => continue,
                };
                // The lines may know of a start that the journal had not told when it was read.
                if stream.phase == phase || told_lately(stream, status) {
                    continue;
                }
                if phase == Phase::Waiting && stream.outcome() == Some(Outcome::Success) {
                    stream.former = true;
                } else {
                    anew(stream);
                }
                stream.phase = phase;
            }
        }
    }
}

/// Whether a stream has said something since the run began, or went on.
fn told_lately(stream: &Stream, status: &Status) -> bool {
    stream.has_begun() && stream.started.seconds() >= status.began
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Ts;
    use crate::plan::{Format, Graph, Journal, Plan};
    use crate::policy::{More, Policy, Verdict};
    use std::sync::Arc;

    fn status(journal: &str) -> Status {
        let plan = "name='p'\n[stream.a]\nrun=['x']\n[stream.b]\nafter=['a']\nrun=['x']\n\
            [stream.c]\nafter=['b']\nrun=['x']\n[stream.spare]\ninstead='a'\nrun=['x']\n";
        let plan = Plan::recall(plan, Format::Toml).unwrap();
        let graph = Graph::new(&plan).unwrap();
        let journal = Journal::read(journal.as_bytes());
        Status::new(Arc::new(plan), Arc::new(graph), &journal, true, |_| None)
    }

    fn begin(ts: u64) -> String {
        format!("{{\"ts\":{ts},\"act\":\"begin\",\"v\":1,\"plan\":\"p\",\"pid\":1}}\n")
    }

    fn line(stream: &str, seq: u64, ts: u64, rest: &str) -> Vec<u8> {
        let head = format!("{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":{ts}.000000}},");
        format!("{head}\"type\":\"cl\",\"subtype\":{rest}}}").into_bytes()
    }

    const START: &str = "\"start\",\"attempt\":1,\"agent\":\"plain\"";
    const FAILED: &str = "\"exit\",\"outcome\":\"failed\"";

    fn phases(state: &State) -> Vec<(&str, Phase)> {
        state
            .streams()
            .iter()
            .map(|stream| (stream.name.as_str(), stream.phase))
            .collect()
    }

    #[test]
    fn streams_are_there_before_they_say_anything() {
        let mut state = State::default();
        state.plan(&status(&begin(5)));
        assert!(
            state
                .streams()
                .iter()
                .all(|stream| stream.phase == Phase::Waiting && !stream.has_begun())
        );
        assert_eq!(state.get("b").unwrap().why(), "after a, spare");
        assert_eq!(state.groups.len(), 4);
        state.line(&line("a", 1, 6, START));
        let a = state.get("a").unwrap();
        assert_eq!((a.phase, a.started, a.why()), (Phase::Running, Ts(6_000_000), ""));
        // The journal had told of no start when it was read: the lines know better.
        state.plan(&status(&begin(5)));
        assert_eq!(state.get("a").unwrap().phase, Phase::Running);
        state.finish();
        let lost = Phase::Ended(Outcome::Lost);
        let waits = Phase::Waiting;
        assert_eq!(
            phases(&state),
            [("a", lost), ("spare", waits), ("b", waits), ("c", waits)]
        );
    }

    /// What the journal tells of a run in which `a` ended well.
    fn before_well() -> String {
        begin(5) + "{\"ts\":7,\"act\":\"end\",\"stream\":\"a\",\"outcome\":\"success\"}\n"
    }

    /// Where `a` stands when that goes on, and then when this is told, and whether it has begun.
    fn kept_through(before: &str, then: &str) -> [(Phase, bool); 2] {
        let mut state = State::default();
        state.line(&line("a", 1, 6, START));
        state.line(&line("a", 2, 7, "\"exit\",\"outcome\":\"success\",\"text\":\"A\""));
        let mut at = |journal: &str| {
            state.plan(&status(journal));
            let a = state.get("a").unwrap();
            assert_eq!(
                a.answer().is_some(),
                !then.contains("start") || !journal.ends_with(then)
            );
            (a.phase, a.has_begun())
        };
        let on = before.to_owned() + &begin(8);
        [at(&on), at(&(on + then))]
    }

    #[test]
    fn what_was_told_before_a_run_went_on_is_over() {
        let mut state = State::default();
        state.line(&line("a", 1, 6, START));
        state.line(&line("a", 2, 7, FAILED));
        let failed = "{\"ts\":7,\"act\":\"end\",\"stream\":\"a\",\"outcome\":\"failed\"}\n".to_owned();
        let spare = failed.replace("\"a\"", "\"spare\"");
        let before = begin(5) + &failed + &spare;
        state.plan(&status(&before));
        assert_eq!(state.get("a").unwrap().outcome(), Some(Outcome::Failed));
        let c = state.get("c").unwrap();
        assert_eq!((c.phase, c.why()), (Phase::Skipped, "b was skipped"));
        let needs = |name: &str| Policy {
            need: vec![name.to_owned()],
            ..Policy::default()
        };
        let told = needs("c").judge(&state, More::Perhaps);
        assert_eq!(told, Verdict::Impossible("c does not run: b was skipped".to_owned()));
        state.plan(&status(&(before.clone() + &begin(8))));
        let a = state.get("a").unwrap();
        assert_eq!((a.phase, a.outcome(), a.has_begun()), (Phase::Waiting, None, false));
        assert_eq!(state.get("c").unwrap().phase, Phase::Waiting);
        let well = "{\"ts\":9,\"act\":\"end\",\"stream\":\"a\",\"outcome\":\"success\"}\n";
        state.plan(&status(&(before + &begin(8) + well)));
        assert_eq!(state.get("spare").unwrap().phase, Phase::Unneeded);
        let told = needs("spare").judge(&state, More::Perhaps);
        assert_eq!(
            told,
            Verdict::Impossible("spare need not run, so it does not".to_owned())
        );
        let keep = "{\"ts\":9,\"act\":\"keep\",\"stream\":\"a\"}\n";
        assert_eq!(
            kept_through(&before_well(), keep),
            [(Phase::Waiting, false), (Phase::Ended(Outcome::Success), true)]
        );
        let run = "{\"ts\":9,\"act\":\"start\",\"stream\":\"a\",\"key\":\"\"}\n";
        assert_eq!(kept_through(&before_well(), run), [(Phase::Waiting, false); 2]);
        // It counts neither way.
        assert_eq!(Policy::default().judge(&state, More::Perhaps), Verdict::Waiting);
        for stream in ["a", "b", "c"] {
            state.line(&line(stream, 1, 9, START));
            state.line(&line(stream, 2, 9, "\"exit\",\"outcome\":\"success\""));
        }
        assert_eq!(Policy::default().judge(&state, More::Perhaps), Verdict::Met);
    }
}
