//! Spontaneous changes: the clock, and the source of the approved payload.

use countersign::{protocol::Timestamp, store::Tenants};

use super::{Simulation, services, setup::BEGIN};
use crate::{
    fixtures::run_ready,
    model::Actor,
    simulation::{LEASE_MS, faults::SKEW_MS},
};

impl Simulation {
    pub(super) fn clock_passes(&mut self, approval: u8) -> Option<()> {
        let expires_at = self.observers.get(usize::from(approval))?.expires_at;
        (self.now() < expires_at).then_some(())?;
        self.platform.clock.set(expires_at);
        self.note(Actor::World, Actor::World, approval, "the clock passes expires_at");
        Some(())
    }

    pub(super) fn clock_jumps(&mut self, ms: i64) -> Option<()> {
        let now = self.now().0.saturating_add_signed(ms).max(BEGIN.0);
        (now != self.now().0).then_some(())?;
        self.platform.clock.set(Timestamp(now));
        self.observers.iter_mut().for_each(|observer| observer.known.clean = false);
        self.narrate_fault(format!("the store's clock jumps by {} minutes", ms / 60_000));
        Some(())
    }

    pub(super) fn leases_run_out(&mut self) -> Option<()> {
        self.leases_are_held().then_some(())?;
        self.platform.clock.advance_ms(LEASE_MS + SKEW_MS.unsigned_abs());
        self.note(Actor::World, Actor::World, 0, "time passes, and leases run out");
        Some(())
    }

    pub(super) fn source_changes(&mut self, approval: u8) -> Option<()> {
        let observer = self.observers.get(usize::from(approval))?;
        (observer.approved && !observer.known.drifted).then_some(())?;
        let (team, source) = (observer.team, observer.sources[0]);
        self.images += 1;
        run_ready(self.platform.store.put_services(team, source, services(self.images))).ok();
        for observer in self.observers.iter_mut().filter(|observer| observer.sources[0] == source) {
            observer.known.drifted = true;
            observer.known.clean = false;
        }
        self.note(Actor::Source, Actor::Source, approval, "gets new images");
        Some(())
    }
}
