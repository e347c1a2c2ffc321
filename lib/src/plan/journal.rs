//! A run folder's journal: a line for each act of a run, written and synced before the act is done.

use super::{Fate, Plan};
use crate::line::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in seconds since 1970.
    pub ts: f64,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

/// What a run does, or has seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "lowercase")]
pub enum Act {
    /// A run begins, or goes on.
    Begin {
        /// The version of this format: 1.
        v: u32,
        /// The plan's name.
        plan: String,
        /// The process that runs it.
        pid: i32,
        /// The folder that the plan's paths are relative to.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        cwd: String,
        /// How many streams run at once at most; 0 where that is not told.
        #[serde(default, skip_serializing_if = "is_zero")]
        jobs: usize,
    },
    /// Streams were added to the plan.
    Add {
        /// Which.
        streams: Vec<String>,
        /// The stream that added them; empty where that is not known.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        by: String,
    },
    /// A stream is about to start.
    Start {
        /// Which.
        stream: String,
        /// What it was asked and how, as a key: the same key need not run again.
        key: String,
    },
    /// A stream has ended.
    End {
        /// Which.
        stream: String,
        /// How.
        outcome: Outcome,
    },
    /// A stream ended well on the same before the run went on: it need not run again.
    Keep {
        /// Which.
        stream: String,
    },
    /// A stream will not run, for another one's end.
    Skip {
        /// Which.
        stream: String,
        /// Why.
        because: String,
    },
    /// A stream need not run.
    Unneeded {
        /// Which.
        stream: String,
    },
    /// A stream's `undo` is about to run.
    Undo {
        /// Whose.
        stream: String,
    },
    /// It has ended.
    Undone {
        /// Whose.
        stream: String,
        /// Its exit code as a shell says it: 128+N after signal N.
        code: i32,
    },
    /// The run is over.
    Finish {
        /// `met`, `unmet`, `timeout` or `cancelled`.
        verdict: String,
        /// Why it is not `met`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        because: String,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A journal as it was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Journal {
    /// Its lines.
    pub entries: Vec<Entry>,
    /// How many lines could not be read; the last one may be torn, where the run was killed as it wrote.
    pub unread: usize,
}

/// What a journal tells of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// How far it is.
    pub fate: Fate,
    /// How it ended, where it did.
    pub outcome: Option<Outcome>,
    /// Why it was skipped.
    pub because: String,
    /// Whether it ended well before the run went on, which has not come to it yet: it may be kept, or run again.
    pub before: bool,
}

impl Default for Told {
    fn default() -> Self {
        Self::from(Fate::Waiting)
    }
}

impl From<Fate> for Told {
    fn from(fate: Fate) -> Self {
        Self {
            fate,
            outcome: None,
            because: String::new(),
            before: false,
        }
    }
}

impl Told {
    /// It has ended so.
    pub(super) fn ended(outcome: Outcome) -> Self {
        let well = outcome == Outcome::Success;
        Self {
            outcome: Some(outcome),
            ..Self::from(if well { Fate::Well } else { Fate::Failed })
        }
    }
}

impl Journal {
    /// Reads what is there. Acts that a later version knows are not read, either.
    pub fn read(text: &[u8]) -> Self {
        let mut journal = Self::default();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(entry) => journal.entries.push(entry),
                Err(_) => journal.unread += 1,
            }
        }
        journal
    }

    /// Adds what was written since: whole lines.
    pub fn extend(&mut self, text: &[u8]) {
        let more = Self::read(text);
        self.entries.extend(more.entries);
        self.unread += more.unread;
    }

    /// What the journal tells of each stream of the plan. A run that goes on begins anew with all of them: what ended well
    /// counts again once it is kept.
    pub fn told(&self, plan: &Plan) -> Vec<Told> {
        let names = plan.streams.iter().map(|stream| stream.name.as_str());
        let index: HashMap<&str, usize> = names.zip(0..).collect();
        let mut all = vec![Told::default(); plan.streams.len()];
        let mut undone: HashSet<usize> = HashSet::new();
        for Entry { act, .. } in &self.entries {
            let (stream, told) = match act {
                Act::Begin { .. } => {
                    for (at, told) in all.iter_mut().enumerate() {
                        *told = Told {
                            before: (told.before || told.fate == Fate::Well) && !undone.remove(&at),
                            ..Told::default()
                        };
                    }
                    continue;
                }
                Act::Start { stream, .. } => (stream, Told::from(Fate::Running)),
                Act::End { stream, outcome } => (stream, Told::ended(*outcome)),
                Act::Keep { stream } => (stream, Told::ended(Outcome::Success)),
                Act::Skip { stream, because } => {
                    let because = because.clone();
                    let told = Told {
                        because,
                        ..Told::from(Fate::Skipped)
                    };
                    (stream, told)
                }
                Act::Unneeded { stream } => (stream, Told::from(Fate::Unneeded)),
                Act::Undone { stream, code: 0 } => {
                    undone.extend(index.get(stream.as_str()));
                    continue;
                }
                Act::Add { .. } | Act::Undo { .. } | Act::Undone { .. } | Act::Finish { .. } => continue,
            };
            if let Some(&at) = index.get(stream.as_str()) {
                undone.remove(&at);
                all[at] = told;
            }
        }
        all
    }

    /// The last beginning, with when it was.
    pub fn begun(&self) -> Option<(f64, &Act)> {
        let mut entries = self.entries.iter().rev();
        entries.find_map(|entry| matches!(entry.act, Act::Begin { .. }).then_some((entry.ts, &entry.act)))
    }

    /// How the run ended that was begun last: the verdict, and why it is not `met`.
    pub fn finished(&self) -> Option<(&str, &str)> {
        let last = self.entries.iter().rev();
        let mut last = last.map_while(|Entry { act, .. }| match act {
            Act::Begin { .. } => None,
            Act::Finish { verdict, because } => Some(Some((verdict.as_str(), because.as_str()))),
            _ => Some(None),
        });
        last.find_map(|finish| finish)
    }

    /// The streams whose `undo` has begun, with the exit code of those that have ended; without those that have been
    /// started again since.
    pub fn undone(&self) -> Vec<(&str, Option<i32>)> {
        let mut all: Vec<(&str, Option<i32>)> = Vec::new();
        for Entry { act, .. } in &self.entries {
            let (stream, code) = match act {
                Act::Start { stream, .. } => {
                    all.retain(|(known, _)| known != stream);
                    continue;
                }
                Act::Undo { stream } => (stream.as_str(), None),
                Act::Undone { stream, code } => (stream.as_str(), Some(*code)),
                _ => continue,
            };
            match all.iter_mut().find(|(known, _)| *known == stream) {
                Some(known) => known.1 = code,
                None => all.push((stream, code)),
            }
        }
        all
    }

    /// The streams that ended well and were not taken back since, the last to end first, each with the key it ran under.
    pub fn well(&self) -> Vec<(&str, &str)> {
        let mut running: HashMap<&str, &str> = HashMap::new();
        let mut well: Vec<(&str, &str)> = Vec::new();
        for Entry { act, .. } in &self.entries {
            match act {
                Act::Start { stream, key } => {
                    well.retain(|(known, _)| known != stream);
                    running.insert(stream, key);
                }
                Act::End { stream, outcome } => {
                    well.retain(|(known, _)| known != stream);
                    if let Some(key) = running.remove(stream.as_str())
                        && *outcome == Outcome::Success
                    {
                        well.push((stream, key));
                    }
                }
                Act::Undone { stream, code: 0 } => well.retain(|(known, _)| known != stream),
                _ => {}
            }
        }
        well.reverse();
        well
    }

    /// Whether a rollback was begun and cut short.
    pub fn undoing(&self) -> bool {
        let last = self.entries.iter().rev().find(|entry| {
            matches!(
                entry.act,
                Act::Start { .. } | Act::Undo { .. } | Act::Undone { .. } | Act::Finish { .. }
            )
        });
        last.is_some_and(|entry| matches!(entry.act, Act::Undo { .. } | Act::Undone { .. }))
    }
}
