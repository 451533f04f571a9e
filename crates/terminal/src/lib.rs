//! The common part of this workspace's command lines: output, exit codes, Ctrl-C, a stopwatch, and errors with file
//! positions.

mod exit;
pub mod input;
pub mod interrupt;
pub mod output;
mod stopwatch;

pub use self::{exit::Exit, input::BadInput, stopwatch::Stopwatch};
