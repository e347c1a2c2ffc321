//! In which order streams are shown.

use super::Look;
use crate::line::{Outcome, Ts};
use crate::state::{Activity, Phase, State, Stream};
use crate::sys::terminal::Size;
use crate::view::words;
use std::cmp::Reverse;
use std::time::Duration;

/// Silence that may mean that it is stuck. An agent that thinks, or whose tool takes its time, is silent for less.
const STUCK: Duration = Duration::from_secs(60);

/// Rows that are none of the streams': titles, an empty one, the sum, keys.
const FRAME: usize = 4;

/// How much a stream wants to be looked at, what wants it most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// It has ended, and not well.
    Failed,
    /// It waits for something, or has been silent for long.
    Stuck,
    /// It works.
    Running,
    /// It waits for us.
    Waiting,
    /// It has ended, and there is nothing to do about it.
    Over,
}

impl Need {
    pub(super) fn of(stream: &Stream, now: Ts) -> Self {
        match stream.phase {
            Phase::Ended(Outcome::Success | Outcome::Cancelled | Outcome::Unknown) => Self::Over,
            Phase::Ended(_) => Self::Failed,
            Phase::Retrying { .. } | Phase::Parked { .. } | Phase::Stopping => Self::Stuck,
            Phase::Waiting => Self::Waiting,
            Phase::Skipped | Phase::Unneeded => Self::Over,
            Phase::Running => match stream.activity {
                Activity::Prompt => Self::Waiting,
                Activity::Retry { .. } => Self::Stuck,
                _ if words::silence(stream, now).is_some_and(|silent| silent >= STUCK) => Self::Stuck,
                _ => Self::Running,
            },
        }
    }
}

/// By what streams are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// What wants to be looked at first; of what wants it alike, as in the plan.
    #[default]
    Need,
    /// The longest first.
    Time,
    /// The dearest first, and where nothing tells a cost, what took most tokens.
    Cost,
    /// By the alphabet.
    Name,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Need => Self::Time,
            Self::Time => Self::Cost,
            Self::Cost => Self::Name,
            Self::Name => Self::Need,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Need => "need",
            Self::Time => "time",
            Self::Cost => "cost",
            Self::Name => "name",
        }
    }

    /// Puts them in order; those that are equal stay as they are.
    pub(super) fn sort(self, streams: &mut [(usize, &Stream)], now: Ts) {
        match self {
            Self::Need => streams.sort_by_cached_key(|(_, stream)| {
                let planned = stream.planned.as_ref().map(|planned| (planned.group, planned.place));
                (Need::of(stream, now), planned)
            }),
            Self::Time => streams.sort_by_cached_key(|(_, stream)| Reverse(words::elapsed(stream, now))),
            Self::Cost => streams.sort_by_cached_key(|(_, stream)| {
                let micros = (stream.cost().unwrap_or(0.0) * 1e6) as u64;
                Reverse((micros, words::tokens(stream.usage())))
            }),
            Self::Name => streams.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name)),
        }
    }
}

/// Streams as they are shown.
pub(super) struct Shown<'a> {
    /// In this order, each with its place in the run.
    pub streams: Vec<(usize, &'a Stream)>,
    /// For each the group of the plan that it belongs to, where they stand in the plan's order.
    pub groups: Option<Vec<usize>>,
    /// Whether each group has a row that tells it.
    pub headed: bool,
}

/// The streams to show in their order. Those of a plan stand in the plan's own, by phases or levels, where there is room
/// for all of them; else, or where keys have asked for another order, they are sorted.
pub(super) fn shown<'a>(state: &'a State, now: Ts, size: Size, look: &'a Look, sort: Sort) -> Shown<'a> {
    let mut streams: Vec<(usize, &Stream)> = look.streams(state).collect();
    let groups = &state.groups;
    let leveled = groups.iter().all(|group| group.title.starts_with("level "));
    // A heading for each stream or two would say little.
    let headed = groups.len() > 1 && (!leveled || 2 * groups.len() <= streams.len());
    let rows = streams.len() + FRAME + if headed { groups.len() } else { 0 };
    if groups.is_empty() || sort != Sort::Need || rows > size.rows {
        sort.sort(&mut streams, now);
        let (groups, headed) = (None, false);
        return Shown {
            streams,
            groups,
            headed,
        };
    }
    // A stream inside another stands with it.
    let place = |stream: &Stream| {
        let planned = stream.planned.as_ref();
        let planned = planned.or_else(|| state.parent(&stream.name)?.planned.as_ref());
        planned.map_or((groups.len(), 0), |planned| (planned.group, planned.place))
    };
    streams.sort_by_cached_key(|(_, stream)| place(stream));
    let groups = streams.iter().map(|(_, stream)| place(stream).0).collect();
    Shown {
        streams,
        groups: Some(groups),
        headed,
    }
}
