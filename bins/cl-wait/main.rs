//! cl-wait: waits until enough streams have ended well, and gives their answers.

mod args;
mod input;
mod report;
mod runs;
mod signals;
mod wait;
mod watchdog;

use args::Args;
use harmony::cli;
use std::process::ExitCode;

/// cl-wait itself failed or was misused.
const OURS: u8 = 125;

fn main() -> ExitCode {
    let args: Args = cli::parse(OURS);
    cli::end("cl-wait", wait::run(&args))
}
