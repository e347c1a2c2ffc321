//! The kinds of entries.

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// One attempt, from its start to its end.
    Attempt,
    /// One turn of an agent, from a prompt to its result.
    Turn,
    /// A tool at work.
    Tool,
    /// The wait between two attempts.
    Backoff,
    /// The wait for the end of a usage limit.
    Limit,
    /// The wait of an agent that retries by itself.
    Retry,
    /// Nothing came from the worker, and no tool was at work.
    Silence,
    /// A moment: a result.
    Result,
    /// A moment: a tool was not permitted, an error was mentioned, a limit was told, lines were lost.
    Trouble,
    /// A moment: the worker begins to be stopped.
    Stop,
    /// A moment: the end of the stream.
    Exit,
}

impl What {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Turn => "turn",
            Self::Tool => "tool",
            Self::Backoff => "backoff",
            Self::Limit => "limit",
            Self::Retry => "retry",
            Self::Silence => "silence",
            Self::Result => "result",
            Self::Trouble => "trouble",
            Self::Stop => "stop",
            Self::Exit => "exit",
        }
    }

    /// Whether it has no length.
    pub fn is_moment(self) -> bool {
        matches!(self, Self::Result | Self::Trouble | Self::Stop | Self::Exit)
    }

    /// Whether the stream only waits.
    pub fn is_wait(self) -> bool {
        matches!(self, Self::Backoff | Self::Limit | Self::Retry | Self::Silence)
    }
}
