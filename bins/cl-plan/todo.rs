//! A plan or a run as a task list.

use crate::documents::{plan, wrong};
use crate::status::Run;
use harmony::agent::TaskState;
use harmony::cli::Failure;
use harmony::plan::{Fate, Graph, Group, Plan, groups};
use harmony::role::Roles;
use harmony::view;
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

/// A task: a stream, or a step that its agent has set itself.
struct Task {
    what: String,
    state: TaskState,
    /// What became of it, where that is no matter of done or not.
    remark: Option<&'static str>,
    steps: Vec<(String, TaskState)>,
}

/// The list, in Markdown or as TodoWrite takes it.
pub fn todo(path: &Path, json: bool, roles: &Roles) -> Result<String, Failure> {
    let (title, groups) = if path.is_dir() {
        let run = Run::read(path, roles)?;
        let tasks = run.status.groups().into_iter().map(|Group { title, members }| {
            let tasks = members.into_iter().map(|at| of_run(&run, at)).collect();
            (title, tasks)
        });
        (run.status.plan.name.clone(), tasks.collect::<Vec<_>>())
    } else {
        let plan = plan(path, roles)?;
        let graph = Graph::new(&plan).map_err(|_| wrong("the plan has a circle"))?;
        let tasks = groups(&plan, &graph).into_iter().map(|Group { title, members }| {
            let tasks = members.into_iter().map(|at| of_plan(&plan, at)).collect();
            (title, tasks)
        });
        (plan.name.clone(), tasks.collect())
    };
    Ok(if json {
        as_json(&groups)
    } else {
        as_markdown(&title, &groups)
    })
}

fn of_plan(plan: &Plan, at: usize) -> Task {
    let stream = &plan.streams[at];
    let told = stream.about.as_deref().or(stream.prompt.as_deref()).map(str::to_owned);
    let told = told.unwrap_or_else(|| stream.run.join(" "));
    let first = told.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let finished = stream.tasks.is_some() && stream.done >= stream.tasks;
    Task {
        what: match view::clean(first.trim()) {
            line if line.is_empty() => stream.name.clone(),
            line => format!("{}: {line}", stream.name),
        },
        state: if finished { TaskState::Done } else { TaskState::Pending },
        remark: None,
        steps: Vec::new(),
    }
}

fn of_run(run: &Run, at: usize) -> Task {
    let mut task = of_plan(&run.status.plan, at);
    (task.state, task.remark) = match run.status.fates[at] {
        Fate::Waiting => (TaskState::Pending, None),
        Fate::Running => (TaskState::Active, None),
        Fate::Well => (TaskState::Done, None),
        Fate::Failed => (TaskState::Pending, Some("failed")),
        Fate::Skipped => (TaskState::Pending, Some("skipped")),
        Fate::Unneeded => (TaskState::Done, Some("not needed")),
    };
    let steps = run
        .state
        .get(&run.status.plan.streams[at].name)
        .map(|stream| stream.tasks.clone());
    task.steps = steps.unwrap_or_default();
    task
}

fn as_markdown(title: &str, groups: &[(String, Vec<Task>)]) -> String {
    let mut text = format!("# {title}\n");
    for (heading, tasks) in groups {
        let _ = writeln!(text, "\n## {heading}\n");
        for task in tasks {
            let remark = task.remark.map(|remark| format!(" ({remark})")).unwrap_or_default();
            let active = if task.state == TaskState::Active {
                " (at work)"
            } else {
                ""
            };
            let _ = writeln!(text, "- [{}] {}{remark}{active}", tick(task.state), task.what);
            for (step, state) in &task.steps {
                let _ = writeln!(text, "  - [{}] {}", tick(*state), view::clean(step));
            }
        }
    }
    text
}

fn tick(state: TaskState) -> char {
    if state == TaskState::Done { 'x' } else { ' ' }
}

fn as_json(groups: &[(String, Vec<Task>)]) -> String {
    let mut todos = Vec::new();
    let mut add = |content: &str, state: TaskState| {
        let status = match state {
            TaskState::Pending => "pending",
            TaskState::Active => "in_progress",
            TaskState::Done => "completed",
        };
        todos.push(json!({"content": content, "status": status, "activeForm": content}));
    };
    for task in groups.iter().flat_map(|(_, tasks)| tasks) {
        add(&task.what, task.state);
        for (step, state) in &task.steps {
            add(step, *state);
        }
    }
    format!("{:#}\n", json!({"todos": todos}))
}
