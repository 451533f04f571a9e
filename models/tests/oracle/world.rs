//! One state of the world: the object, the attempts, and all that they leave behind.

use crate::flow::{Flow, Retry};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Status {
    Pending,
    /// Usable: approved, or issued without approvers.
    Approved,
    Used,
    Rejected,
    Expired,
    Revoked,
}

impl Status {
    pub(crate) fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved)
    }
}

/// The kinds of refusal ("kinds of refusal").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    Preflight,
    Conflict,
    Plain,
    Unknown,
}

/// Status code of a refused attempt's answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Code {
    /// 404, by the object's rules.
    NotFound,
    /// 409, by the object's rules.
    Conflict,
    /// 410.
    Gone,
    /// 409 for a marker or a lease that can still go away.
    Passing,
    /// One of the step's own refusals.
    Own,
    /// 503 after a fault.
    Fault,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    pub(crate) code: Code,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    NotBegun,
    Running,
    /// Refused, and giving back what is marked in `done` before it answers.
    Undoing(Refusal),
    /// `received`: the caller got the answer.
    Success {
        received: bool,
        repeat: bool,
    },
    Refused(Refusal),
    Killed,
}

/// Result of the first half of a read-then-write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Look {
    No,
    Missing,
    Found,
    Object { count: u8, status: Status },
}

/// The values that a `write` replaced, for its undo.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Replaced {
    pub(crate) step: u8,
    /// The target's slot; `None`: the vault.
    pub(crate) slot: Option<u8>,
    pub(crate) existed: bool,
    pub(crate) building: bool,
    /// The attempt that had written it last.
    pub(crate) writer: Option<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Attempt {
    pub(crate) phase: Phase,
    /// The index of the next step; the number of steps: about to answer.
    pub(crate) at: u8,
    pub(crate) look: Look,
    /// The step has failed once and is on its second try.
    pub(crate) tried: bool,
    /// Digest of the last read: 0 as approved, 1 after the drift, 2 of the other payload.
    pub(crate) digest: u8,
    pub(crate) target: Option<u8>,
    /// The steps with `undo` that were seen to succeed, by index.
    pub(crate) done: u64,
    pub(crate) replaced: [Option<Replaced>; 2],
    /// The attempt whose use this one continues: itself, or the one it recognised.
    pub(crate) use_of: Option<u8>,
    /// Its outcome repeats that of another attempt.
    pub(crate) repeat: bool,
    /// The acts that its final answer carries.
    pub(crate) answers: u8,

    // History, kept after the end.
    pub(crate) began_usable: bool,
    /// The object had been usable before it began.
    pub(crate) began_after_usable: bool,
    /// A retry that began after an earlier attempt had taken effect unrefused (S13).
    pub(crate) owed_same_outcome: bool,
    /// Swaps applied, net of undos.
    pub(crate) swaps: u8,
    /// Writes applied and not undone.
    pub(crate) writes: u8,
    /// For each act, the effects that it caused (a job when written), net of refunds.
    pub(crate) acts: [u8; 3],
    /// The event of its use was written.
    pub(crate) audited: bool,
}

impl Attempt {
    pub(crate) const NOT_BEGUN: Self = Self {
        phase: Phase::NotBegun,
        at: 0,
        look: Look::No,
        tried: false,
        digest: 0,
        target: None,
        done: 0,
        replaced: [None; 2],
        use_of: None,
        repeat: false,
        answers: 0,
        began_usable: false,
        began_after_usable: false,
        owed_same_outcome: false,
        swaps: 0,
        writes: 0,
        acts: [0; 3],
        audited: false,
    };

    /// Begun and not ended.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Undoing(_))
    }

    pub(crate) fn has_ended(&self) -> bool {
        !self.is_live() && self.phase != Phase::NotBegun
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.phase {
            Phase::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// "took effect": a use or an act that is not undone.
    pub(crate) fn took_effect(&self) -> bool {
        self.swaps > 0 || self.acts != [0; 3]
    }

    /// "was not answered with a refusal (an unknown outcome is none)".
    pub(crate) fn is_answered_with_refusal(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.kind != Kind::Unknown)
    }
}

/// Key of a keyed effect ("acts where `uses` > 1").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Key {
    Object,
    Use(u8),
    Attempt(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum JobState {
    Ready,
    Leased,
    Running,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Job {
    pub(crate) act: u8,
    pub(crate) key: Key,
    pub(crate) state: JobState,
    pub(crate) launched: bool,
    pub(crate) digest: u8,
    pub(crate) target: Option<u8>,
}

/// A keyed effect that took place: a unique row, or a call with a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Effect {
    pub(crate) act: u8,
    pub(crate) key: Key,
    pub(crate) by: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HeldLease {
    /// The attempts that hold it: several when it is reentrant.
    pub(crate) holders: u16,
    /// Its answer was received: the holder knows of it.
    pub(crate) known: bool,
    /// The step that took it.
    pub(crate) step: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Marker {
    pub(crate) by: u8,
    pub(crate) expires: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Stored {
    pub(crate) by: u8,
    pub(crate) answers: u8,
    pub(crate) digest: u8,
}

/// The row stored under one request key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct KeyRow {
    pub(crate) stored: Option<Stored>,
    pub(crate) marker: Option<Marker>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct World {
    pub(crate) status: Status,
    /// The stored count of uses.
    pub(crate) count: u8,
    /// The attempts whose use the store knows, as a set.
    pub(crate) users: u16,
    /// The attempt of the last swap.
    pub(crate) used_by: Option<u8>,
    pub(crate) clock_passed: bool,
    pub(crate) source_drifted: bool,
    pub(crate) target_drifted: bool,
    pub(crate) was_usable: bool,
    pub(crate) was_revoked: bool,
    /// Which of approve, reject and expire have won.
    pub(crate) decided: u8,

    /// The count of yes that the code keeps, up to `approvers`.
    pub(crate) yes: u8,
    /// Different approvers who said yes themselves, up to `approvers`.
    pub(crate) approvers_said_yes: u8,
    pub(crate) requester_said_yes: bool,
    pub(crate) scanner_pressed: bool,

    pub(crate) crashes_left: u8,
    pub(crate) faults_left: u8,

    pub(crate) attempts: Vec<Attempt>,
    pub(crate) keys: Vec<KeyRow>,
    pub(crate) lease: Option<HeldLease>,
    /// The attempts that took the lease last, and know it.
    pub(crate) fence: u16,

    /// Executed events, net of releases.
    pub(crate) events: i8,
    /// For each act, the effects that took place, net of refunds.
    pub(crate) effects: [u8; 3],
    pub(crate) jobs: Vec<Job>,
    pub(crate) keyed_effects: Vec<Effect>,
    /// Deploys started via `memory`, by the target that their launch knew.
    pub(crate) deploys: Vec<Option<u8>>,

    pub(crate) targets_created: u8,
    pub(crate) targets: u8,
    pub(crate) building: u8,
    pub(crate) target_writers: [Option<u8>; 8],
    pub(crate) vault_writer: Option<u8>,
}

impl World {
    /// Swaps applied, net of undos.
    pub(crate) fn net_uses(&self) -> u8 {
        self.attempts.iter().map(|attempt| attempt.swaps).sum()
    }

    /// The slot of the environment's first target.
    pub(crate) fn first_target(&self) -> Option<u8> {
        (self.targets != 0).then(|| self.targets.trailing_zeros() as u8)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kin {
    Caller(u8),
    OtherTenant,
    Scanner,
    /// The fresh attempt of L3 and L4.
    Fresh,
}

/// The role of one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) kin: Kin,
    /// The earlier attempt of the same caller.
    pub(crate) retry_of: Option<u8>,
    pub(crate) other_payload: bool,
    /// The index of its request key.
    pub(crate) key: usize,
    /// The attempts of the same caller, as a set, this one included.
    pub(crate) same_caller: u16,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) callers: u8,
    pub(crate) crashes: u8,
    pub(crate) faults: u8,
}

/// A flow within bounds: what makes moves and judges them.
pub(crate) struct Judge {
    pub(crate) flow: Flow,
    pub(crate) bounds: Bounds,
    /// By attempt; the last one is the fresh attempt, which is in no world of its own.
    pub(crate) roles: Vec<Role>,
}

impl Judge {
    pub(crate) fn new(flow: Flow, bounds: Bounds) -> Self {
        let mut roles = Vec::new();
        let per_caller = if flow.retry == Retry::None { 1 } else { 2 };
        for caller in 0..bounds.callers {
            for nth in 0..per_caller {
                let index = roles.len();
                let first = index - nth;
                roles.push(Role {
                    kin: Kin::Caller(caller),
                    retry_of: (nth > 0).then_some(first as u8),
                    // "With two or more callers the last one asks for another payload."
                    other_payload: flow.object.bound && bounds.callers >= 2 && caller == bounds.callers - 1,
                    key: caller as usize,
                    same_caller: ((1 << per_caller) - 1) << first,
                });
            }
        }
        let alone = |kin, key, index: usize| Role {
            kin,
            retry_of: None,
            other_payload: false,
            key,
            same_caller: 1 << index,
        };
        let mut key = bounds.callers as usize;
        for (kin, there) in
            [(Kin::OtherTenant, flow.object.owner), (Kin::Scanner, flow.get), (Kin::Fresh, true)]
        {
            if there {
                roles.push(alone(kin, key, roles.len()));
                key += 1;
            }
        }
        Self { flow, bounds, roles }
    }

    pub(crate) fn initial(&self) -> World {
        let issued = self.flow.object.approvers == 0;
        let kept = self.flow.keeps_outcomes();
        World {
            status: if issued { Status::Approved } else { Status::Pending },
            count: 0,
            users: 0,
            used_by: None,
            clock_passed: false,
            source_drifted: false,
            target_drifted: false,
            was_usable: issued,
            was_revoked: false,
            decided: 0,
            yes: 0,
            approvers_said_yes: 0,
            requester_said_yes: false,
            scanner_pressed: false,
            crashes_left: self.bounds.crashes,
            faults_left: self.bounds.faults,
            attempts: vec![Attempt::NOT_BEGUN; self.roles.len() - 1],
            keys: if kept {
                vec![KeyRow::default(); self.roles.last().expect("fresh").key + 1]
            } else {
                Vec::new()
            },
            lease: None,
            fence: 0,
            events: 0,
            effects: [0; 3],
            jobs: Vec::new(),
            keyed_effects: Vec::new(),
            deploys: Vec::new(),
            targets_created: 0,
            targets: 0,
            building: 0,
            target_writers: [None; 8],
            vault_writer: None,
        }
    }

    /// "while it is usable"
    pub(crate) fn usable(&self, world: &World) -> bool {
        world.status == Status::Approved && !world.clock_passed
    }
}
