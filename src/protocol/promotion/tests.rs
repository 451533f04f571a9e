//! One step at a time: what a promotion makes of each reply.

use uuid::Uuid;

use super::*;
use crate::protocol::{
    Act, Approval, Atomicity, Checks, Consume, Guards, Member, Observed, Status, Timestamp, Via, Write,
    WriteTarget,
};

const READ: Digest = Digest([2; 32]);
const BEGAN: Digest = Digest([1; 32]);

fn request() -> Request {
    Request { approval: Uuid::from_u128(1), team: Uuid::from_u128(2) }
}

fn approval(status: Status) -> Approval {
    let Request { approval: id, team } = request();
    let requested_by = "dev@example.com".into();
    Approval { id, team, requested_by, digest: READ, status, expires_at: Timestamp(100) }
}

/// A flow of these steps, with a consume at the end unless they contain one.
fn flow(actions: Vec<StepAction>) -> Flow {
    of_steps(actions.into_iter().map(Step::from).collect())
}

fn of_steps(mut steps: Vec<Step>) -> Flow {
    if steps.iter().all(|step| step.consume().is_none()) {
        steps.push(StepAction::Consume(Consume::new(Guards::ALL)).into());
    }
    Flow::of_steps(steps).expect("a flow")
}

/// Begins a promotion of `flow`, gives it these replies, and tells how it ended, or else where it is.
fn after(flow: &Flow, replies: Vec<Reply<'_>>) -> Result<Position, Outcome> {
    let request = request();
    let mut promotion = Promotion::begin(flow, &request, BEGAN);
    for reply in replies {
        assert_eq!(promotion.effect(), promotion.effect(), "asking changes nothing");
        promotion.resume(reply);
    }
    match promotion.outcome() {
        Some(end) => {
            assert_eq!((promotion.effect(), promotion.step()), (None, None), "nothing is left to do");
            Err(end.clone())
        }
        None => Ok(promotion.position()),
    }
}

fn write(atomicity: Atomicity) -> StepAction {
    StepAction::Write(Write { atomicity, ..Write::new(WriteTarget::Target) })
}

fn refused(refusal: Refusal, kind: RefusalKind) -> Result<Position, Outcome> {
    Err(Outcome::Refused { refusal, kind })
}

fn unknown(refusal: Refusal) -> Result<Position, Outcome> {
    Err(Outcome::Unknown { refusal })
}

fn at(cursor: u8, digest: Digest) -> Result<Position, Outcome> {
    Ok(Position { cursor, ..Position::new(digest) })
}

fn consume_in(guards: Guards) -> StepAction {
    StepAction::Consume(Consume::new(guards))
}

fn validate_all() -> StepAction {
    StepAction::Validate { checks: Checks::ALL, accept_own: false }
}

#[test]
fn validate_and_check_hold_what_they_read() {
    let flow = flow(vec![validate_all(), StepAction::Check { refusals: vec![] }]);
    let row = approval(Status::Approved);
    let read = |now| Reply::Approval {
        approval: Some(&row),
        digest: READ,
        fence: 0,
        now: Timestamp(now),
        observed: Observed::default(),
    };
    let other = Digest([3; 32]);
    assert_eq!(after(&flow, vec![]), at(0, BEGAN));
    assert_eq!(after(&flow, vec![read(1)]), at(1, READ));
    assert_eq!(after(&flow, vec![read(1), Reply::Read { digest: other }]), at(2, other));
    assert_eq!(after(&flow, vec![read(100)]), refused(Refusal::APPROVAL_EXPIRED, RefusalKind::Validation));
    let none = Reply::Approval {
        approval: None,
        digest: READ,
        fence: 0,
        now: Timestamp(1),
        observed: Observed::default(),
    };
    assert_eq!(after(&flow, vec![none]), refused(Refusal::APPROVAL_NOT_FOUND, RefusalKind::Validation));
}

#[test]
fn a_failed_read_of_the_preflight_is_a_preflight_refusal() {
    let validate = flow(vec![validate_all()]);
    assert_eq!(
        after(&validate, vec![Reply::Failed]),
        refused(Refusal::LOOKUP_FAILED, RefusalKind::PreflightUnavailable)
    );
    let check = flow(vec![StepAction::Check { refusals: vec![Refusal::NO_SERVICES, Refusal::FETCH_FAILED] }]);
    assert_eq!(
        after(&check, vec![Reply::Failed]),
        refused(Refusal::FETCH_FAILED, RefusalKind::PreflightUnavailable),
        "its own 503"
    );
    let nameless = flow(vec![StepAction::Check { refusals: vec![Refusal::NO_SERVICES] }]);
    assert_eq!(
        after(&nameless, vec![Reply::Failed]),
        refused(Refusal::LOOKUP_FAILED, RefusalKind::PreflightUnavailable)
    );
    let own = vec![Reply::Refused(Refusal::NO_SERVICES)];
    assert_eq!(after(&nameless, own), refused(Refusal::NO_SERVICES, RefusalKind::Own));
}

#[test]
fn every_failure_of_a_write_is_a_preflight_refusal() {
    let flow = flow(vec![write(Atomicity::Atomic)]);
    assert_eq!(
        after(&flow, vec![Reply::Failed]),
        refused(Refusal::UPDATE_FAILED, RefusalKind::PreflightUnavailable)
    );
    assert_eq!(
        after(&flow, vec![Reply::OutcomeUnknown]),
        refused(Refusal::UPDATE_FAILED, RefusalKind::PreflightUnavailable)
    );
    let limit = Reply::Refused(Refusal::DEPLOYMENT_LIMIT_REACHED);
    assert_eq!(after(&flow, vec![limit]), refused(Refusal::DEPLOYMENT_LIMIT_REACHED, RefusalKind::Own));
}

#[test]
fn a_failed_look_for_the_target_is_a_failed_lookup() {
    let flow = flow(vec![write(Atomicity::ReadThenWrite)]);
    assert_eq!(
        after(&flow, vec![Reply::Failed]),
        refused(Refusal::LOOKUP_FAILED, RefusalKind::PreflightUnavailable)
    );
    let looked = vec![Reply::Target(None), Reply::Failed];
    assert_eq!(after(&flow, looked), refused(Refusal::UPDATE_FAILED, RefusalKind::PreflightUnavailable));
}

#[test]
fn an_error_is_continued_or_retried_once_with_all_actions_of_its_step() {
    let step = |on_error| Step { on_error, ..write(Atomicity::ReadThenWrite).into() };
    let lost = || vec![Reply::Target(None), Reply::OutcomeUnknown];
    let flow = of_steps(vec![step(OnError::Continue), StepAction::Audit.into()]);
    assert_eq!(after(&flow, vec![Reply::Failed]), at(2, BEGAN), "on to the audit");
    assert_eq!(after(&flow, lost()), at(2, BEGAN));
    let limit = Reply::Refused(Refusal::DEPLOYMENT_LIMIT_REACHED);
    let own = refused(Refusal::DEPLOYMENT_LIMIT_REACHED, RefusalKind::Own);
    assert_eq!(after(&flow, vec![limit]), own, "an own refusal is no error");

    let flow = of_steps(vec![step(OnError::Retry)]);
    let again = |replies| after(&flow, replies).map(|at| (at.cursor, at.is_retrying));
    assert_eq!(again(lost()), Ok((0, true)), "from its look");
    let twice = lost().into_iter().chain(lost()).collect();
    assert_eq!(after(&flow, twice), refused(Refusal::UPDATE_FAILED, RefusalKind::PreflightUnavailable));
}

#[test]
fn a_refusal_undoes_what_was_seen_to_succeed_last_first() {
    let call = StepAction::Act(Act { undo: true, ..Act::new(Via::Call { key: false }) });
    let undone = StepAction::Write(Write { undo: true, ..Write::new(WriteTarget::Vault) });
    let check = StepAction::Check { refusals: vec![Refusal::NO_SERVICES] };
    let flow = flow(vec![undone, call, check]);
    let request = request();
    let mut promotion = Promotion::begin(&flow, &request, BEGAN);
    promotion.resume(Reply::Committed { target: None, own_use: false });
    promotion.resume(Reply::Done);
    promotion.resume(Reply::Refused(Refusal::NO_SERVICES));
    assert_eq!((promotion.effect(), promotion.outcome()), (Some(Effect::Undo { step: 1 }), None));
    promotion.resume(Reply::Failed);
    assert_eq!(promotion.effect(), Some(Effect::Undo { step: 0 }), "a failed undo is not tried again");
    promotion.resume(Reply::Done);
    let kind = RefusalKind::Own;
    assert_eq!(promotion.outcome(), Some(&Outcome::Refused { refusal: Refusal::NO_SERVICES, kind }));
}

#[test]
fn an_outcome_that_is_recalled_is_answered_and_nothing_else_is_done() {
    let endpoint = crate::protocol::Endpoint { retry: crate::protocol::Retry::Key, ..Default::default() };
    let recall = StepAction::Recall { claim: true, claim_expires: true };
    let steps = vec![recall.into(), consume_in(Guards::ALL).into()];
    let flow = Flow::new(Default::default(), Default::default(), endpoint, steps).expect("a flow");
    let target = Some(Target { id: Uuid::from_u128(7), created: true });
    let repeats = Outcome::Succeeded { target, repeats: true };
    assert_eq!(after(&flow, vec![Reply::Recalled { target }, Reply::Done]), Err(repeats));
    let reused = Reply::Refused(Refusal::IDEMPOTENCY_KEY_REUSED);
    assert_eq!(
        after(&flow, vec![reused]),
        refused(Refusal::IDEMPOTENCY_KEY_REUSED, RefusalKind::Conflict),
        "the key is another request's"
    );
    assert_eq!(after(&flow, vec![Reply::InFlight]), refused(Refusal::IN_FLIGHT, RefusalKind::Conflict));
    assert_eq!(after(&flow, vec![Reply::NotRecalled]), at(1, BEGAN));
}

#[test]
fn a_lease_is_refused_or_released_as_its_step_says() {
    let lease = Lease { on_held: OnHeld::Refuse, until: Some(1), ..Lease::default() };
    let first = flow(vec![StepAction::Lease(lease), StepAction::Check { refusals: vec![] }]);
    assert_eq!(after(&first, vec![Reply::LeaseHeld]), refused(Refusal::LEASE_HELD, RefusalKind::Conflict));
    let leased_by = |flow: &Flow, replies| after(flow, replies).map(|at| at.leased_by);
    assert_eq!(leased_by(&first, vec![Reply::Leased { fence: 1 }]), Ok(Some(0)));
    assert_eq!(leased_by(&first, vec![Reply::Leased { fence: 1 }, Reply::Read { digest: READ }]), Ok(None));

    let second = StepAction::Lease(Lease { reentrant: true, ..Lease::default() });
    let both = flow(vec![
        StepAction::Lease(Lease { until: Some(2), ..lease }),
        second,
        StepAction::Check { refusals: vec![] },
    ]);
    let after_both = |fence| {
        let replies = [Reply::Leased { fence: 1 }, Reply::Leased { fence }, Reply::Read { digest: READ }];
        leased_by(&both, replies.into())
    };
    assert_eq!(after_both(1), Ok(None), "shared: the first step's lease ends there");
    assert_eq!(after_both(2), Ok(Some(1)), "the first lease ran out: the second ends with the attempt");
}

#[test]
fn an_own_use_is_accepted_and_not_used_again() {
    let consume = Consume {
        atomicity: Atomicity::ReadThenWrite,
        accept_own: true,
        ..Consume::new(Guards { digest: false, ..Guards::ALL })
    };
    let flow = flow(vec![StepAction::Consume(consume), StepAction::Audit]);
    let row = approval(Status::Executed);
    let look = |own_use| {
        let observed = Observed { own_use, ..Observed::default() };
        let read =
            Reply::Approval { approval: Some(&row), digest: READ, fence: 0, now: Timestamp(1), observed };
        after(&flow, vec![read]).map(|at| (at.cursor, at.repeats))
    };
    assert_eq!(look(true), Ok((2, true)), "on to the audit");
    assert!(look(false).is_err());
}

#[test]
fn a_lost_event_is_swallowed() {
    let flow = flow(vec![StepAction::Audit]);
    assert_eq!(after(&flow, vec![Reply::Failed]), at(1, BEGAN));
}

#[test]
fn a_lost_answer_leaves_the_outcome_unknown_where_the_approval_or_the_job_may_have_moved() {
    let consume = flow(vec![]);
    assert_eq!(after(&consume, vec![Reply::OutcomeUnknown]), unknown(Refusal::EXECUTE_FAILED));
    let enqueue = flow(vec![StepAction::Act(Act::new(Via::Outbox))]);
    assert_eq!(after(&enqueue, vec![Reply::OutcomeUnknown]), unknown(Refusal::ENQUEUE_FAILED));
    let group =
        flow(vec![StepAction::Atomic(vec![Member::Consume(Consume::new(Guards::ALL)), Member::Audit])]);
    assert_eq!(after(&group, vec![Reply::OutcomeUnknown]), unknown(Refusal::EXECUTE_FAILED));
    let other = flow(vec![StepAction::Atomic(vec![Member::Audit, Member::Act(Act::new(Via::Outbox))])]);
    assert_eq!(after(&other, vec![Reply::OutcomeUnknown]), unknown(Refusal::UPDATE_FAILED));
}

#[test]
fn nothing_has_changed_where_the_commit_failed_before() {
    let consume = flow(vec![]);
    assert_eq!(
        after(&consume, vec![Reply::Failed]),
        refused(Refusal::EXECUTE_FAILED, RefusalKind::Unavailable)
    );
    let lost_race = Reply::NotConsumed(Refusal::APPROVAL_ALREADY_EXECUTED);
    assert_eq!(
        after(&consume, vec![lost_race]),
        refused(Refusal::APPROVAL_ALREADY_EXECUTED, RefusalKind::Conflict)
    );
    let group = flow(vec![StepAction::Atomic(vec![Member::Consume(Consume::new(Guards::ALL))])]);
    assert_eq!(
        after(&group, vec![Reply::Failed]),
        refused(Refusal::EXECUTE_FAILED, RefusalKind::Unavailable)
    );
    let limit = Reply::Refused(Refusal::DEPLOYMENT_LIMIT_REACHED);
    assert_eq!(after(&group, vec![limit]), refused(Refusal::DEPLOYMENT_LIMIT_REACHED, RefusalKind::Own));
}

#[test]
fn a_look_before_the_consume_is_judged_by_its_guards() {
    let flow = flow(vec![StepAction::Consume(Consume {
        atomicity: Atomicity::ReadThenWrite,
        ..Consume::new(Guards::ALL)
    })]);
    let (approved, executed) = (approval(Status::Approved), approval(Status::Executed));
    let row = |approval| Reply::Approval {
        approval,
        digest: READ,
        fence: 0,
        now: Timestamp(1),
        observed: Observed::default(),
    };
    let mismatch = refused(Refusal::APPROVAL_PAYLOAD_MISMATCH, RefusalKind::Conflict);
    assert_eq!(after(&flow, vec![row(Some(&approved))]), mismatch, "a look reads no digest: BEGAN is held");
    assert_eq!(
        after(&flow, vec![row(Some(&executed))]),
        refused(Refusal::APPROVAL_ALREADY_EXECUTED, RefusalKind::Conflict)
    );
    assert_eq!(after(&flow, vec![row(None)]), refused(Refusal::APPROVAL_NOT_FOUND, RefusalKind::Conflict));
    assert_eq!(after(&flow, vec![Reply::Failed]), refused(Refusal::EXECUTE_FAILED, RefusalKind::Unavailable));
}

#[test]
fn a_lease_is_waited_for_and_its_number_is_kept_for_the_commit() {
    let guards = Guards { lease: true, ..Guards::ALL };
    let steps = [StepAction::Lease(Lease::default()), consume_in(guards)].map(Step::from);
    let flow = Flow::of_steps(steps.to_vec()).expect("a flow");
    let leased = |replies| after(&flow, replies).map(|at| (at.cursor, at.fence));
    assert_eq!(leased(vec![Reply::LeaseHeld, Reply::LeaseHeld]), Ok((0, None)), "still to be taken");
    assert_eq!(leased(vec![Reply::LeaseHeld, Reply::Leased { fence: 7 }]), Ok((1, Some(7))));
    let request = request();
    let mut promotion = Promotion::begin(&flow, &request, BEGAN);
    assert_eq!(promotion.effect(), Some(Effect::Lease { approval: request.approval }));
    promotion.resume(Reply::Leased { fence: 7 });
    let Some(Effect::Commit(commit)) = promotion.effect() else { panic!("the consume is next") };
    assert_eq!(commit.fence, Some(7));
}

#[test]
fn a_lease_that_is_not_had_is_a_refusal_and_no_preflight() {
    let flow = flow(vec![StepAction::Lease(Lease::default())]);
    for failure in [Reply::Failed, Reply::OutcomeUnknown] {
        assert_eq!(
            after(&flow, vec![failure]),
            refused(Refusal::LEASE_FAILED, RefusalKind::Unavailable),
            "nothing is consumed"
        );
    }
    let absent = Reply::NotConsumed(Refusal::APPROVAL_NOT_FOUND);
    assert_eq!(after(&flow, vec![absent]), refused(Refusal::APPROVAL_NOT_FOUND, RefusalKind::Conflict));
}

#[test]
fn a_look_before_the_consume_sees_whose_lease_it_is() {
    let guards = Guards { lease: true, ..Guards::default() };
    let flow = flow(vec![
        StepAction::Lease(Lease::default()),
        StepAction::Consume(Consume { atomicity: Atomicity::ReadThenWrite, ..Consume::new(guards) }),
    ]);
    let row = approval(Status::Approved);
    let looked = |fence| {
        let look = Reply::Approval {
            approval: Some(&row),
            digest: READ,
            fence,
            now: Timestamp(1),
            observed: Observed::default(),
        };
        after(&flow, vec![Reply::Leased { fence: 1 }, look]).map(|at| at.cursor)
    };
    assert_eq!(looked(1), Ok(2));
    assert_eq!(
        looked(2),
        Err(Outcome::Refused { refusal: Refusal::LEASE_LOST, kind: RefusalKind::Conflict })
    );
}

#[test]
fn a_target_is_the_promotions_own_only_if_it_has_created_it() {
    let [mine, theirs] = [7, 8].map(Uuid::from_u128);
    let flow = flow(vec![write(Atomicity::ReadThenWrite), write(Atomicity::ReadThenWrite)]);
    let created = || Reply::Committed { target: Some(Target { id: mine, created: true }), own_use: false };
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
    let nothing_written = Reply::Committed { target: None, own_use: false };
    assert_eq!(target(vec![Reply::Target(Some(theirs)), nothing_written]), known(theirs, false));
}

#[test]
fn a_restored_promotion_goes_on_where_it_was() {
    let flow = flow(vec![StepAction::Check { refusals: vec![] }]);
    let request = request();
    let mut promotion = Promotion::begin(&flow, &request, BEGAN);
    promotion.resume(Reply::Read { digest: READ });
    let at = promotion.checkpoint().expect("it has not ended");
    let mut restored = Promotion::restore(&flow, &request, &at).expect("it is its own");
    assert_eq!((restored.effect(), restored.step()), (promotion.effect(), promotion.step()));
    restored.resume(Reply::Committed { target: None, own_use: false });
    assert_eq!((restored.effect(), restored.step()), (Some(Effect::Answer), None));
    restored.resume(Reply::Done);
    assert_eq!(restored.outcome(), Some(&Outcome::Succeeded { target: None, repeats: false }));
    assert_eq!(restored.checkpoint(), None, "there is nothing to go on with");
}

#[test]
fn a_checkpoint_of_another_flow_or_request_is_refused() {
    // Its end is that of a flow of one step, and would be the answer of this one.
    let (short, request) = (flow(vec![]), request());
    let mut promotion = Promotion::begin(&short, &request, BEGAN);
    promotion.resume(Reply::Committed { target: None, own_use: false });
    let at = promotion.checkpoint().expect("the answer is left");
    let restore = |flow: &Flow, request: &Request| Promotion::restore(flow, request, &at).map(drop);
    assert_eq!(restore(&short, &request), Ok(()));
    assert_eq!(restore(&Flow::atomic_commit(), &request), Err(InvalidCheckpoint::OtherFlow));
    let other = Request { approval: Uuid::from_u128(9), ..request };
    assert_eq!(restore(&short, &other), Err(InvalidCheckpoint::OtherRequest));
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
    drop(after(&flow, vec![Reply::OutcomeUnknown, Reply::OutcomeUnknown]));
}
