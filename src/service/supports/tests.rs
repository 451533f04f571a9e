//! Each word that is not carried out is refused by its name, and the flows that are shipped are not.

use super::*;
use crate::flow_file::parse;

fn flow(file: &str) -> Flow {
    parse(file.as_bytes(), &[]).unwrap_or_else(|problem| panic!("{problem} in\n{file}")).flow
}

/// A flow of one step besides a consume under all guards.
fn one(step: &str) -> String {
    format!("{step}\n[[step]]\ndo = \"consume\"\nguards = [\"status\", \"expiry\", \"digest\"]\n")
}

fn refused(file: &str) -> String {
    match supports(&flow(file)) {
        Err(unsupported) => unsupported.to_string(),
        Ok(()) => panic!("supported:\n{file}"),
    }
}

#[test]
fn the_flows_that_are_shipped_are_supported() {
    for flow in [
        Flow::atomic_commit(),
        Flow::atomic_commit_for_twins(),
        Flow::atomic_commit_lease(),
        Flow::atomic_commit_lease_for_twins(),
    ] {
        assert_eq!(supports(&flow), Ok(()));
    }
}

#[test]
fn every_word_that_is_carried_out_is_supported() {
    for step in [
        "[[step]]\ndo = \"validate\"\nchecks = [\"owner\", \"status\", \"binding\", \"expiry\", \"digest\"]",
        "[[step]]\ndo = \"validate\"\nchecks = []\non_error = \"retry\"",
        "[[step]]\ndo = \"check\"\nrefusals = [\"412 no_services\", \"503 fetch_failed\"]\non_error = \"continue\"",
        "[[step]]\ndo = \"lease\"",
        "[[step]]\ndo = \"write\"\nwhat = \"vault\"",
        "[[step]]\ndo = \"write\"\nwhat = \"target\"\nhow = \"read-then-write\"",
        "[[step]]\ndo = \"act\"\nvia = \"memory\"",
        "[[step]]\ndo = \"act\"\nvia = \"outbox\"",
        "[[step]]\ndo = \"audit\"",
        "[object]\nnoun = \"release\"\naudited = false\n[[step]]\ndo = \"check\"",
    ] {
        assert_eq!(supports(&flow(&one(step))), Ok(()), "{step}");
    }
    let read_then_write = "[[step]]\ndo = \"consume\"\nguards = [\"status\"]\nhow = \"read-then-write\"";
    assert_eq!(supports(&flow(read_then_write)), Ok(()));
}

#[test]
fn a_promise_that_the_platform_does_not_keep_is_refused() {
    for (table, word) in [
        ("object", "uses = 2"),
        ("object", "approvers = 0"),
        ("object", "approvers = 2"),
        ("object", "separate = true"),
        ("object", "expires = false"),
        ("object", "revocable = true"),
        ("object", "bound = false"),
        ("object", "target_bound = true"),
        ("object", "owner = false"),
        ("object", "failed_attempt = \"burn\""),
        ("decision", "method = \"GET\""),
        ("endpoint", "method = \"GET\""),
        ("endpoint", "retry = \"keyless\""),
    ] {
        let said = refused(&format!("[{table}]\n{word}\n[[step]]\ndo = \"audit\""));
        let expected = format!("`[{table}]` has `{word}`, which the production driver does not carry out");
        assert_eq!(said, expected);
    }
    for guards in [
        "[]",
        "[\"status\"]",
        "[\"status\", \"expiry\", \"distinct\"]",
        "[\"status\", \"expiry\", \"not_requester\"]",
    ] {
        let said = refused(&one(&format!("[decision]\nguards = {guards}\n[[step]]\ndo = \"audit\"")));
        assert!(
            said.starts_with("`[decision]` has `guards` other than [\"status\", \"expiry\"], "),
            "{said}"
        );
    }
}

#[test]
fn a_word_that_is_not_carried_out_is_refused_by_the_name_of_its_step() {
    for (keys, word) in [
        ("do = \"validate\"\nchecks = []\naccept_own = true", "`validate` with `accept_own = true`"),
        ("do = \"lease\"\non_held = \"refuse\"", "`lease` with `on_held = \"refuse\"`"),
        ("do = \"lease\"\nexpires = false", "`lease` with `expires = false`"),
        ("do = \"lease\"\nrenewed = true", "`lease` with `renewed = true`"),
        ("do = \"lease\"\nreentrant = true", "`lease` with `reentrant = true`"),
        ("do = \"lease\"\nundo = true", "`lease` with `undo = true`"),
        ("do = \"lease\"\nuntil = \"end\"\n[[step]]\nname = \"end\"\ndo = \"check\"", "`lease` with `until`"),
        ("do = \"write\"\nwhat = \"target\"\nundo = true", "`write` with `undo = true`"),
        ("do = \"act\"\nvia = \"row\"", "`act` with `via = \"row\"`"),
        ("do = \"act\"\nvia = \"call\"", "`act` with `via = \"call\"`"),
        ("do = \"act\"\nvia = \"answer\"", "`act` with `via = \"answer\"`"),
        ("do = \"act\"\nvia = \"outbox\"\nrefusals = [\"412 no_services\"]", "`act` with `refusals`"),
    ] {
        let said = refused(&one(&format!("[[step]]\nname = \"payout\"\n{keys}")));
        assert_eq!(
            said,
            format!("the step `payout` uses {word}, which the production driver does not carry out")
        );
    }
    for (key, word) in [
        ("guards = []\non_conflict = \"continue\"", "`consume` with `on_conflict = \"continue\"`"),
        ("guards = []\nstore = \"memory\"", "`consume` with `store = \"memory\"`"),
        ("guards = []\naccept_own = true", "`consume` with `accept_own = true`"),
        ("guards = []\nundo = true", "`consume` with `undo = true`"),
    ] {
        let said = refused(&format!("[[step]]\ndo = \"consume\"\n{key}"));
        assert_eq!(
            said,
            format!("the step `consume` uses {word}, which the production driver does not carry out")
        );
    }
}

#[test]
fn a_second_act_and_a_second_lease_are_refused() {
    let acts = "[[step]]\ndo = \"act\"\nname = \"first\"\nvia = \"outbox\"\n\
                [[step]]\ndo = \"act\"\nname = \"mail\"\nvia = \"memory\"";
    assert!(refused(&one(acts)).starts_with("the step `mail` uses a second `act`, "));
    assert!(refused(&one("[[step]]\ndo = \"lease\"\n[[step]]\ndo = \"lease\"")).contains("a second `lease`"));
}

#[test]
fn a_member_of_a_group_is_refused_as_a_step_is() {
    let group = |members: &str| refused(&format!("[[step]]\nname = \"commit\"\natomic = [{members}]"));
    let consume = "{ do = \"consume\", guards = [], accept_own = true }";
    assert!(group(consume).starts_with("the step `commit` uses `consume` with `accept_own = true`, "));
    let named = "{ do = \"act\", name = \"payout\", via = \"row\", unique = true }";
    assert!(group(named).starts_with("the step `payout` uses `act` with `via = \"row\"`, "));
    let unnamed = "{ do = \"act\", via = \"row\" }";
    assert!(group(unnamed).starts_with("the step `commit` uses `act` with `via = \"row\"`, "));
    let write = "{ do = \"write\", what = \"target\", refusals = [\"402 card_declined\"] }";
    assert!(group(write).starts_with("the step `commit` lists \"402 card_declined\", "));
}

#[test]
fn an_outcome_is_remembered_by_the_last_step_with_the_use_and_nowhere_else() {
    let keyed = |steps: &str| flow(&format!("endpoint.retry = \"key\"\nstep = [{steps}]"));
    let consume = r#"{ do = "consume", guards = ["status"] }"#;
    let remembers = format!(r#"{{ name = "use", atomic = [{consume}, {{ do = "remember" }}] }}"#);
    let recall = r#"{ do = "recall" }"#;
    assert_eq!(supports(&keyed(&format!("{recall}, {remembers}"))), Ok(()));
    for (steps, word) in [
        (
            format!(r#"{{ name = "look", do = "recall", claim = true }}, {remembers}"#),
            "`look` uses `recall` with `claim = true`",
        ),
        (
            format!(r#"{recall}, {consume}, {{ do = "remember" }}"#),
            "`remember` uses `remember` outside the group that consumes",
        ),
        (
            format!(r#"{recall}, {consume}, {{ name = "end", atomic = [{{ do = "remember" }}] }}"#),
            "`end` uses `remember` outside the group that consumes",
        ),
        (
            format!(r#"{recall}, {remembers}, {{ do = "audit" }}"#),
            "`use` uses `remember` before the last step",
        ),
    ] {
        let said = supports(&keyed(&steps)).expect_err("it is not carried out").to_string();
        assert!(said.starts_with(&format!("the step {word}, ")), "{said}");
    }
}

#[test]
fn an_act_that_is_undone_is_refused() {
    // Only a call can be undone, and a file with one is refused for its `via` first.
    let mut before = Before {
        acted: false,
        leased: false,
        producers: Producers { store: &|_| false, preflight: &|_| false },
    };
    let undone = Act { undo: true, ..Act::new(Via::Outbox) };
    let said = before.check(&Step::named("earlier", StepAction::Act(undone)), true);
    let said = said.expect_err("it is not carried out").to_string();
    assert!(said.starts_with("the step `earlier` uses `act` with `undo = true`, "));
}

#[test]
fn a_code_that_no_check_produces_is_refused() {
    for refusal in ["412 basket_too_small", "413 no_services", "409 approval_expired", "503 no_such_failure"]
    {
        let said = refused(&one(&format!(
            "[[step]]\ndo = \"check\"\nname = \"basket\"\nrefusals = [\"{refusal}\"]"
        )));
        assert_eq!(said, format!("the step `basket` lists \"{refusal}\", which no check can produce"));
    }
}
