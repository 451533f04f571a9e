//! The model as the exact explorer takes it: what each state shows, and to whom fairness is owed.

use super::{Action, Model};
use crate::{
    explorer::{Explorable, Findings, Mover},
    properties::{Inevitable, Property, Stage},
    world::{MAX_CONSUMERS, Packed, State},
};

/// The fairness classes: each consumer's promotion, each consumer's deploy, the worker, the job's deploy, the end of a
/// lease.
const DEPLOYS: u8 = MAX_CONSUMERS as u8;
const WORKER: u8 = 2 * MAX_CONSUMERS as u8;
const JOB_DEPLOY: u8 = WORKER + 1;
const LEASE: u8 = JOB_DEPLOY + 1;

impl Explorable for Model {
    type Packed = Packed;

    fn pack(&self, state: &State) -> Packed {
        state.pack()
    }

    fn unpack(&self, packed: &Packed) -> State {
        State::unpack(packed)
    }

    fn judge(&self, state: &State) -> Findings {
        self.with_facts(state, |facts| {
            let mut findings = Findings::default();
            for property in Property::MODELLED {
                let bit = 1 << *property as u16;
                if property.is_violated(facts, || self.fresh_succeeds(state)) {
                    findings.broken |= bit;
                }
                if property.is_witnessed(facts) {
                    findings.witnessed |= bit;
                }
            }
            for inevitable in Inevitable::ALL {
                if inevitable.is_pending(facts) {
                    findings.pending |= 1 << inevitable as u8;
                }
            }
            findings
        })
    }

    /// Crashes and faults first, then how many take part, then who: the first consumers are the plainest.
    fn cost(&self, state: &State) -> u32 {
        let harm = u32::from(self.bounds.crashes - state.world.crashes_left)
            + u32::from(self.bounds.faults - state.world.faults_left);
        let begun = (0..).zip(&state.consumers).filter(|(_, one)| one.stage != Stage::Waiting);
        let who = begun.fold(0, |cost, (index, _)| cost + 64 + (1 << index));
        harm << 16 | who
    }

    fn mover(&self, state: &State, action: &Action) -> Mover {
        match *action {
            action if action.is_harm() => Mover::Harm,
            Action::Approve
            | Action::Expire
            | Action::Reject
            | Action::ClockPasses
            | Action::SourceChanges
            | Action::Crash => Mover::Anybody,
            Action::Promotion { consumer, .. } => match state.consumers[usize::from(consumer)].stage {
                Stage::Running => Mover::Owed(consumer),
                // It need never begin.
                _ => Mover::Anybody,
            },
            Action::DeployEnds { consumer } => Mover::Owed(DEPLOYS + consumer),
            Action::Lease | Action::LaunchJob => Mover::Owed(WORKER),
            Action::JobDeployEnds => Mover::Owed(JOB_DEPLOY),
            Action::LeaseEnds => Mover::Owed(LEASE),
        }
    }
}
