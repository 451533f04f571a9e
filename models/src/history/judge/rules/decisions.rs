//! The rules about decisions: S4, S10, S18, S19.

use super::{View, status, verdict};
use crate::history::{Action, Kind, Operation, judge::Finding};

impl<'t> View<'t> {
    pub(super) fn unapproved(&self) -> Finding {
        let approved = self.ok(Action::Approve).next();
        let withheld = self.trial.operations.iter().any(|operation| {
            operation.f == Action::Arrange && operation.details.who.as_deref() == Some("unapproved")
        });
        let Some(usage) = self.sent().first().copied() else { return Finding::NotExercised };
        if !withheld || approved.is_some() {
            return Finding::NotExercised;
        }
        verdict(self.ok(Action::Use).next().is_some() || self.used() == Some(true), || {
            format!(
                "used without an approval ({} got {})",
                usage.details.request.as_deref().unwrap_or("use"),
                status(usage)
            )
        })
    }

    /// An approval and a rejection that overlap. Where both are accepted, the rejection may revoke the approval; then
    /// no use succeeds.
    pub(super) fn decisions(&self) -> Finding {
        let overlap = |approval: &&Operation| {
            self.all(Action::Reject).any(|rejection| {
                rejection.invoked_ns < approval.completed_ns && approval.invoked_ns < rejection.completed_ns
            })
        };
        let Some(approval) = self.all(Action::Approve).find(overlap) else { return Finding::NotExercised };
        let rejected = self.ok(Action::Reject).next().is_some();
        let used = self.ok(Action::Use).any(|usage| usage.invoked_ns > approval.completed_ns);
        verdict(approval.kind == Kind::Ok && rejected && used, || {
            format!("the {} was approved, rejected and used", self.noun())
        })
    }

    /// The people whose approval was accepted.
    fn people(&self) -> Vec<&'t str> {
        let mut people: Vec<&str> =
            self.ok(Action::Approve).filter_map(|approval| approval.details.who.as_deref()).collect();
        people.sort_unstable();
        people.dedup();
        people
    }

    pub(super) fn approvers(&self) -> Finding {
        let pressed = self.all(Action::Approve).count() as u64;
        let distinct = self.people().len() as u64;
        let wanted = self.trial.promise.approvers;
        if pressed < 2 || distinct >= wanted || self.sent().is_empty() {
            return Finding::NotExercised;
        }
        verdict(self.ok(Action::Use).next().is_some(), || {
            format!("used after {distinct} of {wanted} approvers had said yes")
        })
    }

    pub(super) fn requester(&self) -> Finding {
        let people: Vec<&str> = self.all(Action::Approve).filter_map(|a| a.details.who.as_deref()).collect();
        if people != ["requester"] || self.sent().is_empty() {
            return Finding::NotExercised;
        }
        verdict(self.ok(Action::Use).next().is_some(), || {
            "used after the requester alone had approved".into()
        })
    }
}
