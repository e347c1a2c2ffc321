//! What a case's programs are started with, and where.

use crate::plan::{Case, Disk, Filter, Join, Policy, Reader, Tee, Work};
use crate::processes::MARK;
use nix::sys::stat::Mode;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a case takes place.
pub struct Site {
    /// A folder of its own.
    pub folder: PathBuf,
    /// A small disk, where one could be mounted.
    pub room: Option<PathBuf>,
    /// What marks its processes.
    pub tag: String,
}

impl Site {
    /// What marks the processes of a cl-spawn.
    pub fn mark(&self, spawn: usize) -> String {
        format!("{}{spawn}.", self.tag)
    }

    /// The FIFO of a stream.
    pub fn source(&self, spawn: usize) -> PathBuf {
        self.folder.join(format!("s{spawn}.fifo"))
    }

    /// The FIFO that cl-tee writes.
    pub fn sink(&self) -> PathBuf {
        self.folder.join("sink.fifo")
    }

    /// Where cl-tee's files lie.
    pub fn files(&self, tee: &Tee) -> PathBuf {
        match (&self.room, tee.disk) {
            (Some(room), Some(Disk::Files)) => room.clone(),
            _ => self.folder.clone(),
        }
    }

    /// The ledger of an attempt.
    pub fn ledger(&self, spawn: usize, attempt: u64) -> PathBuf {
        self.folder.join(format!("ledgers/s{spawn}.{attempt}"))
    }
}

/// The folder of the built programs.
fn programs() -> &'static Path {
    let program = Path::new(env!("CARGO_BIN_EXE_cl-spawn"));
    program.parent().expect("a program lies in a folder")
}

/// What runs as workers.
pub fn fixture() -> PathBuf {
    programs().join("examples/fixture")
}

/// Makes what the programs find there.
pub fn prepare(case: &Case, site: &Site) {
    let at = |name: &str| site.folder.join(name);
    for folder in ["ledgers", "bin", "runtime", "err"] {
        std::fs::create_dir_all(at(folder)).expect("makes a folder");
    }
    if let Some(room) = &site.room {
        for entry in std::fs::read_dir(room).expect("a small disk").flatten() {
            let path = entry.path();
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
    }
    std::os::unix::fs::symlink(fixture(), at("bin/claude")).expect("makes a link");
    let mkfifo = |path: &Path| nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("makes a FIFO");
    mkfifo(&site.sink());
    mkfifo(&at("never.fifo"));
    for (number, spawn) in case.spawns.iter().enumerate() {
        if case.join == Join::Fifos {
            mkfifo(&site.source(number));
        }
        if let Work::Kept { prompts } = spawn.work {
            let lines = (1..=prompts).map(|n| format!("@@as n=2 delay=0.01@@ Question {n}\n"));
            std::fs::write(at(&format!("s{number}.prompts")), lines.collect::<String>()).expect("writes");
        }
    }
}

fn command(program: &str, site: &Site, name: &str, mark: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    let bin = site.folder.join("bin");
    let err = File::create(site.folder.join("err").join(name)).expect("makes a file");
    command
        .env_clear()
        .env("PATH", format!("{}:{}:{path}", bin.display(), programs().display()))
        .env("HOME", "/nonexistent")
        .env("XDG_RUNTIME_DIR", site.folder.join("runtime"))
        .env("TMPDIR", &site.folder)
        .env(MARK, mark)
        .current_dir(&site.folder)
        .stderr(err);
    command
}

/// The command of a stream.
pub fn spawn(case: &Case, site: &Site, number: usize) -> Command {
    let spawn = &case.spawns[number];
    let name = format!("s{number}");
    let ledger = site.folder.join("ledgers").join(&name);
    let mut command = command("cl-spawn", site, &name, &site.mark(number));
    command.args(["-k", "0.2", "--backoff", "0.02", "--heartbeat", spawn.heartbeat]);
    command.args(["--capture", spawn.capture, "--max-line", spawn.max_line]);
    command.args(["--retries", &spawn.retries.to_string()]);
    match &spawn.work {
        Work::Seeded(work) => {
            command.args(["--agent", "plain", &name, "--"]).arg(fixture());
            command.arg("seeded").arg(ledger);
            let delay = work.delay.as_secs_f64();
            command.args([format!("seed={}", work.seed), format!("count={}", work.count)]);
            command.args([format!("size={}", work.size), format!("group={}", work.group)]);
            command.args([format!("delay={delay}"), format!("fails={}", work.fails)]);
            command.arg(format!("exit={}", work.exit));
            for (is, option) in [(work.hang, "hang=1"), (work.deaf, "deaf=1"), (work.leaves, "leaves=1")] {
                command.args(is.then_some(option));
            }
        }
        Work::Kept { .. } => {
            command.env("LEDGER", ledger);
            command.args([&name, "--keep", "--stdin", &format!("{name}.prompts")]);
        }
    }
    command
}

/// The command of a filter.
pub fn filter(case: &Case, site: &Site, at: usize) -> Command {
    let command = |program: &str| command(program, site, program, &site.tag);
    match &case.filters[at] {
        Filter::Merge { by_time, verbose } => {
            let mut command = command("cl-merge");
            command.args(by_time.then_some("--order=time"));
            command.args(verbose.then_some("--verbose"));
            if case.join == Join::Fifos {
                command.args((0..case.spawns.len()).map(|number| site.source(number)));
            }
            command.args(case.unopened.then_some("never.fifo"));
            command
        }
        Filter::Tee(tee) => {
            let mut command = match tee_limit(site, tee) {
                // In blocks of 512 bytes, as POSIX has it.
                Some(bytes) => {
                    let mut shell = command("sh");
                    let script = format!("ulimit -f {} && exec cl-tee \"$@\"", bytes / 512);
                    shell.args(["-c", &script, "cl-tee"]);
                    shell
                }
                None => command("cl-tee"),
            };
            if let (Some(room), Some(Disk::Spill)) = (&site.room, tee.disk) {
                command.env("TMPDIR", room);
            }
            command.args(["--buffer", "16K", "--on-full", tee.on_full]);
            command.args(tee.pipes.then_some("-p"));
            command.args(tee.sync.then_some("--sync"));
            if tee.split {
                command.arg("--split").arg(site.files(tee).join("run"));
            }
            command.args(tee.file.then(|| site.files(tee).join("all.ndjson")));
            command.args(tee.fifo.map(|_: Reader| site.sink()));
            command
        }
        Filter::Progress { how } => {
            let mut command = command("cl-progress");
            command.args(["--progress", how]);
            command
        }
        Filter::Wait { policy, pass } => {
            let mut command = command("cl-wait");
            let names: Vec<String> = (0..case.spawns.len()).map(|number| format!("s{number}")).collect();
            match policy {
                Policy::All => command.arg("--all"),
                Policy::Expected => command.args(["--expect", &names.join(",")]),
                Policy::First => command.arg("--first"),
                Policy::Any => command.arg("--any"),
                Policy::Need => command.args(["--need", "s0", "--any", "--grace", "0.1"]),
            };
            command.args(pass.then_some("--pass"));
            command
        }
    }
}

/// How long cl-tee's files may be, where that is what is short.
pub fn tee_limit(site: &Site, tee: &Tee) -> Option<u64> {
    match tee.disk? {
        Disk::Limit(bytes) => Some(bytes),
        // Where no disk could be mounted.
        Disk::Files | Disk::Spill => site.room.is_none().then_some(24 << 10),
    }
}
