//! The rule of each property on one object's history, and what the rules share.

mod decisions;
mod effects;
mod refusals;
mod uses;

use serde_json::Value;

use super::{Finding, linear::Span};
use crate::history::{Action, Kind, Operation, Trial};

pub(super) fn judge(trial: &Trial, id: &str) -> Finding {
    let view = View { trial };
    match id {
        "S1" => view.burns_on_refusal(),
        "S2" => view.at_most_once(),
        "S3" => view.losers(),
        "S4" => view.unapproved(),
        "S5" => view.use_after(Action::Expire, "expired"),
        "S6" => view.other_payload(),
        "S7" => view.traces(),
        "S8" => view.audited(),
        "S9" => view.final_state(),
        "S10" => view.decisions(),
        "S11" => view.targets(),
        "S12" => view.strangers(),
        "S13" => view.retries(),
        "S14" => view.fenced(),
        "S15" => view.safe_methods(),
        "S17" => view.effect_without_use(),
        "S18" => view.approvers(),
        "S19" => view.requester(),
        "S20" => view.use_after(Action::Reject, "been rejected"),
        "S21" => view.burnt(),
        "L1" => view.effect_owed(),
        "L2" => view.settled(),
        "L3" => view.retryable(),
        "L4" => view.progress(),
        _ => Finding::NotExercised,
    }
}

struct View<'t> {
    trial: &'t Trial,
}

fn span(operation: &Operation) -> Span {
    Span { from: operation.invoked_ns, to: operation.completed_ns }
}

/// Refused by the service with a status.
fn refused(operation: &Operation) -> bool {
    operation.kind == Kind::Fail && operation.details.status.is_some()
}

fn is_stranger(operation: &Operation) -> bool {
    operation.details.who.as_deref() == Some("stranger")
}

fn status(operation: &Operation) -> String {
    operation.details.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())
}

/// "once", or how many times.
fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// A number of things, such as "1 event".
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn verdict(violated: bool, how: impl FnOnce() -> String) -> Finding {
    if violated { Finding::Violated(how()) } else { Finding::Holds }
}

impl<'t> View<'t> {
    fn all(&self, f: Action) -> impl DoubleEndedIterator<Item = &'t Operation> + Clone {
        self.trial.operations.iter().filter(move |operation| operation.f == f)
    }

    fn ok(&self, f: Action) -> impl DoubleEndedIterator<Item = &'t Operation> + Clone {
        self.all(f).filter(|operation| operation.kind == Kind::Ok)
    }

    fn happened(&self, f: Action) -> bool {
        self.all(f).next().is_some()
    }

    /// The service was killed, or lost its connections to the database: a recovery follows both.
    fn crashed(&self) -> bool {
        self.happened(Action::Crash) || self.happened(Action::Restart)
    }

    fn noun(&self) -> &str {
        &self.trial.promise.noun
    }

    /// Uses that reached the service.
    fn sent(&self) -> Vec<&'t Operation> {
        self.all(Action::Use)
            .filter(|usage| usage.kind != Kind::Fail || usage.details.status.is_some())
            .collect()
    }

    fn unknown(&self) -> Option<&'t Operation> {
        self.all(Action::Use).find(|usage| usage.kind == Kind::Info)
    }

    /// Successes, those under one key counted once.
    fn successes(&self) -> u64 {
        let mut keys: Vec<u64> = Vec::new();
        let mut count = 0;
        for usage in self.ok(Action::Use) {
            match usage.details.key {
                Some(key) if keys.contains(&key) => {}
                key => {
                    keys.extend(key);
                    count += 1;
                }
            }
        }
        count
    }

    /// A loser may get the answer of a success, as for a webhook that is delivered twice: only the effects are counted.
    fn losers_are_told_success(&self) -> bool {
        let conflict = &self.trial.promise.conflict;
        self.ok(Action::Use)
            .any(|usage| usage.details.status.is_some_and(|status| conflict.contains(&status)))
    }

    /// The last read of this kind that began after every use had ended, or the last read at all if a use never ended.
    fn last(&self, f: Action) -> Option<&'t Value> {
        let uses_end = self
            .all(Action::Use)
            .map(|usage| usage.completed_ns)
            .filter(|end| *end < u64::MAX)
            .max()
            .unwrap_or(0);
        self.ok(f).rev().find(|read| read.invoked_ns >= uses_end).and_then(|read| read.details.read.as_ref())
    }

    fn last_count(&self, f: Action) -> Option<u64> {
        self.last(f).and_then(Value::as_u64)
    }

    fn used(&self) -> Option<bool> {
        self.last(Action::Observe).and_then(Value::as_bool)
    }

    /// Attempts were refused, and none succeeded or may have.
    fn only_refused(&self) -> Option<&'t Operation> {
        let none = self.ok(Action::Use).next().is_none() && self.unknown().is_none();
        self.all(Action::Use).find(|usage| refused(usage)).filter(|_| none)
    }
}
