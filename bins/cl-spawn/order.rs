//! From the command line to what is asked of a worker.

use crate::args::{Agent, Args, Fallback, StderrWhere};
use crate::role::{self, InForce};
use crate::stdin::{self, Source};
use crate::worker::{Worker, Workers};
use crate::{OURS, dry, ours};
use harmony::cli::{self, Failure, reason};
use harmony::hold::Holds;
use harmony::line::{Name, Outcome};
use harmony::sink::{Rope, Shared};
use harmony::worker::{self, Frame, Order, Prompts, Retries, StderrTo};
use std::io;
use std::time::Duration;

/// Before the first further attempt, where nothing else is said.
const BACKOFF: Duration = Duration::from_secs(1);

/// Runs what the command line asks for; gives the exit code. Where what we leave behind is ended
/// by others should we be killed, `served` tells them of what is written.
pub fn run(mut args: Args, served: Option<Rope>) -> Result<u8, Failure> {
    let Some(name) = args.name.clone() else {
        return role::list(&args, &mut stdout()?);
    };
    if args.roles {
        return role::list(&args, &mut stdout()?);
    }
    let chosen = args.role.as_deref() == Some("auto");
    let replay = matches!(args.agent, Some(Agent::Replay(_)));
    let prompt = if args.dry_run && !chosen {
        None
    } else {
        stdin::prompt(&args, replay)?
    };
    let role = role::apply(&mut args, prompt.as_deref())?;
    let mut workers = vec![Worker::choose(&args, &name)?];
    for to in &args.fallback {
        workers.push(Worker::fallback(&args, &name, to)?);
    }
    if args.dry_run {
        return print(args, name, role, workers);
    }
    let prompt = match (prompt, &role) {
        (Some(prompt), Some(role)) => Some(role.frame(prompt, args.run.as_deref())?),
        (prompt, _) => prompt,
    };
    let asks = |to: &Fallback| !replay || matches!(to.agent, Agent::Known(_));
    if prompt.is_none() && !args.keep && args.fallback.iter().any(asks) {
        return Err(ours("--fallback: give a PROMPT that another agent can be asked"));
    }
    // Without a folder of our own nothing can be told, and nothing is heeded; a command that is no agent needs none.
    let accounts = workers.iter().any(|worker| worker.account_of().is_some());
    let holds = accounts.then(Holds::open).and_then(Result::ok);
    let order = order(&args, name.clone(), prompt.as_deref(), role.clone(), holds, served)?;
    let stdin = Source::choose(&args, prompt.clone().filter(|_| !args.keep), workers[0].is_agent())?;
    let mut workers = Workers {
        args,
        name,
        role,
        workers,
        prompt: prompt.filter(|_| order.prompts.is_none()),
        stdin,
    };
    let what = worker::Attempts::name(&workers, 0);
    let ended = worker::run(order, &mut workers, stdout()?)
        .map_err(|error| ours(format!("cannot run {what}: {}", reason(&error))))?;
    if let Some(error) = &ended.sink {
        cli::complain("cl-spawn", &format!("stdout: {}", reason(error)));
    }
    if ended.exit.outcome == Outcome::Unstartable || ended.exit.attempts == 0 {
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

fn order(
    args: &Args,
    name: Name,
    prompt: Option<&[u8]>,
    role: Option<InForce>,
    holds: Option<Holds>,
    served: Option<Rope>,
) -> Result<Order, Failure> {
    let never = |limit: Duration| (!limit.is_zero()).then_some(limit);
    let played = role.as_ref().map(|role| role.played.clone());
    Ok(Order {
        stream: name,
        role: played,
        stderr: match args.stderr {
            StderrWhere::Event => StderrTo::Event,
            StderrWhere::Pass => StderrTo::Pass,
            StderrWhere::Drop => StderrTo::Drop,
        },
        max_line: usize::try_from(args.max_line).unwrap_or(usize::MAX),
        timeout: args.timeout.and_then(never),
        kill_after: args.kill_after,
        heartbeat: never(args.heartbeat),
        retries: Retries {
            count: args.retries.unwrap_or(0),
            backoff: args.backoff.unwrap_or(BACKOFF),
            fallbacks: args.fallback.len(),
        },
        holds,
        anyway: args.anyway,
        prompts: if args.keep {
            Some(kept(args, prompt, role)?)
        } else {
            None
        },
        served,
    })
}

/// The prompts of a kept worker, each in the role's frame.
fn kept(args: &Args, first: Option<&[u8]>, role: Option<InForce>) -> Result<Prompts, Failure> {
    let run = args.run.clone();
    let frame = move |prompt: &str| match &role {
        Some(role) => role.frame(prompt.as_bytes().to_vec(), run.as_deref()),
        None => Ok(prompt.as_bytes().to_vec()),
    };
    // What is wrong with a frame shall not come to light with the first prompt.
    frame("")?;
    Ok(Prompts {
        first: first.map(|first| String::from_utf8_lossy(first).into_owned()),
        source: stdin::prompts(args)?,
        frame: Frame(Box::new(move |prompt| {
            let framed = frame(prompt).map(|framed| String::from_utf8_lossy(&framed).into_owned());
            framed.unwrap_or_else(|_| prompt.to_owned())
        })),
    })
}

/// `--dry-run`.
fn print(args: Args, name: Name, role: Option<InForce>, workers: Vec<Worker>) -> Result<u8, Failure> {
    let workers = Workers {
        args,
        name,
        role,
        workers,
        prompt: None,
        stdin: Source::Null,
    };
    let (env, argv) = workers.first().map_err(|error| ours(error.to_string()))?;
    let line = dry::line(workers.args.cwd.as_deref(), &env, &argv);
    stdout()?
        .write(&line)
        .map_err(|error| ours(format!("stdout: {}", reason(&error))))?;
    Ok(0)
}
