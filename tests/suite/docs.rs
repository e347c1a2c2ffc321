//! Manual pages and completions: made from the tools' own arguments, checked in, and checked here.

mod page;
mod plan;
mod stream;

use crate::harness::{Done, bash, command, finish, root, run, scratch};
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use harmony::manual::{Part, Sections};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each tool's arguments, as they stand in its own folder: one line a tool.
macro_rules! tools {
    ($($module:ident $path:literal,)*) => {
        $(
            #[path = $path]
            #[allow(dead_code)] // only what describes the arguments is used here
            mod $module;
        )*

        fn tools() -> Vec<Tool> {
            vec![$(Tool { command: $module::Args::command(), manual: $module::MANUAL },)*]
        }
    };
}

tools! {
    merge "../../bins/cl-merge/args.rs",
    plan_args "../../bins/cl-plan/args.rs",
    progress "../../bins/cl-progress/args.rs",
    replay "../../bins/cl-replay/args.rs",
    run_args "../../bins/cl-run/args.rs",
    spawn "../../bins/cl-spawn/args.rs",
    tee "../../bins/cl-tee/args.rs",
    wait "../../bins/cl-wait/args.rs",
}

struct Tool {
    command: Command,
    manual: &'static Sections,
}

impl Tool {
    fn name(&self) -> &str {
        self.command.get_name()
    }
}

const RENEW: &str = "CL_RENEW=1 cargo test --test suite docs::fresh";

#[test]
fn every_tool_is_documented() {
    let mut bins: Vec<String> = fs::read_dir(root().join("bins"))
        .expect("the tools' folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a plain name")
        })
        .collect();
    bins.sort();
    let mut documented: Vec<String> = tools().iter().map(|tool| tool.name().to_owned()).collect();
    documented.sort();
    assert_eq!(bins, documented, "name each tool in tests/suite/docs.rs");
}

/// What is checked in is what the arguments give now.
#[test]
fn fresh() {
    let wanted: Vec<(PathBuf, String)> = tools().iter().flat_map(generate).collect();
    if std::env::var_os("CL_RENEW").is_some() {
        for (path, text) in &wanted {
            fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
            fs::write(path, text).expect("writes");
        }
    }
    let stale: Vec<_> = wanted
        .iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(stale.is_empty(), "stale: {}; renew with `{RENEW}`", stale.join(", "));

    let mut known: BTreeSet<PathBuf> = wanted.into_iter().map(|(path, _)| path).collect();
    known.extend(["man/cl-plan.5", "man/cl-stream.5"].map(|page| root().join(page)));
    for folder in ["man", "completions/bash", "completions/zsh", "completions/fish"] {
        for entry in fs::read_dir(root().join(folder)).expect(folder) {
            let path = entry.expect("an entry").path();
            assert!(known.contains(&path), "{} belongs to no tool", path.display());
        }
    }
}

#[test]
fn every_option_is_everywhere() {
    for tool in tools() {
        let help = run(tool.name(), &["--help"]).ok();
        let page = shown(&root().join(format!("man/{}.1", tool.name())));
        let mut options = options(help.text());
        for command in commands(&tool.command) {
            let help = run(tool.name(), &[command.get_name(), "--help"]).ok();
            options.extend(self::options(help.text()));
        }
        assert!(
            options.contains("--help") && options.contains("-V"),
            "{}: {options:?}",
            tool.name()
        );
        for option in options {
            if let Some(page) = &page {
                assert!(
                    words(page).any(|word| word == option),
                    "{option} is not in the manual of {}",
                    tool.name()
                );
            }
            for (path, text) in completions(&tool) {
                // fish writes the name behind `-l` or `-s`.
                let bare = option.trim_start_matches('-');
                let fish = format!(" -{} {bare} ", if option.starts_with("--") { 'l' } else { 's' });
                let there = words(&text).any(|word| word == option) || format!("{text} ").contains(&fish);
                assert!(there, "{option} is not in {}", path.display());
            }
        }
    }
}

/// A first line that stands alone in `-h`, without full stop; sentences behind it.
#[test]
fn every_help_reads_well() {
    for tool in tools() {
        let name = tool.name().to_owned();
        let about = tool.command.get_about().expect("says what it does").to_string();
        assert!(
            !about.ends_with('.') && about.len() <= 80,
            "{name}: {about:?} is the line in NAME"
        );
        let long = tool.command.get_long_about().expect("has a description").to_string();
        assert!(long.ends_with('.'), "{name}: the description ends in the midst");
        let mut args = arguments(&tool.command);
        for command in commands(&tool.command) {
            let about = command.get_about().expect("says what it does").to_string();
            assert!(
                !about.ends_with('.') && about.len() <= 110,
                "{name}: {about:?} is no short line"
            );
            let long = command.get_long_about().map(ToString::to_string);
            assert!(
                long.is_none_or(|long| long.ends_with('.')),
                "{name}: {about:?} goes on and ends in the midst"
            );
            args.extend(arguments(&command));
        }
        for arg in args {
            let what = format!("{name}: {}", arg.get_id());
            let short = arg
                .get_help()
                .unwrap_or_else(|| panic!("{what} has no help"))
                .to_string();
            assert!(
                !short.ends_with('.') && short.len() <= 110,
                "{what}: {short:?} is no short line"
            );
            let ours = !["help", "version"].contains(&arg.get_id().as_str());
            if let Some(long) = arg.get_long_help().filter(|_| ours) {
                let long = long.to_string();
                assert!(long.contains("\n\n"), "{what}: a paragraph follows the first line");
                assert!(long.ends_with(['.', ':']), "{what}: {long:?} ends in the midst");
            }
        }
        for (heading, parts) in tool.manual {
            for part in *parts {
                let well = match part {
                    Part::Text(text) => text.ends_with(['.', ':']),
                    Part::Item(word, text) => !word.is_empty() && text.ends_with('.'),
                    Part::Code(code) => !code.trim().is_empty(),
                };
                assert!(well, "{name}: {heading}: {part:?}");
            }
        }
        let headings: Vec<&str> = tool.manual.iter().map(|(heading, _)| *heading).collect();
        for wanted in ["Exit status", "Examples"] {
            assert!(headings.contains(&wanted), "{name}: no section {wanted:?}");
        }
    }
}

#[test]
fn manual_pages_are_sound() {
    let pages = fs::read_dir(root().join("man")).expect("the manual");
    for page in pages.map(|entry| entry.expect("a page").path()) {
        let text = fs::read_to_string(&page).expect("a page");
        let version = concat!("\"cl-tools ", env!("CARGO_PKG_VERSION"), "\"");
        assert!(text.contains(version), "{} is not of version {version}", page.display());
        let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let section = |name: &str| {
            let name = name.trim_matches('"');
            sections.iter().position(|heading| heading.trim_matches('"') == name)
        };
        let order = [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXIT STATUS",
            "EXAMPLES",
            "SEE ALSO",
        ];
        let wanted: Vec<&str> = if page.extension().is_some_and(|ext| ext == "1") {
            order.to_vec()
        } else {
            vec!["NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"]
        };
        let places: Vec<_> = wanted.iter().map(|name| section(name)).collect();
        assert!(
            places.iter().all(Option::is_some),
            "{}: of {wanted:?} it has {sections:?}",
            page.display()
        );
        assert!(
            places.is_sorted(),
            "{}: {sections:?} should go as {wanted:?}",
            page.display()
        );
        let page = page.display();
        for (program, lint) in [
            (
                "groff",
                format!("groff -man -Tutf8 -ww -rCHECKSTYLE=3 -z '{page}' 2>&1"),
            ),
            ("man", format!("man --warnings -l '{page}' 2>&1 >/dev/null")),
            (
                "mandoc",
                format!("mandoc -T lint -W warning '{page}' 2>&1 | grep -v 'missing date'"),
            ),
        ] {
            if let Some(done) = with(program, &lint) {
                assert_eq!(String::from_utf8_lossy(&done.out), "", "{program} {page}");
            }
        }
    }
}

#[test]
fn completions_load_in_their_shells() {
    let home = scratch();
    for tool in tools() {
        let name = tool.name();
        let [bash_file, zsh_file, fish_file] = ["bash", "zsh", "fish"].map(|shell| completion(shell, name));
        let (bash_file, zsh_file, fish_file) = (bash_file.display(), zsh_file.display(), fish_file.display());
        let zsh_folder = root().join("completions/zsh");
        let zsh_folder = zsh_folder.display();
        let home = home.path().display();
        for (shell, script) in [
            (
                "bash",
                format!(
                    "set -e; source '{bash_file}'; complete -p {name}; COMP_WORDS=({name} --colo); COMP_CWORD=1; \
                     complete=($(complete -p {name})); ${{complete[-2]}} {name} --colo {name}; echo \"${{COMPREPLY[@]}}\""
                ),
            ),
            (
                "zsh",
                format!(
                    "zsh -n '{zsh_file}' && zsh -fc 'fpath=({zsh_folder} $fpath); autoload -Uz compinit; \
                     compinit -u -d {home}/dump; print $_comps[{name}]; autoload +X _{name}; functions _{name}'"
                ),
            ),
            (
                "fish",
                format!(
                    "fish -n '{fish_file}' && fish --no-config -c 'source {fish_file}; complete -C \"{name} --colo\"'"
                ),
            ),
        ] {
            if let Some(done) = with(shell, &script) {
                let done = done.exits(0);
                assert!(
                    done.text().contains(name) || shell == "fish",
                    "{shell} {name}: {}",
                    done.text()
                );
                assert!(
                    done.text().contains("--color") && done.err.is_empty(),
                    "{shell} {name}: {done:?}"
                );
            }
        }
    }
}

/// Runs a script where that program is installed; says so where it is not.
fn with(program: &str, script: &str) -> Option<Done> {
    if bash(&format!("command -v {program}")).code() != 0 {
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let home = scratch();
    let mut bash = command("bash");
    bash.args(["-c", script])
        .env("HOME", home.path())
        .env("MANPAGER", "cat");
    Some(finish(bash, b""))
}

/// A manual page as a reader sees it, unbroken.
fn shown(page: &Path) -> Option<String> {
    let done = with(
        "groff",
        &format!("groff -man -Tutf8 -P-cbou -rLL=500n '{}'", page.display()),
    )?;
    // A minus sign in a name may be shown as a hyphen by a device that has both.
    Some(done.ok().text().replace(['\u{2010}', '\u{2212}'], "-"))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
}

/// The options that a help lists: `  -x, --long`, or `      --long`.
fn options(help: &str) -> BTreeSet<String> {
    let lines = help.lines().skip_while(|line| *line != "Options:").skip(1);
    let listed = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    let heads = listed.filter(|line| line.starts_with("  -") || line.starts_with("      --"));
    let names = heads.flat_map(|line| line.trim_start().split(", ").take_while(|part| part.starts_with('-')));
    names
        .map(|part| part.split([' ', '=', '[']).next().unwrap_or(part).to_owned())
        .collect()
}

fn generate(tool: &Tool) -> Vec<(PathBuf, String)> {
    let page = root().join(format!("man/{}.1", tool.name()));
    let mut all = vec![(page, page::manual_page(tool))];
    all.extend(completions(tool));
    all
}

fn completions(tool: &Tool) -> Vec<(PathBuf, String)> {
    [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)]
        .map(|(folder, shell)| {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut tool.command.clone(), tool.name(), &mut text);
            (
                completion(folder, tool.name()),
                String::from_utf8(text).expect("a script"),
            )
        })
        .into()
}

/// Where each shell looks for a tool's completion.
fn completion(shell: &str, tool: &str) -> PathBuf {
    let file = match shell {
        "zsh" => format!("_{tool}"),
        "fish" => format!("{tool}.fish"),
        _ => tool.to_owned(),
    };
    root().join("completions").join(shell).join(file)
}

/// A tool's commands, where it has some.
fn commands(command: &Command) -> Vec<Command> {
    let mut command = command.clone();
    command.build();
    command.get_subcommands().cloned().collect()
}

/// The arguments in the order of `--help`, positional ones first; not those that clap adds.
fn arguments(command: &Command) -> Vec<Arg> {
    let mut command = command.clone();
    command.build();
    let mut all: Vec<Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .cloned()
        .collect();
    all.sort_by_key(|arg| (!arg.is_positional(), arg.get_display_order()));
    all
}
