//! Which kind of recording it is, and how it ends.

use crate::args::Args;
use crate::play::Player;
use harmony::cli::{Failure, complain};
use harmony::frame::Framer;
use harmony::line;
use harmony::replay::{End, LONGEST, Meta, Stage, Stopped, play_bare, play_stream};
use harmony::sys::{fds, process};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Plays it.
pub fn play(args: &Args) -> Result<u8, Failure> {
    let name = args.file.display();
    let input = |error: &std::io::Error| Failure::io(&name, error);
    let mut file = File::open(&args.file).map_err(|error| input(&error))?;
    let mut framer = Framer::new(LONGEST);
    let headed = first_line_has_header(&mut file, &mut framer).map_err(|error| input(&error))?;
    let mut player = match Player::new(args.speed, name.to_string()) {
        Err(Stopped::Gone) => return Ok(0),
        started => started.map_err(|stopped| stopped.failure(&name))?,
    };
    let played = if headed {
        again(args, &file).and_then(|again| {
            let stream = args.stream.as_ref().map(line::Name::as_str);
            play_stream(stream, again, file, framer, &mut player)
        })
    } else if let Some(name) = &args.stream {
        return Err(Failure::usage(format!(
            "--stream {name}: the lines of {} bear no stream's name",
            args.file.display()
        )));
    } else {
        meta(&args.file).and_then(|meta| play_bare(meta, file, framer, &mut player))
    };
    match played.and_then(|end| player.flush().map(|()| end)) {
        Ok(end) => close(args, end),
        // As every filter: who closes our stdout has seen enough.
        Err(Stopped::Gone) => Ok(0),
        // Nothing of what came before is lost; when it is stdout that fails, that is what is told.
        Err(stopped) => match player.flush() {
            Err(Stopped::Gone) => Ok(0),
            flushed => Err(flushed.err().unwrap_or(stopped).failure(&name)),
        },
    }
}

/// The file from its beginning, where that is needed and possible.
fn again(args: &Args, file: &File) -> Result<Option<File>, Stopped> {
    if args.stream.is_some() || !file.metadata().map_err(Stopped::Input)?.is_file() {
        return Ok(None);
    }
    // A second open file would not find what was renamed or removed meanwhile.
    fds::reopen(file, File::options().read(true))
        .map(Some)
        .map_err(Stopped::Input)
}

/// What `x.meta.json` says about `x.ndjson`.
fn meta(file: &Path) -> Result<Meta, Stopped> {
    let path = file.with_extension("meta.json");
    let broken = |why: String| Stopped::Broken(format!("{}: {why}", path.display()));
    match std::fs::read(&path) {
        Ok(bytes) => Meta::read(&bytes).map_err(broken),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Meta::default()),
        Err(error) => Err(broken(harmony::cli::reason(&error))),
    }
}

/// Reads up to the end of the first line, or as much of it as tells.
fn first_line_has_header(file: &mut File, framer: &mut Framer) -> std::io::Result<bool> {
    // A header is at most a name's length and a few numbers long; what later versions add to it is bounded by this.
    const ENOUGH: usize = 64 << 10;
    let mut seen = Vec::new();
    loop {
        let space = framer.space();
        let count = match file.read(space) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            count => count?,
        };
        seen.extend_from_slice(&space[..count]);
        framer.filled(count);
        if count == 0 || seen.contains(&b'\n') || seen.len() > ENOUGH || !begins_alike(&seen) {
            return Ok(line::header(&seen).is_some());
        }
    }
}

fn begins_alike(bytes: &[u8]) -> bool {
    let length = bytes.len().min(line::PREFIX.len());
    bytes[..length] == line::PREFIX[..length]
}

/// Ends as the recorded worker did.
fn close(args: &Args, end: End) -> Result<u8, Failure> {
    if args.no_exit {
        return Ok(0);
    }
    if let Some(code) = args.exit {
        return Ok(code);
    }
    match end {
        End::Code(code) => Ok(code),
        End::Signal(signal) => {
            process::die_by(signal);
            // It is one that ends nobody by default.
            Ok(128u8.wrapping_add(signal as u8))
        }
        End::Untold => {
            complain(
                "cl-replay",
                &format!(
                    "{}: it is not recorded how the worker ended; choose by --exit CODE or --no-exit",
                    args.file.display()
                ),
            );
            Ok(1)
        }
    }
}
