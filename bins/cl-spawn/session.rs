//! The conversation that a run begins, or goes on with.

use crate::args::Args;
use crate::ours;
use harmony::agent::{Kind, Session};
use harmony::cli::{Failure, reason};
use harmony::line::{Event, Name, header, subtype};
use std::ffi::OsString;
use std::path::Path;

/// What the options say; of `Unnamed` and `New` without an id of the user's, the attempt chooses one.
pub fn asked(args: &Args, name: &Name, kind: Kind) -> Result<Session, Failure> {
    if let Some(id) = &args.session {
        return Ok(Session::New(id.clone()));
    }
    let Some(resume) = &args.resume else {
        return Ok(begin(kind, &args.args));
    };
    let folder = Path::new(resume);
    let id = if folder.is_dir() {
        of_run(folder, name)?
    } else {
        resume
            .to_str()
            .filter(|id| !id.contains('/'))
            .ok_or_else(|| ours(format!("--resume {}: neither an id nor a run folder", folder.display())))?
            .to_owned()
    };
    Ok(if args.fork {
        let own = (kind == Kind::Claude).then(fresh);
        Session::Forked { of: id, id: own }
    } else {
        Session::Resumed(id)
    })
}

/// A new conversation, under an id of our choice where the agent takes one.
pub fn begin(kind: Kind, args: &[OsString]) -> Session {
    if kind.takes_session_id() && !kind.names_session(args) {
        Session::New(fresh())
    } else {
        Session::Unnamed
    }
}

fn fresh() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The conversation that a stream of an earlier run told last.
fn of_run(folder: &Path, name: &Name) -> Result<String, Failure> {
    let file = folder.join(format!("{name}.ndjson"));
    let lines =
        std::fs::read(&file).map_err(|error| ours(format!("--resume {}: {}", file.display(), reason(&error))))?;
    let told = lines.split(|&byte| byte == b'\n').rev().find_map(|line| {
        // A worker's own line is none of our events, whatever it says; nor is another stream's in the same file.
        let header = header(line).filter(|header| header.stream == name.as_str())?;
        subtype(line, &header)?;
        match Event::read(line)? {
            Event::Start(start) => start.session_id,
            Event::Exit(exit) | Event::Turn(exit) => exit.session_id,
            _ => None,
        }
    });
    told.ok_or_else(|| {
        ours(format!(
            "--resume {}: it tells no conversation of an agent",
            file.display()
        ))
    })
}
