//! Candidate actions. Those that turn out to be impossible are not taken.

use countersign::{protocol::Status, store::JobState};
use uuid::Uuid;

use super::{Attempt, Consumer, Simulation, Slot};
use crate::simulation::{
    Action, CallOutcome, Mutant, Wants,
    platform::{Deploy, Who},
};

impl Simulation {
    /// Actions of normal operation. Effects are listed as executed; the scheduler draws other outcomes.
    pub(in crate::simulation) fn ordinary(&self, ordinary: &mut Vec<Action>) {
        ordinary.clear();
        for (index, observer) in self.observers.iter().enumerate() {
            if observer.status == Status::Pending && !observer.known.window_passed {
                ordinary.push(Action::Approve { approval: index as u8 });
            }
        }
        for (index, consumer) in self.consumers.iter().enumerate() {
            let client = index as u8;
            for (attempt, duplicate) in consumer.attempts.iter().zip([false, true]) {
                // A client that comes before the operator only learns that.
                let waits_in_vain = || !self.observers[usize::from(consumer.plan.approval)].approved;
                match attempt.slot {
                    Slot::Waiting if waits_in_vain() => {}
                    Slot::Running(_) if self.has_to_wait(consumer, attempt) => {}
                    Slot::Waiting | Slot::Running(_) => {
                        ordinary.push(Action::Promotion { client, duplicate, outcome: CallOutcome::Happens });
                    }
                    Slot::Off | Slot::Ended { .. } => {}
                }
            }
        }
        let has_job = self.has_job();
        for index in 0..self.instances.len() {
            if has_job || self.worker_runs(index) {
                ordinary.push(Action::Worker { instance: index as u8, outcome: CallOutcome::Happens });
            }
        }
        self.pending(ordinary);
    }

    /// Rare actions.
    pub(in crate::simulation) fn rare(&self, rare: &mut Vec<Action>) {
        rare.clear();
        for (index, observer) in self.observers.iter().enumerate() {
            let approval = index as u8;
            match observer.status {
                Status::Pending if observer.known.window_passed => rare.push(Action::Expire { approval }),
                Status::Pending => {}
                _ if self.platform.mutant == Some(Mutant::ApproveOverwrites) => {
                    rare.push(Action::Approve { approval });
                }
                _ => {}
            }
            rare.push(Action::Reject { approval });
            if !observer.known.window_passed {
                rare.push(Action::ClockPasses { approval });
            }
            if observer.approved && !observer.known.drifted {
                rare.push(Action::SourceChanges { approval });
            }
        }
        for (index, consumer) in self.consumers.iter().enumerate() {
            let client = index as u8;
            for (attempt, duplicate) in consumer.attempts.iter().zip([false, true]) {
                let approved = self.observers[usize::from(consumer.plan.approval)].approved;
                if matches!(attempt.slot, Slot::Waiting) && !approved {
                    rare.push(Action::Promotion { client, duplicate, outcome: CallOutcome::Happens });
                }
            }
            self.again(client, consumer, rare);
        }
        rare.extend((0..self.instances.len()).map(|index| Action::Crash { instance: index as u8 }));
        if self.leases_are_held() {
            rare.push(Action::LeasesRunOut);
        }
    }

    fn again(&self, client: u8, consumer: &Consumer, rare: &mut Vec<Action>) {
        match (&consumer.attempts[0].slot, &consumer.attempts[1].slot) {
            (Slot::Running(_), Slot::Off) if consumer.plan.wants != Wants::OtherTeam => {
                rare.push(Action::Duplicate { client });
            }
            (Slot::Ended { succeeded: false }, _) => rare.push(Action::Retry { client }),
            _ => {}
        }
    }

    /// Late messages and deploys.
    pub(in crate::simulation) fn pending(&self, actions: &mut Vec<Action>) {
        let control = self.platform.control();
        for late in &control.late {
            actions.push(Action::Arrives {
                client: match late.who {
                    Who::Attempt { client, .. } => Some(client),
                    Who::Worker { .. } => None,
                },
            });
        }
        for Deploy { launch, who, ended, .. } in &control.deploys {
            match who {
                Who::Attempt { client, .. } => {
                    actions.push(Action::ProcessDeployEnds { client: *client, failed: false });
                }
                Who::Worker { .. } if ended.is_none() => {
                    if let Some(approval) = self.place(launch.approval) {
                        actions.push(Action::DeployEnds { approval, failed: false });
                    }
                }
                Who::Worker { .. } => {}
            }
        }
    }

    fn place(&self, approval: Uuid) -> Option<u8> {
        self.observers.iter().position(|observer| observer.id == approval).map(|place| place as u8)
    }

    /// True if time has to pass before another worker can acquire a job.
    pub(in crate::simulation) fn leases_are_held(&self) -> bool {
        let now = self.now();
        self.observers.iter().any(|observer| {
            matches!(observer.job, Some(JobState::Leased { until, .. }) if now < until)
                || self.platform.is_leased(observer.team, observer.id)
        })
    }

    /// True if the lease of this approval is held.
    pub(in crate::simulation) fn is_leased(&self, approval: usize) -> bool {
        let observer = &self.observers[approval];
        self.platform.is_leased(observer.team, observer.id)
    }

    /// The first request that is under way, and need not wait.
    pub(in crate::simulation) fn under_way(&self) -> Option<Action> {
        self.consumers.iter().enumerate().find_map(|(index, consumer)| {
            let goes_on = |attempt: &Attempt| {
                matches!(attempt.slot, Slot::Running(_)) && !self.has_to_wait(consumer, attempt)
            };
            let place = consumer.attempts.iter().position(goes_on)?;
            Some(Action::Promotion {
                client: index as u8,
                duplicate: place == 1,
                outcome: CallOutcome::Happens,
            })
        })
    }
}
