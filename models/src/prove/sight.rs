//! What the properties that are asked for can see of a state: the rest is set to its default, so that views that differ in nothing else are one.
//!
//! A field may be forgotten when no rule that decides a move reads it, and none of the wanted properties does. Each line
//! says which properties read its field. What holds a count is cut off where larger counts are judged the same and
//! nothing is ever subtracted.

use countersign::protocol::{Atomicity, FailedAttempt, Flow, Retry, Status, StepAction, Storage};

use super::{
    live::Live,
    view::{Class, Participant},
};
use crate::{
    model::Model,
    properties::{
        PromotionState,
        Property::{
            self, L1, L2, L3, L4, S1, S2, S3, S5, S6, S7, S8, S10, S11, S12, S13, S15, S17, S18, S19, S20,
            S21, S22,
        },
        Set,
    },
    world::{Attempt, Job, JobStatus, Payload, TargetStatus, Violated, World},
};

/// The fields to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// Only runs in which nothing has happened that S3 leaves out.
    pub(super) clean_only: bool,
    /// The two attempts of a caller are one participant. If not, a retry is one caller more.
    pub(super) callers: bool,
    /// The number of successes.
    pub(super) successes: bool,
    pub(super) targets: bool,
    pub(super) decisions: bool,
    pub(super) executed_events: bool,
    pub(super) applied: bool,
    pub(super) effects: bool,
    pub(super) building: bool,
    pub(super) promised: bool,
    pub(super) began_on_usable: bool,
    pub(super) is_excused: bool,
    pub(super) is_owed: bool,
    pub(super) wrote: bool,
    pub(super) acted: bool,
    pub(super) deploys: bool,
    /// A step compares the digest, or an act with another one is a violation.
    pub(super) payload: bool,
    /// The digest with which an act takes effect.
    pub(super) acted_payload: bool,
    pub(super) live: Live,
    /// Callers who ask for another payload are a class of their own, and so are strangers and scanners. If not, each is one
    /// more caller.
    pub(super) foreign: bool,
    pub(super) other_tenants: bool,
    pub(super) scanners: bool,
    /// The number of a lease is compared.
    pub(super) fences: bool,
    /// The end of the window is forgotten: at any time, or once the object is decided.
    pub(super) forgets_window: bool,
    pub(super) is_decided: bool,
    pub(super) was_revoked: bool,
    /// How far a written job is.
    pub(super) jobs: bool,
    /// The uses of an attempt.
    pub(super) attempt_uses: bool,
    pub(super) repeats: bool,
    /// The kind of a refusal that is answered after its undos.
    pub(super) endings: bool,
    pub(super) scanner_press: bool,
    /// The largest distinct counts of uses and swaps; `None` where a move decrements.
    pub(super) cap: Option<u8>,
    /// The same of effects.
    pub(super) effects_cap: Option<u8>,
    /// The object has one use, and only the last one is undone: the uses that the last attempt gives back at most.
    pub(super) undoes_last: Option<u8>,
    pub(super) swaps_are_counted: bool,
    pub(super) target_drift: bool,
    pub(super) people: bool,
    pub(super) requester: bool,
    /// Of uses and events only the difference is read, once the object is used up.
    pub(super) only_difference: bool,
    /// Of swaps and the effects of this many acts only the differences are read.
    pub(super) only_missing: Option<usize>,
    pub(super) has_undone_writes: bool,
    pub(super) recalls: bool,
    /// An attempt that has found the stored outcome is left out: it has only its answer left.
    pub(super) leaves_out_recalled: bool,
    pub(super) counts_uses_of_successes: bool,
    /// L1 is owed to the uses of attempts that succeeded.
    pub(super) owed_to_successes: bool,
    pub(super) uses: u8,
}

impl Sight {
    /// The part of `model`'s states that `wanted` reads. S3 is requested alone. `names_users`: those that have used the object
    /// or acted are told apart.
    pub(super) fn new(model: &Model, wanted: Set, names_users: bool) -> Self {
        let sees = |properties: &[Property]| properties.iter().any(|one| wanted & one.bit() != 0);
        let (flow, layout) = (model.flow(), model.layout());
        let uses = flow.object().uses;
        let clean_only = wanted == S3.bit();
        // What an undo restores shows in targets, and in a refused attempt's writes.
        let has_undone_writes = layout.undone_writes != 0 && sees(&[S7, S11, L2]);
        let burns = flow.object().failed_attempt == FailedAttempt::Burn;
        // S17 and L1 compare the effects with the swaps, where there are several.
        let compares = uses > 1 && sees(&[S17, L1]);
        let undoes = |wanted: fn(&StepAction) -> bool| {
            flow.steps().iter().any(|step| step.is_undone() && wanted(&step.action))
        };
        let gives_back = undoes(|action| matches!(action, StepAction::Consume(_)));
        let refunds = undoes(|action| matches!(action, StepAction::Act(_)));
        let retries_are_promised = sees(&[L4]) && flow.endpoint().retry == Retry::Key;
        let has_recall = flow.steps().iter().any(|step| matches!(step.action, StepAction::Recall { .. }));
        // A retry that finds the stored outcome has nothing left but its answer, which neither changes nor shows anything.
        let recalls = has_recall && (!recalls_first(flow) || layout.answers || (burns && sees(&[L1])));
        // A run with a retry is not clean.
        let callers = layout.retries
            && !clean_only
            && (sees(&[S13]) || retries_are_promised || recalls || reads_callers(flow));
        let live = Live::new(model, sees(&[S6]));
        let payload = layout.has_payloads && live.held.contains(&true);
        let effects = sees(&[S2, S17, L1]);
        let deploys = sees(&[S3, S8, L2]);
        let guards = flow.decision().guards;
        let is_decided = flow.object().approvers > 0;
        let compares_lease = flow.consume().is_some_and(|consume| consume.guards.lease);
        // What L3 asks of the others is the difference to the attempt's own uses.
        let cap = uses + u8::from(sees(&[S2, L3]));
        Self {
            clean_only,
            callers,
            foreign: payload || clean_only || (callers && retries_are_promised),
            other_tenants: callers || clean_only || sees(&[S12, S21]) || checks_owner(flow),
            scanners: callers || clean_only || sees(&[S15]),
            payload,
            acted_payload: sees(&[S6]),
            live,
            fences: compares_lease || layout.lease_steps,
            forgets_window: !sees(&[S5, S21, L3, L4])
                && !compares_expiry(flow)
                && (!is_decided || guards.status),
            is_decided,
            was_revoked: sees(&[S20]),
            jobs: effects || deploys || sees(&[S6]),
            attempt_uses: names_users
                || sees(&[S1, S13, S21, L3])
                || (burns && sees(&[L1]))
                || gives_back
                || accepts_own(flow)
                || (callers && uses > 1),
            // An event belongs to the use that is repeated.
            repeats: sees(&[S2, S3])
                || layout.answers
                || uses > 1
                || (burns && sees(&[L1]))
                || (layout.tracks_events && sees(&[S8])),
            endings: clean_only || sees(&[S12, S21]),
            scanner_press: sees(&[S15, S18, S19]),
            successes: sees(&[S2, S3]) || (sees(&[L1]) && burns),
            targets: has_undone_writes || sees(&[S11, L2]),
            decisions: sees(&[S10]),
            executed_events: sees(&[S8]),
            applied: sees(&[S2, S17, L1, L3]),
            effects,
            building: sees(&[L2]),
            promised: sees(&[L3]),
            began_on_usable: sees(&[S21, L3]),
            is_excused: sees(&[S13, S21]),
            is_owed: sees(&[S13]),
            wrote: sees(&[S7]),
            // An answer that is repeated takes effect once.
            acted: sees(&[S7, S13]) || (effects && layout.answers) || (names_users && sees(&[S2, S3])),
            deploys,
            cap: (!gives_back && !compares).then_some(cap),
            effects_cap: (!refunds && !compares).then_some(cap),
            only_missing: (compares && !gives_back && !refunds && !burns && !sees(&[S2, L3]))
                .then(|| flow.acts().count()),
            // A flow has one consume: an attempt that repeats it undoes one use all the same.
            undoes_last: (gives_back && uses == 1).then_some(1),
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
            recalls: recalls || (callers && has_recall),
            leaves_out_recalled: has_recall && !recalls && !callers,
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
        if let Some(undone) = self.undoes_last {
            // Below what the last user may undo it only matters that there is a use.
            let most = 1 + last_uses.min(undone);
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
        if let Some(acts) = self.only_missing {
            let effects = &mut world.effects[..acts];
            let least = effects.iter().copied().fold(world.applied, u8::min);
            world.applied -= least;
            effects.iter_mut().for_each(|count| *count -= least);
        }
        if self.forgets_window && (!self.is_decided || world.status != Status::Pending) {
            world.window_passed = false;
        }
        world.was_revoked &= self.was_revoked;
        world.drifted &= self.payload;
        world.presses.scanner &= self.scanner_press;
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
        } else if !self.building {
            // S11 counts them.
            for target in world.targets.iter_mut().filter(|one| **one == TargetStatus::Building) {
                *target = TargetStatus::Settled;
            }
        }
        if !self.has_undone_writes {
            world.vault_written = false;
        }
        world.jobs.iter_mut().flatten().for_each(|job| self.forget_of_job(job));
    }

    /// Forgets what is not seen of a job.
    pub(super) fn forget_of_job(&self, job: &mut Job) {
        if !self.building {
            job.target = None;
        }
        if !self.acted_payload {
            job.payload = Payload::default();
        }
        if !self.jobs && job.status != JobStatus::Absent {
            (job.status, job.launched) = (JobStatus::Done, true);
        }
    }

    /// Forgets who took the lease last, where its number is not compared, and who wrote last, where no undo is seen.
    pub(super) fn forget_references(&self, world: &mut World) {
        if !self.fences {
            (world.lease_last, world.fence_shared) = (None, false);
        }
        if !self.has_undone_writes {
            (world.writers, world.vault_writer) = (Default::default(), None);
        }
    }

    /// The class as which a participant of this one is seen.
    pub(super) fn class(&self, class: Class) -> Class {
        match class {
            Class::Foreign if !self.foreign => Class::Caller,
            Class::OtherTenant if !self.other_tenants => Class::Caller,
            Class::Scanner if !self.scanners => Class::Caller,
            class => class,
        }
    }

    /// Forgets what is not seen of an attempt.
    pub(super) fn forget_of(&self, one: &mut Attempt) {
        if !self.clean_only {
            one.stage = one.stage.merged();
        }
        if !self.endings {
            one.ending = one.ending.map(PromotionState::merged);
        }
        let reads = |live: &[bool]| {
            let is_running = one.stage == PromotionState::Running && one.ending.is_none();
            is_running && live[usize::from(one.cursor)]
        };
        let (held, seen, found) = (reads(&self.live.held), reads(&self.live.seen), reads(&self.live.found));
        // Whose creation a target is decides nothing.
        one.created = false;
        if !held || !self.payload {
            one.held = Payload::default();
        }
        if !self.acted_payload {
            one.stored_held = Payload::default();
        }
        if !seen {
            (one.seen, one.seen_status) = (0, None);
        }
        if !self.has_undone_writes {
            one.replaced = 0;
        } else if !self.building {
            // As in the world: what was building is settled.
            let building = one.replaced & BUILDING;
            one.replaced = one.replaced & !BUILDING | building << 1;
        }
        if !self.building {
            one.deploys.iter_mut().for_each(|deploy| deploy.target = None);
            if !found && !self.has_undone_writes {
                one.target = None;
            }
        }
        one.is_fenced &= self.fences;
        one.repeats &= self.repeats;
        one.has_event &= self.executed_events;
        if !self.attempt_uses {
            one.uses = 0;
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
        if (self.cap.is_some() || self.undoes_last.is_some()) && !self.executed_events {
            one.seen = one.seen.min(self.uses);
        }
        if !self.deploys {
            one.deploys = Default::default();
        }
        if !self.targets {
            one.target = None;
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

    /// Of an attempt that was not answered with success forgets how it ended: a violation shows when it ends. True if there
    /// was something to forget.
    pub(super) fn forget_end_of(&self, one: &mut Participant) -> bool {
        if !self.callers || self.is_owed {
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

/// In an attempt's replaced values the bit of a target that was building: the lower one of two.
const BUILDING: u128 = u128::MAX / 3;

/// True if a step compares the owner.
fn checks_owner(flow: &Flow) -> bool {
    let checks = |action: &StepAction| matches!(action, StepAction::Validate { checks, .. } if checks.owner);
    flow.steps().iter().any(|step| checks(&step.action))
}

/// True if a step compares the end of the window.
fn compares_expiry(flow: &Flow) -> bool {
    let checks = |action: &StepAction| matches!(action, StepAction::Validate { checks, .. } if checks.expiry);
    flow.steps().iter().any(|step| checks(&step.action))
        || flow.consume().is_some_and(|consume| consume.guards.expiry)
}

/// True if a step compares the target's version.
fn compares_target(flow: &Flow) -> bool {
    let checks = |action: &StepAction| matches!(action, StepAction::Validate { checks, .. } if checks.target);
    flow.steps().iter().any(|step| checks(&step.action))
        || flow.consume().is_some_and(|consume| consume.guards.target)
}

/// True if a step accepts a use of the same caller's other attempt.
fn accepts_own(flow: &Flow) -> bool {
    let accepts = |action: &StepAction| matches!(action, StepAction::Validate { accept_own: true, .. });
    flow.steps().iter().any(|step| accepts(&step.action))
        || flow.consume().is_some_and(|consume| consume.accept_own)
}

/// True if each attempt asks for a stored outcome before it holds or changes anything, and leaves no marker.
fn recalls_first(flow: &Flow) -> bool {
    let is_recall = |action: &StepAction| matches!(action, StepAction::Recall { claim: false, .. });
    let reads =
        |action: &StepAction| matches!(action, StepAction::Validate { .. } | StepAction::Check { .. });
    let mut later = flow.steps().iter().skip_while(|step| is_recall(&step.action) || reads(&step.action));
    later.all(|step| !matches!(step.action, StepAction::Recall { .. }))
}

/// True if a step reads which two attempts are of one caller, other than by the outcome that is stored.
fn reads_callers(flow: &Flow) -> bool {
    let reads = |action: &StepAction| matches!(action, StepAction::Lease(lease) if lease.reentrant);
    accepts_own(flow) || flow.steps().iter().any(|step| reads(&step.action))
}
