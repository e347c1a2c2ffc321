//! Members that are read when they have the expected type and are absent otherwise.
//!
//! An agent's next version may turn a string into an object; that must cost the one member, never the line.

use crate::line::{Walk, parts};
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

/// A part of a line that is read only when the line turns out to matter: valid JSON, or absent, as is a `null`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part<'a>(Option<&'a [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Part<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Option::<&'de RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.map(|raw| raw.get().as_bytes())))
    }
}

impl<'a> Part<'a> {
    /// A part of a line that was checked.
    pub(super) fn of(json: &'a [u8]) -> Self {
        Self((json != b"null").then_some(json))
    }

    /// Whether it is there.
    pub(super) fn is_some(self) -> bool {
        self.0.is_some()
    }

    /// Its value, when it is one of the types that are read.
    pub(super) fn soft(self) -> Soft<'a> {
        let Some(json) = self.0 else { return Soft::Other };
        match json {
            [b'"', text @ .., b'"'] if memchr::memchr(b'\\', text).is_none() => {
                std::str::from_utf8(text).map_or(Soft::Other, |text| Soft::Text(Cow::Borrowed(text)))
            }
            [b't', ..] => Soft::Flag(true),
            [b'f', ..] => Soft::Flag(false),
            [b'{' | b'[', ..] => Soft::Other,
            digits if digits.len() < 19 && digits.iter().all(u8::is_ascii_digit) => {
                let add = |count: u64, digit: &u8| count * 10 + u64::from(digit - b'0');
                Soft::Count(digits.iter().fold(0, add))
            }
            other => serde_json::from_slice(other).unwrap_or_default(),
        }
    }

    /// The text, when it is one.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self.soft() {
            Soft::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a text that is one of a few words; none when it is no text.
    #[inline]
    pub(super) fn word(self) -> Cow<'a, [u8]> {
        match self.0 {
            Some([b'"', text @ .., b'"']) if !text.contains(&b'\\') => Cow::Borrowed(text),
            _ => self
                .text()
                .map_or(Cow::Borrowed(b""), |text| Cow::Owned(text.into_owned().into_bytes())),
        }
    }

    /// The text as its own, when it is one and not empty.
    pub(super) fn owned(self) -> Option<String> {
        self.into_string().filter(|text| !text.is_empty())
    }

    /// The text as its own, when it is one.
    pub(super) fn into_string(self) -> Option<String> {
        self.soft().into_string()
    }

    /// The number, when it is one.
    pub(super) fn number(self) -> Option<f64> {
        self.soft().number()
    }

    /// The whole number that is not negative, when it is one.
    pub(super) fn count(self) -> Option<u64> {
        self.soft().count()
    }

    /// Whether it is `true`.
    pub(super) fn is_true(self) -> bool {
        self.soft().is_true()
    }
}

/// An object of which certain members are read.
pub(super) trait Members<'a>: Default {
    /// Where the member of that name belongs, when it is one of those.
    fn slot(&mut self, name: &[u8]) -> Option<&mut Part<'a>>;
}

/// Declares an object with its members' names.
macro_rules! members {
    ($(#[$doc:meta])* struct $object:ident { $($field:ident: $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $object<'a> { $($field: Part<'a>,)* }

        impl<'a> Members<'a> for $object<'a> {
            #[inline]
            fn slot(&mut self, name: &[u8]) -> Option<&mut Part<'a>> {
                match name {
                    $(name if name == $name.as_bytes() => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use members;

/// Every member of an object, with what its name spells.
struct Pairs<'a>(Vec<(Cow<'a, str>, Part<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(All).map(Self)
    }
}

struct All;

impl<'de> Visitor<'de> for All {
    type Value = Vec<(Cow<'de, str>, Part<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Soft::Text(name), part)) = map.next_entry()? {
            pairs.push((name, part));
        }
        Ok(pairs)
    }
}

/// An object's members, in whichever way they were found.
pub(super) enum Object<'a> {
    /// Those of a line that is compact.
    Quick(Walk<'a>),
    /// Those of any other.
    Slow(Vec<(Cow<'a, str>, Part<'a>)>),
}

impl<'a> Object<'a> {
    /// The member of that name; of two the last.
    pub(super) fn one(&self, name: &[u8]) -> Part<'a> {
        match self {
            Self::Quick(members) => {
                let [value] = members.values([name]);
                Part((!value.is_empty()).then_some(value))
            }
            Self::Slow(pairs) => {
                let found = pairs.iter().rfind(|(known, _)| known.as_bytes() == name);
                found.map_or(Part(None), |(_, value)| *value)
            }
        }
    }

    /// Those members that matter to `T`; of two with the same name the last.
    pub(super) fn read<T: Members<'a>>(&self) -> T {
        let mut read = T::default();
        match self {
            Self::Quick(members) => {
                for (name, value) in members.clone() {
                    if let Some(slot) = read.slot(name) {
                        *slot = Part::of(value);
                    }
                }
            }
            Self::Slow(pairs) => {
                for (name, value) in pairs {
                    if let Some(slot) = read.slot(name.as_bytes()) {
                        *slot = *value;
                    }
                }
            }
        }
        read
    }
}

/// The members of any line, if it is an object.
pub(super) fn slowly(line: &[u8]) -> Option<Vec<(Cow<'_, str>, Part<'_>)>> {
    serde_json::from_slice::<Pairs<'_>>(line).ok().map(|pairs| pairs.0)
}

/// Reads an object; a part of another shape is none.
pub(super) fn object<'a, T: Members<'a>>(part: Part<'a>) -> Option<T> {
    let json = part.0.filter(|json| json.first() == Some(&b'{'))?;
    let mut read = T::default();
    let mut sure = true;
    sure &= parts(json, |name, value| match read.slot(name) {
        Some(slot) => *slot = Part::of(value),
        // It may spell one of those all the same.
        None => sure &= !name.contains(&b'\\'),
    });
    if !sure {
        read = Object::Slow(slowly(json)?).read();
    }
    Some(read)
}

/// Shows each member of an object, with what its name spells; false when it is none.
pub(super) fn pairs<'a>(part: Part<'a>, mut show: impl FnMut(Cow<'a, [u8]>, Part<'a>)) -> bool {
    let Some(json) = part.0.filter(|json| json.first() == Some(&b'{')) else {
        return false;
    };
    if !parts(json, |name, value| show(spelled(name), Part::of(value))) {
        for (name, value) in slowly(json).unwrap_or_default() {
            let name = match name {
                Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
                Cow::Owned(name) => Cow::Owned(name.into_bytes()),
            };
            show(name, value);
        }
    }
    true
}

/// What a name spells that is written like this; itself where that is no text.
fn spelled(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let quoted = [b"\"", name, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).map_or(Cow::Borrowed(name), |name| Cow::Owned(name.into_bytes()))
}

/// Shows each element of a list.
pub(super) fn each<'a>(part: Part<'a>, mut show: impl FnMut(Part<'a>)) {
    let Some(json) = part.0.filter(|json| json.first() == Some(&b'[')) else {
        return;
    };
    if !parts(json, |_, value| show(Part::of(value))) {
        self::part::<Vec<Part<'a>>>(part)
            .unwrap_or_default()
            .into_iter()
            .for_each(show);
    }
}

/// Reads a part; a part of another shape is none.
pub(super) fn part<'a, T: Deserialize<'a>>(part: Part<'a>) -> Option<T> {
    serde_json::from_slice(part.0?).ok()
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
    let input: Input<'_> = object(input).unwrap_or_default();
    let found = input.0.into_iter().find_map(Part::text);
    brief(found.as_deref().unwrap_or_default())
}

/// The members of a tool's input that tell what it is used on, those that tell more first.
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

#[derive(Default)]
struct Input<'a>([Part<'a>; TELLING.len()]);

impl<'a> Members<'a> for Input<'a> {
    fn slot(&mut self, name: &[u8]) -> Option<&mut Part<'a>> {
        let at = TELLING.iter().position(|telling| telling.as_bytes() == name)?;
        self.0.get_mut(at)
    }
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
    fn a_name_is_what_it_spells() {
        let text = br#"{"a":1,"\u00e9\/":2,"\ud800":3}"#;
        let mut names = Vec::new();
        assert!(pairs(Part::of(text), |name, _| names.push(name)));
        assert_eq!(names[..2], [&b"a"[..], "é/".as_bytes()]);
        assert!(!pairs(Part::of(b"[1]"), |_, _| ()));
    }

    #[test]
    fn a_name_is_not_without_end() {
        assert_eq!(short("Bash"), "Bash");
        assert_eq!(short(&"é".repeat(600)), "é".repeat(500));
        assert_eq!(short(&format!("x{}", "é".repeat(600))).len(), 999);
    }

    #[test]
    fn what_a_tool_is_used_on() {
        let what = |text: &str| what(Part::of(text.as_bytes()));
        assert_eq!(what(r#"{"description":"d","command":"ls -l\nrm x"}"#), "ls -l");
        assert_eq!(what(r#"{"command":["ls"],"path":"/x"}"#), "/x");
        assert_eq!(what(r#"[1]"#), "");
        assert_eq!(what(&format!(r#"{{"url":"{}"}}"#, "é".repeat(500))), "é".repeat(200));
    }
}
