//! The worker, poll by poll: it waits, renews, launches again what died, and leaves a job alone that is no longer its own.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use countersign::{
    protocol::{Flow, Outcome, Timestamp},
    service::{Deployer, Launch, Terms, Worked, launch, work},
    store::{JobState, Lease, MemoryStore, Outbox, StackStatus, StoreError},
};
use countersign_models::fixtures::{HandClock, UseRequest, run_ready};
use countersign_testkit::{Faulty, Peek};
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM};

const LEASE_MS: u64 = 100;

fn executed() -> (Platform, UseRequest) {
    let platform = Platform::new();
    let ask = platform.approved();
    assert!(matches!(platform.promote(&Flow::atomic_commit(), &ask), Outcome::Succeeded { .. }));
    (platform, ask)
}

fn poll<T>(task: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    task.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn state(platform: &Platform, ask: &UseRequest) -> JobState {
    platform.store.job(TEAM, ask.approval).expect("there is a job").state
}

fn target(platform: &Platform) -> StackStatus {
    platform.store.stacks(TEAM).last().expect("the target").status
}

fn until(ms: u64) -> Timestamp {
    Timestamp(OPENS.0 + ms)
}

#[test]
fn without_a_job_there_is_nothing_to_do() {
    let platform = Platform::new();
    let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
    assert_eq!(run_ready(work(&platform.store, &platform.deployer, terms)), Ok(Worked::Nothing));
}

#[test]
fn a_lease_is_renewed_for_as_long_as_the_deploy_runs() {
    let (platform, ask) = executed();
    let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
    let mut worker = pin!(work(&platform.store, &platform.deployer, terms));
    for waited in [0, 60, 120, 180] {
        // Longer than a lease in total, in shorter steps.
        platform.clock.set(until(waited));
        assert!(poll(&mut worker).is_pending());
        let JobState::Leased { fence, until: ends } = state(&platform, &ask) else { panic!("it is leased") };
        assert_eq!((fence, ends), (1, until(waited + LEASE_MS)), "after {waited} ms");
    }
    assert_eq!(platform.deployer.effective().len(), 1);
    platform.deployer.end(platform.deployer.running()[0].number, StackStatus::Failed);
    assert_eq!(poll(&mut worker), Poll::Ready(Ok(Worked::Finished(StackStatus::Failed))));
    assert_eq!((state(&platform, &ask), target(&platform)), (JobState::Done, StackStatus::Failed));
}

#[test]
fn a_deploy_that_died_is_launched_again_and_is_the_same_launch() {
    let (platform, _) = executed();
    let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
    let mut worker = pin!(work(&platform.store, &platform.deployer, terms));
    assert!(poll(&mut worker).is_pending());
    platform.deployer.kill();
    assert_eq!(platform.deployer.running(), []);
    assert!(poll(&mut worker).is_pending());
    assert_eq!(platform.deployer.running().len(), 1, "it runs again");
    assert_eq!(platform.deployer.effective().len(), 1, "and is one launch");
}

#[test]
fn a_worker_that_slept_through_its_lease_leaves_the_job_alone() {
    for deploy_ends in [false, true] {
        let (platform, ask) = executed();
        let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
        let mut sleeper = pin!(work(&platform.store, &platform.deployer, terms));
        assert!(poll(&mut sleeper).is_pending());
        platform.clock.set(until(LEASE_MS));
        let other = run_ready(platform.store.lease_job(800)).expect("nothing fails");
        let other = other.expect("the lease has run out");
        if deploy_ends {
            platform.deployer.end(platform.deployer.running()[0].number, StackStatus::Healthy);
        }
        assert_eq!(poll(&mut sleeper), Poll::Ready(Ok(Worked::LeaseLost)));
        let held = JobState::Leased { fence: other.fence, until: until(900) };
        assert_eq!((state(&platform, &ask), target(&platform)), (held, StackStatus::Building));
    }
}

#[test]
fn a_worker_whose_clock_is_wrong_holds_its_job_as_long_as_any_other() {
    for wrong in [-3_600_000, 3_600_000] {
        let (platform, ask) = executed();
        let clock = HandClock::at(Timestamp(OPENS.0.saturating_add_signed(wrong)));
        let terms = Terms { clock: &clock, lease_ms: LEASE_MS };
        let mut worker = pin!(work(&platform.store, &platform.deployer, terms));
        for waited in [0, LEASE_MS / 2] {
            platform.clock.set(until(waited));
            assert!(poll(&mut worker).is_pending());
            let held = JobState::Leased { fence: 1, until: until(waited + LEASE_MS) };
            assert_eq!(state(&platform, &ask), held, "{wrong}");
        }
        platform.clock.set(until(LEASE_MS * 3 / 2 - 1));
        assert_eq!(run_ready(platform.store.lease_job(LEASE_MS)), Ok(None), "{wrong}");
        platform.clock.set(until(LEASE_MS * 3 / 2));
        assert!(matches!(run_ready(platform.store.lease_job(LEASE_MS)), Ok(Some(_))), "{wrong}");
        assert_eq!(poll(&mut worker), Poll::Ready(Ok(Worked::LeaseLost)));
    }
}

#[test]
fn a_deploy_that_has_ended_is_not_run_again_by_its_key() {
    let (platform, ask) = executed();
    let lease = run_ready(platform.store.lease_job(100)).expect("nothing fails").expect("a job");
    run_ready(launch(&lease, &platform.deployer));
    platform.deployer.end(platform.deployer.running()[0].number, StackStatus::Healthy);
    // The worker dies before it has written that down, and another one comes.
    platform.clock.set(until(100));
    let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
    let mut other = pin!(work(&platform.store, &platform.deployer, terms));
    assert!(poll(&mut other).is_pending());
    assert_eq!(platform.deployer.running(), [], "it has ended, and is the same deploy");
    assert_eq!(poll(&mut other), Poll::Ready(Ok(Worked::Finished(StackStatus::Healthy))));
    assert_eq!((state(&platform, &ask), target(&platform)), (JobState::Done, StackStatus::Healthy));
    // Another key is another deploy, regardless of the first one's end.
    let key = Some(Uuid::from_u128(77));
    let another =
        Launch { approval: lease.approval, key, digest: lease.digest, target: lease.target, fence: 0 };
    run_ready(platform.deployer.launch(&another));
    assert_eq!(platform.deployer.running().len(), 1);
}

/// Remembers how long it was to be waited for.
#[derive(Default)]
struct Patient(Mutex<Vec<u64>>);

impl Deployer for Patient {
    async fn launch(&self, _: &Launch) {}

    async fn outcome(&self, _: &Launch, patience_ms: u64) -> Option<StackStatus> {
        let mut waited = self.0.lock().expect("not poisoned");
        waited.push(patience_ms);
        (waited.len() == 3).then_some(StackStatus::Healthy)
    }
}

#[test]
fn a_deploy_is_waited_for_a_tenth_of_a_lease_at_a_time() {
    let (platform, _) = executed();
    let deployer = Patient::default();
    let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
    let worked = run_ready(work(&platform.store, &deployer, terms));
    assert_eq!(worked, Ok(Worked::Finished(StackStatus::Healthy)));
    assert_eq!(*deployer.0.lock().expect("not poisoned"), [LEASE_MS / 10; 3]);
}

/// A store that fails once when a lease is renewed, and once when a job is finished.
struct Failing<'a> {
    store: &'a Faulty<MemoryStore>,
    /// The returned error, and whether the change has happened nevertheless.
    failure: (StoreError, bool),
    renewals: AtomicUsize,
    finishes: AtomicUsize,
}

impl Failing<'_> {
    fn answer(&self, asked: &AtomicUsize, act: impl Fn() -> bool) -> Result<bool, StoreError> {
        if asked.fetch_add(1, Ordering::Relaxed) > 0 {
            return Ok(act());
        }
        let (error, happens) = self.failure.clone();
        if happens {
            act();
        }
        Err(error)
    }
}

impl Outbox for Failing<'_> {
    async fn lease_job(&self, lease_ms: u64) -> Result<Option<Lease>, StoreError> {
        self.store.lease_job(lease_ms).await
    }

    async fn renew_lease(&self, lease: &Lease, lease_ms: u64) -> Result<bool, StoreError> {
        let renew = || run_ready(self.store.renew_lease(lease, lease_ms)).expect("nothing fails");
        self.answer(&self.renewals, renew)
    }

    async fn finish_job(&self, lease: &Lease, ended: StackStatus) -> Result<bool, StoreError> {
        let finish = || run_ready(self.store.finish_job(lease, ended)).expect("nothing fails");
        self.answer(&self.finishes, finish)
    }

    countersign_models::settles_pass_through!(store);
}

#[test]
fn a_store_that_fails_once_is_asked_again_and_the_deploy_is_one() {
    for failure in [
        (StoreError::not_applied("injected"), false),
        (StoreError::unknown("injected"), false),
        (StoreError::unknown("injected"), true),
    ] {
        let (platform, ask) = executed();
        let (renewals, finishes) = Default::default();
        let store = Failing { store: &platform.store, failure: failure.clone(), renewals, finishes };
        let terms = Terms { clock: &*platform.clock, lease_ms: LEASE_MS };
        let mut worker = pin!(work(&store, &platform.deployer, terms));
        for _ in 0..4 {
            assert!(poll(&mut worker).is_pending(), "{failure:?}");
        }
        assert!(store.renewals.load(Ordering::Relaxed) > 1, "it was asked again");
        platform.deployer.end(platform.deployer.running()[0].number, StackStatus::Healthy);
        let worked = loop {
            if let Poll::Ready(worked) = poll(&mut worker) {
                break worked;
            }
        };
        // A change that has already happened is not repeated.
        let told = if failure.1 { Worked::LeaseLost } else { Worked::Finished(StackStatus::Healthy) };
        assert_eq!(worked, Ok(told), "{failure:?}");
        assert_eq!((state(&platform, &ask), target(&platform)), (JobState::Done, StackStatus::Healthy));
        assert_eq!(platform.deployer.effective().len(), 1, "{failure:?}");
    }
}
