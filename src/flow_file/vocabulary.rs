//! The vocabulary of a flow file: its tables, its steps and their keys, each declared once.
//!
//! The parser reads by these declarations, and the JSON Schema and the reference are printed from them.

use super::{
    declaration::{Declaration, Key, Kind},
    values::{ActionWord, MemberVia, Number, Properties, Text, ViaWord},
};
use crate::protocol::{
    Atomicity, Checks, DecisionGuards, FailedAttempt, Guards, Method, OnConflict, OnError, OnHeld, Refusal,
    Retry, Storage, WriteTarget,
};

/// A table of a flow file that is no step.
pub(super) struct TableWord {
    pub(super) name: &'static str,
    /// Its name in messages.
    pub(super) within: &'static str,
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Declaration],
}

/// A step, by its word.
pub(super) struct StepWord {
    pub(super) word: &'static str,
    /// Its name in messages.
    pub(super) within: &'static str,
    /// Its name as a member.
    pub(super) within_group: &'static str,
    pub(super) doc: &'static str,
    /// The answers that may end the attempt here.
    pub(super) ends: &'static str,
    /// The keys, without `do`.
    pub(super) keys: &'static [Declaration],
    /// The keys as a member of a group, without `do`; `None` where it cannot be one.
    pub(super) member: Option<&'static [Declaration]>,
}

pub(super) const ABOUT: Key<Text> = Key::optional("about", "The flow in one sentence.");
pub(super) const EXPECT_BROKEN: Key<Properties> =
    Key::with_default("expect_broken", "[]", "Properties that are violated at the default bounds.");
pub(super) const EXPECT_BROKEN_IN_SIMULATION: Key<Properties> = Key::with_default(
    "expect_broken_in_simulation",
    "[]",
    "Properties that only `countersign simulate` violates.",
);
pub(super) const EXPECT_VACUOUS: Key<Properties> =
    Key::with_default("expect_vacuous", "[]", "Properties that hold because nothing exercises them.");

/// The keys of the file itself.
pub(super) const FILE: &[Declaration] = &[
    ABOUT.declaration(),
    EXPECT_BROKEN.declaration(),
    EXPECT_BROKEN_IN_SIMULATION.declaration(),
    EXPECT_VACUOUS.declaration(),
    Declaration::structure("object", Kind::Table, "The promises about the object."),
    Declaration::structure("decision", Kind::Table, "The way in which an approver decides."),
    Declaration::structure("endpoint", Kind::Table, "The way in which clients reach the steps."),
    Declaration::structure("step", Kind::Steps, "The steps, in order: `[[step]]`, 1 to 64."),
];

pub(super) const NOUN: Key<Text> =
    Key::with_default("noun", "\"approval\"", "The word for the object in messages.");
pub(super) const USES: Key<Number<1, 3>> =
    Key::with_default("uses", "1", "It may be used this often (S1, S2, S3).");
pub(super) const APPROVERS: Key<Number<0, 3>> = Key::with_default(
    "approvers",
    "1",
    "This many different people have to approve it (S18). With 0 it is usable as soon as it is issued.",
);
pub(super) const SEPARATE: Key<bool> =
    Key::with_default("separate", "false", "The requester is not one of the approvers (S19).");
pub(super) const EXPIRES: Key<bool> =
    Key::with_default("expires", "true", "It is not used after `expires_at` (S5).");
pub(super) const REVOCABLE: Key<bool> =
    Key::with_default("revocable", "false", "It is not used after it was revoked (S20).");
pub(super) const BOUND: Key<bool> =
    Key::with_default("bound", "true", "A use has the payload that was approved (S6).");
pub(super) const TARGET_BOUND: Key<bool> =
    Key::with_default("target_bound", "false", "A use finds the target as it was at the approval (S22).");
pub(super) const OWNER: Key<bool> = Key::with_default(
    "owner",
    "true",
    "Only its owner uses it; for others it does not exist (S12). `false`: the bearer uses it.",
);
pub(super) const AUDITED: Key<bool> =
    Key::with_default("audited", "true", "Every use has exactly one event (S8).");
pub(super) const FAILED_ATTEMPT: Key<FailedAttempt> = Key::with_default(
    "failed_attempt",
    "\"keep\"",
    "A refused attempt leaves it usable (`\"keep\"`: S1, L3) or uses it up (`\"burn\"`: S21), as for challenges.",
);

pub(super) const DECISION_GUARDS: Key<DecisionGuards> = Key::with_default(
    "guards",
    "[\"status\", \"expiry\"]",
    "The conditions of the approving swap. `distinct`: a person counts once. `not_requester`: the requester does not count.",
);
pub(super) const DECISION_METHOD: Key<Method> =
    Key::with_default("method", "\"POST\"", "With `\"GET\"`, link scanners decide, too (S15).");

pub(super) const ENDPOINT_METHOD: Key<Method> =
    Key::with_default("method", "\"POST\"", "With `\"GET\"`, a link scanner runs the whole flow once (S15).");
pub(super) const RETRY: Key<Retry> = Key::with_default(
    "retry",
    "\"none\"",
    "A client that has not seen its request succeed sends it once more, under an idempotency key or without one (S13).",
);

/// The promises.
pub(super) const OBJECT: TableWord = TableWord {
    name: "object",
    within: "`[object]`",
    doc: "The promises about the object. All defaults are those of a deployment approval.",
    keys: &[
        NOUN.declaration(),
        USES.declaration(),
        APPROVERS.declaration(),
        SEPARATE.declaration(),
        EXPIRES.declaration(),
        REVOCABLE.declaration(),
        BOUND.declaration(),
        TARGET_BOUND.declaration(),
        OWNER.declaration(),
        AUDITED.declaration(),
        FAILED_ATTEMPT.declaration(),
    ],
};

/// The way in which an approver decides.
pub(super) const DECISION: TableWord = TableWord {
    name: "decision",
    within: "`[decision]`",
    doc: "How the code takes an approver's decision. Refused where `approvers = 0`.",
    keys: &[DECISION_GUARDS.declaration(), DECISION_METHOD.declaration()],
};

/// The way in which clients reach the steps.
pub(super) const ENDPOINT: TableWord = TableWord {
    name: "endpoint",
    within: "`[endpoint]`",
    doc: "How clients reach the steps.",
    keys: &[ENDPOINT_METHOD.declaration(), RETRY.declaration()],
};

/// The tables that are no steps.
pub(super) const TABLES: &[TableWord] = &[OBJECT, DECISION, ENDPOINT];

pub(super) const NAME: Key<Text> = Key::optional("name", "The name of the step in messages.");
pub(super) const ON_ERROR: Key<OnError> = Key::with_default(
    "on_error",
    "\"refuse\"",
    "After a 503: answer it, log it and go on, or run the whole step once more.",
);
pub(super) const UNDO: Key<bool> = Key::with_default(
    "undo",
    "false",
    "A refusal later in the attempt takes the change back before the answer.",
);
pub(super) const ACCEPT_OWN: Key<bool> = Key::with_default(
    "accept_own",
    "false",
    "An object that an earlier attempt of the same caller has used counts as usable; using it again changes nothing.",
);
pub(super) const REFUSALS: Key<Vec<Refusal>> =
    Key::with_default("refusals", "[]", "The answers that the step gives by its own judgement.");
pub(super) const CHECKS: Key<Checks> = Key::required("checks", "The conditions that it compares.");
pub(super) const CLAIM: Key<bool> = Key::with_default(
    "claim",
    "false",
    "Also inserts an in-flight marker; the marker of another attempt is a 409.",
);
pub(super) const CLAIM_EXPIRES: Key<bool> =
    Key::with_default("claim_expires", "true", "The marker may expire at any time.")
        .only("false", "claim", "true");
pub(super) const ON_HELD: Key<OnHeld> =
    Key::with_default("on_held", "\"wait\"", "While another attempt holds the lease: wait, or answer a 409.");
pub(super) const LEASE_EXPIRES: Key<bool> =
    Key::with_default("expires", "true", "The lease may run out at any time.");
pub(super) const RENEWED: Key<bool> = Key::with_default(
    "renewed",
    "false",
    "The holder renews the lease: it runs out after the holder's death only.",
)
.only_by_default("true", "expires", "true");
pub(super) const REENTRANT: Key<bool> =
    Key::with_default("reentrant", "false", "Another attempt of the same caller gets the lease, too.");
pub(super) const UNTIL: Key<Text> = Key::optional(
    "until",
    "The name of the step after which the lease is released; without it, the attempt's end.",
);
pub(super) const WHAT: Key<WriteTarget> =
    Key::required("what", "The target (its status becomes `building`) or the vault.");
pub(super) const HOW_TO_WRITE: Key<Atomicity> = Key::optional(
    "how",
    "Makes two actions of the step: a read of the target, and a later write that trusts it.",
)
.only("\"read-then-write\"", "what", "\"target\"");
pub(super) const GUARDS: Key<Guards> =
    Key::required("guards", "The conditions of the swap. `[]` is an unconditional update.");
pub(super) const HOW_TO_CONSUME: Key<Atomicity> = Key::optional(
    "how",
    "Makes two actions of the step: a read that the guards judge, and a later write of the count that was read plus one.",
);
pub(super) const ON_CONFLICT: Key<OnConflict> =
    Key::with_default("on_conflict", "\"refuse\"", "When no row changed: answer a 409, or go on.");
pub(super) const STORE: Key<Storage> =
    Key::optional("store", "Keeps the use in the memory of the process, where a crash loses it.");
pub(super) const VIA: Key<ViaWord> = Key::required("via", "The way in which the act takes effect.");
pub(super) const MEMBER_VIA: Key<MemberVia> = Key::required("via", "The way in which the act takes effect.");
pub(super) const UNIQUE: Key<bool> =
    Key::with_default("unique", "false", "A second row is a 409.").only("true", "via", "\"row\"");
pub(super) const KEY: Key<bool> =
    Key::with_default("key", "false", "The other system deduplicates by a key.")
        .only("true", "via", "\"call\"");
pub(super) const UNDO_ACT: Key<bool> = Key::with_default(
    "undo",
    "false",
    "A refusal later in the attempt takes the effect back before the answer.",
)
.only("true", "via", "\"call\"");
pub(super) const DO: Key<ActionWord> = Key::required("do", "The kind of the step.");

/// The keys of every step.
pub(super) const EVERY_STEP: &[Declaration] = &[NAME.declaration(), ON_ERROR.declaration()];

/// The steps. A test holds the words against those of [`ActionWord`].
pub(super) const STEPS: &[StepWord] = &[
    StepWord {
        word: "validate",
        within: "a validate step",
        within_group: "a validate within a group",
        doc: "Reads the object and applies `checks`.",
        ends: "404 `owner`, 409 `status`, 400 `binding`, 410 `expiry`, 409 `digest`, 409 `target`, in this order; 503",
        keys: &[CHECKS.declaration(), ACCEPT_OWN.declaration()],
        member: None,
    },
    StepWord {
        word: "check",
        within: "a check step",
        within_group: "a check within a group",
        doc: "Reads something outside; changes nothing.",
        ends: "its refusals; 503",
        keys: &[REFUSALS.declaration()],
        member: None,
    },
    StepWord {
        word: "consume",
        within: "a consume step",
        within_group: "a consume within a group",
        doc: "Uses the object if `guards` hold.",
        ends: "409 `status`, 410 `expiry`, 409 `digest`, 409 `target`, 409 `lease`, in this order; 503",
        keys: &[
            GUARDS.declaration(),
            HOW_TO_CONSUME.declaration(),
            ON_CONFLICT.declaration(),
            STORE.declaration(),
            ACCEPT_OWN.declaration(),
            UNDO.declaration(),
        ],
        member: Some(&[
            GUARDS.declaration(),
            ON_CONFLICT.declaration(),
            STORE.declaration(),
            ACCEPT_OWN.declaration(),
        ]),
    },
    StepWord {
        word: "act",
        within: "an act step",
        within_group: "an act within a group",
        doc: "Causes the effect that must not happen twice. Several acts have different names.",
        ends: "its refusals; 409 with `unique`; 503",
        keys: &[
            VIA.declaration(),
            UNIQUE.declaration(),
            KEY.declaration(),
            REFUSALS.declaration(),
            UNDO_ACT.declaration(),
        ],
        member: Some(&[
            NAME.declaration(),
            MEMBER_VIA.declaration(),
            UNIQUE.declaration(),
            REFUSALS.declaration(),
        ]),
    },
    StepWord {
        word: "write",
        within: "a write step",
        within_group: "a write within a group",
        doc: "Creates or updates the target, or writes the vault.",
        ends: "its refusals; 503",
        keys: &[WHAT.declaration(), HOW_TO_WRITE.declaration(), REFUSALS.declaration(), UNDO.declaration()],
        member: Some(&[WHAT.declaration(), REFUSALS.declaration()]),
    },
    StepWord {
        word: "audit",
        within: "an audit step",
        within_group: "an audit within a group",
        doc: "Writes the event of the use.",
        ends: "nothing: a failure is swallowed, and the event is lost",
        keys: &[],
        member: Some(&[]),
    },
    StepWord {
        word: "lease",
        within: "a lease step",
        within_group: "a lease within a group",
        doc: "Takes the object's lease. By itself it protects nothing: a lease may run out while its holder works.",
        ends: "409 with `on_held = \"refuse\"`; 503",
        keys: &[
            ON_HELD.declaration(),
            LEASE_EXPIRES.declaration(),
            RENEWED.declaration(),
            REENTRANT.declaration(),
            UNTIL.declaration(),
            UNDO.declaration(),
        ],
        member: None,
    },
    StepWord {
        word: "recall",
        within: "a recall step",
        within_group: "a recall within a group",
        doc: "Looks for the outcome stored under the request's key. If there is one, the attempt ends with it. Needs `retry = \"key\"`.",
        ends: "the stored outcome; 409 with `claim`; 503",
        keys: &[CLAIM.declaration(), CLAIM_EXPIRES.declaration()],
        member: None,
    },
    StepWord {
        word: "remember",
        within: "a remember step",
        within_group: "a remember within a group",
        doc: "Stores the outcome under the request's key, and removes the marker. Needs `retry = \"key\"`.",
        ends: "503",
        keys: &[],
        member: Some(&[]),
    },
];

/// The keys of a group, without those of every step.
pub(super) const ATOMIC: Declaration =
    Declaration::structure("atomic", Kind::Members, "The members, 1 to 64, in one transaction.");

/// The effects of an act, by its `via`: when it takes effect, when it is lost, when it happens twice.
pub(super) const EFFECTS: &[(&str, [&str; 3])] = &[
    ("memory", ["this process starts it", "the process dies before it", "every time"]),
    (
        "outbox",
        [
            "a worker leases the job, which is written once per use and name, and launches it under that key",
            "never, once written",
            "never: the same key is the same effect",
        ],
    ),
    ("row", ["the row is written", "never", "every time; with `unique`, a second one is a 409"]),
    ("call", ["another system is called", "never", "every time; with `key`, the other system deduplicates"]),
    ("answer", ["the caller receives the final answer", "the answer is lost", "every answer"]),
];

/// Words of an earlier version, and what to write instead.
pub(super) const RETIRED_STEPS: &[(&str, &str)] = &[
    ("launch", "`do = \"act\"` with `via = \"memory\"`"),
    ("enqueue", "`do = \"act\"` with `via = \"outbox\"`"),
];

/// Keys of an earlier version, and what to write instead.
pub(super) const RETIRED_KEYS: &[(&str, &str)] = &[("best_effort", "`on_error = \"continue\"`")];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_file::{FlowFile, declaration::Presence, parse, values::Value};

    fn read(file: &str) -> FlowFile {
        parse(file.as_bytes(), &[]).unwrap_or_else(|problem| panic!("{problem} in\n{file}"))
    }

    /// Holds each declared default against what the parser makes of a file that leaves the key out.
    fn holds_defaults(keys: &[Declaration], file: impl Fn(&str) -> String) {
        for key in keys {
            if let Presence::Default(default) = key.presence {
                let written_out = file(&format!("{} = {default}\n", key.name));
                assert_eq!(read(&written_out), read(&file("")), "{}", key.name);
            }
        }
    }

    #[test]
    fn declared_defaults_are_those_of_the_parser() {
        const STEP: &str = "[[step]]\ndo = \"audit\"\n";
        holds_defaults(FILE, |line| format!("{line}{STEP}"));
        for table in TABLES {
            holds_defaults(table.keys, |line| format!("[{}]\n{line}{STEP}", table.name));
        }
        for step in STEPS {
            let required = match step.word {
                "validate" => "checks = []\n",
                "consume" => "guards = []\n",
                "write" => "what = \"target\"\n",
                "act" => "via = \"row\"\n",
                _ => "",
            };
            let file = |line: &str| {
                format!("[endpoint]\nretry = \"key\"\n[[step]]\ndo = \"{}\"\n{required}{line}", step.word)
            };
            holds_defaults(step.keys, file);
            holds_defaults(EVERY_STEP, file);
        }
    }

    #[test]
    fn every_word_is_declared_once() {
        let sorted = |mut words: Vec<&'static str>| {
            words.sort_unstable();
            words
        };
        let Kind::Word(steps) = ActionWord::KIND else { panic!("the steps are words") };
        assert_eq!(sorted(STEPS.iter().map(|step| step.word).collect()), sorted(steps.to_vec()));
        let Kind::Word(via) = ViaWord::KIND else { panic!("the effects are words") };
        assert_eq!(EFFECTS.iter().map(|(word, _)| *word).collect::<Vec<_>>(), via);
        for (retired, _) in RETIRED_STEPS {
            assert!(!steps.contains(retired));
        }
    }

    #[test]
    fn every_sentence_is_one() {
        let keys = TABLES.iter().flat_map(|table| table.keys).chain(STEPS.iter().flat_map(|step| step.keys));
        for key in FILE.iter().chain(keys).chain(EVERY_STEP) {
            assert!(key.doc.ends_with('.') && !key.doc.contains('|'), "{}: {}", key.name, key.doc);
        }
    }
}
