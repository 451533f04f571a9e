//! Shrinking of walks: fewer actions, fewer faults, and no callers that do nothing.

use super::schedule::play;
use crate::{
    model::{Action, Bounds, Model, Role, StepOutcome},
    properties::Property,
    simulation::shrink::{Still, without_chunks, without_pairs},
};

/// The smallest crowd and list of actions that still violate `property`, of those that leaving things out leads to.
/// Unchanged if they do not violate it to begin with.
pub(super) fn shrink(
    base: &Model,
    doubles: bool,
    bounds: Bounds,
    actions: Vec<Action>,
    property: Property,
) -> (Bounds, Vec<Action>) {
    let model = base.crowded(bounds);
    let broken = |model: &Model, actions: &[Action]| {
        let played = play(model, doubles, actions);
        (played.broken & property.bit() != 0).then_some(played.taken)
    };
    let here = |actions: &[Action]| broken(&model, actions);
    let Some(mut best) = here(&actions) else { return (bounds, actions) };
    loop {
        let before = best.clone();
        without_chunks(&mut best, &here);
        without_pairs(&mut best, &here);
        with_plain_outcomes(&mut best, &here);
        if best == before {
            break;
        }
    }
    let (fewer, renamed) = without_idle_callers(base, &model, &best);
    match broken(&base.crowded(fewer), &renamed) {
        Some(taken) if taken.len() == best.len() => (fewer, taken),
        _ => (bounds, best),
    }
}

/// Replaces faults and own refusals by what usually happens.
fn with_plain_outcomes(best: &mut Vec<Action>, broken: &Still<'_, Action>) {
    for index in 0..best.len() {
        let Some(Action::Promotion { consumer, outcome }) = best.get(index).copied() else { continue };
        if outcome == StepOutcome::Happens {
            continue;
        }
        let mut plain = best.clone();
        plain[index] = Action::Promotion { consumer, outcome: StepOutcome::Happens };
        if let Some(smaller) = broken(&plain) {
            *best = smaller;
        }
    }
}

/// The callers that act, and as many crashes and faults as there are, with the actions renamed to them.
fn without_idle_callers(base: &Model, model: &Model, actions: &[Action]) -> (Bounds, Vec<Action>) {
    let acts = |wanted: u8| {
        actions.iter().filter_map(|action| action.mover()).any(|attempt| {
            matches!(model.cast()[usize::from(attempt)].role, Role::Caller { index, .. } if index == wanted)
        })
    };
    let last = model.bounds().consumers - 1;
    let is_foreign = |index: u8| index == last && model.flow().object().bound && last > 0;
    let proper: Vec<u8> = (0..=last).filter(|index| !is_foreign(*index) && acts(*index)).collect();
    let foreign = is_foreign(last) && acts(last);
    // With two or more callers the last one asks for another payload.
    let idle = model.flow().object().bound && !foreign && proper.len() > 1;
    let consumers = (proper.len().max(1) + usize::from(foreign || idle)) as u8;
    let crashes = actions.iter().filter(|action| **action == Action::Crash).count() as u8;
    let faults = actions.iter().filter(|action| action.is_fault()).count() as u8 - crashes;
    let bounds = Bounds { consumers, crashes, faults };
    let fewer = base.crowded(bounds);
    let moved = |attempt: u8| {
        let old = model.cast()[usize::from(attempt)];
        let role = match old.role {
            Role::Caller { foreign: true, .. } => Role::Caller { index: consumers - 1, foreign: true },
            Role::Caller { index, foreign: false } => {
                let index = proper.iter().position(|one| *one == index).unwrap_or_default() as u8;
                Role::Caller { index, foreign: false }
            }
            role => role,
        };
        let same =
            |new: &crate::model::Cast| new.role == role && new.retry_of.is_some() == old.retry_of.is_some();
        fewer.cast().iter().position(same).unwrap_or_default() as u8
    };
    let key = |slot: u8| if model.flow().object().uses == 1 { slot } else { moved(slot) };
    let rename = |action: &Action| match *action {
        Action::Promotion { consumer, outcome } => Action::Promotion { consumer: moved(consumer), outcome },
        Action::DeployEnds { consumer, act } => Action::DeployEnds { consumer: moved(consumer), act },
        Action::MarkerEnds { consumer } => Action::MarkerEnds { consumer: moved(consumer) },
        Action::Lease { act, slot } => Action::Lease { act, slot: key(slot) },
        Action::LaunchJob { act, slot } => Action::LaunchJob { act, slot: key(slot) },
        Action::JobDeployEnds { act, slot } => Action::JobDeployEnds { act, slot: key(slot) },
        other => other,
    };
    (bounds, actions.iter().map(rename).collect())
}
