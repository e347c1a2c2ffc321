//! What a failure means: whether it is told, whether it counts, whether it ends us.

use crate::args::{Args, OutputError};
use harmony::cli::{complain, reason};
use std::io;

/// Keeps the account of what failed.
#[derive(Debug)]
pub struct Report {
    mode: Option<OutputError>,
    code: u8,
}

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The other sinks go on.
    GoOn,
    /// Nothing more is read.
    Stop,
}

impl Report {
    /// Nothing has failed yet.
    pub fn new(args: &Args) -> Self {
        let mode = if args.pipes {
            Some(OutputError::WarnNopipe)
        } else {
            args.output_error
        };
        Self { mode, code: 0 }
    }

    /// A sink failed.
    pub fn sink_failed(&mut self, name: &str, is_stdout: bool, error: &io::Error) -> Then {
        let gone = error.kind() == io::ErrorKind::BrokenPipe;
        match self.mode {
            // Whoever reads our stdout has had enough.
            None if gone && is_stdout => return Then::Stop,
            Some(OutputError::WarnNopipe | OutputError::ExitNopipe) if gone => return Then::GoOn,
            _ => self.failed(name, &reason(error)),
        }
        match self.mode {
            Some(OutputError::Exit | OutputError::ExitNopipe) => Then::Stop,
            _ => Then::GoOn,
        }
    }

    /// Something failed that is no sink's end.
    pub fn failed(&mut self, name: &str, why: &str) {
        self.tell(name, why);
        self.code = 1;
    }

    /// Something that is to be known, and no failure.
    pub fn tell(&self, name: &str, what: &str) {
        complain("cl-tee", &format!("{name}: {what}"));
    }

    /// The exit code so far.
    pub fn code(&self) -> u8 {
        self.code
    }
}
