//! One action of an attempt: the machine's effect, the world's reply, and the end.

use countersign::protocol::{Effect, FailedAttempt, Flow, Outcome, Promotion, RefusalKind};

use super::{Model, Role, StepOutcome, remember, stage};
use crate::{
    properties::PromotionState,
    world::{Attempt, Lease, Payload, State, World},
};

impl Model {
    /// One action of the real machine: begins the attempt if need be, does what it asks and passes it the reply. None
    /// when the outcome is not possible here.
    pub(super) fn advance(
        &self,
        state: &mut State,
        attempt: u8,
        outcome: StepOutcome,
    ) -> Option<(Effect<'_>, Promotion<'_>)> {
        let index = usize::from(attempt);
        if state.attempts[index].stage == PromotionState::Waiting {
            self.begin(state, attempt);
        }
        let at = self.checkpoint(&state.world, &state.attempts[index], attempt);
        let mut promotion = Promotion::at_position(&self.flow, self.request(attempt), at);
        let effect = promotion.effect()?;
        let reply = self.reply(effect, state, attempt, outcome)?;
        promotion.resume(reply);
        Some((effect, promotion))
    }

    fn begin(&self, state: &mut State, attempt: u8) {
        let world = &mut state.world;
        let held = self.source(world, attempt);
        let retry_of = self.cast[usize::from(attempt)].retry_of;
        let is_proper = matches!(self.role(attempt), Role::Caller { foreign: false, .. });
        world.clean &= world.approved && is_proper && retry_of.is_none();
        let began_on_usable = world.is_usable();
        // An attempt that took effect and was not answered with a refusal is owed its outcome. Settled: an unknown
        // outcome is no refusal.
        let is_owed = retry_of.is_some_and(|first| {
            let first = &state.attempts[usize::from(first)];
            first.has_effect() && !first.stage.is_refused()
        });
        let one = &mut state.attempts[usize::from(attempt)];
        *one = Attempt { stage: PromotionState::Running, held, began_on_usable, is_owed, ..*one };
    }

    pub(super) fn promote(&self, state: &mut State, attempt: u8, outcome: StepOutcome) -> Option<()> {
        let index = usize::from(attempt);
        let (effect, promotion) = self.advance(state, attempt, outcome)?;
        let before = state.attempts[index];
        let at = promotion.position();
        let ended = promotion.outcome().map(stage);
        let recalled = state.attempts[index].held;
        remember(&mut state.attempts[index], at);
        if matches!(effect, Effect::Recall { .. }) {
            state.attempts[index].held = recalled;
        }
        let finds_its_own = match effect {
            Effect::Recall { .. } => before.is_stored,
            _ => before.uses > 0,
        };
        if finds_its_own {
            // The attempt repeats no earlier outcome.
            state.attempts[index].repeats = before.repeats;
        }
        // The action that completes the step of `until` releases the lease, and so does the attempt's end.
        if before.holds_lease
            && (at.leased_by.is_none() || ended.is_some())
            && self.is_leased_by(&state.world, attempt)
        {
            Self::free_lease(&mut state.world);
        }
        let refused = at.ending.map(|ending| ending.kind).or_else(|| match promotion.outcome() {
            Some(Outcome::Refused { kind, .. }) => Some(*kind),
            Some(Outcome::Unknown { .. }) => Some(RefusalKind::Unknown),
            Some(Outcome::Succeeded { .. }) | None => None,
        });
        if before.ending.is_none() && refused.is_some() {
            state.attempts[index].is_excused =
                refused.is_some_and(RefusalKind::is_failure) || self.excuses(&effect, state, attempt);
        }
        if let Some(stage) = ended {
            let is_lost = effect == Effect::Answer && outcome == StepOutcome::LosesAnswer;
            let stage = if is_lost { PromotionState::AnswerLost } else { stage };
            self.answer(state, attempt, stage);
        }
        // An own refusal is one of the things that S3 leaves out.
        state.world.clean &= outcome != StepOutcome::Refuses;
        if matches!(outcome, StepOutcome::Fails | StepOutcome::LosesAnswer) {
            state.world.faults_left -= 1;
            state.world.clean = false;
        }
        Some(())
    }

    /// Effects of an attempt's answer, and of the action that answers.
    fn answer(&self, state: &mut State, attempt: u8, stage: PromotionState) {
        let index = usize::from(attempt);
        let one = state.attempts[index];
        if stage == PromotionState::Succeeded {
            self.receive(state, attempt);
        }
        let world = &mut state.world;
        if self.role(attempt) == Role::OtherTenant {
            let by_rule = match stage {
                PromotionState::Conflict | PromotionState::Gone => true,
                stage => {
                    stage.is_preflight()
                        && !matches!(
                            stage,
                            PromotionState::PreflightRefused | PromotionState::PreflightAbsent
                        )
                }
            };
            world.violated.other_tenant |= by_rule || stage.is_success();
        }
        if one.is_owed {
            world.violated.retry |= !stage.is_success() && !one.is_excused;
        }
        let burns = self.flow.object().failed_attempt == FailedAttempt::Burn;
        let is_failure =
            stage == PromotionState::Refused || (stage == PromotionState::PreflightRefused && one.is_excused);
        if burns
            && one.began_on_usable
            && stage.is_refused()
            && !is_failure
            && self.role(attempt) != Role::OtherTenant
        {
            world.violated.not_burnt |= one.uses == 0 && world.is_usable();
        }
        let one = &mut state.attempts[index];
        if stage.is_refused() {
            // Settled: the action that answers a refusal drops the marker and the stored outcome.
            one.has_marker = false;
            one.drop_stored();
        }
        self.end(state, attempt, stage);
    }

    /// Acts via the answer take effect with every success that is received; a repeated outcome is the same effect for
    /// the same caller.
    fn receive(&self, state: &mut State, attempt: u8) {
        let sibling = self.sibling(attempt).map(|other| state.attempts[usize::from(other)]);
        let one = state.attempts[usize::from(attempt)];
        for act in (0..Flow::MAX_ACTS as u8).filter(|act| one.answers >> act & 1 == 1) {
            // Whichever of the two answers is received first.
            let is_known = sibling.is_some_and(|other| {
                other.acted[usize::from(act)] > 0
                    && (one.repeats || (other.repeats && other.stage.is_success()))
            });
            if !is_known {
                self.take_effect(state, attempt, act, one.held);
            }
        }
    }

    /// Ends the attempt and forgets what nothing asks for any more, so that states that differ in nothing else are
    /// one.
    pub(super) fn end(&self, state: &mut State, attempt: u8, stage: PromotionState) {
        let one = &mut state.attempts[usize::from(attempt)];
        let kept = *one;
        *one = Attempt { stage, deploys: kept.deploys, ..Attempt::default() };
        if stage.is_refused() {
            one.wrote = kept.wrote;
            one.acted = kept.acted;
            one.uses = kept.uses;
        }
        if stage.is_success() && self.counts_uses_of_successes() {
            one.uses = kept.uses;
        }
        if stage.is_preflight() || stage.is_judged_by_s1() {
            one.began_on_usable = kept.began_on_usable;
        }
        one.repeats = kept.repeats && stage.is_success();
        one.has_marker = kept.has_marker;
        one.is_stored = kept.is_stored;
        if self.sibling(attempt).is_some() {
            // The other attempt of the caller may still ask for what this one has done.
            let one = &mut state.attempts[usize::from(attempt)];
            one.acted = kept.acted;
            one.uses = kept.uses;
            one.is_forgotten = kept.is_forgotten;
            one.has_event = kept.has_event;
            one.is_owed = kept.is_owed;
            (one.stored_answers, one.stored_held) = (kept.stored_answers, kept.stored_held);
        }
        self.forget_fence(&mut state.world, attempt);
    }

    /// An act takes effect, caused by this attempt.
    pub(super) fn take_effect(&self, state: &mut State, attempt: u8, act: u8, payload: Payload) {
        self.count_effect(&mut state.world, act, payload);
        self.note_act(state, attempt, act);
    }

    /// This attempt has acted: an effect, or a job that will have one.
    pub(super) fn note_act(&self, state: &mut State, attempt: u8, act: u8) {
        let at = usize::from(act);
        let sibling = self.sibling(attempt).map(|other| state.attempts[usize::from(other)]);
        let one = &mut state.attempts[usize::from(attempt)];
        one.acted[at] = (one.acted[at] + 1).min(3);
        let second = sibling.is_some_and(|other| (one.is_owed || other.is_owed) && other.acted[at] > 0);
        state.world.violated.retry |= second;
        self.note_change(&mut state.world, attempt);
        state.world.violated.scanner |= self.role(attempt) == Role::Scanner;
    }

    /// A stranger made a change.
    pub(super) fn note_change(&self, world: &mut World, attempt: u8) {
        world.violated.other_tenant |= self.role(attempt) == Role::OtherTenant;
    }

    pub(super) fn count_effect(&self, world: &mut World, act: u8, payload: Payload) {
        let count = &mut world.effects[usize::from(act)];
        *count = (*count + 1).min(crate::world::MAX_COUNT);
        world.violated.acted_other |= self.is_other(payload);
    }

    /// True if this payload differs from the approved one, where that matters.
    pub(super) fn is_other(&self, payload: Payload) -> bool {
        self.flow.object().bound && payload != Payload::Approved
    }

    /// Merges states that differ only in fields that are no longer read.
    ///
    /// The kinds of refusal are distinguished by S3 (409 or not), until an event that it excludes, and by the action
    /// that answers; afterwards they are merged. An attempt whose caller has no attempt left drops the fields that only
    /// such an attempt would read.
    pub(crate) fn normalise(&self, state: &mut State) {
        let clean = state.world.clean;
        for attempt in 0..self.attempts() {
            let index = usize::from(attempt);
            let one = state.attempts[index];
            if !one.stage.has_ended() {
                continue;
            }
            if state.world.last_user == Some(attempt) {
                // No undo is left.
                state.world.last_user = None;
            }
            if !clean {
                state.attempts[index].stage = one.stage.merged();
            }
            let Some(other) = self.sibling(attempt) else { continue };
            // After a success with a received answer no retry begins, but one that has begun continues.
            let other = state.attempts[usize::from(other)].stage;
            let is_seen =
                self.cast[usize::from(attempt)].retry_of.is_none() && one.stage == PromotionState::Succeeded;
            let is_over = other.has_ended() || (other == PromotionState::Waiting && is_seen);
            if is_over {
                let one = &mut state.attempts[index];
                one.has_event = false;
                one.is_forgotten = false;
                one.is_owed = false;
                one.has_marker = false;
                one.drop_stored();
                if !one.stage.is_refused() {
                    one.acted = Default::default();
                    if !self.counts_uses_of_successes() {
                        one.uses = 0;
                    }
                }
            }
        }
    }

    /// True if a retry that was refused like this is excused: the marker or lease that refused it can still go away.
    fn excuses(&self, effect: &Effect<'_>, state: &State, attempt: u8) -> bool {
        match effect {
            Effect::Recall { .. } => {
                let holder = self.sibling(attempt).map(|other| state.attempts[usize::from(other)]);
                holder.is_some_and(|other| other.has_marker && other.stage == PromotionState::Running)
                    || self.claim_expires_at(state.attempts[usize::from(attempt)].cursor)
            }
            Effect::Lease { .. } => match state.world.lease {
                Lease::Held { .. } => self.lease_runs_out(&state.world) || self.holder_runs(state),
                Lease::Free => false,
            },
            _ => false,
        }
    }
}
