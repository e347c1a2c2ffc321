//! The role that a worker plays: what it fills in, and its frame around the prompt.

use crate::args::{Agent, Args, agent, fallback};
use crate::ours;
use harmony::agent::{Ask, Kind};
use harmony::cli::{self, Failure, reason};
use harmony::role::{Known, Role, Roles, Slot, choose, fill};
use harmony::sink::Shared;
use harmony::state::State;
use harmony::units;
use harmony::view;
use harmony::worker::Played;
use std::path::Path;

/// The role in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// What `start` tells of it.
    pub played: Played,
    frame: Option<String>,
}

/// Finds the role and lays it under the options. `prompt` is looked at by `--role auto`.
pub fn apply(args: &mut Args, prompt: Option<&[u8]>) -> Result<Option<InForce>, Failure> {
    // A command is whatever it is, also where its stream is called as a role is.
    let asked = match (&args.role, &args.name) {
        (Some(role), _) => role.clone(),
        (None, Some(name)) if args.command.is_empty() => name.as_str().to_owned(),
        _ => return Ok(None),
    };
    let roles = Roles::load(args.config.as_deref()).map_err(|error| ours(error.to_string()))?;
    let (name, because) = match asked.as_str() {
        "auto" if args.role.is_some() => {
            let choice = choose(&String::from_utf8_lossy(prompt.unwrap_or_default()));
            (choice.role.to_owned(), Some(choice.because))
        }
        _ => (asked, None),
    };
    let Some(Known { role, .. }) = roles.get(&name) else {
        return match args.role {
            Some(_) => Err(ours(format!(
                "--role {name}: no such role; cl-spawn --roles lists them"
            ))),
            None => Ok(None),
        };
    };
    fill_in(args, &name, role)?;
    Ok(Some(InForce {
        played: Played {
            name,
            because,
            priority: role.priority,
        },
        frame: role.prompt.clone(),
    }))
}

/// What the options leave open, the role says.
fn fill_in(args: &mut Args, name: &str, role: &Role) -> Result<(), Failure> {
    let limit = |text: &Option<String>| text.as_deref().map(units::duration).transpose().map_err(ours);
    args.timeout = args.timeout.or(limit(&role.timeout)?);
    args.idle = args.idle.or(limit(&role.idle)?);
    args.linger = args.linger.or(limit(&role.linger)?);
    args.nice = args.nice.or(role.nice());
    args.retries = args.retries.or(role.retries);
    args.backoff = args.backoff.or(limit(&role.backoff)?);
    if !args.command.is_empty() {
        return Ok(());
    }
    if let (None, Some(text)) = (&args.agent, &role.agent) {
        let agent = agent(text).map_err(|why| ours(format!("role {name}: agent '{text}': {why}")))?;
        args.agent = Some(agent);
    }
    let kind = match args.agent {
        None => Kind::Claude,
        Some(Agent::Known(kind)) if kind.is_agent() => kind,
        // A recording has been asked already.
        Some(_) => return Ok(()),
    };
    args.model = args.model.take().or_else(|| role.model.clone());
    if args.fallback.is_empty() {
        let named = role
            .fallback
            .iter()
            .flatten()
            .map(|name| fallback(name).map_err(|why| (name, why)));
        args.fallback = named
            .collect::<Result<_, _>>()
            .map_err(|(text, why)| ours(format!("role {name}: fallback '{text}': {why}")))?;
    }
    // A role is written for any agent; what this one has no word for is told and left to it.
    let left_open = Ask {
        tools: role
            .tools
            .as_ref()
            .map(|tools| tools.join(","))
            .filter(|_| args.tools.is_none()),
        system: role.system.clone().filter(|_| args.system.is_none()),
        partial: role.partial == Some(true),
        ..Ask::new(kind)
    };
    let known = left_open.as_far_as_known(|why| cli::complain("cl-spawn", &format!("role {name}: {why}")));
    args.tools = args.tools.take().or(known.tools);
    args.system = args.system.take().or(known.system);
    args.partial |= known.partial;
    Ok(())
}

impl InForce {
    /// The prompt in the role's frame.
    pub fn frame(&self, prompt: Vec<u8>, run: Option<&Path>) -> Result<Vec<u8>, Failure> {
        let Some(frame) = self.frame.as_deref().filter(|frame| frame.trim() != "{{prompt}}") else {
            return Ok(prompt);
        };
        let prompt =
            String::from_utf8(prompt).map_err(|_| ours("the prompt is no UTF-8, and a role's frame is text"))?;
        let filled = fill(frame, |slot| match slot {
            Slot::Prompt => Ok(prompt.clone()),
            Slot::File(path) => std::fs::read_to_string(path).map_err(|error| format!("{path}: {}", reason(&error))),
            Slot::Text(stream) => match run {
                Some(run) => answer(run, stream),
                None => Err(format!(
                    "it builds on the answer of {stream}; say by --run DIR where that is"
                )),
            },
        });
        let name = &self.played.name;
        filled
            .map(String::into_bytes)
            .map_err(|error| ours(format!("role {name}: {error}")))
    }
}

/// A stream's answer, from a run folder as `cl-tee --split` writes it.
fn answer(run: &Path, stream: &str) -> Result<String, String> {
    let file = run.join(format!("{stream}.ndjson"));
    let lines = std::fs::read(&file).map_err(|error| format!("{}: {}", file.display(), reason(&error)))?;
    let mut state = State::default();
    for line in lines.split(|&byte| byte == b'\n') {
        state.line(line);
    }
    let answer = state.get(stream).and_then(|stream| stream.answer());
    // A command's output ends its last line; as in a shell's $( ), that is no part of the answer.
    let answer = answer.map(|answer| answer.trim_end_matches('\n').to_owned());
    answer.ok_or_else(|| format!("{}: there is no answer of {stream} in it", file.display()))
}

/// `--roles`: a line a role, and where it comes from.
pub fn list(args: &Args, sink: &mut Shared) -> Result<u8, Failure> {
    let roles = Roles::load(args.config.as_deref()).map_err(|error| ours(error.to_string()))?;
    let row = |cells: [&str; 6]| {
        let [name, set, priority, limit, tools, about] = cells;
        format!("{name:22}  {set:11}  {priority:8}  {limit:5}  {tools:17}  {about}")
            .trim_end()
            .to_owned()
            + "\n"
    };
    let mut text = row([
        "role",
        "set",
        "priority",
        "limit",
        "tools",
        "what it does, and where it comes from",
    ]);
    for (name, Known { role, from }) in roles.iter() {
        let tools = match role.tools.as_deref() {
            None => "all".to_owned(),
            Some([]) => "none".to_owned(),
            Some(tools) => tools.join(","),
        };
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let priority = role
            .priority
            .map_or_else(|| "-".to_owned(), |priority| priority.to_string());
        let about = role.about.clone().unwrap_or_default();
        let about = format!("{about} ({})", from.join(", "));
        text.push_str(&row([
            name,
            &word(&role.set),
            &priority,
            &word(&role.timeout),
            &tools,
            about.trim_start(),
        ]));
    }
    // A folder's cl.toml may be anybody's.
    sink.write(view::clean_lines(&text).as_bytes())
        .map_err(|error| ours(format!("stdout: {}", reason(&error))))?;
    Ok(0)
}
