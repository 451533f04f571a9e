//! What makes a flow one, and what its parts are called.

use super::*;

fn consume() -> Do {
    Do::Consume { guards: Guards::ALL, how: How::AtOnce }
}

fn flow(actions: Vec<Do>) -> Result<Flow, InvalidFlow> {
    Flow::new(actions.into_iter().map(Step::from).collect())
}

#[test]
fn a_flow_consumes_exactly_once() {
    let group = Do::Atomic(vec![Member::Audit, Member::Consume { guards: Guards::ALL }]);
    assert_eq!(flow(vec![]), Err(InvalidFlow::NoConsume));
    assert_eq!(flow(vec![Do::Launch]), Err(InvalidFlow::NoConsume));
    assert_eq!(flow(vec![consume(), Do::Audit, consume()]), Err(InvalidFlow::SecondConsume(2)));
    assert_eq!(flow(vec![group.clone(), consume()]), Err(InvalidFlow::SecondConsume(1)));
    assert!(flow(vec![consume()]).is_ok());
    assert!(flow(vec![group]).is_ok());
}

#[test]
fn a_flow_has_at_most_64_steps_and_a_group_at_most_64_members() {
    let padded = |audits: usize| {
        let mut actions = vec![Do::Audit; audits];
        actions.push(consume());
        actions
    };
    assert!(flow(padded(63)).is_ok());
    assert_eq!(flow(padded(64)), Err(InvalidFlow::TooManySteps(65)));

    let group = |audits: usize| {
        let mut members = vec![Member::Audit; audits];
        members.push(Member::Consume { guards: Guards::ALL });
        vec![Do::Atomic(members)]
    };
    assert!(flow(group(63)).is_ok());
    assert_eq!(flow(group(64)), Err(InvalidFlow::TooManyMembers(0)));
    assert_eq!(flow(vec![consume(), Do::Atomic(vec![])]), Err(InvalidFlow::EmptyGroup(1)));
}

#[test]
fn a_consume_under_the_guard_of_a_lease_comes_after_one() {
    let guards = Guards { lease: true, ..Guards::ALL };
    let alone = Do::Consume { guards, how: How::AtOnce };
    let group = Do::Atomic(vec![Member::Audit, Member::Consume { guards }]);
    for guarded in [alone, group] {
        let invalid = |at| Err(InvalidFlow::GuardWithoutLease(at));
        assert_eq!(flow(vec![guarded.clone()]), invalid(0));
        assert_eq!(flow(vec![Do::Audit, guarded.clone(), Do::Lease]), invalid(1));
        let valid = flow(vec![Do::Lease, Do::Audit, guarded]).expect("a flow");
        assert!(valid.takes_lease());
    }
    assert!(!flow(vec![consume()]).expect("a flow").takes_lease());
    assert!(flow(vec![Do::Lease, consume()]).expect("a lease that nothing is guarded by").takes_lease());
}

#[test]
fn a_step_is_called_by_its_name_or_else_by_what_it_does() {
    let write = |what| Do::Write { what, how: How::AtOnce, best_effort: false, refusals: vec![] };
    let actions = vec![
        Do::Validate { checks: Checks::ALL },
        Do::Check { refusals: vec![] },
        Do::Lease,
        write(What::Target),
        write(What::Vault),
        consume(),
        Do::Audit,
        Do::Enqueue,
        Do::Launch,
        Do::Atomic(vec![Member::Audit]),
    ];
    let called: Vec<String> = actions.into_iter().map(|action| Step::from(action).to_string()).collect();
    let expected = [
        "validate",
        "check",
        "lease",
        "write target",
        "write vault",
        "consume",
        "audit",
        "enqueue",
        "launch",
        "commit",
    ];
    assert_eq!(called, expected);
    let named = Step { name: Some("source services".to_owned()), action: Do::Check { refusals: vec![] } };
    assert_eq!(named.to_string(), "source services");
}

#[test]
fn an_invalid_flow_says_why() {
    let why = [
        (InvalidFlow::NoConsume, "no step consumes the approval"),
        (InvalidFlow::SecondConsume(1), "a second consume"),
        (InvalidFlow::TooManySteps(65), "65 steps, and at most 64 are allowed"),
        (InvalidFlow::EmptyGroup(0), "an atomic group without members"),
        (InvalidFlow::TooManyMembers(0), "an atomic group of more than 64 members"),
        (InvalidFlow::GuardWithoutLease(0), "a guard of a lease that no step before it takes"),
    ];
    for (invalid, said) in why {
        assert_eq!(invalid.to_string(), said);
    }
}

#[test]
fn preflight_is_every_check_and_every_write_outside_of_a_group() {
    let write = Do::Write { what: What::Vault, how: How::AtOnce, best_effort: true, refusals: vec![] };
    let group = Do::Atomic(vec![Member::Write { what: What::Target, refusals: vec![] }]);
    let is_preflight = |action| Step::from(action).is_preflight();
    assert!(is_preflight(Do::Check { refusals: vec![] }) && is_preflight(write));
    let validate = Do::Validate { checks: Checks::ALL };
    for other in [validate, Do::Lease, consume(), Do::Audit, Do::Enqueue, Do::Launch, group] {
        assert!(!is_preflight(other.clone()), "{other:?}");
    }
}

#[test]
fn read_then_write_makes_two_actions_of_one_step() {
    let flow = flow(vec![Do::Consume { guards: Guards::ALL, how: How::ReadThenWrite }, Do::Audit])
        .expect("a flow with one consume");
    assert_eq!(flow.lines.iter().map(|(_, step)| *step).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!([0, 1, 2].map(|cursor| flow.after_step(cursor)), [2, 2, 3]);
    assert_eq!(flow.line(3), None);
}
