//! Deploys: one for each key, and their targets settled as they end.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use countersign::{
    protocol::{Digest, Flow, Outcome},
    service::{Deployer, InMemoryDeployer, Launch, Terms, Worked, work},
    store::{JobState, Outbox, StackStatus},
};
use countersign_models::fixtures::{HandClock, UseRequest, run_ready};
use countersign_testkit::Peek;
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM};

const APPROVAL: Uuid = Uuid::from_u128(1);

fn executed() -> (Platform, UseRequest) {
    let platform = Platform::new();
    let ask = platform.approved();
    assert!(matches!(platform.promote(&Flow::atomic_commit(), &ask), Outcome::Succeeded { .. }));
    (platform, ask)
}

#[test]
fn launches_without_a_key_are_as_many_as_there_were_calls() {
    let deployer = InMemoryDeployer::default();
    let launched_as = |key, digest| Launch {
        approval: APPROVAL,
        key,
        digest: Digest([digest; 32]),
        target: None,
        fence: 0,
    };
    for (key, digest) in [(None, 1), (None, 1), (Some(APPROVAL), 2), (Some(APPROVAL), 2), (None, 3)] {
        run_ready(deployer.launch(&launched_as(key, digest)));
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
    run_ready(copy.launch(&other));
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
        let approval = ask.approval;
        let job = platform.store.job(TEAM, approval).expect("there is a job");
        assert_eq!(job.state, JobState::Done);
        // A target that is not building is unchanged.
        run_ready(platform.store.settle(approval, None, StackStatus::Healthy)).expect("nothing fails");
        assert_eq!(status(), ended);
    }
}
