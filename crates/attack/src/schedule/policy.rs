//! The four decisions that make a search exhaustive and its schedules true.
//!
//! [`Causal`] is the policy of [`explore`](super::explore). Others exist in tests only: each is wrong in one decision, and
//! the tests show that the wrong decision is noticed.

/// Information for attributing a statement that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The only request that runs.
    pub running: usize,
    /// The request that used the connection before in this schedule.
    pub last_user: Option<usize>,
}

/// Treatment of a request whose statement waits for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBlocked {
    /// The request waits, and goes on with its answer.
    Waits,
    /// The request counts as done.
    CountsAsDone,
}

/// Decides the release of statements, their attribution, the treatment of locks, and the next exploration.
pub trait Policy {
    /// The requests whose next statement is released, when `chosen` is to continue and `enabled` could.
    fn released(&self, chosen: usize, enabled: &[usize]) -> Vec<usize>;

    /// The request to which a statement belongs.
    fn owner(&self, arrival: Arrival) -> usize;

    /// Treatment of a lock.
    fn when_blocked(&self) -> WhenBlocked;

    /// Which of the alternatives at a decision is explored next; `None` when the decision is exhausted.
    fn next_alternative(&self, untried: &[usize]) -> Option<usize>;
}

/// One statement at a time; it belongs to the request that runs; a lock is waited for; every alternative is explored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Causal;

impl Policy for Causal {
    fn released(&self, chosen: usize, _enabled: &[usize]) -> Vec<usize> {
        vec![chosen]
    }

    fn owner(&self, arrival: Arrival) -> usize {
        arrival.running
    }

    fn when_blocked(&self) -> WhenBlocked {
        WhenBlocked::Waits
    }

    fn next_alternative(&self, untried: &[usize]) -> Option<usize> {
        untried.first().copied()
    }
}
