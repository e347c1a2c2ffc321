//! A run: one attempt after another, and the waits between them.

use super::again::{AFTER_LIMIT, Again, Next};
use super::alarm::Alarm;
use super::course::Course;
use super::ending::{Ended, millis};
use super::feed::Feed;
use super::gauge::{Gauge, Note};
use super::order::{Attempt, Attempts, Order, Which};
use super::signals::{Heard, Signals};
use super::supervise;
use super::voice::Voice;
use super::watch::{Called, Watch};
use crate::hold::{Account, Hold, Holds};
use crate::line::{Event, Outcome, Stamper, Ts};
use crate::outcome::signal_name;
use crate::sink::Shared;
use crate::sys::memory;
use nix::poll::{PollFd, PollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Runs a worker to its end, in as many attempts as it takes, and writes its stream on `sink`.
///
/// This takes the process over: signals that ask to end, to pause and to go on stay blocked, and stdin leads to
/// `/dev/null` afterwards. When told twice to end, and the sink's reader keeps the stream from its end, this ends
/// the process with 128+N.
///
/// # Errors
/// What kept us from running it at all: no descriptor, no process.
///
/// # Panics
/// When other threads run already and the order is not served: the warden is forked.
pub fn run(mut order: Order, attempts: &mut dyn Attempts, sink: Shared) -> io::Result<Ended> {
    memory::settle();
    let reader = sink.fd().try_clone_to_owned()?;
    let signals = Signals::block()?;
    let gauge = Gauge::new()?;
    let names = (0..=order.retries.fallbacks)
        .map(|worker| attempts.name(worker))
        .collect();
    let course = Course::new(
        order.stream.clone(),
        Again::new(order.retries),
        order.timeout,
        names,
        order.holds.clone(),
    );
    let run = Run {
        watch: Watch::new(&gauge, signals, reader),
        voice: Voice::new(Stamper::new(order.stream.clone()), sink, order.served.clone()),
        feed: order.prompts.take().map(|prompts| Feed::new(prompts, order.max_line)),
        course,
        order,
    };
    run.until_it_ends(attempts)
}

struct Run<'a> {
    order: Order,
    watch: Watch<'a>,
    voice: Voice,
    feed: Option<Feed>,
    course: Course,
}

/// Until when to rest.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// So long from now.
    After(Duration),
    /// That time (Unix seconds), or until nothing holds the account any more.
    Released(f64),
}

impl Run<'_> {
    fn until_it_ends(mut self, attempts: &mut dyn Attempts) -> io::Result<Ended> {
        loop {
            let which = Which {
                number: self.course.attempts + 1,
                worker: self.course.worker(),
                before: self.course.before.as_ref(),
            };
            let attempt = match attempts.prepare(&which) {
                Ok(attempt) => attempt,
                Err(error) if self.voice.is_fresh() => return Err(error),
                Err(error) => {
                    self.break_off(Outcome::Failed, format!("no other attempt: {error}"), 125);
                    break;
                }
            };
            let account = attempt.account.clone();
            match self.heed(account.as_ref()) {
                Heeded::Go => {}
                Heeded::Other => continue,
                Heeded::End => break,
            }
            if !self.attempt(attempt)? {
                break;
            }
            let rested = match self.course.next {
                Next::End | Next::TooLate => break,
                Next::Fallback => self.rest(Until::After(Duration::ZERO), None, account.as_ref()),
                Next::After(delay) => self.rest(Until::After(delay), None, account.as_ref()),
                Next::At(at, jitter) => self.rest(Until::Released(at + jitter.as_secs_f64()), None, account.as_ref()),
            };
            if !rested {
                break;
            }
        }
        let failed = self.voice.failed.take();
        let ended = self.course.end();
        Ok(match failed {
            Some(error) => Ended {
                code: 125,
                sink: Some(error),
                ..ended
            },
            None => ended,
        })
    }

    /// Makes one attempt; whether that came about.
    fn attempt(&mut self, attempt: Attempt) -> io::Result<bool> {
        self.course.attempts += 1;
        let made = supervise::attempt(
            &self.order,
            attempt,
            &mut self.watch,
            &mut self.voice,
            self.feed.as_mut(),
            &mut self.course,
        );
        match made {
            Ok(()) => Ok(true),
            Err(error) if self.voice.is_fresh() => Err(error),
            Err(error) => {
                self.course.attempts -= 1;
                self.break_off(Outcome::Failed, format!("no other attempt: {error}"), 125);
                Ok(false)
            }
        }
    }

    /// Heeds what other streams tell of an account.
    fn heed(&mut self, account: Option<&Account>) -> Heeded {
        loop {
            let hold = self.course.held(account);
            self.course.in_spite = hold.is_some();
            let Some(hold) = hold.filter(|_| !self.order.anyway) else {
                return Heeded::Go;
            };
            match hold {
                Hold::Auth { stream, .. } => {
                    let because =
                        format!("the key was refused when '{stream}' used it; log in, or start with --anyway");
                    return self.refuse(Outcome::Auth, because, 77);
                }
                Hold::Limit { resets_at, stream } => {
                    let wait = (resets_at - Ts::now().seconds()).max(0.0);
                    let now = self.watch.gauge.clock.now();
                    let left = self
                        .order
                        .timeout
                        .map(|timeout| timeout.saturating_sub(now).as_secs_f64());
                    if left.is_some_and(|left| left <= wait) || self.course.may_fall_back() {
                        self.course.limited(resets_at);
                        let because = format!("a usage limit until {resets_at:.0}, which '{stream}' met");
                        return self.refuse(Outcome::Limit, because, 75);
                    }
                    let told = Event::Limit {
                        status: "held".to_owned(),
                        resets_at: Some(resets_at),
                        kind: None,
                    };
                    let jitter = AFTER_LIMIT.mul_f64(fastrand::f64()).as_secs_f64();
                    if !self.rest(Until::Released(resets_at + jitter), Some(told), account) {
                        return Heeded::End;
                    }
                }
            }
        }
    }

    /// Does without a start that other streams advise against.
    fn refuse(&mut self, outcome: Outcome, because: String, code: u8) -> Heeded {
        if !self.course.may_fall_back() {
            let warnings = self.parting();
            self.course.warn(warnings);
        }
        let duration = self.watch.gauge.clock.wall();
        let event = self.course.refused(outcome, because, code, duration);
        self.say(event);
        match (self.course.next, self.watch.called) {
            (Next::Fallback, None) => Heeded::Other,
            (Next::Fallback, Some(called)) => {
                self.call_off(called, "while waiting for another attempt");
                Heeded::End
            }
            _ => Heeded::End,
        }
    }

    /// Ends the stream where no other attempt comes about.
    fn break_off(&mut self, outcome: Outcome, because: String, code: u8) {
        let warnings = self.parting();
        self.course.warn(warnings);
        let duration = self.watch.gauge.clock.wall();
        let event = self.course.broken_off(outcome, because, code, duration);
        self.say(event);
    }

    /// What a kept worker's prompts have to say at the end.
    fn parting(&mut self) -> Vec<String> {
        self.feed.as_mut().map(|feed| feed.kept().warnings).unwrap_or_default()
    }

    /// Says something while no worker runs.
    fn say(&mut self, event: Event) {
        let gauge = self.watch.gauge;
        let ending = matches!(event, Event::Exit(_));
        gauge.say(event);
        std::thread::scope(|scope| {
            scope.spawn(|| self.voice.speak(gauge));
            fall_silent(&mut self.watch, ending);
        });
    }

    /// Rests until the next attempt is due; whether it is.
    fn rest(&mut self, until: Until, first: Option<Event>, account: Option<&Account>) -> bool {
        let gauge = self.watch.gauge;
        let held = first.is_some() || self.course.is_held(account);
        first.into_iter().for_each(|event| gauge.say(event));
        let called = std::thread::scope(|scope| {
            scope.spawn(|| self.voice.speak(gauge));
            let mut rest = Rest {
                until,
                begun: gauge.clock.now(),
                heartbeat: self.order.heartbeat,
                timeout: self.order.timeout,
                holds: self.order.holds.as_ref().filter(|_| held),
                account,
            };
            let called = rest.wait(&mut self.watch);
            fall_silent(&mut self.watch, called.is_some());
            // Also what came while the last of it was being said.
            called.or(self.watch.called)
        });
        let Some(called) = called else { return true };
        self.call_off(
            called,
            match until {
                Until::After(_) => "while waiting for another attempt",
                Until::Released(_) => "while waiting for the end of a usage limit",
            },
        );
        false
    }

    /// Ends the stream while no worker runs, as we were called to.
    fn call_off(&mut self, called: Called, waiting: &str) {
        let (outcome, because, code) = match called {
            Called::Signal(signal) => (
                Outcome::Cancelled,
                format!("told to stop by {} {waiting}", signal_name(signal)),
                128u8.wrapping_add(signal as u8),
            ),
            Called::ReaderGone => (Outcome::Cancelled, format!("the reader went away {waiting}"), 141),
            Called::Deadline => (Outcome::Timeout, format!("the time was up {waiting}"), 124),
        };
        self.break_off(outcome, because, code);
    }
}

/// Whether a start may be made.
enum Heeded {
    /// It may.
    Go,
    /// Another worker may.
    Other,
    /// The stream has ended.
    End,
}

/// A rest between two attempts, or before the first.
struct Rest<'a> {
    until: Until,
    begun: Duration,
    heartbeat: Option<Duration>,
    timeout: Option<Duration>,
    /// Where the end of the hold would be told.
    holds: Option<&'a Holds>,
    account: Option<&'a Account>,
}

impl Rest<'_> {
    /// Waits; why it ended before its time, if it did.
    fn wait(&mut self, watch: &mut Watch<'_>) -> Option<Called> {
        let gauge = watch.gauge;
        // The end of a limit is a time of day, which comes also while the machine sleeps or its clock is set.
        let alarm = self.alarm();
        let news = self.news();
        // What ended before we listened is told to nobody.
        if news.is_some() && self.is_released() {
            return None;
        }
        let mut beaten = gauge.clock.now();
        loop {
            // Also what came when the attempt before had ended already.
            if watch.called.is_some() {
                return watch.called;
            }
            let now = gauge.clock.now();
            let due = match self.until {
                Until::After(delay) => Some(self.begun + delay),
                Until::Released(at) if at <= Ts::now().seconds() => Some(now),
                Until::Released(_) if alarm.is_some() => None,
                Until::Released(at) => Some(now + Duration::from_secs_f64(at - Ts::now().seconds())),
            };
            if due.is_some_and(|due| due <= now) {
                return None;
            }
            if self.timeout.is_some_and(|timeout| timeout <= now) {
                return Some(Called::Deadline);
            }
            let beat = self.heartbeat.map(|every| beaten + every);
            if beat.is_some_and(|beat| beat <= now) {
                beaten = now;
                self.beat(gauge);
            }
            let beat = self.heartbeat.map(|every| beaten + every);
            let wake = [due, beat, self.timeout].into_iter().flatten().min();
            let more = alarm.iter().map(AsFd::as_fd).chain(news.iter().map(AsFd::as_fd));
            let more = more.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            watch.wait(more, true, wake.map(|at| gauge.clock.instant(at)));
            while let Some(heard) = watch.heard(false) {
                if let Heard::Pause = heard {
                    watch.pause();
                }
            }
            if gauge.notes().iter().any(|note| matches!(note, Note::SinkFailed)) {
                watch.unheard();
            }
            // A clock that was set has the alarm set anew; what it says is looked at above.
            if let Some(alarm) = &alarm {
                alarm.heard();
            }
            if news.as_ref().is_some_and(told) && self.is_released() {
                return None;
            }
        }
    }

    fn beat(&self, gauge: &Gauge) {
        if gauge.held_up() || gauge.has_orders() {
            return;
        }
        gauge.say(Event::Heartbeat {
            idle: millis(gauge.clock.now().saturating_sub(gauge.output()).as_secs_f64()),
            lines: gauge.lines(),
            bytes: gauge.bytes(),
            rss: 0,
            cpu: 0.0,
        });
    }

    fn alarm(&self) -> Option<Alarm> {
        let Until::Released(at) = self.until else { return None };
        Alarm::at(at).ok()
    }

    /// Tells of changes to what is told of accounts.
    fn news(&self) -> Option<Inotify> {
        let (Until::Released(_), Some(holds), Some(_)) = (self.until, self.holds, self.account) else {
            return None;
        };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        let changes = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        inotify.add_watch(holds.folder(), changes).ok()?;
        Some(inotify)
    }

    fn is_released(&self) -> bool {
        let (Some(holds), Some(account)) = (self.holds, self.account) else {
            return false;
        };
        holds.read(account, Ts::now().seconds()).is_none()
    }
}

/// Whether something was told, which is forgotten.
fn told(news: &Inotify) -> bool {
    let mut told = false;
    while news.read_events().is_ok_and(|events| !events.is_empty()) {
        told = true;
    }
    told
}

/// Waits until all is said; `ending` says whether those are the last words.
fn fall_silent(watch: &mut Watch<'_>, ending: bool) {
    watch.gauge.silence(true);
    'said: loop {
        for note in watch.gauge.notes() {
            match note {
                Note::SinkFailed => watch.unheard(),
                Note::Ended => break 'said,
                _ => {}
            }
        }
        watch.wait(Vec::new(), false, None);
        while let Some(heard) = watch.heard(ending) {
            if let Heard::Pause = heard {
                watch.pause();
            }
        }
    }
    watch.gauge.silence(false);
}
