//! The liveness phase: faults are off, running work is completed, and then every client retries.
//!
//! L1 and L2 are judged when no work is running and before the first retry: a retry may cover up a state that would
//! never recover by itself. L3 and L4 are judged by fresh requests.

use countersign::protocol::Refusal;

use super::{Action, CallOutcome, Simulation};
use crate::properties::Property;

/// More actions than any schedule needs to come to rest.
const PATIENCE: u32 = 100_000;

impl Simulation {
    /// Lets everything come to rest, and judges liveness.
    pub fn liveness_phase(&mut self) {
        self.begin_liveness_phase();
        let at_rest = self.come_to_rest();
        let overdue = self.observers().iter().fold(0, |bits, observer| bits | observer.overdue());
        self.break_promises(overdue);
        if !at_rest {
            self.break_promises(1 << Property::L1 as u32 | 1 << Property::L2 as u32);
            return;
        }
        for approval in 0..self.observers().len() {
            let promised = self.observers()[approval].promised();
            if promised != 0 && !self.fresh_succeeds(approval) {
                self.break_promises(promised);
            }
        }
        self.everyone_asks_again();
        self.come_to_rest();
    }

    /// True once no work is running.
    fn come_to_rest(&mut self) -> bool {
        let mut pending = Vec::new();
        for _ in 0..PATIENCE {
            pending.clear();
            self.pending(&mut pending);
            let instances = 0..self.instances();
            let worker = |sim: &Self| {
                let alive = instances.clone().find(|index| sim.worker_runs(*index));
                alive.or_else(|| sim.has_job().then_some(0))
            };
            let action = if let Some(action) = pending.first() {
                *action
            } else if let Some(action) = self.under_way() {
                action
            } else if let Some(instance) = worker(self) {
                Action::Worker { instance: instance as u8, outcome: CallOutcome::Happens }
            } else if self.leases_are_held() {
                Action::LeasesRunOut
            } else {
                return true;
            };
            if self.take(action).is_none() {
                // Pending actions are possible: this is a worker that has lost its job, and is removed.
                continue;
            }
        }
        false
    }

    /// One fresh promotion of what was approved, without faults and drift. To be refused by the plan's cap is to be
    /// told the truth, and no broken promise.
    fn fresh_succeeds(&mut self, approval: usize) -> bool {
        self.undo_drift(approval);
        let end = self.ask_afresh(approval);
        matches!(&end, Ok(()))
            || matches!(&end, Err(Some(refusal)) if *refusal == Refusal::DEPLOYMENT_LIMIT_REACHED)
    }

    fn everyone_asks_again(&mut self) {
        for client in 0..self.clients() {
            let client = client as u8;
            if self.take(Action::Retry { client }).is_some() {
                for _ in 0..PATIENCE {
                    if self.go_on(client).is_none() {
                        break;
                    }
                }
            }
        }
    }
}
