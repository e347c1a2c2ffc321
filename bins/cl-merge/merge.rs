//! From the sources to stdout.

use crate::args::{Args, Order};
use crate::fifos::Fifos;
use crate::output::Writer;
use crate::sorter::Sorter;
use harmony::cli::{Failure, complain, reason};
use harmony::line::{Event, Name, Stamper, Ts};
use harmony::sink::Shared;
use harmony::source::{Id, Intake, Named, Out, Place, Registry, Sources, Step, parse};
use harmony::sys::signals::Stops;
use nix::sys::epoll::EpollFlags;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// The longest line of a worker that travels in one piece.
const MAX_LINE: usize = 64 << 20;

const SIGNAL: u32 = 0;
const STDOUT: u32 = 1;

/// Merges, and says with which exit code to end.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let fifos = Fifos::default();
    let last = fifos.clone();
    let stops = Stops::watch(move || last.clear()).map_err(|error| Failure::io("signals", &error))?;
    let merged = merge(args, &fifos, &stops);
    fifos.clear();
    match merged {
        // Nobody reads any more: that is how a pipeline is cancelled, and no failure.
        Err(End::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(End::Io(error)) => Err(Failure::io("stdout", &error)),
        Err(End::Failure(failure)) => Err(failure),
        Ok(code) => Ok(code),
    }
}

/// Why it ends early.
enum End {
    /// stdout failed.
    Io(io::Error),
    Failure(Failure),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn merge(args: &Args, fifos: &Fifos, stops: &Stops) -> Result<u8, End> {
    let own = |what, error| End::Failure(Failure::io(what, &error));
    let mut failed = false;
    let mut named: Vec<Named> = args.sources.iter().map(|text| parse(text)).collect();
    if args.mkfifo {
        named.retain(|source| match fifos.make(source) {
            Ok(()) => true,
            Err(error) => {
                complain("cl-merge", &format!("{}: {}", source.place, reason(&error)));
                failed = true;
                false
            }
        });
    }
    if args.sources.is_empty() {
        named.push(Named {
            name: None,
            place: Place::Inherited(0),
        });
    }
    // Before the sources take all descriptors there are.
    let stdout = Shared::stdout()?;
    let mut sources = Sources::new(args.follow, MAX_LINE).map_err(|error| own("epoll", error))?;
    sources.add(&named).map_err(|name| {
        End::Failure(Failure::usage(format!(
            "{name}: two sources have this name; give each its own"
        )))
    })?;
    let color = args.common.color.on(io::stdout().is_terminal());
    let sorter = (args.order == Order::Time).then(|| Sorter::new(args.window));
    let mut merge = Merge {
        args,
        out: Writer::new(args, stdout, sorter, color),
        registry: Registry::default(),
        intakes: Vec::new(),
        files: 0,
        events: Stamper::new(Name::near("cl-merge")),
        cut: None,
        patience: None,
        failed,
    };
    let also = sources.watch_also(stops.fd(), EpollFlags::EPOLLIN, SIGNAL);
    also.map_err(|error| own("signals", error))?;
    // Errors and hang-ups are told without being asked for: a reader that goes away is noticed without a write.
    let also = sources.watch_also(merge.out.stdout().fd(), EpollFlags::empty(), STDOUT);
    also.map_err(|error| own("stdout", error))?;
    merge.run(&mut sources, stops)
}

/// How long the writers may take for their end, once we are told to stop.
const WRAP_UP: Duration = Duration::from_secs(5);

struct Merge<'a> {
    args: &'a Args,
    out: Writer,
    registry: Registry,
    /// By the source's number.
    intakes: Vec<Intake>,
    /// Regular files that have not ended.
    files: usize,
    /// Numbers what we say ourselves.
    events: Stamper,
    /// Why we stop before the sources do.
    cut: Option<String>,
    /// Until when what still writes may end by itself, once we are told to stop.
    patience: Option<Instant>,
    failed: bool,
}

impl Merge<'_> {
    fn run(&mut self, sources: &mut Sources, stops: &Stops) -> Result<u8, End> {
        loop {
            let now = Instant::now();
            if self.patience.is_some_and(|until| until <= now) {
                self.patience = None;
                sources.finish();
            }
            let sorted = self.out.sorter.as_ref().and_then(|sorter| sorter.wait(now));
            let patience = self.patience.map(|until| until.saturating_duration_since(now));
            let wait = [sorted, patience].into_iter().flatten().min();
            let step = sources
                .next(wait)
                .map_err(|error| End::Failure(Failure::io("epoll", &error)))?;
            match step {
                Step::Lines(id, lines) => {
                    let (intake, registry, out) = self.parts(id);
                    intake.lines(lines, Ts::now(), registry, out)?;
                    self.choose_file(sources);
                }
                Step::Piece { id, bytes, last, eol } => {
                    let (intake, registry, out) = self.parts(id);
                    intake.piece(bytes, (last, eol), Ts::now(), registry, out)?;
                }
                Step::Tail(id, bytes) => {
                    let (intake, registry, out) = self.parts(id);
                    intake.tail(bytes, Ts::now(), registry, out)?;
                }
                Step::Awaited(shown) => complain("cl-merge", &format!("{shown}: not there yet; waiting for it")),
                Step::Joined(id) => self.joined(id, sources)?,
                Step::Left(id) => self.left(id, sources)?,
                Step::Failed(what, error) => {
                    complain("cl-merge", &format!("{what}: {}", reason(&error)));
                    self.failed = true;
                }
                Step::Other(token) if token == u64::from(STDOUT) => {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
                }
                Step::Other(_) => {
                    stops.hush();
                    if let Some(signal) = stops.signal().filter(|_| self.cut.is_none()) {
                        self.cut = Some(format!("cl-merge was stopped by {signal}"));
                        // On a Ctrl-C the writers end as well, and their last lines say how. What is followed, or has
                        // no writer yet, has no end to wait for.
                        if self.args.follow || self.args.mkfifo {
                            sources.finish();
                        } else {
                            self.patience = Some(Instant::now() + WRAP_UP);
                        }
                    }
                }
                Step::Quiet => {
                    if let Some(sorter) = &mut self.out.sorter {
                        sorter.catch_up();
                    }
                    self.out.flush()?;
                    if self.args.follow && self.all_ended(sources) {
                        sources.finish();
                    }
                }
                Step::Late => {
                    self.out.flush()?;
                }
                Step::Ended => break,
            }
        }
        self.out.finish()?;
        Ok(match stops.signal().filter(|_| self.cut.is_some()) {
            Some(signal) => 128 + signal as u8,
            None => u8::from(self.failed),
        })
    }

    /// What takes the lines of a source, and what it needs for it.
    fn parts(&mut self, id: Id) -> (&mut Intake, &mut Registry, &mut Writer) {
        if let Some(sorter) = &mut self.out.sorter {
            sorter.from(id);
        }
        (&mut self.intakes[id], &mut self.registry, &mut self.out)
    }

    fn joined(&mut self, id: Id, sources: &mut Sources) -> io::Result<()> {
        let source = sources.get(id);
        // A filter that is fed nothing says nothing; a source that was asked for by name owes an end.
        let owes = source.named && !self.args.sources.is_empty();
        let shown = source.shown.clone();
        // Sources join in the order of their numbers.
        self.intakes
            .push(Intake::new(source.name.clone(), shown.clone(), source.regular, owes));
        if source.regular {
            self.files += 1;
            if let Some(sorter) = self.out.sorter.as_mut().filter(|_| !self.args.follow) {
                sorter.add_file(id);
            }
        }
        self.choose_file(sources);
        self.say(&Event::Join { source: shown })
    }

    fn left(&mut self, id: Id, sources: &mut Sources) -> io::Result<()> {
        // What ended by itself, before our patience did, was not cut.
        let cut = self.cut.clone().filter(|_| sources.get(id).cut);
        let (intake, registry, out) = self.parts(id);
        intake.end(cut.as_deref(), Ts::now(), registry, out)?;
        if let Some(sorter) = &mut self.out.sorter {
            sorter.remove(id);
        }
        if sources.get(id).regular {
            self.files -= 1;
            if self.files == 0 {
                self.registry.files_done(&mut self.out)?;
            }
        }
        self.choose_file(sources);
        let source = sources.get(id).shown.clone();
        self.say(&Event::Leave { source })
    }

    /// By time, files are read in step: the one that has come least far is next.
    fn choose_file(&mut self, sources: &mut Sources) {
        if let Some(sorter) = &self.out.sorter
            && let Some(next) = sorter.next_file()
        {
            for id in 0..sources.all().len() {
                sources.pause(id, id != next);
            }
        }
    }

    /// Whether there is nothing left to follow.
    fn all_ended(&self, sources: &Sources) -> bool {
        let complete = !sources.awaits();
        let mut sources = sources.all().iter().zip(&self.intakes);
        complete
            && self.registry.any()
            && self.registry.running() == 0
            && sources.all(|(source, intake)| !source.named || intake.spoke())
    }

    fn say(&mut self, event: &Event) -> io::Result<()> {
        if !self.args.verbose {
            return Ok(());
        }
        let mut line = Vec::new();
        self.events.event(event, Ts::now(), &mut line);
        self.out.lines(&line)
    }
}
