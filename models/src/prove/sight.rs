//! What the properties that are asked for can see of a state: the rest is set to its default, so that views that differ in nothing else are one.
//!
//! A field may be forgotten when no rule that decides a move reads it, and none of the wanted properties does. Each line
//! says which properties read its field. What holds a count is cut off where larger counts are judged the same and
//! nothing is ever subtracted.

use countersign::protocol::{Atomicity, FailedAttempt, Flow, Retry, StepAction, Storage};

use super::view::Participant;
use crate::{
    model::Model,
    properties::{
        PromotionState,
        Property::{self, L1, L2, L3, L4, S2, S3, S7, S8, S10, S11, S13, S17, S18, S19, S21, S22},
        Set,
    },
    world::{Attempt, TargetStatus, Violated, World},
};

/// The fields to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// Only runs in which nothing has happened that S3 leaves out.
    pub(super) clean_only: bool,
    /// The two attempts of a caller are one participant. If not, a retry is one caller more.
    pub(super) callers: bool,
    /// The number of successes.
    pub(super) successes: bool,
    pub(super) targets: bool,
    decisions: bool,
    executed_events: bool,
    applied: bool,
    effects: bool,
    building: bool,
    promised: bool,
    began_on_usable: bool,
    is_excused: bool,
    is_owed: bool,
    wrote: bool,
    acted: bool,
    deploys: bool,
    /// The largest distinct counts of uses and swaps; `None` where a move decrements.
    cap: Option<u8>,
    /// The same of effects.
    effects_cap: Option<u8>,
    /// The object has one use, and only the last one is undone.
    undoes_last: bool,
    swaps_are_counted: bool,
    target_drift: bool,
    people: bool,
    requester: bool,
    /// Of uses and events only the difference is read, once the object is used up.
    only_difference: bool,
    has_undone_writes: bool,
    recalls: bool,
    counts_uses_of_successes: bool,
    /// L1 is owed to the uses of attempts that succeeded.
    owed_to_successes: bool,
    uses: u8,
}

impl Sight {
    /// The part of `model`'s states that `wanted` reads. S3 is requested alone.
    pub(super) fn new(model: &Model, wanted: Set) -> Self {
        let sees = |properties: &[Property]| properties.iter().any(|one| wanted & one.bit() != 0);
        let (flow, layout) = (model.flow(), model.layout());
        let uses = flow.object().uses;
        let clean_only = wanted == S3.bit();
        let has_undone_writes = layout.undone_writes != 0;
        // S17 compares the effects with the swaps, where there are several.
        let compares = uses > 1 && sees(&[S17]);
        let burns = flow.object().failed_attempt == FailedAttempt::Burn;
        let undoes = |wanted: fn(&StepAction) -> bool| {
            flow.steps().iter().any(|step| step.is_undone() && wanted(&step.action))
        };
        let gives_back = undoes(|action| matches!(action, StepAction::Consume(_)));
        let refunds = undoes(|action| matches!(action, StepAction::Act(_)));
        let retry_is_judged = sees(&[S13]) || (sees(&[L4]) && flow.endpoint().retry == Retry::Key);
        Self {
            clean_only,
            // A run with a retry is not clean.
            callers: layout.retries && !clean_only && (retry_is_judged || reads_callers(flow)),
            successes: sees(&[S2, S3]) || (sees(&[L1]) && burns),
            targets: has_undone_writes || sees(&[S11, L2]),
            decisions: sees(&[S10]),
            executed_events: sees(&[S8]),
            applied: sees(&[S2, S17, L1, L3]),
            effects: sees(&[S2, S17, L1]),
            building: has_undone_writes || sees(&[L2]),
            promised: sees(&[L3]),
            began_on_usable: sees(&[S21, L3]),
            is_excused: sees(&[S13, S21]),
            is_owed: sees(&[S13]),
            wrote: sees(&[S7]),
            acted: sees(&[S2, S3, S7, S13]),
            deploys: has_undone_writes || sees(&[S3, S8, L2]),
            cap: (!gives_back && !compares).then_some(uses + 1),
            effects_cap: (!refunds && !compares).then_some(uses + 1),
            undoes_last: gives_back && uses == 1,
            swaps_are_counted: sees(&[S2]),
            target_drift: sees(&[S22]) || compares_target(flow),
            people: sees(&[S18]),
            requester: sees(&[S18, S19]),
            // A count that was read, or is reset, is not seen as a difference.
            only_difference: sees(&[S8])
                && !gives_back
                && !flow.consume().is_some_and(|consume| {
                    consume.atomicity == Atomicity::ReadThenWrite || consume.storage == Storage::Memory
                }),
            has_undone_writes,
            recalls: flow.steps().iter().any(|step| matches!(step.action, StepAction::Recall { .. })),
            counts_uses_of_successes: model.counts_uses_of_successes(),
            owed_to_successes: burns && sees(&[L1]),
            uses,
        }
    }

    /// Forgets what is not seen of the world, in which the last user has `last_uses` uses that it may undo. One crash
    /// and one fault may always happen.
    pub(super) fn forget(&self, world: &mut World, last_uses: u8) {
        (world.crashes_left, world.faults_left) = (1, 1);
        world.violated = Violated::default();
        if !self.clean_only {
            (world.clean, world.approved) = (false, false);
        }
        if !self.decisions {
            world.decisions = 0;
        }
        if !self.executed_events {
            world.executed_events = 0;
        }
        if !self.applied {
            world.applied = 0;
        }
        if !self.effects {
            world.effects = Default::default();
        }
        if let Some(cap) = self.cap {
            world.applied = world.applied.min(cap);
            if !self.executed_events {
                world.uses = world.uses.min(self.uses);
            }
        }
        if let Some(cap) = self.effects_cap {
            world.effects = world.effects.map(|count| count.min(cap));
        }
        if self.undoes_last {
            // Below what the last user may undo it only matters that there is a use.
            let most = 1 + last_uses;
            if !self.executed_events {
                world.uses = world.uses.min(most);
            }
            if !self.swaps_are_counted {
                world.applied = world.applied.min(most);
            }
        }
        if !self.target_drift {
            world.target_drifted = false;
        }
        if !self.people {
            world.presses.people = 0;
        }
        if !self.requester {
            world.presses.requester = false;
        }
        if self.only_difference {
            let more = world.uses.saturating_sub(self.uses).min(world.executed_events);
            world.uses -= more;
            world.executed_events -= more;
        }
        if !self.targets {
            world.targets = [TargetStatus::Absent; crate::world::MAX_TARGETS];
            world.jobs.iter_mut().flatten().for_each(|job| job.target = None);
        } else if !self.building {
            // S11 counts them.
            for target in world.targets.iter_mut().filter(|one| **one == TargetStatus::Building) {
                *target = TargetStatus::Settled;
            }
        }
        if !self.has_undone_writes {
            world.vault_written = false;
        }
    }

    /// Forgets what is not seen of an attempt.
    pub(super) fn forget_of(&self, one: &mut Attempt) {
        if !self.clean_only {
            one.stage = one.stage.merged();
        }
        if !self.began_on_usable {
            one.began_on_usable = false;
        }
        if !self.is_excused {
            one.is_excused = false;
        }
        if !self.is_owed {
            one.is_owed = false;
        }
        if !self.wrote {
            one.wrote = false;
        }
        if !self.acted {
            one.acted = Default::default();
        }
        if (self.cap.is_some() || self.undoes_last) && !self.executed_events {
            one.seen = one.seen.min(self.uses);
        }
        if !self.deploys {
            one.deploys = Default::default();
        }
        if !self.targets {
            (one.target, one.created) = (None, false);
            one.deploys.iter_mut().for_each(|deploy| deploy.target = None);
        }
        if !self.recalls {
            one.has_marker = false;
            one.drop_stored();
        }
        if !self.callers && one.stage.has_ended() {
            // What only the other attempt of the same caller reads.
            let refused = one.stage.is_refused();
            let counts = refused || (one.stage.is_success() && self.counts_uses_of_successes);
            *one = Attempt {
                stage: one.stage,
                began_on_usable: one.began_on_usable,
                wrote: one.wrote && refused,
                acted: if refused { one.acted } else { Default::default() },
                uses: if counts { one.uses } else { 0 },
                deploys: one.deploys,
                ..Attempt::default()
            };
        }
    }

    /// Of an attempt that was not answered with success, and whose caller has sent its retry, forgets how it ended: a
    /// violation shows when it ends. True if there was something to forget.
    pub(super) fn forget_end_of(&self, one: &mut Participant) -> bool {
        if !self.callers || self.is_owed || one.attempts[1].stage == PromotionState::Waiting {
            return false;
        }
        let before = *one;
        for at in [0, 1] {
            let other_has_ended = one.attempts[1 - at].stage.has_ended();
            let attempt = &mut one.attempts[at];
            let is_promised = self.promised && attempt.stage.is_preflight() && attempt.began_on_usable;
            if attempt.stage.has_ended() && !attempt.stage.is_success() && !is_promised {
                attempt.stage = PromotionState::Killed;
                (attempt.wrote, attempt.began_on_usable) = (false, false);
                if other_has_ended {
                    (attempt.acted, attempt.uses) = (Default::default(), 0);
                }
            }
        }
        *one != before
    }

    /// The part of an inactive participant that is still read; `None` if there is none.
    ///
    /// An attempt whose caller's other one has used the object, with no undo left, has no promise of L3 any more.
    pub(super) fn remains(&self, one: &Participant) -> Option<Participant> {
        let successes = || one.attempts.iter().filter(|one| one.stage.is_success());
        let uses = one.attempts.iter().map(|one| one.uses).max().unwrap_or(0);
        let is_owed = successes().any(|one| one.uses > 0 || one.repeats) && uses > 0;
        if self.owed_to_successes && is_owed {
            let repeats = successes().all(|one| one.repeats);
            let stage = PromotionState::Succeeded;
            return Some(Participant::done(Attempt { stage, repeats, uses, ..Attempt::default() }));
        }
        let promised = |one: &&Attempt| one.stage.is_preflight() && one.began_on_usable;
        let lost = |one: &&Attempt| one.stage.has_ended() && !one.stage.is_success();
        let kept = one
            .attempts
            .iter()
            .find(|one| (self.promised && promised(one)) || (self.clean_only && lost(one)))?;
        let stage = if self.clean_only { kept.stage } else { PromotionState::PreflightRefused };
        let attempt =
            Attempt { stage, began_on_usable: kept.began_on_usable, uses: kept.uses, ..Attempt::default() };
        Some(Participant::done(attempt))
    }
}

/// True if a step compares the target's version.
fn compares_target(flow: &Flow) -> bool {
    let checks = |action: &StepAction| matches!(action, StepAction::Validate { checks, .. } if checks.target);
    flow.steps().iter().any(|step| checks(&step.action))
        || flow.consume().is_some_and(|consume| consume.guards.target)
}

/// True if a step reads which two attempts are of one caller.
fn reads_callers(flow: &Flow) -> bool {
    let reads = |action: &StepAction| match action {
        StepAction::Recall { .. } => true,
        StepAction::Validate { accept_own, .. } => *accept_own,
        StepAction::Lease(lease) => lease.reentrant,
        _ => false,
    };
    flow.steps().iter().any(|step| reads(&step.action))
        || flow.consume().is_some_and(|consume| consume.accept_own)
}
