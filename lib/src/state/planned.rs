//! What a plan tells of its run's streams, those that have not begun included.

use super::fold::anew;
use super::stream::Phase;
use super::{State, Stream};
use crate::line::Ts;
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
    /// a stream told before the run went on is over.
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
                let at = self.at(&status.plan.streams[place].name, Ts(0));
                let stream = &mut self.streams[at];
                stream.planned = Some(Box::new(Planned {
                    group,
                    place,
                    why: status.why(place),
                }));
                let phase = match &status.conditions[place] {
                    Condition::After(_) | Condition::Lock(..) | Condition::Job | Condition::Ready => Phase::Waiting,
                    Condition::Skipped(_) | Condition::Unbegun => Phase::Skipped,
                    Condition::Unneeded => Phase::Unneeded,
                    // Its lines tell more, once they are there.
                    Condition::Running if !told_lately(stream, status) => Phase::Waiting,
                    Condition::Running | Condition::Well | Condition::Failed | Condition::Cut => continue,
                };
                // The lines may know of a start that the journal had not told when it was read.
                if stream.phase != phase && !told_lately(stream, status) {
                    anew(stream, Ts(0));
                    stream.phase = phase;
                }
            }
        }
    }
}

/// Whether a stream has said something since the run began, or went on.
fn told_lately(stream: &Stream, status: &Status) -> bool {
    stream.has_begun() && stream.started.seconds() >= status.began
}
