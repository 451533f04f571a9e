//! A single-use approval gate: an action happens once, after a human said yes, and only if the checks pass.
#[cfg(feature = "flow-files")]
pub mod flow_file;
pub mod protocol;
