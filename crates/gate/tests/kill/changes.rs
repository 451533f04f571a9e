//! Events between an approval and its use: it is revoked, or a newer version of its target goes out.

use countersign::protocol::Status;
use countersign_models::history::{Action, Details, Kind, Operation};
use serde_json::json;

use crate::{
    client::{now_ns, pause},
    kill::Campaign,
    life::{done, link},
};

impl Campaign {
    /// The administrator revokes it. Where the answer to the first press was lost, a later one is refused, and the status says
    /// what the first one did.
    pub(crate) fn revoke(&self, id: &str) -> Operation {
        let began_ns = now_ns();
        let path = format!("/api/v1/approvals/{id}/revoke");
        let answer = self.post(&self.administrator, &path, None, &json!({}));
        assert!(matches!(answer.status, 200 | 409), "{} {}", answer.status, answer.body);
        let is_revoked = answer.is_success() || self.status_now(id) == Status::Revoked;
        let kind = if is_revoked { Kind::Ok } else { Kind::Fail };
        Operation { kind, ..done(Action::Reject, began_ns, Details::default()) }
    }

    /// Promotes the stack as it is now, by an approval of its own, and waits for its deploy. Returns whether it is known to be
    /// used: flows that are broken may not say.
    pub(crate) fn promote(&self, slug: &str, key: &str) -> bool {
        let path = format!("/api/v1/stacks/{slug}/promote");
        let wish = json!({"from": "development", "to": "production"});
        let asked = self.post(&self.bearer, &path, Some(&format!("ask-{key}")), &wish);
        assert_eq!(asked.status, 202, "{}", asked.body);
        let id = asked.text("approval_id");
        self.approve(&link(&self.service.home.join("mail"), &id));
        let wish = json!({"from": "development", "to": "production", "approval_id": id});
        let used = self.post(&self.bearer, &path, Some(&format!("use-{key}")), &wish).is_success();
        for _ in 0..400 {
            if !self.is_building(slug) {
                break;
            }
            pause(50);
        }
        used
    }
}
