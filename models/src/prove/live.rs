//! What an attempt still reads of what it remembers, by its next action.
//!
//! A flow goes from one action to the next: only `recall` jumps, to the answer. So a value is read later exactly when one of
//! the actions from the next one on reads it before another replaces it.

use countersign::protocol::{Change, Effect, OnError, StepAction};

use crate::model::Model;

/// A bit for each next action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Live {
    /// The digest that it holds.
    pub(super) held: Vec<bool>,
    /// The count and the status that it has read for a later write.
    pub(super) seen: Vec<bool>,
    /// The target that it has found for a later write.
    pub(super) found: Vec<bool>,
}

impl Live {
    /// `acts`: the digest with which an act takes effect is read, too.
    pub(super) fn new(model: &Model, acts: bool) -> Self {
        let actions: Vec<_> = model.actions_in_order().collect();
        let mut live = Self::default();
        let mut held = false;
        for (effect, step) in actions.iter().rev() {
            let (mut reads, mut seen, mut found) = (false, false, false);
            match effect {
                Effect::Validate { .. } | Effect::Check => {
                    // A fault that is ignored leaves the earlier one.
                    held &= step.is_some_and(|step| step.on_error == OnError::Continue);
                }
                Effect::ReadApproval { .. } => {
                    reads = step.is_some_and(|step| match &step.action {
                        StepAction::Consume(consume) => consume.guards.digest,
                        _ => false,
                    });
                }
                Effect::Commit(commit) => {
                    for change in commit.ops {
                        match change {
                            Change::Consume(swap) => {
                                reads |= swap.guards.digest;
                                seen |= swap.trust_look;
                            }
                            Change::WriteTarget { trust_look } => found |= trust_look,
                            Change::Row { .. } | Change::Enqueue { .. } | Change::Remember => reads |= acts,
                            Change::WriteVault | Change::Audit => {}
                        }
                    }
                }
                Effect::Launch { .. } | Effect::Call { .. } | Effect::Answer => reads = acts,
                Effect::Recall { .. }
                | Effect::Lease { .. }
                | Effect::FindTarget
                | Effect::Prepare { .. }
                | Effect::Undo { .. } => {}
            }
            held |= reads;
            live.held.push(held);
            live.seen.push(seen);
            live.found.push(found);
        }
        live.held.reverse();
        live.seen.reverse();
        live.found.reverse();
        live
    }
}
