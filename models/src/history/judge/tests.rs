//! Hand-written histories: one that violates each property, and one that does not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Finding,
    general::{Step, linearizable},
    linear::{self, Span},
    rules,
};
use crate::history::{Action, Details, Kind, Operation, Promise, Trial};

/// A history under construction; each operation takes place after the one before it.
struct Story {
    trial: Trial,
    now: u64,
}

fn story() -> Story {
    let promise = Promise { noun: "card".into(), conflict: vec![409], ..Promise::default() };
    Story { trial: Trial { object: "card-1".into(), promise, operations: Vec::new() }, now: 0 }
}

impl Story {
    fn promise(mut self, change: impl FnOnce(&mut Promise)) -> Self {
        change(&mut self.trial.promise);
        self
    }

    fn push(mut self, process: i64, f: Action, kind: Kind, details: Details) -> Self {
        let details = Details { object: "card-1".into(), ..details };
        let (invoked_ns, completed_ns) = (self.now + 1, self.now + 9);
        self.now += 10;
        self.trial.operations.push(Operation { process, f, kind, invoked_ns, completed_ns, details });
        self
    }

    /// A use with this status; 0 is no answer.
    fn used(self, status: u16) -> Self {
        self.used_as(status, |_| {})
    }

    fn used_as(self, status: u16, change: impl FnOnce(&mut Details)) -> Self {
        let kind = match status {
            200..300 => Kind::Ok,
            400..500 => Kind::Fail,
            _ => Kind::Info,
        };
        let process = self.trial.operations.len() as i64;
        let mut details = Details {
            status: (status > 0).then_some(status),
            request: Some("POST /use".into()),
            ..Details::default()
        };
        change(&mut details);
        self.push(process, Action::Use, kind, details)
    }

    fn read(self, f: Action, read: Value) -> Self {
        self.push(-1, f, Kind::Ok, Details { read: Some(read), ..Details::default() })
    }

    fn did(self, f: Action) -> Self {
        self.push(-1, f, Kind::Ok, Details::default())
    }

    fn by(self, f: Action, who: &str) -> Self {
        self.push(-1, f, Kind::Ok, Details { who: Some(who.into()), ..Details::default() })
    }
}

impl Story {
    /// The last two operations overlap.
    fn overlapping(mut self) -> Self {
        if let [.., before, last] = self.trial.operations.as_mut_slice() {
            last.invoked_ns = before.invoked_ns;
            before.completed_ns = last.completed_ns;
        }
        self
    }
}

fn other_tenant(details: &mut Details) {
    details.who = Some("stranger".into());
}

fn keyed(details: &mut Details) {
    details.key = Some(1);
}

use Action::{
    Approve, Arrange, Audit, Crash, Drift, Effects, Expire, Mend, Observe, Open, Payload, Reject, Restart,
    Settled, Spoil, Stall, Targets, Trace,
};

/// One row per property: a history that violates it, and one that could have and does not.
fn cases() -> Vec<(&'static str, Story, Story)> {
    let payload = |story: Story, read: u64| {
        let details = Details { read: Some(json!(read)), approved: Some(json!(5)), ..Details::default() };
        story.push(-1, Payload, Kind::Ok, details)
    };
    vec![
        (
            "S1",
            story().did(Spoil).used(412).read(Observe, json!(true)),
            story().did(Spoil).used(412).read(Observe, json!(false)),
        ),
        (
            "S2",
            story().used(200).used(409).read(Effects, json!(2)),
            story().used(200).used(200).read(Effects, json!(1)),
        ),
        ("S2", story().used(200).used(200), story().used(200).used(409)),
        ("S2", story().used(0).read(Effects, json!(2)), story().used(0).used(200).read(Effects, json!(1))),
        ("S3", story().used(200).used(500), story().used(200).used(409)),
        ("S3", story().used(409).used(409), story().used(409).used(200)),
        ("S3", story().used(200).used(404), story().promise(|p| p.conflict.clear()).used(200).used(404)),
        (
            "S3",
            story().promise(|p| p.conflict = vec![200]).used(200).used(409),
            story().promise(|p| p.conflict = vec![200]).used(200).used(200),
        ),
        ("S4", story().by(Arrange, "unapproved").used(200), story().by(Arrange, "unapproved").used(409)),
        ("S5", story().did(Expire).used(200), story().did(Expire).used(410)),
        (
            "S5",
            story().used_as(409, keyed).did(Expire).used_as(200, keyed),
            story().used_as(0, keyed).did(Expire).used_as(200, keyed),
        ),
        ("S6", payload(story().did(Drift).used(200), 500), payload(story().did(Drift).used(200), 5)),
        ("S6", story().did(Drift).used(200), story().did(Drift).used(409)),
        (
            "S6",
            payload(story().used(200).did(Drift).overlapping().read(Effects, json!(1)), 500),
            payload(story().used(200).did(Drift).overlapping().read(Effects, json!(1)), 5),
        ),
        (
            "S6",
            payload(story().did(Drift).used(409).used(200), 500),
            payload(story().did(Drift).used(409).used(200), 5),
        ),
        ("S7", story().used(412).read(Effects, json!(1)), story().used(412).read(Effects, json!(0))),
        (
            "S7",
            story().read(Trace, json!(3)).used(412).read(Trace, json!(4)),
            story().read(Trace, json!(3)).used(412).read(Trace, json!(3)),
        ),
        (
            "S8",
            story().used(200).read(Observe, json!(true)).read(Audit, json!(0)),
            story().used(200).read(Observe, json!(true)).read(Audit, json!(1)),
        ),
        (
            "S9",
            story().read(Observe, json!(true)).read(Observe, json!(false)),
            story().read(Observe, json!(true)).read(Observe, json!(true)),
        ),
        (
            "S10",
            story().by(Approve, "approver-1").did(Reject).overlapping().used(200),
            story().by(Approve, "approver-1").did(Reject).overlapping().used(409),
        ),
        (
            "S11",
            story().used(200).used(409).read(Targets, json!(2)),
            story().used(200).used(409).read(Targets, json!(1)),
        ),
        ("S12", story().used_as(200, other_tenant), story().used_as(404, other_tenant)),
        (
            "S12",
            story().used_as(403, other_tenant),
            story().used_as(404, other_tenant).read(Observe, json!(false)),
        ),
        (
            "S12",
            story().used_as(404, other_tenant).read(Observe, json!(true)),
            story().used_as(404, other_tenant),
        ),
        (
            "S13",
            story().used_as(200, keyed).used_as(409, keyed),
            story().used_as(200, keyed).used_as(200, keyed),
        ),
        (
            "S13",
            story().used_as(0, keyed).read(Effects, json!(1)).used_as(409, keyed),
            story().used_as(0, keyed).read(Effects, json!(1)).used_as(200, keyed),
        ),
        (
            "S15",
            story().did(Open).read(Observe, json!(true)),
            story().did(Open).read(Observe, json!(false)).used(200),
        ),
        ("S15", story().did(Open).used(409), story().did(Open).used(200)),
        (
            "S17",
            story().used(200).read(Effects, json!(1)).read(Observe, json!(false)),
            story().used(200).read(Effects, json!(1)).read(Observe, json!(true)),
        ),
        (
            "S18",
            story()
                .promise(|p| p.approvers = 2)
                .by(Approve, "approver-1")
                .by(Approve, "approver-1")
                .used(200),
            story()
                .promise(|p| p.approvers = 2)
                .by(Approve, "approver-1")
                .by(Approve, "approver-1")
                .used(409),
        ),
        ("S19", story().by(Approve, "requester").used(200), story().by(Approve, "requester").used(409)),
        ("S20", story().did(Reject).used(200), story().did(Reject).used(409)),
        (
            "S21",
            story().promise(|p| p.burn = true).did(Spoil).used(412).did(Mend).used(200),
            story().promise(|p| p.burn = true).did(Spoil).used(412).did(Mend).used(409),
        ),
        ("L1", story().used(200).read(Effects, json!(0)), story().used(200).read(Effects, json!(1))),
        ("L2", story().used(200).read(Settled, json!(false)), story().used(200).read(Settled, json!(true))),
        (
            "L3",
            story().did(Spoil).used(412).did(Mend).used(409),
            story().did(Spoil).used(412).did(Mend).used(200),
        ),
        (
            "L4",
            story().used(0).did(Crash).read(Observe, json!(false)).used(409),
            story().used(0).did(Crash).read(Observe, json!(false)).used(200),
        ),
        (
            "S14",
            story().used(409).did(Stall).used(200).used(200).read(Effects, json!(2)),
            story().used(409).did(Stall).used(200).used(409).read(Effects, json!(1)),
        ),
    ]
}

#[test]
fn each_property_is_violated_by_one_history_and_not_by_another() {
    for (index, (id, bad, good)) in cases().into_iter().enumerate() {
        let finding = rules::judge(&bad.trial, id);
        assert!(matches!(finding, Finding::Violated(_)), "case {index}, {id}: {finding:?}");
        assert_eq!(rules::judge(&good.trial, id), Finding::Holds, "case {index}, {id}");
    }
}

#[test]
fn one_effect_of_two_does_not_say_that_the_object_is_used_up() {
    let effects = |count: u64| {
        let two = story().promise(|promise| promise.uses = 2).used(200);
        rules::judge(&two.read(Effects, json!(count)).read(Observe, json!(false)).trial, "S17")
    };
    assert_eq!(effects(1), Finding::NotExercised);
    assert!(matches!(effects(2), Finding::Violated(_)));
}

#[test]
fn every_judged_property_has_a_case_and_a_name() {
    for id in super::JUDGED.iter().filter(|id| !["S16", "S22"].contains(id)) {
        assert!(cases().iter().any(|(case, ..)| case == id), "{id} has no case");
    }
}

#[test]
fn a_use_that_a_later_read_shows_late_is_after_the_expiry() {
    // use ────────────────────────┐
    //     expire ─┐  read: unused ┐
    let mut late = story().used(200).did(Expire).read(Observe, json!(false));
    late.trial.operations[0].completed_ns = late.now + 20;
    assert!(matches!(rules::judge(&late.trial, "S5"), Finding::Violated(_)));
    let mut early = story().used(200).read(Observe, json!(false)).did(Expire);
    early.trial.operations[0].completed_ns = early.now + 20;
    assert_eq!(rules::judge(&early.trial, "S5"), Finding::Holds);
}

#[test]
fn an_unresolved_outcome_is_unknown_and_an_unsent_request_did_not_happen() {
    let unresolved = story().used(200).used(0);
    assert!(matches!(rules::judge(&unresolved.trial, "S2"), Finding::Unknown(_)));
    let alike = story().promise(|p| p.conflict = vec![200]).used(200).used(200);
    assert!(matches!(rules::judge(&alike.trial, "S2"), Finding::Unknown(_)));
    assert!(matches!(rules::judge(&unresolved.trial, "S3"), Finding::Unknown(_)));
    let unsent = story().used(200).push(1, Action::Use, Kind::Fail, Details::default());
    assert_eq!(rules::judge(&unsent.trial, "S3"), Finding::NotExercised);
}

#[test]
fn a_500_after_a_lost_connection_is_no_loser() {
    let cut = story().used(500).did(Restart).read(Effects, json!(0)).used(200).read(Effects, json!(1));
    assert_eq!(rules::judge(&cut.trial, "S3"), Finding::NotExercised);
    let raced = story().used(500).used(200).read(Effects, json!(1));
    assert!(matches!(rules::judge(&raced.trial, "S3"), Finding::Violated(_)));
}

#[test]
fn a_refusal_of_what_may_have_expired_by_itself_breaks_no_promise() {
    let cases = [
        ("L3", story().did(Spoil).used(412).did(Mend).used(410)),
        ("L4", story().did(Crash).used(0).did(Restart).read(Observe, json!(false)).used(410)),
        ("S3", story().used(409).used(410)),
        ("S13", story().used_as(200, keyed).used_as(410, keyed)),
        ("S15", story().did(Open).read(Observe, json!(false)).used(410)),
    ];
    for (id, story) in cases {
        assert!(matches!(rules::judge(&story.trial, id), Finding::Violated(_)), "{id}");
        let expired = story.push(-1, Expire, Kind::Info, Details::default());
        assert_eq!(rules::judge(&expired.trial, id), Finding::NotExercised, "{id}");
    }
}

#[test]
fn a_violation_is_described_in_a_sentence() {
    let cases = [
        ("S7", story().did(Spoil).used(412).read(Effects, json!(1)), "and the effect happened once"),
        ("S20", story().did(Reject).used(200), "took effect after the card had been rejected"),
        ("S5", story().did(Expire).used(200), "took effect after the card had expired"),
        ("S8", story().used(200).read(Audit, json!(1)).read(Observe, json!(false)), "1 event records 0 uses"),
    ];
    for (id, story, expected) in cases {
        let finding = rules::judge(&story.trial, id);
        assert!(matches!(&finding, Finding::Violated(how) if how.ends_with(expected)), "{id}: {finding:?}");
    }
}

/// A judge that trusts status codes more than the effect, or takes an unknown outcome for a refusal, fails the cases.
#[test]
fn broken_judges_are_caught() {
    let by_status = |trial: &Trial, id: &str| {
        let mut trial = trial.clone();
        trial.operations.retain(|operation| operation.f != Effects);
        rules::judge(&trial, id)
    };
    let unknown_is_refused = |trial: &Trial, id: &str| {
        let mut trial = trial.clone();
        for operation in trial.operations.iter_mut().filter(|operation| operation.kind == Kind::Info) {
            operation.kind = Kind::Fail;
            operation.details.status = Some(409);
        }
        rules::judge(&trial, id)
    };
    let reads_nothing = |trial: &Trial, id: &str| {
        let mut trial = trial.clone();
        trial.operations.retain(|operation| operation.f != Observe);
        rules::judge(&trial, id)
    };
    let wrong = |judge: &dyn Fn(&Trial, &str) -> Finding| {
        cases().into_iter().any(|(id, bad, good)| {
            !matches!(judge(&bad.trial, id), Finding::Violated(_)) || judge(&good.trial, id) != Finding::Holds
        })
    };
    assert!(wrong(&by_status));
    assert!(wrong(&unknown_is_refused));
    assert!(wrong(&reads_nothing));
}

fn span() -> impl Strategy<Value = Span> {
    (0_u64..20, 1_u64..12).prop_map(|(from, length)| Span { from: from * 2, to: from * 2 + length * 2 + 1 })
}

proptest! {
    /// The linear check agrees with the general search: one use, reads, and an end.
    #[test]
    fn the_linear_check_agrees_with_the_general_search(
        usage in span(),
        end in proptest::option::of(span()),
        unused in proptest::collection::vec(span(), 0..4),
        used in proptest::collection::vec(span(), 0..3),
    ) {
        let mut operations = vec![(Step::Use, usage)];
        operations.extend(end.map(|end| (Step::End, end)));
        operations.extend(unused.iter().map(|read| (Step::Read { used: false }, *read)));
        operations.extend(used.iter().map(|read| (Step::Read { used: true }, *read)));
        let fast = match end {
            Some(end) => linear::fits_before(usage, end, &unused, &used),
            None => linear::earliest(usage, &unused, &used).is_some(),
        };
        prop_assert_eq!(fast, linearizable(&operations));
    }
}
