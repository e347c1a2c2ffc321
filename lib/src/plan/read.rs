//! From a document to a plan: every key, its type and its form. What hangs together is looked at by `check`.

use super::fields::{Fields, Reader};
use super::tree::{json, toml};
use super::{Format, Lines, Phase, Plan, Problem, Settings, Stream, Wait, When};
use crate::agent::Kind;
use crate::line::Name;
use std::collections::HashSet;

/// The keys of each table; those of `settings` stand in `[defaults]` and in each stream.
pub const KEYS: [(&str, &[&str]); 4] = [
    ("plan", &["name", "prompt", "jobs", "defaults", "stream", "wait"]),
    (
        "stream",
        &[
            "about", "phase", "after", "when", "instead", "optional", "locks", "prompt", "run", "undo", "tasks",
            "done", "branch",
        ],
    ),
    (
        "settings",
        &[
            "role", "agent", "model", "tools", "system", "partial", "args", "priority", "timeout", "idle", "linger",
            "retries", "backoff", "fallback", "cwd", "env", "worktree",
        ],
    ),
    ("wait", &["need", "any", "first", "grace", "timeout"]),
];

/// Reads a document; what is wrong is left out of the plan and told. The last says whether what hangs together can be
/// looked at: behind a syntax error streams may seem to be missing that are there.
pub(super) fn read(text: &str, format: Format) -> (Plan, Lines, Vec<Problem>, bool) {
    let (node, problems) = match format {
        Format::Toml => toml(text),
        Format::Json => json(text),
    };
    let mut reader = Reader {
        whole: problems.iter().all(|problem| problem.what.starts_with("duplicate key")),
        problems,
        lines: Lines::default(),
    };
    let mut plan = Plan::default();
    if let Some(mut fields) = Fields::of(&mut reader, "", &node) {
        whole(&mut fields, &mut plan);
    }
    (plan, reader.lines, reader.problems, reader.whole)
}

fn whole(fields: &mut Fields<'_, '_>, plan: &mut Plan) {
    plan.name = match fields.text("name") {
        Some(name) if Name::new(&name).is_ok() && !name.contains('/') => name,
        Some(name) => {
            let near = Name::near(&name);
            fields.wrong(
                "name",
                format!("'{name}' cannot name a folder: use letters, digits, '_', '.' and '-', as in '{near}'"),
            );
            near.to_string()
        }
        None => {
            if fields.reader.whole && !fields.has("name") {
                fields
                    .reader
                    .tell(0, "name", "give the plan a name: name = \"NAME\"".to_owned());
            }
            "plan".to_owned()
        }
    };
    plan.prompt = fields.text("prompt");
    plan.jobs = fields.number("jobs").unwrap_or(0);
    fields.table("defaults", |fields| {
        plan.defaults = settings(fields);
        fields.end(&["settings"]);
    });
    let mut names = HashSet::new();
    fields.table("stream", |all| {
        for at in 0..all.entries.len() {
            let name = all.entries[at].0.clone();
            all.taken[at] = true;
            all.table_at(at, |fields| {
                let stream = stream(fields, &name);
                fields.end(&["stream", "settings"]);
                if names.insert(name.clone()) {
                    plan.streams.push(stream);
                }
            });
        }
    });
    fields.table("wait", |fields| {
        plan.wait = Some(Wait {
            need: fields.texts("need").unwrap_or_default(),
            any: fields.number("any"),
            first: fields.flag("first").unwrap_or(false),
            grace: fields.duration("grace"),
            timeout: fields.duration("timeout"),
        });
        fields.end(&["wait"]);
    });
    fields.end(&["plan"]);
}

fn stream(fields: &mut Fields<'_, '_>, name: &str) -> Stream {
    Stream {
        name: name.to_owned(),
        about: fields.text("about"),
        phase: fields.word("phase", Phase::ALL, Phase::as_str),
        after: fields.texts("after").unwrap_or_default(),
        when: fields.word("when", When::ALL, When::as_str).unwrap_or_default(),
        instead: fields.text("instead"),
        optional: fields.flag("optional").unwrap_or(false),
        locks: fields.texts("locks").unwrap_or_default(),
        prompt: fields.text("prompt"),
        run: fields.command("run"),
        undo: fields.command("undo"),
        tasks: fields.number("tasks"),
        done: fields.number("done"),
        branch: fields.text("branch"),
        settings: settings(fields),
    }
}

fn settings(fields: &mut Fields<'_, '_>) -> Settings {
    let priority = fields.number("priority");
    if priority.is_some_and(|priority| !(1..=4).contains(&priority)) {
        fields.wrong("priority", "choose 1 (first) to 4".to_owned());
    }
    let agent = fields.text("agent");
    if let Some(text) = agent.as_deref().filter(|text| !is_agent(text)) {
        fields.wrong("agent", format!("'{text}' is no agent: choose {AGENTS}"));
    }
    let fallback = fields.texts("fallback");
    for text in fallback.iter().flatten() {
        let name = text.split_once(':').map_or(text.as_str(), |(name, _)| name);
        let known = Kind::named(name).is_some_and(Kind::is_agent) && !text.ends_with(':');
        if !known && (text == "auto" || !is_agent(text)) {
            fields.wrong(
                "fallback",
                format!("'{text}' is no agent: choose {AGENTS}, or AGENT:MODEL"),
            );
        }
    }
    Settings {
        role: fields.text("role"),
        agent,
        model: fields.text("model"),
        tools: fields.texts("tools"),
        system: fields.text("system"),
        partial: fields.flag("partial"),
        args: fields.texts("args"),
        priority,
        timeout: fields.duration("timeout"),
        idle: fields.duration("idle"),
        linger: fields.duration("linger"),
        retries: fields.number("retries"),
        backoff: fields.duration("backoff"),
        fallback,
        cwd: fields.text("cwd"),
        env: fields.environment("env"),
        worktree: fields.worktree("worktree"),
    }
}

const AGENTS: &str = "claude, codex, gemini, qwen, opencode or replay:FOLDER";

/// What cl-spawn takes as `--agent`.
fn is_agent(text: &str) -> bool {
    match text.split_once(':') {
        Some(("replay", folder)) => !folder.is_empty(),
        _ => text == "auto" || Kind::named(text).is_some(),
    }
}
