//! Pairs of words that contradict each other, within a table, between tables, and between steps.

use super::{CONSUME, read, refused};

#[test]
fn a_decision_needs_an_approver() {
    refused(
        &format!("[object]\napprovers = 0\n[decision]\nmethod = \"GET\"\n{CONSUME}"),
        (3, 1),
        "`[decision]` with `approvers = 0`",
        "no `[decision]`, or at least one approver",
        None,
    );
    refused(
        &format!("[object]\napprovers = 0\n[decision]\n{CONSUME}"),
        (3, 1),
        "`[decision]` with `approvers = 0`",
        "no `[decision]`, or at least one approver",
        None,
    );
}

#[test]
fn approvers_other_than_the_requester_need_an_approver() {
    refused(
        &format!("[object]\nseparate = true\napprovers = 0\n{CONSUME}"),
        (2, 12),
        "`separate = true` with `approvers = 0`",
        "at least one approver, or no `separate`",
        None,
    );
    assert!(read(&format!("[object]\nseparate = false\napprovers = 0\n{CONSUME}")).is_ok());
}

#[test]
fn what_is_violated_is_neither_vacuous_nor_violated_in_simulation_alone() {
    for key in ["expect_vacuous", "expect_broken_in_simulation"] {
        refused(
            &format!("expect_broken = [\"L1\", \"S5\"]\n{key} = [\"S5\"]\n{CONSUME}"),
            (2, key.len() + 5),
            "`S5`, which `expect_broken` names, too",
            "each property in one of the two lists",
            None,
        );
    }
    // Vacuous in the model, and violated by what only the simulator does.
    let both = format!("expect_vacuous = [\"S5\"]\nexpect_broken_in_simulation = [\"S5\"]\n{CONSUME}");
    assert!(read(&both).is_ok());
}

#[test]
fn steps_that_need_a_key_need_clients_that_send_one() {
    let found = "a step that needs the request's key";
    let expected = "`retry = \"key\"` in `[endpoint]`";
    for word in ["recall", "remember"] {
        let step = format!("[[step]]\ndo = \"{word}\"\n");
        refused(&step, (2, 6), found, expected, None);
        for retry in ["none", "keyless"] {
            let file = format!("[endpoint]\nretry = \"{retry}\"\n{step}");
            refused(&file, (4, 6), found, expected, None);
        }
        assert!(read(&format!("[endpoint]\nretry = \"key\"\n{step}")).is_ok());
    }
    let group = "[[step]]\natomic = [{ do = \"audit\" }, { do = \"remember\" }]\n";
    refused(group, (2, 36), found, expected, None);
}

#[test]
fn a_value_is_refused_where_another_key_contradicts_it() {
    let case = |step: &str, line: &str, found: &str, expected: &str| {
        let column = line.find(" = ").expect("a key and its value") + 4;
        let place = step.lines().count() + 2;
        refused(&format!("[[step]]\n{step}\n{line}\n"), (place, column), found, expected, None);
    };
    case(
        "do = \"lease\"\nexpires = false",
        "renewed = true",
        "`renewed = true` with `expires = false`",
        "`expires = true`, or no `renewed`",
    );
    case(
        "do = \"recall\"",
        "claim_expires = false",
        "`claim_expires = false` without `claim`",
        "`claim = true`, or no `claim_expires`",
    );
    case(
        "do = \"write\"\nwhat = \"vault\"",
        "how = \"read-then-write\"",
        "`how = \"read-then-write\"` with `what = \"vault\"`",
        "`what = \"target\"`, or no `how`",
    );
    for (key, right) in [("unique", "row"), ("key", "call"), ("undo", "call")] {
        for via in ["memory", "outbox", "row", "call", "answer"].iter().filter(|via| **via != right) {
            case(
                &format!("do = \"act\"\nvia = \"{via}\""),
                &format!("{key} = true"),
                &format!("`{key} = true` with `via = \"{via}\"`"),
                &format!("`via = \"{right}\"`, or no `{key}`"),
            );
        }
        let written_out = format!("[[step]]\ndo = \"act\"\nvia = \"{right}\"\n{key} = true\n");
        assert!(read(&written_out).is_ok(), "{written_out}");
    }
    refused(
        "[[step]]\natomic = [{ do = \"act\", via = \"outbox\", unique = true }]\n",
        (2, 50),
        "`unique = true` with `via = \"outbox\"`",
        "`via = \"row\"`, or no `unique`",
        None,
    );
    assert!(read("[[step]]\ndo = \"lease\"\nrenewed = true\n").is_ok());
}

#[test]
fn a_lease_lasts_until_a_step_after_it() {
    let flow = |until: &str| {
        format!(
            "[[step]]\ndo = \"check\"\nname = \"before\"\n[[step]]\ndo = \"lease\"\nname = \"lock\"\nuntil = \
             \"{until}\"\n[[step]]\ndo = \"check\"\nname = \"settle\"\n{CONSUME}name = \"use\"\n"
        )
    };
    let read = read(&flow("settle")).expect("a flow");
    let countersign::protocol::StepAction::Lease(lease) = &read.flow.steps()[1].action else {
        panic!("the second step is the lease")
    };
    assert_eq!(lease.until, Some(2));
    refused(
        &flow("setle"),
        (7, 9),
        "\"setle\", which names no step",
        "one of `settle`, `use`",
        Some("did you mean `settle`?"),
    );
    for earlier in ["before", "lock"] {
        refused(
            &flow(earlier),
            (7, 9),
            "a step that does not come after the lease",
            "the `name` of a step after the lease",
            None,
        );
    }
    refused(
        "[[step]]\ndo = \"lease\"\nuntil = \"the end\"\n",
        (3, 9),
        "\"the end\", which names no step",
        "the `name` of a step after the lease",
        None,
    );
}

#[test]
fn steps_have_different_names() {
    let step = |keys: &str| format!("[[step]]\nname = \"look\"\n{keys}\n");
    let expected = "a `name` of its own for each step";
    let twice = step("do = \"check\"").repeat(2);
    refused(&twice, (5, 8), "a second step named \"look\"", expected, None);
    let lease = "[[step]]\ndo = \"lease\"\nuntil = \"look\"\n";
    refused(&format!("{lease}{twice}"), (8, 8), "a second step named \"look\"", expected, None);
    let group = step("atomic = [{ do = \"audit\" }]");
    refused(
        &format!("{}{group}", step("do = \"audit\"")),
        (5, 8),
        "a second step named \"look\"",
        expected,
        None,
    );
    assert!(read(&"[[step]]\ndo = \"check\"\n".repeat(2)).is_ok(), "a name is optional");
    let act = "[[step]]\nname = \"pay\"\natomic = [{ do = \"act\", via = \"row\", name = \"pay\" }]\n";
    assert!(read(act).is_ok(), "a group may have the name of its act");
}

#[test]
fn what_a_step_compares_is_bound() {
    for (condition, promise) in [("digest", "bound"), ("target", "target_bound")] {
        let found = format!("the condition \"{condition}\" with `{promise} = false`");
        let expected = format!("`{promise} = true` in `[object]`, or no \"{condition}\"");
        for (step, column) in [
            (format!("do = \"validate\"\nchecks = [\"status\", \"{condition}\"]"), 10),
            (format!("do = \"consume\"\nguards = [\"status\", \"{condition}\"]"), 10),
            (format!("name = \"commit\"\natomic = [{{ do = \"consume\", guards = [\"{condition}\"] }}]"), 38),
        ] {
            let flow = |value: bool| format!("[object]\n{promise} = {value}\n[[step]]\n{step}\n");
            refused(&flow(false), (5, column), &found, &expected, None);
            assert!(read(&flow(true)).is_ok());
        }
    }
}

#[test]
fn the_guard_of_a_lease_needs_a_lease_before_it() {
    let lease = "[[step]]\ndo = \"lease\"\n";
    let consume = "[[step]]\ndo = \"consume\"\nguards = [\"lease\"]\n";
    let why = ("the guard \"lease\" without a lease before it", "a step that takes the lease first");
    let help = Some("`[[step]]`, `do = \"lease\"`");
    refused(consume, (3, 10), why.0, why.1, help);
    refused(&format!("{consume}{lease}"), (3, 10), why.0, why.1, help);
    let group = "[[step]]\ndo = \"audit\"\n[[step]]\natomic = [{ do = \"consume\", guards = [\"lease\"] }]\n";
    refused(group, (4, 38), why.0, why.1, help);
    assert!(read(&format!("{lease}{consume}")).expect("a flow file").flow.takes_lease());
}

#[test]
fn a_flow_consumes_at_most_once() {
    let expected = "at most one consume in a flow";
    refused(&format!("{CONSUME}{CONSUME}"), (5, 6), "a second consume", expected, None);
    let twice = "[[step]]\natomic = [{ do = \"consume\", guards = [] }, { do = \"consume\", guards = [] }]\n";
    refused(twice, (2, 51), "a second consume", expected, None);
    let none = read("[[step]]\ndo = \"act\"\nvia = \"row\"\n").expect("a flow that uses nothing up");
    assert_eq!(none.flow.consume(), None);
}

#[test]
fn acts_have_different_names_and_are_at_most_three() {
    let act = |name: &str| format!("[[step]]\ndo = \"act\"\nname = \"{name}\"\nvia = \"row\"\n");
    let unnamed = "[[step]]\ndo = \"act\"\nvia = \"row\"\n";
    let expected = "a `name` of its own for each act";
    refused(&act("pay").repeat(2), (7, 8), "a second act named \"pay\"", expected, None);
    refused(&unnamed.repeat(2), (5, 6), "a second act named \"act\"", expected, None);
    let group = "[[step]]\natomic = [{ do = \"act\", via = \"row\", name = \"pay\" }]\n";
    refused(&format!("{}{group}", act("pay")), (6, 45), "a second act named \"pay\"", expected, None);
    let three = format!("{}{}{}", act("a"), act("b"), unnamed);
    assert_eq!(read(&three).expect("a flow").flow.acts().count(), 3);
    let four = format!("{three}{}", act("d"));
    refused(&four, (13, 6), "more than 3 acts", "at most 3 acts in a flow", None);
}
