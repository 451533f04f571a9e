//! State under a key that outlives a request: the object's lease, the in-flight marker, and the stored outcome.

use countersign::protocol::{Lease as LeaseStep, Reply, Step, StepAction};

use super::{LATEST_FENCE, Model, StepOutcome};
use crate::{
    properties::PromotionState,
    world::{Lease, State, World},
};

impl Model {
    /// The step that took the lease that is held.
    fn held_lease(&self, world: &World) -> Option<&LeaseStep> {
        let Lease::Held { .. } = world.lease else { return None };
        self.lease_steps().nth(usize::from(world.lease_step)).map(|(_, lease)| lease)
    }

    /// The index of the step that took the lease; where there is none, that of the first that takes one.
    pub(super) fn lease_step(&self, world: &World) -> u8 {
        self.lease_steps().nth(usize::from(world.lease_step)).map_or(0, |(step, _)| step)
    }

    fn lease_steps(&self) -> impl Iterator<Item = (u8, &LeaseStep)> {
        (0..).zip(self.flow.steps()).filter_map(|(index, step)| match &step.action {
            StepAction::Lease(lease) => Some((index, lease)),
            _ => None,
        })
    }

    /// True if the held lease expires by itself. Decided at acquisition: a holder that does not know of it cannot
    /// renew.
    pub(super) fn lease_runs_out(&self, world: &World) -> bool {
        let Lease::Held { known, .. } = world.lease else { return false };
        let runs_out = |lease: &LeaseStep| lease.expires && !(lease.renewed && known);
        self.leases_end && self.held_lease(world).is_some_and(runs_out)
    }

    /// True if its holder renews it.
    pub(super) fn lease_is_renewed(&self, world: &World) -> bool {
        self.held_lease(world).is_some_and(|lease| lease.renewed)
    }

    /// True if the lease may expire now.
    pub(super) fn lease_may_end(&self, state: &State) -> bool {
        self.lease_runs_out(&state.world)
    }

    /// The attempts that hold the lease: two of one caller where it is shared.
    fn lease_holders(&self, world: &World) -> impl Iterator<Item = u8> {
        let by = match world.lease {
            Lease::Held { by, .. } => Some(by),
            Lease::Free => None,
        };
        let other = by.filter(|_| world.lease_shared).and_then(|by| self.sibling(by));
        by.into_iter().chain(other)
    }

    /// True if a holder of the lease is running.
    pub(super) fn holder_runs(&self, state: &State) -> bool {
        self.lease_holders(&state.world)
            .any(|by| state.attempts[usize::from(by)].stage == PromotionState::Running)
    }

    /// True if this attempt holds the lease, and knows it.
    pub(super) fn is_leased_by(&self, world: &World, attempt: u8) -> bool {
        matches!(world.lease, Lease::Held { known: true, .. })
            && self.lease_holders(world).any(|by| by == attempt)
    }

    /// True if no other caller has acquired the lease since this attempt did.
    pub(super) fn is_latest(&self, world: &World, attempt: u8) -> bool {
        let Some(last) = world.lease_last else { return false };
        last == attempt || (world.fence_shared && self.sibling(last) == Some(attempt))
    }

    /// Forgets that this attempt took the lease last.
    pub(super) fn forget_fence(&self, world: &mut World, attempt: u8) {
        if !self.is_latest(world, attempt) {
            return;
        }
        if world.lease_last == Some(attempt) {
            world.lease_last = if world.fence_shared { self.sibling(attempt) } else { None };
        }
        world.fence_shared = false;
    }

    /// Frees the lease.
    pub(super) fn free_lease(world: &mut World) {
        world.lease = Lease::Free;
        world.lease_shared = false;
        world.lease_step = 0;
    }

    /// True if an attempt waits for a lease for ever: it does not expire, and its holder is gone.
    pub(super) fn is_stuck(&self, state: &State, attempt: u8) -> bool {
        let one = &state.attempts[usize::from(attempt)];
        let Lease::Held { by, .. } = state.world.lease else { return false };
        let line = &self.profiles[usize::from(one.cursor)];
        one.stage == PromotionState::Running
            && one.ending.is_none()
            && line.waits
            && !self.may_share(by, attempt, one.cursor)
            && !self.lease_runs_out(&state.world)
            && !self.will_be_freed(state, attempt)
    }

    /// True if a holder other than this attempt may still release the lease.
    fn will_be_freed(&self, state: &State, attempt: u8) -> bool {
        self.lease_holders(&state.world).any(|by| {
            let holder = &state.attempts[usize::from(by)];
            by != attempt && holder.stage == PromotionState::Running && holder.holds_lease
        })
    }

    /// True if this attempt may share a lease of attempt `by`.
    fn may_share(&self, by: u8, attempt: u8, cursor: u8) -> bool {
        let step = self.profiles[usize::from(cursor)].step.map(|step| &self.flow.steps()[step].action);
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
            let waits = self.profiles[usize::from(cursor)].waits;
            return (!waits && outcome == StepOutcome::Happens).then_some(Reply::LeaseHeld);
        }
        let known = outcome != StepOutcome::LosesAnswer;
        self.note_change(&mut state.world, attempt);
        let world = &mut state.world;
        match world.lease {
            Lease::Free => {
                world.lease = Lease::Held { by: attempt, known };
                let step = self.profiles[usize::from(cursor)].step.unwrap_or(0);
                let earlier = self.flow.steps()[..step].iter();
                let takes = |step: &&Step| matches!(step.action, StepAction::Lease(_));
                world.lease_step =
                    if self.layout.lease_steps { earlier.filter(takes).count() as u8 } else { 0 };
                world.lease_last = Some(attempt);
                world.fence_shared = false;
            }
            // The attempt shares the lease of its caller's other one; an acquisition with a lost reply changes nothing.
            Lease::Held { .. } if !known => self.forget_fence(world, attempt),
            Lease::Held { by, known: was_known } => {
                world.lease_shared = was_known && (world.lease_shared || by != attempt);
                if !was_known {
                    world.lease = Lease::Held { by: attempt, known: true };
                }
                match world.lease_last {
                    Some(last) if last != attempt && self.sibling(last) == Some(attempt) => {
                        world.fence_shared = true;
                    }
                    Some(last) if last == attempt => {}
                    _ => (world.lease_last, world.fence_shared) = (Some(attempt), false),
                }
            }
        }
        Some(if known { Reply::Leased { fence: LATEST_FENCE } } else { Reply::OutcomeUnknown })
    }

    /// Settled: a stored outcome is found before a marker.
    pub(super) fn recall(&self, state: &mut State, attempt: u8, claim: bool) -> Reply<'static> {
        let sibling = self.sibling(attempt).map(|other| state.attempts[usize::from(other)]);
        let one = &mut state.attempts[usize::from(attempt)];
        let stored = if one.is_stored { Some(*one) } else { sibling.filter(|other| other.is_stored) };
        if let Some(stored) = stored {
            one.answers = stored.stored_answers;
            if self.layout.answers {
                // The answers have the payload with which they were stored.
                one.held = stored.stored_held;
            }
            return Reply::Recalled { target: None };
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
            other.has_marker = false;
            other.drop_stored();
        }
        let one = &mut state.attempts[usize::from(attempt)];
        (one.has_marker, one.is_stored, one.stored_answers) = (false, true, one.answers);
        if self.layout.answers {
            one.stored_held = one.held;
        }
    }

    /// True if the marker of the recall at this action expires.
    pub(super) fn claim_expires_at(&self, cursor: u8) -> bool {
        let step = self.profiles[usize::from(cursor)].step.map(|step| &self.flow.steps()[step].action);
        matches!(step, Some(StepAction::Recall { claim_expires: true, .. }))
    }
}
