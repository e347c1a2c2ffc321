//! Streams that are added to a run: a plan of them in a file of the run's folder, which whoever runs it takes.

use harmony::cli::{self, Failure, reason};
use harmony::plan::{Act, Entry, Format, Journal, Plan};
use harmony::role::Roles;
use harmony::run::{plan_of_run, read_plan, read_text};
use harmony::sys::files::private_folder;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder, in that of the run, where additions are put.
const FOLDER: &str = "add";

/// What parts a file's name from that of the stream that wrote it.
const BY: char = '@';

/// `cl-run --add RUN PLAN`: checks the streams, and hands them to whoever runs the run.
pub fn hand_in(run: &Path, path: &Path, roles: &Roles, wrong: u8) -> Result<u8, Failure> {
    let plan = read_plan("cl-run", &plan_of_run(run)?, roles, wrong)?.plan;
    let (text, format) = read_text(path)?;
    let name = path.display().to_string();
    if let Err(problems) = plan.grown(&text, format, roles) {
        for problem in &problems {
            cli::complain("cl-run", &problem.told(&name));
        }
        return Ok(wrong);
    }
    let folder = run.join(FOLDER);
    let io = |error: &io::Error| Failure::io(folder.display(), error);
    private_folder(&folder).map_err(|error| io(&error))?;
    let by = std::env::var_os("CL_RUN")
        .filter(|ours| fs::canonicalize(ours).is_ok_and(|ours| fs::canonicalize(run).is_ok_and(|run| run == ours)))
        .and_then(|_| std::env::var("CL_STREAM").ok())
        .map_or_else(String::new, |by| format!("{BY}{}", by.replace('/', "%")));
    let stamp = harmony::line::Ts::now().0;
    let file = folder.join(format!("{stamp}-{}{by}.{}", std::process::id(), format.ending()));
    crate::open::write_new(&file, &text).map_err(|error| io(&error))?;
    Ok(0)
}

/// What is added to a run that we run.
pub struct Additions {
    folder: PathBuf,
    inotify: Inotify,
    /// How many streams there may be.
    most: usize,
    /// How deep streams may be that were added by added ones.
    deepest: u32,
    depths: HashMap<String, u32>,
}

impl Additions {
    /// Begins to look for them.
    ///
    /// # Errors
    /// What the system says.
    pub fn watch(run: &Path, most: usize, deepest: u32, journal: &Journal) -> io::Result<Self> {
        let folder = run.join(FOLDER);
        private_folder(&folder)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(&folder, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE)?;
        let mut depths = HashMap::new();
        for Entry { act, .. } in &journal.entries {
            if let Act::Add { streams, by } = act {
                let depth = depth_of(&depths, by) + 1;
                depths.extend(streams.iter().map(|stream| (stream.clone(), depth)));
            }
        }
        Ok(Self {
            folder,
            inotify,
            most,
            deepest,
            depths,
        })
    }

    /// What is readable when something was put there.
    pub fn news(&self) -> &Inotify {
        &self.inotify
    }

    /// Whether something was put there since this was asked last.
    pub fn any(&self) -> bool {
        let mut any = false;
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {
            any = true;
        }
        any
    }

    /// Takes what is there into the plan: the plan as it has grown, and the acts that say so. What is wrong is told and
    /// set aside.
    pub fn take(&mut self, plan: &Plan, roles: &Roles) -> Option<(Plan, Vec<Act>, Vec<PathBuf>)> {
        let entries = fs::read_dir(&self.folder).ok()?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| {
            path.extension()
                .is_some_and(|ext| [Format::Toml, Format::Json].iter().any(|format| ext == format.ending()))
        });
        files.sort();
        let mut grown = plan.clone();
        let (mut acts, mut taken) = (Vec::new(), Vec::new());
        for path in files {
            match self.one(&grown, &path, roles) {
                Ok((plan, act)) => {
                    grown = plan;
                    acts.extend(act);
                    taken.push(path);
                }
                Err(why) => {
                    for why in why {
                        cli::complain("cl-run", &why);
                    }
                    let mut aside = path.clone().into_os_string();
                    aside.push(".refused");
                    if let Err(error) = fs::rename(&path, aside) {
                        cli::complain("cl-run", &format!("{}: {}", path.display(), reason(&error)));
                    }
                }
            }
        }
        (!taken.is_empty()).then_some((grown, acts, taken))
    }

    fn one(&mut self, plan: &Plan, path: &Path, roles: &Roles) -> Result<(Plan, Option<Act>), Vec<String>> {
        let name = path.display().to_string();
        let (text, format) = read_text(path).map_err(|error| vec![error.message])?;
        let grown = plan.grown(&text, format, roles);
        let grown = grown.map_err(|all| all.iter().map(|problem| problem.told(&name)).collect::<Vec<_>>())?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let by = stem
            .split_once(BY)
            .map(|(_, by)| by.replace('%', "/"))
            .unwrap_or_default();
        let added: Vec<String> = grown.streams[plan.streams.len()..]
            .iter()
            .map(|stream| stream.name.clone())
            .collect();
        if added.is_empty() {
            return Ok((grown, None));
        }
        if grown.streams.len() > self.most {
            let what = format!(
                "{name}: {} streams would be more than {}: see --max-streams",
                grown.streams.len(),
                self.most
            );
            return Err(vec![what]);
        }
        let depth = depth_of(&self.depths, &by) + 1;
        if depth > self.deepest {
            let what = format!("{name}: added by {by}, which was added itself: too deep; see --max-depth");
            return Err(vec![what]);
        }
        self.depths.extend(added.iter().map(|stream| (stream.clone(), depth)));
        Ok((grown, Some(Act::Add { streams: added, by })))
    }
}

fn depth_of(depths: &HashMap<String, u32>, by: &str) -> u32 {
    depths.get(by).copied().unwrap_or(0)
}
