//! What wakes whoever has nothing to do, sooner than they would look again.

use tokio::sync::Notify;

/// One bell for each kind of work that waits in the store. A missed ring costs time and nothing else: everybody looks
/// again after a while, because the work may be another instance's.
#[derive(Debug, Default)]
pub struct Bells {
    /// There is a launch job.
    pub jobs: Notify,
    /// There is a link to be sent.
    pub notices: Notify,
}

impl Bells {
    /// A promotion may have written a launch job.
    pub fn ring_for_jobs(&self) {
        self.jobs.notify_one();
    }

    /// An approval was asked for.
    pub fn ring_for_notices(&self) {
        self.notices.notify_one();
    }
}
