//! A store in memory by the real clock, with one team that has one stack, and an instance around it.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Flow, Outcome},
    service::{Driver, Launch},
    store::{
        Approvals, Clock, Decision, EnvVars, Ids, MemoryStore, Operations, Payload, Plan, PromotionRequest,
        Service, StackStatus, Store, Team, Verdict,
    },
};
use countersign_gate::{
    http::Metrics,
    instance::{
        Instance, Parts,
        deploy::{CommandLine, DeployMethod, DryRun},
        notify::{Channel, Folder, Retries, Sender},
        operators::Operators,
        system_clock::{Secret, SecretIds, SystemClock},
        workers::WorkerSettings,
    },
};
use countersign_models::fixtures::UseRequest;
use countersign_testkit::{Peek, Seed};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const TEAM: Uuid = Uuid::from_u128(0xA);
pub(crate) const REQUESTER: &str = "dev@example.com";
pub(crate) const OPERATOR: &str = "ops@example.com";

/// Long enough for any machine. Nothing waits for it but a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Platform {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) ids: Arc<SecretIds>,
    pub(crate) folder: TempDir,
    pub(crate) source: Uuid,
    pub(crate) copy_vault: bool,
}

impl Platform {
    pub(crate) fn new() -> Self {
        Self::by(Arc::new(SystemClock))
    }

    /// With a store that goes by this clock.
    pub(crate) fn by(clock: Arc<dyn Clock>) -> Self {
        crate::log::install();
        let ids = Arc::new(SecretIds::new(&Secret::new("a secret of 32 bytes, at least..")));
        let store = Arc::new(MemoryStore::new(clock, ids.clone()));
        store.seed_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 10 });
        let services = vec![Service {
            name: "web".to_owned(),
            image_ref: Some("shop:1".to_owned()),
            port: Some(80),
            expose: true,
        }];
        let source = store.seed_stack(TEAM, "shop", environment("staging"), services, EnvVars::new());
        Self { store, ids, folder: tempfile::tempdir().expect("a folder"), source, copy_vault: false }
    }

    /// With a source that has a variable and a vault key, whose values begin with `hunter`.
    pub(crate) fn with_values() -> Self {
        let platform = Self::new();
        let variables = [("MODE", "hunter1"), ("DB", "vault:DB_PASSWORD")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let (staging, services) = (environment("staging"), platform.store.stacks(TEAM)[0].services.clone());
        let source = platform.store.seed_stack(TEAM, "bank", staging.clone(), services.to_vec(), variables);
        platform.store.seed_vault(TEAM, staging, "DB_PASSWORD", "hunter2");
        Self { source, copy_vault: true, ..platform }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("text").to_owned()
    }

    /// An ask for which there is a pending approval.
    pub(crate) async fn requested(&self) -> UseRequest {
        let (from, to) = (environment("staging"), environment("production"));
        let binding = Binding { kind: Kind::Stack, from, to };
        let ask = PromotionRequest {
            team: TEAM,
            binding,
            requested_by: REQUESTER.into(),
            payload: Payload { source: self.source, name: None, copy_vault: self.copy_vault },
            key: None,
        };
        let requested = self.store.request_approval(&ask).await.expect("it answers");
        UseRequest::new(requested.record.approval.id, ask)
    }

    pub(crate) async fn approved(&self) -> UseRequest {
        let ask = self.requested().await;
        let token = &self.ids.token(ask.approval);
        let decided = self.store.decide(Decision::Operator { token, verdict: Verdict::Approve }).await;
        decided.expect("it answers").expect("it is pending");
        ask
    }

    /// An approval that is executed, by a promotion of this flow, and what it launches.
    pub(crate) async fn promoted(
        &self,
        flow: &Flow,
        instance: &Instance<impl Store + Operations + 'static>,
    ) -> Launch {
        let ask = self.approved().await;
        let digest = self.store.digest(&ask).expect("the team is there");
        let end = Driver::new(flow, &*self.store, &*instance.deployer)
            .expect("it is supported")
            .promote(ask.approval, &ask, digest)
            .await;
        let Outcome::Succeeded { target, .. } = end else { panic!("it should succeed: {end:?}") };
        let target = target.map(|target| target.id);
        let approval = ask.approval;
        instance.wakeups.wake_workers();
        Launch { approval, key: Some(approval), digest, target, fence: 1 }
    }

    /// The status of the stack in production.
    pub(crate) fn target(&self) -> Option<StackStatus> {
        let stacks = self.store.stacks(TEAM);
        stacks.iter().find(|stack| stack.env.as_str() == "production").map(|stack| stack.status)
    }

    /// Ends when the stack in production is no longer building.
    pub(crate) async fn settled(&self) -> StackStatus {
        until(|| self.target().filter(|status| *status != StackStatus::Building)).await
    }

    pub(crate) fn parts(&self, method: DeployMethod) -> Parts<MemoryStore> {
        self.parts_on(self.store.clone(), method)
    }

    /// The parts of an instance that sees the platform through this store.
    pub(crate) fn parts_on<S>(&self, store: Arc<S>, method: DeployMethod) -> Parts<S> {
        let sender = Sender::parse("countersign@example.com").expect("an address");
        let mails = Folder::open(self.folder.path().join("mail"), sender).expect("a folder");
        Parts {
            store,
            clock: Arc::new(SystemClock),
            ids: self.ids.clone(),
            method,
            channel: Channel::Folder(mails),
            operators: Arc::new(ArcSwap::from_pointee(operators(&[OPERATOR]))),
            public_url: "https://gate.example.com/".to_owned(),
            retries: Retries {
                first: Duration::from_millis(1),
                longest: Duration::from_millis(4),
                ..Retries::default()
            },
            workers: WorkerSettings::default(),
            drain: Duration::ZERO,
            metrics: Metrics::new(),
        }
    }

    /// An instance that runs a script for each deploy.
    pub(crate) fn with_script(&self, script: &str) -> Instance<MemoryStore> {
        Instance::start(self.parts(DeployMethod::Command(shell(script, self.folder.path()))))
    }
}

pub(crate) fn environment(name: &str) -> Environment {
    Environment::parse(name).expect("a legal name")
}

pub(crate) fn operators(addresses: &[&str]) -> Operators {
    let everywhere = addresses.iter().map(|&address| address.to_owned()).collect();
    Operators { everywhere, ..Operators::default() }
}

pub(crate) fn dry_run(duration: Duration) -> DeployMethod {
    DeployMethod::DryRun(DryRun { duration, fails: false })
}

/// A script in this folder, as a command.
pub(crate) fn shell(script: &str, folder: &Path) -> CommandLine {
    let script = format!("cd '{}' && {script}", folder.display());
    CommandLine {
        argv: ["/bin/sh", "-c", &script].map(str::to_owned).into(),
        timeout: PATIENCE,
        time_to_clean_up: Duration::from_secs(2),
        user: None,
        secrets: Vec::new(),
    }
}

/// Looks again and again until there is something to see.
pub(crate) async fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let seen = async {
        loop {
            match look() {
                Some(seen) => return seen,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("it comes in time")
}

/// A pipe with a name in this folder. Opening one end of it waits for the other.
pub(crate) fn fifo(platform: &Platform, name: &str) -> String {
    let path = platform.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    path
}
