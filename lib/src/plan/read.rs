//! From a document to a plan: every key, its type and its form. What hangs together is looked at by `check`.

use super::tree::{Node, Value, json, toml};
use super::{Format, Lines, Phase, Plan, Problem, Settings, Stream, Wait, When, Worktree};
use crate::agent::Kind;
use crate::line::Name;
use crate::units;
use std::collections::BTreeMap;

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
    fields.table("stream", |all| {
        for at in 0..all.entries.len() {
            let name = all.entries[at].0.clone();
            all.taken[at] = true;
            all.table_at(at, |fields| {
                let stream = stream(fields, &name);
                fields.end(&["stream", "settings"]);
                if plan.get(&name).is_none() {
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

/// What was wrong so far, and where each key stands.
struct Reader {
    whole: bool,
    problems: Vec<Problem>,
    lines: Lines,
}

impl Reader {
    fn tell(&mut self, line: usize, place: &str, what: String) {
        let place = place.to_owned();
        self.problems.push(Problem { line, place, what });
    }
}

/// The entries of a table, of which each is asked for by its key.
struct Fields<'a, 'r> {
    reader: &'r mut Reader,
    place: String,
    entries: &'a [(String, Node)],
    taken: Vec<bool>,
}

impl<'a, 'r> Fields<'a, 'r> {
    /// The entries, where the node is a table; a key that stands there twice is told.
    fn of(reader: &'r mut Reader, place: &str, node: &'a Node) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            reader.tell(node.line, place, format!("write a table, not {}", node.value.kind()));
            return None;
        };
        let mut fields = Self {
            reader,
            place: place.to_owned(),
            entries,
            taken: vec![false; entries.len()],
        };
        for (at, (key, node)) in entries.iter().enumerate() {
            let place = fields.at(key);
            match entries[..at].iter().find(|(earlier, _)| earlier == key) {
                Some((_, earlier)) => {
                    let what = format!(
                        "it stands in line {} already: give one of them another name",
                        earlier.line
                    );
                    fields.reader.tell(node.line, &place, what);
                    fields.taken[at] = true;
                }
                None => drop(fields.reader.lines.0.insert(place, node.line)),
            }
        }
        Some(fields)
    }

    /// The full name of a key.
    fn at(&self, key: &str) -> String {
        match self.place.as_str() {
            "" => key.to_owned(),
            place => format!("{place}.{key}"),
        }
    }

    fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name == key)
    }

    fn wrong(&mut self, key: &str, what: String) {
        let place = self.at(key);
        let line = self.reader.lines.0.get(&place).copied().unwrap_or(0);
        self.reader.tell(line, &place, what);
    }

    fn take(&mut self, key: &str) -> Option<&'a Node> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        self.taken[at] = true;
        Some(&self.entries[at].1)
    }

    fn not(&mut self, key: &str, wanted: &str, node: &Node) {
        let place = self.at(key);
        self.reader
            .tell(node.line, &place, format!("write {wanted}, not {}", node.value.kind()));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let node = self.take(key)?;
        match &node.value {
            Value::Text(text) if text.contains('\0') => {
                self.wrong(key, "a text cannot hold a zero byte".to_owned());
                None
            }
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.not(key, "a text", node);
                None
            }
        }
    }

    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.take(key)?;
        let Value::List(nodes) = &node.value else {
            self.not(key, "a list of texts, as [\"a\", \"b\"]", node);
            return None;
        };
        let mut texts = Vec::new();
        for node in nodes {
            match &node.value {
                Value::Text(text) if !text.contains('\0') => texts.push(text.clone()),
                _ => self.not(key, "texts in the list", node),
            }
        }
        Some(texts)
    }

    /// A program and its arguments.
    fn command(&mut self, key: &str) -> Vec<String> {
        let argv = self.texts(key);
        let told = self
            .reader
            .problems
            .last()
            .is_some_and(|last| last.place == self.at(key));
        if !told
            && argv
                .as_ref()
                .is_some_and(|argv| argv.first().is_none_or(String::is_empty))
        {
            self.wrong(key, "name a program, as [\"make\", \"test\"]".to_owned());
        }
        argv.unwrap_or_default()
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        let node = self.take(key)?;
        match node.value {
            Value::Flag(flag) => Some(flag),
            _ => {
                self.not(key, "true or false", node);
                None
            }
        }
    }

    fn number(&mut self, key: &str) -> Option<u32> {
        let node = self.take(key)?;
        match node.value {
            Value::Integer(number) if (0..=1_000_000).contains(&number) => u32::try_from(number).ok(),
            Value::Integer(_) => {
                self.wrong(key, "write a number from 0 to 1000000".to_owned());
                None
            }
            _ => {
                self.not(key, "a whole number", node);
                None
            }
        }
    }

    /// A duration, or plain seconds.
    fn duration(&mut self, key: &str) -> Option<String> {
        let node = self.take(key)?;
        let text = match &node.value {
            Value::Text(text) | Value::Number(text) => text.clone(),
            Value::Integer(seconds) => seconds.to_string(),
            _ => {
                self.not(key, "a duration, as \"90s\" or \"1h30m\"", node);
                return None;
            }
        };
        match units::duration(&text) {
            Ok(_) => Some(text),
            Err(why) => {
                self.wrong(key, why);
                None
            }
        }
    }

    fn word<W: Copy>(&mut self, key: &str, all: &[W], name: fn(W) -> &'static str) -> Option<W> {
        let text = self.text(key)?;
        let found = all.iter().copied().find(|word| name(*word) == text);
        if found.is_none() {
            let words: Vec<&str> = all.iter().map(|word| name(*word)).collect();
            self.wrong(key, format!("'{text}' is none of {}", words.join(", ")));
        }
        found
    }

    fn environment(&mut self, key: &str) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        self.table(key, |fields| {
            for (name, _) in fields.entries {
                let value = fields.text(name);
                if name.is_empty() || name.contains(['=', '\0']) {
                    fields.wrong(name, "is no name of a variable".to_owned());
                } else if let Some(value) = value {
                    variables.insert(name.clone(), value);
                }
            }
        });
        variables
    }

    fn worktree(&mut self, key: &str) -> Option<Worktree> {
        let at = self.entries.iter().find(|(name, _)| name == key)?;
        match &at.1.value {
            Value::Flag(own) => {
                self.take(key);
                Some(if *own { Worktree::Own } else { Worktree::No })
            }
            Value::Text(path) if !path.is_empty() => {
                self.take(key);
                Some(Worktree::At(path.clone()))
            }
            _ => {
                self.take(key);
                self.not(key, "true, or the worktree's folder", &at.1);
                None
            }
        }
    }

    fn table(&mut self, key: &str, inside: impl FnOnce(&mut Fields<'a, '_>)) {
        if let Some(at) = self.entries.iter().position(|(name, _)| name == key) {
            self.taken[at] = true;
            self.table_at(at, inside);
        }
    }

    fn table_at(&mut self, at: usize, inside: impl FnOnce(&mut Fields<'a, '_>)) {
        let (key, node) = &self.entries[at];
        let place = self.at(key);
        if let Some(mut fields) = Fields::of(self.reader, &place, node) {
            inside(&mut fields);
        }
    }

    /// What nobody asked for is unknown.
    fn end(&mut self, tables: &[&str]) {
        let known = KEYS.iter().filter(|(table, _)| tables.contains(table));
        let known: Vec<&str> = known.flat_map(|(_, keys)| keys.iter().copied()).collect();
        for at in 0..self.entries.len() {
            if !self.taken[at] {
                let (key, node) = &self.entries[at];
                let place = self.at(key);
                let what = match near(key, known.iter().copied()) {
                    Some(near) => format!("no such key; is it '{near}'?"),
                    None => format!("no such key; there are {}", known.join(", ")),
                };
                self.reader.tell(node.line, &place, what);
            }
        }
    }
}

/// The name that is most like another one, where one is.
pub(super) fn near<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let scored = names.into_iter().map(|name| (distance(text, name), name));
    let best = scored.min_by_key(|(distance, _)| *distance)?;
    (best.0 <= 1 + text.len() / 4).then_some(best.1)
}

/// How many letters differ, a swap of two being one; long names are compared by their beginnings.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let other = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = other.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
