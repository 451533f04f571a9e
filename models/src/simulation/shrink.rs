//! Shrinking: leaves actions out of a schedule, as long as the same property is still broken, until none can be.

use std::sync::Arc;

use countersign::protocol::Flow;

use super::{Action, CallOutcome, Mutant, Scenario, Schedule, play};
use crate::properties::Property;

/// The minimal schedule that violates `property`: no action can be left out, no fault removed, and no participant
/// removed.
///
/// A schedule violates a safety property if it does so before the liveness phase; a liveness property if that is pending
/// then and never reached. So its length is comparable with that of the model's shortest run.
///
/// Returned unchanged if it does not violate the property to begin with.
pub fn shrink(flow: &Arc<Flow>, schedule: &Schedule, mutant: Option<Mutant>, property: Property) -> Schedule {
    let broken = |schedule: &Schedule| {
        let played = play(flow, schedule, mutant);
        let breaks = played.by_then >> property as u32 & 1 == 1;
        // Skipped actions need not be kept.
        breaks.then_some(Schedule { scenario: schedule.scenario.clone(), actions: played.taken })
    };
    let Some(mut best) = broken(schedule) else { return schedule.clone() };
    loop {
        let before = (best.actions.len(), best.clone());
        let scenario = best.scenario.clone();
        let here = |actions: &[Action]| {
            let fewer = Schedule { scenario: scenario.clone(), actions: actions.to_vec() };
            broken(&fewer).map(|smaller| smaller.actions)
        };
        without_chunks(&mut best.actions, &here);
        without_pairs(&mut best.actions, &here);
        with_other_outcomes(&mut best, &broken);
        without_faults(&mut best, &broken);
        simpler_scenario(&mut best, &broken);
        if best.actions.len() == before.0 && best == before.1 {
            return best;
        }
    }
}

type Broken<'a> = dyn Fn(&Schedule) -> Option<Schedule> + 'a;

/// The actions that were possible, if they still violate the property.
pub(super) type Still<'a, A> = dyn Fn(&[A]) -> Option<Vec<A>> + 'a;

/// Leaves out runs of actions: long ones first, single ones at last.
pub(super) fn without_chunks<A: Clone>(best: &mut Vec<A>, broken: &Still<'_, A>) {
    let mut length = best.len().max(1);
    while length > 0 {
        let mut from = 0;
        while from < best.len() {
            let to = (from + length).min(best.len());
            let mut fewer = best.clone();
            fewer.drain(from..to);
            match broken(&fewer) {
                Some(smaller) => *best = smaller,
                None => from = to,
            }
        }
        length /= 2;
    }
}

/// Leaves out two actions that only make sense together: a beginning and its consequence.
pub(super) fn without_pairs<A: Clone>(best: &mut Vec<A>, broken: &Still<'_, A>) {
    const LONGEST: usize = 40;
    if best.len() > LONGEST {
        return;
    }
    let mut first = 0;
    'next: while first < best.len() {
        for second in first + 1..best.len() {
            let mut fewer = best.clone();
            fewer.remove(second);
            fewer.remove(first);
            if let Some(smaller) = broken(&fewer) {
                *best = smaller;
                continue 'next;
            }
        }
        first += 1;
    }
}

/// Lets another thing become of one action, so that another one can be left out: a fault where two actions used to go
/// wrong, say.
fn with_other_outcomes(best: &mut Schedule, broken: &Broken<'_>) {
    const LONGEST: usize = 24;
    let mut index = 0;
    'next: while index < best.actions.len() && best.actions.len() <= LONGEST {
        if let Action::Promotion { client, duplicate, .. } = best.actions[index] {
            for outcome in [
                CallOutcome::Happens,
                CallOutcome::Refuses,
                CallOutcome::FailedBefore,
                CallOutcome::AnswerLost,
            ] {
                for other in (0..best.actions.len()).filter(|other| *other != index) {
                    let mut changed = best.clone();
                    changed.actions[index] = Action::Promotion { client, duplicate, outcome };
                    changed.actions.remove(other);
                    if let Some(smaller) = broken(&changed) {
                        *best = smaller;
                        continue 'next;
                    }
                }
            }
        }
        index += 1;
    }
}

fn without_faults(best: &mut Schedule, broken: &Broken<'_>) {
    for index in 0..best.actions.len() {
        let Some(plain) = best.actions.get(index).and_then(|action| action.without_fault()) else { continue };
        let mut simpler = best.clone();
        simpler.actions[index] = plain;
        if let Some(smaller) = broken(&simpler).filter(|smaller| smaller.actions.len() <= best.actions.len())
        {
            *best = smaller;
        }
    }
}

fn simpler_scenario(best: &mut Schedule, broken: &Broken<'_>) {
    let plainer: [fn(&mut Scenario); 4] = [
        |scenario| scenario.keys = false,
        |scenario| scenario.room = None,
        |scenario| scenario.skews_ms.iter_mut().for_each(|skew| *skew = 0),
        |scenario| {
            scenario.skews_ms.truncate(1);
            scenario.clients.iter_mut().for_each(|client| client.instance = 0);
        },
    ];
    for plain in plainer {
        let mut simpler = best.clone();
        plain(&mut simpler.scenario);
        if simpler.scenario != best.scenario
            && let Some(smaller) =
                broken(&simpler).filter(|smaller| smaller.actions.len() <= best.actions.len())
        {
            *best = smaller;
        }
    }
    for client in (0..best.scenario.clients.len()).rev() {
        let without = without_client(best, client);
        if let Some(smaller) = broken(&without).filter(|smaller| smaller.actions.len() <= best.actions.len())
        {
            *best = smaller;
        }
    }
    for approval in (0..best.scenario.approvals.len()).rev() {
        if let Some(without) = without_approval(best, approval)
            && let Some(smaller) =
                broken(&without).filter(|smaller| smaller.actions.len() <= best.actions.len())
        {
            *best = smaller;
        }
    }
}

/// Sends a client away; those after it move up.
fn without_client(schedule: &Schedule, gone: usize) -> Schedule {
    let moved = |client: u8| match usize::from(client) {
        client if client == gone => None,
        client if client > gone => Some(client as u8 - 1),
        client => Some(client as u8),
    };
    let mut without = schedule.clone();
    without.scenario.clients.remove(gone);
    let rename = |action: Action| {
        Some(match action {
            Action::Promotion { client, duplicate, outcome } => {
                Action::Promotion { client: moved(client)?, duplicate, outcome }
            }
            Action::Duplicate { client } => Action::Duplicate { client: moved(client)? },
            Action::Retry { client } => Action::Retry { client: moved(client)? },
            Action::Arrives { client: Some(client) } => Action::Arrives { client: Some(moved(client)?) },
            Action::ProcessDeployEnds { client, failed } => {
                Action::ProcessDeployEnds { client: moved(client)?, failed }
            }
            other => other,
        })
    };
    without.actions = schedule.actions.iter().filter_map(|action| rename(*action)).collect();
    without
}

/// Removes an approval without clients; those after it move up.
fn without_approval(schedule: &Schedule, gone: usize) -> Option<Schedule> {
    let is_last = schedule.scenario.approvals.len() == 1;
    if is_last || schedule.scenario.clients.iter().any(|client| usize::from(client.approval) == gone) {
        return None;
    }
    let moved = |approval: u8| match usize::from(approval) {
        approval if approval == gone => None,
        approval if approval > gone => Some(approval as u8 - 1),
        approval => Some(approval as u8),
    };
    let mut without = schedule.clone();
    without.scenario.approvals.remove(gone);
    for client in &mut without.scenario.clients {
        client.approval = moved(client.approval)?;
    }
    let rename = |action: Action| {
        Some(match action {
            Action::Approve { approval } => Action::Approve { approval: moved(approval)? },
            Action::Expire { approval } => Action::Expire { approval: moved(approval)? },
            Action::Reject { approval } => Action::Reject { approval: moved(approval)? },
            Action::ClockPasses { approval } => Action::ClockPasses { approval: moved(approval)? },
            Action::SourceChanges { approval } => Action::SourceChanges { approval: moved(approval)? },
            Action::DeployEnds { approval, failed } => {
                Action::DeployEnds { approval: moved(approval)?, failed }
            }
            other => other,
        })
    };
    without.actions = schedule.actions.iter().filter_map(|action| rename(*action)).collect();
    Some(without)
}
