//! What happens to jobs, launches, deploys and notices is counted. Each value is caused here.

use std::{sync::Arc, time::Duration};

use countersign::{
    protocol::{Flow, Timestamp},
    store::{APPROVAL_WINDOW_MS, Approvals, AuditKind, Decision, Ids, Operations, StackStatus, Verdict},
};
use countersign_gate::{
    http::Metrics,
    instance::{
        Instance, Parts,
        deploy::{DeployMethod, DryRun},
        notify::{Channel, Notifier, Sender, Smtp},
        stop::{Phase, Stopper},
        workers::WorkerSettings,
    },
};
use countersign_models::fixtures::HandClock;
use countersign_testkit::Breaking;

use crate::{
    platform::{Platform, dry_run, shell, until},
    renewals::{Renewal, scripted, start},
};

/// Longer than the test.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The value of this series, or 0 without it.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

/// Waits until this series has this value.
async fn reaches(metrics: &Metrics, series: &str, expected: f64) {
    until(|| (value(metrics, series) == expected).then_some(())).await;
}

fn counted(platform: &Platform, method: DeployMethod) -> (Metrics, Parts<countersign::store::MemoryStore>) {
    let metrics = Metrics::new();
    (metrics.clone(), Parts { metrics, ..platform.parts(method) })
}

#[tokio::test]
async fn a_launch_and_a_deploy_by_its_result() {
    for (fails, outcome) in [(false, "healthy"), (true, "failed")] {
        let platform = Platform::new();
        let method = DeployMethod::DryRun(DryRun { duration: Duration::ZERO, fails });
        let (metrics, parts) = counted(&platform, method);
        let instance = Instance::start(parts);
        platform.promoted(&Flow::atomic_commit(), &instance).await;
        let expected = if fails { StackStatus::Failed } else { StackStatus::Healthy };
        assert_eq!(platform.settled().await, expected);
        reaches(&metrics, "launch_jobs_total{outcome=\"finished\"}", 1.0).await;
        for series in [
            "launches_total".to_owned(),
            "launch_jobs_total{outcome=\"leased\"}".to_owned(),
            format!("deploys_total{{outcome=\"{outcome}\"}}"),
        ] {
            assert_eq!(value(&metrics, &series), 1.0, "{series}");
        }
        instance.stop().await;
    }
}

#[tokio::test]
async fn a_command_is_launched_when_it_was_started_and_not_before() {
    let platform = Platform::new();
    let mut command = shell("exit 0", platform.folder.path());
    let (metrics, parts) = counted(&platform, DeployMethod::Command(command.clone()));
    let instance = Instance::start(parts);
    platform.promoted(&Flow::atomic_commit(), &instance).await;
    reaches(&metrics, "deploys_total{outcome=\"healthy\"}", 1.0).await;
    assert_eq!(value(&metrics, "launches_total"), 1.0);
    instance.stop().await;
    command.argv = vec!["/nowhere/at/all".to_owned()];
    let platform = Platform::new();
    let (metrics, parts) = counted(&platform, DeployMethod::Command(command));
    let instance = Instance::start(parts);
    platform.promoted(&Flow::atomic_commit(), &instance).await;
    until(|| (value(&metrics, "deploys_total{outcome=\"not_started\"}") > 1.0).then_some(())).await;
    assert_eq!((value(&metrics, "launches_total"), value(&metrics, "deploys_not_started")), (0.0, 1.0));
    instance.stop().await;
}

#[tokio::test]
async fn a_job_that_is_given_back() {
    let platform = Platform::new();
    let (metrics, parts) = counted(&platform, dry_run(FOR_EVER));
    let instance = Instance::start(parts);
    platform.promoted(&Flow::atomic_commit(), &instance).await;
    reaches(&metrics, "launches_total", 1.0).await;
    instance.stop().await;
    assert_eq!(value(&metrics, "launch_jobs_total{outcome=\"given_back\"}"), 1.0);
    assert_eq!(value(&metrics, "launch_jobs_total{outcome=\"finished\"}"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_and_one_that_the_store_does_not_renew() {
    for (renewal, outcome) in [(Renewal::Lost, "lease_lost"), (Renewal::Fails, "store_failed")] {
        let (platform, metrics) = (Platform::new(), Metrics::new());
        let running = start(&platform, scripted(&platform, renewal, 0, 1), FOR_EVER, 1, &metrics);
        running.promote(&platform).await;
        reaches(&metrics, &format!("launch_jobs_total{{outcome=\"{outcome}\"}}"), 1.0).await;
        running.stop().await;
    }
}

/// By workers that have no job, too: an alert about the store must not need one.
#[tokio::test(start_paused = true)]
async fn every_look_for_a_job_that_the_store_does_not_answer() {
    const FAILED: &str = "launch_jobs_total{outcome=\"store_failed\"}";
    let (platform, metrics) = (Platform::new(), Metrics::new());
    let store = Arc::new(Breaking::new(platform.store.clone()));
    let parts = platform.parts_on(store.clone(), dry_run(Duration::ZERO));
    let instance = Instance::start(Parts { metrics: metrics.clone(), ..parts });
    assert_eq!(value(&metrics, FAILED), 0.0);
    store.set_outage(true);
    until(|| (value(&metrics, FAILED) > 100.0).then_some(())).await;
    store.set_outage(false);
    instance.stop().await;
}

#[tokio::test]
async fn a_link_that_is_sent_and_one_that_is_not() {
    let platform = Platform::new();
    let (metrics, parts) = counted(&platform, dry_run(Duration::ZERO));
    let instance = Instance::start(parts);
    platform.requested().await;
    instance.wakeups.wake_notifier();
    reaches(&metrics, "notices_total{outcome=\"sent\"}", 1.0).await;
    instance.stop().await;
    let (metrics, parts) = counted(&platform, dry_run(Duration::ZERO));
    let sender = Sender::parse("gate@example.com").expect("an address");
    // Nothing listens there.
    let smtp = Smtp::connect("smtp://127.0.0.1:1?tls=none", sender).expect("an address");
    let instance = Instance::start(Parts { channel: Channel::Smtp(smtp), ..parts });
    platform.requested().await;
    instance.wakeups.wake_notifier();
    until(|| (value(&metrics, "notices_total{outcome=\"failed\"}") > 1.0).then_some(())).await;
    assert_eq!(value(&metrics, "notices_total{outcome=\"sent\"}"), 0.0);
    instance.stop().await;
}

/// Without a sweeper, which would expire it first.
#[tokio::test]
async fn a_link_that_comes_too_late() {
    let clock = Arc::new(HandClock::at(Timestamp(1_000)));
    let platform = Platform::by(clock.clone());
    platform.requested().await;
    clock.set(Timestamp(1_000 + APPROVAL_WINDOW_MS));
    let (metrics, parts) = counted(&platform, dry_run(Duration::ZERO));
    let (stopper, poll) = (Stopper::default(), Duration::from_millis(5));
    let notifier = Notifier {
        store: parts.store,
        ids: parts.ids,
        operators: parts.operators,
        channel: Arc::new(parts.channel),
        public_url: parts.public_url.into(),
        retries: parts.retries,
        reached: Arc::default(),
        poll,
        wakeups: Arc::default(),
        health: Arc::default(),
        metrics: parts.metrics,
        stop: stopper.subscribe(),
    };
    let running = tokio::spawn(notifier.run_all());
    reaches(&metrics, "notices_total{outcome=\"too_late\"}", 1.0).await;
    assert_eq!(value(&metrics, "notices_total{outcome=\"sent\"}"), 0.0);
    stopper.advance(Phase::Draining);
    running.await.expect("it does not panic");
}

/// Also one of another instance, that was overdue before this one started.
#[tokio::test(start_paused = true)]
async fn each_approval_that_expires_whenever_it_was_asked_for() {
    const EXPIRED: &str = "approval_transitions_total{from=\"pending\",to=\"expired\"}";
    let clock = Arc::new(HandClock::at(Timestamp(1_000)));
    let platform = Platform::by(clock.clone());
    let before = platform.requested().await;
    clock.set(Timestamp(1_000 + APPROVAL_WINDOW_MS));
    let (metrics, parts) = counted(&platform, dry_run(Duration::ZERO));
    let instance = Instance::start(parts);
    reaches(&metrics, EXPIRED, 1.0).await;
    let since = platform.requested().await;
    clock.set(Timestamp(1_000 + 2 * APPROVAL_WINDOW_MS));
    reaches(&metrics, EXPIRED, 2.0).await;
    for ask in [before, since] {
        let events = platform.store.audit(ask.approval).await.expect("it answers");
        let expiries = events.iter().filter(|event| event.kind == AuditKind::Expired).count();
        assert_eq!(expiries, 1, "{events:?}");
    }
    instance.stop().await;
}

#[tokio::test]
async fn what_is_owed_and_since_when() {
    let platform = Platform::new();
    let workers = WorkerSettings { count: 0, ..WorkerSettings::default() };
    let store = Arc::new(Breaking::new(platform.store.clone()));
    let instance = Instance::start(Parts { workers, ..platform.parts(dry_run(Duration::ZERO)) });
    let metrics = Metrics::new();
    let shown = async || metrics.text_with(store.backlog().await.ok());
    assert!(shown().await.contains("\nlaunch_jobs_owed 0.0\n"));
    platform.promoted(&Flow::atomic_commit(), &instance).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let text = shown().await;
    assert!(text.contains("\nlaunch_jobs_owed 1.0\n"), "{text}");
    assert!(!text.contains("\nlaunch_jobs_oldest_seconds 0.0\n"), "{text}");
    instance.stop().await;
    // Without the store's answer there is none.
    store.set_outage(true);
    assert!(!shown().await.contains("launch_jobs_owed"));
    store.set_outage(false);
    let ask = platform.requested().await;
    assert!(shown().await.contains("\nnotices_owed 1.0\n"));
    let token = platform.ids.token(ask.approval);
    let reject = Decision::Operator { token: &token, verdict: Verdict::Reject };
    platform.store.decide(reject).await.expect("it answers").expect("it is pending");
    assert!(shown().await.contains("\nnotices_owed 0.0\n"));
}
