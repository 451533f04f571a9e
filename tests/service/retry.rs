//! Asking again: the same outcome under the same key, a refusal for anything else, and what was approved is what is written.

use countersign::{
    protocol::{End, Flow, Promotion, Refusal},
    service::{Answer, promote_once, step},
    store::{Ask, Payload},
};
use countersign_models::{fixtures::at_once, flows::BuiltIn};

use crate::platform::{Platform, TEAM, service};

fn ask_once(platform: &Platform, flow: &Flow, ask: &Ask) -> Answer {
    let source = platform.store.digest(ask).expect("the team is there");
    at_once(promote_once(flow, ask, source, &platform.store, &platform.deployer))
}

fn under(ask: &Ask, key: &str) -> Ask {
    Ask { key: Some(key.into()), ..ask.clone() }
}

fn refused(answer: &Answer) -> Option<&Refusal> {
    match &answer.end {
        End::Refused { refusal, .. } => Some(refusal),
        End::Succeeded { .. } | End::Unknown { .. } => None,
    }
}

#[test]
fn the_same_key_gets_the_same_outcome_and_any_other_a_409() {
    let platform = Platform::new();
    let flow = Flow::atomic_commit();
    let approved = platform.approved();
    let first = ask_once(&platform, &flow, &under(&approved, "mine"));
    assert!(matches!(first.end, End::Succeeded { target: Some(_) }) && !first.replayed, "{first:?}");
    let again = ask_once(&platform, &flow, &under(&approved, "mine"));
    assert_eq!(again, Answer { replayed: true, ..first });
    for other in [under(&approved, "another"), approved] {
        let answer = ask_once(&platform, &flow, &other);
        assert_eq!(refused(&answer), Some(&Refusal::APPROVAL_NOT_APPROVED), "{:?}", other.key);
        assert!(!answer.replayed);
    }
}

/// The refusal of a key that was used for another request.
pub(crate) fn reused_key() -> Refusal {
    let platform = Platform::new();
    let flow = Flow::atomic_commit();
    let ask = under(&platform.approved(), "mine");
    ask_once(&platform, &flow, &ask);
    let other = Ask { payload: Payload { copy_vault: true, ..ask.payload.clone() }, ..ask };
    refused(&ask_once(&platform, &flow, &other)).expect("a refusal").clone()
}

#[test]
fn the_same_key_for_something_else_is_422() {
    assert_eq!(reused_key(), Refusal::IDEMPOTENCY_KEY_REUSED);
}

#[test]
fn a_refusal_is_never_the_outcome_of_a_key() {
    let platform = Platform::new();
    let flow = Flow::atomic_commit();
    let ask = under(&platform.approved(), "mine");
    platform.store.begin_outage(TEAM, Refusal::ENV_LOAD_FAILED);
    assert_eq!(refused(&ask_once(&platform, &flow, &ask)), Some(&Refusal::ENV_LOAD_FAILED));
    platform.store.end_outage(TEAM, &Refusal::ENV_LOAD_FAILED);
    let answer = ask_once(&platform, &flow, &ask);
    assert!(matches!(answer.end, End::Succeeded { .. }) && !answer.replayed, "{answer:?}");
}

#[test]
fn an_order_that_goes_on_after_its_consume_repeats_nothing() {
    // Executed does not say there that the promotion succeeded: to say so would be a lie.
    let platform = Platform::new();
    let flow = BuiltIn::find("consume-last").expect("it is built in").subject().flow;
    assert!(!flow.ends_with_consume() && Flow::atomic_commit().ends_with_consume());
    let ask = under(&platform.approved(), "mine");
    ask_once(&platform, &flow, &ask);
    assert_eq!(refused(&ask_once(&platform, &flow, &ask)), Some(&Refusal::APPROVAL_NOT_APPROVED));
}

#[test]
fn a_build_between_plan_and_commit_is_not_what_is_written() {
    let platform = Platform::new();
    let flow = Flow::atomic_commit();
    let ask = platform.approved();
    let mut promotion: Promotion<'_> = platform.drive_to(&flow, &ask, 2);
    platform.store.put_services(TEAM, platform.source, vec![service(Some("shop:2"))]);
    at_once(step(&mut promotion, &ask, &platform.store, &platform.deployer));
    assert!(matches!(platform.finish(promotion, &ask), End::Succeeded { .. }));
    let stacks = platform.store.stacks(TEAM);
    assert_eq!(stacks.last().expect("the target").services[..], [service(Some("shop:1"))]);
    let job = platform.store.job(TEAM, ask.request.approval).expect("there is a job");
    let record = at_once(countersign::store::Store::approval(&platform.store, TEAM, ask.request.approval));
    assert_eq!(job.digest, record.expect("nothing fails").expect("it is there").approval.digest);
}
