//! The invariants of a flow, and the names of its parts.

use super::*;

const EITHER: Guards = Guards::ALL;

fn consume() -> StepAction {
    StepAction::Consume(Consume::new(EITHER))
}

fn flow(actions: Vec<StepAction>) -> Result<Flow, InvalidFlow> {
    Flow::of_steps(actions.into_iter().map(Step::from).collect())
}

fn wrong(step: usize, member: Option<usize>, problem: FlowProblem) -> Result<Flow, InvalidFlow> {
    Err(InvalidFlow { step: Some(step), member, problem })
}

fn named_act(name: &str, via: Via) -> Member {
    Member::Act(Act { name: Some(name.to_owned()), ..Act::new(via) })
}

#[test]
fn a_flow_consumes_at_most_once() {
    let group = StepAction::Atomic(vec![Member::Audit, Member::Consume(Consume::new(EITHER))]);
    let nowhere = |problem| Err(InvalidFlow { step: None, member: None, problem });
    assert_eq!(flow(vec![]), nowhere(FlowProblem::NoSteps));
    assert!(flow(vec![StepAction::Audit]).expect("nothing uses it up").consume().is_none());
    assert_eq!(
        flow(vec![consume(), StepAction::Audit, consume()]),
        wrong(2, None, FlowProblem::SecondConsume)
    );
    assert_eq!(flow(vec![consume(), group.clone()]), wrong(1, Some(1), FlowProblem::SecondConsume));
    assert!(flow(vec![group]).expect("a flow").consume().is_some());
}

#[test]
fn a_flow_has_at_most_64_steps_and_a_group_at_most_64_members() {
    assert!(flow(vec![StepAction::Audit; 64]).is_ok());
    assert_eq!(flow(vec![StepAction::Audit; 65]), wrong(64, None, FlowProblem::TooManySteps(65)));
    let group = |audits: usize| vec![StepAction::Atomic(vec![Member::Audit; audits])];
    assert!(flow(group(64)).is_ok());
    assert_eq!(flow(group(65)), wrong(0, None, FlowProblem::TooManyMembers(65)));
    assert_eq!(flow(group(0)), wrong(0, None, FlowProblem::EmptyGroup));
}

#[test]
fn acts_have_different_names_and_are_at_most_three() {
    let act = |name: &str| Step::named(name, StepAction::Act(Act::new(Via::Memory)));
    let group = |names: &[&str]| {
        StepAction::Atomic(names.iter().map(|name| named_act(name, Via::Outbox)).collect()).into()
    };
    let three = Flow::of_steps(vec![act("a"), group(&["b", "c"])]).expect("three acts");
    assert_eq!(three.acts().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "c"]);
    let same = FlowProblem::SameAct("b".to_owned());
    assert_eq!(Flow::of_steps(vec![act("b"), group(&["a", "b"])]), wrong(1, Some(1), same));
    let many = Flow::of_steps(vec![act("a"), group(&["b", "c", "d"])]);
    assert_eq!(many, wrong(1, Some(2), FlowProblem::TooManyActs));
    let unnamed = StepAction::Act(Act::new(Via::Answer));
    let twice = flow(vec![unnamed.clone(), unnamed]);
    assert_eq!(twice, wrong(1, None, FlowProblem::SameAct("act".to_owned())));
    let own = StepAction::Act(Act { name: Some("a".to_owned()), ..Act::new(Via::Memory) });
    assert_eq!(flow(vec![own]), wrong(0, None, FlowProblem::ActNamedTwice));
}

#[test]
fn a_group_has_only_what_one_transaction_can_do() {
    let group = |member| flow(vec![StepAction::Audit, StepAction::Atomic(vec![Member::Audit, member])]);
    for via in [Via::Memory, Via::Call { key: true }, Via::Answer] {
        assert_eq!(group(named_act("a", via)), wrong(1, Some(1), FlowProblem::ActInGroup), "{via:?}");
    }
    for via in [Via::Outbox, Via::Row { unique: true }, Via::Row { unique: false }] {
        assert!(group(named_act("a", via)).is_ok(), "{via:?}");
    }
    let read = Consume { atomicity: Atomicity::ReadThenWrite, ..Consume::default() };
    assert_eq!(group(Member::Consume(read)), wrong(1, Some(1), FlowProblem::ReadThenWriteInGroup));
    let undone = Write { undo: true, ..Write::new(WriteTarget::Vault) };
    assert_eq!(group(Member::Write(undone)), wrong(1, Some(1), FlowProblem::UndoInGroup));
    assert_eq!(group(Member::Remember), wrong(1, Some(1), FlowProblem::KeyWithoutRetry));
}

#[test]
fn only_calls_are_undone_and_only_targets_are_looked_for() {
    for via in [Via::Memory, Via::Outbox, Via::Row { unique: true }, Via::Answer] {
        let act = StepAction::Act(Act { undo: true, ..Act::new(via) });
        assert_eq!(flow(vec![act]), wrong(0, None, FlowProblem::UndoOfAct), "{via:?}");
    }
    assert!(flow(vec![StepAction::Act(Act { undo: true, ..Act::new(Via::Call { key: false }) })]).is_ok());
    let vault = Write { atomicity: Atomicity::ReadThenWrite, ..Write::new(WriteTarget::Vault) };
    assert_eq!(flow(vec![StepAction::Write(vault)]), wrong(0, None, FlowProblem::VaultReadThenWrite));
}

#[test]
fn keys_are_recalled_and_remembered_only_where_clients_send_them() {
    for action in [StepAction::Recall { claim: false, claim_expires: true }, StepAction::Remember] {
        for retry in [Retry::None, Retry::Keyless, Retry::Key] {
            let endpoint = Endpoint { retry, ..Endpoint::default() };
            let steps = vec![Step::from(action.clone())];
            let made = Flow::new(Object::default(), DecisionRule::default(), endpoint, steps);
            match retry {
                Retry::Key => assert!(made.is_ok()),
                _ => assert_eq!(made, wrong(0, None, FlowProblem::KeyWithoutRetry)),
            }
        }
    }
}

#[test]
fn a_consume_under_the_guard_of_a_lease_comes_after_one() {
    let guarded = Consume::new(Guards { lease: true, ..Guards::ALL });
    let lease = StepAction::Lease(Lease::default());
    let group = StepAction::Atomic(vec![Member::Audit, Member::Consume(guarded)]);
    for (guarded, member) in [(StepAction::Consume(guarded), None), (group, Some(1))] {
        let invalid = |at| wrong(at, member, FlowProblem::GuardWithoutLease);
        assert_eq!(flow(vec![guarded.clone()]), invalid(0));
        assert_eq!(flow(vec![StepAction::Audit, guarded.clone(), lease.clone()]), invalid(1));
        assert!(flow(vec![lease.clone(), StepAction::Audit, guarded]).expect("a flow").takes_lease());
    }
    assert!(!flow(vec![consume()]).expect("a flow").takes_lease());
}

#[test]
fn a_lease_ends_after_it_began() {
    let until = |until| {
        let lease = StepAction::Lease(Lease { until: Some(until), ..Lease::default() });
        flow(vec![StepAction::Audit, lease, StepAction::Audit])
    };
    assert!(until(2).is_ok());
    for index in [0, 1, 3] {
        assert_eq!(until(index), wrong(1, None, FlowProblem::UntilBeforeLease(index)));
    }
    let forever = Lease { expires: false, renewed: true, ..Lease::default() };
    assert_eq!(flow(vec![StepAction::Lease(forever)]), wrong(0, None, FlowProblem::RenewedForever));
}

#[test]
fn promises_have_limits() {
    let made = |object, decision| {
        Flow::new(object, decision, Endpoint::default(), vec![StepAction::Audit.into()])
            .map_err(|e| e.problem)
    };
    for uses in [0, 4] {
        let object = Object { uses, ..Object::default() };
        assert_eq!(made(object, DecisionRule::default()), Err(FlowProblem::Uses(uses)));
    }
    let object = |approvers| Object { approvers, ..Object::default() };
    assert_eq!(made(object(4), DecisionRule::default()), Err(FlowProblem::Approvers(4)));
    let rule = DecisionRule { method: Method::Get, ..DecisionRule::default() };
    assert_eq!(made(object(0), rule), Err(FlowProblem::DecisionWithoutApprovers));
    assert!(made(object(0), DecisionRule::default()).is_ok() && made(object(1), rule).is_ok());
}

#[test]
fn a_step_is_called_by_its_name_or_else_by_what_it_does() {
    let actions = vec![
        StepAction::Validate { checks: Checks::ALL, accept_own: false },
        StepAction::Check { refusals: vec![] },
        StepAction::Recall { claim: false, claim_expires: true },
        StepAction::Lease(Lease::default()),
        StepAction::Write(Write::new(WriteTarget::Target)),
        StepAction::Write(Write::new(WriteTarget::Vault)),
        consume(),
        StepAction::Act(Act::new(Via::Outbox)),
        StepAction::Audit,
        StepAction::Remember,
        StepAction::Atomic(vec![Member::Audit]),
    ];
    let called: Vec<String> = actions.into_iter().map(|action| Step::from(action).to_string()).collect();
    let expected = [
        "validate",
        "check",
        "recall",
        "lease",
        "write target",
        "write vault",
        "consume",
        "act",
        "audit",
        "remember",
        "commit",
    ];
    assert_eq!(called, expected);
    assert_eq!(Step::named("basket", StepAction::Check { refusals: vec![] }).to_string(), "basket");
}

#[test]
fn an_invalid_flow_says_where_and_why() {
    let invalid = InvalidFlow { step: Some(1), member: Some(2), problem: FlowProblem::SecondConsume };
    assert_eq!(invalid.to_string(), "step 2: member 3: a second consume");
    let invalid = InvalidFlow { step: None, member: None, problem: FlowProblem::Uses(4) };
    assert_eq!(invalid.to_string(), "uses = 4, expected 1 to 3");
}

#[test]
fn preflight_is_every_validate_and_every_check_and_write_outside_of_a_group() {
    let is_preflight = |action| Step::from(action).is_preflight();
    assert!(is_preflight(StepAction::Validate { checks: Checks::ALL, accept_own: false }));
    assert!(is_preflight(StepAction::Check { refusals: vec![] }));
    assert!(is_preflight(StepAction::Write(Write::new(WriteTarget::Vault))));
    let group = StepAction::Atomic(vec![Member::Write(Write::new(WriteTarget::Target))]);
    for other in [StepAction::Lease(Lease::default()), consume(), StepAction::Audit, group] {
        assert!(!is_preflight(other.clone()), "{other:?}");
    }
}

#[test]
fn read_then_write_makes_two_actions_of_one_step() {
    let read = Consume { atomicity: Atomicity::ReadThenWrite, ..Consume::new(EITHER) };
    let flow = flow(vec![StepAction::Consume(read), StepAction::Audit]).expect("a flow");
    assert_eq!(flow.instructions.iter().map(|(_, step)| *step).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!([0, 1, 2].map(|cursor| flow.span_of_step(cursor)), [(0, 2), (0, 2), (2, 3)]);
    assert_eq!(flow.instruction(3), None);
}
