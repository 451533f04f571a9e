//! The layout of a packed state: the bits of each field that a flow has a use for.
//!
//! Invariant: packing loses nothing, so that two states of one model are equal exactly when their words are. A field
//! without bits keeps its default in every state.

use countersign::protocol::Status;

use super::{
    ACTS, Attempt, Job, JobStatus, Lease, MAX_ATTEMPTS, Payload, State, TargetStatus, World,
    bits::{Bits, Field, Pull, Push},
};
use crate::properties::PromotionState;

/// The words of a packed state.
pub(super) const WORDS: usize = 8;

/// A packed state.
pub type Packed = [u64; WORDS];

const TARGETS: [TargetStatus; 3] = [TargetStatus::Absent, TargetStatus::Building, TargetStatus::Settled];
const JOBS: [JobStatus; 5] =
    [JobStatus::Absent, JobStatus::Ready, JobStatus::Leased, JobStatus::Running, JobStatus::Done];
const PAYLOADS: [Payload; 3] = [Payload::Approved, Payload::Drifted, Payload::Foreign];

/// Which fields a model's states have, and of which width.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Attempts.
    pub attempts: usize,
    /// The bits of a cursor.
    pub cursor_bits: u32,
    /// People approve.
    pub is_decided: bool,
    /// The object may be used more than once.
    pub has_uses: bool,
    /// A count of uses is read and written back.
    pub reads_uses: bool,
    /// The status is read.
    pub reads_status: bool,
    /// The object may be revoked.
    pub is_revocable: bool,
    /// Payloads differ.
    pub has_payloads: bool,
    /// A step writes a target or the vault.
    pub writes: bool,
    /// A step looks for a target.
    pub has_targets: bool,
    /// A step audits.
    pub audits: bool,
    /// The acts that exist.
    pub acts: [bool; ACTS],
    /// The acts with keyed rows or calls.
    pub keyed: [bool; ACTS],
    /// The acts with jobs.
    pub jobs: [bool; ACTS],
    /// The acts with deploys of their own.
    pub deploys: [bool; ACTS],
    /// The slots of keys and jobs: 1, or one for each attempt.
    pub slots: usize,
    /// Several steps take the lease.
    pub lease_steps: bool,
    /// Two attempts of one caller may hold the lease.
    pub shares_lease: bool,
    /// A step takes the lease.
    pub leases: bool,
    /// The steps that are undone.
    pub undone: u64,
    /// The undone steps that write.
    pub undone_writes: u64,
    /// A step runs again after an error.
    pub retries_steps: bool,
    /// Callers send their request again.
    pub retries: bool,
    /// Steps recall or remember.
    pub has_keys: bool,
    /// True if some step is undone or accepted, so that events are stored by attempt.
    pub tracks_events: bool,
    /// A consume with one use is undone, so that it is known whose use it is.
    pub tracks_last_user: bool,
    /// A crash loses uses that a retry would accept.
    pub forgets_uses: bool,
    /// An act via the answer.
    pub answers: bool,
    /// An attempt may accept an earlier one's use, or repeat its outcome.
    pub repeats: bool,
}

impl Layout {
    /// True if a state fits into the words.
    pub fn fits(&self) -> bool {
        self.bits() <= u64::BITS * WORDS as u32
    }

    /// The bits of a state.
    pub fn bits(&self) -> u32 {
        let mut count = Count(0);
        let mut state =
            State { world: World::new(false, 0, 0), attempts: [Attempt::default(); MAX_ATTEMPTS] };
        self.visit(&mut state, &mut count);
        count.0
    }

    /// The state in words.
    pub fn pack(&self, state: &State) -> Packed {
        let mut copy = *state;
        let mut push = Push(Bits::new([0; WORDS]));
        self.visit(&mut copy, &mut push);
        push.0.words
    }

    /// The state that [`pack`](Self::pack) made these words of.
    pub fn unpack(&self, packed: &Packed) -> State {
        let mut state =
            State { world: World::new(false, 0, 0), attempts: [Attempt::default(); MAX_ATTEMPTS] };
        let mut pull = Pull(Bits::new(*packed));
        self.visit(&mut state, &mut pull);
        debug_assert!(pull.0.used() <= u64::BITS * WORDS as u32);
        state
    }

    fn visit(&self, state: &mut State, field: &mut impl Field) {
        self.visit_world(&mut state.world, field);
        for attempt in &mut state.attempts[..self.attempts] {
            self.visit_attempt(attempt, field);
        }
    }

    fn visit_world(&self, world: &mut World, field: &mut impl Field) {
        field.of_list(&mut world.status, &Status::ALL, 3);
        field.small(&mut world.uses, 4);
        field.small(&mut world.applied, 4);
        field.place(&mut world.last_user, self.tracks_last_user);
        field.flag(&mut world.approved, true);
        field.flag(&mut world.was_revoked, self.is_revocable);
        if self.is_decided {
            field.small(&mut world.presses.counted, 2);
            field.small(&mut world.presses.people, 3);
            field.flag(&mut world.presses.requester, true);
            field.flag(&mut world.presses.scanner, true);
            field.small(&mut world.decisions, 3);
        }
        field.flag(&mut world.window_passed, true);
        field.flag(&mut world.drifted, true);
        field.flag(&mut world.target_drifted, true);
        if self.audits {
            field.small(&mut world.executed_events, 4);
        }
        for act in 0..ACTS {
            field.small(&mut world.effects[act], if self.acts[act] { 4 } else { 0 });
            if self.keyed[act] {
                let mut keyed = u64::from(world.keyed[act]);
                field.visit(&mut keyed, self.slots as u32);
                world.keyed[act] = keyed as u16;
            }
            if self.jobs[act] {
                for job in &mut world.jobs[act][..self.slots] {
                    self.visit_job(job, field);
                }
            }
        }
        if self.has_targets {
            for target in &mut world.targets {
                field.of_list(target, &TARGETS, 2);
            }
        }
        if self.undone_writes != 0 {
            for writer in &mut world.writers {
                field.place(writer, self.has_targets);
            }
            field.place(&mut world.vault_writer, true);
        }
        field.flag(&mut world.vault_written, self.writes);
        if self.leases {
            let (mut by, mut known) = match world.lease {
                Lease::Free => (None, false),
                Lease::Held { by, known } => (Some(by), known),
            };
            field.place(&mut by, true);
            field.flag(&mut known, true);
            world.lease = by.map_or(Lease::Free, |by| Lease::Held { by, known });
            field.place(&mut world.lease_last, true);
            field.flag(&mut world.lease_shared, self.shares_lease);
            field.flag(&mut world.fence_shared, self.shares_lease);
            field.small(&mut world.lease_step, if self.lease_steps { 6 } else { 0 });
        }
        field.flag(&mut world.clean, true);
        let violated = &mut world.violated;
        for flag in [
            &mut violated.used_unapproved,
            &mut violated.used_late,
            &mut violated.used_revoked,
            &mut violated.used_stale,
            &mut violated.final_left,
            &mut violated.acted_other,
            &mut violated.other_tenant,
            &mut violated.scanner,
            &mut violated.retry,
            &mut violated.too_few,
            &mut violated.requester,
            &mut violated.not_burnt,
        ] {
            field.flag(flag, true);
        }
        field.small(&mut world.crashes_left, 4);
        field.small(&mut world.faults_left, 4);
    }

    fn visit_job(&self, job: &mut Job, field: &mut impl Field) {
        field.of_list(&mut job.status, &JOBS, 3);
        field.of_list(&mut job.payload, &PAYLOADS, if self.has_payloads { 2 } else { 0 });
        field.place(&mut job.target, self.has_targets);
        field.flag(&mut job.launched, true);
    }

    fn visit_attempt(&self, attempt: &mut Attempt, field: &mut impl Field) {
        field.of_list(&mut attempt.stage, &PromotionState::ALL, 4);
        field.small(&mut attempt.cursor, self.cursor_bits);
        field.of_list(&mut attempt.held, &PAYLOADS, if self.has_payloads { 2 } else { 0 });
        field.place(&mut attempt.target, self.has_targets);
        field.flag(&mut attempt.created, self.has_targets);
        field.flag(&mut attempt.is_fenced, self.leases);
        field.flag(&mut attempt.holds_lease, self.leases);
        field.flag(&mut attempt.is_retrying, self.retries_steps);
        field.small(&mut attempt.seen, if self.reads_uses { 4 } else { 0 });
        // `None` as 0.
        let mut status = attempt.seen_status.map_or(0, |status| status as u64 + 1);
        field.visit(&mut status, if self.reads_status { 3 } else { 0 });
        attempt.seen_status = status.checked_sub(1).map(|index| Status::ALL[index as usize]);
        field.flag(&mut attempt.repeats, self.repeats);
        if self.undone != 0 {
            for step in 0..64 {
                if self.undone >> step & 1 == 1 {
                    let mut bit = attempt.undoable >> step & 1;
                    field.visit(&mut bit, 1);
                    attempt.undoable = attempt.undoable & !(1 << step) | bit << step;
                }
                if self.undone_writes >> step & 1 == 1 {
                    let mut two = (attempt.replaced >> (2 * step) & 3) as u64;
                    field.visit(&mut two, 2);
                    attempt.replaced = attempt.replaced & !(3 << (2 * step)) | u128::from(two) << (2 * step);
                }
            }
            let mut ending = attempt.ending.unwrap_or_default();
            field.of_list(&mut ending, &PromotionState::ALL, 4);
            attempt.ending = (ending != PromotionState::default()).then_some(ending);
        }
        field.flag(&mut attempt.is_excused, self.undone != 0);
        field.flag(&mut attempt.began_on_usable, true);
        field.flag(&mut attempt.is_owed, self.retries);
        field.small(&mut attempt.uses, 2);
        field.flag(&mut attempt.is_forgotten, self.forgets_uses);
        field.flag(&mut attempt.has_event, self.tracks_events);
        field.flag(&mut attempt.wrote, self.writes);
        for act in 0..ACTS {
            field.small(&mut attempt.acted[act], if self.acts[act] { 2 } else { 0 });
            if self.deploys[act] {
                field.flag(&mut attempt.deploys[act].runs, true);
                field.place(&mut attempt.deploys[act].target, self.has_targets);
            }
        }
        field.flag(&mut attempt.has_marker, self.has_keys);
        field.flag(&mut attempt.is_stored, self.has_keys);
        field.small(&mut attempt.answers, if self.answers { 3 } else { 0 });
        let stores_answers = self.answers && self.has_keys;
        field.small(&mut attempt.stored_answers, if stores_answers { 3 } else { 0 });
        field.of_list(
            &mut attempt.stored_held,
            &PAYLOADS,
            if stores_answers && self.has_payloads { 2 } else { 0 },
        );
    }
}

/// Counts bits.
struct Count(u32);

impl Field for Count {
    fn visit(&mut self, _: &mut u64, width: u32) {
        self.0 += width;
    }
}
