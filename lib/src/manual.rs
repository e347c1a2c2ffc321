//! What a tool's manual says beyond its options: exit codes, environment, examples. One constant a tool, beside its
//! arguments, from which both `--help` and the manual page are made.

use clap::builder::{StyledStr, Styles};
use std::fmt::Write as _;

/// The sections of a tool, each with its heading, in the order they are shown.
pub type Sections = [(&'static str, &'static [Part])];

/// A part of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A paragraph.
    Text(&'static str),
    /// A word and what it means.
    Item(&'static str, &'static str),
    /// Lines for a shell, shown as they are.
    Code(&'static str),
}

const WIDTH: usize = 80;
const INDENT: usize = 2;
const HANG: usize = 20;

/// The sections as they stand at the end of `--help`; nothing where the command line does not ask for it, for laying
/// them out takes a fifth of a start.
pub fn help(sections: &Sections) -> StyledStr {
    if std::env::args_os().any(|arg| arg == "--help") {
        lay_out(sections)
    } else {
        StyledStr::new()
    }
}

fn lay_out(sections: &Sections) -> StyledStr {
    let header = *Styles::styled().get_header();
    let mut out = String::new();
    for (at, (heading, parts)) in sections.iter().enumerate() {
        let gap = if at == 0 { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{gap}{header}{heading}:{header:#}");
        let words = parts.iter().map(|part| {
            if let Part::Item(word, _) = part {
                word.chars().count()
            } else {
                0
            }
        });
        let hang = words.max().map_or(0, |longest| INDENT + longest + 2).min(HANG);
        for part in *parts {
            match part {
                Part::Text(text) => wrap(&mut out, "", text, INDENT),
                Part::Item(word, text) => wrap(&mut out, word, text, hang),
                Part::Code(code) => {
                    for line in code.lines() {
                        let _ = writeln!(out, "{:1$}{line}", "", INDENT + 4);
                    }
                }
            }
        }
    }
    out.truncate(out.trim_end().len());
    out.into()
}

/// Appends a paragraph whose lines begin in column `indent`, the first behind `word`.
fn wrap(out: &mut String, word: &str, text: &str, indent: usize) {
    let mut line = if word.is_empty() {
        " ".repeat(indent)
    } else {
        format!("{:INDENT$}{word:<1$}", "", indent - INDENT)
    };
    // A word that leaves no room for its meaning has a line of its own.
    if line.chars().count() > indent || !line.ends_with(' ') {
        let _ = writeln!(out, "{line}");
        line = " ".repeat(indent);
    }
    let mut empty = true;
    for next in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + next.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            (line, empty) = (" ".repeat(indent), true);
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(next);
        empty = false;
    }
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        let text = lay_out(&[
            (
                "Exit status",
                &[
                    Part::Item("0", "it worked"),
                    Part::Item(
                        "126, 127",
                        "the worker could not be started, for it is not there, or it is no program at all",
                    ),
                ],
            ),
            (
                "Environment",
                &[Part::Item("A", "a"), Part::Item("A_VARIABLE_OF_A_LONG_NAME", "b")],
            ),
            ("Examples", &[Part::Text("Run it:"), Part::Code("a |\n  b")]),
        ]);
        assert_eq!(
            text.to_string(),
            "Exit status:\n  \
             0         it worked\n  \
             126, 127  the worker could not be started, for it is not there, or it is no\n            \
             program at all\n\
             \n\
             Environment:\n  \
             A                 a\n  \
             A_VARIABLE_OF_A_LONG_NAME\n                    \
             b\n\
             \n\
             Examples:\n  \
             Run it:\n      \
             a |\n        \
             b"
        );
    }
}
