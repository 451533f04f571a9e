//! The model as the exact explorer sees it: findings of each state, and owed moves.

use super::{Action, Model};
use crate::{
    explorer::{Explorable, FairnessClass, Findings},
    properties::{Inevitable, PromotionState, Property},
    world::{MAX_ATTEMPTS, Packed, State},
};

/// The fairness classes: each attempt, deploys, the worker, the end of a lease, the end of markers. Deploys and jobs
/// only ever go on, so that one class of each is as fair as many.
const DEPLOYS: u8 = MAX_ATTEMPTS as u8;
const WORKER: u8 = DEPLOYS + 1;
const LEASE: u8 = WORKER + 1;
const MARKERS: u8 = LEASE + 1;

impl Explorable for Model {
    type Packed = Packed;

    fn pack(&self, state: &State) -> Packed {
        self.layout.pack(state)
    }

    fn unpack(&self, packed: &Packed) -> State {
        self.layout.unpack(packed)
    }

    fn judge(&self, state: &State) -> Findings {
        self.with_facts(state, |facts| {
            let mut findings = Findings::default();
            for property in Property::MODELLED.iter().filter(|property| self.applies(**property)) {
                if property.is_violated(facts, || self.fresh_succeeds(state)) {
                    findings.broken |= property.bit();
                }
                if property.is_exercised(facts) {
                    findings.exercised |= property.bit();
                }
            }
            for inevitable in Inevitable::ALL {
                if self.applies(inevitable.property()) && inevitable.is_pending(facts) {
                    findings.pending |= 1 << inevitable as u8;
                }
            }
            findings
        })
    }

    fn faults(&self, state: &State) -> u32 {
        u32::from(self.bounds.crashes - state.world.crashes_left)
            + u32::from(self.bounds.faults - state.world.faults_left)
    }

    /// The number of participants, then their roles: the first callers are the plainest.
    fn cost(&self, state: &State) -> u32 {
        let begun = (0..).zip(&state.attempts).filter(|(_, one)| one.stage != PromotionState::Waiting);
        begun.fold(0, |cost, (index, _)| cost + (64 << 10) + (1 << index))
    }

    fn caller(&self, action: &Action) -> Option<u8> {
        let attempt = action.mover()?;
        Some(self.cast()[usize::from(attempt)].retry_of.unwrap_or(attempt))
    }

    fn mover(&self, state: &State, action: &Action) -> FairnessClass {
        match *action {
            action if action.is_fault() => FairnessClass::Fault,
            Action::Approve(_)
            | Action::Expire
            | Action::Reject
            | Action::Revoke
            | Action::ClockPasses
            | Action::SourceChanges
            | Action::TargetChanges
            | Action::Crash => FairnessClass::Optional,
            Action::Promotion { consumer, .. } => match state.attempts[usize::from(consumer)].stage {
                PromotionState::Running => FairnessClass::Owed(consumer),
                PromotionState::Waiting if self.owes_retry(state, consumer) => FairnessClass::Owed(consumer),
                // The attempt need never begin.
                _ => FairnessClass::Optional,
            },
            Action::DeployEnds { .. } => FairnessClass::Owed(DEPLOYS),
            Action::Lease { .. } | Action::LaunchJob { .. } | Action::JobDeployEnds { .. } => {
                FairnessClass::Owed(WORKER)
            }
            Action::LeaseEnds => FairnessClass::Owed(LEASE),
            Action::MarkerEnds { .. } => FairnessClass::Owed(MARKERS),
        }
    }
}

impl Model {
    /// True if `property` applies to the flow.
    pub fn applies(&self, property: Property) -> bool {
        self.applied & property.bit() != 0
    }
}
