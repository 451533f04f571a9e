//! Preflight checks that fail on demand: how a schedule or a test injects a step's own refusal.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use countersign::{
    platform::{PlatformChecks, TenantFacts},
    protocol::{Preflight, Refusal},
};
use uuid::Uuid;

/// The platform's checks, and refusals that apply to a team between [`begin`](Self::begin) and [`end`](Self::end). Approvals
/// are not bound to the version of their target until [`bind_targets`](Self::bind_targets): the flows that are checked
/// do not promise it.
#[derive(Debug, Default)]
pub struct Outages(Mutex<BTreeSet<(Uuid, Refusal)>>, AtomicBool);

impl Outages {
    /// From now on approvals are bound to the version of their target.
    pub fn bind_targets(&self) {
        self.1.store(true, Ordering::SeqCst);
    }

    /// From now on this refusal applies to the team wherever a step lists it.
    pub fn begin(&self, team: Uuid, refusal: Refusal) {
        self.all(|outages| outages.insert((team, refusal)));
    }

    /// From now on the refusal applies only according to the platform.
    pub fn end(&self, team: Uuid, refusal: &Refusal) {
        self.all(|outages| outages.remove(&(team, refusal.clone())));
    }

    /// True between the begin and the end of the outage.
    pub fn is_out(&self, team: Uuid, refusal: &Refusal) -> bool {
        self.all(|outages| outages.iter().any(|(out, it)| *out == team && it == refusal))
    }

    fn all<T>(&self, work: impl FnOnce(&mut BTreeSet<(Uuid, Refusal)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Preflight<TenantFacts<'_>> for Outages {
    /// An outage is of a refusal that the flow lists anyway.
    fn can_produce(&self, refusal: &Refusal) -> bool {
        PlatformChecks.can_produce(refusal)
    }

    fn applies(&self, refusal: &Refusal, facts: &TenantFacts<'_>) -> bool {
        if *refusal == Refusal::TARGET_CHANGED && !self.1.load(Ordering::SeqCst) {
            return false;
        }
        self.is_out(facts.ask.team, refusal) || PlatformChecks.applies(refusal, facts)
    }
}
