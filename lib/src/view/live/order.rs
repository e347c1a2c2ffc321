//! In which order streams are shown.

use crate::line::{Outcome, Ts};
use crate::state::{Activity, Phase, Stream};
use crate::view::words;
use std::cmp::Reverse;
use std::time::Duration;

/// Silence that may mean that it is stuck. An agent that thinks, or whose tool takes its time, is silent for less.
const STUCK: Duration = Duration::from_secs(60);

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
    /// What wants to be looked at first.
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
            Self::Need => streams.sort_by_cached_key(|(_, stream)| Need::of(stream, now)),
            Self::Time => streams.sort_by_cached_key(|(_, stream)| Reverse(words::elapsed(stream, now))),
            Self::Cost => streams.sort_by_cached_key(|(_, stream)| {
                let micros = (stream.cost().unwrap_or(0.0) * 1e6) as u64;
                Reverse((micros, words::tokens(stream.usage())))
            }),
            Self::Name => streams.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name)),
        }
    }
}
