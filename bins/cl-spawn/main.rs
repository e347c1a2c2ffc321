//! cl-spawn: runs one worker and writes its stream on stdout.

mod args;
mod dry;
mod order;
mod role;
mod session;
mod stdin;
mod worker;

use args::Args;
use harmony::cli::{self, Failure};
use std::process::ExitCode;

/// cl-spawn itself failed or was misused.
const OURS: u8 = 125;

fn ours(message: impl Into<String>) -> Failure {
    Failure {
        message: message.into(),
        code: OURS,
    }
}

fn main() -> ExitCode {
    let args: Args = cli::parse(OURS);
    cli::end("cl-spawn", order::run(args))
}
