//! From the command line to what is written.

use crate::args::{Args, Command};
use crate::{documents, import, make, script, show, status, todo};
use harmony::cli::Failure;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Does what the command line asks for; gives the exit code.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let roles = documents::roles()?;
    let text = match &args.command {
        Command::Orchestra(question) => make::set("orchestra", question, &roles)?,
        Command::Specialists(question) => make::set("specialists", question, &roles)?,
        Command::Ensemble(question) => make::set("ensemble", question, &roles)?,
        Command::Progressive(question) => make::set("progressive", question, &roles)?,
        Command::Chain(lines) => make::chain(lines, &roles)?,
        Command::Batch { size, lines } => make::batch(*size as usize, lines, &roles)?,
        Command::First(lines) => make::first(lines, &roles)?,
        Command::Check(file) => documents::plan(&file.file, &roles).map(|_| String::new())?,
        Command::Show {
            file,
            dot,
            mermaid,
            run,
        } => {
            let plan = documents::plan(&file.file, &roles)?;
            if *dot {
                show::dot(&plan)?
            } else if *mermaid {
                show::mermaid(&plan)?
            } else {
                show::text(&plan, &roles, run)?
            }
        }
        Command::Script(file) => script::script(&documents::plan(&file.file, &roles)?, &roles)?,
        Command::Import { file, form } => import::import(file, form, &roles)?,
        Command::Status { run } => status::status(run, &roles, args.common.color.on(io::stdout().is_terminal()))?,
        Command::Todo { file, json } => todo::todo(file, *json, &roles)?,
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Failure::io("stdout", &error)),
    }
}
