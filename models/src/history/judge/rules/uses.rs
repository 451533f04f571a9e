//! The rules about uses: how many succeed, whose, when, and by which method: S2, S3, S5, S12, S14, S15, S20.

use serde_json::Value;

use super::{View, counted, is_stranger, refused, span, status, verdict};
use crate::history::{
    Action, Kind, Operation,
    judge::{
        Finding,
        linear::{self, Span},
    },
};

impl View<'_> {
    pub(super) fn at_most_once(&self) -> Finding {
        let uses = self.trial.promise.uses;
        let effects = self.ok(Action::Effects).filter_map(|read| read.details.read.as_ref()?.as_u64()).max();
        if let Some(effects) = effects.filter(|effects| *effects > uses) {
            return Finding::Violated(format!("the effect happened {effects} times, of at most {uses}"));
        }
        if self.sent().len() < 2 {
            return Finding::NotExercised;
        }
        let successes = self.successes();
        let unknown = self.all(Action::Use).filter(|usage| usage.kind == Kind::Info).count() as u64;
        match effects {
            // A status code is not an oracle; the effect is.
            Some(_) => Finding::Holds,
            None if successes > uses && self.losers_are_told_success() => Finding::Unknown(
                "a loser gets the answer of a success, and there is no role `effects`".into(),
            ),
            None if successes > uses => Finding::Violated(format!(
                "{successes} uses of one {} succeeded, of at most {uses}",
                self.noun()
            )),
            None if successes + unknown > uses => Finding::Unknown(format!(
                "{} ended without a known outcome, and there is no role `effects`",
                counted(unknown, "request")
            )),
            None => Finding::Holds,
        }
    }

    pub(super) fn losers(&self) -> Finding {
        use Action::{Drift, Expire, Mend, Open, Reject, Spoil, Stall};
        let changed = [Drift, Expire, Mend, Open, Reject, Spoil, Stall].into_iter().any(|f| self.happened(f));
        let disturbed = changed || self.crashed();
        let uses = self.sent();
        let keyed = uses.iter().any(|usage| {
            let same = |other: &&&Operation| other.details.key == usage.details.key;
            usage.details.key.is_some() && uses.iter().filter(same).count() > 1
        });
        let approvals = self.ok(Action::Approve).count() as u64;
        let unapproved = self.happened(Action::Approve) && approvals < self.trial.promise.approvers;
        if disturbed || keyed || unapproved || uses.len() < 2 || uses.iter().any(|usage| is_stranger(usage)) {
            return Finding::NotExercised;
        }
        let expected = self.trial.promise.uses.min(uses.len() as u64);
        let successes = self.successes();
        let overloaded = |usage: &&&Operation| matches!(usage.details.status, Some(429 | 503) | None);
        if uses.iter().filter(|usage| usage.kind != Kind::Ok).any(|usage| overloaded(&usage)) {
            return Finding::Unknown("a request got no answer, 429 or 503".into());
        }
        if successes > expected && !self.losers_are_told_success() {
            return Finding::Violated(format!(
                "{successes} of {} callers succeeded, of {expected}",
                uses.len()
            ));
        }
        let conflict = &self.trial.promise.conflict;
        let allowed = |usage: &Operation| {
            usage.details.status.is_some_and(|status| {
                if conflict.is_empty() { (400..500).contains(&status) } else { conflict.contains(&status) }
            })
        };
        if let Some(loser) = uses.iter().find(|usage| usage.kind != Kind::Ok && !allowed(usage)) {
            let told = if conflict.is_empty() { "4xx".to_owned() } else { format!("{conflict:?}") };
            return Finding::Violated(format!("a loser got {}, expected {told}", status(loser)));
        }
        verdict(successes < expected, || {
            format!("{successes} of {} callers succeeded, not {expected}", uses.len())
        })
    }

    pub(super) fn use_after(&self, end: Action, word: &str) -> Finding {
        let Some(end) = self.ok(end).next() else { return Finding::NotExercised };
        let reads = |used: bool| -> Vec<Span> {
            let state =
                self.ok(Action::Observe).filter(move |read| read.details.read == Some(Value::Bool(used)));
            let counts = self.ok(Action::Effects).filter(move |read| {
                read.details.read.as_ref().and_then(Value::as_u64).is_some_and(|count| (count > 0) == used)
            });
            // An effect may come later than the use: where the state is read, its count does not order events.
            let counts = counts.filter(|_| !self.happened(Action::Observe));
            state.chain(counts).map(span).collect()
        };
        // A read of "used" says when the use was over only if there was one use.
        let one = self.ok(Action::Use).count() == 1 && self.unknown().is_none();
        // The read of the state may lag behind the read of the effect: an inconsistent pair does not order events.
        let (unused, used) = (reads(false), if one { reads(true) } else { Vec::new() });
        // The retry of an attempt that may have taken effect repeats its outcome.
        let is_retry = |usage: &&Operation| {
            let before = |earlier: &Operation| {
                earlier.invoked_ns < usage.invoked_ns
                    && earlier.details.key == usage.details.key
                    && earlier.kind != Kind::Fail
            };
            usage.details.key.is_some() && self.all(Action::Use).any(before)
        };
        let late = self.ok(Action::Use).filter(|usage| !is_retry(usage)).find(|usage| {
            let at = linear::earliest(span(usage), &unused, &used).unwrap_or(usage.invoked_ns);
            let at = at.max(usage.details.wrote_after_ns.unwrap_or(0));
            at > end.completed_ns
        });
        match late {
            Some(usage) => Finding::Violated(format!(
                "{} took effect after the {} had {word}",
                usage.details.request.as_deref().unwrap_or("a use"),
                self.noun()
            )),
            None if self.sent().is_empty() => Finding::NotExercised,
            None => Finding::Holds,
        }
    }

    pub(super) fn strangers(&self) -> Finding {
        let Some(other_tenant) = self.all(Action::Use).find(|usage| is_stranger(usage)) else {
            return Finding::NotExercised;
        };
        let alone = self.all(Action::Use).all(is_stranger);
        match other_tenant.kind {
            Kind::Ok => Finding::Violated(format!("another owner used the {}", self.noun())),
            _ if alone && self.used() == Some(true) => {
                Finding::Violated(format!("another owner was refused, and the {} is used", self.noun()))
            }
            Kind::Fail => verdict(other_tenant.details.status.is_some_and(|status| status != 404), || {
                format!("another owner got {}, not 404", status(other_tenant))
            }),
            Kind::Info | Kind::Invoke => Finding::Unknown("the other owner's request got no answer".into()),
        }
    }

    /// A caller was refused while another one was held, and one succeeded when it had been held for long: a lease expired.
    pub(super) fn fenced(&self) -> Finding {
        let Some(stall) = self.all(Action::Stall).next() else { return Finding::NotExercised };
        let waited =
            self.all(Action::Use).any(|usage| refused(usage) && usage.completed_ns <= stall.completed_ns);
        let taken_over = self.ok(Action::Use).any(|usage| usage.invoked_ns >= stall.completed_ns);
        if !waited || !taken_over {
            return Finding::NotExercised;
        }
        let uses = self.trial.promise.uses;
        match (self.last_count(Action::Effects), self.unknown()) {
            (Some(effects), _) => verdict(effects > uses, || {
                format!("the caller whose lease had run out went on: {effects} effects, of at most {uses}")
            }),
            (None, Some(_)) => Finding::Unknown("the caller whose lease had run out got no answer".into()),
            (None, None) if self.losers_are_told_success() => Finding::NotExercised,
            (None, None) => verdict(self.successes() > uses, || {
                "the caller whose lease had run out succeeded, and so did the next one".into()
            }),
        }
    }

    pub(super) fn safe_methods(&self) -> Finding {
        let by_get = self.ok(Action::Use).find(|usage| {
            usage
                .details
                .request
                .as_deref()
                .is_some_and(|line| line.starts_with("GET ") || line.starts_with("HEAD "))
        });
        if let Some(usage) = by_get {
            return Finding::Violated(format!(
                "{} used the {}",
                usage.details.request.as_deref().unwrap_or("GET"),
                self.noun()
            ));
        }
        let Some(open) = self.all(Action::Open).next() else { return Finding::NotExercised };
        let line = open.details.request.as_deref().unwrap_or("GET");
        let before_use = self.all(Action::Use).map(|usage| usage.invoked_ns).min().unwrap_or(u64::MAX);
        let read = |f: Action| {
            let between = move |read: &&Operation| {
                read.invoked_ns > open.completed_ns && read.completed_ns <= before_use
            };
            self.ok(f).filter(between).filter_map(|read| read.details.read.as_ref()).next_back()
        };
        let used = read(Action::Observe).and_then(Value::as_bool) == Some(true);
        let effects = read(Action::Effects).and_then(Value::as_u64).is_some_and(|count| count > 0);
        if used || effects {
            return Finding::Violated(format!("{line} used the {}", self.noun()));
        }
        match self.all(Action::Use).next() {
            Some(usage) if refused(usage) && self.happened(Action::Expire) => Finding::NotExercised,
            Some(usage) if refused(usage) => {
                Finding::Violated(format!("after {line}, the use got {}", status(usage)))
            }
            _ => Finding::Holds,
        }
    }
}
