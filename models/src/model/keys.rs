//! What outlives a request under a key: the object's lease, the in-flight marker, and the stored outcome.

use countersign::protocol::{Lease as LeaseStep, Reply, StepAction};

use super::{LATEST_FENCE, Model, StepOutcome};
use crate::{
    properties::Stage,
    world::{Lease, State},
};

impl Model {
    fn lease_steps(&self) -> impl Iterator<Item = &LeaseStep> {
        self.flow.steps().iter().filter_map(|step| match &step.action {
            StepAction::Lease(lease) => Some(lease),
            _ => None,
        })
    }

    /// Whether a lease may run out.
    pub(super) fn lease_expires(&self) -> bool {
        self.leases_end && self.lease_steps().any(|lease| lease.expires)
    }

    /// Whether holders renew their lease.
    pub(super) fn lease_is_renewed(&self) -> bool {
        self.lease_steps().any(|lease| lease.renewed)
    }

    /// Whether the lease may run out now. A holder that renews it keeps it while it lives, if it knows of it.
    pub(super) fn lease_may_end(&self, state: &State) -> bool {
        let Lease::Held { by, known } = state.world.lease else { return false };
        let holder = state.attempts[usize::from(by)].stage;
        let is_kept = self.lease_is_renewed() && known && holder == Stage::Running;
        self.lease_expires() && !is_kept
    }

    /// Whether an attempt that waits for the lease waits for ever: it does not run out, and its holder is gone.
    pub(super) fn is_stuck(&self, state: &State, attempt: u8) -> bool {
        let one = &state.attempts[usize::from(attempt)];
        let Lease::Held { by, .. } = state.world.lease else { return false };
        let line = &self.lines[usize::from(one.cursor)];
        let holder = &state.attempts[usize::from(by)];
        let is_own = by == attempt;
        one.stage == Stage::Running
            && one.ending.is_none()
            && line.waits
            && !self.may_share(by, attempt, one.cursor)
            && !self.lease_expires()
            && (is_own || holder.stage != Stage::Running || !holder.holds_lease)
    }

    /// Whether a lease of attempt `by` is given to this one, too.
    fn may_share(&self, by: u8, attempt: u8, cursor: u8) -> bool {
        let step = self.lines[usize::from(cursor)].step.map(|step| &self.flow.steps()[step].action);
        let is_reentrant = matches!(step, Some(StepAction::Lease(lease)) if lease.reentrant);
        is_reentrant && (by == attempt || self.sibling(attempt) == Some(by))
    }

    pub(super) fn take_lease(
        &self,
        state: &mut State,
        attempt: u8,
        outcome: StepOutcome,
    ) -> Option<Reply<'static>> {
        let cursor = state.attempts[usize::from(attempt)].cursor;
        if let Lease::Held { by, .. } = state.world.lease
            && !self.may_share(by, attempt, cursor)
        {
            let waits = self.lines[usize::from(cursor)].waits;
            return (!waits && outcome == StepOutcome::Happens).then_some(Reply::LeaseHeld);
        }
        let known = outcome != StepOutcome::LosesAnswer;
        state.world.lease = Lease::Held { by: attempt, known };
        state.world.lease_last = Some(attempt);
        self.note_change(&mut state.world, attempt);
        Some(if known { Reply::Leased { fence: LATEST_FENCE } } else { Reply::OutcomeUnknown })
    }

    /// Settled: a stored outcome is found before a marker.
    pub(super) fn recall(&self, state: &mut State, attempt: u8, claim: bool) -> Reply<'static> {
        let sibling = self.sibling(attempt).map(|other| state.attempts[usize::from(other)]);
        let one = &mut state.attempts[usize::from(attempt)];
        if one.is_stored || sibling.is_some_and(|other| other.is_stored) {
            return Reply::Recalled;
        }
        if claim {
            if sibling.is_some_and(|other| other.has_marker) {
                return Reply::InFlight;
            }
            one.has_marker = true;
        }
        Reply::NotRecalled
    }

    /// Stores the outcome under the request's key, and removes the marker.
    pub(super) fn store_outcome(&self, state: &mut State, attempt: u8) {
        if let Some(other) = self.sibling(attempt) {
            let other = &mut state.attempts[usize::from(other)];
            (other.has_marker, other.is_stored) = (false, false);
        }
        let one = &mut state.attempts[usize::from(attempt)];
        (one.has_marker, one.is_stored) = (false, true);
    }

    /// Whether the marker of the recall at this action expires.
    pub(super) fn claim_expires_at(&self, cursor: u8) -> bool {
        let step = self.lines[usize::from(cursor)].step.map(|step| &self.flow.steps()[step].action);
        matches!(step, Some(StepAction::Recall { claim_expires: true, .. }))
    }
}
