//! A failure of a walk as a small file.

use serde::{Deserialize, Serialize};

use super::schedule::play;
use crate::{
    flows::Subject,
    model::{Action, Bounds, Model, NarratedEvent},
    properties::Property,
    simulation::{InvalidScenario, Replayed, Unplayable},
    verdict::Run,
    world::State,
};

/// The played subject, where it is not the production driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plays {
    /// The model.
    Model,
}

/// A walk that violates a property, with the flow that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The model is played.
    pub plays: Plays,
    /// The version of countersign that found it.
    pub version: String,
    /// The property's id.
    pub property: String,
    /// The flow's name.
    pub flow: String,
    /// The flow's file, whole.
    pub flow_file: String,
    /// The canary, where the store was broken on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// The seed that found it; the actions are its shrunk schedule.
    pub seed: u64,
    /// Number of callers.
    pub callers: u8,
    /// The crashes that may happen.
    pub crashes: u8,
    /// The faults that may be injected.
    pub faults: u8,
    /// The actions.
    pub actions: Vec<Action>,
}

impl Failure {
    /// Plays it again.
    ///
    /// # Errors
    /// [`Unplayable`] with the cause.
    pub fn replay(&self) -> Result<Replayed, Unplayable> {
        let property = Property::from_id(&self.property).ok_or(Unplayable::Property)?;
        let doubles = match self.mutant.as_deref() {
            None => false,
            Some(super::campaign::CANARY) => true,
            Some(_) => return Err(Unplayable::Mutant),
        };
        let flow = Subject::read(self.flow_file.as_bytes()).map_err(Unplayable::Flow)?.flow;
        let base = Model::unseated(flow);
        let most = base.most_callers();
        if !(1..=most).contains(&self.callers) {
            return Err(Unplayable::Scenario(InvalidScenario::Callers(self.callers, most)));
        }
        if self.crashes.max(self.faults) > Bounds::MAX_BUDGET {
            return Err(Unplayable::Scenario(InvalidScenario::Budget(self.crashes, self.faults)));
        }
        let bounds = Bounds { consumers: self.callers, crashes: self.crashes, faults: self.faults };
        let model = base.crowded(bounds);
        let played = play(&model, doubles, &self.actions);
        let mut state = model.initial();
        let events = narrated(&model, &mut state, &played.taken);
        let aftermath = narrated(&model, &mut state, &played.liveness_actions);
        let is_broken = played.broken & property.bit() != 0;
        let taken = played.taken.len();
        let tail = if property.is_inevitable() { played.liveness_actions } else { Vec::new() };
        let run = Run { actions: played.taken, tail, cycle: Vec::new() };
        // The reason of a store that is broken on purpose is that it is.
        let reason = (is_broken && !doubles).then(|| model.reason(property, &run));
        Ok(Replayed { property, is_broken, taken, events, aftermath, reason })
    }
}

fn narrated(model: &Model, state: &mut State, actions: &[Action]) -> Vec<NarratedEvent> {
    let narrate = |action: &Action| {
        let event = model.narrate(state, *action);
        *state = model.apply(state, *action).unwrap_or(*state);
        event
    };
    actions.iter().map(narrate).collect()
}
