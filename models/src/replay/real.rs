//! The real world around a store: its deployer, and promotions that are driven one action at a time.

use std::sync::Arc;

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Checkpoint, Digest, Effect, Outcome, Promotion, Retry, Timestamp},
    service::{InMemoryDeployer, launch, step},
    store::{
        Approvals, Decision, EnvVars, JobState, Lease, Leases, NewStack, Outbox, Payload, Plan,
        PromotionRequest, Service, Stack, StackStatus, Team, Tenants, Verdict, digest_of,
    },
};
use uuid::Uuid;

use super::{About, Records, StoreHarness, faulty::Faulty};
use crate::{
    fixtures::{UseRequest, token_of},
    model::{Action, Model, StepOutcome},
    properties::PromotionState,
};

/// The team whose approval is replayed.
pub const TEAM: Uuid = Uuid::from_u128(0xA);
const VAULT_KEY: &str = "KEY";
const OPENS: Timestamp = Timestamp(1_000);
/// Time between the use and the end of the window: a lease acquired then outlives it.
const LAST_MS: u64 = 10_000;
/// The worker's, so short that no crash makes an approval's lease run out, or its window.
const LEASE_MS: u64 = 100;

/// One promotion, between two actions.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    Waiting,
    Running(Checkpoint),
    Ended(Outcome),
    /// It succeeded, and its caller does not know.
    AnswerLost,
    Killed,
}

/// All that is real and not in the store.
#[derive(Clone)]
pub(super) struct Real {
    pub(super) deployer: InMemoryDeployer,
    pub(super) approval: Uuid,
    expires_at: Timestamp,
    /// Digest of the approved payload.
    pub(super) approved: Digest,
    /// Digest of the other stack, requested by the foreign consumer.
    pub(super) foreign: Option<Digest>,
    /// The source's name in addresses.
    slug: Arc<str>,
    /// The request of each consumer.
    asks: Arc<[UseRequest]>,
    pub(super) progress: Vec<Progress>,
    /// The deploy that each consumer's process has launched and that runs.
    pub(super) deploys: Vec<Option<u64>>,
    lease: Option<Lease>,
}

pub(super) fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

const SERVICE: &str = "web";

impl Real {
    /// A pending approval, two stacks of one family in staging, a vault key, and nothing in production.
    pub(super) fn new<R: StoreHarness>(model: &Model, harness: &mut R) -> Self {
        harness.set_clock(OPENS);
        let team = Team { plan: Plan::Pro, deployment_cap: 1_000 };
        harness.wait(harness.store().put_team(TEAM, team)).expect("nothing fails");
        harness
            .wait(harness.store().put_vault(TEAM, &environment("staging"), VAULT_KEY, "value"))
            .expect("nothing fails");
        let stack = |name: &str, parent: Option<Uuid>| -> Stack {
            let image_ref = Some("v1".to_owned());
            let service = Service { name: SERVICE.to_owned(), image_ref, port: Some(80), expose: true };
            let stack = NewStack {
                name: name.to_owned(),
                env: environment("staging"),
                parent,
                services: vec![service],
                env_vars: EnvVars::new(),
            };
            harness
                .wait(harness.store().create_stack(TEAM, stack))
                .expect("nothing fails")
                .expect("there is room")
        };
        let approved = stack("approved", None);
        let other = stack("other", Some(approved.id));
        let ask = |source, key| PromotionRequest {
            team: TEAM,
            binding: Binding {
                kind: Kind::Stack,
                from: environment("staging"),
                to: environment("production"),
            },
            requested_by: "dev@example.com".into(),
            payload: Payload { source, name: None, copy_vault: true },
            key,
        };
        let record = harness
            .wait(harness.store().request_approval(&ask(approved.id, None)))
            .expect("nothing fails")
            .record;
        let id = record.approval.id;
        harness.set_clock(Timestamp(record.approval.expires_at.0 - LAST_MS));
        let source = |attempt| if model.is_foreign(attempt) { other.id } else { approved.id };
        let has_keys = model.flow().endpoint().retry == Retry::Key;
        let asks: Arc<[UseRequest]> = (0..)
            .zip(model.cast())
            .map(|(attempt, cast)| {
                // A retry has the key of its caller's first attempt.
                let caller = cast.retry_of.unwrap_or(attempt);
                let key = has_keys.then(|| format!("key-{caller}").into());
                UseRequest::new(id, ask(source(attempt), key))
            })
            .collect();
        let attempts = asks.len();
        let foreign = asks.iter().find(|ask| ask.payload.source == other.id);
        Self {
            deployer: InMemoryDeployer::default(),
            approval: id,
            expires_at: record.approval.expires_at,
            approved: record.approval.digest,
            foreign: foreign.map(|ask| digest_of(ask, &other.services)),
            slug: approved.slug().into(),
            asks,
            progress: vec![Progress::Waiting; attempts],
            deploys: vec![None; attempts],
            lease: None,
        }
    }

    /// The part of the store that is compared.
    pub(super) fn about(&self) -> About {
        About { team: TEAM, approval: self.approval, env: environment("production"), key: VAULT_KEY }
    }

    /// Takes the action, really. `records` is what the store has before it.
    pub(super) fn act<R: StoreHarness>(
        &mut self,
        model: &Model,
        action: Action,
        harness: &mut R,
        records: &Records,
    ) {
        match action {
            Action::Approve(_) => self.operator(harness, Verdict::Approve),
            // The operator opens the link after the end of the window, and cannot approve.
            Action::Expire => self.operator(harness, Verdict::Approve),
            Action::Reject => {
                let decision =
                    Decision::Administrator { team: TEAM, approval: self.approval, by: "admin@example.com" };
                harness.wait(harness.store().decide(decision)).expect("nothing fails").ok();
            }
            Action::ClockPasses => {
                harness.set_clock(self.expires_at);
                // The worker is alive, and renews its lease.
                if let Some(lease) = &self.lease {
                    harness.wait(harness.store().renew_lease(lease, LEASE_MS)).expect("nothing fails");
                }
            }
            Action::SourceChanges => {
                harness
                    .wait(harness.store().put_image(TEAM, &self.slug, SERVICE, "v2"))
                    .expect("nothing fails")
                    .expect("the source is there");
            }
            Action::Promotion { consumer, outcome } => {
                self.promote(model, consumer.into(), outcome, harness, records);
            }
            Action::Lease { .. } => {
                self.lease = harness.wait(harness.store().lease_job(LEASE_MS)).expect("nothing fails");
            }
            Action::LaunchJob { .. } => {
                if let Some(lease) = &self.lease {
                    harness.wait(launch(lease, &self.deployer));
                }
            }
            Action::JobDeployEnds { .. } => {
                let running = self.deployer.running();
                let keyed = running.iter().find(|running| running.launch.key.is_some());
                if let (Some(keyed), Some(lease)) = (keyed, self.lease.take()) {
                    self.deployer.end(keyed.number, StackStatus::Healthy);
                    harness
                        .wait(harness.store().finish_job(&lease, StackStatus::Healthy))
                        .expect("nothing fails");
                }
            }
            Action::DeployEnds { consumer, .. } => {
                if let Some(number) = self.deploys[usize::from(consumer)].take() {
                    self.end_deploy(usize::from(consumer), number, harness);
                }
            }
            Action::LeaseEnds => {
                // The latest holder may have crashed: expiry is covered by the stores' own tests.
                let (fence, _) = records.lease;
                harness
                    .wait(harness.store().release_approval(TEAM, self.approval, fence))
                    .expect("nothing fails");
            }
            // The gate has none of these.
            Action::Revoke | Action::TargetChanges | Action::MarkerEnds { .. } => {}
            Action::Crash => self.crash(harness, records),
        }
    }

    fn operator<R: StoreHarness>(&self, harness: &R, verdict: Verdict) {
        let decision = Decision::Operator { token: &token_of(self.approval), verdict };
        // Too late is an answer, too.
        harness.wait(harness.store().decide(decision)).expect("nothing fails").ok();
    }

    fn promote<R: StoreHarness>(
        &mut self,
        model: &Model,
        consumer: usize,
        outcome: StepOutcome,
        harness: &R,
        records: &Records,
    ) {
        let ask = &self.asks[consumer];
        let mut promotion = match &self.progress[consumer] {
            Progress::Waiting => {
                let source = records.stacks.iter().find(|stack| stack.id == ask.payload.source);
                let services = source.map(|source| &*source.services).unwrap_or_default();
                Promotion::begin(model.flow(), &ask.request(), digest_of(ask, services))
            }
            Progress::Running(at) => Promotion::restore(model.flow(), &ask.request(), at)
                .expect("it is the checkpoint of this attempt"),
            Progress::Ended(_) | Progress::AnswerLost | Progress::Killed => return,
        };
        let is_answer_lost =
            promotion.effect() == Some(Effect::Answer) && outcome == StepOutcome::LosesAnswer;
        let deploys = self.deployer.running().len();
        let faulty = Faulty { store: harness.store(), harness, outcome, team: TEAM };
        harness.wait(step(&mut promotion, ask, &faulty, &self.deployer));
        let running = self.deployer.running();
        if running.len() > deploys {
            self.deploys[consumer] = running.last().map(|running| running.number);
        }
        self.progress[consumer] = match promotion.outcome() {
            Some(end) => {
                // The driver releases the lease in the same breath.
                if let Some(fence) = promotion.position().fence {
                    harness
                        .wait(harness.store().release_approval(ask.team, self.approval, fence))
                        .expect("nothing fails");
                }
                if is_answer_lost { Progress::AnswerLost } else { Progress::Ended(end.clone()) }
            }
            None => Progress::Running(promotion.checkpoint().expect("it has not ended")),
        };
    }

    /// Its target is healthy from now on.
    fn end_deploy<R: StoreHarness>(&self, consumer: usize, number: u64, harness: &R) {
        let Some(running) = self.deployer.end(number, StackStatus::Healthy) else { return };
        // A process knows its own promotion's target, also after the launch.
        let known = match &self.progress[consumer] {
            Progress::Running(at) => at.position().target.map(|target| target.id),
            Progress::Waiting | Progress::Ended(_) | Progress::AnswerLost | Progress::Killed => None,
        };
        let target = known.or(running.launch.target);
        harness
            .wait(harness.store().settle(running.launch.approval, target, StackStatus::Healthy))
            .expect("nothing fails");
    }

    fn crash<R: StoreHarness>(&mut self, harness: &mut R, records: &Records) {
        for progress in &mut self.progress {
            if matches!(progress, Progress::Running(_)) {
                *progress = Progress::Killed;
            }
        }
        self.deploys.fill(None);
        self.deployer.kill();
        // The lease expires without a renewal.
        if self.lease.take().is_some() {
            harness.set_clock(lease_end(records.now));
        }
    }
}

fn lease_end(now: Timestamp) -> Timestamp {
    Timestamp(now.0 + LEASE_MS)
}

pub(super) fn stage(progress: &Progress) -> PromotionState {
    match progress {
        Progress::Waiting => PromotionState::Waiting,
        Progress::Running(_) => PromotionState::Running,
        Progress::AnswerLost => PromotionState::AnswerLost,
        Progress::Killed => PromotionState::Killed,
        Progress::Ended(end) => crate::model::stage(end),
    }
}

pub(super) fn is_held(state: JobState, now: Timestamp) -> bool {
    matches!(state, JobState::Leased { until, .. } if now < until)
}
