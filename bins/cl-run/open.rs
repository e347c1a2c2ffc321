//! From the command line to a run: a new one, or one that goes on.

use crate::args::Args;
use crate::journal::Log;
use crate::pump::Pump;
use crate::run::{Run, Setting, at_once};
use crate::worktree::hold;
use crate::{add, dry, launch};
use harmony::cli::{self, Failure, reason};
use harmony::plan::{Act, Entry, Graph, Journal, Plan};
use harmony::role::Roles;
use harmony::run::{
    Document, HELD, JOURNAL, durations, earlier, filled_up, fresh_name, plan_of_run, read_plan, runs_folder,
    state_folder,
};
use harmony::sink::Folder;
use harmony::sys::fds::stay_open;
use harmony::sys::files::private_folder;
use harmony::worker::Signals;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// The plan is wrong.
const WRONG: u8 = 2;

/// Runs what the command line asks for; gives the exit code.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let roles = Roles::load(None).map_err(|error| wrong(error.to_string()))?;
    if let Some(run) = &args.resume {
        return resume(args, run, &roles);
    }
    let Some(path) = &args.plan else {
        return Err(Failure::usage("no plan: name one"));
    };
    if let Some(run) = &args.add {
        return add::hand_in(run, path, &roles, WRONG);
    }
    let document = read_plan("cl-run", path, &roles, WRONG)?;
    let (graph, ranks) = order(&document.plan, &roles)?;
    if args.dry_run {
        return print(&dry::lines(&document.plan, &graph, &ranks));
    }
    let signals = block()?;
    let folder = make(args, &document)?;
    let (mut log, journal) = open_journal(&folder)?;
    if !journal.entries.is_empty() {
        return Err(held_already(&folder));
    }
    let held = held(&folder)?;
    let cwd = std::env::current_dir().unwrap_or_default();
    log.note(begin(args, &document.plan, &cwd));
    go(args, &roles, document, (folder, held), (log, journal), signals)
}

fn resume(args: &Args, run: &Path, roles: &Roles) -> Result<u8, Failure> {
    let document = read_plan("cl-run", &plan_of_run(run)?, roles, WRONG)?;
    let signals = block()?;
    let folder = fs::canonicalize(run).map_err(|error| Failure::io(run.display(), &error))?;
    let (mut log, journal) = open_journal(&folder)?;
    // What a killed run has started ends with it, a moment later.
    let held = held(&folder)?;
    // Whatever is relative in the plan is so to the folder where the run began.
    let began = journal.entries.iter().rev().find_map(|Entry { act, .. }| match act {
        Act::Begin { cwd, .. } if !cwd.is_empty() => Some(PathBuf::from(cwd)),
        _ => None,
    });
    let began = began.unwrap_or_else(|| std::env::current_dir().unwrap_or_default());
    std::env::set_current_dir(&began).map_err(|error| Failure::io(began.display(), &error))?;
    log.note(begin(args, &document.plan, &began));
    go(args, roles, document, (folder, held), (log, journal), signals)
}

fn go(
    args: &Args,
    roles: &Roles,
    Document { plan, format, .. }: Document,
    (folder, _held): (PathBuf, OwnedFd),
    (mut log, journal): (Log, Journal),
    signals: Signals,
) -> Result<u8, Failure> {
    let own = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| Failure::io(what, &error)
    };
    let shown = folder.display().to_string();
    log.write().map_err(own(&shown))?;
    let joblog = args.joblog.as_deref().map(joblog).transpose()?;
    let (pump, bells) = match Pump::start() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
        started => started.map_err(own("stdout"))?,
    };
    // Who has named the folder knows it.
    if args.run.is_none() && args.resume.is_none() {
        cli::complain("cl-run", &format!("the run is kept in {shown}"));
    }
    let nursery = launch::nursery(&folder, bells).map_err(own("cl-spawn"))?;
    let (graph, ranks) = order(&plan, roles)?;
    let streams = Folder::open(&folder).map_err(own(&shown))?;
    let setting = Setting {
        args,
        roles,
        folder: &folder,
        plan: plan_of_run(&folder)?,
        format,
        streams: &streams,
        locks: state_folder().map(|state| state.join("locks")),
    };
    Run::new(
        &setting, plan, graph, &ranks, log, &journal, signals, pump, nursery, joblog,
    )
    .map_err(own("this process"))?
    .until_it_ends()
}

/// Has signals wait for us. Before the first thread is started, for another one would hear them in our place.
fn block() -> Result<Signals, Failure> {
    Signals::block().map_err(|error| Failure::io("signals", &error))
}

/// Who comes before whom, and in which order streams start where not all can.
pub fn order(plan: &Plan, roles: &Roles) -> Result<(Graph, Vec<usize>), Failure> {
    let graph = Graph::new(plan).map_err(|_| wrong("the plan has a circle".to_owned()))?;
    let takes = filled_up(&durations(plan, &earlier(&plan.name)));
    let ranks = graph.ranks(&plan.priorities(roles), &takes);
    Ok((graph, ranks))
}

fn wrong(message: String) -> Failure {
    Failure { message, code: WRONG }
}

fn begin(args: &Args, plan: &Plan, cwd: &Path) -> Act {
    Act::Begin {
        v: 1,
        plan: plan.name.clone(),
        pid: std::process::id() as i32,
        cwd: cwd.display().to_string(),
        jobs: at_once(args, plan),
    }
}

fn held_already(folder: &Path) -> Failure {
    Failure::usage(format!(
        "{}: holds a run already: go on with --resume, or name another folder",
        folder.display()
    ))
}

/// Makes the run's folder, with the plan in it.
fn make(args: &Args, document: &Document) -> Result<PathBuf, Failure> {
    let io = |path: &Path, error: &io::Error| Failure::io(path.display(), error);
    let folder = match &args.run {
        Some(run) => run.clone(),
        None => {
            let runs = runs_folder().ok_or_else(|| {
                Failure::usage("runs lie in $XDG_STATE_HOME or $HOME: set one of them, or name a folder by --run")
            })?;
            runs.join(fresh_name(&document.plan.name))
        }
    };
    private_folder(&folder).map_err(|error| io(&folder, &error))?;
    let folder = fs::canonicalize(&folder).map_err(|error| io(&folder, &error))?;
    if plan_of_run(&folder).is_ok() {
        return Err(held_already(&folder));
    }
    let plan = folder.join(document.format.file_name());
    write_new(&plan, &document.text).map_err(|error| io(&plan, &error))?;
    if args.run.is_none()
        && let Some(runs) = folder.parent()
    {
        // The newest, by a name; that there is none is no reason not to run.
        let fresh = runs.join(format!(".latest-{}", std::process::id()));
        let _ = symlink(&folder, &fresh).and_then(|()| fs::rename(&fresh, runs.join("latest")));
    }
    Ok(folder)
}

/// Writes a file that takes its name when it is whole.
pub fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(fresh, path)
}

fn open_journal(folder: &Path) -> Result<(Log, Journal), Failure> {
    Log::open(folder).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => Failure {
            message: format!("{}: it runs, in another process", folder.display()),
            code: 1,
        },
        _ => Failure::io(folder.join(JOURNAL).display(), &error),
    })
}

/// Waits until nothing that the run had started before is left; what we start holds it from now on.
fn held(folder: &Path) -> Result<OwnedFd, Failure> {
    let path = folder.join(HELD);
    let held = hold(&path, true).and_then(|held| stay_open(&held).map(|()| held));
    held.map_err(|error| Failure::io(path.display(), &error))
}

/// The log of jobs, with its first line where it has none.
fn joblog(path: &Path) -> Result<File, Failure> {
    let columns = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
    let open = || -> io::Result<File> {
        let mut file = File::options().append(true).create(true).mode(0o600).open(path)?;
        if file.metadata()?.len() == 0 {
            file.write_all(columns.as_bytes())?;
        }
        Ok(file)
    };
    open().map_err(|error| Failure::io(path.display(), &error))
}

fn print(text: &str) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure {
            message: format!("stdout: {}", reason(&error)),
            code: 1,
        }),
        _ => Ok(0),
    }
}
