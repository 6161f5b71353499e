//! How a command ends, and how its words reach whoever called it.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Why a command does not end well.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It ran and found something wrong: exit code 1.
    Found(String),
    /// It was called wrongly, or the configuration is wrong: exit code 2.
    Wrong(String),
    /// The configuration is wrong, and each of its faults begins with its place: exit code 2.
    Misconfigured(String),
    /// What it found is printed already: exit code 1.
    Shown,
    /// Whoever read the output has had enough, as `head` does: exit code 0.
    Unread,
}

impl Failure {
    /// Says what is to be said on standard error and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Found(text) => (Some(format!("Error: {text}")), 1),
            Self::Wrong(text) => (Some(format!("Error: {text}")), 2),
            Self::Misconfigured(text) => (Some(text), 2),
            Self::Shown => (None, 1),
            Self::Unread => (None, 0),
        };
        if let Some(text) = text {
            complain(&text);
        }
        ExitCode::from(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(text) | Self::Wrong(text) | Self::Misconfigured(text) => f.write_str(text),
            Self::Shown | Self::Unread => Ok(()),
        }
    }
}

/// Writes to standard output at once.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::Unread,
        _ => Failure::Found(format!("cannot write to standard output: {e}")),
    })
}

/// Writes a line to standard error, for a person; if nobody reads it, nobody can be told.
pub(crate) fn complain(line: &str) {
    let _gone = writeln!(io::stderr().lock(), "{line}");
}

/// Whether standard output takes colours.
pub(crate) fn colours() -> bool {
    crate::telemetry::colours(io::stdout().is_terminal())
}
