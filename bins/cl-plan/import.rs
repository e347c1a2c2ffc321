//! A plan from an `orchestration-config.json`.

use crate::args::Form;
use crate::documents::{made, name, text, wrong};
use crate::make::plan_name;
use harmony::cli::Failure;
use harmony::line::Name;
use harmony::plan::{Phase, Plan, Settings, Stream, Worktree};
use harmony::role::Roles;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// So many at once, where nothing says otherwise.
const JOBS: u32 = 5;

/// The plan that the file describes.
pub fn import(file: &Path, form: &Form, roles: &Roles) -> Result<String, Failure> {
    let document = text(file)?;
    let file_name = name(file);
    let config: Value = serde_json::from_str(&document).map_err(|error| wrong(format!("{file_name}: {error}")))?;
    let streams = match &config["streams"] {
        Value::Array(list) => list.iter().map(|stream| (None, stream)).collect(),
        Value::Object(map) => map.iter().map(|(id, stream)| (Some(id.as_str()), stream)).collect(),
        _ => Vec::new(),
    };
    if streams.is_empty() {
        return Err(wrong(format!(
            "{file_name}: it has no streams: is it an orchestration-config.json?"
        )));
    }
    let phases = phases(&config["executionPlan"]);
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .filter(|stem| *stem != "-");
    let mut plan = Plan {
        name: plan_name(form, Name::near(stem.unwrap_or("orchestration")).as_str())?,
        jobs: JOBS,
        ..Plan::default()
    };
    for (at, (id, value)) in (1..).zip(streams) {
        let id = value["streamId"].as_str().or(id);
        let id = id.ok_or_else(|| wrong(format!("{file_name}: stream {at} has no streamId")))?;
        let stream = stream(id, value, &config, phases.get(id).copied());
        let stream = stream.map_err(|why| wrong(format!("{file_name}: {id}: {why}")))?;
        if plan.get(&stream.name).is_some() {
            return Err(wrong(format!(
                "{file_name}: two streams are called {id}: give one another streamId"
            )));
        }
        plan.streams.push(stream);
    }
    made(&plan, roles, form.json)
}

/// What the executionPlan says of phases, by the streams' ids: lists of ids, or of objects that have one.
fn phases(plan: &Value) -> BTreeMap<&str, Phase> {
    let mut phases = BTreeMap::new();
    for phase in Phase::ALL {
        let members = match &plan[phase.as_str()] {
            Value::Object(inner) => inner.get("streams"),
            other => Some(other),
        };
        for member in members.and_then(Value::as_array).into_iter().flatten() {
            if let Some(id) = member.as_str().or(member["streamId"].as_str()) {
                phases.insert(id, *phase);
            }
        }
    }
    phases
}

fn stream(id: &str, value: &Value, config: &Value, planned: Option<Phase>) -> Result<Stream, String> {
    let text = |key: &str| value[key].as_str().filter(|text| !text.is_empty());
    let phase = match text("streamPhase") {
        None => planned,
        Some(word) => {
            let found = Phase::ALL
                .iter()
                .find(|phase| phase.as_str().eq_ignore_ascii_case(word));
            let found =
                found.ok_or_else(|| format!("streamPhase '{word}' is none of foundation, parallel, integration"));
            Some(planned.unwrap_or(*found?))
        }
    };
    let count = |key: &str| value[key].as_u64().and_then(|count| u32::try_from(count).ok());
    let tasks = count("totalTasks").filter(|tasks| *tasks > 0);
    let done = count("completedTasks").filter(|_| tasks.is_some());
    let about = text("streamName").unwrap_or(id);
    let finished = tasks.is_some() && done >= tasks;
    let root = text("projectRoot").or_else(|| config["projectRoot"].as_str());
    let folder = text("worktreePath").map(|path| match root {
        Some(root) if !path.starts_with('/') => format!("{}/{path}", root.trim_end_matches('/')),
        _ => path.to_owned(),
    });
    let dependencies = match &value["dependencies"] {
        Value::Array(list) => list.as_slice(),
        _ => &[],
    };
    let after = dependencies
        .iter()
        .filter_map(|other| other.as_str().or(other["streamId"].as_str()));
    let open = match (tasks, done) {
        (Some(tasks), Some(done)) => format!(" {done} of its {tasks} tasks are done: do the others."),
        (Some(tasks), None) => format!(" It has {tasks} tasks."),
        _ => String::new(),
    };
    Ok(Stream {
        name: Name::near(id).to_string(),
        about: Some(about.to_owned()),
        phase,
        after: after.map(|other| Name::near(other).to_string()).collect(),
        // What is done need not be done again, but others build on it.
        run: if finished { vec!["true".to_owned()] } else { Vec::new() },
        prompt: (!finished).then(|| format!("Work on the stream {id} of this project: {}.{open}", literal(about))),
        tasks,
        done,
        settings: Settings {
            cwd: root.filter(|_| folder.is_none() && !finished).map(str::to_owned),
            worktree: folder.filter(|_| !finished).map(Worktree::At),
            ..Settings::default()
        },
        ..Stream::default()
    })
}

/// A text that a template takes as it is.
fn literal(text: &str) -> String {
    text.trim_end_matches('.').replace("{{", "{ {")
}
