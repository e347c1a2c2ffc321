//! cl-progress: shows how the streams of a run are getting on.

mod args;
mod fold;
mod output;
mod pump;
mod reports;
mod run;
mod signals;
mod turn;
mod watch;

use args::Args;
use harmony::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Args = cli::parse(2);
    cli::end("cl-progress", run::run(args))
}
