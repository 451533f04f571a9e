//! The parts of the flow vocabulary that the driver and the stores carry out as the protocol means them.
//!
//! Every field of a flow is named here, so that a new one needs a decision. A word is refused when in doubt: a flow
//! that starts runs the steps that were verified.

use std::fmt;

use super::Lookup;
use crate::{
    protocol::{
        Act, Checks, Consume, DecisionRule, Endpoint, FailedAttempt, Flow, Guards, Lease, Member, Method,
        Object, OnConflict, OnHeld, Preflight, Refusal, Retry, Step, StepAction, Storage, Via, Write,
    },
    store::{AttemptReads, PlatformChecks},
};

/// The first part of a flow that the driver and the stores do not carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnsupportedStep {
    /// A promise about the object, or a way in which people and clients reach it.
    Promise {
        /// The table of the flow file.
        table: &'static str,
        /// The key and its value.
        word: String,
    },
    /// A word of a step.
    Word {
        /// The name of the step or of the act, or else what it does.
        step: String,
        /// The word, with its key and value where it has one.
        word: String,
    },
    /// A refusal that no check of the store or of the preflight can produce.
    Refusal {
        /// The name of the step, or else what it does.
        step: String,
        /// The refusal that it lists.
        refusal: Refusal,
    },
}

impl fmt::Display for UnsupportedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promise { table, word } => {
                write!(f, "`[{table}]` has {word}, which the production driver does not carry out")
            }
            Self::Word { step, word } => {
                write!(f, "the step `{step}` uses {word}, which the production driver does not carry out")
            }
            Self::Refusal { step, refusal } => {
                write!(f, "the step `{step}` lists \"{refusal}\", which no check can produce")
            }
        }
    }
}

impl std::error::Error for UnsupportedStep {}

/// Checks that the driver and a store of this crate can execute `flow`, with the [platform's checks](PlatformChecks) alone.
///
/// Call it once, when the flow is loaded: the driver itself fails closed with a 503 at some of the words that are
/// refused here, and ignores others.
///
/// # Errors
/// [`UnsupportedStep`] names the first unsupported part.
pub fn supports(flow: &Flow) -> Result<(), UnsupportedStep> {
    check(flow, Producers { store: &|refusal| PlatformChecks.can_produce(refusal), preflight: &|_| false })
}

/// As [`supports`], with this store's checks in place of the platform's, and a preflight besides them: its refusals may stand
/// in `check` steps.
///
/// # Errors
/// [`UnsupportedStep`] names the first part that is not carried out.
pub fn supports_with<S: AttemptReads, P: Lookup>(
    flow: &Flow,
    store: &S,
    preflight: &P,
) -> Result<(), UnsupportedStep> {
    let (store, preflight) =
        (|refusal: &_| store.can_produce(refusal), |refusal: &_| preflight.can_produce(refusal));
    check(flow, Producers { store: &store, preflight: &preflight })
}

fn check(flow: &Flow, producers: Producers<'_>) -> Result<(), UnsupportedStep> {
    object(flow.object())?;
    reach(flow.decision(), flow.endpoint())?;
    let mut before = Before { acted: false, leased: false, producers };
    let last = flow.steps().len() - 1;
    flow.steps().iter().enumerate().try_for_each(|(at, step)| before.check(step, at == last))
}

/// An approval of the platform is the default object; only its name and its audit are the flow's own.
fn object(object: &Object) -> Result<(), UnsupportedStep> {
    let Object {
        noun: _,
        uses,
        approvers,
        separate,
        expires,
        revocable,
        bound,
        target_bound,
        owner,
        audited: _,
        failed_attempt,
    } = object;
    let table = "object";
    let promise = |key, value: &dyn fmt::Display| promise(table, key, value);
    refuse_if(*uses != 1, || promise("uses", uses))?;
    refuse_if(*approvers != 1, || promise("approvers", approvers))?;
    refuse_if(*separate, || promise("separate", separate))?;
    refuse_if(!*expires, || promise("expires", expires))?;
    refuse_if(*revocable, || promise("revocable", revocable))?;
    refuse_if(!*bound, || promise("bound", bound))?;
    refuse_if(*target_bound, || promise("target_bound", target_bound))?;
    refuse_if(!*owner, || promise("owner", owner))?;
    refuse_if(*failed_attempt == FailedAttempt::Burn, || promise("failed_attempt", &"\"burn\""))
}

fn reach(decision: DecisionRule, endpoint: Endpoint) -> Result<(), UnsupportedStep> {
    let DecisionRule { guards, method } = decision;
    refuse_if(guards != DecisionRule::default().guards, || {
        let word = "`guards` other than [\"status\", \"expiry\"]".to_owned();
        UnsupportedStep::Promise { table: "decision", word }
    })?;
    refuse_if(method == Method::Get, || promise("decision", "method", &"\"GET\""))?;
    let Endpoint { method, retry } = endpoint;
    refuse_if(method == Method::Get, || promise("endpoint", "method", &"\"GET\""))?;
    match retry {
        Retry::None | Retry::Key => Ok(()),
        Retry::Keyless => Err(promise("endpoint", "retry", &"\"keyless\"")),
    }
}

fn promise(table: &'static str, key: &str, value: &dyn fmt::Display) -> UnsupportedStep {
    UnsupportedStep::Promise { table, word: format!("`{key} = {value}`") }
}

fn refuse_if(wrong: bool, refusal: impl FnOnce() -> UnsupportedStep) -> Result<(), UnsupportedStep> {
    if wrong { Err(refusal()) } else { Ok(()) }
}

/// A word of the step of this name.
#[derive(Clone, Copy)]
struct At<'a>(&'a str);

impl At<'_> {
    fn word(self, wrong: bool, word: &str) -> Result<(), UnsupportedStep> {
        refuse_if(wrong, || UnsupportedStep::Word { step: self.0.to_owned(), word: word.to_owned() })
    }
}

/// The checks that can produce a refusal.
#[derive(Clone, Copy)]
struct Producers<'a> {
    /// Those of the store, for `check` and `write` steps.
    store: &'a dyn Fn(&Refusal) -> bool,
    /// Those of the preflight, for `check` steps.
    preflight: &'a dyn Fn(&Refusal) -> bool,
}

/// Properties of the steps before the current one.
struct Before<'a> {
    acted: bool,
    leased: bool,
    producers: Producers<'a>,
}

impl Before<'_> {
    fn check(&mut self, step: &Step, is_last: bool) -> Result<(), UnsupportedStep> {
        // The promotion itself handles `on_error`: the driver only runs the effects.
        let Step { name: _, on_error: _, action } = step;
        let name = step.to_string();
        let at = At(&name);
        match action {
            StepAction::Validate { checks, accept_own } => {
                // The target is compared only with `target_bound`, which is refused.
                let Checks { owner: _, status: _, binding: _, expiry: _, digest: _, target: _ } = *checks;
                at.word(*accept_own, "`validate` with `accept_own = true`")?;
            }
            StepAction::Check { refusals } => {
                let Producers { store, preflight } = self.producers;
                known(at, refusals, |refusal| store(refusal) || preflight(refusal))?;
            }
            StepAction::Recall { claim, claim_expires: _ } => {
                at.word(*claim, "`recall` with `claim = true`")?;
            }
            StepAction::Lease(lease) => self.lease(at, *lease)?,
            StepAction::Write(one) => write(at, one, self.producers.store)?,
            StepAction::Consume(one) => consume(at, one)?,
            StepAction::Act(one) => self.act(at, one)?,
            StepAction::Audit => {}
            // The stores keep the outcome with the use.
            StepAction::Remember => at.word(true, "`remember` outside the group that consumes")?,
            StepAction::Atomic(members) => {
                for member in members {
                    match member {
                        Member::Consume(one) => consume(at, one)?,
                        Member::Write(one) => write(at, one, self.producers.store)?,
                        Member::Act(one) => self.act(At(one.name.as_deref().unwrap_or(&name)), one)?,
                        Member::Audit => {}
                        Member::Remember => {
                            let alone = step.consume().is_none();
                            at.word(alone, "`remember` outside the group that consumes")?;
                            // A refusal after it would have to forget the outcome.
                            at.word(!is_last, "`remember` before the last step")?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A lease of the stores runs out after a fixed time, and is released at the end of the attempt.
    fn lease(&mut self, at: At<'_>, lease: Lease) -> Result<(), UnsupportedStep> {
        let Lease { on_held, expires, renewed, reentrant, until, undo } = lease;
        at.word(on_held == OnHeld::Refuse, "`lease` with `on_held = \"refuse\"`")?;
        at.word(!expires, "`lease` with `expires = false`")?;
        at.word(renewed, "`lease` with `renewed = true`")?;
        at.word(reentrant, "`lease` with `reentrant = true`")?;
        at.word(until.is_some(), "`lease` with `until`")?;
        at.word(undo, "`lease` with `undo = true`")?;
        // It would wait for the attempt's own first lease.
        at.word(self.leased, "a second `lease`")?;
        self.leased = true;
        Ok(())
    }

    /// The stores keep one job for an approval, and neither jobs nor launches carry the name of their act.
    fn act(&mut self, at: At<'_>, act: &Act) -> Result<(), UnsupportedStep> {
        let Act { name: _, via, refusals, undo } = act;
        match via {
            Via::Memory | Via::Outbox => {}
            Via::Row { unique: _ } => at.word(true, "`act` with `via = \"row\"`")?,
            Via::Call { key: _ } => at.word(true, "`act` with `via = \"call\"`")?,
            Via::Answer => at.word(true, "`act` with `via = \"answer\"`")?,
        }
        at.word(!refusals.is_empty(), "`act` with `refusals`")?;
        at.word(*undo, "`act` with `undo = true`")?;
        at.word(self.acted, "a second `act`")?;
        self.acted = true;
        Ok(())
    }
}

fn write(at: At<'_>, write: &Write, by_store: &dyn Fn(&Refusal) -> bool) -> Result<(), UnsupportedStep> {
    // Both targets, in one action or in two.
    let Write { what: _, atomicity: _, refusals, undo } = write;
    at.word(*undo, "`write` with `undo = true`")?;
    known(at, refusals, by_store)
}

fn consume(at: At<'_>, consume: &Consume) -> Result<(), UnsupportedStep> {
    // With one use, the read-then-write form writes what an update without a condition writes.
    let Consume { guards, atomicity: _, on_conflict, storage, accept_own, undo } = *consume;
    // The target is compared only with `target_bound`, which is refused.
    let Guards { status: _, expiry: _, digest: _, target: _, lease: _ } = guards;
    at.word(on_conflict == OnConflict::Continue, "`consume` with `on_conflict = \"continue\"`")?;
    at.word(storage == Storage::Memory, "`consume` with `store = \"memory\"`")?;
    at.word(accept_own, "`consume` with `accept_own = true`")?;
    at.word(undo, "`consume` with `undo = true`")
}

/// Refuses codes that no check produces: a check that lists one would pass in silence. A well-known 503 is the reply of a
/// step whose store failed.
fn known(
    at: At<'_>,
    refusals: &[Refusal],
    can_produce: impl Fn(&Refusal) -> bool,
) -> Result<(), UnsupportedStep> {
    let is_failure = |refusal: &Refusal| refusal.status() == 503 && Refusal::WELL_KNOWN.contains(refusal);
    let unknown = |refusal: &&Refusal| !is_failure(refusal) && !can_produce(refusal);
    match refusals.iter().find(unknown) {
        Some(refusal) => Err(UnsupportedStep::Refusal { step: at.0.to_owned(), refusal: refusal.clone() }),
        None => Ok(()),
    }
}

#[cfg(all(test, feature = "flow-files"))]
mod tests;
