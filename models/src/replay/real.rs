//! The real thing: a store in memory, its deployer and its clock, with promotions that are driven one action at a time.

mod faulty;
mod observed;

use std::sync::Arc;

use countersign::{
    protocol::{Binding, Checkpoint, Digest, End, Environment, Kind, Promotion, Request, Timestamp},
    service::{InMemoryDeployer, launch, step},
    store::{
        ApprovalRecord, Ask, Clock, Decision, EnvVars, JobState, Lease, MemoryStore, Payload, Plan, Service,
        StackStatus, Store, Team, Verdict,
    },
    strategy::Strategy,
};
use uuid::Uuid;

use self::faulty::Faulty;
pub use self::observed::Observed;
use crate::{
    fixtures::{CountingIds, HandClock, at_once, token_of},
    model::{Action, Model},
    properties::Stage,
};

const TEAM: Uuid = Uuid::from_u128(0xA);
const VAULT_KEY: &str = "KEY";
const OPENS: Timestamp = Timestamp(1_000);
const LEASE_MS: u64 = 30_000;

/// One promotion, between two actions.
#[derive(Clone, Debug)]
enum Progress {
    Waiting,
    Running(Checkpoint),
    Ended(End),
    Killed,
}

/// The real world.
pub struct Real<S> {
    store: MemoryStore<S>,
    deployer: InMemoryDeployer,
    clock: Arc<HandClock>,
    ids: Arc<CountingIds>,
    approval: ApprovalRecord,
    /// What each consumer asks for.
    asks: Arc<[Ask]>,
    progress: Vec<Progress>,
    /// The deploy that each consumer's process has launched and that runs.
    deploys: Vec<Option<u64>>,
    lease: Option<Lease>,
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

fn services(image: &str) -> Vec<Service> {
    let image_ref = Some(image.to_owned());
    vec![Service { name: "web".to_owned(), image_ref, port: Some(80), expose: true }]
}

impl<S: Strategy + Default> Real<S> {
    /// A pending approval, two stacks of one family in staging, a vault key, and nothing in production.
    pub(super) fn new(model: &Model) -> Self {
        let clock = Arc::new(HandClock::at(OPENS));
        let ids = Arc::new(CountingIds::default());
        let store = MemoryStore::<S>::new(clock.clone(), ids.clone());
        store.put_team(TEAM, Team { plan: Plan::Pro, deployment_cap: usize::MAX });
        store.put_vault(TEAM, environment("staging"), VAULT_KEY, "value");
        let stack = |name: &str| {
            let created =
                store.create_stack(TEAM, name, environment("staging"), services("v1"), EnvVars::new());
            created.expect("the team is there")
        };
        let (approved, other) = (stack("approved"), stack("other"));
        store.adopt_stack(TEAM, other, approved);
        let ask = |source, approval| Ask {
            request: Request {
                approval,
                team: TEAM,
                binding: Binding {
                    kind: Kind::Stack,
                    from: environment("staging"),
                    to: environment("production"),
                },
            },
            by: "dev@example.com".into(),
            payload: Payload { source, name: None, copy_vault: true },
            key: None,
        };
        let approval =
            at_once(store.request_approval(&ask(approved, Uuid::nil()))).expect("nothing fails in memory");
        let id = approval.approval.id;
        let consumers = model.bounds().consumers;
        let source = |consumer| if model.is_foreign(consumer) { other } else { approved };
        Self {
            store,
            deployer: InMemoryDeployer::default(),
            clock,
            ids,
            approval,
            asks: (0..consumers).map(|consumer| ask(source(consumer), id)).collect(),
            progress: vec![Progress::Waiting; consumers.into()],
            deploys: vec![None; consumers.into()],
            lease: None,
        }
    }

    /// The store, for a test to tamper with.
    pub fn store(&self) -> &MemoryStore<S> {
        &self.store
    }

    /// The approval that it is all about.
    pub fn approval(&self) -> Uuid {
        self.approval.approval.id
    }

    /// A copy that goes its own way.
    pub(super) fn fork(&self) -> Self {
        let clock = Arc::new(HandClock::at(self.clock.now()));
        let ids = Arc::new(CountingIds::clone(&self.ids));
        Self {
            store: self.store.fork(clock.clone(), ids.clone()),
            deployer: self.deployer.clone(),
            clock,
            ids,
            approval: self.approval.clone(),
            asks: Arc::clone(&self.asks),
            progress: self.progress.clone(),
            deploys: self.deploys.clone(),
            lease: self.lease.clone(),
        }
    }

    /// Takes the action, really.
    pub(super) fn act(&mut self, model: &Model, action: Action) {
        match action {
            Action::Approve => self.operator(Verdict::Approve),
            // The operator opens the link after its end, and says yes in vain.
            Action::Expire => self.operator(Verdict::Approve),
            Action::Reject => {
                let decision = Decision::Administrator {
                    team: TEAM,
                    approval: self.approval(),
                    by: "admin@example.com",
                };
                at_once(self.store.decide(decision)).expect("nothing fails in memory").ok();
            }
            Action::ClockPasses => {
                self.clock.set(self.approval.approval.expires_at);
                // The worker is alive, and renews what it holds.
                self.renew();
            }
            Action::SourceChanges => {
                let source = self.approval.payload.source;
                self.store.put_services(TEAM, source, services("v2"));
            }
            Action::Promotion { consumer, outcome } => self.promote(model, consumer.into(), outcome),
            Action::Lease => {
                let until = self.lease_end();
                self.lease = at_once(self.store.lease_job(until)).expect("nothing fails in memory");
            }
            Action::LaunchJob => {
                if let Some(lease) = &self.lease {
                    at_once(launch(lease, &self.deployer));
                }
            }
            Action::JobDeployEnds => {
                let running = self.deployer.running();
                let keyed = running.iter().find(|running| running.launch.key.is_some());
                if let (Some(keyed), Some(lease)) = (keyed, self.lease.take()) {
                    self.deployer.end(keyed.number, StackStatus::Healthy);
                    at_once(self.store.finish_job(&lease, StackStatus::Healthy))
                        .expect("nothing fails in memory");
                }
            }
            Action::DeployEnds { consumer } => {
                if let Some(number) = self.deploys[usize::from(consumer)].take() {
                    self.end_deploy(number);
                }
            }
            Action::Crash => self.crash(),
        }
    }

    fn operator(&self, verdict: Verdict) {
        let decision = Decision::Operator { token: &token_of(self.approval()), verdict };
        // Too late is an answer, too.
        at_once(self.store.decide(decision)).expect("nothing fails in memory").ok();
    }

    fn lease_end(&self) -> Timestamp {
        Timestamp(self.clock.now().0 + LEASE_MS)
    }

    fn renew(&self) {
        if let Some(lease) = &self.lease {
            at_once(self.store.renew_lease(lease, self.lease_end())).expect("nothing fails in memory");
        }
    }

    fn promote(&mut self, model: &Model, consumer: usize, outcome: crate::model::Outcome) {
        let ask = &self.asks[consumer];
        let mut promotion = match &self.progress[consumer] {
            Progress::Waiting => {
                let source = self.store.digest(ask).expect("the team is there");
                Promotion::begin(model.flow(), &ask.request, source)
            }
            Progress::Running(at) => Promotion::restore(model.flow(), &ask.request, *at),
            Progress::Ended(_) | Progress::Killed => return,
        };
        let deploys = self.deployer.running().len();
        let faulty = Faulty { store: &self.store, outcome, team: TEAM };
        at_once(step(&mut promotion, ask, &faulty, &self.deployer));
        let running = self.deployer.running();
        if running.len() > deploys {
            self.deploys[consumer] = running.last().map(|running| running.number);
        }
        self.progress[consumer] = match promotion.end() {
            Some(end) => Progress::Ended(end.clone()),
            None => Progress::Running(promotion.checkpoint()),
        };
    }

    /// Its target is healthy from now on.
    fn end_deploy(&self, number: u64) {
        let Some(running) = self.deployer.end(number, StackStatus::Healthy) else { return };
        // A process knows its own promotion's target, also one that was written after the launch.
        let own = self.deploys.iter().position(|deploy| *deploy == Some(number));
        let known = own.and_then(|consumer| match &self.progress[consumer] {
            Progress::Running(at) => at.target.map(|target| target.id),
            _ => None,
        });
        let target = known.or(running.launch.target);
        at_once(self.store.settle(running.launch.approval, target, StackStatus::Healthy))
            .expect("nothing fails in memory");
    }

    fn crash(&mut self) {
        for progress in &mut self.progress {
            if matches!(progress, Progress::Running(_)) {
                *progress = Progress::Killed;
            }
        }
        self.deploys.fill(None);
        self.deployer.kill();
        // Nobody renews the lease, and it runs out.
        if self.lease.take().is_some() {
            self.clock.advance_ms(LEASE_MS);
        }
    }

    fn digest_of(&self, consumer: usize) -> Option<Digest> {
        self.asks.get(consumer).and_then(|ask| self.store.digest(ask))
    }
}

fn stage(progress: &Progress) -> Stage {
    match progress {
        Progress::Waiting => Stage::Waiting,
        Progress::Running(_) => Stage::Running,
        Progress::Killed => Stage::Killed,
        Progress::Ended(end) => crate::model::stage(end),
    }
}

fn is_held(state: JobState, now: Timestamp) -> bool {
    matches!(state, JobState::Leased { until, .. } if now < until)
}
