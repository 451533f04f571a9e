//! One sentence for the violation in a counterexample's last state, and for the missing step, if any.

use countersign::protocol::{Member, Status, StepAction};

use super::{Model, Role, narrate::shown};
use crate::{
    properties::{PromotionState, Property},
    verdict::Run,
    world::{Attempt, Lease, State, TargetStatus},
};

impl Model {
    /// Why the last state of `run` violates `property`, in the words of the flow file.
    pub fn reason(&self, property: Property, run: &Run) -> String {
        let mut before = self.initial();
        let mut state = before;
        for action in run.actions.iter().chain(&run.tail) {
            before = state;
            state = self.apply(&before, *action).unwrap_or(before);
        }
        let wrong = self.wrong(property, &before, &state);
        match self.lacking(property, &state) {
            Some(lacking) => format!("{wrong} ({lacking})"),
            None => wrong,
        }
    }

    /// The step or guard without which nothing could keep the promise, or the act that comes too early.
    fn lacking(&self, property: Property, state: &State) -> Option<String> {
        let flow = self.flow();
        let noun = &flow.object().noun;
        let audits = flow
            .steps()
            .iter()
            .any(|step| step.action == StepAction::Audit || step.members().contains(&Member::Audit));
        let checks_owner = flow
            .steps()
            .iter()
            .any(|step| matches!(&step.action, StepAction::Validate { checks, .. } if checks.owner));
        let guards = flow.consume().map(|consume| consume.guards);
        let decision = flow.decision().guards;
        match property {
            Property::S8 if !audits => Some("no step audits".to_owned()),
            Property::S2 | Property::S3 | Property::S17 | Property::S21 if guards.is_none() => {
                Some(format!("nothing uses the {noun}"))
            }
            Property::S2 if guards.is_some() && state.world.applied == 0 => {
                let most = (0..).zip(&state.world.effects).max_by_key(|(_, count)| **count);
                let act = self.act_name(most?.0);
                let mut earlier = flow.steps().iter().take_while(|step| step.consume().is_none());
                let is_earlier = earlier.any(|step| step.acts().any(|(name, _)| name == act));
                is_earlier.then(|| format!("`{act}` comes before `consume`"))
            }
            Property::S2 | Property::S3 if guards.is_some_and(|guards| !guards.status) => {
                Some("`consume` does not compare the status".to_owned())
            }
            Property::S5 if guards.is_some_and(|guards| !guards.expiry) => {
                Some("`consume` does not compare the expiry".to_owned())
            }
            Property::S20 if guards.is_some_and(|guards| !guards.status) => {
                Some("`consume` does not compare the status".to_owned())
            }
            Property::S22 if guards.is_some_and(|guards| !guards.target) => {
                Some("`consume` does not compare the target".to_owned())
            }
            Property::S6 if guards.is_some_and(|guards| !guards.digest) => {
                Some("`consume` does not compare the digest".to_owned())
            }
            Property::S12 if !checks_owner => Some("no step checks the owner".to_owned()),
            Property::S18 if !decision.distinct => Some("the decision does not count people once".to_owned()),
            Property::S19 if !decision.not_requester => {
                Some("the decision does not exclude the requester".to_owned())
            }
            _ => None,
        }
    }

    fn wrong(&self, property: Property, before: &State, state: &State) -> String {
        let object = self.flow().object();
        let (noun, most) = (object.noun.as_str(), object.uses);
        let world = &state.world;
        let find = |wanted: &dyn Fn(&Attempt) -> bool| {
            (0..self.attempts()).find(|attempt| wanted(&state.attempts[usize::from(*attempt)]))
        };
        let who = |attempt: Option<u8>| match attempt {
            Some(attempt) => self.actor(attempt).to_string(),
            None => "an attempt".to_owned(),
        };
        let times = |count: u8| match count {
            1 => "once".to_owned(),
            2 => "twice".to_owned(),
            count => format!("{count} times"),
        };
        let most_of_acts = (0..).zip(&world.effects).max_by_key(|(_, count)| **count);
        let (act, effects) = most_of_acts.map_or((0, 0), |(act, count)| (act, *count));
        let act_name = |act: u8| self.act_name(act).to_owned();
        match property {
            Property::S1 => {
                let one = who(find(&|one| one.stage.is_judged_by_s1() && one.uses > 0));
                format!("{one} was refused, and its use of the {noun} stays")
            }
            Property::S2 if world.applied > most => {
                format!("the {noun} was used {}, and {} is promised", times(world.applied), times(most))
            }
            Property::S2 if effects > most => {
                format!("{} took effect {}, and {} is promised", act_name(act), times(effects), times(most))
            }
            Property::S2 => {
                let successes =
                    state.attempts.iter().filter(|one| one.stage.is_success() && !one.repeats).count();
                format!("{successes} attempts succeeded, and the {noun} may be used {}", times(most))
            }
            Property::S3 => {
                let left = find(&|one| {
                    one.stage != PromotionState::Waiting
                        && !one.stage.is_success()
                        && !one.stage.is_conflict()
                });
                let successes = state.attempts.iter().filter(|one| one.stage.is_success()).count();
                match left {
                    Some(left) => format!("{} got neither a success nor a 409", self.actor(left)),
                    None => {
                        format!("{successes} callers succeeded, and the {noun} may be used {}", times(most))
                    }
                }
            }
            Property::S4 => format!("the {noun} was used while it was {}", word(before.world.status)),
            Property::S5 => format!("the {noun} was used past expires_at"),
            Property::S6 => "an act took effect with another payload than the approved one".to_owned(),
            Property::S7 => {
                let left = find(&|one| one.stage.is_refused() && (one.wrote || one.has_acted()));
                let what = match left.map(|attempt| &state.attempts[usize::from(attempt)]) {
                    Some(one) if one.has_acted() => "act",
                    _ => "write",
                };
                format!("{} was refused, and its {what} stays", who(left))
            }
            Property::S8 => format!(
                "the {noun} was used {}, and {} says so",
                times(world.uses),
                match world.executed_events {
                    0 => "no event".to_owned(),
                    1 => "one event".to_owned(),
                    count => format!("{count} events"),
                }
            ),
            Property::S9 => {
                format!("the {noun} was {}, and is {} again", word(before.world.status), word(world.status))
            }
            Property::S10 => format!("two different decisions on the {noun} have won"),
            Property::S11 => format!("{} targets were created", world.created()),
            Property::S12 => {
                let does = (0..self.attempts())
                    .find(|attempt| self.role(*attempt) == Role::OtherTenant)
                    .map(|attempt| &state.attempts[usize::from(attempt)])
                    .map_or("was not answered 404", |one| match one {
                        one if one.uses > 0 => "used it",
                        one if one.has_acted() => "acted",
                        one if one.stage == PromotionState::Running => "changed something",
                        one if one.stage.is_success() => "got a success",
                        _ => "was not answered 404",
                    });
                format!("the {noun} exists for a stranger, who {does}")
            }
            Property::S13 => {
                let retry = (0..self.attempts()).find(|attempt| {
                    self.cast()[usize::from(*attempt)].retry_of.is_some()
                        && state.attempts[usize::from(*attempt)].stage.is_refused()
                });
                match retry {
                    Some(retry) => format!(
                        "the first attempt of {} took effect, and its retry is refused",
                        self.actor(retry)
                    ),
                    None => "the retry of an attempt that had taken effect took effect again".to_owned(),
                }
            }
            Property::S15 => {
                let scanner = (0..self.attempts()).find(|attempt| self.role(*attempt) == Role::Scanner);
                match scanner.map(|attempt| &state.attempts[usize::from(attempt)]) {
                    Some(one) if one.uses > 0 => format!("a scanner's GET used the {noun}"),
                    Some(one) if one.has_acted() => {
                        let act = one.acted.iter().position(|count| *count > 0).unwrap_or(0);
                        format!("a scanner's GET caused {}", act_name(act as u8))
                    }
                    _ => format!("a scanner's GET approved the {noun}"),
                }
            }
            Property::S17 => format!(
                "{} took effect {}, and the {noun} {}",
                act_name(act),
                times(effects),
                if world.applied == 0 {
                    "is not used".to_owned()
                } else {
                    format!("is used {}", times(world.applied))
                }
            ),
            Property::S18 => {
                format!("the {noun} is approved by fewer people than the {} promised", object.approvers)
            }
            Property::S19 => format!("the requester of the {noun} is one of its approvers"),
            Property::S20 => format!("the {noun} was used after it was revoked"),
            Property::S21 => {
                let one = who(find(&|one| one.stage.is_refused() && one.began_on_usable && one.uses == 0));
                format!("{one} was refused, and the {noun} can be tried again")
            }
            Property::S22 => {
                format!("the {noun} was used although the target has changed since the approval")
            }
            Property::L1 => self.never_acts(state),
            Property::L2 => {
                let stuck = world.targets.iter().position(|target| *target == TargetStatus::Building);
                format!("target {} stays in building", stuck.map_or(1, |index| index + 1))
            }
            Property::L3 => format!(
                "{} was refused, and {}",
                who(find(&|one| one.stage.is_preflight())),
                self.not_again(state)
            ),
            Property::L4 => match self.failing_retry(state) {
                Some(retry) => {
                    let answer = self.refusal_alone(state, retry, false);
                    let answer =
                        answer.map_or("fails".to_owned(), |one| format!("gets {}", shown(&one, noun)));
                    format!("the {noun} is usable, and the retry of {} {answer}", self.actor(retry))
                }
                None => self.not_again(state),
            },
            Property::S14 | Property::S16 | Property::S23 => property.sentence().to_owned(),
        }
    }

    /// The act that a used object still lacks, and what became of the attempt that used it.
    fn never_acts(&self, state: &State) -> String {
        let noun = &self.flow().object().noun;
        let missing = (0u8..)
            .zip(self.flow().acts())
            .find(|(act, _)| state.world.effects[usize::from(*act)] < state.world.applied.max(1));
        let act = missing.map_or("its act", |(_, (name, _))| name);
        let ended = |wanted: PromotionState| {
            (0..self.attempts()).find(|attempt| state.attempts[usize::from(*attempt)].stage == wanted)
        };
        let retry =
            if self.flow().consume().is_some_and(|consume| consume.guards.status && !consume.accept_own) {
                ": a retry gets 409"
            } else {
                ""
            };
        let how = if let Some(dead) = ended(PromotionState::Killed) {
            format!(", the process of {} died", self.actor(dead))
        } else if let Some(lost) = ended(PromotionState::Unknown).or(ended(PromotionState::Refused)) {
            format!(", {} was answered 503", self.actor(lost))
        } else {
            String::new()
        };
        let retry = if how.is_empty() { "" } else { retry };
        format!("the {noun} is used{how}{retry}, and {act} never takes effect")
    }

    /// Why a fresh attempt fails.
    fn not_again(&self, state: &State) -> String {
        let noun = &self.flow().object().noun;
        let world = &state.world;
        if world.is_usable() {
            return match self.refusal_alone(state, 0, true) {
                _ if world.lease != Lease::Free => format!(
                    "the {noun} is usable, and a fresh attempt fails: the lease is held, and no holder releases it"
                ),
                Some(refusal) => {
                    format!("the {noun} is usable, and a fresh attempt gets {}", shown(&refusal, noun))
                }
                None => format!("the {noun} is usable, and a fresh attempt fails"),
            };
        }
        format!("a fresh attempt fails: the {noun} is {}", word(world.status))
    }
}

/// The status in the words of an object that is used.
fn word(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Approved => "approved",
        Status::Rejected => "rejected",
        Status::Expired => "expired",
        Status::Executed => "used up",
        Status::Revoked => "revoked",
    }
}
