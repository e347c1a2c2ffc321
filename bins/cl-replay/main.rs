//! cl-replay: plays a recorded stream back as a worker would.

mod args;
mod play;
mod recording;

use args::Args;
use harmony::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Args = cli::parse(2);
    cli::end("cl-replay", recording::play(&args))
}
