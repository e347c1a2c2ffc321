//! Plans from a question, or from lines.

use crate::args::{Form, Lines, Make, Question};
use crate::documents::{lines, made, prompt};
use harmony::cli::Failure;
use harmony::plan::{Plan, Settings, Stream, Wait};
use harmony::role::Roles;
use harmony::units;

/// One question for all roles of a set, the first in priority first.
pub fn set(set: &str, question: &Question, roles: &Roles) -> Result<String, Failure> {
    let mut plan = begin(set, &question.make)?;
    plan.prompt = Some(prompt(question.prompt.as_deref())?);
    let mut players: Vec<_> = roles
        .iter()
        .filter(|(_, known)| known.role.set.as_deref() == Some(set))
        .collect();
    players.sort_by_key(|(name, known)| (known.role.priority.unwrap_or(1), *name));
    for (role, known) in players {
        let name = role.strip_prefix(&format!("{set}.")).unwrap_or(role).to_owned();
        let before = plan.streams.last().filter(|_| set == "progressive");
        plan.streams.push(Stream {
            about: known.role.about.clone(),
            after: before.map(|stream| stream.name.clone()).into_iter().collect(),
            settings: Settings {
                role: Some(role.to_owned()),
                ..Settings::default()
            },
            name,
            ..Stream::default()
        });
    }
    // They wait for the network, not for processors, and are of use only while the question is open.
    plan.jobs = if set == "progressive" {
        1
    } else {
        plan.streams.len() as u32
    };
    let first = plan.streams.first().map(|stream| stream.name.clone());
    if matches!(set, "orchestra" | "ensemble") && plan.streams.len() > 1 {
        plan.wait = Some(Wait {
            need: first.into_iter().collect(),
            any: Some(1),
            grace: Some("15s".to_owned()),
            ..Wait::default()
        });
    }
    made(&plan, roles, question.make.form.json)
}

/// Each line on the answer to the one before.
pub fn chain(order: &Lines, roles: &Roles) -> Result<String, Failure> {
    batches("chain", "step", 1, order, roles)
}

/// So many lines at a time, on the answers of those before.
pub fn batch(size: usize, order: &Lines, roles: &Roles) -> Result<String, Failure> {
    batches("batch", "job", size, order, roles)
}

fn batches(name: &str, each: &str, size: usize, order: &Lines, roles: &Roles) -> Result<String, Failure> {
    let mut plan = begin(name, &order.make)?;
    plan.jobs = u32::try_from(size).unwrap_or(0);
    let mut before: Vec<String> = Vec::new();
    let mut count = 0;
    for lines in lines()?.chunks(size) {
        let mut names = Vec::new();
        for line in lines {
            count += 1;
            let name = format!("{each}{count}");
            names.push(name.clone());
            let mut stream = stream(name, line, &order.command);
            if let Some(prompt) = &mut stream.prompt {
                match before.as_slice() {
                    [] => {}
                    [one] => *prompt += &format!("\n\nThe step before gave this:\n\n{{{{streams.{one}.text}}}}"),
                    many => {
                        *prompt += "\n\nThe steps before gave this:";
                        for one in many {
                            *prompt += &format!("\n\n{one}:\n\n{{{{streams.{one}.text}}}}");
                        }
                    }
                }
            }
            stream.after = before.clone();
            plan.streams.push(stream);
        }
        before = names;
    }
    made(&plan, roles, order.make.form.json)
}

/// One line after the other until one succeeds.
pub fn first(order: &Lines, roles: &Roles) -> Result<String, Failure> {
    let mut plan = begin("first", &order.make)?;
    for line in lines()? {
        let mut stream = stream(format!("try{}", plan.streams.len() + 1), &line, &order.command);
        stream.instead = plan.streams.last().map(|before| before.name.clone());
        plan.streams.push(stream);
    }
    plan.jobs = 1;
    made(&plan, roles, order.make.form.json)
}

/// A stream for a line: asked of an agent, or handed to the command, in its arguments or on its stdin.
fn stream(name: String, line: &str, command: &[String]) -> Stream {
    let in_arguments = command.iter().any(|arg| arg.contains("{}"));
    Stream {
        name,
        prompt: (!in_arguments).then(|| line.to_owned()),
        run: command.iter().map(|arg| arg.replace("{}", line)).collect(),
        ..Stream::default()
    }
}

fn begin(name: &str, make: &Make) -> Result<Plan, Failure> {
    if let Some(timeout) = &make.timeout {
        units::duration(timeout).map_err(|why| Failure::usage(format!("--timeout: {why}")))?;
    }
    Ok(Plan {
        name: plan_name(&make.form, name)?,
        defaults: Settings {
            agent: make.agent.clone(),
            model: make.model.clone(),
            timeout: make.timeout.clone(),
            ..Settings::default()
        },
        ..Plan::default()
    })
}

/// The name that was asked for, else this one.
pub fn plan_name(form: &Form, otherwise: &str) -> Result<String, Failure> {
    let name = form.name.as_deref().unwrap_or(otherwise);
    match harmony::line::Name::new(name) {
        Ok(_) if !name.contains('/') => Ok(name.to_owned()),
        _ => Err(Failure::usage(format!(
            "--name '{name}': it names folders: use letters, digits, '_', '.' and '-'"
        ))),
    }
}
