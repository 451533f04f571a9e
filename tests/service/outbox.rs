//! Launch jobs: leased once, fenced, launched again under the same key, and settled at the end.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use countersign::{
    protocol::{Digest, End, Flow, Timestamp},
    service::{Deployer, InMemoryDeployer, Launch, Terms, Worked, launch, work},
    store::{Ask, JobState, StackStatus, Store},
};
use countersign_models::fixtures::{HandClock, at_once};
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM};

const APPROVAL: Uuid = Uuid::from_u128(1);

fn executed() -> (Platform, Ask) {
    let platform = Platform::new();
    let ask = platform.approved();
    assert!(matches!(platform.promote(&Flow::atomic_commit(), &ask), End::Succeeded { .. }));
    (platform, ask)
}

fn later(ms: u64) -> Timestamp {
    Timestamp(OPENS.0 + ms)
}

#[test]
fn a_leased_job_is_nobody_elses_until_the_lease_runs_out() {
    let (platform, _) = executed();
    let lease = || at_once(platform.store.lease_job(later(100))).expect("nothing fails");
    let first = lease().expect("there is a job");
    assert_eq!(lease(), None);
    platform.clock.advance_ms(99);
    assert_eq!(lease(), None);
    platform.clock.advance_ms(1);
    let second = lease().expect("the lease has run out");
    assert!(second.fence > first.fence);
    assert_eq!((second.approval, second.digest, second.target), (first.approval, first.digest, first.target));
}

#[test]
fn a_worker_whose_lease_ran_out_can_neither_renew_nor_finish() {
    let (platform, ask) = executed();
    let lease = |until| at_once(platform.store.lease_job(until)).expect("nothing fails");
    let stale = lease(later(100)).expect("there is a job");
    platform.clock.advance_ms(100);
    let fresh = lease(later(200)).expect("the lease has run out");
    assert!(!at_once(platform.store.renew_lease(&stale, later(900))).expect("nothing fails"));
    assert!(!at_once(platform.store.finish_job(&stale, StackStatus::Healthy)).expect("nothing fails"));
    let target = || platform.store.stacks(TEAM).last().expect("the target").status;
    assert_eq!(target(), StackStatus::Building, "a stale worker settles nothing");
    let state = || platform.store.job(TEAM, ask.request.approval).expect("there is a job").state;
    assert_eq!(state(), JobState::Leased { fence: fresh.fence, until: later(200) });
    assert!(at_once(platform.store.renew_lease(&fresh, later(900))).expect("nothing fails"));
    assert_eq!(state(), JobState::Leased { fence: fresh.fence, until: later(900) });
    assert!(at_once(platform.store.finish_job(&fresh, StackStatus::Healthy)).expect("nothing fails"));
    assert_eq!((state(), target()), (JobState::Done, StackStatus::Healthy));
    platform.clock.advance_ms(10_000);
    assert_eq!(lease(later(20_000)), None, "what is done is done");
}

#[test]
fn a_job_that_is_launched_twice_is_one_launch() {
    let (platform, ask) = executed();
    let worked = |until| {
        let lease = at_once(platform.store.lease_job(until)).expect("nothing fails")?;
        at_once(launch(&lease, &platform.deployer));
        Some(lease)
    };
    assert!(worked(later(100)).is_some());
    platform.deployer.kill();
    platform.clock.advance_ms(100);
    let again = worked(later(200)).expect("the lease has run out");
    assert_eq!(worked(later(200)), None);
    assert_eq!(platform.deployer.effective().len(), 1, "one key, one launch");
    let running = platform.deployer.running();
    assert_eq!(running.len(), 1);
    let launch = running[0].launch;
    assert_eq!((launch.key, launch.digest), (Some(ask.request.approval), again.digest));
}

#[test]
fn launches_without_a_key_are_as_many_as_there_were_calls() {
    let deployer = InMemoryDeployer::default();
    let launched_as =
        |key, digest| Launch { approval: APPROVAL, key, digest: Digest([digest; 32]), target: None };
    for (key, digest) in [(None, 1), (None, 1), (Some(APPROVAL), 2), (Some(APPROVAL), 2), (None, 3)] {
        at_once(deployer.launch(launched_as(key, digest)));
    }
    let launched =
        [launched_as(None, 1), launched_as(None, 1), launched_as(Some(APPROVAL), 2), launched_as(None, 3)];
    assert_eq!(deployer.effective(), launched);
    let numbers = |deployer: &InMemoryDeployer| -> Vec<u64> {
        deployer.running().iter().map(|running| running.number).collect()
    };
    assert_eq!(numbers(&deployer), [0, 1, 2, 3]);
    assert_eq!(
        deployer.end(1, StackStatus::Healthy).map(|running| running.launch),
        Some(launched_as(None, 1))
    );
    assert_eq!(numbers(&deployer), [0, 2, 3]);

    let copy = deployer.clone();
    deployer.kill();
    assert_eq!((numbers(&deployer), deployer.effective().len()), (vec![], 4), "launched stays launched");
    assert_eq!(numbers(&copy), [0, 2, 3], "a copy goes its own way");
    // Another approval's key is another deploy.
    let other = Launch { key: Some(Uuid::from_u128(9)), ..launched_as(None, 2) };
    at_once(copy.launch(other));
    assert_eq!(copy.effective().len(), 5);
}

#[test]
fn a_deploy_that_ends_settles_its_target_as_it_ended() {
    for ended in [StackStatus::Healthy, StackStatus::Failed] {
        let (platform, ask) = executed();
        let status = || platform.store.stacks(TEAM).last().expect("the target").status;
        assert_eq!(status(), StackStatus::Building);
        let clock = HandClock::at(OPENS);
        let mut worker =
            pin!(work(&platform.store, &platform.deployer, Terms { clock: &clock, lease_ms: 100 }));
        let mut poll = || worker.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending(), "it waits for the deploy");
        let running = platform.deployer.running()[0];
        assert!(platform.deployer.end(running.number, ended).is_some(), "it runs");
        assert_eq!(platform.deployer.end(running.number, ended), None, "it has ended");
        assert_eq!(poll(), Poll::Ready(Ok(Worked::Finished(ended))));
        assert_eq!(status(), ended);
        let approval = ask.request.approval;
        let job = platform.store.job(TEAM, approval).expect("there is a job");
        assert_eq!(job.state, JobState::Done);
        // What is not building stays as it is.
        at_once(platform.store.settle(approval, None, StackStatus::Healthy)).expect("nothing fails");
        assert_eq!(status(), ended);
    }
}
