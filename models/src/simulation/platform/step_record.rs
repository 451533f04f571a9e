//! The notes of a task during its turn, and the [`StepRecord`] that they form.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use countersign::{protocol::Target, service::Launch};
use uuid::Uuid;

use super::CallOutcome;
use crate::model::Actor;

/// Changes made in one turn of a task.
#[derive(Clone, Debug, Default)]
pub(in crate::simulation) struct StepRecord {
    /// Actual outcome of the effect: a fault that affects nothing does not count.
    pub(in crate::simulation) outcome: CallOutcome,
    pub(in crate::simulation) changed: Changed,
    /// The deploy that began last is its doing.
    pub(in crate::simulation) launched: bool,
    /// A launch of a deploy that had been launched before: the target sees its fence, and nothing else.
    pub(in crate::simulation) launched_again: Option<Launch>,
    /// The target that the promotion knows of from now on, if that has changed.
    pub(in crate::simulation) target: Option<Option<Target>>,
    /// Another attempt holds the lease: nothing changed.
    pub(in crate::simulation) waits: bool,
    /// Something that the model's worker does.
    pub(in crate::simulation) worker: Option<WorkerStep>,
    /// The approval whose job it is about.
    pub(in crate::simulation) approval: Option<Uuid>,
    /// A worker acted on the lease with this fencing number; whether it succeeded.
    pub(in crate::simulation) acted: Option<(u64, bool)>,
    /// Description in words.
    pub(in crate::simulation) words: Option<Words>,
}

/// The participant acted on, the name of the action, and its result: for a diagram.
pub(in crate::simulation) type Words = Box<(Actor, String, String)>;

/// Actual changes of a transaction. Counts, since a message may be delivered twice.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::simulation) struct Changed {
    pub(in crate::simulation) consumed: u8,
    pub(in crate::simulation) wrote: bool,
    pub(in crate::simulation) vault: bool,
    /// A target was written that does not have the services which were approved.
    pub(in crate::simulation) other_services: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum WorkerStep {
    Leased,
    Launched,
    LaunchedAgain,
    Renewed,
    Finished,
}

/// The notes since the last [`take`](Self::take). The lock is never contended: one thread plays a schedule, and only
/// the trait bounds of the platform require it.
#[derive(Default)]
pub(super) struct StepRecorder(Mutex<StepRecord>);

impl StepRecorder {
    fn record(&self) -> MutexGuard<'_, StepRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outcome(&self, outcome: CallOutcome) {
        self.record().outcome = outcome;
    }

    /// A transaction was sent and made these changes.
    pub(super) fn sent(&self, changed: Changed) {
        let known = &mut self.record().changed;
        known.consumed += changed.consumed;
        known.wrote |= changed.wrote;
        known.vault |= changed.vault;
        known.other_services |= changed.other_services;
    }

    /// The deploy that began last is its doing.
    pub(super) fn launched(&self) {
        self.record().launched = true;
    }

    /// The deploy of this launch was there.
    pub(super) fn launched_again(&self, launch: Launch) {
        let mut record = self.record();
        record.worker = Some(WorkerStep::LaunchedAgain);
        record.launched_again = Some(launch);
    }

    pub(super) fn waits(&self) {
        self.record().waits = true;
    }

    /// The promotion knows of this target from now on, or of none.
    pub(super) fn target(&self, target: Option<Target>) {
        self.record().target = Some(target);
    }

    pub(super) fn worker(&self, does: Option<WorkerStep>) {
        self.record().worker = does;
    }

    /// The approval of this job, if known.
    pub(super) fn approval(&self, approval: Option<Uuid>) {
        self.record().approval = approval;
    }

    /// A worker acted on the lease with this fencing number. To have succeeded once is to have succeeded.
    pub(super) fn acted(&self, fence: u64, succeeded: bool) {
        let mut record = self.record();
        let before = record.acted.is_some_and(|(_, succeeded)| succeeded);
        record.acted = Some((fence, succeeded || before));
    }

    /// The first call names the step, the last one its result.
    pub(super) fn say(&self, (to, does, result): (Actor, String, String)) {
        match &mut self.record().words {
            Some(words) => words.2 = result,
            none => *none = Some(Box::new((to, does, result))),
        }
    }

    /// The notes since the last call.
    pub(super) fn take(&self) -> StepRecord {
        mem::take(&mut *self.record())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_taken_once() {
        let step_recorder = StepRecorder::default();
        let (approval, target) = (Uuid::from_u128(1 << 100 | 5), Uuid::max());
        step_recorder.outcome(CallOutcome::AnswerLost);
        let changed = |wrote, vault| Changed { consumed: 1, wrote, vault, other_services: false };
        step_recorder.sent(changed(true, false));
        step_recorder.sent(changed(false, true));
        step_recorder.launched();
        step_recorder.waits();
        step_recorder.worker(Some(WorkerStep::Renewed));
        step_recorder.target(Some(Target { id: target, created: true }));
        step_recorder.approval(Some(approval));
        step_recorder.acted(3, true);
        step_recorder.acted(4, false);
        for (does, result) in [("does", "ok"), ("", "fault")] {
            step_recorder.say((Actor::Store, does.to_owned(), result.to_owned()));
        }
        let record = step_recorder.take();
        assert_eq!((record.outcome, record.worker), (CallOutcome::AnswerLost, Some(WorkerStep::Renewed)));
        assert!(record.launched && record.waits);
        let Changed { consumed, wrote, vault, other_services } = record.changed;
        assert_eq!((consumed, wrote, vault, other_services), (2, true, true, false));
        assert_eq!(record.target, Some(Some(Target { id: target, created: true })));
        assert_eq!((record.approval, record.acted), (Some(approval), Some((4, true))));
        assert_eq!(record.words.as_deref(), Some(&(Actor::Store, "does".to_owned(), "fault".to_owned())));
        // The next notes contain none of it.
        step_recorder.outcome(CallOutcome::Happens);
        for record in [step_recorder.take(), step_recorder.take()] {
            assert_eq!(format!("{record:?}"), format!("{:?}", StepRecord::default()));
        }
    }

    #[test]
    fn a_target_that_is_none_is_no_news_of_none() {
        let step_recorder = StepRecorder::default();
        step_recorder.waits();
        assert_eq!(step_recorder.take().target, None);
        step_recorder.target(None);
        assert_eq!(step_recorder.take().target, Some(None));
        let found = Target { id: Uuid::nil(), created: false };
        step_recorder.target(Some(found));
        assert_eq!(step_recorder.take().target, Some(Some(found)));
    }
}
