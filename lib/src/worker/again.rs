//! Whether another attempt follows an attempt, when, and by whom. Pure: time and chance are told, nothing is asked.

use crate::hold;
use crate::line::Outcome;
use std::time::Duration;

/// The longest wait between two attempts that is our own choice.
const LONGEST: Duration = Duration::from_secs(300);

/// So much later than a limit's end the first start comes at most: those who waited for the same end do not all come at
/// the same moment.
pub(super) const AFTER_LIMIT: Duration = Duration::from_secs(1);

/// How many attempts there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Further attempts after the first, by each worker in turn.
    pub count: u32,
    /// Before the first of them; twice as much before each one that follows.
    pub backoff: Duration,
    /// How many workers there are to fall back on.
    pub fallbacks: usize,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Next {
    /// Nothing: this was the last.
    End,
    /// Nothing, for the time that is left does not reach until then.
    TooLate,
    /// Another attempt by the same worker, after so long.
    After(Duration),
    /// The same at that time (Unix seconds), when a usage limit ends; and so much later.
    At(f64, Duration),
    /// The first attempt by the next worker.
    Fallback,
}

/// How one attempt ended, and when that was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Attempted {
    /// What became of it.
    pub(super) outcome: Outcome,
    /// When a usage limit ends, Unix seconds.
    pub(super) resets_at: Option<f64>,
    /// What time it is, Unix seconds.
    pub(super) now: f64,
    /// What is left until the deadline.
    pub(super) left: Option<Duration>,
    /// A number from 0 up to 1, for jitter.
    pub(super) chance: f64,
}

/// What was attempted so far.
#[derive(Debug)]
pub(super) struct Again {
    retries: Retries,
    /// Retries that the present worker has had.
    spent: u32,
    /// Which worker it is.
    pub(super) worker: usize,
    /// The end of the last limit that was waited for.
    waited_for: f64,
}

impl Again {
    pub(super) fn new(retries: Retries) -> Self {
        Self {
            retries,
            spent: 0,
            worker: 0,
            waited_for: 0.0,
        }
    }

    /// How many attempts may still follow, at most, but for those that wait for a limit's end.
    pub(super) fn left(&self) -> u32 {
        let fallbacks = u32::try_from(self.retries.fallbacks - self.worker).unwrap_or(u32::MAX);
        (self.retries.count - self.spent).saturating_add(fallbacks.saturating_mul(self.retries.count.saturating_add(1)))
    }

    /// Forgets what was spent: a worker that is kept has answered since.
    pub(super) fn refresh(&mut self) {
        self.spent = 0;
    }

    /// Whether there is another worker to fall back on.
    pub(super) fn may_fall_back(&self) -> bool {
        self.worker < self.retries.fallbacks
    }

    /// Goes over to it; whether there is one.
    pub(super) fn fall_back(&mut self) -> bool {
        let other = self.may_fall_back();
        if other {
            (self.worker, self.spent, self.waited_for) = (self.worker + 1, 0, 0.0);
        }
        other
    }

    /// What follows.
    pub(super) fn next(&mut self, attempted: Attempted) -> Next {
        let next = self.choose(attempted);
        let late = match (next, attempted.left) {
            (Next::After(delay), Some(left)) => delay >= left,
            (Next::At(at, jitter), Some(left)) => at + jitter.as_secs_f64() - attempted.now >= left.as_secs_f64(),
            _ => false,
        };
        if late {
            return Next::TooLate;
        }
        match next {
            Next::After(_) => self.spent += 1,
            Next::At(at, _) => self.waited_for = at,
            Next::Fallback => {
                self.fall_back();
            }
            Next::End | Next::TooLate => {}
        }
        next
    }

    fn choose(&self, attempted: Attempted) -> Next {
        let other = if self.may_fall_back() {
            Next::Fallback
        } else {
            Next::End
        };
        match attempted.outcome {
            // It worked; or it was to end; or it had what it was given to spend.
            Outcome::Success | Outcome::Cancelled | Outcome::Timeout | Outcome::Exhausted => Next::End,
            // The same worker would say the same again.
            Outcome::Error | Outcome::Auth | Outcome::Unstartable => other,
            Outcome::Limit => match attempted.resets_at {
                // Another worker has another limit.
                _ if other == Next::Fallback => other,
                // A limit that begins anew each time it has ended is no limit to wait for, nor is one without an end.
                Some(at)
                    if self.retries.count > 0
                        && at > attempted.now.max(self.waited_for)
                        && at < attempted.now + hold::LONGEST =>
                {
                    Next::At(at, AFTER_LIMIT.mul_f64(attempted.chance))
                }
                _ => self.retry(attempted.chance).unwrap_or(other),
            },
            Outcome::Failed
            | Outcome::Incomplete
            | Outcome::Truncated
            | Outcome::Unavailable
            | Outcome::Idle
            | Outcome::Killed
            | Outcome::Lost
            | Outcome::Unknown => self.retry(attempted.chance).unwrap_or(other),
        }
    }

    fn retry(&self, chance: f64) -> Option<Next> {
        if self.spent >= self.retries.count {
            return None;
        }
        let doubled = self.retries.backoff.saturating_mul(1 << self.spent.min(20));
        // Three quarters to five quarters of it, so that those who failed together do not come back together.
        Some(Next::After(doubled.min(LONGEST).mul_f64(0.75 + chance / 2.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    fn again(count: u32, fallbacks: usize) -> Again {
        Again::new(Retries {
            count,
            backoff: S,
            fallbacks,
        })
    }

    fn after(outcome: Outcome) -> Attempted {
        Attempted {
            outcome,
            resets_at: None,
            now: 1000.0,
            left: None,
            chance: 0.5,
        }
    }

    fn limit(resets_at: f64) -> Attempted {
        Attempted {
            resets_at: Some(resets_at),
            ..after(Outcome::Limit)
        }
    }

    #[test]
    fn the_wait_doubles_until_the_retries_are_spent() {
        let mut again = again(3, 0);
        assert_eq!(again.left(), 3);
        for seconds in [1, 2, 4] {
            assert_eq!(again.next(after(Outcome::Unavailable)), Next::After(S * seconds));
        }
        assert_eq!((again.next(after(Outcome::Killed)), again.left()), (Next::End, 0));
    }

    #[test]
    fn what_nobody_can_mend_ends_at_once() {
        use Outcome::{Auth, Cancelled, Error, Exhausted, Success, Timeout, Unstartable};
        for outcome in [Success, Error, Exhausted, Auth, Timeout, Cancelled, Unstartable] {
            assert_eq!(again(5, 0).next(after(outcome)), Next::End, "{outcome:?}");
        }
        for outcome in [Error, Auth, Unstartable] {
            assert_eq!(again(5, 1).next(after(outcome)), Next::Fallback, "{outcome:?}");
        }
        for outcome in [Success, Cancelled, Timeout, Exhausted] {
            assert_eq!(again(5, 1).next(after(outcome)), Next::End, "{outcome:?}");
        }
    }

    #[test]
    fn a_limit_is_waited_for_and_costs_no_retry() {
        let mut again = again(1, 0);
        assert_eq!(again.next(limit(1020.0)), Next::At(1020.0, S / 2));
        assert_eq!(again.left(), 1);
        // The same end once more, or one that is past: that costs.
        assert_eq!(again.next(limit(1020.0)), Next::After(S));
        assert_eq!(again.next(limit(900.0)), Next::End);
        assert_eq!(again.next(limit(5000.0)), Next::At(5000.0, S / 2));
    }

    #[test]
    fn a_limit_without_an_end_is_an_ordinary_failure() {
        for at in [9e11, f64::MAX, f64::INFINITY] {
            assert_eq!(again(1, 0).next(limit(at)), Next::After(S), "{at}");
        }
    }

    #[test]
    fn nobody_waits_for_a_limit_who_was_not_told_to_try_again() {
        assert_eq!(again(0, 0).next(limit(1020.0)), Next::End);
        assert_eq!(again(3, 1).next(limit(1020.0)), Next::Fallback);
    }

    #[test]
    fn a_wait_beyond_the_deadline_is_none() {
        let left = Some(S / 2);
        let unavailable = Attempted {
            left,
            ..after(Outcome::Unavailable)
        };
        assert_eq!(again(3, 0).next(unavailable), Next::TooLate);
        assert_eq!(again(3, 0).next(Attempted { left, ..limit(1001.0) }), Next::TooLate);
    }

    #[test]
    fn each_fallback_has_attempts_of_its_own() {
        let mut again = again(1, 1);
        assert_eq!(again.left(), 3);
        let mut failed = || again.next(after(Outcome::Failed));
        assert_eq!(
            [failed(), failed(), failed(), failed()],
            [Next::After(S), Next::Fallback, Next::After(S), Next::End]
        );
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop::sample::select(vec![
            Outcome::Failed,
            Outcome::Error,
            Outcome::Unavailable,
            Outcome::Limit,
            Outcome::Killed,
            Outcome::Auth,
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn it_comes_to_an_end(count in 0u32..4, fallbacks in 0usize..3, outcome in outcomes(), chance in 0.0..1.0) {
            let mut again = again(count, fallbacks);
            let mut attempts = 0;
            // The same limit each time: it is waited for once.
            while !matches!(again.next(Attempted { chance, ..Attempted { resets_at: Some(2000.0), ..after(outcome) } }), Next::End) {
                attempts += 1;
                prop_assert!(attempts <= (count + 2) * (fallbacks as u32 + 1));
            }
        }
    }
}
