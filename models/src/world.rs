//! The world that a flow runs in, as one small value: the object, the targets, the outbox, the deploys, every attempt.
//!
//! The rules are the protocol's; what is here is only the store that they are applied to. A field that a flow has no
//! use for keeps its default, so that no state is counted twice.

mod attempt;
mod bits;
mod layout;
mod show;

use std::hash::{Hash, Hasher};

use countersign::protocol::{Digest, Event, Flow, Status};

pub(crate) use attempt::stage_of;
pub use attempt::{Attempt, Deploy};
pub use layout::{Layout, Packed};

use crate::properties::PromotionState;

/// The most callers that a state has room for.
pub const MAX_CONSUMERS: usize = 6;
/// The most attempts: two of each caller, a stranger's and a scanner's.
pub const MAX_ATTEMPTS: usize = 2 * MAX_CONSUMERS + 2;
/// Number of targets that are distinguished; any further one counts as the last.
pub const MAX_TARGETS: usize = 6;
/// The largest count that is kept.
pub const MAX_COUNT: u8 = 15;

const ACTS: usize = Flow::MAX_ACTS;

/// A payload to launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Payload {
    /// The approved payload.
    #[default]
    Approved,
    /// The same source, changed since.
    Drifted,
    /// Another stack.
    Foreign,
}

impl Payload {
    /// Its digest.
    pub fn digest(self) -> Digest {
        Digest([self as u8; 32])
    }

    /// The payload of a digest that [`digest`](Self::digest) made.
    pub fn of(digest: Digest) -> Self {
        [Self::Approved, Self::Drifted, Self::Foreign][usize::from(digest.0[0])]
    }
}

/// A target that may exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TargetStatus {
    /// Not created.
    #[default]
    Absent,
    /// Written; its deploy has not ended.
    Building,
    /// Healthy or failed.
    Settled,
}

/// Status of a launch job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Never written.
    #[default]
    Absent,
    /// In the outbox.
    Ready,
    /// Leased by the worker.
    Leased,
    /// Its deploy runs.
    Running,
    /// Its deploy has ended.
    Done,
}

/// A job of an act via the outbox: there is at most one under a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Job {
    /// Status of the job.
    pub status: JobStatus,
    /// Its payload.
    pub payload: Payload,
    /// The target of the attempt that wrote it.
    pub target: Option<u8>,
    /// Launched. A repeat is the same launch.
    pub launched: bool,
}

impl Job {
    /// True until the job is done.
    pub fn is_open(&self) -> bool {
        matches!(self.status, JobStatus::Ready | JobStatus::Leased | JobStatus::Running)
    }
}

/// The object's lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lease {
    /// Not held.
    #[default]
    Free,
    /// Held by this attempt.
    Held {
        /// Its index.
        by: u8,
        /// The holder received the reply.
        known: bool,
    },
}

/// Violations found so far; no later action clears a flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Violated {
    /// S4: used from neither approved nor used-up.
    pub used_unapproved: bool,
    /// S5: used past `expires_at`.
    pub used_late: bool,
    /// S20: used after it was revoked.
    pub used_revoked: bool,
    /// S22: used with another target than that of the approval.
    pub used_stale: bool,
    /// S9: a final status was left.
    pub final_left: bool,
    /// S6: an act took effect with another payload.
    pub acted_other: bool,
    /// S12: a stranger changed something, or was not refused with a 404.
    pub other_tenant: bool,
    /// S15: a scanner decided, used or acted.
    pub scanner: bool,
    /// S13: a retry did not return the outcome.
    pub retry: bool,
    /// S18: approved by too few people.
    pub too_few: bool,
    /// S19: the requester is one of them.
    pub requester: bool,
    /// S21: a refused attempt left it usable.
    pub not_burnt: bool,
}

/// The approvers' presses, as far as they still matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Presses {
    /// The count that the code keeps, up to the approvers that it needs.
    pub counted: u8,
    /// Different people other than the requester who said yes.
    pub people: u8,
    /// The requester said yes.
    pub requester: bool,
    /// The scanner has pressed.
    pub scanner: bool,
}

/// Global state, without the attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The object's status.
    pub status: Status,
    /// The stored count of uses.
    pub uses: u8,
    /// The swaps that were applied, net of undos.
    pub applied: u8,
    /// The attempt of the last swap, while it may undo it.
    pub last_user: Option<u8>,
    /// The object has been usable.
    pub approved: bool,
    /// The object has been revoked.
    pub was_revoked: bool,
    /// The presses of the approvers.
    pub presses: Presses,
    /// The clock has passed `expires_at`.
    pub window_passed: bool,
    /// The source has changed since the approval.
    pub drifted: bool,
    /// Another deploy has changed the target since the approval.
    pub target_drifted: bool,
    /// Which of approve, reject and expire have won: a bit for each.
    pub decisions: u8,
    /// Executed events, net of releasing ones.
    pub executed_events: u8,
    /// The effects of each act, net of refunds.
    pub effects: [u8; ACTS],
    /// For each act the keys under which its row exists or its call was made: a bit for each slot.
    pub keyed: [u16; ACTS],
    /// The jobs of each act, by slot.
    pub jobs: [[Job; MAX_ATTEMPTS]; ACTS],
    /// The targets, in the order in which they were created.
    pub targets: [TargetStatus; MAX_TARGETS],
    /// The last attempt to write each target, where an undo reads it.
    pub writers: [Option<u8>; MAX_TARGETS],
    /// A vault key was written.
    pub vault_written: bool,
    /// The last attempt to write the vault, where an undo reads it.
    pub vault_writer: Option<u8>,
    /// The object's lease.
    pub lease: Lease,
    /// The other attempt of the holder's caller holds it, too (`reentrant`).
    pub lease_shared: bool,
    /// Which of several lease steps took it.
    pub lease_step: u8,
    /// The attempt that took the lease last, while it runs: every earlier one is fenced.
    pub lease_last: Option<u8>,
    /// Except the other attempt of the same caller.
    pub fence_shared: bool,
    /// No event that S3 excludes has happened.
    pub clean: bool,
    /// Violations found so far.
    pub violated: Violated,
    /// The crashes that may still happen.
    pub crashes_left: u8,
    /// The faults that may still be injected.
    pub faults_left: u8,
}

impl World {
    /// An object that was just requested or, where it needs no approval, issued; and nothing else.
    pub fn new(is_issued: bool, crashes_left: u8, faults_left: u8) -> Self {
        Self {
            status: if is_issued { Status::Approved } else { Status::Pending },
            uses: 0,
            applied: 0,
            last_user: None,
            approved: is_issued,
            was_revoked: false,
            presses: Presses::default(),
            window_passed: false,
            drifted: false,
            target_drifted: false,
            decisions: 0,
            executed_events: 0,
            effects: [0; ACTS],
            keyed: [0; ACTS],
            jobs: [[Job::default(); MAX_ATTEMPTS]; ACTS],
            targets: [TargetStatus::Absent; MAX_TARGETS],
            writers: [None; MAX_TARGETS],
            vault_written: false,
            vault_writer: None,
            lease: Lease::Free,
            lease_shared: false,
            lease_step: 0,
            lease_last: None,
            fence_shared: false,
            clean: true,
            violated: Violated::default(),
            crashes_left,
            faults_left,
        }
    }

    /// Number of targets.
    pub fn created(&self) -> u8 {
        self.targets.iter().filter(|target| **target != TargetStatus::Absent).count() as u8
    }

    /// The target that a look finds: the first one.
    pub fn found_target(&self) -> Option<u8> {
        self.targets.iter().position(|target| *target != TargetStatus::Absent).map(|index| index as u8)
    }

    /// The place of the next target.
    pub fn free_target(&self) -> u8 {
        let free = self.targets.iter().position(|target| *target == TargetStatus::Absent);
        free.unwrap_or(MAX_TARGETS - 1) as u8
    }

    /// Moves the object, and remembers a final status that is left.
    pub fn move_to(&mut self, status: Status) {
        self.violated.final_left |= self.status.is_final() && self.status != status;
        self.status = status;
    }

    /// This decision has won.
    pub fn decide(&mut self, event: Event) {
        self.decisions |= match event {
            Event::Approve => 1,
            Event::Reject => 2,
            Event::Expire => 4,
            Event::Consume | Event::Revoke => 0,
        };
    }

    /// True if the object is usable now.
    pub fn is_usable(&self) -> bool {
        self.status == Status::Approved && !self.window_passed
    }

    /// A deploy ends: its target, or else the environment's first, settles.
    pub fn settle(&mut self, target: Option<u8>) {
        let Some(target) = target.or(self.found_target()) else { return };
        let target = &mut self.targets[usize::from(target)];
        if *target == TargetStatus::Building {
            *target = TargetStatus::Settled;
        }
    }
}

/// One state of the model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The world.
    pub world: World,
    /// The attempts, in the model's order; those beyond it never begin.
    pub attempts: [Attempt; MAX_ATTEMPTS],
}

impl Hash for State {
    /// Hashes what differs between most states, in few words: a checker hashes each state that it meets.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let World { status, uses, applied, last_user, approved, presses, window_passed, drifted, .. } =
            self.world;
        let World { was_revoked, target_drifted, decisions, executed_events, effects, keyed, .. } =
            self.world;
        let World { vault_written, vault_writer, lease, lease_shared, lease_step, lease_last, .. } =
            self.world;
        let World { fence_shared, clean, violated, crashes_left, faults_left, .. } = self.world;
        let place = |place: Option<u8>| place.map_or(0, |place| place + 1);
        let flags =
            |flags: &[bool]| flags.iter().rev().fold(0_u32, |bits, flag| bits << 1 | u32::from(*flag));
        let violated = flags(&[
            violated.used_unapproved,
            violated.used_late,
            violated.used_revoked,
            violated.used_stale,
            violated.final_left,
            violated.acted_other,
            violated.other_tenant,
            violated.scanner,
            violated.retry,
            violated.too_few,
            violated.requester,
            violated.not_burnt,
        ]);
        let known = matches!(lease, Lease::Held { known: true, .. });
        let others = flags(&[
            approved,
            window_passed,
            drifted,
            presses.requester,
            presses.scanner,
            was_revoked,
            target_drifted,
            vault_written,
            lease_shared,
            fence_shared,
            clean,
            known,
        ]);
        let by = match lease {
            Lease::Free => None,
            Lease::Held { by, .. } => Some(by),
        };
        let budget = crashes_left << 4 | faults_left;
        let [one, two, three] = effects;
        let counts =
            [uses, applied, place(last_user), presses.counted, presses.people, decisions, executed_events];
        let [a, b, c, d, e, f, g] = counts;
        hasher.write_u64(u64::from(violated) << 16 | u64::from(others));
        hasher.write_u64(u64::from_le_bytes([status as u8, a, b, c, d, e, f, g]));
        let [a, b, c, d] = [place(vault_writer), place(by), lease_step, place(lease_last)];
        hasher.write_u64(u64::from_le_bytes([one, two, three, a, b, c, d, budget]));
        keyed.hash(hasher);
        // An absent job has nothing but its default, and so have targets and attempts that are not begun.
        for (slot, job) in self.world.jobs.iter().flatten().enumerate() {
            if job.status != JobStatus::Absent {
                (slot, job).hash(hasher);
            }
        }
        if self.world.created() > 0 || self.world.writers != [None; MAX_TARGETS] {
            (self.world.targets, self.world.writers).hash(hasher);
        }
        for (index, attempt) in self.attempts.iter().enumerate() {
            if attempt.stage != PromotionState::Waiting {
                hasher.write_usize(index);
                attempt.hash(hasher);
            }
        }
    }
}
