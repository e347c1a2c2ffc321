//! From the command line to what is asked of a worker.

use crate::args::{Agent, Args, CaptureHow, StderrWhere, Stdin};
use crate::role::{self, InForce};
use crate::{OURS, ours};
use harmony::agent::{Ask, Kind, command};
use harmony::cli::{self, Failure, reason};
use harmony::line::Name;
use harmony::sink::Shared;
use harmony::sys::fds::{What, what};
use harmony::worker::{self, Capture, Limits, Order, StderrTo};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What agents get where nothing else is said.
const AGENT_IDLE: Duration = Duration::from_secs(600);
const AGENT_LINGER: Duration = Duration::from_secs(10);

/// Runs what the command line asks for; gives the exit code.
pub fn run(mut args: Args) -> Result<u8, Failure> {
    let Some(name) = args.name.clone() else {
        return role::list(&args, &mut stdout()?);
    };
    if args.roles {
        return role::list(&args, &mut stdout()?);
    }
    let chosen = args.role.as_deref() == Some("auto");
    let prompt = if args.dry_run && !chosen { None } else { prompt(&args)? };
    let role = role::apply(&mut args, prompt.as_deref())?;
    let worker = Worker::choose(&args, &name)?;
    let env = environment(&args, &name, &worker, role.as_ref());
    if args.dry_run {
        return print(&args, &worker, &env);
    }
    let prompt = match (prompt, &role) {
        (Some(prompt), Some(role)) => Some(role.frame(prompt, args.run.as_deref())?),
        (prompt, _) => prompt,
    };
    let order = order(args, name, worker, env, prompt, role)?;
    let name = order.argv.first().cloned().unwrap_or_default();
    let sink = stdout()?;
    let ended =
        worker::run(order, sink).map_err(|error| ours(format!("cannot run {}: {}", name.display(), reason(&error))))?;
    if let Some(error) = &ended.sink {
        cli::complain("cl-spawn", &format!("stdout: {}", reason(error)));
    }
    if ended.exit.outcome == harmony::line::Outcome::Unstartable {
        cli::complain("cl-spawn", &ended.exit.because);
    }
    Ok(ended.code)
}

fn stdout() -> Result<Shared, Failure> {
    Shared::stdout().map_err(|error| Failure {
        message: format!("stdout: {}", reason(&error)),
        code: if error.kind() == io::ErrorKind::BrokenPipe {
            141
        } else {
            OURS
        },
    })
}

/// The worker that was chosen: what to run, how to read it.
struct Worker {
    argv: Vec<OsString>,
    kind: Option<Kind>,
    /// Whether it is an agent's command line of our making, or plays one.
    as_agent: bool,
}

impl Worker {
    fn choose(args: &Args, name: &Name) -> Result<Self, Failure> {
        if !args.command.is_empty() {
            return Self::command(args);
        }
        match args.agent.clone().unwrap_or(Agent::Known(Kind::Claude)) {
            Agent::Auto | Agent::Known(Kind::Plain) => Err(ours(
                "--agent: auto and plain need a COMMAND; put it behind --, as in cl-spawn NAME -- COMMAND",
            )),
            Agent::Replay(folder) => {
                no_agent_options(args, "a recording")?;
                let file = folder.join(format!("{name}.ndjson"));
                let mut argv = vec![beside_us("cl-replay"), file.into()];
                argv.extend(args.args.iter().cloned());
                Ok(Self {
                    argv,
                    kind: None,
                    as_agent: true,
                })
            }
            Agent::Known(kind) => {
                let ask = Ask {
                    agent: kind,
                    model: args.model.clone(),
                    tools: args.tools.clone(),
                    system: args.system.clone(),
                    partial: args.partial,
                    args: args.args.clone(),
                };
                Ok(Self {
                    argv: command(&ask).map_err(ours)?.argv,
                    kind: Some(kind),
                    as_agent: true,
                })
            }
        }
    }

    fn command(args: &Args) -> Result<Self, Failure> {
        no_agent_options(args, "a COMMAND")?;
        if !args.args.is_empty() {
            return Err(ours(
                "--arg: goes with an agent; give a COMMAND its arguments behind it",
            ));
        }
        let program = Path::new(&args.command[0]);
        let kind = match &args.agent {
            None | Some(Agent::Auto) => Kind::of_command(program),
            Some(Agent::Known(kind)) => Some(*kind),
            Some(Agent::Replay(_)) => {
                return Err(ours("--agent: a recording is played, or a COMMAND is run, not both"));
            }
        };
        Ok(Self {
            argv: args.command.clone(),
            kind,
            as_agent: kind.is_some_and(Kind::is_agent),
        })
    }
}

fn no_agent_options(args: &Args, what: &str) -> Result<(), Failure> {
    let given = [
        ("--model", args.model.is_some()),
        ("--tools", args.tools.is_some()),
        ("--system", args.system.is_some()),
        ("--partial", args.partial),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(ours(format!("{option}: goes with an agent, not with {what}"))),
        None => Ok(()),
    }
}

/// A tool of ours: the one beside this program, else the one on PATH.
fn beside_us(tool: &str) -> OsString {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|us| Some(us.parent()?.join(tool)))
        .filter(|path| path.exists());
    beside.unwrap_or_else(|| PathBuf::from(tool)).into()
}

/// The changes to the environment, the user's own last.
fn environment(args: &Args, name: &Name, worker: &Worker, role: Option<&InForce>) -> Vec<(OsString, Option<OsString>)> {
    let name = name.as_str();
    let mut env: Vec<(OsString, Option<OsString>)> = vec![("CLAUDECODE".into(), None)];
    let mut set = |name: &str, value: &str| env.push((name.into(), Some(value.into())));
    set("CL_STREAM", name);
    set("CL_ATTEMPT", "1");
    set("CLAUDE_STREAM_ID", name);
    if let Some(role) = role {
        set("CL_ROLE", &role.played.name);
        set("CLAUDE_TASK_TYPE", &role.played.name);
    }
    if worker.as_agent {
        set("NO_COLOR", "1");
        set("FORCE_COLOR", "0");
    }
    env.extend(args.env.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
    env
}

fn order(
    args: Args,
    name: Name,
    worker: Worker,
    env: Vec<(OsString, Option<OsString>)>,
    prompt: Option<Vec<u8>>,
    role: Option<InForce>,
) -> Result<Order, Failure> {
    let stdin = stdin(&args, &worker, prompt.as_deref())?;
    let never = |limit: Duration| (!limit.is_zero()).then_some(limit);
    let agent_limits = (
        never(args.idle.unwrap_or(AGENT_IDLE)),
        never(args.linger.unwrap_or(AGENT_LINGER)),
    );
    let given = |limit: Option<Duration>, agents: Option<Duration>| match limit {
        None if worker.kind.is_some_and(Kind::is_agent) => agents,
        given => given.and_then(never),
    };
    let limits = Limits {
        timeout: args.timeout.and_then(never),
        kill_after: args.kill_after,
        idle: given(args.idle, agent_limits.0),
        linger: given(args.linger, agent_limits.1),
        heartbeat: never(args.heartbeat),
        ladder: worker.kind.unwrap_or(Kind::Plain).ladder(),
    };
    Ok(Order {
        stream: name,
        kind: worker.kind,
        argv: worker.argv,
        env,
        cwd: args.cwd,
        nice: args.nice.unwrap_or(0),
        stdin,
        prompt: prompt.map(|prompt| String::from_utf8_lossy(&prompt).into_owned()),
        role: role.map(|role| role.played),
        capture: match args.capture {
            CaptureHow::Auto if worker.as_agent => Capture::File,
            CaptureHow::Auto | CaptureHow::Pipe => Capture::Pipe,
            CaptureHow::File => Capture::File,
            CaptureHow::Pty => Capture::Pty,
        },
        stderr: match args.stderr {
            StderrWhere::Event => StderrTo::Event,
            StderrWhere::Pass => StderrTo::Pass,
            StderrWhere::Drop => StderrTo::Drop,
        },
        max_line: usize::try_from(args.max_line).unwrap_or(usize::MAX),
        limits,
        agent_limits,
    })
}

/// What is asked: PROMPT, or what stands on stdin where an agent of ours is to be asked and nothing else is its stdin.
fn prompt(args: &Args) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(prompt) = &args.prompt {
        return match args.stdin {
            Some(_) => Err(ours("--stdin: the prompt is the worker's stdin; give one of them")),
            None => Ok(Some(prompt.as_bytes().to_vec())),
        };
    }
    if args.stdin.is_some() || !args.command.is_empty() || matches!(args.agent, Some(Agent::Replay(_))) {
        return Ok(None);
    }
    if io::stdin().is_terminal() {
        return Err(ours("no prompt: give it as PROMPT, or on stdin"));
    }
    let mut prompt = Vec::new();
    io::stdin()
        .read_to_end(&mut prompt)
        .map_err(|error| ours(format!("stdin: {}", reason(&error))))?;
    if prompt.trim_ascii().is_empty() {
        return Err(ours("no prompt: stdin is empty; give it as PROMPT, or on stdin"));
    }
    Ok(Some(prompt))
}

/// The worker's stdin; `None` is a silent terminal.
fn stdin(args: &Args, worker: &Worker, prompt: Option<&[u8]>) -> Result<Option<OwnedFd>, Failure> {
    let given = match (&args.stdin, prompt) {
        (_, Some(prompt)) => in_memory(prompt)?,
        (Some(Stdin::Null), None) => open("/dev/null")?,
        (Some(Stdin::Pty), None) => return Ok(None),
        (Some(Stdin::Inherit), None) => our_stdin()?,
        (Some(Stdin::File(file)), None) => open(file)?,
        (None, None) => {
            let ours = matches!(what(io::stdin()), Ok(What::Pipe | What::File | What::Socket));
            if ours && worker.kind.is_none_or(|kind| !kind.is_agent()) {
                our_stdin()?
            } else {
                open("/dev/null")?
            }
        }
    };
    Ok(Some(given))
}

fn our_stdin() -> Result<OwnedFd, Failure> {
    io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| ours(format!("stdin: {}", reason(&error))))
}

fn open(path: impl AsRef<Path>) -> Result<OwnedFd, Failure> {
    let path = path.as_ref();
    File::open(path)
        .map(OwnedFd::from)
        .map_err(|error| ours(format!("--stdin {}: {}", path.display(), reason(&error))))
}

/// A file in memory: unlike a pipe it has an end from the beginning, and any size.
fn in_memory(bytes: &[u8]) -> Result<OwnedFd, Failure> {
    let make = || {
        let mut file = File::from(nix::sys::memfd::memfd_create(
            c"prompt",
            nix::sys::memfd::MFdFlags::MFD_CLOEXEC,
        )?);
        file.write_all(bytes)?;
        file.rewind()?;
        io::Result::Ok(OwnedFd::from(file))
    };
    make().map_err(|error| ours(format!("cannot hold the prompt: {}", reason(&error))))
}

/// `--dry-run`: one line that a shell would take.
fn print(args: &Args, worker: &Worker, env: &[(OsString, Option<OsString>)]) -> Result<u8, Failure> {
    let mut words: Vec<Vec<u8>> = vec![b"env".to_vec()];
    if let Some(cwd) = &args.cwd {
        words.extend([b"-C".to_vec(), quoted(cwd.as_os_str())]);
    }
    for (name, value) in env {
        match value {
            Some(value) => words.push([quoted(name), quoted(value)].join(&b'=')),
            None => words.extend([b"-u".to_vec(), quoted(name)]),
        }
    }
    words.extend(worker.argv.iter().map(|word| quoted(word)));
    let mut line = words.join(&b' ');
    line.push(b'\n');
    let mut out = stdout()?;
    out.write(&line)
        .map_err(|error| ours(format!("stdout: {}", reason(&error))))?;
    Ok(0)
}

/// A word as a shell reads it back, whatever its bytes.
fn quoted(word: &OsStr) -> Vec<u8> {
    let bytes = word.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-./=:,@%+".contains(b);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in bytes {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [("a-b=c", "a-b=c"), ("", "''"), ("it's", r"'it'\''s'"), ("a b", "'a b'")] {
            assert_eq!(quoted(OsStr::new(word)), expected.as_bytes());
        }
    }
}
