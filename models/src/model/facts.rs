//! The facts that a state shows, as the properties are judged on them.

use countersign::protocol::{FailedAttempt, Retry};

use super::{Model, Role, fresh::Alone};
use crate::{
    properties::{ExtraFacts, Facts, More, PromotionFacts, PromotionState, Property},
    world::{Attempt, MAX_ATTEMPTS, State, TargetStatus, World},
};

impl Model {
    /// True if this state violates `property`.
    pub fn violates(&self, property: Property, state: &State) -> bool {
        property.applies(&self.flow)
            && self.with_facts(state, |facts| property.is_violated(facts, || self.fresh_succeeds(state)))
    }

    /// True if this state exercises `property`.
    pub fn exercises(&self, property: Property, state: &State) -> bool {
        self.with_facts(state, |facts| property.is_exercised(facts))
    }

    /// Passes the facts of this state to `judge`.
    pub fn with_facts<T>(&self, state: &State, judge: impl FnOnce(&Facts<'_>) -> T) -> T {
        let world = &state.world;
        let mut attempts = [PromotionFacts::default(); MAX_ATTEMPTS];
        for attempt in 0..self.attempts() {
            let index = usize::from(attempt);
            attempts[index] = self.attempt_facts(world, &state.attempts[index], attempt);
        }
        let building = world
            .targets
            .iter()
            .rev()
            .fold(0, |bits, target| bits << 1 | u8::from(*target == TargetStatus::Building));
        let acts = self.flow.acts().count();
        let effects = &world.effects[..acts];
        let object = self.flow.object();
        let violated = world.violated;
        let under_way = self.is_under_way(state);
        judge(&Facts {
            status: world.status,
            window_passed: world.window_passed,
            drifted: world.drifted,
            executions: world.applied,
            executed_unapproved: violated.used_unapproved,
            executed_late: violated.used_late,
            final_left: violated.final_left,
            decisions: world.decisions.count_ones() as u8,
            executed_events: world.executed_events,
            targets_created: world.created(),
            vault_written: world.vault_written,
            building,
            launches: effects.iter().copied().max().unwrap_or(0),
            launched_other: violated.acted_other,
            // With one use acts are per object, and a second effect of it is for S2 to say.
            launched_unexecuted: effects.iter().any(|count| {
                if object.uses == 1 { *count > 0 && world.applied == 0 } else { *count > world.applied }
            }),
            under_way,
            clean: world.clean,
            promotions: &attempts[..self.cast.len()],
            extra: self.extra(state, violated.other_tenant, violated.retry, violated.scanner),
            more: More {
                max_uses: object.uses,
                stored_uses: Some(world.uses),
                is_act_owed: Some(self.owes_act(state, effects)),
                burns: object.failed_attempt == FailedAttempt::Burn,
                used_revoked: violated.used_revoked,
                used_stale: violated.used_stale,
                target_drifted: world.target_drifted,
                too_few: violated.too_few,
                requester_approved: violated.requester,
                not_burnt: violated.not_burnt,
                retry_fails: self.retry_fails(state),
            },
        })
    }

    fn attempt_facts(&self, world: &World, one: &Attempt, attempt: u8) -> PromotionFacts {
        let running = one.stage == PromotionState::Running && one.ending.is_none();
        let may_act = running || one.stage == PromotionState::Waiting;
        let line = &self.profiles[usize::from(one.cursor)];
        PromotionFacts {
            stage: one.stage,
            foreign: self.is_foreign(attempt),
            began_on_approved: one.began_on_usable,
            consumed: one.uses > 0,
            uses: one.uses,
            wrote: one.wrote,
            acted: one.acted.iter().any(|count| *count > 0),
            repeats: one.repeats,
            at_consume: may_act && line.consumes,
            at_contended_write: running
                && line.writes_target
                && !one.created
                && world.targets.iter().any(|target| *target != TargetStatus::Absent),
        }
    }

    fn extra(&self, state: &State, other_tenant: bool, retry: bool, scanner: bool) -> ExtraFacts {
        let of_role = |role: Role| {
            (0..self.attempts())
                .find(|attempt| self.role(*attempt) == role)
                .map(|attempt| state.attempts[usize::from(attempt)].stage)
        };
        let has_ended = |stage: Option<PromotionState>| stage.is_some_and(PromotionState::has_ended);
        let retried = (0..self.attempts()).any(|attempt| {
            self.cast[usize::from(attempt)].retry_of.is_some()
                && state.attempts[usize::from(attempt)].stage != PromotionState::Waiting
        });
        ExtraFacts {
            other_tenant_asked: has_ended(of_role(Role::OtherTenant)),
            other_tenant_answered: other_tenant,
            retried,
            retry_differs: retry,
            looked_at: has_ended(of_role(Role::Scanner)) || scanner || state.world.presses.scanner,
            moved_by_a_look: scanner,
            ..ExtraFacts::default()
        }
    }

    /// Settled: L1 asks for as many effects of each act as uses; with `failed_attempt = "burn"` it is owed only to
    /// attempts that succeeded.
    fn owes_act(&self, state: &State, effects: &[u8]) -> bool {
        let object = self.flow.object();
        let owed = match object.failed_attempt {
            FailedAttempt::Keep => state.world.applied,
            FailedAttempt::Burn => (0..self.attempts()).map(|attempt| self.owed_uses(state, attempt)).sum(),
        };
        // With one use acts are per object.
        let owed = if object.uses == 1 { owed.min(1) } else { owed };
        effects.iter().any(|count| *count < owed)
    }

    /// The uses of this attempt, if it succeeded or a success repeats it.
    fn owed_uses(&self, state: &State, attempt: u8) -> u8 {
        let one = &state.attempts[usize::from(attempt)];
        let repeats = |other: u8| {
            let other = &state.attempts[usize::from(other)];
            other.stage.is_success() && other.repeats && other.uses == 0
        };
        let succeeded = one.stage.is_success() || self.sibling(attempt).is_some_and(repeats);
        if succeeded { one.uses } else { 0 }
    }

    /// True if only the uses of successful attempts count: L1 is owed to them only.
    pub(crate) fn counts_uses_of_successes(&self) -> bool {
        self.flow.object().failed_attempt == FailedAttempt::Burn && self.flow.acts().next().is_some()
    }

    /// Settled: an attempt that can move, a job that is not done, a deploy, or an owed retry. An attempt that waits for
    /// a lease that never ends cannot move.
    pub(super) fn is_under_way(&self, state: &State) -> bool {
        state.world.jobs.iter().flatten().any(|job| job.is_open())
            || (0..self.attempts()).any(|attempt| {
                let one = &state.attempts[usize::from(attempt)];
                one.is_deploying()
                    || (one.stage == PromotionState::Running && !self.is_stuck(state, attempt))
                    || self.owes_retry(state, attempt)
            })
    }

    /// True if this attempt is the retry after a lost final answer.
    pub(super) fn owes_retry(&self, state: &State, attempt: u8) -> bool {
        state.attempts[usize::from(attempt)].stage == PromotionState::Waiting
            && self.cast[usize::from(attempt)]
                .retry_of
                .is_some_and(|first| state.attempts[usize::from(first)].stage == PromotionState::AnswerLost)
    }

    /// The second half of L4: a caller who asks for what was approved and has a retry left, whose attempt has ended or
    /// died, would not succeed under its key.
    fn retry_fails(&self, state: &State) -> bool {
        self.failing_retry(state).is_some()
    }

    /// The retry that would not succeed under its key.
    pub(super) fn failing_retry(&self, state: &State) -> Option<u8> {
        if self.flow.endpoint().retry != Retry::Key || !state.world.is_usable() {
            return None;
        }
        (0..self.attempts()).find(|&attempt| {
            let Some(first) = self.cast[usize::from(attempt)].retry_of else { return false };
            let first = state.attempts[usize::from(first)].stage;
            let is_left = state.attempts[usize::from(attempt)].stage == PromotionState::Waiting;
            let is_over = first.has_ended() && first != PromotionState::Succeeded;
            is_left
                && is_over
                && !self.is_foreign(attempt)
                && self.alone(state, attempt, false) == Alone::Fails
        })
    }
}
