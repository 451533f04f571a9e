//! External observations of an approval, translated into the facts of the properties.
//!
//! A test of a running service sees answers, audit events, targets and a deploy sink, but no state. Answers are
//! interpreted literally: 2xx happened, 4xx is an observation, everything else is unknown.

use countersign::{
    protocol::{Refusal, Status, Timestamp},
    store::AuditKind,
};

use crate::properties::{ExtraFacts, Facts, More, PromotionFacts, PromotionState, Property};

/// One answer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// 200, 201 or 202: the status and the body.
    Success(u16, String),
    /// 4xx: the status and the code.
    Refusal(u16, String),
    /// A 5xx, a timeout or a broken connection.
    Nothing,
}

/// One client: all answers under its idempotency key, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Requests another payload than the approved one.
    pub foreign: bool,
    /// The approval was approved when it began.
    pub began_on_approved: bool,
    /// The answers.
    pub told: Vec<Response>,
}

/// All observations of one approval, after all requests and deploys have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Its status.
    pub status: Status,
    /// The end of its window.
    pub expires_at: Timestamp,
    /// Its window has passed.
    pub window_passed: bool,
    /// The source has changed since the request.
    pub drifted: bool,
    /// The statuses that were seen while it went on, in order.
    pub seen: Vec<Status>,
    /// Its audit events, oldest first.
    pub events: Vec<(AuditKind, Timestamp)>,
    /// The clients that tried to use it.
    pub clients: Vec<Client>,
    /// The targets that its family has in the environment.
    pub targets: usize,
    /// A target or the vault has changed since before the first attempt.
    pub wrote: bool,
    /// Targets that are still building.
    pub building: usize,
    /// The launches that took effect; all under one key are one.
    pub launches: usize,
    /// One of them launched another payload than the approved one.
    pub launched_other: bool,
    /// A process crashed, or an answer was lost, during the attempts.
    pub disturbed: bool,
    /// Facts beyond the approval itself. Those about retries are added from the clients' answers.
    pub extra: ExtraFacts,
}

/// Preflight refusals that the answer identifies.
const PREFLIGHT: [Refusal; 5] = [
    Refusal::NO_SERVICES,
    Refusal::MISSING_IMAGE_REF,
    Refusal::DEPLOYMENT_LIMIT_REACHED,
    Refusal::VAULT_REF_FAILED,
    Refusal::TWIN_EXISTS,
];

impl Client {
    fn successes(&self) -> impl Iterator<Item = &Response> {
        self.told.iter().filter(|told| matches!(told, Response::Success(..)))
    }

    /// Outcome of the client. One success counts, regardless of later answers.
    pub fn stage(&self) -> PromotionState {
        if self.successes().next().is_some() {
            return PromotionState::Succeeded;
        }
        let last = self.told.iter().rev().find(|told| !matches!(told, Response::Nothing));
        match last {
            Some(Response::Refusal(_, code)) if PREFLIGHT.iter().any(|refusal| refusal.code() == code) => {
                PromotionState::PreflightRefused
            }
            Some(Response::Refusal(409, _)) => PromotionState::Conflict,
            Some(Response::Refusal(..)) => PromotionState::Refused,
            Some(Response::Success(..) | Response::Nothing) | None if self.told.is_empty() => {
                PromotionState::Waiting
            }
            Some(Response::Success(..) | Response::Nothing) | None => PromotionState::Unknown,
        }
    }

    /// The client retried after an unknown outcome.
    fn has_retried(&self) -> bool {
        let unknown = self.told.iter().position(|told| *told == Response::Nothing);
        unknown.is_some_and(|at| self.told[at..].iter().any(|told| *told != Response::Nothing))
    }

    /// The client received a success, and later another outcome.
    fn got_another_answer(&self) -> bool {
        let mut successes = self.successes();
        let Some(first) = successes.next() else { return false };
        let after = self.told.iter().skip_while(|told| *told != first);
        after.into_iter().any(|told| !matches!(told, Response::Nothing) && !is_same(first, told))
    }
}

/// True if two answers report the same outcome.
fn is_same(first: &Response, other: &Response) -> bool {
    matches!((first, other), (Response::Success(a, one), Response::Success(b, two)) if a == b && one == two)
}

fn saturated(count: usize) -> u8 {
    count.min(2) as u8
}

impl Observation {
    /// The violated and the exercised properties, as sets of bits. `fresh_succeeds` is the outcome of one fresh
    /// promotion of the approved payload; `None` if there was none.
    pub fn judge(&self, fresh_succeeds: Option<bool>) -> crate::simulation::Found {
        let promotions: Vec<PromotionFacts> =
            self.clients.iter().map(|client| self.promotion(client)).collect();
        let facts = self.facts(&promotions);
        let fresh = || fresh_succeeds.unwrap_or(true);
        let mut broken = 0;
        let mut exercised = 0;
        for property in Property::ALL {
            let owed = crate::properties::Inevitable::ALL
                .into_iter()
                .any(|inevitable| inevitable.property() == *property && inevitable.is_pending(&facts));
            broken |= u32::from(owed || property.is_violated(&facts, fresh)) << *property as u32;
            let retried = *property == Property::L3 && fresh_succeeds.is_some();
            exercised |= u32::from(retried || self.is_exercised(*property, &facts)) << *property as u32;
        }
        crate::simulation::Found { broken, exercised }
    }

    /// Positions within the flow are not visible from outside: several attempts have to suffice.
    fn is_exercised(&self, property: Property, facts: &Facts<'_>) -> bool {
        let executed = facts.status == Status::Executed;
        let tried = |wanted: fn(&Client) -> bool| self.clients.iter().filter(|client| wanted(client)).count();
        match property {
            Property::S2 => executed && tried(|client| client.began_on_approved) > 1,
            Property::S5 => {
                self.window_passed && tried(|client| client.stage() != PromotionState::Waiting) > 0
            }
            Property::S7 => tried(|client| client.stage().is_refused()) > 0,
            Property::S11 => self.targets > 0 && tried(|client| client.began_on_approved) > 1,
            Property::L1 | Property::L2 => executed,
            _ => property.is_exercised(facts),
        }
    }

    fn facts<'a>(&self, promotions: &'a [PromotionFacts]) -> Facts<'a> {
        let count = |wanted: AuditKind| self.events.iter().filter(|(kind, _)| *kind == wanted).count();
        let executed_events = count(AuditKind::Executed);
        let executed = self.status == Status::Executed;
        let successes = promotions.iter().filter(|one| one.stage == PromotionState::Succeeded).count();
        let approved_first = self.events.iter().take_while(|(kind, _)| *kind != AuditKind::Executed);
        let was_approved = approved_first.into_iter().any(|(kind, _)| *kind == AuditKind::Approved);
        let left = |pair: &[Status]| pair[0].is_final() && pair[1] != pair[0];
        let ends: Vec<Status> = self.seen.iter().copied().chain([self.status]).collect();
        let lost =
            executed && successes == 0 && promotions.iter().any(|one| one.stage != PromotionState::Waiting);
        let mut extra = self.extra;
        extra.retried |= self.clients.iter().any(Client::has_retried);
        extra.retry_differs |= self.clients.iter().any(Client::got_another_answer) || lost;
        Facts {
            status: self.status,
            window_passed: self.window_passed,
            drifted: self.drifted,
            executions: saturated(executed_events.max(usize::from(executed))),
            executed_unapproved: executed && !was_approved,
            executed_late: self
                .events
                .iter()
                .any(|(kind, at)| *kind == AuditKind::Executed && *at >= self.expires_at),
            final_left: ends.windows(2).any(left),
            decisions: saturated(
                count(AuditKind::Approved) + count(AuditKind::Rejected) + count(AuditKind::Expired),
            ),
            executed_events: saturated(executed_events),
            targets_created: saturated(self.targets),
            vault_written: false,
            building: saturated(self.building),
            launches: saturated(self.launches),
            launched_other: self.launched_other,
            launched_unexecuted: self.launches > 0 && !executed,
            under_way: false,
            clean: !self.disturbed
                && !self.window_passed
                && !self.drifted
                && self.status != Status::Rejected
                && promotions.iter().all(|one| {
                    !one.foreign && one.stage != PromotionState::PreflightRefused && one.began_on_approved
                }),
            promotions,
            extra,
            more: More::default(),
        }
    }

    fn promotion(&self, client: &Client) -> PromotionFacts {
        let stage = client.stage();
        let executed = self.status == Status::Executed;
        // Some client did it: one with a success, or otherwise one with an unknown outcome.
        let by_another = self.clients.iter().any(|other| {
            other != client
                && matches!(
                    other.stage(),
                    PromotionState::Succeeded | PromotionState::Unknown | PromotionState::Killed
                )
        });
        PromotionFacts {
            stage,
            foreign: client.foreign,
            began_on_approved: client.began_on_approved,
            consumed: stage == PromotionState::Succeeded || (executed && !by_another),
            wrote: stage.is_refused() && self.wrote && !executed,
            at_consume: false,
            at_contended_write: false,
            ..PromotionFacts::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Observation {
        let at = Timestamp;
        let told = |told| Client { told: vec![told], began_on_approved: true, foreign: false };
        Observation {
            status: Status::Executed,
            expires_at: at(100),
            window_passed: false,
            drifted: false,
            seen: vec![Status::Pending, Status::Approved],
            events: vec![
                (AuditKind::Requested, at(1)),
                (AuditKind::Approved, at(2)),
                (AuditKind::Executed, at(3)),
            ],
            clients: vec![
                told(Response::Success(202, "body".into())),
                told(Response::Refusal(409, "approval_already_executed".into())),
            ],
            targets: 1,
            wrote: true,
            building: 0,
            launches: 1,
            launched_other: false,
            disturbed: false,
            extra: ExtraFacts::default(),
        }
    }

    /// Something that must not be, and the property that it breaks.
    type Wrong = (fn(&mut Observation), Property);

    const WRONGS: [Wrong; 18] = [
        (
            |all| {
                all.clients = vec![Client {
                    told: vec![Response::Refusal(412, "no_services".into())],
                    began_on_approved: true,
                    foreign: false,
                }];
            },
            Property::S1,
        ),
        (|all| all.launches = 2, Property::S2),
        (|all| all.clients[1].told = all.clients[0].told.clone(), Property::S2),
        (|all| all.clients[1].told = vec![Response::Refusal(404, "approval_not_found".into())], Property::S3),
        (|all| all.events.retain(|(kind, _)| *kind != AuditKind::Approved), Property::S4),
        (|all| all.events[2].1 = Timestamp(100), Property::S5),
        (|all| all.launched_other = true, Property::S6),
        (
            |all| {
                all.status = Status::Approved;
                all.clients.remove(0);
            },
            Property::S7,
        ),
        (|all| all.events.truncate(2), Property::S8),
        (|all| all.seen.push(Status::Rejected), Property::S9),
        (|all| all.events.push((AuditKind::Rejected, Timestamp(4))), Property::S10),
        (|all| all.targets = 2, Property::S11),
        (|all| all.extra.other_tenant_answered = true, Property::S12),
        (
            |all| all.clients[0].told.push(Response::Refusal(409, "approval_not_approved".into())),
            Property::S13,
        ),
        (|all| all.extra.moved_by_a_look = true, Property::S15),
        (|all| all.extra.token_found = true, Property::S16),
        (|all| all.launches = 0, Property::L1),
        (|all| all.building = 1, Property::L2),
    ];

    #[test]
    fn a_sound_run_breaks_nothing() {
        assert_eq!(sound().judge(None).broken, 0);
    }

    #[test]
    fn each_wrong_is_seen_by_its_property() {
        for (place, (spoil, property)) in WRONGS.iter().enumerate() {
            let mut observation = sound();
            spoil(&mut observation);
            let found = observation.judge(None);
            assert!(found.broken().any(|broken| broken == *property), "wrong {place} breaks {property}");
        }
    }

    #[test]
    fn an_approval_that_cannot_be_used_after_a_failed_preflight_breaks_l3_and_l4() {
        let mut observation = sound();
        observation.status = Status::Approved;
        observation.events.pop();
        (observation.wrote, observation.targets, observation.launches) = (false, 0, 0);
        observation.clients = vec![Client {
            told: vec![Response::Refusal(412, "no_services".into())],
            began_on_approved: true,
            foreign: false,
        }];
        assert_eq!(observation.judge(Some(true)).broken, 0);
        let broken: Vec<_> = observation.judge(Some(false)).broken().collect();
        assert_eq!(broken, [Property::L3, Property::L4]);
    }

    #[test]
    fn a_success_without_any_answer_violates_s13() {
        let mut observation = sound();
        observation.clients.remove(0);
        observation.clients[0].told.insert(0, Response::Nothing);
        assert!(observation.judge(None).broken().any(|broken| broken == Property::S13));
    }
}
