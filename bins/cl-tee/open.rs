//! Opening stdout and every SINK, before the first byte is read.

use crate::args::Args;
use crate::report::{Report, Then};
use harmony::sink::{Bell, FileSink, Limits, Outlet, Policy, Queue, Split, SplitOptions, Target, target};
use harmony::sys::startup;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::Receiver;

/// A place where the stream goes.
#[derive(Debug)]
pub struct Sink {
    /// What it is called in messages.
    pub name: String,
    pub is_stdout: bool,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    File(FileSink),
    /// A reader, and where its outlet will come from when it has none yet.
    Queue(Box<Queue>, Option<Receiver<io::Result<Outlet>>>),
    Split(Box<Split>),
}

/// Opens everything; what cannot be opened is reported and left out.
///
/// `handed_down` holds what [`target::handed_down`] gave for the sinks.
pub fn all(
    args: &Args,
    handed_down: Vec<Option<io::Result<OwnedFd>>>,
    bell: &Bell,
    report: &mut Report,
) -> (Vec<Sink>, Then) {
    let mut sinks = Vec::new();
    let mut then = Then::GoOn;
    let mut take = |name: String, is_stdout, opened: io::Result<Kind>, report: &mut Report| match opened {
        Ok(kind) => sinks.push(Sink { name, is_stdout, kind }),
        Err(error) => {
            if report.sink_failed(&name, is_stdout, &error) == Then::Stop {
                then = Then::Stop;
            }
        }
    };
    let stdout = stdout(bell).map(|target| kind(target, Policy::Block, args));
    take("standard output".to_owned(), true, stdout, report);
    for (path, handed_down) in args.sinks.iter().zip(handed_down) {
        let opened = match handed_down {
            Some(fd) => fd.and_then(|fd| target::over(fd, bell)),
            None => target::open(path, args.append, bell),
        };
        let opened = opened.and_then(|target| match (target, args.rotate) {
            (Target::File(file), Some(rotation)) if file.metadata()?.is_file() => Ok(Kind::File(
                FileSink::new(file, args.append.then_some(args.buffer)).rotated(rotation, path)?,
            )),
            (target, _) => Ok(kind(target, args.on_full, args)),
        });
        take(path.display().to_string(), false, opened, report);
    }
    if let Some(path) = &args.split {
        let options = SplitOptions {
            append: args.append,
            rotation: args.rotate,
        };
        let opened = Split::open(path, options).map(|split| Kind::Split(Box::new(split)));
        take(path.display().to_string(), false, opened, report);
    }
    (sinks, then)
}

fn stdout(bell: &Bell) -> io::Result<Target> {
    if startup::was_closed(1) {
        // What can be read only: the first byte fails as it does on a closed descriptor, and an empty input is fine.
        return Ok(Target::Inherited(std::fs::File::open("/dev/null")?));
    }
    target::over(io::stdout().as_fd().try_clone_to_owned()?, bell)
}

fn kind(target: Target, policy: Policy, args: &Args) -> Kind {
    let limits = Limits::new(args.buffer, args.spill);
    match target {
        Target::File(file) => Kind::File(FileSink::new(file, args.append.then_some(args.buffer))),
        Target::Inherited(file) => Kind::File(FileSink::new(file, Some(args.buffer))),
        Target::Outlet(outlet) => Kind::Queue(Box::new(Queue::new(Some(outlet), policy, limits)), None),
        Target::Awaited(outlet) => Kind::Queue(Box::new(Queue::new(None, policy, limits)), Some(outlet)),
    }
}

/// The stdin to read: the real one, or, where it was closed, one that cannot be read.
///
/// # Errors
/// When the system has no descriptor left.
pub fn stdin() -> io::Result<std::fs::File> {
    if startup::was_closed(0) {
        return std::fs::File::options().write(true).open(Path::new("/dev/null"));
    }
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}
