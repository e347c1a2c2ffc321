//! Plans, run folders and prompts as they are read.

use harmony::cli::{self, Failure};
use harmony::plan::{Format, Plan};
use harmony::role::Roles;
use harmony::run;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

/// The roles in force.
pub fn roles() -> Result<Roles, Failure> {
    Roles::load(None).map_err(|error| wrong(error.to_string()))
}

/// What is wrong with what was read.
pub fn wrong(message: impl Into<String>) -> Failure {
    Failure {
        message: message.into(),
        code: 1,
    }
}

/// A file's text; `-` is stdin.
pub fn text(path: &Path) -> Result<String, Failure> {
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let name = name(path);
    let bytes = bytes.map_err(|error| Failure::io(&name, &error))?;
    String::from_utf8(bytes).map_err(|_| wrong(format!("{name}: it is no UTF-8 text")))
}

/// How messages call a file.
pub fn name(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "stdin".to_owned(),
        _ => path.display().to_string(),
    }
}

/// Reads a plan. All that is wrong with it is told, and the failure says how much.
pub fn plan(path: &Path, roles: &Roles) -> Result<Plan, Failure> {
    run::read_plan("cl-plan", path, roles, 1).map(|document| document.plan)
}

/// A plan that was made, as the document that was asked for, once that was read as any other.
pub fn made(plan: &Plan, roles: &Roles, json: bool) -> Result<String, Failure> {
    let format = if json { Format::Json } else { Format::Toml };
    let text = plan.write(format);
    let problems = Plan::read(&text, format, roles).err().unwrap_or_default();
    let Some((last, others)) = problems.split_last() else {
        return Ok(text);
    };
    for problem in others {
        cli::complain("cl-plan", &problem.to_string());
    }
    Err(wrong(last.to_string()))
}

/// What to ask: PROMPT, or all of stdin.
pub fn prompt(given: Option<&str>) -> Result<String, Failure> {
    let prompt = match given {
        Some(prompt) => prompt.to_owned(),
        None => stdin("no prompt: give it as PROMPT, or on stdin")?
            .trim_end_matches('\n')
            .to_owned(),
    };
    if prompt.trim().is_empty() {
        return Err(Failure::usage("the prompt is empty: say what to ask"));
    }
    Ok(prompt)
}

/// The lines of stdin that are not empty.
pub fn lines() -> Result<Vec<String>, Failure> {
    let text = stdin("no prompts: give them on stdin, one a line")?;
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect();
    if lines.is_empty() {
        return Err(Failure::usage("stdin is empty: give prompts, one a line"));
    }
    Ok(lines)
}

fn stdin(missing: &str) -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::usage(missing));
    }
    text(Path::new("-"))
}
