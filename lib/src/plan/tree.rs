//! A document as values that know their line, the same from TOML and from JSON.

use super::Problem;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

/// Deeper than any plan.
const DEEP: usize = 16;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Its line, from 1.
    pub line: usize,
    pub value: Value,
}

/// What a document can hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Flag(bool),
    Integer(i64),
    /// Another number, as it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the document; JSON may have a key twice.
    Table(Vec<(String, Node)>),
    /// What no key of a plan takes: a date, or null.
    Other(&'static str),
}

impl Value {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "true or false",
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(what) => what,
        }
    }
}

/// Lines of a text, found by offsets.
struct Lines<'a> {
    text: &'a str,
    feeds: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            feeds: memchr::memchr_iter(b'\n', text.as_bytes()).collect(),
        }
    }

    fn at(&self, offset: usize) -> usize {
        self.feeds.partition_point(|&feed| feed < offset) + 1
    }
}

/// Reads TOML: what could be read, and all that is no TOML.
pub(super) fn toml(text: &str) -> (Node, Vec<Problem>) {
    let lines = Lines::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let problems = errors.iter().map(|error| Problem {
        line: error.span().map_or(1, |span| lines.at(span.start)),
        place: String::new(),
        what: error.message().replace('\n', " "),
    });
    let problems = problems.collect();
    let node = Node {
        line: 1,
        value: toml_table(table.get_ref(), &lines),
    };
    (node, problems)
}

fn toml_table(table: &DeTable<'_>, lines: &Lines<'_>) -> Value {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entries = entries.into_iter().map(|(key, value)| {
        let node = Node {
            line: lines.at(key.span().start),
            value: toml_value(value.get_ref(), lines),
        };
        (key.get_ref().to_string(), node)
    });
    Value::Table(entries.collect())
}

fn toml_value(value: &DeValue<'_>, lines: &Lines<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Number(number.as_str().to_owned()),
        },
        DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(list) => {
            let nodes = list.iter().map(|item| Node {
                line: lines.at(item.span().start),
                value: toml_value(item.get_ref(), lines),
            });
            Value::List(nodes.collect())
        }
        DeValue::Table(table) => toml_table(table, lines),
    }
}

/// Reads JSON.
pub(super) fn json(text: &str) -> (Node, Vec<Problem>) {
    let lines = Lines::new(text);
    let mut problems = Vec::new();
    let read = serde_json::from_str::<&RawValue>(text);
    let node = match read.map(|raw| json_node(raw, &lines, 0)) {
        Ok(Ok(node)) => node,
        Ok(Err(error)) | Err(error) => {
            let what = error.to_string();
            problems.push(Problem {
                line: error.line().max(1),
                place: String::new(),
                what: what.split(" at line ").next().unwrap_or(&what).to_owned(),
            });
            Node {
                line: 1,
                value: Value::Table(Vec::new()),
            }
        }
    };
    (node, problems)
}

/// An object's members in their order, those that stand there twice included; where each lies is known by its text.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn json_node(raw: &RawValue, lines: &Lines<'_>, depth: usize) -> Result<Node, serde_json::Error> {
    let text = raw.get();
    let line = lines.at((text.as_ptr() as usize).saturating_sub(lines.text.as_ptr() as usize));
    let value = match text.as_bytes().first() {
        Some(b'{' | b'[') if depth >= DEEP => Value::Other("so deep a nesting"),
        Some(b'{') => {
            let Members(all) = serde_json::from_str(text)?;
            let entries = all
                .into_iter()
                .map(|(key, raw)| Ok((key, json_node(raw, lines, depth + 1)?)));
            Value::Table(entries.collect::<Result<_, serde_json::Error>>()?)
        }
        Some(b'[') => {
            let all: Vec<&RawValue> = serde_json::from_str(text)?;
            let nodes = all.into_iter().map(|raw| json_node(raw, lines, depth + 1));
            Value::List(nodes.collect::<Result<_, serde_json::Error>>()?)
        }
        Some(b'"') => Value::Text(serde_json::from_str(text)?),
        Some(b't' | b'f') => Value::Flag(text == "true"),
        Some(b'n') => Value::Other("null"),
        _ => match text.parse() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Number(text.to_owned()),
        },
    };
    Ok(Node { line, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_know_their_lines() {
        let (toml, none) = toml("a = 1\n[stream.b]\nx = [true,\n  'y']\n[stream.a]\n");
        assert_eq!(none, []);
        let (json, none) =
            json("{\"a\": 1,\n \"stream\": {\"b\":\n{\"x\": [true,\n  \"y\"]},\n\"a\": {}}, \"z\": 1.5}");
        assert_eq!(none, []);
        let entry = |node: &Node, at: usize| match &node.value {
            Value::Table(all) => all[at].clone(),
            Value::List(all) => (String::new(), all[at].clone()),
            other => panic!("{other:?}"),
        };
        for tree in [&toml, &json] {
            let (key, streams) = entry(tree, 1);
            assert_eq!(key, "stream");
            let (b, fields) = entry(&streams, 0);
            assert_eq!(b, "b", "in the document's order");
            assert_eq!(entry(&entry(&fields, 0).1, 1).1.line, 4);
            assert_eq!(
                entry(&streams, 1),
                (
                    "a".to_owned(),
                    Node {
                        line: 5,
                        value: Value::Table(vec![])
                    }
                )
            );
        }
        assert_eq!(entry(&json, 2).1.value, Value::Number("1.5".to_owned()));
    }

    #[test]
    fn what_is_neither_is_told() {
        let (_, problems) = toml("a = \nb = 2\n[x\n");
        let lines: std::collections::BTreeSet<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 3].into());
        let (_, problems) = json("{\"a\":\n 1,}");
        assert_eq!(problems[0].line, 2);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let (node, _) = json(&deep);
        assert!(matches!(node.value, Value::List(_)));
    }
}
