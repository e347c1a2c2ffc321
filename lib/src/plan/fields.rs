//! A table's keys, each asked for by its name and its type; what is wrong with one is told, and it counts as absent.

use super::near::near;
use super::read::KEYS;
use super::tree::{Node, Value};
use super::{Lines, Problem, Worktree};
use crate::units;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// What was wrong so far, and where each key stands.
pub(super) struct Reader {
    /// Whether the document could be read as a whole.
    pub whole: bool,
    pub problems: Vec<Problem>,
    pub lines: Lines,
}

impl Reader {
    pub fn tell(&mut self, line: usize, place: &str, what: String) {
        let place = place.to_owned();
        self.problems.push(Problem { line, place, what });
    }
}

/// The entries of a table, of which each is asked for by its key.
pub(super) struct Fields<'a, 'r> {
    pub reader: &'r mut Reader,
    place: String,
    pub entries: &'a [(String, Node)],
    pub taken: Vec<bool>,
}

impl<'a, 'r> Fields<'a, 'r> {
    /// The entries, where the node is a table; a key that stands there twice is told.
    pub fn of(reader: &'r mut Reader, place: &str, node: &'a Node) -> Option<Self> {
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
        let mut lines: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        for (at, (key, node)) in entries.iter().enumerate() {
            let place = fields.at(key);
            match lines.entry(key) {
                Entry::Occupied(earlier) => {
                    let what = format!(
                        "it stands in line {} already: give one of them another name",
                        earlier.get()
                    );
                    fields.reader.tell(node.line, &place, what);
                    fields.taken[at] = true;
                }
                Entry::Vacant(new) => {
                    new.insert(node.line);
                    fields.reader.lines.0.insert(place, node.line);
                }
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

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name == key)
    }

    pub fn wrong(&mut self, key: &str, what: String) {
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

    pub fn text(&mut self, key: &str) -> Option<String> {
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

    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
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
    pub fn command(&mut self, key: &str) -> Vec<String> {
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

    pub fn flag(&mut self, key: &str) -> Option<bool> {
        let node = self.take(key)?;
        match node.value {
            Value::Flag(flag) => Some(flag),
            _ => {
                self.not(key, "true or false", node);
                None
            }
        }
    }

    pub fn number(&mut self, key: &str) -> Option<u32> {
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
    pub fn duration(&mut self, key: &str) -> Option<String> {
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

    pub fn word<W: Copy>(&mut self, key: &str, all: &[W], name: fn(W) -> &'static str) -> Option<W> {
        let text = self.text(key)?;
        let found = all.iter().copied().find(|word| name(*word) == text);
        if found.is_none() {
            let words: Vec<&str> = all.iter().map(|word| name(*word)).collect();
            self.wrong(key, format!("'{text}' is none of {}", words.join(", ")));
        }
        found
    }

    pub fn environment(&mut self, key: &str) -> BTreeMap<String, String> {
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

    pub fn worktree(&mut self, key: &str) -> Option<Worktree> {
        let at = self.entries.iter().find(|(name, _)| name == key)?;
        match &at.1.value {
            Value::Flag(own) => {
                self.take(key);
                Some(if *own { Worktree::Own } else { Worktree::No })
            }
            Value::Text(path) if !path.is_empty() => self.text(key).map(Worktree::At),
            _ => {
                self.take(key);
                self.not(key, "true, or the worktree's folder", &at.1);
                None
            }
        }
    }

    pub fn table(&mut self, key: &str, inside: impl FnOnce(&mut Fields<'a, '_>)) {
        if let Some(at) = self.entries.iter().position(|(name, _)| name == key) {
            self.taken[at] = true;
            self.table_at(at, inside);
        }
    }

    pub fn table_at(&mut self, at: usize, inside: impl FnOnce(&mut Fields<'a, '_>)) {
        let (key, node) = &self.entries[at];
        let place = self.at(key);
        if let Some(mut fields) = Fields::of(self.reader, &place, node) {
            inside(&mut fields);
        }
    }

    /// What nobody asked for is unknown.
    pub fn end(&mut self, tables: &[&str]) {
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
