//! Every word is read as what it means.

use countersign::{
    flow_file::FlowFile,
    protocol::{
        Act, Atomicity, Checks, Consume, DecisionGuards, DecisionRule, Endpoint, FailedAttempt, Flow, Guards,
        Lease, Member, Method, Object, OnConflict, OnError, OnHeld, Refusal, Retry, Step, StepAction,
        Storage, Via, Write, WriteTarget,
    },
};

use super::read;

/// Every key, most with another value than the default.
pub(super) const EVERYTHING: &str = r#"#:schema ./flow.schema.json
about = "é, every word"   # 🎉
expect_broken = ["S5", "L1"]
expect_broken_in_simulation = ["S1"]
expect_vacuous = ["S1"]

[object]
noun = "gift card"
uses = 3
approvers = 2
separate = true
expires = false
revocable = true
bound = true
target_bound = true
owner = false
audited = false
failed_attempt = "burn"

[decision]
guards = ["distinct", "not_requester"]
method = "GET"

[endpoint]
method = "GET"
retry = "key"

[[step]]
do = "recall"
claim = true
claim_expires = false

[[step]]
name = "early"
do = "validate"
checks = ["target", "owner", "status", "binding", "expiry", "digest"]
accept_own = true

[[step]]
do = "check"
on_error = "retry"

[[step]]
do = "lease"
on_held = "refuse"
expires = true
renewed = true
reentrant = true
until = "provision"
undo = true

[[step]]
do = "write"
what = "target"
name = "provision"
how = "read-then-write"
refusals = ["503 update_failed", "402 my_own_limit"]
undo = true

[[step]]
do = "write"
what = "vault"
on_error = "continue"

[[step]]
do = "act"
name = "hold"
via = "call"
key = true
undo = true
refusals = ["402 my_own_limit"]

[[step]]
name = "commit"
on_error = "continue"
atomic = [
    { do = "consume", guards = ["lease", "target", "digest", "status"], on_conflict = "continue", accept_own = true },
    { do = "write", what = "target", refusals = ["402 my_own_limit"] },
    { do = "act", name = "row", via = "row", unique = true, refusals = ["402 my_own_limit"] },
    { do = "act", via = "outbox" },
    { do = "audit" },
    { do = "remember" },
]

[[step]]
do = "audit"

[[step]]
do = "remember"
"#;

fn everything() -> FlowFile {
    let own = || vec![Refusal::parse("402 my_own_limit").expect("a refusal")];
    let object = Object {
        noun: "gift card".to_owned(),
        uses: 3,
        approvers: 2,
        separate: true,
        expires: false,
        revocable: true,
        bound: true,
        target_bound: true,
        owner: false,
        audited: false,
        failed_attempt: FailedAttempt::Burn,
    };
    let guards = DecisionGuards { status: false, expiry: false, distinct: true, not_requester: true };
    let decision = DecisionRule { guards, method: Method::Get };
    let endpoint = Endpoint { method: Method::Get, retry: Retry::Key };
    let lease = Lease {
        on_held: OnHeld::Refuse,
        expires: true,
        renewed: true,
        reentrant: true,
        until: Some(4),
        undo: true,
    };
    let consume = Consume {
        guards: Guards { status: true, expiry: false, digest: true, target: true, lease: true },
        on_conflict: OnConflict::Continue,
        accept_own: true,
        ..Consume::default()
    };
    let provision = Write {
        what: WriteTarget::Target,
        atomicity: Atomicity::ReadThenWrite,
        refusals: vec![Refusal::UPDATE_FAILED, own().remove(0)],
        undo: true,
    };
    let hold = Act { name: None, via: Via::Call { key: true }, refusals: own(), undo: true };
    let row =
        Act { name: Some("row".to_owned()), via: Via::Row { unique: true }, refusals: own(), undo: false };
    let checks = Checks { target: true, ..Checks::ALL };
    let steps: Vec<Step> = vec![
        StepAction::Recall { claim: true, claim_expires: false }.into(),
        Step::named("early", StepAction::Validate { checks, accept_own: true }),
        Step { on_error: OnError::Retry, ..StepAction::Check { refusals: vec![] }.into() },
        StepAction::Lease(lease).into(),
        Step::named("provision", StepAction::Write(provision)),
        Step { on_error: OnError::Continue, ..StepAction::Write(Write::new(WriteTarget::Vault)).into() },
        Step::named("hold", StepAction::Act(hold)),
        Step {
            on_error: OnError::Continue,
            ..Step::named(
                "commit",
                StepAction::Atomic(vec![
                    Member::Consume(consume),
                    Member::Write(Write { refusals: own(), ..Write::new(WriteTarget::Target) }),
                    Member::Act(row),
                    Member::Act(Act::new(Via::Outbox)),
                    Member::Audit,
                    Member::Remember,
                ]),
            )
        },
        StepAction::Audit.into(),
        StepAction::Remember.into(),
    ];
    FlowFile {
        about: Some("é, every word".to_owned()),
        expect_broken: vec!["S5".to_owned(), "L1".to_owned()],
        expect_broken_in_simulation: vec!["S1".to_owned()],
        expect_vacuous: vec!["S1".to_owned()],
        has_object: true,
        flow: Flow::new(object, decision, endpoint, steps).expect("a flow"),
    }
}

#[test]
fn every_word_is_read_as_what_it_means() {
    assert_eq!(read(EVERYTHING), Ok(everything()));
    assert_eq!(read(&EVERYTHING.replace('\n', "\r\n")), Ok(everything()), "lines that end as on Windows");
    assert_eq!(read(&format!("\u{feff}{EVERYTHING}")), Ok(everything()), "a byte order mark");
}

fn only_step(step: &str) -> StepAction {
    let file = format!("[endpoint]\nretry = \"key\"\n[[step]]\n{step}");
    read(&file).expect("a flow").flow.steps()[0].action.clone()
}

#[test]
fn keys_that_are_left_out_have_their_defaults() {
    assert_eq!(only_step("do = \"lease\""), StepAction::Lease(Lease::default()));
    assert_eq!(only_step("do = \"recall\""), StepAction::Recall { claim: false, claim_expires: true });
    assert_eq!(
        only_step("do = \"consume\"\nguards = []"),
        StepAction::Consume(Consume::new(Guards::default()))
    );
    let written_out = "do = \"lease\"\non_error = \"refuse\"\non_held = \"wait\"\nexpires = true\nrenewed = false\n\
                       reentrant = false\nundo = false";
    assert_eq!(only_step(written_out), StepAction::Lease(Lease::default()));
    assert_eq!(
        only_step(
            "do = \"consume\"\nguards = []\non_conflict = \"refuse\"\naccept_own = false\nundo = false"
        ),
        StepAction::Consume(Consume::new(Guards::default()))
    );
    assert_eq!(
        only_step("do = \"act\"\nvia = \"memory\"\nunique = false\nkey = false\nundo = false\nrefusals = []"),
        StepAction::Act(Act::new(Via::Memory))
    );
}

#[test]
fn a_consume_in_memory_and_a_consume_in_two_actions() {
    let in_memory = Consume { storage: Storage::Memory, undo: true, ..Consume::new(Guards::ALL) };
    let guards = "do = \"consume\"\nguards = [\"status\", \"expiry\", \"digest\"]\n";
    assert_eq!(
        only_step(&format!("{guards}store = \"memory\"\nundo = true")),
        StepAction::Consume(in_memory)
    );
    let two = Consume { atomicity: Atomicity::ReadThenWrite, ..Consume::new(Guards::ALL) };
    assert_eq!(only_step(&format!("{guards}how = \"read-then-write\"")), StepAction::Consume(two));
}

#[test]
fn each_via_is_read() {
    for (via, expected) in [
        ("memory", Via::Memory),
        ("outbox", Via::Outbox),
        ("row", Via::Row { unique: false }),
        ("call", Via::Call { key: false }),
        ("answer", Via::Answer),
    ] {
        let action = only_step(&format!("do = \"act\"\nvia = \"{via}\""));
        assert_eq!(action, StepAction::Act(Act::new(expected)));
    }
}
