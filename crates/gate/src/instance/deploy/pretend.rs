//! A deploy that does nothing for a while: for demonstrations and tests.

use std::time::Duration;

use super::run::{Ended, Withdrawn};

/// How long it pretends, and how it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pretend {
    /// How long.
    pub duration: Duration,
    /// It fails.
    pub fails: bool,
}

impl Pretend {
    /// To its end; none when it was withdrawn.
    pub(super) async fn run(&self, withdrawn: &mut Withdrawn) -> Option<Ended> {
        tokio::select! {
            () = tokio::time::sleep(self.duration) => {}
            () = withdrawn.wait() => return None,
        }
        let output = if self.fails { "pretended to fail" } else { "pretended" };
        Some(Ended { exit_code: Some(self.fails.into()), output: output.to_owned() })
    }
}
