//! Actions of clients: begin, continue, send again, retry; and the interpretation of their answers.

use std::sync::Arc;

use countersign::{
    protocol::{Outcome, Refusal, Status, Target},
    service::Answer,
    store::{Approvals, Clock, Outbox, PromotionRequest, StackStatus, Tenants},
};
use uuid::Uuid;

use super::{Ending, Simulation, Taken, services};
use crate::{
    fixtures::{UseRequest, run_ready},
    model::{self, Actor},
    properties::{PromotionFacts, PromotionState},
    simulation::{
        Action, CallOutcome, Client, Fault, Wants,
        observer::ApprovalObserver,
        platform::{At, Deploy, Who},
        task::{self, Task},
    },
};

pub(super) enum Slot {
    /// No second request.
    Off,
    /// Not begun.
    Waiting,
    Running(Task<Answer>),
    Ended {
        succeeded: bool,
    },
}

/// One of the two requests of a client that may be under way.
pub(super) struct Attempt {
    pub(super) slot: Slot,
    /// Its place in the observer; `None` for another team's.
    pub(super) facts: Option<usize>,
    pub(super) at: At,
    pub(super) target: Option<Target>,
    /// The request follows an unknown outcome of its client.
    pub(super) is_retry: bool,
    /// When it began, its client had consumed the approval.
    pub(super) had_consumed: bool,
    /// At the last poll, another attempt held the approval's lease.
    pub(super) waits: bool,
}

impl Attempt {
    pub(super) fn new(slot: Slot, facts: Option<usize>) -> Self {
        Self {
            slot,
            facts,
            at: At::Elsewhere,
            target: None,
            is_retry: false,
            had_consumed: false,
            waits: false,
        }
    }
}

pub(super) struct Consumer {
    pub(super) plan: Client,
    pub(super) ask: Arc<UseRequest>,
    pub(super) attempts: [Attempt; 2],
    /// Under its key the approval was consumed, with this target.
    pub(super) consumed: Option<Option<Uuid>>,
    /// An answer was lost, or its request's process has died.
    pub(super) unknown: bool,
    pub(super) retries: u8,
}

impl Simulation {
    pub(super) fn duplicate(&mut self, client: u8) -> Option<()> {
        let consumer = self.consumers.get_mut(usize::from(client))?;
        let begun = matches!(consumer.attempts[0].slot, Slot::Running(_) | Slot::Ended { .. });
        let fits = begun && matches!(consumer.attempts[1].slot, Slot::Off);
        (fits && consumer.plan.wants != Wants::OtherTeam).then_some(())?;
        let observer = &mut self.observers[usize::from(consumer.plan.approval)];
        let facts = begin_facts(observer, consumer.plan.wants, self.begins_at);
        consumer.attempts[1] = Attempt::new(Slot::Waiting, facts);
        observer.known.clean = false;
        self.note_client(client, "sends its request a second time");
        Some(())
    }

    pub(super) fn retry(&mut self, client: u8) -> Option<()> {
        const MOST_RETRIES: u8 = 3;
        let consumer = self.consumers.get_mut(usize::from(client))?;
        let failed = matches!(consumer.attempts[0].slot, Slot::Ended { succeeded: false });
        (failed && consumer.retries < MOST_RETRIES).then_some(())?;
        consumer.retries += 1;
        let observer = &mut self.observers[usize::from(consumer.plan.approval)];
        let facts = begin_facts(observer, consumer.plan.wants, self.begins_at);
        let is_retry = consumer.unknown;
        consumer.attempts[0] = Attempt { is_retry, ..Attempt::new(Slot::Waiting, facts) };
        observer.known.clean = false;
        self.note_client(client, "asks again");
        Some(())
    }

    pub(super) fn promotion(&mut self, client: u8, duplicate: bool, outcome: CallOutcome) -> Option<Taken> {
        let consumer = self.consumers.get_mut(usize::from(client))?;
        let plan = consumer.plan;
        let observer = &mut self.observers[usize::from(plan.approval)];
        let attempt = &mut consumer.attempts[usize::from(duplicate)];
        if matches!(attempt.slot, Slot::Waiting) {
            let source =
                run_ready(self.platform.store.read_approval(observer.id, &consumer.ask)).ok()?.digest;
            attempt.slot = Slot::Running(task::request(&self.platform, &consumer.ask, source));
            attempt.had_consumed = consumer.consumed.is_some();
            observer.requests += 1;
            let began_on_approved = observer.status == Status::Approved && !observer.known.window_passed;
            if let Some(at) = attempt.facts {
                observer.change(at, |facts| {
                    facts.stage = PromotionState::Running;
                    facts.began_on_approved = began_on_approved;
                });
            }
            observer.known.clean &= observer.approved && plan.wants == Wants::Approved;
        }
        let Slot::Running(request) = &mut attempt.slot else { return None };
        let who = Who::Attempt { client, attempt: attempt.facts.map_or(u16::MAX, |at| at as u16) };
        self.platform.admit(who, plan.instance, outcome);
        let answer = task::poll(request);
        let done = self.platform.done();
        let record = done.as_ref().expect("a request passes the step gate whenever it is polled");
        let now = self.platform.clock.now();
        attempt.at = self.platform.at();
        attempt.waits = record.waits;
        self.acted = Some((client, duplicate));
        if let Some(target) = record.target {
            let created = |found: Target| attempt.target.is_some_and(|one| one.id == found.id && one.created);
            attempt.target = target.map(|found| Target { created: found.created || created(found), ..found });
            let mut control = self.platform.control();
            for deploy in control.deploys.iter_mut().filter(|deploy| deploy.who == who) {
                deploy.launch.target = attempt.target.map(|target| target.id);
            }
        }
        if record.changed.consumed > 0 {
            consumer.consumed = Some(attempt.target.map(|target| target.id));
        }
        let (consumed, wrote) = (record.changed.consumed > 0, record.changed.wrote);
        if let Some(at) = attempt.facts.filter(|_| consumed || wrote) {
            observer.change(at, |facts| {
                facts.consumed |= consumed;
                facts.wrote |= wrote;
            });
        }
        observer.changed(record.changed, now);
        if let Some(launch) = self.platform.launched_by(record) {
            observer.launched(&launch);
        }
        observer.known.clean &= record.outcome.fault().is_none();
        let stage = answer.as_ref().map(|answer| answered(consumer, observer, duplicate, answer));
        if let (Some(answer), Some(stage)) = (&answer, stage) {
            self.tally.endings[Ending::of(stage, answer.replayed) as usize] += 1;
        }
        self.describe_promotion(client, record, answer.as_ref(), stage);
        if let Some(answer) = answer {
            self.tally.answered_last = Some(answer.end);
        }
        Some(Taken {
            action: Action::Promotion { client, duplicate, outcome: record.outcome },
            fault: record.outcome.fault(),
            modelled: modelled(client, record.outcome).filter(|_| !record.waits),
        })
    }

    pub(super) fn process_deploy_ends(&mut self, client: u8, failed: bool) -> Option<Taken> {
        let mut control = self.platform.control();
        let mine =
            |deploy: &Deploy| matches!(deploy.who, Who::Attempt { client: whose, .. } if whose == client);
        let place = control.deploys.iter().position(mine)?;
        let deploy = control.deploys.remove(place);
        drop(control);
        let ended = if failed { StackStatus::Failed } else { StackStatus::Healthy };
        let launch = deploy.launch;
        run_ready(self.platform.store.settle(launch.approval, launch.target, ended)).ok();
        let does = format!("settles: the deploy of consumer {} ends", client + 1);
        self.push_scene(Actor::Target, Actor::Target, does, None, false);
        Some(Taken {
            action: Action::ProcessDeployEnds { client, failed },
            fault: failed.then_some(Fault::FailedDeploy),
            modelled: Some(model::Action::DeployEnds { consumer: client, act: 0 }),
        })
    }

    /// Restores the approved source.
    pub(in crate::simulation) fn undo_drift(&mut self, approval: usize) {
        let observer = &self.observers[approval];
        if observer.known.drifted {
            run_ready(self.platform.store.put_services(observer.team, observer.sources[0], services(1))).ok();
        }
    }

    /// A client that was not there before asks for what was approved, and is served to the end. The refusal, if it is
    /// one.
    pub(in crate::simulation) fn ask_afresh(&mut self, approval: usize) -> Result<(), Option<Refusal>> {
        let observer = &mut self.observers[approval];
        let known = self
            .consumers
            .iter()
            .find(|one| usize::from(one.plan.approval) == approval && one.plan.wants == Wants::Approved);
        let Some(known) = known else { return Ok(()) };
        let plan = known.plan;
        let ask = PromotionRequest { key: None, ..PromotionRequest::clone(&known.ask) };
        let ask = Arc::new(UseRequest::new(observer.id, ask));
        let Ok(reading) = run_ready(self.platform.store.read_approval(observer.id, &ask)) else {
            return Ok(());
        };
        let facts = begin_facts(observer, Wants::Approved, self.begins_at);
        let mut attempt = Attempt::new(Slot::Waiting, facts);
        attempt.slot = Slot::Running(task::request(&self.platform, &ask, reading.digest));
        if let Some(at) = facts {
            observer.change(at, |facts| facts.stage = PromotionState::Running);
        }
        observer.requests += 1;
        observer.known.clean = false;
        let attempts = [attempt, Attempt::new(Slot::Off, None)];
        self.consumers.push(Consumer { plan, ask, attempts, consumed: None, unknown: false, retries: 0 });
        let place = self.consumers.len() - 1;
        self.tally.answered_last = None;
        while let Slot::Running(_) = self.consumers[place].attempts[0].slot {
            self.go_on(place as u8);
        }
        match self.tally.answered_last.take() {
            Some(Outcome::Succeeded { .. }) => Ok(()),
            Some(Outcome::Refused { refusal, .. } | Outcome::Unknown { refusal }) => Err(Some(refusal)),
            None => Err(None),
        }
    }
}

impl Simulation {
    /// The client's first request goes on; if it has to wait for a lease, time passes. `None` when there is nothing to go
    /// on with.
    pub(in crate::simulation) fn go_on(&mut self, client: u8) -> Option<Taken> {
        let taken =
            self.take(Action::Promotion { client, duplicate: false, outcome: CallOutcome::Happens })?;
        if self.consumers[usize::from(client)].attempts[0].waits {
            self.take(Action::LeasesRunOut);
        }
        Some(taken)
    }

    /// True if this request can only wait for its approval's lease.
    pub(super) fn has_to_wait(&self, consumer: &Consumer, attempt: &Attempt) -> bool {
        let observer = &self.observers[usize::from(consumer.plan.approval)];
        attempt.waits && self.platform.is_leased(observer.team, observer.id)
    }
}

/// A promotion that has not begun gets its place in the observer; another team's has none.
pub(super) fn begin_facts(observer: &mut ApprovalObserver, wants: Wants, begins_at: At) -> Option<usize> {
    let foreign = match wants {
        Wants::Approved => false,
        Wants::OtherStack => true,
        Wants::OtherTeam => return None,
    };
    let at_consume = matches!(begins_at, At::Change { consumes: true, .. });
    Some(observer.add(PromotionFacts { foreign, at_consume, ..PromotionFacts::default() }))
}

/// Interprets a client's answer, for the observer and for the client itself.
fn answered(
    consumer: &mut Consumer,
    observer: &mut ApprovalObserver,
    duplicate: bool,
    answer: &Answer,
) -> PromotionState {
    let attempt = &mut consumer.attempts[usize::from(duplicate)];
    let stage = model::stage(&answer.end);
    let succeeded = stage == PromotionState::Succeeded;
    attempt.slot = Slot::Ended { succeeded };
    observer.requests -= 1;
    if let Some(facts) = attempt.facts {
        // A replay of the client's own success is not a second one.
        let again = answer.replayed && succeeded && consumer.consumed.is_some();
        observer.ended(facts, if again { PromotionState::Unknown } else { stage });
    } else {
        let told = match &answer.end {
            Outcome::Succeeded { .. } => true,
            Outcome::Refused { refusal, kind } if kind.is_by_rule() => {
                refusal.status() < 500 && *refusal != Refusal::APPROVAL_NOT_FOUND
            }
            Outcome::Refused { .. } | Outcome::Unknown { .. } => false,
        };
        observer.known.extra.other_tenant_asked = true;
        observer.known.extra.other_tenant_answered |= told;
    }
    let has_key = consumer.ask.key.is_some();
    if has_key && attempt.is_retry && consumer.plan.wants == Wants::Approved {
        let differs = match &answer.end {
            Outcome::Succeeded { target, .. } => {
                let target = target.map(|target| target.id);
                attempt.had_consumed && consumer.consumed != Some(target)
            }
            // A server error is no outcome: one asks again.
            Outcome::Refused { refusal, .. } => attempt.had_consumed && refusal.status() < 500,
            Outcome::Unknown { .. } => false,
        };
        observer.known.extra.retried |= stage != PromotionState::Unknown;
        observer.known.extra.retry_differs |= differs;
    }
    consumer.unknown |= stage == PromotionState::Unknown;
    stage
}

fn modelled(consumer: u8, outcome: CallOutcome) -> Option<model::Action> {
    let outcome = match outcome {
        CallOutcome::Happens => model::StepOutcome::Happens,
        CallOutcome::Refuses => model::StepOutcome::Refuses,
        CallOutcome::FailedBefore => model::StepOutcome::Fails,
        CallOutcome::AnswerLost => model::StepOutcome::LosesAnswer,
        CallOutcome::AppliedTwice | CallOutcome::AppliedLate | CallOutcome::Slow | CallOutcome::StaleRead => {
            return None;
        }
    };
    Some(model::Action::Promotion { consumer, outcome })
}
