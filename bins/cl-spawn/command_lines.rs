//! The command lines of one stream after another. Within a plan most of them differ only in the stream's name and in
//! what it runs; what stands between the two is read once.

use crate::args::Args;
use harmony::cli::Reader;
use harmony::line::Name;
use std::ffi::{OsStr, OsString};

/// Reads one command line after another.
#[derive(Default)]
pub struct CommandLines {
    reader: Reader<Args>,
    /// The last one that can be read from again.
    known: Option<Known>,
}

/// What a command line means that has these options, but for its name and its command.
struct Known {
    options: Vec<OsString>,
    runs: bool,
    args: Args,
}

/// The parts of a command line that begins with a stream's name.
struct Parts<'a> {
    name: &'a str,
    options: &'a [OsString],
    /// What stands behind `--`; empty where there is none.
    command: &'a [OsString],
}

impl<'a> Parts<'a> {
    fn of(line: &'a [OsString]) -> Option<Self> {
        let [_, name, rest @ ..] = line else { return None };
        let name = name.to_str().filter(|name| !name.starts_with('-'))?;
        let (options, command) = match rest.iter().position(|word| word == OsStr::new("--")) {
            // Behind `--` there is something to be run.
            Some(end) if end + 1 < rest.len() => (&rest[..end], &rest[end + 1..]),
            Some(_) => return None,
            None => (rest, &[][..]),
        };
        Some(Self { name, options, command })
    }
}

impl Known {
    /// What a line means that was read as a whole; `None` where another part of it may be its name or its command.
    fn of(parts: &Parts<'_>, args: &Args) -> Option<Self> {
        let named = args.name.as_ref().is_some_and(|name| name.as_str() == parts.name);
        (named && args.command == parts.command).then(|| Self {
            options: parts.options.to_vec(),
            runs: !parts.command.is_empty(),
            args: Args {
                name: None,
                command: Vec::new(),
                ..args.clone()
            },
        })
    }

    /// What that line means, where it has the same options.
    fn read(&self, parts: &Parts<'_>) -> Option<Args> {
        let same = self.options == parts.options && self.runs != parts.command.is_empty();
        let name: Name = parts.name.parse().ok().filter(|_| same)?;
        Some(Args {
            name: Some(name),
            command: parts.command.to_vec(),
            ..self.args.clone()
        })
    }
}

impl CommandLines {
    /// Reads a command line, the first word of which is the program's name.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn read(&mut self, line: Vec<OsString>) -> Result<Args, String> {
        let parts = Parts::of(&line);
        let known = self.known.as_ref().zip(parts.as_ref());
        if let Some(args) = known.and_then(|(known, parts)| known.read(parts)) {
            return Ok(args);
        }
        let args = self.reader.read(line.clone())?;
        self.known = parts.and_then(|parts| Known::of(&parts, &args));
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each after each other, as it is read alone.
    #[test]
    fn what_was_read_before_makes_no_difference() {
        let lines = [
            "a -- true",
            "b -- false x",
            "b --",
            "b",
            "b/c prompt",
            "b/d prompt",
            "d another",
            "a/ -- true",
            "-m x a -- true",
            "a -m x -- true",
            "a --arg -- -- true",
            "a --arg -- -- -- false",
            "a --arg=-- b -- true",
            "a --arg=-- c -- true",
            "a --nice 3 --env A=b --stdin null -- sh -c -- x",
            "c --nice 3 --env A=b --stdin null -- true",
            "c --nice 3 --env A=c --stdin null -- true",
            "a --nice 99 -- true",
            "c --nice 99 -- true",
            "a --no-such -- true",
            "--roles",
            "--serve",
            "a --partial",
            "b --partial",
            "b --partial --partial",
            "",
        ];
        let words = |line: &str| -> Vec<OsString> {
            let words = line.split(' ').filter(|word| !word.is_empty());
            std::iter::once("cl-spawn").chain(words).map(OsString::from).collect()
        };
        for first in lines {
            for second in lines {
                let mut both = CommandLines::default();
                let _ = both.read(words(first));
                let alone = CommandLines::default().read(words(second));
                assert_eq!(
                    format!("{:?}", both.read(words(second))),
                    format!("{alone:?}"),
                    "{first}; {second}"
                );
            }
        }
    }

    #[test]
    fn the_same_options_are_read_once() {
        let mut lines = CommandLines::default();
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        lines.read(words(&["cl-spawn", "a", "-m", "x", "--", "true"])).unwrap();
        let line = words(&["cl-spawn", "b", "-m", "x", "--", "false", "1"]);
        let args = lines.known.as_ref().unwrap().read(&Parts::of(&line).unwrap()).unwrap();
        assert_eq!(
            (args.name.unwrap().as_str(), args.command),
            ("b", words(&["false", "1"]))
        );
        assert_eq!(args.model.as_deref(), Some("x"));
    }
}
