//! A store, what is known of it from its answers, and how an act becomes a call. The same for every store.

use std::{fmt::Debug, sync::Arc};

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{
        Atomicity, Change, Commit, Consume, Digest, Flow, Member, Refusal, Step, StepAction, Swap, Target,
        Timestamp, Via, Write, WriteTarget,
    },
    service::{Driver, InMemoryDeployer},
    store::{
        Claim, Clock, Decision, DeployLog, EnvVars, Lease, NewResource, NewStack, Notice, NoticeState,
        Operations, Payload, Place, Plan, PromotionRequest, Query, Requested, ResourceKind, Stack,
        StackStatus, Store, Team, Tenants, Verdict, digest_of,
    },
};
use countersign_models::{
    fixtures::{HandClock, token_of},
    flows::BuiltIn,
};
use uuid::Uuid;

use super::acts::{Act, Wish};
use crate::platform::{TEAM, environment, service};

/// Another team. What is the first one's does not exist for it.
const OTHERS: Uuid = Uuid::from_u128(0xB);

const OF_TEAM: [Uuid; 2] = [OTHERS, TEAM];

pub(super) struct World<S> {
    store: S,
    clock: Arc<HandClock>,
    deployer: InMemoryDeployer,
    stacks: Vec<Stack>,
    twins: Vec<Uuid>,
    /// The requests, with the approvals that they were given.
    approvals: Vec<(PromotionRequest, Place)>,
    leases: Vec<Lease>,
    notices: Vec<Notice>,
    /// The claimed key, and the end of its claim.
    claims: Vec<(u8, Timestamp)>,
    /// The target that was found last, and whether it is a twin.
    looked: Option<(Target, bool)>,
}

impl<S: Store + Tenants + Operations> World<S> {
    pub(super) fn new(store: S, clock: Arc<HandClock>) -> Self {
        Self {
            store,
            clock,
            deployer: InMemoryDeployer::default(),
            stacks: Vec::new(),
            twins: Vec::new(),
            approvals: Vec::new(),
            leases: Vec::new(),
            notices: Vec::new(),
            claims: Vec::new(),
            looked: None,
        }
    }

    /// Two teams, of which one has a stack and a resource, and an approval that was given.
    pub(super) async fn begin(&mut self) {
        for team in [TEAM, OTHERS] {
            let plan = Team { plan: Plan::Pro, deployment_cap: 4 };
            self.store.put_team(team, plan).await.expect("nothing fails");
        }
        let wish = Wish { source: 0, twin: false, to: 1, name: None, copy_vault: true };
        for act in [
            Act::CreateStack { images: vec![Some(0)], speaks_of_vault: true },
            Act::CreateResource,
            Act::PutVault { env: 0, key: 0 },
            Act::Request(wish, None),
            Act::Decide { approval: 0, yes: true },
        ] {
            self.take(&act).await;
        }
    }

    /// Takes the act, and tells all that can be seen of what became of it.
    pub(super) async fn take(&mut self, act: &Act) -> String {
        let now = self.clock.now();
        let store = &self.store;
        match act {
            Act::Wait(ms) => {
                self.clock.advance_ms(*ms);
                String::new()
            }
            Act::Request(wish, key) => {
                let ask = self.ask(wish, *key);
                let requested = store.request_approval(&ask).await;
                if let Ok(Requested { record, .. }) = &requested {
                    let place = Place { created_at: record.created_at, id: record.approval.id };
                    self.approvals.push((ask, place));
                }
                told(requested)
            }
            Act::Decide { approval, yes } => {
                let token = token_of(self.approval(*approval).1.id);
                let verdict = if *yes { Verdict::Approve } else { Verdict::Reject };
                told(store.decide(Decision::Operator { token: &token, verdict }).await)
            }
            Act::RejectAsAdministrator { approval, ours } => {
                let (team, approval) = (OF_TEAM[usize::from(*ours)], self.approval(*approval).1.id);
                told(store.decide(Decision::Administrator { team, approval, by: "boss" }).await)
            }
            Act::ApproveByRule { approval, ours } => {
                let (team, approval) = (OF_TEAM[usize::from(*ours)], self.approval(*approval).1.id);
                told(store.decide(Decision::Policy { team, approval, by: "rule" }).await)
            }
            Act::Look { approval, ours } => {
                let (team, id) = (OF_TEAM[usize::from(*ours)], self.approval(*approval).1.id);
                told((
                    store.approval(team, id).await,
                    store.execution(team, id).await,
                    store.audit(id).await,
                    store.any_approval(id).await,
                    store.approval_by_token(&token_of(id)).await,
                    store.deploy_logs(id).await,
                    self.all_stacks().await,
                ))
            }
            Act::Read { wish, approval, ours } => {
                let mut ask = self.ask(wish, None);
                ask.team = OF_TEAM[usize::from(*ours)];
                told(store.read_approval(self.approval(*approval).1.id, &ask).await)
            }
            Act::Check { wish, refusals } => {
                let step = Step::from(StepAction::Check { refusals: refusals.clone() });
                told(store.check(Uuid::from_u128(1), &self.ask(wish, None), &step).await)
            }
            Act::FindTarget(wish) => {
                let how = Atomicity::ReadThenWrite;
                let step = StepAction::Write(Write { atomicity: how, ..Write::new(WriteTarget::Target) });
                let found = store.find_target(&self.ask(wish, None), &step.into()).await;
                if let Ok(Ok(found)) = found {
                    self.looked = found.map(|id| (Target { id, created: false }, wish.twin));
                }
                told(found)
            }
            Act::Commit { wish, approval, ops, key, stale, look } => {
                let (asked, place) = self.approval(*approval);
                let ask = self.ask(wish, *key);
                // Most are asked for what was approved.
                let ask = if *stale { ask } else { PromotionRequest { key: ask.key, ..asked } };
                let digest = if *stale { Digest([7; 32]) } else { self.digest(&ask).await };
                let target = self.looked_for(&ask).filter(|_| *look);
                let commit = Commit { approval: place.id, digest, target, fence: None, uses_seen: 0, ops };
                let committed = store.commit(&ask, &group(ops), commit).await;
                told((committed, self.all_stacks().await, store.audit(place.id).await))
            }
            Act::Promote { wish, approval, key, flow } => {
                let flow = flow_of(*flow);
                let (mut ask, place) = self.approval(*approval);
                ask.key = key_of(*key);
                ask.payload.copy_vault ^= wish.copy_vault && wish.twin;
                let digest = self.digest(&ask).await;
                let answer = Driver::new(&flow, store, &self.deployer)
                    .expect("it is supported")
                    .promote_once(place.id, &ask, digest)
                    .await;
                told((answer, self.all_stacks().await, store.audit(place.id).await))
            }
            Act::List { ours, status, limit, after } => {
                let team = ours.map(|ours| OF_TEAM[usize::from(ours)]);
                let after = after.map(|after| self.approval(after).1);
                told(store.list_approvals(&Query { team, status: *status, limit: *limit, after }).await)
            }
            Act::LeaseJob(ms) => {
                let lease = store.lease_job(*ms).await;
                self.leases.extend(lease.clone().ok().flatten());
                told(lease)
            }
            Act::Renew { lease, ms } => match back(&self.leases, *lease) {
                Some(lease) => told(store.renew_lease(lease, *ms).await),
                None => String::new(),
            },
            Act::Finish { lease, well } => match back(&self.leases, *lease) {
                Some(lease) => told((store.finish_job(lease, ended(*well)).await, self.all_stacks().await)),
                None => String::new(),
            },
            Act::Settle { approval, well } => {
                let (ask, Place { id, .. }) = self.approval(*approval);
                let target = self.looked_for(&ask).map(|target| target.id);
                told((store.settle(id, target, ended(*well)).await, self.all_stacks().await))
            }
            Act::LeaseNotice(ms) => {
                let notice = store.lease_notice(*ms).await;
                self.notices.extend(notice.clone().ok().flatten());
                told(notice)
            }
            Act::SettleNotice { notice, again } => match back(&self.notices, *notice) {
                // The stores notice at different times that a notice is no longer needed.
                Some(notice) if self.is_pending(notice.record.approval.id).await => {
                    let state = again.map_or(NoticeState::Done, |after_ms| NoticeState::Due { after_ms });
                    told(store.settle_notice(notice, state).await)
                }
                _ => String::new(),
            },
            Act::Claim { key, request, ms } => {
                let claimed = store.claim_key(TEAM, &key.to_string(), Digest([*request; 32]), *ms).await;
                if let Ok(Claim::Granted { until }) = claimed {
                    self.claims.push((*key, until));
                }
                told(claimed)
            }
            Act::Release { key, claim, keep } => {
                let claims: Vec<_> = self.claims.iter().filter(|(of, _)| of == key).collect();
                match back(&claims, *claim) {
                    Some((_, until)) => told(store.release_key(TEAM, &key.to_string(), *until, *keep).await),
                    None => String::new(),
                }
            }
            Act::LogDeploy { approval, exit_code } => {
                let approval = self.approval(*approval).1.id;
                let output = format!("{exit_code:?}");
                told(
                    store
                        .log_deploy(DeployLog { approval, ended_at: now, exit_code: *exit_code, output })
                        .await,
                )
            }
            Act::CreateStack { images, speaks_of_vault } => {
                let images = images.iter().map(|image| image.map(image_of));
                let speaks = speaks_of_vault.then(|| ("V".to_owned(), "vault:0".to_owned()));
                let stack = NewStack {
                    name: "Shop & Co".to_owned(),
                    env: environment("staging"),
                    parent: None,
                    services: images.map(|image| service(image.as_deref())).collect(),
                    env_vars: EnvVars::from_iter(speaks),
                };
                let created = store.create_stack(TEAM, stack).await;
                if let Ok(Ok(stack)) = &created {
                    self.stacks.push(stack.clone());
                }
                told(created)
            }
            Act::PutImage { source, image } => {
                let slug = self.source(*source).slug();
                told(store.put_image(TEAM, &slug, "web", &image_of(*image)).await)
            }
            Act::PatchEnv { source, name, value } => {
                let slug = self.source(*source).slug();
                let value =
                    value.map(|value| if value > 1 { format!("vault:{value}") } else { value.to_string() });
                let patched = store.patch_env(TEAM, &slug, &[(name.to_string(), value)].into()).await;
                let id = self.source(*source).id;
                told((
                    (patched, store.stack(OTHERS, &slug).await, store.stack(TEAM, &slug).await),
                    (store.stack_by_id(OTHERS, id).await, store.stack_by_id(TEAM, id).await),
                ))
            }
            Act::PutVault { env, key } => {
                told(store.put_vault(TEAM, &environment_of(*env), &key.to_string(), "value").await)
            }
            Act::CreateResource => {
                let (name, env) = ("db".to_owned(), environment("staging"));
                let created =
                    store.create_resource(TEAM, NewResource { name, kind: ResourceKind::Redis, env }).await;
                self.twins.extend(created.iter().map(|resource| resource.id));
                told(created)
            }
            Act::Cap(deployment_cap) => {
                let team = Team { plan: Plan::Enterprise, deployment_cap: *deployment_cap };
                told(store.put_team(TEAM, team).await)
            }
        }
    }

    /// The target that was found last, if the ask can be about it.
    fn looked_for(&self, ask: &PromotionRequest) -> Option<Target> {
        self.looked.filter(|(_, is_twin)| *is_twin == ask.is_twin()).map(|(target, _)| target)
    }

    fn source(&self, number: usize) -> &Stack {
        &self.stacks[number % self.stacks.len()]
    }

    /// One of the latest.
    fn approval(&self, number: usize) -> (PromotionRequest, Place) {
        back(&self.approvals, number % self.approvals.len()).expect("there is one from the beginning").clone()
    }

    async fn is_pending(&self, id: Uuid) -> bool {
        let record = self.store.any_approval(id).await.expect("nothing fails").expect("it is there");
        record.approval.status == countersign::protocol::Status::Pending
    }

    fn ask(&self, wish: &Wish, key: Option<u8>) -> PromotionRequest {
        let kind = if wish.twin { Kind::ResourceTwin } else { Kind::Stack };
        let from = environment("staging");
        let binding = Binding { kind, from, to: environment_of(1 + wish.to) };
        let source =
            if wish.twin { self.twins[wish.source % self.twins.len()] } else { self.source(wish.source).id };
        let name = wish.name.map(|name| format!("name {name}"));
        PromotionRequest {
            team: TEAM,
            binding,
            requested_by: "dev@example.com".into(),
            payload: Payload { source, name, copy_vault: wish.copy_vault },
            key: key_of(key),
        }
    }

    /// The digest of the current payload.
    async fn digest(&self, ask: &PromotionRequest) -> Digest {
        let services = self.all_stacks().await.into_iter().flatten();
        let source = services.into_iter().find(|stack| stack.id == ask.payload.source);
        digest_of(ask, source.as_ref().map_or(&[], |source| &source.services))
    }

    /// Every stack, family by family.
    async fn all_stacks(&self) -> Vec<Vec<Stack>> {
        let mut all = Vec::new();
        for root in &self.stacks {
            all.push(self.store.family(TEAM, root.id).await.expect("nothing fails"));
        }
        all
    }
}

/// The item `number` before the last.
fn back<T>(all: &[T], number: usize) -> Option<&T> {
    all.iter().rev().nth(number)
}

fn told(answer: impl Debug) -> String {
    format!("{answer:?}")
}

fn ended(well: bool) -> StackStatus {
    if well { StackStatus::Healthy } else { StackStatus::Failed }
}

fn image_of(number: u8) -> String {
    format!("image:{number}")
}

fn key_of(key: Option<u8>) -> Option<Arc<str>> {
    key.map(|key| key.to_string().into())
}

fn environment_of(number: u8) -> Environment {
    environment(["staging", "production", "qa"][usize::from(number)])
}

fn flow_of(number: usize) -> Flow {
    match ["consume-first", "twin-consume-first", "consume-last"].get(number) {
        Some(name) => BuiltIn::find(name).expect("it is built in").subject().flow,
        None => Flow::atomic_commit(),
    }
}

/// A step that does these changes, each with what it may refuse.
fn group(ops: &[Change]) -> Step {
    let members = ops.iter().map(|op| match op {
        Change::Consume(Swap { guards, .. }) => Member::Consume(Consume::new(*guards)),
        Change::WriteTarget { .. } => Member::Write(Write {
            refusals: vec![Refusal::TWIN_EXISTS, Refusal::NO_SERVICES, Refusal::DEPLOYMENT_LIMIT_REACHED],
            ..Write::new(WriteTarget::Target)
        }),
        Change::WriteVault => Member::Write(Write {
            refusals: vec![Refusal::VAULT_REF_FAILED],
            ..Write::new(WriteTarget::Vault)
        }),
        Change::Audit => Member::Audit,
        Change::Row { .. } | Change::Remember => unreachable!("none is drawn"),
        Change::Enqueue { .. } => Member::Act(countersign::protocol::Act::new(Via::Outbox)),
    });
    StepAction::Atomic(members.collect()).into()
}
