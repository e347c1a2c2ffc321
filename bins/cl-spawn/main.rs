//! cl-spawn: runs one worker and writes its stream on stdout.

mod args;
mod command_lines;
mod dry;
mod order;
mod role;
mod session;
mod stdin;
mod worker;

use args::Args;
use command_lines::CommandLines;
use harmony::cli::{self, Failure, reason};
use harmony::run::serve;
use harmony::sink::Rope;
use std::io;
use std::os::fd::AsFd;
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
    if args.serve {
        let mut lines = CommandLines::default();
        let read = |line| {
            lines.read(line).map_err(|error| {
                cli::complain("cl-spawn", &error);
                i32::from(OURS)
            })
        };
        let ended = serve(io::stdin().as_fd(), read, |args, rope| {
            i32::from(work(args, Some(rope)))
        });
        return cli::end("cl-spawn", ended.map(|()| 0).map_err(|error| ours(reason(&error))));
    }
    ExitCode::from(work(args, None))
}

/// Does what the command line asks for; gives the exit code. `served` is there where [`serve`] ends what we leave behind.
fn work(args: Args, served: Option<Rope>) -> u8 {
    order::run(args, served).unwrap_or_else(|failure| {
        cli::complain("cl-spawn", &failure.message);
        failure.code
    })
}
