//! A plan for people's eyes: as text, and as a graph for the programs that draw.

use crate::documents::wrong;
use harmony::cli::Failure;
use harmony::plan::{Graph, Phase, Plan, Stream, When};
use harmony::role::Roles;
use harmony::run::{durations, earlier, filled_up};
use harmony::units;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// The plan in short: levels, the critical path, an estimate.
pub fn text(plan: &Plan, roles: &Roles, runs: &[PathBuf]) -> Result<String, Failure> {
    let graph = graph(plan)?;
    let levels = graph.levels();
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let jobs = match plan.jobs {
        0 => "at most one a core at once".to_owned(),
        jobs => format!("at most {jobs} at once"),
    };
    let mut text = format!(
        "{}: {} on {}, {jobs}\n\n",
        plan.name,
        count(plan.streams.len(), "stream"),
        count(levels.len(), "level")
    );
    let mut rows = vec![["level", "stream", "who", "after", "what"].map(str::to_owned)];
    for (level, streams) in (1..).zip(&levels) {
        for &at in streams {
            let stream = &plan.streams[at];
            let after: Vec<&str> = graph
                .before(at)
                .iter()
                .map(|&at| plan.streams[at].name.as_str())
                .collect();
            rows.push([
                level.to_string(),
                stream.name.clone(),
                who(plan, stream, roles),
                shortened(&after),
                remarks(stream),
            ]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    times(&mut text, plan, roles, &graph, runs);
    Ok(text)
}

/// The critical path and how long it takes, by earlier runs.
fn times(text: &mut String, plan: &Plan, roles: &Roles, graph: &Graph, runs: &[PathBuf]) {
    let found;
    let runs = if runs.is_empty() {
        found = earlier(&plan.name);
        &found
    } else {
        runs
    };
    let known = durations(plan, runs);
    let untold = known.iter().filter(|known| known.is_none()).count();
    let takes = filled_up(&known);
    let path = graph.critical(&takes);
    let names: Vec<&str> = path.iter().map(|&at| plan.streams[at].name.as_str()).collect();
    let _ = write!(text, "\ncritical path: {}", names.join(" -> "));
    let brief = |seconds: f64| units::brief(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    if untold == known.len() {
        let _ = writeln!(text, "\ntime: no earlier run tells it");
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = if plan.jobs == 0 { cores } else { plan.jobs as usize };
    let whole = graph.whole(&plan.priorities(roles), &takes, jobs);
    let _ = writeln!(
        text,
        ", {}\ntime: about {}; one after the other {}",
        brief(path.iter().map(|&at| takes[at]).sum()),
        brief(whole),
        brief(takes.iter().sum())
    );
    if untold > 0 {
        let _ = writeln!(
            text,
            "      {untold} of {} streams have no earlier run: taken as the others' mean",
            takes.len()
        );
    }
}

/// Who does it.
fn who(plan: &Plan, stream: &Stream, roles: &Roles) -> String {
    if let Some(program) = stream.run.first() {
        return program.clone();
    }
    let settings = plan.settings(stream);
    let role = settings
        .role
        .clone()
        .or_else(|| plan.role(stream, roles).map(|_| stream.name.clone()));
    let by_role = plan.role(stream, roles).and_then(|role| role.agent.clone());
    let agent = settings.agent.or(by_role).unwrap_or_else(|| "claude".to_owned());
    match role {
        Some(role) => format!("{agent} ({role})"),
        None => agent,
    }
}

/// The names that fit in a table.
fn shortened(names: &[&str]) -> String {
    match names {
        [] => "-".to_owned(),
        [first, second, rest @ ..] if rest.len() > 2 => format!("{first}, {second} and {} more", rest.len()),
        few => few.join(", "),
    }
}

/// What is special about a stream.
fn remarks(stream: &Stream) -> String {
    let mut all: Vec<String> = Vec::new();
    all.extend(stream.phase.map(|phase| phase.as_str().to_owned()));
    all.extend(stream.instead.as_ref().map(|whose| format!("instead of {whose}")));
    match stream.when {
        When::Success => {}
        When::Failure => all.push("after a failure".to_owned()),
        When::Always => all.push("in any case".to_owned()),
    }
    if stream.optional {
        all.push("optional".to_owned());
    }
    if !stream.locks.is_empty() {
        all.push(format!("locks {}", stream.locks.join(", ")));
    }
    all.join("; ")
}

/// How an edge is drawn: where it is not the usual one.
fn edge(plan: &Plan, graph: &Graph, from: usize, to: usize) -> (&'static str, &'static str) {
    if graph.instead(to) == Some(from) {
        return ("dashed", "fails");
    }
    match plan.streams[to].when {
        When::Success => ("solid", ""),
        When::Failure => ("dashed", "fails"),
        When::Always => ("solid", "ends"),
    }
}

/// For Graphviz.
pub fn dot(plan: &Plan) -> Result<String, Failure> {
    let graph = graph(plan)?;
    let mut text = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n",
        text_of(&plan.name)
    );
    for phase in Phase::ALL {
        let members: Vec<&Stream> = plan
            .streams
            .iter()
            .filter(|stream| stream.phase == Some(*phase))
            .collect();
        if !members.is_empty() {
            let phase = phase.as_str();
            let _ = writeln!(text, "  subgraph cluster_{phase} {{\n    label={};", text_of(phase));
            for stream in members {
                let _ = writeln!(text, "  {}", dot_node(stream));
            }
            text.push_str("  }\n");
        }
    }
    for stream in plan.streams.iter().filter(|stream| stream.phase.is_none()) {
        let _ = writeln!(text, "{}", dot_node(stream));
    }
    for to in 0..plan.streams.len() {
        for &from in graph.before(to) {
            let (style, label) = edge(plan, &graph, from, to);
            let mut attributes = String::new();
            if style != "solid" {
                let _ = write!(attributes, " style={style}");
            }
            if !label.is_empty() {
                let _ = write!(attributes, " label={}", text_of(label));
            }
            let attributes = if attributes.is_empty() {
                attributes
            } else {
                format!(" [{}]", attributes.trim_start())
            };
            let (from, to) = (text_of(&plan.streams[from].name), text_of(&plan.streams[to].name));
            let _ = writeln!(text, "  {from} -> {to}{attributes};");
        }
    }
    text.push_str("}\n");
    Ok(text)
}

fn dot_node(stream: &Stream) -> String {
    let style = if stream.optional { " [style=dashed]" } else { "" };
    format!("  {}{style};", text_of(&stream.name))
}

/// A text in quotes, for Graphviz. Names hold nothing that had to be escaped.
fn text_of(text: &str) -> String {
    format!("\"{text}\"")
}

/// For Mermaid.
pub fn mermaid(plan: &Plan) -> Result<String, Failure> {
    let graph = graph(plan)?;
    let mut text = "flowchart LR\n".to_owned();
    // Its identifiers are words, some of them reserved, so streams are numbered.
    let node = |at: usize| format!("s{at}[{}]", text_of(&plan.streams[at].name));
    for phase in Phase::ALL {
        let members: Vec<usize> = (0..plan.streams.len())
            .filter(|&at| plan.streams[at].phase == Some(*phase))
            .collect();
        if !members.is_empty() {
            let _ = writeln!(text, "  subgraph {}", phase.as_str());
            for at in members {
                let _ = writeln!(text, "    {}", node(at));
            }
            text.push_str("  end\n");
        }
    }
    for at in (0..plan.streams.len()).filter(|&at| plan.streams[at].phase.is_none()) {
        let _ = writeln!(text, "  {}", node(at));
    }
    for to in 0..plan.streams.len() {
        for &from in graph.before(to) {
            let (style, label) = edge(plan, &graph, from, to);
            let arrow = if style == "solid" { "-->" } else { "-.->" };
            let label = if label.is_empty() {
                String::new()
            } else {
                format!("|{label}|")
            };
            let _ = writeln!(text, "  s{from} {arrow}{label} s{to}");
        }
    }
    Ok(text)
}

fn graph(plan: &Plan) -> Result<Graph, Failure> {
    Graph::new(plan).map_err(|_| wrong("the plan has a circle"))
}
