//! How far cl-progress's loop is, and when it has something to do though nothing comes.

use nix::sys::epoll::{Epoll, EpollFlags};
use std::time::{Duration, Instant};

/// The clock in the picture.
pub const TICK: Duration = Duration::from_secs(1);

/// How far the loop is: what has come since the last picture, and what is known of a plan's run.
pub struct Turn {
    /// Signals, the pump's call and room in the output, behind one descriptor that the sources watch.
    pub calls: Epoll,
    /// What the output is watched for.
    pub listed: EpollFlags,
    /// Lines since the picture was last drawn.
    pub lines: usize,
    /// Whether it is to be drawn anew without any.
    pub stale: bool,
    /// Whether it is to be drawn at once.
    pub hasty: bool,
    /// Whether all streams have ended.
    pub complete: bool,
    /// Whether there is news of the plan's run, when it was looked at last, and whether all lines were read since.
    pub news: bool,
    pub looked: Option<Instant>,
    pub fresh: bool,
    /// What is known of the plan's run, where there is one: whether it is over.
    pub planned: Option<bool>,
    /// When it was last drawn.
    pub drawn: Instant,
    pub signal: Option<i32>,
    pub over: bool,
    /// Whether the input has ended.
    pub ended: bool,
    pub failed: bool,
}

impl Turn {
    /// Nothing is shown yet; what there may be of a plan's run is `news`.
    pub fn new(calls: Epoll, news: bool, interval: Duration) -> Self {
        let start = Instant::now();
        Self {
            calls,
            listed: EpollFlags::empty(),
            lines: 0,
            stale: true,
            hasty: false,
            complete: false,
            news,
            looked: None,
            fresh: false,
            planned: None,
            drawn: start.checked_sub(interval).unwrap_or(start),
            signal: None,
            over: false,
            ended: false,
            failed: false,
        }
    }

    pub fn dirty(&self) -> bool {
        self.lines > 0 || self.stale
    }

    /// When news of a plan's run is looked at: at once, but not more often than the picture is drawn; and never so late
    /// that whoever waits for the run's end would notice.
    pub fn news_due(&self, interval: Duration) -> Option<Instant> {
        let rest = interval.min(TICK);
        let due = self.looked.map_or_else(Instant::now, |looked| looked + rest);
        self.news.then_some(due)
    }

    /// When there is something to do about a plan's run even if nothing comes. What was found out is acted upon once all
    /// is read that was there by then; with news, that it is over is in doubt until they are looked at.
    pub fn run_due(&self, now: Instant, interval: Duration) -> Option<Instant> {
        let acts = self.fresh || (self.planned == Some(true) && !self.news);
        acts.then_some(now).or_else(|| self.news_due(interval))
    }

    pub fn shown(&mut self, now: Instant) {
        (self.lines, self.stale, self.hasty, self.drawn) = (0, false, false, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::epoll::EpollCreateFlags;

    /// Whatever is known already, the loop rests until it looks; else it would go round without end.
    #[test]
    fn news_of_a_run_that_is_over_is_waited_for() {
        let calls = Epoll::new(EpollCreateFlags::empty()).unwrap();
        let now = Instant::now();
        let hour = Duration::from_secs(3600);
        let mut turn = Turn::new(calls, true, hour);
        assert!(
            turn.run_due(now, hour) <= Some(Instant::now()),
            "it was never looked at"
        );
        (turn.planned, turn.looked) = (Some(true), Some(now));
        assert_eq!(turn.run_due(now, hour), Some(now + TICK));
        assert_eq!(turn.run_due(now, TICK / 4), Some(now + TICK / 4));
        turn.news = false;
        assert_eq!(turn.run_due(now, hour), Some(now), "it is over");
        turn.planned = Some(false);
        assert_eq!(turn.run_due(now, hour), None);
        turn.fresh = true;
        assert_eq!(turn.run_due(now, hour), Some(now), "what was found out is acted upon");
    }
}
