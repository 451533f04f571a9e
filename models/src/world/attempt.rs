//! One attempt: its stage, its machine's memory, and its effects.

use std::hash::{Hash, Hasher};

use countersign::protocol::{Flow, RefusalKind, Status};

use super::Payload;
use crate::properties::PromotionState;

const ACTS: usize = Flow::MAX_ACTS;

/// A deploy that an attempt's process has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Deploy {
    /// Running.
    pub runs: bool,
    /// The target that its launch knew.
    pub target: Option<u8>,
}

/// One attempt. What no longer matters after its end is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Its stage.
    pub stage: PromotionState,
    /// Its next atomic action.
    pub cursor: u8,
    /// The digest that it holds.
    pub held: Payload,
    /// The target that it knows of.
    pub target: Option<u8>,
    /// That target is its own creation.
    pub created: bool,
    /// The number of its lease is known.
    pub is_fenced: bool,
    /// A lease to release.
    pub holds_lease: bool,
    /// Its step has failed once and runs again.
    pub is_retrying: bool,
    /// The count of uses that it has read for a later write.
    pub seen: u8,
    /// The status that it has read for that write.
    pub seen_status: Option<Status>,
    /// Repeats the outcome of an earlier attempt of the same caller.
    pub repeats: bool,
    /// The steps that a refusal undoes: a bit for each index.
    pub undoable: u64,
    /// For each step that writes and is undone, the replaced value: two bits for each index.
    pub replaced: u128,
    /// The stage in which it ends when everything is undone.
    pub ending: Option<PromotionState>,
    /// The ending excuses a retry (S13).
    pub is_excused: bool,
    /// The object was usable when it began.
    pub began_on_usable: bool,
    /// An earlier attempt of the same caller had taken effect when it began (S13).
    pub is_owed: bool,
    /// Its uses that are not undone.
    pub uses: u8,
    /// The store has forgotten its uses in a crash.
    pub is_forgotten: bool,
    /// Its use has its event.
    pub has_event: bool,
    /// A write to target or vault that no undo has reverted.
    pub wrote: bool,
    /// Its effects of each act that are not undone; a written job counts.
    pub acted: [u8; ACTS],
    /// Its deploys.
    pub deploys: [Deploy; ACTS],
    /// Its in-flight marker is stored.
    pub has_marker: bool,
    /// Its outcome is stored.
    pub is_stored: bool,
    /// The acts that its final answer carries: a bit for each.
    pub answers: u8,
    /// The answers that the stored outcome carries.
    pub stored_answers: u8,
    /// The payload of these answers.
    pub stored_held: Payload,
}

impl Attempt {
    /// A deploy of it runs.
    pub fn is_deploying(&self) -> bool {
        self.deploys.iter().any(|deploy| deploy.runs)
    }

    /// True if it used the object or acted, without undoing all of that.
    pub fn has_effect(&self) -> bool {
        self.uses > 0 || self.has_acted()
    }

    /// True if it acted, without undoing all of that.
    pub fn has_acted(&self) -> bool {
        self.acted.iter().any(|count| *count > 0)
    }

    /// Drops the stored outcome.
    pub fn drop_stored(&mut self) {
        (self.is_stored, self.stored_answers, self.stored_held) = (false, 0, Payload::default());
    }

    /// True if a crash kills a part of it.
    pub fn is_killable(&self) -> bool {
        self.stage == PromotionState::Running || self.is_deploying()
    }
}

impl Hash for Attempt {
    /// Hashes every field, in few words: a checker hashes each state that it meets.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { stage, cursor, held, target, created, is_fenced, holds_lease, is_retrying, .. } = *self;
        let Self { seen, seen_status, repeats, undoable, replaced, ending, is_excused, .. } = *self;
        let Self { began_on_usable, is_owed, uses, is_forgotten, has_event, wrote, acted, .. } = *self;
        let Self { deploys, has_marker, is_stored, answers, stored_answers, .. } = *self;
        let place = |place: Option<u8>| place.map_or(0, |place| place + 1);
        let flags = [
            created,
            is_fenced,
            holds_lease,
            is_retrying,
            repeats,
            is_excused,
            began_on_usable,
            is_owed,
            is_forgotten,
            has_event,
            wrote,
            has_marker,
            is_stored,
            deploys[0].runs,
            deploys[1].runs,
            deploys[2].runs,
        ];
        let flags = flags.iter().rev().fold(0_u16, |bits, flag| bits << 1 | u16::from(*flag)).to_le_bytes();
        let status = seen_status.map_or(0, |status| status as u8 + 1);
        let ending = ending.map_or(0, |stage| stage as u8 + 1);
        let first = [stage as u8, cursor, held as u8, place(target), seen, status, ending, uses];
        let second = [flags[0], flags[1], answers, stored_answers, acted[0], acted[1], acted[2], 0];
        hasher.write_u64(u64::from_le_bytes(first));
        hasher.write_u64(u64::from_le_bytes(second));
        let targets = deploys.map(|deploy| place(deploy.target));
        if targets != [0; ACTS] || undoable != 0 || replaced != 0 {
            hasher.write(&targets);
            hasher.write_u64(undoable);
            hasher.write_u128(replaced);
        }
    }
}

/// Stage of an attempt after a refusal of this kind and status.
pub(crate) fn stage_of(kind: RefusalKind, status: u16) -> PromotionState {
    match (kind, status) {
        (RefusalKind::Own | RefusalKind::PreflightUnavailable, _) => PromotionState::PreflightRefused,
        (RefusalKind::Validation, 409) => PromotionState::PreflightConflict,
        (RefusalKind::Validation, 404) => PromotionState::PreflightAbsent,
        (RefusalKind::Validation, _) => PromotionState::PreflightInvalid,
        (RefusalKind::Conflict, 409) => PromotionState::Conflict,
        (RefusalKind::Conflict, _) => PromotionState::Gone,
        (RefusalKind::Unavailable, _) => PromotionState::Refused,
        (RefusalKind::Unknown, _) => PromotionState::Unknown,
    }
}
