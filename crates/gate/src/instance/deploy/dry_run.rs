//! A deploy that does nothing for a while: for demonstrations and tests.

use std::time::Duration;

use super::run::{Cancelled, Ended};

/// A simulated deploy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// Its duration.
    pub duration: Duration,
    /// Simulates a failure.
    pub fails: bool,
}

impl DryRun {
    /// To its end; `None` when it was cancelled.
    pub(super) async fn run(&self, cancelled: &mut Cancelled) -> Option<Ended> {
        tokio::select! {
            () = tokio::time::sleep(self.duration) => {}
            () = cancelled.wait() => return None,
        }
        let output = if self.fails { "pretended to fail" } else { "pretended" };
        Some(Ended { exit_code: Some(self.fails.into()), output: output.to_owned() })
    }
}
