//! How a running instance is told to end, in two steps: nothing new any more, and then nothing at all.

use tokio::sync::watch;

/// How far an instance has come on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything is done as it comes.
    Running,
    /// Nothing new is begun; what runs may come to its end.
    Draining,
    /// What still runs is let go of.
    Ending,
}

/// What tells everybody.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Phase>);

/// What everybody is told.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Phase>);

impl Default for Stopper {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }
}

impl Stopper {
    /// For one more who has to know.
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
    /// Whether this phase has been reached.
    pub fn reached(&self, phase: Phase) -> bool {
        *self.0.borrow() >= phase
    }

    /// Ends when this phase has been reached.
    pub async fn wait_for(&self, phase: Phase) {
        // Whoever would have told is gone: that is an end, too.
        let _ = self.0.clone().wait_for(|now| *now >= phase).await;
    }
}
