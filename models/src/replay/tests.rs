//! A control for each field that edge replay compares: observed wrongly, it alone is what differs.

use std::collections::BTreeSet;

use countersign::{
    protocol::{Digest, Status, Timestamp},
    service::{Deployer as _, InMemoryDeployer, Launch},
    store::{AuditKind, JobState, StackStatus, memory::strategy::Sharded},
};
use uuid::Uuid;

use super::{
    InMemory, Records, StoreHarness as _,
    real::{Progress, Real},
    replay_seen,
};
use crate::{
    fixtures::run_ready,
    flows::BuiltIn,
    model::{Bounds, Model},
};

const OTHER: Digest = Digest([7; 32]);

type Distort = fn(&mut Real, &mut Records);

/// The field, a flow in which it matters, and what hides or adds it.
const CONTROLS: [(&str, &str, Distort); 18] = [
    ("status", "atomic-commit", |_, records| records.status = Status::Pending),
    ("window_passed", "atomic-commit", |_, records| records.expires_at = Timestamp(u64::MAX)),
    ("decisions", "atomic-commit", |_, records| without(records, AuditKind::Approved)),
    ("executed_events", "atomic-commit", |_, records| without(records, AuditKind::Executed)),
    ("targets", "atomic-commit", |_, records| {
        records.stacks.iter_mut().for_each(|stack| stack.status = StackStatus::Healthy);
    }),
    ("vault_written", "atomic-commit", |_, records| records.vault = None),
    ("job", "atomic-commit", |_, records| {
        records.job.iter_mut().for_each(|job| job.state = JobState::Done);
    }),
    ("job_carries", "atomic-commit", |_, records| {
        records.job.iter_mut().for_each(|job| job.target = None);
    }),
    ("job_carries", "atomic-commit", |_, records| {
        records.job.iter_mut().for_each(|job| job.digest = OTHER);
    }),
    ("unkeyed_launches", "atomic-commit", |real, _| launch(real, None)),
    ("job_launched", "atomic-commit", |real, _| launch(real, Some(Uuid::nil()))),
    ("launched_other", "consume-last", |real, _| {
        let launches = real.deployer.effective();
        real.deployer = InMemoryDeployer::default();
        for launch in launches {
            run_ready(real.deployer.launch(&Launch { digest: OTHER, ..launch }));
        }
    }),
    ("lease_held", "atomic-commit-lease", |_, records| records.lease.1 = Timestamp(0)),
    ("leased_last", "atomic-commit-lease", |_, records| records.lease.0 += 1),
    ("stage", "atomic-commit", |real, _| {
        for progress in &mut real.progress {
            if matches!(progress, Progress::Ended(_)) {
                *progress = Progress::AnswerLost;
            }
        }
    }),
    ("deploying", "consume-last", |real, _| real.deploys.fill(None)),
    // Two attempts, each with the other's checkpoint.
    ("holds", "consume-last", |real, _| {
        if real.progress.iter().all(|progress| matches!(progress, Progress::Running(_))) {
            real.progress.swap(0, 1);
        }
    }),
    ("holds", "consume-last", |real, _| real.approved = OTHER),
];

fn without(records: &mut Records, kind: AuditKind) {
    records.events.retain(|event| *event != kind);
}

fn launch(real: &Real, key: Option<Uuid>) {
    let launch = Launch { approval: real.approval, key, digest: real.approved, target: None, fence: 0 };
    run_ready(real.deployer.launch(&launch));
}

#[test]
fn each_observed_field_is_compared() {
    for (field, flow, distort) in CONTROLS {
        let flow = BuiltIn::find(flow).expect("a built-in flow").subject().flow;
        let model = Model::of_callers_who_retry(flow, Bounds { consumers: 2, crashes: 0, faults: 0 });
        let seen = replay_seen(&model, &mut InMemory::<Sharded>::default(), |harness, real| {
            let mut records = harness.look(&real.about());
            distort(real, &mut records);
            records
        });
        let divergence = seen.expect_err(field);
        assert_eq!(divergence.expected.differing(&divergence.found), [field], "{divergence}");
    }
}

#[test]
fn each_observed_field_has_a_control() {
    let text = include_str!("observed.rs");
    let fields: BTreeSet<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("impl"))
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": ").map(|(name, _)| name))
        .filter(|name| !name.starts_with('/') && *name != "consumers")
        .collect();
    assert_eq!(fields, CONTROLS.iter().map(|(field, ..)| *field).collect());
}
