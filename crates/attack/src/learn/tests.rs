//! Flow files of traces that were written by hand.

use std::collections::BTreeMap;

use super::{Learnt, Promised, UseTrace, flow_file};
use crate::{
    proxy::{Answer, Parameter, Recorded, Statement, StatementResult, TransactionStatus},
    schedule::catalog::Catalog,
};

/// A unit: its statements with their command tags, and whether a transaction is open afterwards.
fn unit(statements: &[(&str, &[&str], &str)], is_open: bool) -> Recorded {
    let parameters =
        |texts: &[&str]| texts.iter().map(|text| Parameter::Text((*text).to_owned())).collect::<Vec<_>>();
    let transaction = if is_open { TransactionStatus::Open } else { TransactionStatus::Idle };
    Recorded {
        connection: 1,
        statements: statements
            .iter()
            .map(|(sql, texts, _)| Statement { sql: (*sql).to_owned(), parameters: parameters(texts) })
            .collect(),
        answer: Some(Answer {
            results: statements.iter().map(|(.., tag)| StatementResult::of((*tag).to_owned())).collect(),
            error: None,
            transaction: Some(transaction),
        }),
    }
}

fn learnt(recorded: &[Recorded], promised: &Promised) -> Learnt {
    let captures = BTreeMap::from([("token".to_owned(), "tok-1".to_owned())]);
    let catalog = Catalog::default();
    let trace = UseTrace {
        recorded,
        captures: &captures,
        catalog: &catalog,
        about: "links",
        method: "POST",
        promised,
    };
    let learnt = flow_file(trace).unwrap();
    if let Err(problem) = countersign_models::flows::Subject::read(learnt.toml.as_bytes()) {
        panic!("{problem:?}\n{}", learnt.toml);
    }
    learnt
}

fn asks(learnt: &Learnt, part: &str) {
    assert!(
        learnt.questions.iter().any(|question| question.contains(part)),
        "{part}: {:#?}",
        learnt.questions
    );
    let marked = learnt.toml.lines().any(|line| line.contains("# ?") && line.contains(part));
    assert!(marked, "{part} is not marked\n{}", learnt.toml);
}

fn has(learnt: &Learnt, line: &str) {
    assert!(learnt.toml.contains(line), "{line}\n{}", learnt.toml);
}

#[test]
fn a_guard_that_a_used_object_meets_is_none() {
    let update = "UPDATE links SET status = 'mine' WHERE token = $1 AND status IN ('open', 'mine')";
    let learnt = learnt(&[unit(&[(update, &["tok-1"], "UPDATE 1")], false)], &Promised::default());
    has(&learnt, "guards = []");
    asks(&learnt, "accept_own = true");
}

#[test]
fn a_guard_that_may_be_none_is_asked_for() {
    let update = "UPDATE links SET uses = uses + 1 WHERE token = $1 AND uses < 3";
    let learnt = learnt(&[unit(&[(update, &["tok-1"], "UPDATE 1")], false)], &Promised::default());
    has(&learnt, "guards = [\"status\"]");
    asks(&learnt, "does `uses < 3` refuse an object that this update has changed?");
}

#[test]
fn a_time_of_the_application_guards_no_expiry() {
    let read = "SELECT * FROM links WHERE token = $1 AND expires_at > $2";
    let update = |clock: &str| {
        format!(
            "UPDATE links SET state = 'used' WHERE token = $1 AND state = 'open' AND expires_at > {clock}"
        )
    };
    let learnt_by = |clock: &str, value: &str| {
        let update = update(clock);
        let units = [
            unit(&[(read, &["tok-1", "2026-01-01 00:00:00"], "SELECT 1")], false),
            unit(&[(&update, &["tok-1", value], "UPDATE 1")], false),
        ];
        learnt(&units, &Promised::default())
    };
    let old = learnt_by("$2", "2026-01-01 00:00:00");
    has(&old, "guards = [\"status\"]");
    asks(&old, "compares a time of the application, which an earlier statement has, too");
    let new = learnt_by("$2", "2026-01-01 00:00:01");
    has(&new, "guards = [\"status\"]");
    asks(&new, "compares a time of the application: \"expiry\"");
    has(&learnt_by("now()", "unused"), "guards = [\"status\", \"expiry\"]");
}

#[test]
fn the_roles_of_the_target_file_are_promises() {
    let promised = Promised {
        noun: Some("invite".to_owned()),
        uses: 2,
        approvers: 2,
        separate: true,
        revocable: true,
        bound: true,
        owner: true,
        expires: true,
        audited: true,
        burn: true,
        key: true,
    };
    let update = "UPDATE links SET state = 'used' WHERE token = $1 AND state = 'open'";
    let learnt = learnt(&[unit(&[(update, &["tok-1"], "UPDATE 1")], false)], &promised);
    for line in [
        "noun = \"invite\"",
        "\nuses = 2\n",
        "\napprovers = 2\n",
        "\nseparate = true\n",
        "\nrevocable = true\n",
        "\nbound = true  # ? which statement compares the payload",
        "\nowner = true  # ? where is the owner compared?",
        "\nexpires = true  # ? the SQL compares no such column",
        "\naudited = true  # ? which statement writes the event",
        "\nfailed_attempt = \"burn\"\n",
        "\n[decision]\nguards = [\"status\", \"expiry\"]  # ? what does the statement of an approval compare?",
        "\nretry = \"key\"  # ? the SQL stores no outcome",
    ] {
        has(&learnt, line);
    }
}

#[test]
fn an_advisory_lock_is_a_lease() {
    let update = "UPDATE links SET state = 'used' WHERE token = $1";
    let learnt_with = |lock: &str| {
        let units = [
            unit(&[("BEGIN", &[], "BEGIN")], true),
            unit(&[(lock, &["tok-1"], "SELECT 1")], true),
            unit(&[(update, &["tok-1"], "UPDATE 1")], true),
            unit(&[("COMMIT", &[], "COMMIT")], false),
        ];
        learnt(&units, &Promised::default())
    };
    let waits = learnt_with("SELECT pg_advisory_xact_lock(hashtext($1))");
    has(&waits, "do = \"lease\"  # ? an advisory lock: is its key the object's");
    has(&waits, "name = \"lock\"\non_held = \"wait\"\nrenewed = true\n");
    let refuses = learnt_with("SELECT pg_try_advisory_lock(hashtext($1))");
    has(&refuses, "on_held = \"refuse\"");
    asks(&refuses, "after which step is it released?");
}

#[test]
fn transactions_of_one_unit_are_apart() {
    let update =
        ("UPDATE links SET state = 'used' WHERE token = 'tok-1' AND state = 'open'", &[][..], "UPDATE 1");
    let insert = ("INSERT INTO payouts (link) VALUES ('tok-1')", &[][..], "INSERT 0 1");
    let (begin, commit) = (("BEGIN", &[][..], "BEGIN"), ("COMMIT", &[][..], "COMMIT"));
    let one = learnt(&[unit(&[begin, update, insert, commit], false)], &Promised::default());
    has(&one, "atomic = [");
    let two = learnt(&[unit(&[begin, update, commit, begin, insert, commit], false)], &Promised::default());
    assert!(!two.toml.contains("atomic"), "{}", two.toml);
    let chain = ("COMMIT AND CHAIN", &[][..], "COMMIT");
    let units = [
        unit(&[begin], true),
        unit(&[update], true),
        unit(&[chain], true),
        unit(&[insert], true),
        unit(&[commit], false),
    ];
    let chained = learnt(&units, &Promised::default());
    assert!(!chained.toml.contains("atomic"), "{}", chained.toml);
}

#[test]
fn a_row_is_deleted_once_and_a_second_change_of_the_object_is_asked_for() {
    let delete = "DELETE FROM links WHERE token = $1";
    let deleted = learnt(&[unit(&[(delete, &["tok-1"], "DELETE 1")], false)], &Promised::default());
    has(&deleted, "# A row is deleted once.\ndo = \"consume\"\nguards = [\"status\"]");
    asks(&deleted, "is the use refused when the delete changes 0 rows?");
    let claim = "UPDATE links SET state = 'claimed' WHERE token = $1 AND state = 'open'";
    let done = "UPDATE links SET state = 'done' WHERE token = $1";
    let units =
        [unit(&[(claim, &["tok-1"], "UPDATE 1")], false), unit(&[(done, &["tok-1"], "UPDATE 1")], false)];
    asks(&learnt(&units, &Promised::default()), "another change of the object: is it the effect?");
}
