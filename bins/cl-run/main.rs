//! cl-run: runs a plan, resumes it, takes back what it did.

mod add;
mod args;
mod dry;
mod end;
mod journal;
mod launch;
mod open;
mod parked;
mod prepare;
mod pump;
mod run;
mod undo;
mod work;
mod worktree;

use args::Args;
use harmony::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Args = cli::parse(2);
    cli::end("cl-run", open::run(&args))
}
