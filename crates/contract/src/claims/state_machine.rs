//! Arbitrary sequences of requests, decisions, promotes and outages on the store, against the pure table of transitions.

use countersign::{
    protocol::{Event, Outcome, Refusal, Status, Timestamp, Validity, transition},
    store::{APPROVAL_WINDOW_MS, AuditKind, Verdict},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use countersign_models::fixtures::UseRequest;

use crate::world::{OPENS, TEAM, World, flow};

/// An act. Its approval is a number, modulo the existing ones.
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

/// Possible outages during a promote: those of the preflight, and those of the commit.
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

/// The state of one approval according to the transition table.
struct Expected {
    ask: UseRequest,
    status: Status,
    expires_at: Timestamp,
    moves: Vec<AuditKind>,
}

impl Expected {
    /// Tries an event, and tells whether it is an arrow of the table.
    fn happen(&mut self, event: Event, now: Timestamp) -> bool {
        let window = if now < self.expires_at { Validity::Valid } else { Validity::Expired };
        let Ok(next) = transition(self.status, event, window) else { return false };
        self.status = next;
        self.moves.push(match event {
            Event::Approve => AuditKind::Approved,
            Event::Reject => AuditKind::Rejected,
            Event::Expire => AuditKind::Expired,
            Event::Revoke => unreachable!("the gate revokes nothing"),
            Event::Consume => AuditKind::Executed,
        });
        true
    }

    /// Outcome of a promote, and whether it consumes.
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

/// Performs all acts, on separate approvals.
async fn run(world: &World, now: &mut Timestamp, acts: &[Act]) {
    let flow = flow("atomic-commit");
    let mut approvals: Vec<Expected> = Vec::new();
    for act in acts {
        let count = approvals.len();
        let meant = |approval: usize| (count > 0).then(|| approval % count);
        match act {
            Act::Request => {
                approvals.push(Expected {
                    ask: world.pending(world.ask()).await,
                    status: Status::Pending,
                    expires_at: Timestamp(now.0 + APPROVAL_WINDOW_MS),
                    moves: vec![AuditKind::Requested],
                });
            }
            Act::HoursPass(hours) => {
                now.0 += u64::from(*hours) * 60 * 60 * 1000;
                world.backend.set_clock(*now).await;
            }
            Act::Operator { approval, verdict } => {
                let Some(index) = meant(*approval) else { continue };
                let expected = &mut approvals[index];
                let (verdict, event) = match verdict {
                    Yes::Approve => (Verdict::Approve, Event::Approve),
                    Yes::Reject => (Verdict::Reject, Event::Reject),
                };
                let answer = world.operator(expected.ask.approval, verdict).await;
                let is_late = *now >= expected.expires_at;
                let moved = expected.happen(if is_late { Event::Expire } else { event }, *now);
                assert_eq!(answer.is_ok(), moved && !is_late);
                if let Err(refusal) = answer {
                    assert_eq!(refusal, Refusal::APPROVAL_GONE);
                }
            }
            Act::Administrator { approval } => {
                let Some(index) = meant(*approval) else { continue };
                let expected = &mut approvals[index];
                let answer = world.administrator(TEAM, expected.ask.approval).await;
                let moved = expected.happen(Event::Reject, *now);
                assert_eq!(answer.map(|_| ()), if moved { Ok(()) } else { Err(Refusal::NOT_PENDING) });
            }
            Act::Promote { approval, outage } => {
                let Some(index) = meant(*approval) else { continue };
                let outage = outage.map(|index| &OUTAGES[index]);
                if let Some(outage) = outage {
                    world.backend.begin_outage(TEAM, outage);
                }
                let end = world.promote(&flow, &approvals[index].ask).await;
                if let Some(outage) = outage {
                    world.backend.end_outage(TEAM, outage);
                }
                match (approvals[index].promote(*now, outage), end) {
                    (Ok(()), Outcome::Succeeded { .. }) => {
                        assert!(approvals[index].happen(Event::Consume, *now));
                    }
                    (Err(expected), Outcome::Refused { refusal, .. }) => assert_eq!(refusal, expected),
                    (expected, end) => panic!("expected {expected:?}, found {end:?}"),
                }
            }
        }
    }
    for expected in &approvals {
        assert_eq!(world.status(&expected.ask).await, expected.status);
        assert_eq!(world.events(&expected.ask).await, expected.moves, "each transition has its event");
        let job = world.backend.job(TEAM, expected.ask.approval).await;
        assert_eq!(job.is_some(), expected.status == Status::Executed, "a job for each executed one");
    }
}

/// Says which sequence it was that something went wrong with.
struct OnPanic<'a>(&'a [Act]);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with these acts: {:#?}", self.0);
        }
    }
}

pub(super) async fn any_sequence_of_acts_is_what_the_table_of_transitions_says(world: &World) {
    let mut runner = TestRunner::deterministic();
    let sequences = prop::collection::vec(act(), 0..40);
    let mut now = OPENS;
    for _ in 0..world.backend.sequences() {
        let acts = sequences.new_tree(&mut runner).expect("nothing is filtered").current();
        let said = OnPanic(&acts);
        run(world, &mut now, &acts).await;
        drop(said);
    }
}

pub(super) async fn a_preflight_failure_never_consumes_and_a_retry_succeeds(world: &World) {
    let mut now = OPENS;
    for index in 0..OUTAGES.len() {
        let acts = [
            Act::Request,
            Act::Operator { approval: 0, verdict: Yes::Approve },
            Act::Promote { approval: 0, outage: Some(index) },
            Act::Promote { approval: 0, outage: None },
            Act::Promote { approval: 0, outage: None },
        ];
        run(world, &mut now, &acts).await;
    }
}
