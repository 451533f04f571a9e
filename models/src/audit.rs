//! Audit logs checked against the model: can a run of this flow write the log?
//!
//! A log shows little: of each approval, which events were written and when. Everything else may have happened in
//! between. So the model is taken along in every state that it may be in; an event that no such state leads to was not
//! allowed.

use countersign::{
    protocol::{Flow, Retry, Timestamp},
    store::{APPROVAL_WINDOW_MS, AuditKind},
};
use hashbrown::{HashMap, HashSet};

use crate::{
    explorer::Explorable as _,
    flows::without_keys,
    history::{
        Action, Details, HARNESS, Kind, Operation, Promise, Trial,
        judge::{Judged, judge_all},
    },
    model::{Bounds, Model},
    world::{Packed, State},
};

type States = HashSet<Packed, foldhash::fast::FixedState>;

/// The part of an approval's next event that a log shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sight {
    kind: AuditKind,
    window_passed: bool,
}

/// Holds the events of one approval after another against a flow.
pub struct Auditor {
    model: Model,
    /// Memo: the possible states after these events; `None` if no run writes them.
    known: HashMap<Vec<Sight>, States, foldhash::fast::FixedState>,
}

/// An event that nothing allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// The first event is not the request.
    NoRequest,
    /// After the events before it, the event of this place cannot follow.
    Event(usize),
}

impl Auditor {
    /// For a flow, within the default bounds. A flow that executes an approval more than twice is not followed further:
    /// the model counts to two. Steps for keys are left out: a repeated request that is answered by them writes no event,
    /// and any other is an attempt like another caller's.
    pub fn new(flow: Flow) -> Self {
        let has_keys = flow.endpoint().retry == Retry::Key;
        let flow = has_keys.then(|| without_keys(&flow)).flatten().unwrap_or(flow);
        Self { model: Model::new(flow, Bounds::default()), known: HashMap::default() }
    }

    /// Checks that the flow can write the events of one approval in this order.
    ///
    /// # Errors
    /// [`NotAllowed`] for the first event that cannot follow.
    pub fn judge(&mut self, events: &[(AuditKind, Timestamp)]) -> Result<(), NotAllowed> {
        let Some(((AuditKind::Requested, requested_at), rest)) = events.split_first() else {
            return if events.is_empty() { Ok(()) } else { Err(NotAllowed::NoRequest) };
        };
        let expires_at = Timestamp(requested_at.0.saturating_add(APPROVAL_WINDOW_MS));
        let mut sights: Vec<Sight> = Vec::new();
        for (place, (kind, at)) in (1..).zip(rest) {
            let before = events[place - 1].0;
            match kind {
                // The platform revokes under every flow, and what is revoked is never used.
                AuditKind::Revoked if before == AuditKind::Approved && place == rest.len() => {}
                AuditKind::RejectedLate
                    if [AuditKind::Expired, AuditKind::RejectedLate].contains(&before) => {}
                AuditKind::Revoked | AuditKind::RejectedLate => return Err(NotAllowed::Event(place)),
                AuditKind::Requested
                | AuditKind::Approved
                | AuditKind::Rejected
                | AuditKind::Expired
                | AuditKind::Executed => {
                    sights.push(Sight { kind: *kind, window_passed: expires_at <= *at });
                    if self.after(&sights).is_empty() {
                        return Err(NotAllowed::Event(place));
                    }
                }
            }
        }
        Ok(())
    }

    /// The states that the model may be in right after the last of these.
    fn after(&mut self, sights: &[Sight]) -> &States {
        if !self.known.contains_key(sights) {
            let states = match sights.split_last() {
                None => States::from_iter([self.model.pack(&self.model.initial())]),
                Some((last, before)) => {
                    let before = self.after(before).clone();
                    self.step(before, *last)
                }
            };
            self.known.insert(sights.to_vec(), states);
        }
        &self.known[sights]
    }

    /// The states right after this event, reached from any of these states by unlogged actions.
    fn step(&self, mut states: States, sight: Sight) -> States {
        let mut after = States::default();
        let mut open: Vec<Packed> = states.iter().copied().collect();
        while let Some(packed) = open.pop() {
            let state = self.model.unpack(&packed);
            for (next, _) in self.model.moves(&state) {
                match event(&state, &next) {
                    Some(kind) if kind == sight.kind && next.world.window_passed == sight.window_passed => {
                        after.insert(self.model.pack(&next));
                    }
                    Some(_) => {}
                    None => {
                        let packed = self.model.pack(&next);
                        if states.insert(packed) {
                            open.push(packed);
                        }
                    }
                }
            }
        }
        after
    }
}

/// The properties that the events of one approval violate under any flow, each with the reason.
pub fn violated(events: &[(AuditKind, Timestamp)]) -> Vec<(&'static str, String)> {
    let how = |judged: &Judged| Some((judged.id, judged.shortest.as_ref()?.1.clone()));
    let requested_at = events.first().map_or(Timestamp(0), |(_, at)| *at);
    let expires_at = Timestamp(requested_at.0.saturating_add(APPROVAL_WINDOW_MS));
    judge_all(&[trial(events, expires_at)]).judged().iter().filter_map(how).collect()
}

/// The events as a history: each is an operation that took no time, and the end of the window is one, too.
pub fn trial(events: &[(AuditKind, Timestamp)], expires_at: Timestamp) -> Trial {
    let promise = Promise { noun: "approval".into(), ..Promise::default() };
    let mut trial = Trial { object: String::new(), promise, operations: Vec::new() };
    let mut push = |f, at: Timestamp, who: Option<&str>| {
        let details = Details { who: who.map(str::to_owned), ..Details::default() };
        let at_ns = at.0.saturating_mul(1_000_000);
        let operation = Operation {
            process: HARNESS,
            f,
            kind: Kind::Ok,
            invoked_ns: at_ns,
            completed_ns: at_ns.saturating_add(1),
            details: Details {
                request: (f == Action::Use).then(|| AuditKind::Executed.as_str().to_owned()),
                ..details
            },
        };
        trial.operations.push(operation);
    };
    for (kind, at) in events {
        match kind {
            // Not approved yet.
            AuditKind::Requested => {
                push(Action::Arrange, *at, Some("unapproved"));
                // At the end of its window it is expired, and this is before an event of the same moment.
                push(Action::Expire, Timestamp(expires_at.0.saturating_sub(1)), None);
            }
            AuditKind::Approved => push(Action::Approve, *at, Some("approver-1")),
            AuditKind::Rejected | AuditKind::Revoked => push(Action::Reject, *at, None),
            // It changed nothing.
            AuditKind::RejectedLate => {}
            AuditKind::Expired => push(Action::Expire, *at, None),
            AuditKind::Executed => push(Action::Use, *at, None),
        }
    }
    trial.operations.sort_by_key(|operation| operation.invoked_ns);
    trial
}

/// The event that is written between these two states.
fn event(before: &State, after: &State) -> Option<AuditKind> {
    use countersign::protocol::Status;
    let (before, after) = (&before.world, &after.world);
    if after.executed_events > before.executed_events {
        return Some(AuditKind::Executed);
    }
    if after.decisions == before.decisions {
        return None;
    }
    match after.status {
        Status::Approved => Some(AuditKind::Approved),
        Status::Rejected => Some(AuditKind::Rejected),
        Status::Expired => Some(AuditKind::Expired),
        Status::Pending | Status::Executed | Status::Revoked => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::BuiltIn;

    const REQUESTED: (AuditKind, Timestamp) = (AuditKind::Requested, Timestamp(0));
    const LATE: u64 = APPROVAL_WINDOW_MS;

    fn judge(flow: &str, events: &[(AuditKind, u64)]) -> Result<(), NotAllowed> {
        let flow = BuiltIn::find(flow).expect("it is built in").subject().flow;
        let rest = events.iter().map(|(kind, at)| (*kind, Timestamp(*at)));
        Auditor::new(flow).judge(&[REQUESTED].into_iter().chain(rest).collect::<Vec<_>>())
    }

    #[test]
    fn what_the_shipped_order_does_is_allowed() {
        use AuditKind::*;
        for events in [
            &[][..],
            &[(Approved, 1)],
            &[(Approved, 1), (Executed, LATE - 1)],
            &[(Rejected, 1)],
            &[(Rejected, LATE)],
            &[(Expired, LATE)],
        ] {
            assert_eq!(judge("atomic-commit", events), Ok(()), "{events:?}");
        }
    }

    #[test]
    fn what_it_never_does_is_found_by_its_place() {
        use AuditKind::*;
        for (events, place) in [
            (&[(Executed, 1)][..], 1),
            (&[(Approved, LATE)], 1),
            (&[(Expired, 1)], 1),
            (&[(Rejected, 1), (Executed, 2)], 2),
            (&[(Approved, 1), (Rejected, 2)], 2),
            (&[(Approved, 1), (Executed, LATE)], 2),
            (&[(Approved, 1), (Executed, 2), (Executed, 3)], 3),
        ] {
            assert_eq!(judge("atomic-commit", events), Err(NotAllowed::Event(place)), "{events:?}");
        }
    }

    #[test]
    fn what_must_not_be_is_named_by_its_property() {
        use AuditKind::*;
        for (events, expected) in [
            (&[(Approved, 1), (Executed, LATE - 1)][..], &[][..]),
            (&[(Approved, 1), (Executed, LATE)], &["S5"]),
            (&[(Executed, 1)], &["S4"]),
            (&[(Approved, 1), (Rejected, 2), (Executed, 3)], &["S20"]),
            (&[(Approved, 1), (Executed, 2), (Executed, 3)], &["S2"]),
        ] {
            let rest = events.iter().map(|(kind, at)| (*kind, Timestamp(*at)));
            let found = violated(&[REQUESTED].into_iter().chain(rest).collect::<Vec<_>>());
            let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
            assert!(expected.iter().all(|id| ids.contains(id)), "{events:?}: {found:?}");
            assert_eq!(expected.is_empty(), ids.is_empty(), "{events:?}: {found:?}");
        }
    }

    #[test]
    fn another_order_allows_what_it_does() {
        use AuditKind::*;
        // The merged fix does not look at the clock when it consumes.
        assert_eq!(judge("consume-last", &[(Approved, 1), (Executed, LATE)]), Ok(()));
        assert_eq!(judge("consume-last", &[(Executed, 1)]), Err(NotAllowed::Event(1)));
    }

    #[test]
    fn a_log_that_does_not_begin_with_the_request_is_none() {
        let mut auditor = Auditor::new(Flow::atomic_commit());
        assert_eq!(auditor.judge(&[(AuditKind::Approved, Timestamp(1))]), Err(NotAllowed::NoRequest));
        assert_eq!(auditor.judge(&[]), Ok(()));
    }

    #[test]
    fn a_revocation_is_the_last_event_and_a_late_rejection_follows_an_expiry() {
        use AuditKind::*;
        let mut auditor = Auditor::new(Flow::atomic_commit());
        let mut judge = |kinds: &[AuditKind]| {
            let at = |kind: &AuditKind| match kind {
                Expired | RejectedLate => Timestamp(APPROVAL_WINDOW_MS),
                _ => Timestamp(1),
            };
            let events = kinds.iter().map(|kind| (*kind, at(kind)));
            auditor.judge(&[REQUESTED].into_iter().chain(events).collect::<Vec<_>>())
        };
        assert_eq!(judge(&[Approved, Revoked]), Ok(()));
        assert_eq!(judge(&[Expired, RejectedLate, RejectedLate]), Ok(()));
        assert_eq!(judge(&[Revoked]), Err(NotAllowed::Event(1)));
        assert_eq!(judge(&[Approved, Executed, Revoked]), Err(NotAllowed::Event(3)));
        assert_eq!(judge(&[Approved, Revoked, Executed]), Err(NotAllowed::Event(2)));
        assert_eq!(judge(&[Rejected, RejectedLate]), Err(NotAllowed::Event(2)));
    }
}
