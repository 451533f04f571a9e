//! The instructions that a flow is lowered to: one for each atomic action.

use super::{
    Act, Atomicity, Checks, Consume, Guards, Member, OnConflict, Step, StepAction, Storage, Via, Write,
    WriteTarget,
};

/// One change to the store, within a [`Commit`](crate::protocol::effect::Commit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Use the object if [`consume`](crate::protocol::rules::consume) allows it.
    Consume(Swap),
    /// Create the target, or update it if it exists; its status becomes `building`.
    WriteTarget {
        /// Trust the earlier look instead of looking again: update what it found, or create another.
        trust_look: bool,
    },
    /// Copy the vault keys, overwriting none.
    WriteVault,
    /// Write the executed event.
    Audit,
    /// Write the job of the act with this index, unless the object has one for it.
    Enqueue {
        /// The index of the act among the flow's acts.
        act: u8,
    },
    /// Write the row of the act with this index.
    Row {
        /// The index of the act among the flow's acts.
        act: u8,
        /// A second row under the same key is a conflict.
        unique: bool,
    },
    /// Store the outcome under the request's key, and remove the marker.
    Remember,
}

impl Change {
    /// A consume under these guards, once and in full.
    pub const fn consume(guards: Guards) -> Self {
        Self::Consume(Swap {
            guards,
            trust_look: false,
            on_conflict: OnConflict::Refuse,
            accept_own: false,
            storage: Storage::Durable,
        })
    }
}

/// The swap of a consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Swap {
    /// The compared fields.
    pub guards: Guards,
    /// Write the count that an earlier read saw, plus one, instead of adding one to the current count.
    pub trust_look: bool,
    /// A conflict is ignored.
    pub on_conflict: OnConflict,
    /// A use by an earlier attempt of the same caller is accepted as this one's.
    pub accept_own: bool,
    /// Location of the count.
    pub storage: Storage,
}

/// One atomic action of a flow. [`Atomicity::ReadThenWrite`] makes two of one step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::protocol) enum Instruction {
    Validate { checks: Checks, accept_own: bool },
    Check,
    Recall { claim: bool },
    Lease,
    FindTarget,
    ReadObject(Swap),
    Commit(Vec<Change>),
    Start { act: u8 },
    Call { act: u8, key: bool },
    Prepare { act: u8 },
}

/// The atomic actions of `step`. `act` is the number of acts before it.
pub(super) fn instructions_of(step: &Step, act: u8) -> Vec<Instruction> {
    let commit = |change| Instruction::Commit(vec![change]);
    match &step.action {
        StepAction::Validate { checks, accept_own } => {
            vec![Instruction::Validate { checks: *checks, accept_own: *accept_own }]
        }
        StepAction::Check { .. } => vec![Instruction::Check],
        StepAction::Recall { claim, .. } => vec![Instruction::Recall { claim: *claim }],
        StepAction::Lease(_) => vec![Instruction::Lease],
        StepAction::Write(Write {
            what: WriteTarget::Target, atomicity: Atomicity::ReadThenWrite, ..
        }) => {
            vec![Instruction::FindTarget, commit(Change::WriteTarget { trust_look: true })]
        }
        StepAction::Write(write) => vec![commit(change_of_write(write))],
        // The guards are judged at the read; the write trusts it.
        StepAction::Consume(consume) if consume.atomicity == Atomicity::ReadThenWrite => {
            let write = Swap { guards: Guards::default(), trust_look: true, ..swap_of(consume) };
            vec![Instruction::ReadObject(swap_of(consume)), commit(Change::Consume(write))]
        }
        StepAction::Consume(consume) => vec![commit(Change::Consume(swap_of(consume)))],
        StepAction::Act(of) => vec![match of.via {
            Via::Memory => Instruction::Start { act },
            Via::Call { key } => Instruction::Call { act, key },
            Via::Answer => Instruction::Prepare { act },
            Via::Outbox | Via::Row { .. } => commit(change_of_act(of, act)),
        }],
        StepAction::Audit => vec![commit(Change::Audit)],
        StepAction::Remember => vec![commit(Change::Remember)],
        StepAction::Atomic(members) => {
            let mut act = act;
            let changes = members.iter().map(|member| match member {
                Member::Consume(consume) => Change::Consume(swap_of(consume)),
                Member::Write(write) => change_of_write(write),
                Member::Act(of) => {
                    act += 1;
                    change_of_act(of, act - 1)
                }
                Member::Audit => Change::Audit,
                Member::Remember => Change::Remember,
            });
            vec![Instruction::Commit(changes.collect())]
        }
    }
}

fn swap_of(consume: &Consume) -> Swap {
    let Consume { guards, on_conflict, storage, accept_own, atomicity: _, undo: _ } = *consume;
    Swap { guards, trust_look: false, on_conflict, accept_own, storage }
}

fn change_of_write(write: &Write) -> Change {
    match write.what {
        WriteTarget::Target => Change::WriteTarget { trust_look: false },
        WriteTarget::Vault => Change::WriteVault,
    }
}

fn change_of_act(of: &Act, act: u8) -> Change {
    match of.via {
        Via::Row { unique } => Change::Row { act, unique },
        // The other ways stand outside of the store: `Flow::new` lets none of them into a transaction.
        Via::Outbox | Via::Memory | Via::Call { .. } | Via::Answer => Change::Enqueue { act },
    }
}
