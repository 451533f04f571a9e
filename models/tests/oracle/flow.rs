//! The oracle's reading of a flow file: what it needs of a file that is known to be valid.

use serde::Deserialize;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct FlowTable {
    #[serde(default, rename = "about")]
    _about: String,
    #[serde(default, rename = "expect_broken")]
    _expect_broken: Vec<String>,
    #[serde(default, rename = "expect_broken_in_simulation")]
    _expect_broken_in_simulation: Vec<String>,
    #[serde(default, rename = "expect_vacuous")]
    _expect_vacuous: Vec<String>,
    #[serde(default)]
    object: Object,
    #[serde(default)]
    decision: DecisionTable,
    #[serde(default)]
    endpoint: EndpointTable,
    step: Vec<StepTable>,
}

/// `[object]`: what is promised.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Object {
    #[serde(rename = "noun")]
    _noun: String,
    pub(crate) uses: u8,
    pub(crate) approvers: u8,
    pub(crate) separate: bool,
    pub(crate) expires: bool,
    pub(crate) revocable: bool,
    pub(crate) bound: bool,
    pub(crate) target_bound: bool,
    pub(crate) owner: bool,
    pub(crate) audited: bool,
    failed_attempt: FailedAttempt,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum FailedAttempt {
    Keep,
    Burn,
}

impl Default for Object {
    fn default() -> Self {
        Self {
            _noun: "approval".into(),
            uses: 1,
            approvers: 1,
            separate: false,
            expires: true,
            revocable: false,
            bound: true,
            target_bound: false,
            owner: true,
            audited: true,
            failed_attempt: FailedAttempt::Keep,
        }
    }
}

impl Object {
    pub(crate) fn burns(&self) -> bool {
        self.failed_attempt == FailedAttempt::Burn
    }
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
struct DecisionTable {
    guards: Vec<String>,
    method: String,
}

impl Default for DecisionTable {
    fn default() -> Self {
        Self { guards: vec!["status".into(), "expiry".into()], method: "POST".into() }
    }
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
struct EndpointTable {
    method: String,
    retry: String,
}

impl Default for EndpointTable {
    fn default() -> Self {
        Self { method: "POST".into(), retry: "none".into() }
    }
}

/// One step or one member of a group; which keys belong to which word is the parser's business.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
struct StepTable {
    #[serde(rename = "do")]
    word: String,
    atomic: Vec<StepTable>,
    name: Option<String>,
    on_error: String,
    on_conflict: String,
    accept_own: bool,
    undo: bool,
    checks: Vec<String>,
    guards: Vec<String>,
    refusals: Vec<String>,
    claim: bool,
    claim_expires: Option<bool>,
    on_held: String,
    expires: Option<bool>,
    renewed: bool,
    reentrant: bool,
    until: Option<String>,
    what: String,
    how: String,
    store: String,
    via: String,
    unique: bool,
    key: bool,
}

/// The conditions of a `validate` or a `consume`. `binding` always passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) owner: bool,
    pub(crate) status: bool,
    pub(crate) expiry: bool,
    pub(crate) digest: bool,
    pub(crate) target: bool,
    pub(crate) lease: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Via {
    Memory,
    Outbox,
    Row,
    Call,
    Answer,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum OnError {
    Refuse,
    Continue,
    Retry,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum WriteTarget {
    Target,
    Vault,
}

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) refuses_when_held: bool,
    pub(crate) expires: bool,
    pub(crate) renewed: bool,
    pub(crate) reentrant: bool,
    /// The index of the step that ends it; otherwise the attempt's end does.
    pub(crate) until: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Consume {
    pub(crate) guards: Conditions,
    pub(crate) continues_on_conflict: bool,
    pub(crate) accept_own: bool,
    pub(crate) in_memory: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// Its index among the flow's acts.
    pub(crate) number: usize,
    pub(crate) via: Via,
    pub(crate) unique: bool,
    pub(crate) key: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Validate {
        checks: Conditions,
        accept_own: bool,
    },
    Check,
    /// With a claim: does its marker expire?
    Recall {
        claim: Option<bool>,
    },
    Lease(Lease),
    Write(WriteTarget),
    Consume(Consume),
    Act(Act),
    Audit,
    Remember,
    Group(Vec<Step>),
}

/// One step, or a member of a group.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    /// The step has refusals.
    pub(crate) refuses: bool,
    pub(crate) two_actions: bool,
    pub(crate) on_error: OnError,
    pub(crate) undo: bool,
}

pub(crate) struct Decision {
    pub(crate) status: bool,
    pub(crate) expiry: bool,
    pub(crate) distinct: bool,
    pub(crate) not_requester: bool,
    pub(crate) get: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Retry {
    None,
    Key,
    Keyless,
}

pub(crate) struct Flow {
    pub(crate) object: Object,
    pub(crate) decision: Decision,
    pub(crate) get: bool,
    pub(crate) retry: Retry,
    pub(crate) steps: Vec<Step>,
    pub(crate) acts: Vec<Act>,
}

impl Flow {
    pub(crate) fn read(text: &str) -> Self {
        let table: FlowTable = toml::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        let mut acts = Vec::new();
        let steps: Vec<Step> =
            table.step.iter().map(|step| read_step(step, &table.step, &mut acts)).collect();
        let guard = |word: &str| table.decision.guards.iter().any(|guard| guard == word);
        Self {
            decision: Decision {
                status: guard("status"),
                expiry: guard("expiry"),
                distinct: guard("distinct"),
                not_requester: guard("not_requester"),
                get: table.decision.method == "GET",
            },
            get: table.endpoint.method == "GET",
            retry: match table.endpoint.retry.as_str() {
                "none" => Retry::None,
                "key" => Retry::Key,
                "keyless" => Retry::Keyless,
                other => panic!("retry = {other}"),
            },
            object: table.object,
            steps,
            acts,
        }
    }

    /// Every step and every member of a group.
    pub(crate) fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().flat_map(|step| match &step.action {
            Action::Group(members) => members.iter().collect::<Vec<_>>(),
            _ => vec![step],
        })
    }

    pub(crate) fn writes_target(&self) -> bool {
        self.all_steps().any(|step| matches!(step.action, Action::Write(WriteTarget::Target)))
    }

    pub(crate) fn writes(&self) -> bool {
        self.all_steps().any(|step| matches!(step.action, Action::Write(_)))
    }

    /// Only acts via `memory` and `outbox` start deploys.
    pub(crate) fn deploys(&self) -> bool {
        self.acts.iter().any(|act| matches!(act.via, Via::Memory | Via::Outbox))
    }

    pub(crate) fn stores_in_memory(&self) -> bool {
        self.all_steps().any(|step| matches!(&step.action, Action::Consume(consume) if consume.in_memory))
    }

    /// The `consume` recognises a use of the caller's own.
    pub(crate) fn accepts_own_uses(&self) -> bool {
        self.all_steps().any(|step| matches!(&step.action, Action::Consume(consume) if consume.accept_own))
    }

    pub(crate) fn keeps_outcomes(&self) -> bool {
        self.all_steps().any(|step| matches!(step.action, Action::Recall { .. } | Action::Remember))
    }
}

fn conditions(words: &[String]) -> Conditions {
    let has = |word: &str| words.iter().any(|other| other == word);
    Conditions {
        owner: has("owner"),
        status: has("status"),
        expiry: has("expiry"),
        digest: has("digest"),
        target: has("target"),
        lease: has("lease"),
    }
}

fn read_step(step: &StepTable, all: &[StepTable], acts: &mut Vec<Act>) -> Step {
    let action = match step.word.as_str() {
        "" => Action::Group(step.atomic.iter().map(|member| read_step(member, all, acts)).collect()),
        "validate" => Action::Validate { checks: conditions(&step.checks), accept_own: step.accept_own },
        "check" => Action::Check,
        "recall" => Action::Recall { claim: step.claim.then(|| step.claim_expires.unwrap_or(true)) },
        "lease" => Action::Lease(Lease {
            refuses_when_held: step.on_held == "refuse",
            expires: step.expires.unwrap_or(true),
            renewed: step.renewed,
            reentrant: step.reentrant,
            until: step.until.as_ref().map(|name| {
                let named = |other: &StepTable| other.name.as_ref() == Some(name);
                all.iter().position(named).expect("`until` names a step")
            }),
        }),
        "write" => {
            Action::Write(if step.what == "target" { WriteTarget::Target } else { WriteTarget::Vault })
        }
        "consume" => Action::Consume(Consume {
            guards: conditions(&step.guards),
            continues_on_conflict: step.on_conflict == "continue",
            accept_own: step.accept_own,
            in_memory: step.store == "memory",
        }),
        "act" => {
            let via = match step.via.as_str() {
                "memory" => Via::Memory,
                "outbox" => Via::Outbox,
                "row" => Via::Row,
                "call" => Via::Call,
                "answer" => Via::Answer,
                other => panic!("via = {other}"),
            };
            let act = Act { number: acts.len(), via, unique: step.unique, key: step.key };
            acts.push(act.clone());
            Action::Act(act)
        }
        "audit" => Action::Audit,
        "remember" => Action::Remember,
        other => panic!("do = {other}"),
    };
    Step {
        action,
        refuses: !step.refusals.is_empty(),
        two_actions: step.how == "read-then-write",
        on_error: match step.on_error.as_str() {
            "" | "refuse" => OnError::Refuse,
            "continue" => OnError::Continue,
            "retry" => OnError::Retry,
            other => panic!("on_error = {other}"),
        },
        undo: step.undo,
    }
}
