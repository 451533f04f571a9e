//! One step at a time: what a promotion makes of each reply.

use uuid::Uuid;

use super::*;
use crate::protocol::{
    Approval, Binding, Checks, Environment, Guards, How, InvalidFlow, Kind, Status, Timestamp, What,
};

const READ: Digest = Digest([2; 32]);
const BEGAN: Digest = Digest([1; 32]);

fn request() -> Request {
    let environment = |name| Environment::parse(name).expect("a legal name");
    let binding = Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
    Request { approval: Uuid::from_u128(1), team: Uuid::from_u128(2), binding }
}

fn approval(status: Status) -> Approval {
    let Request { approval: id, team, binding } = request();
    let requested_by = "dev@example.com".into();
    Approval { id, team, requested_by, binding, digest: READ, status, expires_at: Timestamp(100) }
}

/// A flow of these steps; a consume is added at the end where there is none.
fn flow(mut actions: Vec<Do>) -> Flow {
    match Flow::new(actions.iter().cloned().map(Step::from).collect()) {
        Err(InvalidFlow::NoConsume) => actions.push(Do::Consume { guards: Guards::ALL, how: How::AtOnce }),
        made => return made.expect("a flow"),
    }
    Flow::new(actions.into_iter().map(Step::from).collect()).expect("a flow")
}

/// Begins a promotion of `flow`, gives it these replies, and tells how it ended, or else where it is.
fn after(flow: &Flow, replies: Vec<Reply<'_>>) -> Result<Checkpoint, End> {
    let request = request();
    let mut promotion = Promotion::begin(flow, &request, BEGAN);
    for reply in replies {
        assert_eq!(promotion.effect(), promotion.effect(), "asking changes nothing");
        promotion.resume(reply);
    }
    match promotion.end() {
        Some(end) => {
            assert_eq!((promotion.effect(), promotion.step()), (None, None), "nothing is left to do");
            Err(end.clone())
        }
        None => Ok(promotion.checkpoint()),
    }
}

fn write(how: How, best_effort: bool, refusals: Vec<Refusal>) -> Do {
    Do::Write { what: What::Target, how, best_effort, refusals }
}

fn refused(refusal: Refusal, preflight: bool) -> Result<Checkpoint, End> {
    Err(End::Refused { refusal, preflight })
}

fn unknown(refusal: Refusal) -> Result<Checkpoint, End> {
    Err(End::Unknown { refusal })
}

fn at(cursor: u8, digest: Digest) -> Result<Checkpoint, End> {
    Ok(Checkpoint { cursor, digest, target: None, fence: None })
}

#[test]
fn validate_and_check_hold_what_they_read() {
    let flow = flow(vec![Do::Validate { checks: Checks::ALL }, Do::Check { refusals: vec![] }]);
    let row = approval(Status::Approved);
    let read = |now| Reply::Approval { approval: Some(&row), digest: READ, fence: 0, now: Timestamp(now) };
    let other = Digest([3; 32]);
    assert_eq!(after(&flow, vec![]), at(0, BEGAN));
    assert_eq!(after(&flow, vec![read(1)]), at(1, READ));
    assert_eq!(after(&flow, vec![read(1), Reply::Read { digest: other }]), at(2, other));
    assert_eq!(after(&flow, vec![read(100)]), refused(Refusal::APPROVAL_EXPIRED, false));
    let none = Reply::Approval { approval: None, digest: READ, fence: 0, now: Timestamp(1) };
    assert_eq!(after(&flow, vec![none]), refused(Refusal::APPROVAL_NOT_FOUND, false));
}

#[test]
fn a_failed_read_is_a_preflight_refusal_of_a_check_only() {
    let validate = flow(vec![Do::Validate { checks: Checks::ALL }]);
    assert_eq!(after(&validate, vec![Reply::Failed]), refused(Refusal::LOOKUP_FAILED, false));
    let check = flow(vec![Do::Check { refusals: vec![Refusal::NO_SERVICES, Refusal::FETCH_FAILED] }]);
    assert_eq!(after(&check, vec![Reply::Failed]), refused(Refusal::FETCH_FAILED, true), "its own 503");
    let nameless = flow(vec![Do::Check { refusals: vec![Refusal::NO_SERVICES] }]);
    assert_eq!(after(&nameless, vec![Reply::Failed]), refused(Refusal::LOOKUP_FAILED, true));
    let own = vec![Reply::Refused(Refusal::NO_SERVICES)];
    assert_eq!(after(&nameless, own), refused(Refusal::NO_SERVICES, true));
}

#[test]
fn every_failure_of_a_write_is_a_preflight_refusal() {
    let flow = flow(vec![write(How::AtOnce, false, vec![])]);
    assert_eq!(after(&flow, vec![Reply::Failed]), refused(Refusal::UPDATE_FAILED, true));
    assert_eq!(after(&flow, vec![Reply::Lost]), refused(Refusal::UPDATE_FAILED, true));
    let limit = Reply::Refused(Refusal::DEPLOYMENT_LIMIT_REACHED);
    assert_eq!(after(&flow, vec![limit]), refused(Refusal::DEPLOYMENT_LIMIT_REACHED, true));
}

#[test]
fn a_failed_look_for_the_target_is_a_failed_lookup() {
    let flow = flow(vec![write(How::ReadThenWrite, false, vec![])]);
    assert_eq!(after(&flow, vec![Reply::Failed]), refused(Refusal::LOOKUP_FAILED, true));
    let looked = vec![Reply::Target(None), Reply::Failed];
    assert_eq!(after(&flow, looked), refused(Refusal::UPDATE_FAILED, true));
}

#[test]
fn a_best_effort_write_that_fails_is_skipped_with_all_of_its_actions() {
    let flow = flow(vec![write(How::ReadThenWrite, true, vec![]), Do::Audit]);
    let limit = Reply::Refused(Refusal::DEPLOYMENT_LIMIT_REACHED);
    for failure in [Reply::Failed, limit] {
        assert_eq!(after(&flow, vec![failure]), at(2, BEGAN), "on to the audit");
    }
    assert_eq!(after(&flow, vec![Reply::Target(None), Reply::Lost]), at(2, BEGAN));
}

#[test]
fn a_lost_event_is_swallowed() {
    let flow = flow(vec![Do::Audit]);
    assert_eq!(after(&flow, vec![Reply::Failed]), at(1, BEGAN));
}

#[test]
fn a_lost_answer_leaves_the_outcome_unknown_where_the_approval_or_the_job_may_have_moved() {
    let consume = flow(vec![]);
    assert_eq!(after(&consume, vec![Reply::Lost]), unknown(Refusal::EXECUTE_FAILED));
    let enqueue = flow(vec![Do::Enqueue]);
    assert_eq!(after(&enqueue, vec![Reply::Lost]), unknown(Refusal::ENQUEUE_FAILED));
    let group = flow(vec![Do::Atomic(vec![Member::Consume { guards: Guards::ALL }, Member::Audit])]);
    assert_eq!(after(&group, vec![Reply::Lost]), unknown(Refusal::EXECUTE_FAILED));
    let other = flow(vec![Do::Atomic(vec![Member::Audit, Member::Enqueue])]);
    assert_eq!(after(&other, vec![Reply::Lost]), unknown(Refusal::UPDATE_FAILED));
}

#[test]
fn nothing_has_changed_where_the_commit_failed_before() {
    let consume = flow(vec![]);
    assert_eq!(after(&consume, vec![Reply::Failed]), refused(Refusal::EXECUTE_FAILED, false));
    let lost_race = Reply::NotConsumed(Refusal::APPROVAL_ALREADY_EXECUTED);
    assert_eq!(after(&consume, vec![lost_race]), refused(Refusal::APPROVAL_ALREADY_EXECUTED, false));
    let group = flow(vec![Do::Atomic(vec![Member::Consume { guards: Guards::ALL }])]);
    assert_eq!(after(&group, vec![Reply::Failed]), refused(Refusal::EXECUTE_FAILED, false));
    let limit = Reply::Refused(Refusal::DEPLOYMENT_LIMIT_REACHED);
    assert_eq!(after(&group, vec![limit]), refused(Refusal::DEPLOYMENT_LIMIT_REACHED, true));
}

#[test]
fn a_look_before_the_consume_is_judged_by_its_guards() {
    let flow = flow(vec![Do::Consume { guards: Guards::ALL, how: How::ReadThenWrite }]);
    let (approved, executed) = (approval(Status::Approved), approval(Status::Executed));
    let row = |approval| Reply::Approval { approval, digest: READ, fence: 0, now: Timestamp(1) };
    let mismatch = refused(Refusal::APPROVAL_PAYLOAD_MISMATCH, false);
    assert_eq!(after(&flow, vec![row(Some(&approved))]), mismatch, "a look reads no digest: BEGAN is held");
    assert_eq!(after(&flow, vec![row(Some(&executed))]), refused(Refusal::APPROVAL_ALREADY_EXECUTED, false));
    assert_eq!(after(&flow, vec![row(None)]), refused(Refusal::APPROVAL_NOT_FOUND, false));
    assert_eq!(after(&flow, vec![Reply::Failed]), refused(Refusal::EXECUTE_FAILED, false));
}

#[test]
fn a_lease_is_waited_for_and_its_number_is_kept_for_the_commit() {
    let guards = Guards { lease: true, ..Guards::ALL };
    let steps = [Do::Lease, Do::Consume { guards, how: How::AtOnce }].map(Step::from);
    let flow = Flow::new(steps.to_vec()).expect("a flow");
    let leased = |replies| after(&flow, replies).map(|at| (at.cursor, at.fence));
    assert_eq!(leased(vec![Reply::Held, Reply::Held]), Ok((0, None)), "still to be taken");
    assert_eq!(leased(vec![Reply::Held, Reply::Leased { fence: 7 }]), Ok((1, Some(7))));
    let request = request();
    let mut promotion = Promotion::begin(&flow, &request, BEGAN);
    assert_eq!(promotion.effect(), Some(Effect::Lease { approval: request.approval }));
    promotion.resume(Reply::Leased { fence: 7 });
    let Some(Effect::Commit(commit)) = promotion.effect() else { panic!("the consume is next") };
    assert_eq!(commit.fence, Some(7));
}

#[test]
fn a_lease_that_is_not_had_is_a_refusal_and_no_preflight() {
    let flow = flow(vec![Do::Lease]);
    for failure in [Reply::Failed, Reply::Lost] {
        assert_eq!(after(&flow, vec![failure]), refused(Refusal::LEASE_FAILED, false), "nothing is consumed");
    }
    let absent = Reply::NotConsumed(Refusal::APPROVAL_NOT_FOUND);
    assert_eq!(after(&flow, vec![absent]), refused(Refusal::APPROVAL_NOT_FOUND, false));
}

#[test]
fn a_look_before_the_consume_sees_whose_lease_it_is() {
    let guards = Guards { lease: true, ..Guards::default() };
    let flow = flow(vec![Do::Lease, Do::Consume { guards, how: How::ReadThenWrite }]);
    let row = approval(Status::Approved);
    let looked = |fence| {
        let look = Reply::Approval { approval: Some(&row), digest: READ, fence, now: Timestamp(1) };
        after(&flow, vec![Reply::Leased { fence: 1 }, look]).map(|at| at.cursor)
    };
    assert_eq!(looked(1), Ok(2));
    assert_eq!(looked(2), Err(End::Refused { refusal: Refusal::LEASE_LOST, preflight: false }));
}

#[test]
fn a_target_is_the_promotions_own_only_if_it_has_created_it() {
    let [mine, theirs] = [7, 8].map(Uuid::from_u128);
    let flow = flow(vec![write(How::ReadThenWrite, false, vec![]), write(How::ReadThenWrite, false, vec![])]);
    let created = || Reply::Committed { target: Some(Target { id: mine, created: true }) };
    let target = |replies| after(&flow, replies).map(|at| at.target);
    let known = |id, created| Ok(Some(Target { id, created }));
    assert_eq!(target(vec![Reply::Target(Some(theirs))]), known(theirs, false));
    assert_eq!(target(vec![Reply::Target(None), created()]), known(mine, true));
    assert_eq!(target(vec![Reply::Target(None), created(), Reply::Target(Some(mine))]), known(mine, true));
    assert_eq!(
        target(vec![Reply::Target(None), created(), Reply::Target(Some(theirs))]),
        known(theirs, false)
    );
    assert_eq!(target(vec![Reply::Target(None), created(), Reply::Target(None)]), Ok(None));
    let nothing_written = Reply::Committed { target: None };
    assert_eq!(target(vec![Reply::Target(Some(theirs)), nothing_written]), known(theirs, false));
}

#[test]
fn a_restored_promotion_goes_on_where_it_was() {
    let flow = flow(vec![Do::Check { refusals: vec![] }]);
    let request = request();
    let mut promotion = Promotion::begin(&flow, &request, BEGAN);
    promotion.resume(Reply::Read { digest: READ });
    let mut restored = Promotion::restore(&flow, &request, promotion.checkpoint());
    assert_eq!((restored.effect(), restored.step()), (promotion.effect(), promotion.step()));
    restored.resume(Reply::Committed { target: None });
    assert_eq!((restored.effect(), restored.step()), (Some(Effect::Answer), None));
    restored.resume(Reply::Done);
    assert_eq!(restored.end(), Some(&End::Succeeded { target: None }));
}

#[test]
#[should_panic(expected = "does not answer")]
fn a_reply_to_something_else_is_a_bug_of_the_driver() {
    let flow = flow(vec![]);
    drop(after(&flow, vec![Reply::Done]));
}

#[test]
#[should_panic(expected = "nothing is pending")]
fn a_reply_after_the_end_is_a_bug_of_the_driver() {
    let flow = flow(vec![]);
    drop(after(&flow, vec![Reply::Lost, Reply::Lost]));
}
