//! cl-plan: makes, checks and shows plans.

mod args;
mod documents;
mod import;
mod make;
mod run;
mod script;
mod show;
mod status;
mod todo;

use args::Args;
use harmony::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Args = cli::parse(2);
    cli::end("cl-plan", run::run(&args))
}
