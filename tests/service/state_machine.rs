//! Arbitrary sequences of requests, decisions, promotes and outages on the store, against the pure table of transitions.

use crate::platform::Platform;
use countersign::{
    protocol::{End, Event, Flow, Refusal, Status, Timestamp, Window, transition},
    store::{APPROVAL_WINDOW_MS, Ask, AuditKind, Decision, Store, Verdict},
};
use countersign_models::fixtures::{at_once, token_of};
use proptest::prelude::*;

/// What somebody does. Approvals are meant by their number, round and round those that there are.
#[derive(Clone, Debug)]
enum Act {
    Request,
    Operator { approval: usize, verdict: Yes },
    Administrator { approval: usize },
    HoursPass(u8),
    Promote { approval: usize, outage: Option<usize> },
}

#[derive(Clone, Copy, Debug)]
enum Yes {
    Approve,
    Reject,
}

/// What may be down while somebody promotes: the preflight's own, and the commit's.
const OUTAGES: [Refusal; 8] = [
    Refusal::FETCH_FAILED,
    Refusal::NO_SERVICES,
    Refusal::MISSING_IMAGE_REF,
    Refusal::ENV_LOAD_FAILED,
    Refusal::VAULT_REF_FAILED,
    Refusal::DEPLOYMENT_LIMIT_REACHED,
    Refusal::EXECUTE_FAILED,
    Refusal::LOOKUP_FAILED,
];

fn act() -> impl Strategy<Value = Act> {
    let approval = 0..3_usize;
    prop_oneof![
        2 => Just(Act::Request),
        3 => (approval.clone(), prop_oneof![3 => Just(Yes::Approve), 1 => Just(Yes::Reject)])
            .prop_map(|(approval, verdict)| Act::Operator { approval, verdict }),
        1 => approval.clone().prop_map(|approval| Act::Administrator { approval }),
        1 => (1..15_u8).prop_map(Act::HoursPass),
        4 => (approval, prop::option::of(0..OUTAGES.len()))
            .prop_map(|(approval, outage)| Act::Promote { approval, outage }),
    ]
}

/// What the table of transitions says of one approval.
struct Expected {
    ask: Ask,
    token: String,
    status: Status,
    expires_at: Timestamp,
    moves: Vec<AuditKind>,
}

impl Expected {
    /// Tries an event, and tells whether it is an arrow of the table.
    fn happen(&mut self, event: Event, now: Timestamp) -> bool {
        let window = if now < self.expires_at { Window::Open } else { Window::Passed };
        let Ok(next) = transition(self.status, event, window) else { return false };
        self.status = next;
        self.moves.push(match event {
            Event::Approve => AuditKind::Approved,
            Event::Reject => AuditKind::Rejected,
            Event::Expire => AuditKind::Expired,
            Event::Consume => AuditKind::Executed,
        });
        true
    }

    /// How a promote ends, and whether it consumes.
    fn promote(&self, now: Timestamp, outage: Option<&Refusal>) -> Result<(), Refusal> {
        if outage == Some(&Refusal::LOOKUP_FAILED) {
            return Err(Refusal::LOOKUP_FAILED);
        }
        if self.status != Status::Approved {
            return Err(Refusal::APPROVAL_NOT_APPROVED);
        }
        if now >= self.expires_at {
            return Err(Refusal::APPROVAL_EXPIRED);
        }
        outage.map_or(Ok(()), |outage| Err(outage.clone()))
    }
}

fn run(acts: &[Act]) -> Result<(), TestCaseError> {
    let (platform, flow) = (Platform::new(), Flow::atomic_commit());
    let mut now = crate::platform::OPENS;
    let mut approvals: Vec<Expected> = Vec::new();
    for act in acts {
        let count = approvals.len();
        let meant = |approval: usize| (count > 0).then(|| approval % count);
        match act {
            Act::Request => {
                let mut ask = platform.ask(uuid::Uuid::nil());
                let record = platform.requested(&ask);
                ask.request.approval = record.approval.id;
                approvals.push(Expected {
                    ask,
                    token: token_of(record.approval.id),
                    status: Status::Pending,
                    expires_at: Timestamp(now.0 + APPROVAL_WINDOW_MS),
                    moves: vec![AuditKind::Requested],
                });
            }
            Act::HoursPass(hours) => {
                now.0 += u64::from(*hours) * 60 * 60 * 1000;
                platform.clock.set(now);
            }
            Act::Operator { approval, verdict } => {
                let Some(index) = meant(*approval) else { continue };
                let expected = &mut approvals[index];
                let (verdict, event) = match verdict {
                    Yes::Approve => (Verdict::Approve, Event::Approve),
                    Yes::Reject => (Verdict::Reject, Event::Reject),
                };
                let decision = Decision::Operator { token: &expected.token, verdict };
                let answer = at_once(platform.store.decide(decision)).expect("nothing fails");
                let is_late = now >= expected.expires_at;
                let moved = expected.happen(if is_late { Event::Expire } else { event }, now);
                prop_assert_eq!(answer.is_ok(), moved && !is_late);
                if let Err(refusal) = answer {
                    prop_assert_eq!(refusal, Refusal::APPROVAL_GONE);
                }
            }
            Act::Administrator { approval } => {
                let Some(index) = meant(*approval) else { continue };
                let expected = &mut approvals[index];
                let decision = Decision::Administrator {
                    team: expected.ask.request.team,
                    approval: expected.ask.request.approval,
                    by: "admin",
                };
                let answer = at_once(platform.store.decide(decision)).expect("nothing fails");
                let moved = expected.happen(Event::Reject, now);
                prop_assert_eq!(answer.map(|_| ()), if moved { Ok(()) } else { Err(Refusal::NOT_PENDING) });
            }
            Act::Promote { approval, outage } => {
                let Some(index) = meant(*approval) else { continue };
                let outage = outage.map(|index| &OUTAGES[index]);
                if let Some(outage) = outage {
                    platform.store.begin_outage(crate::platform::TEAM, outage.clone());
                }
                let end = platform.promote(&flow, &approvals[index].ask);
                if let Some(outage) = outage {
                    platform.store.end_outage(crate::platform::TEAM, outage);
                }
                match (approvals[index].promote(now, outage), end) {
                    (Ok(()), End::Succeeded { .. }) => {
                        prop_assert!(approvals[index].happen(Event::Consume, now));
                    }
                    (Err(expected), End::Refused { refusal, .. }) => prop_assert_eq!(refusal, expected),
                    (expected, end) => prop_assert!(false, "expected {expected:?}, found {end:?}"),
                }
            }
        }
        for expected in &approvals {
            prop_assert_eq!(platform.status(&expected.ask), expected.status);
            let events = at_once(platform.store.audit(expected.ask.request.approval)).expect("nothing fails");
            let kinds: Vec<AuditKind> = events.iter().map(|event| event.kind).collect();
            prop_assert_eq!(&kinds, &expected.moves, "each transition has its event, in its order");
            let job = platform.store.job(crate::platform::TEAM, expected.ask.request.approval);
            prop_assert_eq!(
                job.is_some(),
                expected.status == Status::Executed,
                "a job for each executed one"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_acts_is_what_the_table_of_transitions_says(acts in prop::collection::vec(act(), 0..40)) {
        run(&acts)?;
    }
}

#[test]
fn a_preflight_failure_never_consumes_and_a_retry_succeeds() {
    for (index, outage) in OUTAGES.iter().enumerate() {
        let acts = [
            Act::Request,
            Act::Operator { approval: 0, verdict: Yes::Approve },
            Act::Promote { approval: 0, outage: Some(index) },
            Act::Promote { approval: 0, outage: None },
            Act::Promote { approval: 0, outage: None },
        ];
        run(&acts).unwrap_or_else(|error| panic!("{outage}: {error}"));
    }
}
