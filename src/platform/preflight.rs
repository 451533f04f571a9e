//! The platform's preflight: services, images, vault references, twins, the tier's cap, and the target of an approval.

use super::{
    records::Stack,
    request::{Bound, PromotionRequest},
    tenant_state::TenantState,
};
use crate::protocol::{Preflight, Refusal};

/// The facts of the checks that a store makes: what the team has, as of the store's transaction.
#[derive(Clone, Copy, Debug)]
pub struct TenantFacts<'a> {
    /// The part of the team's state that the request needs.
    pub state: &'a TenantState,
    /// The request.
    pub ask: &'a PromotionRequest,
    /// What the approval is bound to, at its use; `None` at any other moment.
    pub bound: Option<&'a Bound>,
}

impl<'a> TenantFacts<'a> {
    /// The facts of a request, apart from a use.
    pub fn new(state: &'a TenantState, ask: &'a PromotionRequest) -> Self {
        Self { state, ask, bound: None }
    }
}

/// The platform's own checks.
///
/// At the use of an approval a store asks for [`Refusal::TARGET_CHANGED`] too, which no step lists: a later write to the
/// target refuses the use.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlatformChecks;

impl Preflight<TenantFacts<'_>> for PlatformChecks {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        check_behind(refusal).is_some()
    }

    fn applies(&self, refusal: &Refusal, facts: &TenantFacts<'_>) -> bool {
        let TenantFacts { state, ask, bound } = *facts;
        if *refusal == Refusal::TARGET_CHANGED {
            return bound.is_some_and(|bound| state.has_other_target(ask, bound));
        }
        check_behind(refusal).is_some_and(|applies| applies(state, ask))
    }
}

/// Checks if a refusal applies to a request, given its team's state.
type PlatformCheck = fn(&TenantState, &PromotionRequest) -> bool;

/// The platform's check behind this refusal of a step; `None` when it has no such check.
fn check_behind(refusal: &Refusal) -> Option<PlatformCheck> {
    static CHECKS: [(Refusal, PlatformCheck); 6] = [
        (Refusal::NO_SERVICES, |state, ask| {
            state.stack(ask.payload.source).is_some_and(|stack| stack.services.is_empty())
        }),
        (Refusal::MISSING_IMAGE_REF, |state, ask| {
            let missing = |stack: &Stack| stack.services.iter().any(|one| one.image_ref.is_none());
            state.stack(ask.payload.source).is_some_and(missing)
        }),
        (Refusal::VAULT_REF_FAILED, |state, ask| !state.vault_refs_resolve(ask)),
        (Refusal::TWIN_EXISTS, |state, ask| ask.is_twin() && state.target(ask).is_some()),
        (Refusal::NOT_FOUND, |state, ask| !state.source_exists(ask)),
        (Refusal::DEPLOYMENT_LIMIT_REACHED, |state, ask| state.target(ask).is_none() && state.is_full(ask)),
    ];
    CHECKS.iter().find(|(checked, _)| checked == refusal).map(|(_, check)| *check)
}
