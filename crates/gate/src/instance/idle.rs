//! Polling with back-off, and immediate wake-up when there is work.

use std::time::Duration;

use tokio::sync::Notify;

use super::stop::{Phase, Stop};

/// A pause that doubles, up to a longest one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    next: Duration,
    longest: Duration,
}

impl Idle {
    const SHORTEST: Duration = Duration::from_millis(50);

    /// Never longer than this.
    pub(super) fn up_to(longest: Duration) -> Self {
        Self { next: Self::SHORTEST.min(longest), longest }
    }

    /// There was something to do.
    pub(super) fn reset(&mut self) {
        self.next = Self::SHORTEST.min(self.longest);
    }

    /// Waits until the pause is over, the bell rings, or the instance begins to stop.
    pub(super) async fn wait(&mut self, bell: &Notify, stop: &Stop) {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        tokio::select! {
            () = bell.notified() => self.reset(),
            () = tokio::time::sleep(pause) => {}
            () = stop.wait_for(Phase::Draining) => {}
        }
    }
}
