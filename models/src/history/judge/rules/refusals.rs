//! The rules about attempts that were refused or are repeated: S1, S7, S13, S21, L3, L4.

use serde_json::Value;

use super::{View, is_stranger, refused, status, times, verdict};
use crate::history::{Action, Kind, Operation, judge::Finding};

impl<'t> View<'t> {
    pub(super) fn burns_on_refusal(&self) -> Finding {
        let Some(refusal) = self.only_refused().filter(|refusal| !is_stranger(refusal)) else {
            return Finding::NotExercised;
        };
        let elsewhere = self.happened(Action::Open) || self.crashed();
        match self.used() {
            Some(used) if !self.trial.promise.burn && !elsewhere => verdict(used, || {
                format!("refused with {}, and the {} is used nevertheless", status(refusal), self.noun())
            }),
            _ => Finding::NotExercised,
        }
    }

    pub(super) fn traces(&self) -> Finding {
        let Some(refusal) = self.only_refused() else { return Finding::NotExercised };
        if self.crashed() {
            return Finding::NotExercised;
        }
        if let Some(effects) = self.last_count(Action::Effects).filter(|effects| *effects > 0) {
            return Finding::Violated(format!(
                "refused with {}, and the effect happened {}",
                status(refusal),
                times(effects)
            ));
        }
        let mut traces = self.ok(Action::Trace).map(|read| &read.details.read);
        match (traces.next(), traces.next_back()) {
            (Some(before), Some(after)) => verdict(before != after, || {
                let shown = |read: &Option<Value>| read.as_ref().map_or_else(String::new, Value::to_string);
                format!(
                    "refused with {}, and left {} where {} was",
                    status(refusal),
                    shown(after),
                    shown(before)
                )
            }),
            _ if self.last(Action::Effects).is_some() => Finding::Holds,
            _ => Finding::NotExercised,
        }
    }

    pub(super) fn retries(&self) -> Finding {
        let mut finding = Finding::NotExercised;
        let uses: Vec<&Operation> = self.all(Action::Use).collect();
        for (index, retry) in uses.iter().enumerate() {
            let Some(key) = retry.details.key else { continue };
            let Some(first) = uses[..index].iter().find(|usage| usage.details.key == Some(key)) else {
                continue;
            };
            let seen = |read: &&Operation| {
                read.completed_ns < retry.invoked_ns && read.invoked_ns > first.invoked_ns
            };
            let observed = self
                .ok(Action::Observe)
                .filter(seen)
                .any(|read| read.details.read == Some(Value::Bool(true)))
                || self.ok(Action::Effects).filter(seen).any(|read| {
                    read.details.read.as_ref().and_then(Value::as_u64).is_some_and(|count| count > 0)
                });
            let answered = first.kind == Kind::Ok && first.completed_ns < retry.invoked_ns;
            let refused_first = first.kind == Kind::Fail;
            // A marker or a lease that goes away is no wrong answer, and neither is the refusal of an expired object.
            let succeeds_later = uses[index + 1..]
                .iter()
                .any(|later| later.details.key == Some(key) && later.kind == Kind::Ok);
            let is_excused = succeeds_later || self.happened(Action::Expire);
            if refused_first || !(answered || observed) || (retry.kind == Kind::Fail && is_excused) {
                continue;
            }
            match retry.kind {
                Kind::Fail if retry.details.status.is_some() => {
                    return Finding::Violated(format!(
                        "the first attempt took effect, and its retry under the same key got {}",
                        status(retry)
                    ));
                }
                Kind::Ok => {
                    let effects = self.last_count(Action::Effects).unwrap_or(0);
                    if effects > self.trial.promise.uses {
                        return Finding::Violated(format!(
                            "the retry under the same key made {effects} effects"
                        ));
                    }
                    finding = Finding::Holds;
                }
                _ => finding = Finding::Unknown("the retry got no answer".into()),
            }
        }
        finding
    }

    /// The refusal of a spoilt use, and the use after the repair.
    fn spoilt_then_fresh(&self) -> Option<(&'t Operation, &'t Operation)> {
        let spoil = self.ok(Action::Spoil).next()?;
        let mend = self.ok(Action::Mend).next()?;
        let refusal = self.all(Action::Use).find(|usage| {
            refused(usage) && usage.invoked_ns > spoil.completed_ns && usage.completed_ns < mend.invoked_ns
        })?;
        let others =
            self.all(Action::Use).any(|usage| usage.kind != Kind::Fail && usage.invoked_ns < mend.invoked_ns);
        let fresh = self.all(Action::Use).find(|usage| usage.invoked_ns > mend.completed_ns)?;
        (!others).then_some((refusal, fresh))
    }

    pub(super) fn burnt(&self) -> Finding {
        match self.spoilt_then_fresh() {
            Some((refusal, fresh)) if self.trial.promise.burn => match fresh.kind {
                Kind::Info => Finding::Unknown("the second attempt got no answer".into()),
                kind => verdict(kind == Kind::Ok, || {
                    format!("refused with {}, and a second attempt succeeded", status(refusal))
                }),
            },
            _ => Finding::NotExercised,
        }
    }

    pub(super) fn retryable(&self) -> Finding {
        match self.spoilt_then_fresh() {
            Some((refusal, fresh)) if !self.trial.promise.burn => match fresh.kind {
                Kind::Info => Finding::Unknown("the fresh attempt got no answer".into()),
                _ if refused(fresh) && self.happened(Action::Expire) => Finding::NotExercised,
                _ => verdict(refused(fresh), || {
                    format!(
                        "refused with {}; once that was repaired, a fresh attempt got {}",
                        status(refusal),
                        status(fresh)
                    )
                }),
            },
            _ => Finding::NotExercised,
        }
    }

    /// The last attempt met an object that a read had just found unused, without concurrent requests.
    pub(super) fn progress(&self) -> Finding {
        use Action::{Drift, Expire, Open, Reject, Spoil};
        if [Drift, Expire, Open, Reject, Spoil].into_iter().any(|f| self.happened(f)) {
            return Finding::NotExercised;
        }
        let uses: Vec<&Operation> = self.all(Action::Use).collect();
        let Some((fresh, earlier)) = uses.split_last() else { return Finding::NotExercised };
        let ended = earlier.iter().all(|usage| usage.completed_ns < fresh.invoked_ns);
        let since = earlier.iter().map(|usage| usage.completed_ns).max().unwrap_or(0);
        let before = |f: Action| {
            let between =
                move |read: &&Operation| read.invoked_ns >= since && read.completed_ns < fresh.invoked_ns;
            self.ok(f).filter(between).filter_map(|read| read.details.read.as_ref()).next_back()
        };
        let unused = before(Action::Observe).and_then(Value::as_bool) == Some(false)
            && before(Action::Effects).is_none_or(|count| count.as_u64() == Some(0));
        let withheld = self.trial.operations.iter().any(|o| o.details.who.as_deref() == Some("unapproved"));
        if earlier.is_empty() || !ended || !unused || withheld || is_stranger(fresh) {
            return Finding::NotExercised;
        }
        match fresh.kind {
            Kind::Info => Finding::Unknown("the fresh attempt got no answer".into()),
            _ => verdict(refused(fresh), || {
                format!("the {} is unused, and a fresh attempt got {}", self.noun(), status(fresh))
            }),
        }
    }
}
