//! How the whole ends, and what is told of it.

use harmony::cli::{self, reason};
use harmony::outcome::signal_name;
use std::io;

/// Why the whole has come to its end.
#[derive(Debug)]
pub enum Ending {
    /// It is enough.
    Met,
    /// It can no longer be enough; why.
    Unmet(String),
    /// The time is up.
    Timeout,
    /// A signal told us to end.
    Signal(i32),
    /// Nobody reads what we write.
    ReaderGone,
    /// We ourselves cannot go on; what failed.
    Failed(String),
}

impl Ending {
    /// Something of ours failed.
    pub fn failed(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::Failed(format!("{what}: {}", reason(error)))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Met | Self::ReaderGone => 0,
            Self::Unmet(_) | Self::Failed(_) => 1,
            Self::Timeout => 124,
            Self::Signal(signal) => 128u8.wrapping_add(*signal as u8),
        }
    }

    /// The word in the journal.
    pub fn verdict(&self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Unmet(_) | Self::Failed(_) => "unmet",
            Self::Timeout => "timeout",
            Self::Signal(_) | Self::ReaderGone => "cancelled",
        }
    }

    /// Why it is not met.
    pub fn because(&self) -> String {
        match self {
            Self::Met => String::new(),
            Self::Unmet(because) | Self::Failed(because) => because.clone(),
            Self::Timeout => "the time was up".to_owned(),
            Self::Signal(signal) => format!("told to stop by {}", signal_name(*signal)),
            Self::ReaderGone => "the reader went away".to_owned(),
        }
    }

    /// Tells whoever looks on.
    pub fn tell(&self) {
        match self {
            Self::Met | Self::ReaderGone => {}
            _ => cli::complain("cl-run", &self.because()),
        }
    }
}
