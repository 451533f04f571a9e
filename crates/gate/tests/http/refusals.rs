//! Every refusal over HTTP: its status, its code, and its precedence.

use std::collections::BTreeSet;

use countersign::{
    protocol::{Act, Consume, Flow, Guards, Lease, Refusal, Step, StepAction, Via, Write, WriteTarget},
    store::{Plan, Team},
};
use countersign_gate::http::{ClaimedPlan, Claims, Flows};
use countersign_testkit::Seed;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::gate::{Answer, Call, Gate, TEAM, admin, bearer, claims, dev, id_in, service};

/// A promote with an approval, and the world that it meets.
#[derive(Clone)]
struct Attempt {
    session: bool,
    plan: Option<ClaimedPlan>,
    email: Option<&'static str>,
    slug: Option<&'static str>,
    extra: bool,
    from: Option<&'static str>,
    to: &'static str,
    approval: Option<&'static str>,
    /// Target environment of the approval.
    approved_to: &'static str,
    decided: bool,
    late: bool,
    drifted: bool,
    vault_reference: bool,
    cap: usize,
    outages: Vec<Refusal>,
}

impl Attempt {
    fn good() -> Self {
        Self {
            session: true,
            plan: None,
            email: Some("dev@example.com"),
            slug: None,
            extra: false,
            from: None,
            to: "production",
            approval: None,
            approved_to: "production",
            decided: true,
            late: false,
            drifted: false,
            vault_reference: false,
            cap: 50,
            outages: Vec::new(),
        }
    }

    async fn answer(&self) -> Answer {
        let gate = Gate::new();
        if self.vault_reference {
            let path = format!("/api/v1/stacks/{}/env", gate.slug);
            let patch = Call::new("PATCH", &path).by(&admin()).header("break-glass", "it is to be missing");
            assert_eq!(gate.send(patch.json(&json!({"A": "vault:MISSING"}))).await.status, 200);
        }
        let ask = json!({"to": self.approved_to});
        let pending = gate.send(Call::new("POST", &gate.promote_path()).by(&dev()).json(&ask)).await;
        let approval = id_in(&pending, "approval_id");
        if self.decided {
            gate.decide(approval, "approve").await;
        }
        if self.late {
            gate.clock.advance_ms(24 * 60 * 60 * 1000);
        }
        if self.drifted {
            let mut drifted = service(Some("shop:1"));
            drifted.port = Some(81);
            gate.store.seed_services(TEAM, gate.source, vec![drifted]);
        }
        self.send(&gate, approval).await
    }

    async fn send(&self, gate: &Gate, approval: Uuid) -> Answer {
        let caller = bearer(&Claims { plan: self.plan, email: self.email.map(str::to_owned), ..claims() });
        // The team is known from now on, and the store is not told about it again.
        gate.get("/api/v1/stacks/none", &caller).await;
        gate.store.seed_team(TEAM, Team { plan: Plan::Pro, deployment_cap: self.cap });
        for outage in &self.outages {
            gate.store.begin_outage(TEAM, outage.clone());
        }
        let named = self.approval.map_or_else(|| approval.to_string(), str::to_owned);
        let mut body = json!({"to": self.to, "approval_id": named});
        if let Some(from) = self.from {
            body["from"] = json!(from);
        }
        if self.extra {
            body["surprise"] = json!(true);
        }
        let path = format!("/api/v1/stacks/{}/promote", self.slug.unwrap_or(&gate.slug));
        let call = Call::new("POST", &path).json(&body);
        gate.send(if self.session { call.by(&caller) } else { call }).await
    }
}

/// Something wrong, and the code that it causes.
type Wrong = (u16, &'static str, fn(&mut Attempt));

/// In the order in which they are checked by `atomic-commit`. A lookup that fails finds nothing out: it comes before
/// what it would have found.
const WRONGS: [Wrong; 19] = [
    (401, "unauthorized", |it| it.session = false),
    (402, "plan_required", |it| it.plan = Some(ClaimedPlan::Free)),
    (404, "not_found", |it| it.slug = Some("shop-000000000001")),
    (400, "invalid_body", |it| it.extra = true),
    (400, "invalid_env", |it| it.from = Some("no blanks")),
    (400, "invalid_target", |it| it.to = it.from.unwrap_or("staging")),
    (409, "env_mismatch", |it| it.from = Some("qa")),
    (400, "missing_email", |it| it.email = None),
    (400, "invalid_approval_id", |it| it.approval = Some("17")),
    (503, "lookup_failed", |it| it.outages.push(Refusal::LOOKUP_FAILED)),
    (404, "approval_not_found", |it| it.approval = Some("00000000-0000-0000-0000-000000000001")),
    (409, "approval_not_approved", |it| it.decided = false),
    (400, "approval_mismatch", |it| it.approved_to = "qa"),
    (410, "approval_expired", |it| it.late = true),
    (409, "approval_payload_mismatch", |it| it.drifted = true),
    (503, "fetch_failed", |it| it.outages.push(Refusal::FETCH_FAILED)),
    (503, "env_load_failed", |it| it.outages.push(Refusal::ENV_LOAD_FAILED)),
    (503, "execute_failed", |it| it.outages.push(Refusal::EXECUTE_FAILED)),
    (402, "deployment_limit_reached", |it| it.cap = 1),
];

#[tokio::test]
async fn of_two_refusals_that_apply_the_earlier_one_is_the_answer() {
    assert_eq!(Attempt::good().answer().await.status, 202);
    for (first, (status, code, spoil_first)) in WRONGS.iter().enumerate() {
        for (_, second, spoil_second) in &WRONGS[first..] {
            let mut attempt = Attempt::good();
            spoil_second(&mut attempt);
            spoil_first(&mut attempt);
            let answer = attempt.answer().await;
            assert_eq!(answer.problem(), (*status, (*code).to_owned()), "with {second}: {}", answer.text);
        }
    }
}

/// The answer of the flow of this step and a consume, during an outage of its refusal.
async fn during_outage(action: StepAction, refusal: Refusal) -> Answer {
    let consume = StepAction::Consume(Consume::new(Guards::ALL));
    let flow = Flow::of_steps(vec![Step::from(action), Step::from(consume)]).expect("a flow");
    let gate = Gate::with(|parts| parts.flows.stacks = flow);
    let approval = gate.approved().await;
    gate.store.begin_outage(TEAM, refusal);
    gate.send(gate.promote(Some(approval))).await
}

fn write(refusal: Refusal) -> StepAction {
    StepAction::Write(Write { refusals: vec![refusal], ..Write::new(WriteTarget::Target) })
}

/// A twin's promote, when something is wrong.
async fn twin(spoil: impl FnOnce(&Gate), twice: bool) -> Answer {
    let gate = Gate::new();
    let body = json!({"name": "db", "type": "postgres", "env": "development"});
    let id = id_in(&gate.send(Call::new("POST", "/api/v1/resources").by(&dev()).json(&body)).await, "id");
    let call = |body: &Value| {
        Call::new("POST", &format!("/api/v1/resources/{id}/provision-twin")).by(&dev()).json(body)
    };
    let mut approvals = Vec::new();
    for name in ["one", "two"] {
        let body = json!({"env": "production", "name": name});
        let approval = id_in(&gate.send(call(&body)).await, "approval_id");
        gate.decide(approval, "approve").await;
        approvals.push((approval, name));
    }
    spoil(&gate);
    let mut answers = Vec::new();
    for (approval, name) in approvals.into_iter().take(if twice { 2 } else { 1 }) {
        let body = json!({"env": "production", "name": name, "approval_id": approval});
        answers.push(gate.send(call(&body)).await);
    }
    answers.pop().expect("one was sent")
}

/// A concurrent consumer has won: nothing has looked at the status before.
async fn lost_race() -> Answer {
    let consume = StepAction::Consume(Consume::new(Guards::ALL));
    let flow = Flow::of_steps(vec![Step::from(consume)]).expect("a flow");
    let gate = Gate::with(|parts| parts.flows = Flows { stacks: flow.clone(), twins: flow });
    let approval = gate.approved().await;
    assert_eq!(gate.send(gate.promote(Some(approval))).await.status, 200);
    gate.send(gate.promote(Some(approval))).await
}

/// A request for a stack with these services.
async fn asked_with(services: Vec<countersign::store::Service>) -> Answer {
    let gate = Gate::new();
    gate.store.seed_services(TEAM, gate.source, services);
    gate.send(gate.promote(None)).await
}

async fn unresolved() -> Answer {
    let mut attempt = Attempt::good();
    attempt.vault_reference = true;
    attempt.answer().await
}

async fn reused_key() -> Answer {
    let gate = Gate::new();
    gate.send(gate.promote(None).key("mine")).await;
    let body = json!({"to": "qa"});
    gate.send(Call::new("POST", &gate.promote_path()).by(&dev()).json(&body).key("mine")).await
}

async fn key_in_flight() -> Answer {
    use countersign::store::Operations;
    use sha2::{Digest, Sha256};
    let gate = Gate::new();
    let body = json!({"to": "qa"});
    // As another process does that has begun the same request.
    let mut hash = Sha256::new();
    for part in ["POST", &gate.promote_path()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = countersign::protocol::Digest(hash.chain_update(body.to_string()).finalize().into());
    gate.store.claim_key(TEAM, "mine", digest, u64::MAX).await.expect("nothing fails");
    gate.send(Call::new("POST", &gate.promote_path()).by(&dev()).json(&body).key("mine")).await
}

async fn decided_twice(path: impl Fn(Uuid) -> Call) -> Answer {
    let gate = Gate::new();
    let approval = gate.requested().await;
    gate.decide(approval, "reject").await;
    gate.send(path(approval)).await
}

#[tokio::test]
async fn every_refusal_can_be_got_with_its_status_and_its_code() {
    let mut got: BTreeSet<(u16, String)> = BTreeSet::new();
    for (_, _, spoil) in WRONGS {
        let mut attempt = Attempt::good();
        spoil(&mut attempt);
        got.insert(attempt.answer().await.problem());
    }
    for answer in [
        during_outage(write(Refusal::CREATE_FAILED), Refusal::CREATE_FAILED).await,
        during_outage(write(Refusal::UPDATE_FAILED), Refusal::UPDATE_FAILED).await,
        during_outage(StepAction::Act(Act::new(Via::Outbox)), Refusal::ENQUEUE_FAILED).await,
        twin(|gate| gate.store.begin_outage(TEAM, Refusal::PROVISION_FAILED), false).await,
        twin(|_| {}, true).await,
        lost_race().await,
        during_outage(StepAction::Lease(Lease::default()), Refusal::LEASE_FAILED).await,
        unresolved().await,
        asked_with(Vec::new()).await,
        asked_with(vec![service(None)]).await,
        reused_key().await,
        key_in_flight().await,
        decided_twice(|id| Call::new("POST", &Gate::link(id)).form("decision=approve")).await,
        decided_twice(|id| Call::new("POST", &format!("/api/v1/admin/promotions/{id}/reject")).by(&admin()))
            .await,
    ] {
        got.insert(answer.problem());
    }
    // A promote that is overtaken half-way is in `tests/service/refusals.rs`: over HTTP it cannot be paused there.
    let expected: BTreeSet<_> = Refusal::WELL_KNOWN
        .iter()
        .filter(|refusal| **refusal != Refusal::LEASE_LOST)
        .map(|refusal| (refusal.status(), refusal.code().to_owned()))
        .chain([(401, "unauthorized".to_owned())])
        .collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_refused_promote_says_that_its_approval_is_not_used() {
    for (status, code, spoil) in &WRONGS[15..] {
        let mut attempt = Attempt::good();
        spoil(&mut attempt);
        let body = attempt.answer().await.json();
        assert_eq!(body["approval_status"], "approved", "{status} {code}");
        assert_eq!((&body["consumed"], &body["retryable"]), (&json!(false), &json!(true)), "{code}");
    }
}

#[tokio::test]
async fn a_name_that_can_be_taken_for_another_environments_is_refused() {
    let gate = Gate::new();
    let source = json!({"name": "db", "type": "mongodb", "env": "development"});
    let source = gate.send(Call::new("POST", "/api/v1/resources").by(&dev()).json(&source)).await;
    let twin = format!("/api/v1/resources/{}/provision-twin", id_in(&source, "id"));
    for name in ["Production", "pr\u{43e}duction", "prod", "Staging", "productlon"] {
        let calls = [
            Call::new("POST", &gate.promote_path()).json(&json!({"to": name})),
            Call::new("POST", &twin).json(&json!({"env": name})),
            Call::new("POST", "/api/v1/stacks").json(&json!({"name": "s", "env": name, "services": []})),
            Call::new("POST", "/api/v1/resources").json(&json!({"name": "r", "type": "redis", "env": name})),
        ];
        for call in calls {
            let answer = gate.send(call.by(&dev())).await;
            assert_eq!(answer.problem(), (400, "env_look_alike".to_owned()), "{name}");
        }
    }
    let vault = Call::new("PUT", "/api/v1/vault/Production/KEY").by(&dev()).json(&json!({"value": "v"}));
    assert_eq!(gate.send(vault).await.problem(), (400, "env_look_alike".to_owned()));
}
