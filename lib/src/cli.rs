//! What every tool's command line shares: `--color`, messages of one form, one way to end.

use clap::{Parser, ValueEnum, error::ErrorKind};
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::marker::PhantomData;
use std::process::ExitCode;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set; elsewhere when CLICOLOR_FORCE is.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Arguments that every tool has.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Common {
    /// When to colour: auto (on a terminal, unless NO_COLOR is set), always or never.
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        display_order = 900
    )]
    pub color: Color,
}

impl Color {
    /// Whether to colour what goes to a stream that is a terminal, or is not.
    pub fn on(self, terminal: bool) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            Self::Auto => terminal || set("CLICOLOR_FORCE"),
        }
    }
}

/// Reads the command line; on `--help`, `--version` or a usage error ends the process.
///
/// A usage error is one line on stderr and ends with `misuse`.
pub fn parse<A: Parser>(misuse: u8) -> A {
    parse_from(std::env::args_os().collect(), misuse)
}

/// Reads one command line after another; laid out once, each costs a fraction of the first.
#[derive(Debug)]
pub struct Reader<A> {
    command: clap::Command,
    args: PhantomData<A>,
}

impl<A: Parser> Default for Reader<A> {
    fn default() -> Self {
        Self {
            command: A::command().color(clap::ColorChoice::Never),
            args: PhantomData,
        }
    }
}

impl<A: Parser> Reader<A> {
    /// Reads a command line, the first word of which is the program's name.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn read(&mut self, args: Vec<OsString>) -> Result<A, String> {
        let parsed = self.command.try_get_matches_from_mut(args);
        parsed
            .and_then(|mut matches| A::from_arg_matches_mut(&mut matches))
            .map_err(|error| one_line(&error.to_string()))
    }
}

fn parse_from<A: Parser>(args: Vec<OsString>, misuse: u8) -> A {
    let color = early_color(&args);
    let command = A::command().color(if color.on(std::io::stdout().is_terminal()) {
        clap::ColorChoice::Always
    } else {
        clap::ColorChoice::Never
    });
    let tool = command.get_name().to_owned();
    let parsed = command
        .try_get_matches_from(args)
        .and_then(|matches| A::from_arg_matches(&matches));
    match parsed {
        Ok(args) => args,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            std::process::exit(i32::from(printed.is_err()));
        }
        Err(error) => {
            complain(&tool, &format!("{}; see {tool} --help", one_line(&error.to_string())));
            std::process::exit(misuse.into());
        }
    }
}

/// `--color` decides how the help looks, so it is looked for before the command line is read as a whole.
fn early_color(args: &[OsString]) -> Color {
    let mut color = Color::Auto;
    let mut args = args.iter().skip(1).map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        let value = match arg.as_ref() {
            "--" => break,
            "--color" => args.next(),
            other => other.strip_prefix("--color=").map(|value| value.to_owned().into()),
        };
        if let Some(value) = value.and_then(|value| Color::from_str(&value, true).ok()) {
            color = value;
        }
    }
    color
}

/// What clap says, in one line: its headline and what it lists, without usage and tips for a page.
fn one_line(text: &str) -> String {
    let head = text
        .lines()
        .take_while(|line| !line.trim_start().starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = head.map(str::trim).filter(|line| !line.is_empty()).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// Writes `tool: message` on stderr, in one line and with nothing in it that a terminal acts on, whatever a file is
/// called or holds. A stderr that is gone is no reason to fail.
pub fn complain(tool: &str, message: &str) {
    let _ = std::io::stderr().write_all(format!("{tool}: {}\n", crate::view::clean(message)).as_bytes());
}

/// Turns a tool's end into its exit code: an error is told, a reader that went away is a quiet end.
pub fn end(tool: &str, result: Result<u8, Failure>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            complain(tool, &failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Why a tool gives up: one line for people, and an exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One line that names the thing and the way out.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// Input or output failed: exit code 1.
    pub fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Self {
            message: format!("{what}: {}", reason(error)),
            code: 1,
        }
    }

    /// Misuse that the argument parser cannot see: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }
}

/// An I/O error in the system's words, without Rust's `(os error 2)`; with the way out where there is a plain one.
pub fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "Too many open files; allow more with `ulimit -n`".to_owned(),
        Some(code) => {
            let text = error.to_string();
            text.strip_suffix(&format!(" (os error {code})"))
                .unwrap_or(&text)
                .to_owned()
        }
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_in_one_line() {
        let text = "error: unexpected argument '--x' found\n\n  tip: a similar argument exists: '--y'\n\nUsage: t [OPTIONS]\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(text),
            "unexpected argument '--x' found tip: a similar argument exists: '--y'"
        );
    }

    #[test]
    fn colour_before_the_rest() {
        let args = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(early_color(&args(&["t", "--color", "never"])), Color::Never);
        assert_eq!(
            early_color(&args(&["t", "--color=always", "--", "--color=never"])),
            Color::Always
        );
        assert_eq!(early_color(&args(&["t"])), Color::Auto);
    }
}
