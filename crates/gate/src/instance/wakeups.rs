//! Wakes idle loops before their next poll.

use tokio::sync::Notify;

/// One signal for each kind of work that waits in the store. A missed signal costs time only: every loop polls anyway,
/// because the work may come from another instance.
#[derive(Debug, Default)]
pub struct Wakeups {
    /// A launch job is ready.
    pub jobs: Notify,
    /// A link is to be sent.
    pub notices: Notify,
}

impl Wakeups {
    /// A promotion may have written a launch job.
    pub fn wake_workers(&self) {
        self.jobs.notify_one();
    }

    /// An approval was asked for.
    pub fn wake_notifier(&self) {
        self.notices.notify_one();
    }
}
