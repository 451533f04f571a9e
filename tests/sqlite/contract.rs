//! The contract of any store, tested on this one, in a file and in memory.

use countersign::{
    protocol::{Flow, Outcome, Refusal, RefusalKind, Status, Target},
    service::Answer,
    store::{AuditKind, JobState, Operations, Tenants},
};
use countersign_models::fixtures::block_on;
use countersign_testkit::SqlPeek;

use crate::platform::{Platform, TEAM};

#[test]
fn a_promote_succeeds_once_and_its_repeat_gets_the_same_outcome() {
    let dir = tempfile::tempdir().expect("a folder");
    for platform in [Platform::in_memory(), Platform::at(&dir.path().join("a.db"), Default::default())] {
        let flow = Flow::atomic_commit();
        let approved = platform.approved();
        let ask = approved.under("mine");
        let first = platform.promote(&flow, &ask);
        let Outcome::Succeeded { target: Some(target @ Target { id, created: true }), .. } = first.end else {
            panic!("{first:?}")
        };
        let again = Outcome::Succeeded { target: Some(target), repeats: true };
        assert_eq!(platform.promote(&flow, &ask), Answer { replayed: true, end: again });
        let other = platform.promote(&flow, &approved);
        let refusal = Refusal::APPROVAL_NOT_APPROVED;
        assert_eq!(other.end, Outcome::Refused { refusal, kind: RefusalKind::Validation });
        assert_eq!(platform.status(&ask), Status::Executed);
        let family = block_on(platform.store.family(TEAM, platform.source.id)).expect("nothing fails");
        assert_eq!(family.iter().map(|stack| stack.id).collect::<Vec<_>>(), [platform.source.id, id]);
        let events = block_on(platform.store.audit(ask.approval)).expect("nothing fails");
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [AuditKind::Requested, AuditKind::Approved, AuditKind::Executed]);
        let job = block_on(platform.store.job(TEAM, ask.approval)).expect("nothing fails");
        assert_eq!(job.map(|job| (job.target, job.state)), Some((Some(id), JobState::Ready)));
    }
}
