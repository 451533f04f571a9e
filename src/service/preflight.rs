//! A custom preflight: the checks that a flow's `check` steps make outside the store.

use uuid::Uuid;

use crate::{protocol::Refusal, store::StoreError};

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

/// Judges the refusals that a flow's `check` steps list, before anything is written.
///
/// The driver queries each listed refusal that the preflight [can produce](Self::can_produce), in the flow's order, and
/// ends the attempt with the first that applies. The store's own checks run afterwards. A preflight may be queried more
/// than once for one attempt, and its answer may be out of date at the commit.
pub trait Preflight: Send + Sync {
    /// True if this preflight has a check behind the refusal. A flow that lists a refusal without a check is refused
    /// when the gate is built.
    fn can_produce(&self, refusal: &Refusal) -> bool;

    /// True if the refusal applies to the attempt now.
    ///
    /// # Errors
    /// The check itself failed: the attempt ends with a 503, and nothing is used.
    fn applies(
        &self,
        refusal: &Refusal,
        request: &CheckRequest<'_>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// No checks besides the store's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoPreflight;

impl Preflight for NoPreflight {
    fn can_produce(&self, _: &Refusal) -> bool {
        false
    }

    async fn applies(&self, _: &Refusal, _: &CheckRequest<'_>) -> Result<bool, StoreError> {
        Ok(false)
    }
}
