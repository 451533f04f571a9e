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
    pub(super) async fn run(
        &self,
        cancelled: &mut Cancelled,
        given_up: impl Future<Output = ()>,
    ) -> Option<Ended> {
        let (exit_code, output) = tokio::select! {
            () = tokio::time::sleep(self.duration) => match self.fails {
                true => (Some(1), "pretended to fail"),
                false => (Some(0), "pretended"),
            },
            () = given_up => (None, "given up"),
            () = cancelled.wait() => return None,
        };
        Some(Ended { exit_code, output: output.to_owned(), is_given_up: exit_code.is_none() })
    }
}
