//! Which words of the vocabulary, and which pairs of them, some flow has had.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, Step, Table, Value};

/// The vocabulary: every word and value that is no default. `member`: within a group.
const WORDS: &[&str] = &[
    "object.uses=2",
    "object.uses=3",
    "object.approvers=0",
    "object.approvers=2",
    "object.approvers=3",
    "object.separate=true",
    "object.expires=false",
    "object.revocable=true",
    "object.bound=false",
    "object.target_bound=true",
    "object.owner=false",
    "object.audited=false",
    "object.failed_attempt=burn",
    "decision.guards",
    "decision.guards=status",
    "decision.guards=expiry",
    "decision.guards=distinct",
    "decision.guards=not_requester",
    "decision.method=GET",
    "endpoint.method=GET",
    "endpoint.retry=key",
    "endpoint.retry=keyless",
    "validate",
    "validate.checks=owner",
    "validate.checks=status",
    "validate.checks=binding",
    "validate.checks=expiry",
    "validate.checks=digest",
    "validate.checks=target",
    "validate.accept_own=true",
    "validate.on_error=continue",
    "validate.on_error=retry",
    "check",
    "check.refusals",
    "check.on_error=continue",
    "check.on_error=retry",
    "recall",
    "recall.claim=true",
    "recall.claim_expires=false",
    "recall.on_error=continue",
    "recall.on_error=retry",
    "lease",
    "lease.on_held=refuse",
    "lease.expires=false",
    "lease.renewed=true",
    "lease.reentrant=true",
    "lease.until",
    "lease.undo=true",
    "lease.on_error=continue",
    "lease.on_error=retry",
    "write.what=target",
    "write.what=vault",
    "write.how=read-then-write",
    "write.refusals",
    "write.undo=true",
    "write.on_error=continue",
    "write.on_error=retry",
    "member write.what=target",
    "member write.what=vault",
    "member write.refusals",
    "consume",
    "consume.guards=status",
    "consume.guards=expiry",
    "consume.guards=digest",
    "consume.guards=target",
    "consume.guards=lease",
    "consume.how=read-then-write",
    "consume.on_conflict=continue",
    "consume.accept_own=true",
    "consume.store=memory",
    "consume.undo=true",
    "consume.on_error=continue",
    "consume.on_error=retry",
    "member consume",
    "member consume.guards=status",
    "member consume.guards=expiry",
    "member consume.guards=digest",
    "member consume.guards=target",
    "member consume.guards=lease",
    "member consume.on_conflict=continue",
    "member consume.accept_own=true",
    "member consume.store=memory",
    "act.via=memory",
    "act.via=outbox",
    "act.via=row",
    "act.via=call",
    "act.via=answer",
    "act.unique=true",
    "act.key=true",
    "act.undo=true",
    "act.refusals",
    "act.on_error=continue",
    "act.on_error=retry",
    "member act.via=row",
    "member act.via=outbox",
    "member act.unique=true",
    "member act.refusals",
    "audit",
    "member audit",
    "remember",
    "remember.on_error=continue",
    "remember.on_error=retry",
    "member remember",
    "group",
    "group.on_error=continue",
    "group.on_error=retry",
    "no consume",
];

/// Words that no flow can have together: by prefix, any of the first with any of the second; and the reason.
const CONTRADICTIONS: &[(&str, &str, &str)] = &[
    ("object.uses=2", "object.uses=3", "a key has one value"),
    ("object.approvers=0", "object.approvers=", "a key has one value"),
    ("object.approvers=2", "object.approvers=3", "a key has one value"),
    ("object.approvers=0", "object.separate", "without approvers there is no decision"),
    ("object.approvers=0", "decision", "without approvers there is no decision"),
    ("object.bound=false", "validate.checks=digest", "a digest is compared where the object is bound"),
    ("object.bound=false", "consume.guards=digest", "a digest is compared where the object is bound"),
    ("object.bound=false", "member consume.guards=digest", "a digest is compared where the object is bound"),
    ("endpoint.retry=key", "endpoint.retry=keyless", "a key has one value"),
    ("endpoint.retry=keyless", "recall", "steps for keys need requests with keys"),
    ("endpoint.retry=keyless", "remember", "steps for keys need requests with keys"),
    ("endpoint.retry=keyless", "member remember", "steps for keys need requests with keys"),
    ("consume", "member consume", "a flow has at most one consume"),
    ("consume", "no consume", "a flow has at most one consume"),
    ("member consume", "no consume", "a flow has at most one consume"),
    ("consume.on_error=continue", "consume.on_error=retry", "a flow has at most one consume"),
];

/// Why no flow has both words; `None` if one can.
fn contradiction(a: &str, b: &str) -> Option<&'static str> {
    let matches = |(first, second, _): &&(&str, &str, &str)| {
        a.starts_with(first) && b.starts_with(second) || b.starts_with(first) && a.starts_with(second)
    };
    // `retry=key` is a prefix of `retry=keyless`.
    let keys = ["endpoint.retry=key", "recall", "remember", "member remember"];
    let same_side =
        |word: &str| keys.iter().any(|key| word.starts_with(key)) && word != "endpoint.retry=keyless";
    let found = CONTRADICTIONS.iter().find(matches).map(|(.., why)| *why);
    found.filter(|_| !(same_side(a) && same_side(b)))
}

impl Draft {
    fn words(&self) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        let mut add = |table: &str, keys: &Table| {
            for (key, value) in &keys.0 {
                words.insert(format!("{table}.{key}"));
                match value {
                    Value::Word(word) | Value::Bare(word) => {
                        words.insert(format!("{table}.{key}={word}"));
                    }
                    Value::Words(list) => {
                        words.extend(list.iter().map(|word| format!("{table}.{key}={word}")));
                    }
                }
            }
        };
        add("object", &self.object);
        add("endpoint", &self.endpoint);
        if let Some(decision) = &self.decision {
            add("decision", decision);
        }
        let word_of = |table: &Table| match &table.0[0].1 {
            Value::Word(word) => word.clone(),
            _ => unreachable!("a step's first key is `do`"),
        };
        let mut steps = BTreeSet::new();
        for step in &self.steps {
            match step {
                Step::One(table) => {
                    add(&word_of(table), table);
                    steps.insert(word_of(table));
                }
                Step::Group { keys, members } => {
                    add("group", keys);
                    steps.insert("group".into());
                    for member in members {
                        let word = format!("member {}", word_of(member));
                        add(&word, member);
                        steps.insert(word);
                    }
                }
            }
        }
        words.extend(steps);
        if !self.steps.iter().any(|step| step.does("consume")) {
            words.insert("no consume".into());
        }
        words
    }
}

/// Number of flows for each pair of words; a word alone is a pair with itself.
#[derive(Default)]
pub(crate) struct Coverage {
    pairs: BTreeMap<(&'static str, &'static str), usize>,
}

impl Coverage {
    pub(crate) fn add(&mut self, draft: &Draft) {
        let words = draft.words();
        let had: Vec<_> = WORDS.iter().copied().filter(|word| words.contains(*word)).collect();
        for (i, a) in had.iter().enumerate() {
            for b in &had[i..] {
                *self.pairs.entry((a, b)).or_default() += 1;
            }
        }
    }

    /// The words that no flow has had.
    pub(crate) fn words_missing(&self) -> Vec<&'static str> {
        WORDS.iter().copied().filter(|word| !self.pairs.contains_key(&(*word, *word))).collect()
    }

    /// The pairs of different words that no flow has had, with the reason where none can.
    pub(crate) fn pairs_missing(&self) -> Vec<(&'static str, &'static str, Option<&'static str>)> {
        let pairs = WORDS.iter().enumerate().flat_map(|(i, a)| WORDS[i + 1..].iter().map(move |b| (*a, *b)));
        let missing = pairs.filter(|pair| !self.pairs.contains_key(pair));
        missing.map(|(a, b)| (a, b, contradiction(a, b))).collect()
    }
}
