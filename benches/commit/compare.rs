//! The bare consume, the commit and the whole promotion, on the same approvals.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Digest, Effect, Flow, Guards, Outcome, Position, Promotion, Timestamp},
    service::{Driver, InMemoryDeployer},
    store::{
        Approvals, Committed, Decision, EnvVars, MemoryStore, Payload, Plan, PromotionRequest, Service, Team,
        Verdict,
        memory::strategy::{self, DefaultStrategy, Strategy},
    },
};
use countersign_models::fixtures::{CountingIds, HandClock, UseRequest, run_ready, token_of};
use countersign_testkit::{Peek, Seed};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const COMMIT: &str = "commit of atomic-commit";

/// Number of approvals, and number of operations in a row.
pub(crate) fn sizes(is_test: bool) -> (usize, usize) {
    if is_test { (20_000, 1_000) } else { (1_000_000, 10_000) }
}

/// Draws that are good enough to mix an order.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

/// A million approvals, given.
pub(crate) struct Given {
    store: MemoryStore,
    bare: DefaultStrategy,
    asks: Vec<UseRequest>,
}

impl Given {
    pub(crate) fn new(approvals: usize, teams: u16) -> Self {
        let store = MemoryStore::new(Arc::new(HandClock::at(NOW)), Arc::new(CountingIds::default()));
        let environment = |name| Environment::parse(name).expect("a legal name");
        let (staging, production) = (environment("staging"), environment("production"));
        let binding = Binding { kind: Kind::Stack, from: staging.clone(), to: production };
        let mut asks = Vec::new();
        for team in 1..=teams {
            let team = Uuid::from_u128(u128::from(team) << 64);
            store.seed_team(team, Team { plan: Plan::Pro, deployment_cap: usize::MAX });
            store.seed_vault(team, staging.clone(), "KEY", "value");
            let image_ref = Some("shop:1".to_owned());
            let services = vec![Service { name: "web".to_owned(), image_ref, port: Some(80), expose: true }];
            let source = store.seed_stack(team, "shop", staging.clone(), services, EnvVars::new());
            let by: Arc<str> = "dev@example.com".into();
            for _ in 0..approvals / usize::from(teams) {
                let binding = binding.clone();
                let payload = Payload { source, name: None, copy_vault: true };
                let ask =
                    PromotionRequest { team, binding, requested_by: Arc::clone(&by), payload, key: None };
                let record = run_ready(store.request_approval(&ask)).expect("nothing fails in memory").record;
                asks.push(UseRequest::new(record.approval.id, ask));
            }
        }
        let mut dice = Dice(1);
        dice.shuffle(&mut asks);
        let bare = DefaultStrategy::default();
        for ask in &asks {
            let token = token_of(ask.approval);
            let decision = Decision::Operator { token: &token, verdict: Verdict::Approve };
            run_ready(store.decide(decision)).expect("nothing fails in memory").expect("it is pending");
            let standing = store.standing(ask.approval).expect("it was asked for");
            bare.insert(ask.approval, standing);
        }
        dice.shuffle(&mut asks);
        Self { store, bare, asks }
    }

    /// Each request with the digest that an attempt holds which reads before it commits.
    fn with_digests<'a>(&self, asks: &'a [UseRequest]) -> Vec<(&'a UseRequest, Digest)> {
        asks.iter().map(|ask| (ask, self.store.digest(ask).expect("the team is there"))).collect()
    }

    /// The commit of `atomic-commit`, after recall, validate and plan; whether it was applied.
    fn commit(&self, flow: &Flow, ask: &UseRequest, digest: Digest) -> bool {
        let at = Position { cursor: 3, ..Position::new(digest) };
        let promotion = Promotion::at_position(flow, &ask.request(), at);
        let (Some(Effect::Commit(commit)), Some(step)) = (promotion.effect(), promotion.step()) else {
            return false;
        };
        let committed = run_ready(self.store.commit(ask, step, commit));
        matches!(committed, Ok(Committed::Applied { target: Some(_) }))
    }

    /// The commits of the next chunk and nothing else, by nanoseconds for each; `None` when no whole chunk is left.
    pub(crate) fn commits_alone(&self, chunks: &mut std::ops::Range<usize>, chunk: usize) -> Option<f64> {
        let flow = Flow::atomic_commit();
        let next = self.asks.chunks_exact(chunk).nth(chunks.next()?)?;
        let mut taken = Taken { what: COMMIT, each: Vec::new() };
        taken.add(&self.with_digests(next), |ask, digest| self.commit(&flow, ask, digest));
        Some(taken.median())
    }
}

/// Time of one kind of work.
pub(crate) struct Taken {
    pub(crate) what: &'static str,
    /// For each chunk, nanoseconds for one.
    each: Vec<f64>,
}

impl Taken {
    fn add(&mut self, chunk: &[(&UseRequest, Digest)], mut work: impl FnMut(&UseRequest, Digest) -> bool) {
        #[expect(clippy::disallowed_methods, reason = "this is a benchmark")]
        let start = Instant::now();
        let mut done = 0;
        for (ask, digest) in chunk {
            done += usize::from(black_box(work(ask, *digest)));
        }
        let took: Duration = start.elapsed();
        assert_eq!(done, chunk.len(), "every one of these succeeds once");
        self.each.push(took.as_nanos() as f64 / chunk.len() as f64);
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.each.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// Bare consume, commit and whole promotion, taking turns.
pub(crate) fn compare(given: &Given, chunk: usize) -> [Taken; 3] {
    let flow = Flow::atomic_commit();
    let deployer = InMemoryDeployer::default();
    let taken = |what| Taken { what, each: Vec::new() };
    let [mut bare, mut commit, mut whole] = ["bare consume", COMMIT, "the whole promotion"].map(taken);
    let chunks: Vec<_> = given.asks.chunks(chunk).collect();
    for chunks in chunks.chunks_exact(2) {
        let [one, other] = [chunks[0], chunks[1]].map(|asks| given.with_digests(asks));
        bare.add(&one, |ask, digest| {
            strategy::consume(&given.bare, ask.approval, Guards::ALL, digest, NOW).is_ok()
        });
        commit.add(&one, |ask, digest| given.commit(&flow, ask, digest));
        whole.add(&other, |ask, digest| {
            let ended =
                run_ready(Driver::new(&flow, &given.store, &deployer).expect("it is supported").promote(
                    ask.approval,
                    ask,
                    digest,
                ));
            matches!(ended, Outcome::Succeeded { target: Some(_), .. })
        });
    }
    [bare, commit, whole]
}
