//! The checks behind the refusals that a flow's steps list.

use super::refusal::Refusal;

/// Judges refusals on facts of type `F`.
///
/// The judgement reads nothing: its facts come with the call. The platform's checks judge the rows that a store has read
/// in its transaction; custom checks judge what their lookup has found before anything is written.
pub trait Preflight<F>: Send + Sync {
    /// True if a check is behind this refusal. A flow with a step that lists another one is refused when it is loaded.
    fn can_produce(&self, refusal: &Refusal) -> bool;

    /// True if this refusal applies. Returning `false` for a refusal without a check lets the attempt pass.
    fn applies(&self, refusal: &Refusal, facts: &F) -> bool;
}
