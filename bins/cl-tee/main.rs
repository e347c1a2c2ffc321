//! cl-tee: copies stdin to stdout and to every sink, and lets none hold up another.

mod args;
mod open;
mod report;
mod signals;
mod tee;

use args::Args;
use harmony::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Args = cli::parse(2);
    cli::end("cl-tee", tee::run(&args))
}
