//! A plan as a document, TOML or JSON, which reads as one that a person wrote.

use super::tree::{Node, Value};
use super::{Format, Plan, Settings, Stream, When, Worktree};
use std::fmt::Write as _;

pub(super) fn write(plan: &Plan, format: Format) -> String {
    let plan = table(plan);
    match format {
        Format::Json => {
            let mut text = String::new();
            json(&Value::Table(plan), 0, &mut text);
            text + "\n"
        }
        Format::Toml => toml(&plan),
    }
}

type Table = Vec<(String, Node)>;

/// Puts keys with their values into a table; what is not there is left out.
struct Keys(Table);

impl Keys {
    fn put(&mut self, key: &str, value: Value) {
        self.0.push((key.to_owned(), Node { line: 0, value }));
    }

    fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.put(key, Value::Text(text.to_owned()));
        }
    }

    fn list(&mut self, key: &str, list: Option<&[String]>) {
        if let Some(list) = list {
            let nodes = list.iter().map(|text| Node {
                line: 0,
                value: Value::Text(text.clone()),
            });
            self.put(key, Value::List(nodes.collect()));
        }
    }

    fn some(&mut self, key: &str, list: &[String]) {
        self.list(key, Some(list).filter(|list| !list.is_empty()));
    }

    fn number(&mut self, key: &str, number: Option<u32>) {
        if let Some(number) = number {
            self.put(key, Value::Integer(number.into()));
        }
    }

    fn flag(&mut self, key: &str, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.put(key, Value::Flag(flag));
        }
    }
}

fn table(plan: &Plan) -> Table {
    let mut keys = Keys(Vec::new());
    keys.text("name", Some(&plan.name));
    keys.text("prompt", plan.prompt.as_deref());
    keys.number("jobs", Some(plan.jobs).filter(|jobs| *jobs > 0));
    let defaults = settings(Keys(Vec::new()), &plan.defaults).0;
    if !defaults.is_empty() {
        keys.put("defaults", Value::Table(defaults));
    }
    let streams = plan.streams.iter().map(|one| {
        let value = Value::Table(stream(one));
        (one.name.clone(), Node { line: 0, value })
    });
    keys.put("stream", Value::Table(streams.collect()));
    if let Some(wait) = &plan.wait {
        let mut inner = Keys(Vec::new());
        inner.some("need", &wait.need);
        inner.number("any", wait.any);
        inner.flag("first", wait.first.then_some(true));
        inner.text("grace", wait.grace.as_deref());
        inner.text("timeout", wait.timeout.as_deref());
        keys.put("wait", Value::Table(inner.0));
    }
    keys.0
}

fn stream(stream: &Stream) -> Table {
    let mut keys = Keys(Vec::new());
    keys.text("about", stream.about.as_deref());
    keys.text("phase", stream.phase.map(super::Phase::as_str));
    keys.some("after", &stream.after);
    keys.text("when", (stream.when != When::Success).then(|| stream.when.as_str()));
    keys.text("instead", stream.instead.as_deref());
    keys.flag("optional", stream.optional.then_some(true));
    keys.some("locks", &stream.locks);
    keys.text("prompt", stream.prompt.as_deref());
    keys.some("run", &stream.run);
    keys.some("undo", &stream.undo);
    keys.number("tasks", stream.tasks);
    keys.number("done", stream.done);
    keys.text("branch", stream.branch.as_deref());
    settings(keys, &stream.settings).0
}

fn settings(mut keys: Keys, settings: &Settings) -> Keys {
    keys.text("role", settings.role.as_deref());
    keys.text("agent", settings.agent.as_deref());
    keys.text("model", settings.model.as_deref());
    keys.list("tools", settings.tools.as_deref());
    keys.text("system", settings.system.as_deref());
    keys.flag("partial", settings.partial);
    keys.list("args", settings.args.as_deref());
    keys.number("priority", settings.priority);
    keys.text("timeout", settings.timeout.as_deref());
    keys.text("idle", settings.idle.as_deref());
    keys.text("linger", settings.linger.as_deref());
    keys.number("retries", settings.retries);
    keys.text("backoff", settings.backoff.as_deref());
    keys.list("fallback", settings.fallback.as_deref());
    keys.text("cwd", settings.cwd.as_deref());
    if !settings.env.is_empty() {
        let mut variables = Keys(Vec::new());
        settings
            .env
            .iter()
            .for_each(|(name, value)| variables.text(name, Some(value)));
        keys.put("env", Value::Table(variables.0));
    }
    match &settings.worktree {
        None => {}
        Some(Worktree::At(path)) => keys.text("worktree", Some(path)),
        Some(own) => keys.flag("worktree", Some(*own == Worktree::Own)),
    }
    keys
}

fn toml(plan: &Table) -> String {
    let mut text = String::new();
    for (key, node) in plan {
        match &node.value {
            Value::Table(inner) if key == "stream" => {
                for (name, node) in inner {
                    let Value::Table(keys) = &node.value else { continue };
                    toml_table(&mut text, &format!("stream.{}", bare(name)), keys);
                }
            }
            Value::Table(keys) => toml_table(&mut text, key, keys),
            value => toml_line(&mut text, key, value),
        }
    }
    text
}

fn toml_table(text: &mut String, heading: &str, keys: &Table) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n[{heading}]");
    for (key, node) in keys {
        toml_line(text, key, &node.value);
    }
}

fn toml_line(text: &mut String, key: &str, value: &Value) {
    let _ = write!(text, "{} = ", bare(key));
    match value {
        Value::Text(long) if long.contains('\n') => {
            let _ = writeln!(text, "\"\"\"\n{}\"\"\"", escaped(long, true));
        }
        value => {
            toml_value(text, value);
            text.push('\n');
        }
    }
}

fn toml_value(text: &mut String, value: &Value) {
    match value {
        Value::Text(short) => {
            let _ = write!(text, "\"{}\"", escaped(short, false));
        }
        Value::List(nodes) => separated(text, "[", nodes, "]", |text, node| toml_value(text, &node.value)),
        Value::Table(keys) => separated(text, "{ ", keys, " }", |text, (key, node)| {
            let _ = write!(text, "{} = ", bare(key));
            toml_value(text, &node.value);
        }),
        other => plain(text, other),
    }
}

fn separated<T>(text: &mut String, open: &str, all: &[T], close: &str, each: impl Fn(&mut String, &T)) {
    text.push_str(open);
    for (at, one) in all.iter().enumerate() {
        text.push_str(if at > 0 { ", " } else { "" });
        each(text, one);
    }
    text.push_str(close);
}

fn plain(text: &mut String, value: &Value) {
    let _ = match value {
        Value::Flag(flag) => write!(text, "{flag}"),
        Value::Integer(number) => write!(text, "{number}"),
        Value::Number(number) => write!(text, "{number}"),
        _ => write!(text, "null"),
    };
}

/// A key without quotes where it needs none.
fn bare(key: &str) -> String {
    let simple = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if simple {
        key.to_owned()
    } else {
        format!("\"{}\"", escaped(key, false))
    }
}

/// A text for TOML's double quotes, or its three.
fn escaped(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' if lines => out.push('\n'),
            '"' if lines && chars.peek().is_some_and(|next| *next != '"') => out.push('"'),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn json(value: &Value, depth: usize, text: &mut String) {
    let inner = "  ".repeat(depth + 1);
    match value {
        Value::Table(keys) if !keys.is_empty() => {
            for (at, (key, node)) in keys.iter().enumerate() {
                let open = if at == 0 { "{" } else { "," };
                let _ = write!(text, "{open}\n{inner}{}: ", serde_json::Value::from(key.as_str()));
                json(&node.value, depth + 1, text);
            }
            let _ = write!(text, "\n{}}}", "  ".repeat(depth));
        }
        Value::Table(_) => text.push_str("{}"),
        Value::List(nodes) => separated(text, "[", nodes, "]", |text, node| json(&node.value, depth, text)),
        Value::Text(string) => {
            let _ = write!(text, "{}", serde_json::Value::from(string.as_str()));
        }
        other => plain(text, other),
    }
}
