//! What the properties that are asked for can see of a state: the rest is set to its default, so that views that differ in nothing else are one.
//!
//! A field may be forgotten when no rule that decides a move reads it, and none of the wanted properties does. Each line
//! says which properties read its field. What holds a count is cut off where larger counts are judged the same and
//! nothing is ever subtracted.

use countersign::protocol::FailedAttempt;

use super::view::Participant;
use crate::{
    model::Model,
    properties::{
        PromotionState,
        Property::{self, L1, L2, L3, S2, S3, S7, S8, S10, S11, S13, S17, S21},
        Set,
    },
    world::{Attempt, TargetStatus, Violated, World},
};

/// The fields to keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    wanted: Set,
    /// Only runs in which nothing has happened that S3 leaves out.
    pub(super) clean_only: bool,
    /// The largest distinct counts of uses, swaps and effects; `None` where a move decrements.
    cap: Option<u8>,
    has_undone_writes: bool,
    uses: u8,
}

impl Sight {
    /// The part of `model`'s states that `wanted` reads. S3 is requested alone.
    pub(super) fn new(model: &Model, wanted: Set) -> Self {
        let uses = model.flow().object().uses;
        let subtracts = model.layout().undone != 0;
        // S17 compares the effects with the swaps, where there are several.
        let compares = uses > 1 && wanted & S17.bit() != 0;
        Self {
            wanted,
            clean_only: wanted == S3.bit(),
            cap: (!subtracts && !compares).then_some(uses + 1),
            has_undone_writes: model.layout().undone_writes != 0,
            uses,
        }
    }

    fn sees(&self, properties: &[Property]) -> bool {
        properties.iter().any(|one| self.wanted & one.bit() != 0)
    }

    /// True if the number of successes is read.
    pub(super) fn counts_successes(&self, model: &Model) -> bool {
        self.sees(&[S2, S3])
            || (self.sees(&[L1]) && model.flow().object().failed_attempt == FailedAttempt::Burn)
    }

    pub(super) fn sees_targets(&self) -> bool {
        self.has_undone_writes || self.sees(&[S11, L2])
    }

    /// Forgets what is not seen of the world. One crash and one fault may always happen.
    pub(super) fn forget(&self, world: &mut World) {
        (world.crashes_left, world.faults_left) = (1, 1);
        world.violated = Violated::default();
        if !self.clean_only {
            (world.clean, world.approved) = (false, false);
        }
        if !self.sees(&[S10]) {
            world.decisions = 0;
        }
        if !self.sees(&[S8]) {
            world.executed_events = 0;
        }
        if !self.sees(&[S2, S17, L1, L3]) {
            world.applied = 0;
        }
        if !self.sees(&[S2, S17, L1]) {
            world.effects = Default::default();
        }
        if let Some(cap) = self.cap {
            world.applied = world.applied.min(cap);
            world.effects = world.effects.map(|count| count.min(cap));
            if !self.sees(&[S8]) {
                world.uses = world.uses.min(self.uses);
            }
        }
        if !self.sees_targets() {
            world.targets = [TargetStatus::Absent; crate::world::MAX_TARGETS];
            world.jobs.iter_mut().flatten().for_each(|job| job.target = None);
        } else if !self.sees(&[L2]) && !self.has_undone_writes {
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
        if !self.sees(&[S21, L3]) {
            one.began_on_usable = false;
        }
        if !self.sees(&[S13, S21]) {
            one.is_excused = false;
        }
        if !self.sees(&[S13]) {
            one.is_owed = false;
        }
        if !self.sees(&[S7]) {
            one.wrote = false;
        }
        if !self.sees(&[S2, S3, S7, S13]) {
            one.acted = Default::default();
        }
        if self.cap.is_some() && !self.sees(&[S8]) {
            one.seen = one.seen.min(self.uses);
        }
        if !self.sees(&[S3, S8, L2]) && !self.has_undone_writes {
            one.deploys = Default::default();
        }
        if !self.sees_targets() {
            (one.target, one.created) = (None, false);
            one.deploys.iter_mut().for_each(|deploy| deploy.target = None);
        }
    }

    /// The part of an inactive participant that is still read; `None` if there is none.
    pub(super) fn remains(&self, one: &Participant) -> Option<Participant> {
        let promised = |one: &&Attempt| one.stage.is_preflight() && one.began_on_usable;
        let lost = |one: &&Attempt| one.stage.has_ended() && !one.stage.is_success();
        let kept = one
            .attempts
            .iter()
            .find(|one| (self.sees(&[L3]) && promised(one)) || (self.clean_only && lost(one)))?;
        let stage = if self.clean_only { kept.stage } else { PromotionState::PreflightRefused };
        let attempt =
            Attempt { stage, began_on_usable: kept.began_on_usable, uses: kept.uses, ..Attempt::default() };
        Some(Participant::done(attempt))
    }
}
