//! The rules about what a use leaves behind: S6, S8, S9, S11, S17, L1, L2.

use serde_json::Value;

use super::{View, counted, verdict};
use crate::history::{Action, Details, Kind, Operation, judge::Finding};

impl View<'_> {
    pub(super) fn other_payload(&self) -> Finding {
        let Some(drift) = self.ok(Action::Drift).next() else { return Finding::NotExercised };
        let later: Vec<_> =
            self.sent().into_iter().filter(|usage| usage.invoked_ns > drift.completed_ns).collect();
        let payload = self.ok(Action::Payload).next_back().map(|read| &read.details);
        if later.is_empty() {
            return self.payload_of_a_use_under_way(drift, payload);
        }
        let succeeded = later.iter().any(|usage| usage.kind == Kind::Ok);
        let took_effect = self.last_count(Action::Effects).is_some_and(|effects| effects > 0);
        let may_have = later.iter().any(|usage| usage.kind == Kind::Info);
        if !(succeeded || took_effect && may_have) {
            return Finding::Holds;
        }
        match payload.map(|details| (&details.read, &details.approved)) {
            Some((Some(read), Some(approved))) => verdict(read != approved, || {
                format!("the effect has the payload {read}, and {approved} was approved")
            }),
            _ if succeeded => {
                Finding::Violated(format!("the {} was used after its payload had changed", self.noun()))
            }
            _ => Finding::Unknown("a request after the change got no answer".into()),
        }
    }

    /// A use that the change overlaps may succeed, with the payload of before.
    fn payload_of_a_use_under_way(&self, drift: &Operation, payload: Option<&Details>) -> Finding {
        let overlaps = self.sent().into_iter().any(|usage| usage.completed_ns > drift.invoked_ns);
        let took_effect = self.last_count(Action::Effects).is_some_and(|effects| effects > 0);
        match payload.map(|details| (&details.read, &details.approved)) {
            Some((Some(read), Some(approved))) if overlaps && took_effect => {
                verdict(read != approved, || {
                    format!("the effect has the payload {read}, and {approved} was approved")
                })
            }
            _ => Finding::NotExercised,
        }
    }

    pub(super) fn audited(&self) -> Finding {
        let Some(events) = self.last_count(Action::Audit) else { return Finding::NotExercised };
        let uses = match (self.used(), self.trial.promise.uses) {
            (Some(used), 1) => u64::from(used),
            _ => match self.last_count(Action::Effects) {
                Some(effects) => effects,
                None if self.unknown().is_some() => {
                    return Finding::Unknown("no role shows whether the object is used".into());
                }
                None => self.successes(),
            },
        };
        if uses == 0 && events == 0 {
            return Finding::NotExercised;
        }
        verdict(events != uses, || {
            let record = if events == 1 { "records" } else { "record" };
            format!("{} {record} {}", counted(events, "event"), counted(uses, "use"))
        })
    }

    pub(super) fn final_state(&self) -> Finding {
        let mut reads = self.ok(Action::Observe).filter_map(|read| read.details.read.as_ref()?.as_bool());
        if !reads.by_ref().any(|used| used) {
            return Finding::NotExercised;
        }
        let mut after = reads.peekable();
        if after.peek().is_none() {
            return Finding::NotExercised;
        }
        verdict(after.any(|used| !used), || format!("the {} was used, and is unused again", self.noun()))
    }

    pub(super) fn targets(&self) -> Finding {
        match self.last_count(Action::Targets) {
            Some(targets) if self.sent().len() > 1 => {
                verdict(targets > 1, || format!("{targets} targets were created"))
            }
            _ => Finding::NotExercised,
        }
    }

    pub(super) fn effect_without_use(&self) -> Finding {
        match (self.used(), self.last_count(Action::Effects)) {
            // With several uses `used` may say that all of them are.
            (Some(used), Some(effects)) if effects > 0 && effects >= self.trial.promise.uses => {
                verdict(!used, || format!("the effect happened, and the {} is not used", self.noun()))
            }
            _ => Finding::NotExercised,
        }
    }

    pub(super) fn effect_owed(&self) -> Finding {
        let Some(effects) = self.last_count(Action::Effects) else { return Finding::NotExercised };
        let succeeded = self.ok(Action::Use).next().is_some();
        let used = self.used() == Some(true) && !self.trial.promise.burn;
        if !succeeded && !used {
            return Finding::NotExercised;
        }
        verdict(effects == 0, || format!("the {} is used, and the effect never happened", self.noun()))
    }

    pub(super) fn settled(&self) -> Finding {
        let used = self.used() == Some(true) || self.ok(Action::Use).next().is_some();
        if !used && self.last_count(Action::Targets).unwrap_or(0) == 0 {
            return Finding::NotExercised;
        }
        match self.last(Action::Settled).and_then(Value::as_bool) {
            Some(settled) => verdict(!settled, || "the target has not settled".into()),
            None => Finding::NotExercised,
        }
    }
}
