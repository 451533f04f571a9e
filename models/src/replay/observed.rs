//! All that can be observed, in the model's words: of a model state, and of the real thing.

use countersign::{
    protocol::{Digest, Status},
    store::{AuditKind, JobState, StackStatus},
};
use uuid::Uuid;

use super::{
    Records,
    real::{Progress, Real, environment, is_held, stage},
};
use crate::{
    model::Model,
    properties::PromotionState,
    world::{JobStatus, Lease, MAX_CONSUMERS, Payload, State, TargetStatus},
};

/// The observable state, with the checkpoint of each promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    status: Status,
    window_passed: bool,
    /// Number of events among approve, reject and expire.
    decisions: usize,
    executed_events: usize,
    targets: [TargetStatus; MAX_CONSUMERS],
    vault_written: bool,
    job: JobStatus,
    job_carries: Option<(Payload, Option<u8>)>,
    unkeyed_launches: usize,
    job_launched: bool,
    launched_other: bool,
    lease_held: bool,
    consumers: Vec<ObservedConsumer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ObservedConsumer {
    stage: PromotionState,
    deploying: bool,
    /// Next action, digest, target, whether it created that: while it runs.
    holds: Option<(u8, Payload, Option<u8>, bool)>,
    /// Running, and the last to acquire the lease.
    leased_last: bool,
}

impl Observed {
    /// The names of the fields in which the two differ.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        // Without `..`: a field that is left out here does not compile.
        let Self {
            status,
            window_passed,
            decisions,
            executed_events,
            targets,
            vault_written,
            job,
            job_carries,
            unkeyed_launches,
            job_launched,
            launched_other,
            lease_held,
            consumers,
        } = self;
        let any = |differs: fn(&ObservedConsumer, &ObservedConsumer) -> bool| {
            consumers.iter().zip(&other.consumers).any(|(one, other)| differs(one, other))
        };
        [
            ("status", *status != other.status),
            ("window_passed", *window_passed != other.window_passed),
            ("decisions", *decisions != other.decisions),
            ("executed_events", *executed_events != other.executed_events),
            ("targets", *targets != other.targets),
            ("vault_written", *vault_written != other.vault_written),
            ("job", *job != other.job),
            ("job_carries", *job_carries != other.job_carries),
            ("unkeyed_launches", *unkeyed_launches != other.unkeyed_launches),
            ("job_launched", *job_launched != other.job_launched),
            ("launched_other", *launched_other != other.launched_other),
            ("lease_held", *lease_held != other.lease_held),
            ("consumers", consumers.len() != other.consumers.len()),
            ("stage", any(|one, other| one.stage != other.stage)),
            ("deploying", any(|one, other| one.deploying != other.deploying)),
            ("holds", any(|one, other| one.holds != other.holds)),
            ("leased_last", any(|one, other| one.leased_last != other.leased_last)),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// The observation that the model predicts.
    pub(super) fn of_model(model: &Model, state: &State) -> Self {
        let world = &state.world;
        let job = world.jobs[0][0];
        let consumers = &state.attempts[..model.cast().len()];
        Self {
            status: world.status,
            window_passed: world.window_passed,
            decisions: world.decisions.count_ones() as usize,
            executed_events: world.executed_events.into(),
            targets: world.targets,
            vault_written: world.vault_written,
            job: job.status,
            job_carries: (job.status != JobStatus::Absent).then_some((job.payload, job.target)),
            unkeyed_launches: usize::from(world.effects[0] - u8::from(job.launched)),
            job_launched: job.launched,
            launched_other: world.violated.acted_other,
            lease_held: world.lease != Lease::Free,
            consumers: (0..)
                .zip(consumers)
                .map(|(index, one)| ObservedConsumer {
                    stage: one.stage,
                    deploying: one.is_deploying(),
                    holds: (one.stage == PromotionState::Running).then_some((
                        one.cursor,
                        one.held,
                        one.target,
                        one.created,
                    )),
                    leased_last: one.stage == PromotionState::Running && world.lease_last == Some(index),
                })
                .collect(),
        }
    }
}

impl Real {
    /// The observation of this run and its store. The kinds of refusal are distinguished as long as the model does so.
    pub(super) fn observe(&self, records: &Records, by_kind: bool) -> Observed {
        let production = environment("production");
        let targets: Vec<_> = records.stacks.iter().filter(|stack| stack.env == production).collect();
        let mut statuses = [TargetStatus::Absent; MAX_CONSUMERS];
        for (status, target) in statuses.iter_mut().zip(&targets) {
            *status = match target.status {
                StackStatus::Building => TargetStatus::Building,
                StackStatus::Healthy | StackStatus::Failed => TargetStatus::Settled,
            };
        }
        let index = |target: Uuid| targets.iter().position(|other| other.id == target).map(|at| at as u8);
        let launches = self.deployer.effective();
        let running = self.deployer.running();
        let count = |wanted: &[AuditKind]| records.events.iter().filter(|kind| wanted.contains(kind)).count();
        let job = records.job.as_ref();
        Observed {
            status: records.status,
            window_passed: records.expires_at <= records.now,
            decisions: count(&[AuditKind::Approved, AuditKind::Rejected, AuditKind::Expired]).min(2),
            executed_events: count(&[AuditKind::Executed]).min(2),
            targets: statuses,
            vault_written: records.vault.is_some(),
            job: match job.map(|job| job.state) {
                None => JobStatus::Absent,
                Some(JobState::Done) => JobStatus::Done,
                Some(state) if !is_held(state, records.now) => JobStatus::Ready,
                Some(_) if running.iter().any(|running| running.launch.key.is_some()) => JobStatus::Running,
                Some(_) => JobStatus::Leased,
            },
            job_carries: job.map(|job| (self.payload(job.digest), job.target.and_then(index))),
            unkeyed_launches: launches.iter().filter(|launch| launch.key.is_none()).count().min(2),
            job_launched: launches.iter().any(|launch| launch.key.is_some()),
            launched_other: launches.iter().any(|launch| launch.digest != self.approved),
            lease_held: records.now < records.lease.1,
            consumers: self
                .progress
                .iter()
                .zip(&self.deploys)
                .map(|(progress, deploy)| ObservedConsumer {
                    stage: if by_kind { stage(progress) } else { stage(progress).merged() },
                    deploying: deploy.is_some(),
                    holds: match progress {
                        Progress::Running(at) => {
                            // The model's stored outcome is a success, and names no target.
                            let target = at.position().target.filter(|_| !at.position().repeats);
                            Some((
                                at.position().cursor,
                                self.payload(at.position().digest),
                                target.and_then(|target| index(target.id)),
                                target.is_some_and(|target| target.created),
                            ))
                        }
                        Progress::Waiting | Progress::Ended(_) | Progress::AnswerLost | Progress::Killed => {
                            None
                        }
                    },
                    leased_last: matches!(
                        progress,
                        Progress::Running(at) if at.position().fence == Some(records.lease.0)
                    ),
                })
                .collect(),
        }
    }

    /// The payload of a digest: the approved one, another stack's, or the changed source.
    fn payload(&self, digest: Digest) -> Payload {
        match digest {
            digest if digest == self.approved => Payload::Approved,
            digest if self.foreign == Some(digest) => Payload::Foreign,
            _ => Payload::Drifted,
        }
    }
}
