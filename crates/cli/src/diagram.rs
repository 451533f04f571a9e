//! A run as a sequence diagram, for the terminal or for a page.

pub(crate) mod mermaid;
pub(crate) mod terminal;

use countersign_models::model::{Actor, NarratedEvent};

/// A diagram.
pub(crate) struct Diagram {
    pub(crate) title: String,
    pub(crate) events: Vec<NarratedEvent>,
    /// Continuation without faults, for L1 and L2.
    pub(crate) tail: Vec<NarratedEvent>,
    /// The cycle that follows, for ever.
    pub(crate) cycle: Vec<NarratedEvent>,
    /// No further moves, for ever.
    pub(crate) stays: bool,
    /// The last scene before the tail violates the property.
    pub(crate) violates: bool,
}

impl Diagram {
    /// The participants, in the order of the columns.
    fn actors(&self) -> Vec<Actor> {
        let events = self.events.iter().chain(&self.tail).chain(&self.cycle);
        let mut actors: Vec<Actor> =
            events.flat_map(|scene| [scene.from, scene.to]).filter(|actor| *actor != Actor::World).collect();
        actors.sort_unstable();
        actors.dedup();
        actors
    }

    /// The scenes with their headings.
    fn acts(&self) -> impl Iterator<Item = (Option<&'static str>, &NarratedEvent)> {
        let headed = |events: &'_ [NarratedEvent], heading: Option<&'static str>| {
            (0..events.len()).map(move |index| heading.filter(|_| index == 0)).collect::<Vec<_>>()
        };
        let headings = [
            headed(&self.events, None),
            headed(&self.tail, Some("and from there, without any fault")),
            headed(&self.cycle, Some("then, for ever")),
        ];
        headings.into_iter().flatten().zip(self.events.iter().chain(&self.tail).chain(&self.cycle))
    }
}
