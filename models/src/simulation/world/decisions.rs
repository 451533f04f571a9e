//! Decisions of the operator and the administrator.

use countersign::{
    protocol::Status,
    store::{Approvals, Decision, Verdict},
};

use super::Simulation;
use crate::{fixtures::run_ready, model::Actor};

impl Simulation {
    /// The store decides if the approval is pending.
    pub(super) fn approve(&mut self, approval: u8) -> Option<()> {
        let observer = self.observers.get(usize::from(approval))?;
        (!observer.known.window_passed && self.operator_approves(approval)).then_some(())?;
        self.note(Actor::Operator, Actor::Store, approval, "approves");
        Some(())
    }

    pub(super) fn expire(&mut self, approval: u8) -> Option<()> {
        let observer = self.observers.get(usize::from(approval))?;
        (observer.status == Status::Pending && observer.known.window_passed).then_some(())?;
        self.operator_approves(approval);
        self.observers[usize::from(approval)].known.clean = false;
        let does = "opens the link too late: the approval expires";
        self.note(Actor::Operator, Actor::Store, approval, does);
        Some(())
    }

    pub(super) fn reject(&mut self, approval: u8) -> Option<()> {
        let observer = self.observers.get_mut(usize::from(approval))?;
        let by = "admin@example.com";
        let decision = Decision::Administrator { team: observer.team, approval: observer.id, by };
        run_ready(self.platform.store.decide(decision)).ok()?.ok()?;
        observer.known.clean = false;
        self.note(Actor::Administrator, Actor::Store, approval, "rejects");
        Some(())
    }

    /// True if this approves the approval.
    fn operator_approves(&self, approval: u8) -> bool {
        let token = &*self.observers[usize::from(approval)].token;
        let decision = Decision::Operator { token, verdict: Verdict::Approve };
        matches!(run_ready(self.platform.store.decide(decision)), Ok(Ok(_)))
    }
}
