//! The rule of each property on one object's history.

use serde_json::Value;

use super::{
    Finding,
    linear::{self, Span},
};
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
        "S20" => view.use_after(Action::Reject, "rejected"),
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

    fn burns_on_refusal(&self) -> Finding {
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

    fn at_most_once(&self) -> Finding {
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
            None if successes > uses => Finding::Violated(format!(
                "{successes} uses of one {} succeeded, of at most {uses}",
                self.noun()
            )),
            None if successes + unknown > uses => Finding::Unknown(format!(
                "{unknown} requests ended without a known outcome, and there is no role `effects`"
            )),
            None => Finding::Holds,
        }
    }

    fn losers(&self) -> Finding {
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
        if successes > expected {
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

    fn unapproved(&self) -> Finding {
        let approved = self.ok(Action::Approve).next();
        let withheld = self.trial.operations.iter().any(|operation| {
            operation.f == Action::Arrange && operation.details.who.as_deref() == Some("unapproved")
        });
        let Some(usage) = self.sent().first().copied() else { return Finding::NotExercised };
        if !withheld || approved.is_some() {
            return Finding::NotExercised;
        }
        verdict(self.ok(Action::Use).next().is_some() || self.used() == Some(true), || {
            format!(
                "used without an approval ({} got {})",
                usage.details.request.as_deref().unwrap_or("use"),
                status(usage)
            )
        })
    }

    fn use_after(&self, end: Action, word: &str) -> Finding {
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
        let late = self.ok(Action::Use).find(|usage| {
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

    fn other_payload(&self) -> Finding {
        let Some(drift) = self.ok(Action::Drift).next() else { return Finding::NotExercised };
        let Some(usage) = self.sent().into_iter().find(|usage| usage.invoked_ns > drift.completed_ns) else {
            return Finding::NotExercised;
        };
        if usage.kind != Kind::Ok {
            return Finding::Holds;
        }
        let payload = self.ok(Action::Payload).next_back().map(|read| &read.details);
        match payload.map(|details| (&details.read, &details.approved)) {
            Some((Some(read), Some(approved))) => verdict(read != approved, || {
                format!("the effect has the payload {read}, and {approved} was approved")
            }),
            _ => Finding::Violated(format!("the {} was used after its payload had changed", self.noun())),
        }
    }

    fn traces(&self) -> Finding {
        let Some(refusal) = self.only_refused() else { return Finding::NotExercised };
        if self.crashed() {
            return Finding::NotExercised;
        }
        if let Some(effects) = self.last_count(Action::Effects).filter(|effects| *effects > 0) {
            return Finding::Violated(format!(
                "refused with {}, and the effect happened {effects} times",
                status(refusal)
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

    fn audited(&self) -> Finding {
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
        verdict(events != uses, || format!("{events} events record {uses} uses"))
    }

    fn final_state(&self) -> Finding {
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

    /// An approval and a rejection that overlap. Where both are accepted, the rejection may revoke the approval; then
    /// no use succeeds.
    fn decisions(&self) -> Finding {
        let overlap = |approval: &&Operation| {
            self.all(Action::Reject).any(|rejection| {
                rejection.invoked_ns < approval.completed_ns && approval.invoked_ns < rejection.completed_ns
            })
        };
        let Some(approval) = self.all(Action::Approve).find(overlap) else { return Finding::NotExercised };
        let rejected = self.ok(Action::Reject).next().is_some();
        let used = self.ok(Action::Use).any(|usage| usage.invoked_ns > approval.completed_ns);
        verdict(approval.kind == Kind::Ok && rejected && used, || {
            format!("the {} was approved, rejected and used", self.noun())
        })
    }

    fn targets(&self) -> Finding {
        match self.last_count(Action::Targets) {
            Some(targets) if self.sent().len() > 1 => {
                verdict(targets > 1, || format!("{targets} targets were created"))
            }
            _ => Finding::NotExercised,
        }
    }

    fn strangers(&self) -> Finding {
        let Some(stranger) = self.all(Action::Use).find(|usage| is_stranger(usage)) else {
            return Finding::NotExercised;
        };
        let alone = self.all(Action::Use).all(is_stranger);
        match stranger.kind {
            Kind::Ok => Finding::Violated(format!("another owner used the {}", self.noun())),
            _ if alone && self.used() == Some(true) => {
                Finding::Violated(format!("another owner was refused, and the {} is used", self.noun()))
            }
            Kind::Fail => verdict(stranger.details.status.is_some_and(|status| status != 404), || {
                format!("another owner got {}, not 404", status(stranger))
            }),
            Kind::Info | Kind::Invoke => Finding::Unknown("the other owner's request got no answer".into()),
        }
    }

    fn retries(&self) -> Finding {
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
            // A marker or a lease that goes away is no wrong answer.
            let succeeds_later = uses[index + 1..]
                .iter()
                .any(|later| later.details.key == Some(key) && later.kind == Kind::Ok);
            if refused_first || !(answered || observed) || (retry.kind == Kind::Fail && succeeds_later) {
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

    /// A caller was refused while another one was held, and one succeeded when it had been held for long: a lease expired.
    fn fenced(&self) -> Finding {
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
            (None, None) => verdict(self.successes() > uses, || {
                "the caller whose lease had run out succeeded, and so did the next one".into()
            }),
        }
    }

    fn safe_methods(&self) -> Finding {
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
            Some(usage) if refused(usage) => {
                Finding::Violated(format!("after {line}, the use got {}", status(usage)))
            }
            _ => Finding::Holds,
        }
    }

    fn effect_without_use(&self) -> Finding {
        match (self.used(), self.last_count(Action::Effects)) {
            (Some(used), Some(effects)) if effects > 0 => {
                verdict(!used, || format!("the effect happened, and the {} is not used", self.noun()))
            }
            _ => Finding::NotExercised,
        }
    }

    /// The people whose approval was accepted.
    fn people(&self) -> Vec<&'t str> {
        let mut people: Vec<&str> =
            self.ok(Action::Approve).filter_map(|approval| approval.details.who.as_deref()).collect();
        people.sort_unstable();
        people.dedup();
        people
    }

    fn approvers(&self) -> Finding {
        let pressed = self.all(Action::Approve).count() as u64;
        let distinct = self.people().len() as u64;
        let wanted = self.trial.promise.approvers;
        if pressed < 2 || distinct >= wanted || self.sent().is_empty() {
            return Finding::NotExercised;
        }
        verdict(self.ok(Action::Use).next().is_some(), || {
            format!("used after {distinct} of {wanted} approvers had said yes")
        })
    }

    fn requester(&self) -> Finding {
        let people: Vec<&str> = self.all(Action::Approve).filter_map(|a| a.details.who.as_deref()).collect();
        if people != ["requester"] || self.sent().is_empty() {
            return Finding::NotExercised;
        }
        verdict(self.ok(Action::Use).next().is_some(), || {
            "used after the requester alone had approved".into()
        })
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

    fn burnt(&self) -> Finding {
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

    fn retryable(&self) -> Finding {
        match self.spoilt_then_fresh() {
            Some((refusal, fresh)) if !self.trial.promise.burn => match fresh.kind {
                Kind::Info => Finding::Unknown("the fresh attempt got no answer".into()),
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

    fn effect_owed(&self) -> Finding {
        let Some(effects) = self.last_count(Action::Effects) else { return Finding::NotExercised };
        let succeeded = self.ok(Action::Use).next().is_some();
        let used = self.used() == Some(true) && !self.trial.promise.burn;
        if !succeeded && !used {
            return Finding::NotExercised;
        }
        verdict(effects == 0, || format!("the {} is used, and the effect never happened", self.noun()))
    }

    fn settled(&self) -> Finding {
        let used = self.used() == Some(true) || self.ok(Action::Use).next().is_some();
        if !used && self.last_count(Action::Targets).unwrap_or(0) == 0 {
            return Finding::NotExercised;
        }
        match self.last(Action::Settled).and_then(Value::as_bool) {
            Some(settled) => verdict(!settled, || "the target has not settled".into()),
            None => Finding::NotExercised,
        }
    }

    /// The last attempt met an object that a read had just found unused, without concurrent requests.
    fn progress(&self) -> Finding {
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
