//! The exit codes.

use std::process::ExitCode;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Every verdict is the expected one.
    Expected = 0,
    /// A verdict is not the expected one.
    Unexpected = 1,
    /// Bad usage or a bad flow file. clap uses the same code.
    BadInput = 2,
    /// A limit on time, memory, states or depth stopped it before it was complete, and nothing unexpected was found.
    CutOff = 3,
    /// Interrupted, after printing the results so far.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
