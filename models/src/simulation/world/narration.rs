//! Actions in words: for diagrams.

use countersign::{
    protocol::Outcome,
    service::{Answer, Worked},
    store::StoreError,
};

use super::Simulation;
use crate::{
    model::{Actor, NarratedEvent},
    properties::PromotionState,
    simulation::{Wants, platform::StepRecord},
};

impl Simulation {
    pub(super) fn push_scene(
        &mut self,
        from: Actor,
        to: Actor,
        does: String,
        result: Option<String>,
        is_fault: bool,
    ) {
        if self.platform.narrates {
            self.events.push(NarratedEvent { from, to, does, result, is_fault });
        }
    }

    /// Something that is about an approval, which is named where there are several.
    pub(super) fn note(&mut self, from: Actor, to: Actor, approval: u8, does: &str) {
        if self.platform.narrates {
            self.note_in_words(from, to, approval, does);
        }
    }

    #[cold]
    fn note_in_words(&mut self, from: Actor, to: Actor, approval: u8, does: &str) {
        let does = match self.observers.len() {
            1 => does.to_owned(),
            _ => format!("{does} (approval {})", approval + 1),
        };
        self.push_scene(from, to, does, None, false);
    }

    pub(super) fn note_client(&mut self, client: u8, does: &str) {
        if self.platform.narrates {
            let actor = self.actor(client);
            self.push_scene(actor, actor, does.to_owned(), None, true);
        }
    }

    pub(super) fn narrate_fault(&mut self, does: String) {
        self.push_scene(Actor::World, Actor::World, does, None, true);
    }

    fn actor(&self, client: u8) -> Actor {
        let foreign = self.consumers[usize::from(client)].plan.wants != Wants::Approved;
        Actor::Consumer { index: client, foreign }
    }

    pub(super) fn describe_promotion(
        &mut self,
        client: u8,
        record: &StepRecord,
        answer: Option<&Answer>,
        stage: Option<PromotionState>,
    ) {
        if !self.platform.narrates {
            return;
        }
        let from = self.actor(client);
        let (to, does, result) = match &record.words {
            Some(words) => (words.0, words.1.clone(), Some(words.2.clone())),
            None => (from, "goes on".to_owned(), None),
        };
        let to = if to == Actor::World { from } else { to };
        let ended = answer.and_then(|answer| match &answer.end {
            Outcome::Refused { refusal, .. } | Outcome::Unknown { refusal } => Some(refusal.to_string()),
            Outcome::Succeeded { .. } => None,
        });
        let result = match (result, ended) {
            (Some(result), Some(ended)) if result == "ok" || result == ended => Some(ended),
            (Some(result), Some(ended)) => Some(format!("{result}, {ended}")),
            (result, ended) => result.or(ended),
        };
        let success = stage == Some(PromotionState::Succeeded);
        let result = result.filter(|result| !(success && result == "ok"));
        let is_fault = record.outcome.fault().is_some();
        self.push_scene(from, to, does, result, is_fault);
    }

    pub(super) fn describe_worker(
        &mut self,
        instance: u8,
        record: &StepRecord,
        worked: Option<Result<Worked, StoreError>>,
    ) {
        if !self.platform.narrates {
            return;
        }
        let Some((to, does, result)) = record.words.as_deref().cloned() else { return };
        let result = match worked {
            Some(Ok(Worked::LeaseLost)) => Some("another worker has its lease now".to_owned()),
            _ => Some(result).filter(|result| result != "ok"),
        };
        let is_fault = record.outcome.fault().is_some();
        self.push_scene(Actor::Worker { index: instance }, to, does, result, is_fault);
    }
}
