//! cl-merge: brings many streams into one.

mod args;
mod fifos;
mod merge;
mod output;
mod sorter;

use args::Args;
use harmony::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Args = cli::parse(2);
    cli::end("cl-merge", merge::run(&args))
}
