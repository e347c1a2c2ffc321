//! A tool's manual page from its arguments and its sections.

use super::{RENEW, Tool, arguments, commands, tools};
use clap::{Arg, Command};
use harmony::manual::Part;
use roff::{Inline, Roff, bold, italic, roman};

/// The whole page, which reads as a manual and not as a list of arguments.
pub fn manual_page(tool: &Tool) -> String {
    let version = tool.command.get_version().expect("has a version");
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    let about = tool.command.get_about().expect("says what it does");
    roff.text([roman(format!("{} - {about}", tool.name()))]);
    roff.control("SH", ["SYNOPSIS"]);
    let usage = tool.command.clone().render_usage().to_string();
    let forms = usage.trim_start_matches("Usage:").lines().map(str::trim);
    for (at, form) in forms.enumerate() {
        if at > 0 {
            roff.control("br", []);
        }
        let rest = form.strip_prefix(tool.name()).unwrap_or(form);
        roff.text([bold(tool.name()), roman(rest)]);
    }
    roff.control("SH", ["DESCRIPTION"]);
    let long = tool.command.get_long_about().expect("has a description").to_string();
    // Its first line stands in NAME already.
    for (at, paragraph) in long.split("\n\n").skip(1).enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph.replace('\n', " "))]);
    }
    let commands = commands(&tool.command);
    if !commands.is_empty() {
        roff.control("SH", ["COMMANDS"]);
    }
    for command in commands {
        whole_command(&mut roff, command);
    }
    roff.control("SH", ["OPTIONS"]);
    for arg in arguments(&tool.command) {
        option(&mut roff, &arg);
    }
    for (heading, parts) in tool.manual {
        roff.control("SH", [heading.to_uppercase().as_str()]);
        section(&mut roff, parts);
    }
    roff.control("SH", ["SEE ALSO"]);
    let mut others: Vec<String> = tools()
        .iter()
        .map(|tool| tool.name().to_owned())
        .filter(|name| name != tool.name())
        .collect();
    others.sort();
    let mut pages: Vec<(String, &str)> = others.into_iter().map(|name| (name, "1")).collect();
    // The formats, where they are written by hand.
    pages.extend(["cl-plan", "cl-stream"].map(|name| (name.to_owned(), "5")));
    let count = pages.len();
    for (at, (name, number)) in pages.iter().enumerate() {
        let comma = if at + 1 < count { "," } else { "" };
        roff.text([bold(name), roman(format!("({number}){comma}"))]);
    }
    let head = format!(".\\\" Made from bins/{0}/args.rs; renew with {RENEW}\n", tool.name());
    // No date: it would say when the page was made, not when the tool was changed.
    let title = format!(
        ".TH {} 1 \"\" \"cl-tools {version}\" \"User Commands\"\n",
        tool.name().to_uppercase()
    );
    let preamble = Roff::new().render();
    let body = roff.render();
    let body = body.strip_prefix(&preamble).unwrap_or(&body);
    plain(&format!("{head}{preamble}{title}{body}"))
}

/// What is not ASCII as the escapes that every formatter knows.
fn plain(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    for c in page.chars() {
        match c.is_ascii() {
            true => text.push(c),
            false => text += &format!("\\[u{:04X}]", u32::from(c)),
        }
    }
    text
}

/// A command: its usage, what it does, and its own options, all but the help that each has.
fn whole_command(roff: &mut Roff, mut command: Command) {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    roff.control("SS", [usage]);
    let about = command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string);
    for (at, paragraph) in about.unwrap_or_default().split("\n\n").enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        let stop = if paragraph.ends_with('.') { "" } else { "." };
        roff.text([roman(format!("{}{stop}", paragraph.replace('\n', " ")))]);
    }
    for arg in arguments(&command) {
        if arg.get_id() != "help" {
            option(roff, &arg);
        }
    }
}

fn option(roff: &mut Roff, arg: &Arg) {
    let mut head: Vec<Inline> = Vec::new();
    let names = [
        arg.get_short().map(|c| format!("-{c}")),
        arg.get_long().map(|name| format!("--{name}")),
    ];
    for name in names.into_iter().flatten() {
        if !head.is_empty() {
            head.push(roman(", "));
        }
        head.push(bold(name));
    }
    if arg.get_num_args().is_some_and(|count| count.takes_values()) {
        let optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0) && !arg.is_positional();
        let (open, close) = match (optional, arg.is_require_equals_set()) {
            (true, true) => ("[=", "]"),
            (true, false) => (" [", "]"),
            (false, true) => ("=", ""),
            (false, false) if arg.is_positional() => ("", ""),
            (false, false) => (" ", ""),
        };
        head.push(roman(open));
        let values = arg.get_value_names().unwrap_or_default();
        head.push(italic(
            values.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "),
        ));
        let many = arg
            .get_num_args()
            .is_some_and(|count| count.max_values() > values.len().max(1));
        head.push(roman(format!(
            "{}{close}",
            if many && arg.is_positional() { "..." } else { "" }
        )));
    }
    roff.control("TP", []);
    roff.text(head);
    let help = arg
        .get_long_help()
        .or(arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    for (at, paragraph) in help.split("\n\n").enumerate() {
        if at > 0 {
            roff.control("IP", []);
        }
        let stop = if paragraph.ends_with(['.', ':', '!', '?']) {
            ""
        } else {
            "."
        };
        roff.text([roman(format!("{}{stop}", paragraph.replace('\n', " ")))]);
    }
    let values = arg.get_possible_values();
    if !arg.is_hide_possible_values_set() && !values.is_empty() {
        roff.control("RS", []);
        for value in values.iter().filter(|value| !value.is_hide_set()) {
            roff.control("TP", []);
            roff.text([bold(value.get_name())]);
            roff.text([roman(value.get_help().map(ToString::to_string).unwrap_or_default())]);
        }
        roff.control("RE", []);
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_num_args().is_some_and(|c| c.takes_values())
    {
        roff.text([roman("Default: "), bold(defaults.join(",")), roman(".")]);
    }
}

fn section(roff: &mut Roff, parts: &[Part]) {
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => {
                if at > 0 {
                    roff.control("PP", []);
                }
                roff.text([roman(*text)]);
            }
            Part::Item(word, text) => {
                roff.control("TP", []);
                roff.text([bold(*word)]);
                roff.text([roman(*text)]);
            }
            Part::Code(code) => {
                roff.control("PP", []);
                roff.control("RS", ["4"]).control("EX", []);
                for line in code.lines() {
                    roff.text([roman(line)]);
                }
                roff.control("EE", []).control("RE", []);
            }
        }
    }
}
