//! Taking back what was done: the undo of each stream that ended well, the last to end first.

use crate::launch;
use crate::run::{Run, signal};
use crate::work::Work;
use harmony::cli::{self, Failure};
use harmony::line::Outcome;
use harmony::plan::{Act, Journal};
use harmony::run::JOURNAL;
use harmony::sink::Folder;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// The folder, in that of the run, where the streams of these commands are kept.
const FOLDER: &str = ".undo";

/// What is to be taken back.
pub struct Rollback<'r, 'a> {
    run: &'r mut Run<'a>,
    folder: Folder,
    /// The streams, in the order in which they are taken back.
    streams: Vec<String>,
}

impl<'r, 'a> Rollback<'r, 'a> {
    /// What the journal says has ended well and was not taken back.
    pub fn of(run: &'r mut Run<'a>) -> Result<Self, Failure> {
        let path = run.set.folder.join(JOURNAL);
        let own = |error: io::Error| Failure::io(path.display(), &error);
        let journal = Journal::read(&fs::read(&path).map_err(own)?);
        // Those whose undo failed were told so; to try again may do more harm.
        let tried = journal.undone();
        let over = |name: &str| tried.iter().any(|(known, code)| *known == name && code.is_some());
        let streams = journal.well().into_iter().map(|(name, _)| name);
        let streams = streams.filter(|name| !over(name)).map(str::to_owned).collect();
        let folder = Folder::open(&run.set.folder.join(FOLDER)).map_err(own)?;
        Ok(Self { run, folder, streams })
    }

    /// Takes it back; the signal that cut it short, if one did.
    pub fn run(mut self) -> Result<Option<i32>, Failure> {
        let mut failed = Vec::new();
        for name in std::mem::take(&mut self.streams) {
            let Some(at) = self.run.plan.streams.iter().position(|stream| stream.name == name) else {
                continue;
            };
            if self.run.plan.streams[at].undo.is_empty() {
                continue;
            }
            let journal = self.run.set.folder.join(JOURNAL);
            let own = |error: io::Error| Failure::io(journal.display(), &error);
            self.run.log.note(Act::Undo { stream: name.clone() });
            self.run.log.sync().map_err(own)?;
            let (code, because) = match self.one(at, &name) {
                Ok(Step::Ended(code, because)) => (code, because),
                Ok(Step::Stopped(signal)) => {
                    cli::complain(
                        "cl-run",
                        &format!("{name}: its undo was cut short; --resume goes on with it"),
                    );
                    return Ok(Some(signal));
                }
                Err(because) => (127, because),
            };
            self.run.log.note(Act::Undone {
                stream: name.clone(),
                code,
            });
            self.run.log.sync().map_err(own)?;
            if code == 0 {
                cli::complain("cl-run", &format!("{name}: taken back"));
            } else {
                cli::complain("cl-run", &format!("{name}: its undo failed: {because}"));
                failed.push(name);
            }
        }
        if !failed.is_empty() {
            cli::complain("cl-run", &format!("could not be taken back: {}", failed.join(", ")));
        }
        Ok(None)
    }

    /// Runs the undo of one stream to its end.
    fn one(&mut self, at: usize, name: &str) -> Result<Step, String> {
        let run = &mut *self.run;
        let tree = run.tree(at)?.map(|tree| tree.path);
        let command = run.works().undo(&run.plan, run.schedule.graph(), at, tree.as_deref())?;
        let mut args = vec![name.to_owned(), "--heartbeat=0".to_owned(), "--".to_owned()];
        args.extend(command);
        let work = Work {
            args,
            stdin: None,
            key: String::new(),
        };
        let said = |error: io::Error| cli::reason(&error);
        let file = self.folder.begin(name).map_err(said)?;
        let mut running = launch::start(
            &mut run.nursery,
            (at, name),
            &work,
            Arc::new(file),
            &[],
            run.null.as_fd(),
        )
        .map_err(said)?;
        let mut stopped = None;
        loop {
            if let Some(ended) = running.ended(&mut run.nursery) {
                if let (Some(signal), Outcome::Cancelled) = (stopped, ended.exit.outcome) {
                    return Ok(Step::Stopped(signal));
                }
                let last = ended.exit.stderr.lines().last().unwrap_or_default();
                let because = match last {
                    "" => ended.exit.because,
                    last => format!("{}: {last}", ended.exit.because),
                };
                return Ok(Step::Ended(ended.code, because));
            }
            run.wait_for_streams();
            run.nursery.hear();
            if let Some(number) = run.stopped() {
                stopped = Some(number);
                running.signal(&mut run.nursery, signal(number));
            }
        }
    }
}

/// How a step came out.
enum Step {
    /// It ended with this code, and for this reason.
    Ended(i32, String),
    /// A signal that told us to end has ended it.
    Stopped(i32),
}
