//! The shutdown signal of an instance, in two phases: no new work, then no work at all.

use tokio::sync::watch;

/// Phase of an instance's shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Normal operation.
    Running,
    /// No new work; running work may finish.
    Draining,
    /// Running work is aborted.
    Ending,
}

/// The sending side.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Phase>);

/// The receiving side.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Phase>);

impl Default for Stopper {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }
}

impl Stopper {
    /// Another receiver.
    pub fn subscribe(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    /// Goes on to this phase; never back.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }
}

impl Stop {
    /// True if this phase has been reached.
    pub fn reached(&self, phase: Phase) -> bool {
        *self.0.borrow() >= phase
    }

    /// Ends when this phase has been reached.
    pub async fn wait_for(&self, phase: Phase) {
        // A dropped sender also ends the instance.
        let _ = self.0.clone().wait_for(|now| *now >= phase).await;
    }
}
