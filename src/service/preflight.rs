//! A custom preflight: the checks that a flow's `check` steps make outside the store.

use uuid::Uuid;

use crate::{
    protocol::{Preflight, Refusal},
    store::StoreError,
};

/// The attempt that a preflight judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckRequest<'a> {
    /// The approval that the attempt names.
    pub approval: Uuid,
    /// The caller, as the attempt gives it.
    pub by: &'a str,
    /// The name of the `check` step, or else `check`.
    pub step: &'a str,
}

/// Looks up the facts that a custom [`Preflight`] judges, before anything is written.
///
/// A `check` step that lists a refusal which the preflight [can produce](Preflight::can_produce) looks them up once, and
/// ends the attempt with the first of these refusals that applies, in the flow's order. The store's own checks run
/// afterwards. The facts may be out of date at the commit.
pub trait Lookup: Preflight<<Self as Lookup>::Facts> {
    /// The facts.
    type Facts: Send;

    /// Looks them up for this attempt.
    ///
    /// # Errors
    /// The lookup itself failed: the attempt ends with a 503, and nothing is used.
    fn look_up(
        &self,
        request: &CheckRequest<'_>,
    ) -> impl Future<Output = Result<Self::Facts, StoreError>> + Send;
}

/// No checks besides the store's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoPreflight;

impl Preflight<()> for NoPreflight {
    fn can_produce(&self, _: &Refusal) -> bool {
        false
    }

    fn applies(&self, _: &Refusal, (): &()) -> bool {
        false
    }
}

impl Lookup for NoPreflight {
    type Facts = ();

    async fn look_up(&self, _: &CheckRequest<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}
