//! What the command lines of this workspace share: output, exit codes, a stopwatch, and errors that point into a file.

mod exit;
pub mod input;
pub mod output;
mod stopwatch;

pub use self::{exit::Exit, input::BadInput, stopwatch::Stopwatch};
