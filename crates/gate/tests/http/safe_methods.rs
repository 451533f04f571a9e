//! S15: no GET and no HEAD moves an approval.

use std::future::Future;

use countersign::{
    protocol::Status,
    store::{Approvals, Decision, Verdict},
};
use countersign_models::fixtures::token_of;
use countersign_testkit::Peek;
use uuid::Uuid;

use crate::gate::{Call, DESCRIPTION, Gate, TEAM, admin};

/// Every address of the surface, about this approval.
fn addresses(gate: &Gate, approval: Uuid) -> Vec<String> {
    let paths = DESCRIPTION["paths"].as_object().expect("paths");
    let fill = |template: &str| {
        let id = if template.contains("approvals") || template.contains("promotions") {
            approval
        } else {
            gate.source
        };
        let path = template
            .replace("{token}", &token_of(approval))
            .replace("{slug}", &gate.slug)
            .replace("{id}", &id.to_string())
            .replace("{name}", "web")
            .replace("{env}", "staging")
            .replace("{key}", "KEY");
        assert!(!path.contains('{'), "{path}");
        path
    };
    let mut all: Vec<_> = paths.keys().map(|template| fill(template)).collect();
    all.push(format!("/api/v1/audit?approval_id={approval}"));
    all.push(format!("{}?decision=approve", Gate::link(approval)));
    all
}

/// All that there is about the team's approvals.
fn everything(gate: &Gate, approvals: &[Uuid]) -> String {
    let standings: Vec<_> = approvals.iter().map(|id| gate.store.standing(*id)).collect();
    let jobs: Vec<_> = approvals.iter().map(|id| gate.store.job(TEAM, *id)).collect();
    let rest = gate.store.look(TEAM, |records| format!("{:?} {:?}", records.stacks, records.events));
    format!("{standings:?} {jobs:?} {rest:?}")
}

/// Asserts that reading everything, before and after the end of the window, changes nothing.
async fn looking_is_safe<F: Future<Output = ()>>(
    look: impl Fn(std::sync::Arc<Gate>, String, &'static str) -> F,
) -> bool {
    let gate = std::sync::Arc::new(Gate::new());
    let approvals = [gate.requested().await, gate.approved().await];
    for late in [0, 24 * 60 * 60 * 1000] {
        gate.clock.advance_ms(late);
        let before = everything(&gate, &approvals);
        for approval in approvals {
            for address in addresses(&gate, approval) {
                for method in ["GET", "HEAD"] {
                    gate.clock.advance_ms(1000);
                    look(gate.clone(), address.clone(), method).await;
                }
            }
        }
        if everything(&gate, &approvals) != before {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn no_get_and_no_head_changes_anything() {
    let look = async |gate: std::sync::Arc<Gate>, address: String, method: &'static str| {
        gate.send(Call::new(method, &address).by(&admin())).await;
    };
    assert!(looking_is_safe(look).await);
}

#[tokio::test]
async fn a_link_that_approves_when_it_is_looked_at_would_be_noticed() {
    let look = async |gate: std::sync::Arc<Gate>, address: String, _: &'static str| {
        if let Some(token) = address.strip_prefix("/approve/") {
            let decision = Decision::Operator { token, verdict: Verdict::Approve };
            let decided = gate.store.decide(decision).await.expect("nothing fails");
            assert!(
                decided.is_ok_and(|record| record.approval.status == Status::Approved) || !token.is_empty()
            );
        }
    };
    assert!(!looking_is_safe(look).await);
}
