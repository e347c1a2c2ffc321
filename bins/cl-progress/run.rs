//! Decides what is read, where the stream goes on, and where the picture goes.

use crate::args::{Args, How};
use crate::fold::Fold;
use crate::output::{Live, Log, Output};
use crate::pump;
use crate::reports::Reports;
use crate::signals::{self, DRAWING, Signals};
use crate::watch::Watch;
use harmony::cli::{Failure, complain, reason};
use harmony::line::{Name, Ts, header};
use harmony::run::{Kept, News, find, newest, runs_folder, way_out};
use harmony::source::{Named, Place, Sources, Step};
use harmony::state::Stream;
use harmony::sys::startup::was_closed;
use harmony::sys::terminal::{Size, Terminal};
use harmony::view::{Look, TimeZone, command_free, day, entry, object, picture, total};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A line longer than this is counted, but not understood; a line of the stream may be longer, by its escapes.
const LONGEST: usize = 8 << 20;

/// Runs the tool; gives its exit code.
pub fn run(mut args: Args) -> Result<u8, Failure> {
    args.run = meant(args.run)?;
    let reads_stdin = args.run.is_none();
    let mut surroundings = Surroundings::find();
    if reads_stdin && was_closed(0) {
        return Err(Failure::io("stdin", &Errno::EBADF.into()));
    }
    let reports = Reports::asked(&args)?;
    let at = match (&args.run, args.at) {
        (Some(run), Some(at)) => Some(Ts(began(run)?.0.saturating_add(at.as_micros() as u64))),
        (None, Some(_)) => return Err(Failure::usage("--at shows a run that is kept: name its folder or file")),
        (_, None) => None,
    };
    let still = at.is_some() && surroundings.choose(args.progress) != How::Tty;
    if args.once || still {
        if was_closed(1) {
            return Err(Failure::io("stdout", &Errno::EBADF.into()));
        }
        return once(&args, at, &reports, surroundings.actions);
    }
    surroundings.passes = reads_stdin && !surroundings.stdout;
    let how = surroundings.choose(args.progress);
    if surroundings.passes {
        if was_closed(1) {
            return Err(Failure::io("stdout", &Errno::EBADF.into()));
        }
        if how == How::None && !reports.any() {
            return pass();
        }
    }
    watch(&args, at, how, surroundings, reports)
}

/// The run that is meant: the one that was named, or at a terminal without a name the newest; else stdin. Where it is
/// another than what was typed, that is said.
fn meant(typed: Option<PathBuf>) -> Result<Option<PathBuf>, Failure> {
    let home = runs_folder();
    let found = match &typed {
        Some(path) => find(path, home.as_deref()).map_err(|error| {
            let mut failure = Failure::io(path.display(), &error);
            if error.kind() == io::ErrorKind::NotFound {
                failure.message += "; to be there before a run begins, make its folder";
            }
            failure
        })?,
        None if was_closed(0) || !io::stdin().is_terminal() => return Ok(None),
        None => home.as_deref().and_then(newest).ok_or_else(|| {
            let place = home.map(|home| format!(" (in {} there is none)", home.display()));
            Failure::usage(format!(
                "stdin is a terminal: pipe a stream in, or name a run{}",
                place.unwrap_or_default()
            ))
        })?,
    };
    if typed.as_ref() != Some(&found) {
        complain("cl-progress", &format!("this is {}", found.display()));
    }
    Ok(Some(found))
}

/// What we were started in.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings {
    /// Whether stdin is copied to stdout.
    passes: bool,
    /// Whether stdout is a terminal.
    stdout: bool,
    /// Whether stderr is a terminal.
    stderr: bool,
    /// Whether a picture would be wrong although there is a terminal: in CI, on a dumb one.
    plain: bool,
    /// Whether lines are read by GitHub Actions.
    actions: bool,
}

impl Surroundings {
    fn find() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false");
        Self {
            passes: false,
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            actions: std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
            plain: set("CI") || std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
        }
    }

    fn choose(self, asked: How) -> How {
        let terminal = if self.passes { self.stderr } else { self.stdout };
        match asked {
            How::Auto if terminal && !self.plain => How::Tty,
            How::Auto => How::Plain,
            asked => asked,
        }
    }
}

/// Copies and shows nothing.
fn pass() -> Result<u8, Failure> {
    let asked = signals::last_chance().map_err(|error| Failure::io("signals", &error))?;
    pump::run(None)?;
    Ok(code(
        i32::try_from(asked.load(Ordering::Relaxed))
            .ok()
            .filter(|signal| *signal != 0),
    ))
}

/// Shows the run until it has ended, and passes the stream on where there is someone to pass it on to.
fn watch(args: &Args, at: Option<Ts>, how: How, surroundings: Surroundings, reports: Reports) -> Result<u8, Failure> {
    let passes = surroundings.passes;
    let signals = Signals::catch(if how == How::Tty { DRAWING } else { &[] });
    let signals = signals.map_err(|error| Failure::io("signals", &error))?;
    let output = output(how, surroundings)?;
    let look = Look {
        color: args.common.color.on(how == How::Tty),
        messages: args.lines,
        only: args.only.clone(),
        zone: TimeZone::system(),
    };
    let mut sources = sources(args.run.is_some())?;
    let (mut wake, mut pump) = (None, None);
    // Kept open until all is over: it is known by its number.
    let mut copied = None;
    let place = match &args.run {
        Some(run) => Place::Path(run.clone()),
        None if passes => {
            let failed = |error: io::Error| Failure::io("pipe", &error);
            let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
            let bell = Arc::new(bell.map_err(|error| failed(error.into()))?);
            let (read, copy) = pump::copy(Arc::clone(&bell)).map_err(failed)?;
            let place = Place::Inherited(read.as_raw_fd());
            (wake, copied) = (Some(bell), Some((read, copy)));
            place
        }
        None => Place::Inherited(0),
    };
    add(&mut sources, place, args.run.as_deref())?;
    let _read = copied.map(|(read, copy)| {
        pump = Some(std::thread::spawn(move || pump::run(Some(copy))));
        read
    });
    let kept = kept(args.run.as_deref(), |folder| {
        Kept::follow(folder, &Arc::new(News::new()?))
    })?;
    let mut fold = Fold::new(args.agent, passes, reports.any());
    fold.until(at);
    if how == How::Tty {
        fold.state.remember();
    }
    let seen = Watch {
        sources,
        fold,
        at,
        look,
        output,
        signals,
        interval: args.interval,
        wake,
        pump,
        follows: args.run.is_some(),
        reports,
        kept,
    }
    .run()?;
    Ok(if seen.failed { 1 } else { code(seen.signal) })
}

/// The plan's run that a folder may hold.
fn kept(run: Option<&Path>, open: impl FnOnce(&Path) -> io::Result<Kept>) -> Result<Option<Kept>, Failure> {
    let folder = run.filter(|run| run.is_dir());
    let kept = folder.map(|folder| open(folder).map_err(|error| Failure::io(folder.display(), &error)));
    kept.transpose()
}

fn code(signal: Option<i32>) -> u8 {
    signal.map_or(0, |signal| u8::try_from(128 + signal).unwrap_or(1))
}

fn sources(follows: bool) -> Result<Sources, Failure> {
    let mut sources = Sources::new(follows, LONGEST).map_err(|error| Failure::io("epoll", &error))?;
    sources.spare_fifos();
    Ok(sources)
}

fn add(sources: &mut Sources, place: Place, run: Option<&Path>) -> Result<(), Failure> {
    let name = run.is_none().then(|| Name::near("stdin"));
    // With one source, no name is given twice.
    let _ = sources.add(&[Named { name, place }]);
    Ok(())
}

fn output(how: How, surroundings: Surroundings) -> Result<Output, Failure> {
    let passes = surroundings.passes;
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let aside = if passes { stderr.as_fd() } else { stdout.as_fd() };
    Ok(match how {
        How::Tty | How::Auto => {
            let terminal = Terminal::behind(aside).or_else(|_| Terminal::controlling());
            let terminal = terminal.map_err(|error| {
                let why = reason(&error);
                Failure::usage(format!(
                    "no terminal to draw on ({why}): use --progress plain, or --once"
                ))
            })?;
            Output::Live(Box::new(Live::new(terminal, !passes)))
        }
        How::Plain | How::Json => {
            let own = aside.try_clone_to_owned().map(File::from);
            let own = own.map_err(|error| Failure::io(if passes { "stderr" } else { "stdout" }, &error))?;
            Output::Log(Box::new(Log::new(own, how == How::Json, surroundings.actions)))
        }
        How::None => Output::Nowhere,
    })
}

/// When the run's first line was written.
fn began(run: &Path) -> Result<Ts, Failure> {
    let mut sources = sources(false)?;
    add(&mut sources, Place::Path(run.to_owned()), Some(run))?;
    let mut began: Option<Ts> = None;
    loop {
        match sources.next(None).map_err(|error| Failure::io("epoll", &error))? {
            Step::Lines(_, lines) => {
                let times = lines
                    .split(|byte| *byte == b'\n')
                    .filter_map(header)
                    .map(|head| head.ts);
                began = began.into_iter().chain(times).min();
            }
            Step::Failed(_, error) => return Err(Failure::io(run.display(), &error)),
            Step::Ended => break,
            _ => {}
        }
    }
    began.ok_or_else(|| Failure::usage(format!("{}: no line tells its time: leave out --at", run.display())))
}

/// Shows the run as it is now, or was at a time.
fn once(args: &Args, at: Option<Ts>, reports: &Reports, actions: bool) -> Result<u8, Failure> {
    let mut sources = sources(false)?;
    let place = args.run.clone().map_or(Place::Inherited(0), Place::Path);
    add(&mut sources, place, args.run.as_deref())?;
    let mut fold = Fold::new(args.agent, false, reports.any());
    fold.until(at);
    let mut failed = false;
    let told: &mut dyn FnMut(usize, &Stream, Ts) = &mut |_, _, _| {};
    loop {
        let mut joined = None;
        match sources.next(None).map_err(|error| Failure::io("epoll", &error))? {
            Step::Joined(id) => joined = Some(id),
            Step::Lines(id, lines) => fold.lines(id, lines, told),
            Step::Tail(id, bytes) => fold.tail(id, bytes, told),
            Step::Piece { id, bytes, last, eol } => fold.piece(id, (bytes, last, eol), told),
            Step::Left(id) => fold.left(id, told),
            Step::Failed(what, error) => {
                failed = true;
                complain("cl-progress", &format!("{what}: {}", reason(&error)));
            }
            Step::Awaited(_) | Step::Other(_) | Step::Quiet | Step::Late => {}
            Step::Ended => break,
        }
        if let Some(id) = joined {
            let source = sources.get(id);
            let (name, shown) = (source.name.clone(), source.shown.clone());
            fold.joined(id, name, shown, source.regular);
        }
    }
    // Looked at last, so that it knows of every start that the files tell.
    let kept = kept(args.run.as_deref(), Kept::open)?;
    let status = kept.as_ref().and_then(|kept| match at {
        Some(at) => kept.status_at(at.seconds(), &fold.state),
        None => kept.status(&fold.state),
    });
    let mut cut = None;
    if let (Some(status), Some(kept)) = (&status, &kept) {
        fold.state.plan(status);
        cut = way_out(status, kept.folder());
    }
    if args.run.is_none() || cut.is_some() {
        fold.state.finish();
    }
    let look = Look {
        color: args.common.color.on(io::stdout().is_terminal()),
        messages: args.lines,
        only: args.only.clone(),
        zone: TimeZone::system(),
    };
    let now = at.unwrap_or_else(Ts::now);
    failed |= !reports.write(&fold.state, now, &look);
    let written = io::stdout().write_all(frame(args.progress, &fold, now, &look, actions).as_bytes());
    if let Some(cut) = cut {
        complain("cl-progress", &cut);
    }
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io("stdout", &error)),
        _ => Ok(u8::from(failed)),
    }
}

fn frame(how: How, fold: &Fold, now: Ts, look: &Look, actions: bool) -> String {
    let state = &fold.state;
    let lines: Vec<String> = match how {
        How::None => Vec::new(),
        How::Plain => {
            let at = |stream: &Stream| stream.ended.unwrap_or(now);
            let mut lines = Vec::new();
            let mut today = String::new();
            for (_, stream) in look.streams(state) {
                let day = day(at(stream), &look.zone);
                if day != today {
                    lines.push(day.clone());
                    today = day;
                }
                lines.push(entry(stream, at(stream), look, actions));
            }
            let free = |line: String| {
                if actions {
                    command_free(&line).into_owned()
                } else {
                    line
                }
            };
            lines.extend(total(state, now, look).map(free));
            lines
        }
        How::Json => look
            .streams(state)
            .map(|(_, stream)| object(stream, now).to_string())
            .collect(),
        How::Auto | How::Tty => {
            let mut size = Size::of(io::stdout()).unwrap_or_else(Size::from_env);
            // It is not drawn on a screen: everything has room.
            size.rows = usize::MAX;
            picture(state, now, size, look)
                .iter()
                .map(|row| row.as_str().to_owned())
                .collect()
        }
    };
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_the_surroundings() {
        let none = Surroundings::default();
        for (surroundings, how) in [
            (
                Surroundings {
                    passes: true,
                    stderr: true,
                    ..none
                },
                How::Tty,
            ),
            (
                Surroundings {
                    passes: true,
                    stdout: false,
                    ..none
                },
                How::Plain,
            ),
            (
                Surroundings {
                    passes: true,
                    stderr: true,
                    plain: true,
                    ..none
                },
                How::Plain,
            ),
            (Surroundings { stdout: true, ..none }, How::Tty),
            (Surroundings { stderr: true, ..none }, How::Plain),
            (
                Surroundings {
                    stdout: true,
                    plain: true,
                    ..none
                },
                How::Plain,
            ),
        ] {
            assert_eq!(surroundings.choose(How::Auto), how, "{surroundings:?}");
            assert_eq!(surroundings.choose(How::Json), How::Json);
        }
    }
}
