//! Members that are read when they have the expected type and are absent otherwise.
//!
//! An agent's next version may turn a string into an object; that must cost the one member, never the line.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A value of one type, or nothing.
#[derive(Debug, Default)]
pub(super) enum Soft<'a> {
    Text(Cow<'a, str>),
    Float(f64),
    Count(u64),
    Flag(bool),
    #[default]
    Other,
}

impl<'a> Soft<'a> {
    /// The text, when it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text as its own, when it is one and not empty.
    pub(super) fn owned(&self) -> Option<String> {
        self.text().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The text without a copy where it already is one's own.
    pub(super) fn into_string(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    /// The number, when it is one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Count(count) => Some(*count as f64),
            _ => None,
        }
    }

    /// The whole number that is not negative, when it is one.
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(*count),
            Self::Float(number) if *number >= 0.0 && *number < u64::MAX as f64 => Some(*number as u64),
            _ => None,
        }
    }

    /// Whether it is `true`.
    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Flag(true))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Soft<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Soft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Soft::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Soft::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Soft::Text(Cow::Owned(text)))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Soft::Float(number))
    }
    fn visit_u64<E>(self, count: u64) -> Result<Self::Value, E> {
        Ok(Soft::Count(count))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Soft::Float(number as f64))
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Soft::Flag(flag))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Soft::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Soft::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Soft::Other)
    }
}

/// A part of a line that is read only when the line turns out to matter.
pub(super) type Part<'a> = Option<&'a RawValue>;

/// Reads a part; a part of another shape is none.
pub(super) fn part<'a, T: Deserialize<'a>>(part: Part<'a>) -> Option<T> {
    serde_json::from_str(part?.get()).ok()
}

/// The elements of a list of which each stands for itself: one of another shape does not spoil the rest.
pub(super) fn list<'a, T: Deserialize<'a>>(part: Part<'a>) -> Vec<T> {
    let elements: Vec<&'a RawValue> = self::part(part).unwrap_or_default();
    elements
        .into_iter()
        .filter_map(|element| serde_json::from_str(element.get()).ok())
        .collect()
}

/// What a tool is used on, from its input: the first member that tells, its first line, not all of a long one.
pub(super) fn what(input: Part<'_>) -> String {
    const TELLING: [&str; 12] = [
        "command",
        "file_path",
        "filePath",
        "absolute_path",
        "notebook_path",
        "path",
        "pattern",
        "query",
        "url",
        "description",
        "subject",
        "prompt",
    ];
    let members: std::collections::HashMap<Cow<'_, str>, Soft<'_>> = part(input).unwrap_or_default();
    let found = TELLING.iter().find_map(|name| members.get(*name)?.text());
    brief(found.unwrap_or_default())
}

/// A name or an id, and not all of one that is too long to be any.
pub(super) fn short(text: &str) -> &str {
    let mut end = text.len().min(1000);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The first line of a text, and not all of a long one.
pub(super) fn brief(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_type_is_absent() {
        let read = |text| serde_json::from_str::<Soft<'_>>(text).unwrap();
        assert_eq!(read(r#""a\nb""#).text(), Some("a\nb"));
        assert_eq!(read("5").count(), Some(5));
        assert_eq!(read("-5").count(), None);
        assert_eq!(read("5.5").number(), Some(5.5));
        assert!(read("true").is_true());
        for other in ["null", "[1,{\"a\":2}]", "{\"a\":[3]}"] {
            assert!(matches!(read(other), Soft::Other), "{other}");
        }
    }

    #[test]
    fn a_name_is_not_without_end() {
        assert_eq!(short("Bash"), "Bash");
        assert_eq!(short(&"é".repeat(600)), "é".repeat(500));
        assert_eq!(short(&format!("x{}", "é".repeat(600))).len(), 999);
    }

    #[test]
    fn what_a_tool_is_used_on() {
        let what = |text: &str| {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            what(Some(raw))
        };
        assert_eq!(what(r#"{"description":"d","command":"ls -l\nrm x"}"#), "ls -l");
        assert_eq!(what(r#"{"command":["ls"],"path":"/x"}"#), "/x");
        assert_eq!(what(r#"[1]"#), "");
        assert_eq!(what(&format!(r#"{{"url":"{}"}}"#, "é".repeat(500))), "é".repeat(200));
    }
}
