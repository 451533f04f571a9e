//! A state in three words: how the explorer keeps and compares it.
//!
//! Invariant: packing loses nothing, so that two states are equal exactly when their words are. Each field is
//! pulled in the order in which it was pushed.

use countersign::protocol::Status;

use super::{Consumer, Job, JobStatus, MAX_CONSUMERS, Payload, State, TargetStatus, World};
use crate::properties::Stage;

/// The words of a state: one for the world, two for three consumers each.
pub type Packed = [u64; 3];

const CONSUMERS_PER_WORD: usize = MAX_CONSUMERS / 2;

/// Small numbers in one word, first in first out.
#[derive(Default)]
struct Bits {
    word: u64,
    used: u32,
}

impl Bits {
    fn of(word: u64) -> Self {
        Self { word, used: 0 }
    }

    #[inline]
    fn push(&mut self, value: u8, width: u32) {
        debug_assert!(
            u32::from(value) < 1 << width && self.used + width <= u64::BITS,
            "{value} in {width} bits"
        );
        self.word |= u64::from(value) << self.used;
        self.used += width;
    }

    #[inline]
    fn pull(&mut self, width: u32) -> u8 {
        let value = self.word >> self.used & ((1 << width) - 1);
        self.used += width;
        value as u8
    }

    fn push_flags<const N: usize>(&mut self, flags: [bool; N]) {
        flags.into_iter().for_each(|flag| self.push(u8::from(flag), 1));
    }

    fn pull_flags<const N: usize>(&mut self) -> [bool; N] {
        std::array::from_fn(|_| self.pull(1) == 1)
    }

    /// Indices of targets and of consumers, none as 0.
    fn push_place(&mut self, place: Option<u8>) {
        self.push(place.map_or(0, |place| place + 1), 3);
    }

    fn pull_place(&mut self) -> Option<u8> {
        self.pull(3).checked_sub(1)
    }
}

const TARGETS: [TargetStatus; 3] = [TargetStatus::Absent, TargetStatus::Building, TargetStatus::Settled];
const JOBS: [JobStatus; 5] =
    [JobStatus::Absent, JobStatus::Ready, JobStatus::Leased, JobStatus::Running, JobStatus::Done];
const PAYLOADS: [Payload; 3] = [Payload::Approved, Payload::Drifted, Payload::Foreign];
const STAGES: [Stage; 8] = [
    Stage::Waiting,
    Stage::Running,
    Stage::Succeeded,
    Stage::Conflict,
    Stage::Refused,
    Stage::PreflightRefused,
    Stage::Unknown,
    Stage::Killed,
];

impl World {
    fn pack(&self) -> u64 {
        let mut bits = Bits::default();
        bits.push(self.status as u8, 3);
        bits.push(self.executions, 2);
        bits.push(self.decisions, 2);
        bits.push(self.executed_events, 2);
        bits.push(self.unkeyed_launches, 2);
        self.targets.iter().for_each(|target| bits.push(*target as u8, 2));
        bits.push(self.job.status as u8, 3);
        bits.push(self.job.payload as u8, 2);
        bits.push_place(self.job.target);
        bits.push(self.crashes_left, 4);
        bits.push(self.faults_left, 4);
        bits.push_flags([
            self.approved,
            self.window_passed,
            self.drifted,
            self.vault_written,
            self.job.launched,
            self.executed_unapproved,
            self.executed_late,
            self.final_left,
            self.launched_other,
            self.launched_unexecuted,
            self.clean,
            self.lease_held,
        ]);
        bits.push_place(self.lease_last);
        bits.word
    }

    fn unpack(word: u64) -> Self {
        let mut bits = Bits::of(word);
        let status = Status::ALL[usize::from(bits.pull(3))];
        let [executions, decisions, executed_events, unkeyed_launches] =
            std::array::from_fn(|_| bits.pull(2));
        let targets = std::array::from_fn(|_| TARGETS[usize::from(bits.pull(2))]);
        let job_status = JOBS[usize::from(bits.pull(3))];
        let payload = PAYLOADS[usize::from(bits.pull(2))];
        let target = bits.pull_place();
        let [crashes_left, faults_left] = std::array::from_fn(|_| bits.pull(4));
        let [
            approved,
            window_passed,
            drifted,
            vault_written,
            launched,
            executed_unapproved,
            executed_late,
            final_left,
            launched_other,
            launched_unexecuted,
            clean,
            lease_held,
        ] = bits.pull_flags();
        let lease_last = bits.pull_place();
        Self {
            status,
            approved,
            window_passed,
            drifted,
            executions,
            decisions,
            executed_events,
            unkeyed_launches,
            targets,
            vault_written,
            job: Job { status: job_status, payload, target, launched },
            lease_held,
            lease_last,
            executed_unapproved,
            executed_late,
            final_left,
            launched_other,
            launched_unexecuted,
            clean,
            crashes_left,
            faults_left,
        }
    }
}

impl Consumer {
    fn pack(&self, bits: &mut Bits) {
        bits.push(self.cursor, 8);
        bits.push(self.stage as u8, 3);
        bits.push(self.held as u8, 2);
        bits.push_place(self.target);
        bits.push_flags([self.created, self.deploying, self.began_on_approved, self.consumed, self.wrote]);
    }

    fn unpack(bits: &mut Bits) -> Self {
        let cursor = bits.pull(8);
        let stage = STAGES[usize::from(bits.pull(3))];
        let held = PAYLOADS[usize::from(bits.pull(2))];
        let target = bits.pull_place();
        let [created, deploying, began_on_approved, consumed, wrote] = bits.pull_flags();
        Self { stage, cursor, held, target, created, deploying, began_on_approved, consumed, wrote }
    }
}

impl State {
    /// The state in three words.
    pub fn pack(&self) -> Packed {
        let mut packed = [self.world.pack(), 0, 0];
        for (word, consumers) in packed[1..].iter_mut().zip(self.consumers.chunks(CONSUMERS_PER_WORD)) {
            let mut bits = Bits::default();
            consumers.iter().for_each(|one| one.pack(&mut bits));
            *word = bits.word;
        }
        packed
    }

    /// The state that [`pack`](Self::pack) made these words of.
    pub fn unpack(packed: &Packed) -> Self {
        let mut consumers = [Consumer::default(); MAX_CONSUMERS];
        for (word, consumers) in packed[1..].iter().zip(consumers.chunks_mut(CONSUMERS_PER_WORD)) {
            let mut bits = Bits::of(*word);
            consumers.iter_mut().for_each(|one| *one = Consumer::unpack(&mut bits));
        }
        Self { world: World::unpack(packed[0]), consumers }
    }
}
