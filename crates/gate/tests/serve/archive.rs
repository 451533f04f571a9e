//! `archive` next to a server that runs: old approvals are lines of JSON, and gone; the others are served on.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    process::{Server, Workplace, ask_as, bare, bearer, decide, eventually, postgresql, refusal},
    promote::{promote, requested, shop, target},
};

const STORE: [&str; 2] = ["--store", "sqlite:gate.db"];
const FILE: &str = "archive.ndjson";

fn archive(workplace: &Workplace, age: &str, output: &str) -> Output {
    let args = ["archive", "--older-than", age, "--output", output];
    let mut command: Command = workplace.gate(&[&args, &STORE[..]].concat());
    command.output().expect("it runs")
}

fn rejected(workplace: &Workplace, server: &Server) -> String {
    let approval = requested(server, &shop(server));
    assert_eq!(decide(&workplace.link(&approval), "reject"), 303);
    approval
}

/// Ages all approvals of the store.
fn age_by_100_days(workplace: &Workplace, approvals: usize) {
    let hundred_days_ms = 100 * 24 * 60 * 60 * 1000_i64;
    let database = Connection::open(workplace.path("gate.db")).expect("it is there");
    let aged = "UPDATE approvals SET created_at = created_at - ?1, expires_at = expires_at - ?1, \
                decided_at = decided_at - ?1";
    assert_eq!(database.execute(aged, [hundred_days_ms]).expect("the schema is known"), approvals);
}

fn status_of(server: &Server, approval: &str) -> u16 {
    ask_as(&server.url, &bearer(&[]), "GET", &format!("/api/v1/approvals/{approval}"), None, None).0
}

#[test]
fn old_approvals_are_archived_and_deleted_while_the_server_runs() {
    let workplace = Workplace::new();
    let server = workplace.serve(&STORE);
    let old = [rejected(&workplace, &server), rejected(&workplace, &server)];
    // What is the latest of its target stays, however old it is.
    let shop = shop(&server);
    let used = requested(&server, &shop);
    assert_eq!(decide(&workplace.link(&used), "approve"), 303);
    assert_eq!(promote(&server, &shop, &used, "key").0, 202);
    eventually(|| (target(&server, &shop) == "healthy").then_some(()));
    let (exit, log) = server.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");
    age_by_100_days(&workplace, 3);

    let server = workplace.serve(&STORE);
    let young = rejected(&workplace, &server);
    let output = archive(&workplace, "90d", FILE);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), &*said), (Some(0), "2 approvals were archived\n"));
    let file = workplace.path(FILE);
    assert_eq!(fs::metadata(&file).expect("it was made").permissions().mode() & 0o777, 0o600);
    let lines = fs::read_to_string(&file).expect("text");
    let archived: Vec<Value> = lines.lines().map(|line| line.parse().expect("JSON")).collect();
    let mut ids: Vec<&str> = archived.iter().map(|line| line["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    let mut expected = old.each_ref().map(String::as_str);
    expected.sort_unstable();
    assert_eq!(ids, expected);
    for line in &archived {
        let events: Vec<_> =
            line["audit"].as_array().expect("events").iter().map(|event| &event["kind"]).collect();
        assert_eq!(events, ["promote.approval_requested", "promote.rejected"], "{line}");
    }
    for approval in &old {
        let link = workplace.link(approval);
        let token = link.trim().rsplit('/').next().expect("a token");
        assert!(token.len() > 40 && !lines.contains(token), "{link}");
    }
    for (approval, status) in [(&old[0], 404), (&old[1], 404), (&used, 200), (&young, 200)] {
        assert_eq!(status_of(&server, approval), status);
    }
    // Again there is nothing, and the archive stays as it is.
    assert_eq!(archive(&workplace, "90d", FILE).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&file).expect("text"), lines);
    // The next promotion of that target is served as before.
    assert_eq!(
        server.post(&format!("/api/v1/stacks/{shop}/promote"), &serde_json::json!({"to": "production"})).0,
        202
    );
}

/// An operator archives with the server's configuration, where the secret and the deploy command may not be.
#[test]
fn neither_a_secret_nor_a_deploy_command_is_needed() {
    let workplace = Workplace::new();
    workplace.serve(&STORE).stopped(Signal::TERM);
    let config = "store = \"sqlite:gate.db\"\nsecret_file = \"nowhere\"\n[deployer]\ncommand = [\"/nowhere/deploy\"]\n";
    let config = workplace.write("gate.toml", config);
    let mut command = bare(&["archive", "--older-than", "90d", "--config", &config]);
    let output = command.current_dir(workplace.path(".")).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), &*said), (Some(0), "0 approvals were archived\n"));
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let workplace = Workplace::new();
    let said = String::from_utf8(archive(&workplace, "90d", FILE).stderr).expect("text");
    assert!(said.contains("sqlite:gate.db: there is no store of a gate"), "{said}");
    assert!(!workplace.path("gate.db").exists() && !workplace.path("archive.ndjson").exists());
    let Some(cluster) = postgresql() else { return };
    for _ in 0..2 {
        let said =
            refusal(&mut workplace.gate(&["archive", "--older-than", "90d", "--store", &cluster.url()]));
        assert!(said.contains("there is no store of a gate"), "{said}");
    }
}

/// Not every system has a device that is always full.
#[test]
fn an_archive_without_room_deletes_nothing() {
    const FULL: &str = "/dev/full";
    if !fs::exists(FULL).expect("it can be looked for") {
        return;
    }
    let workplace = Workplace::new();
    let server = workplace.serve(&STORE);
    let old = [rejected(&workplace, &server), rejected(&workplace, &server)];
    age_by_100_days(&workplace, old.len());
    let output = archive(&workplace, "90d", FULL);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("nothing was deleted that is not in the archive"), "{said}");
    for approval in &old {
        assert_eq!(status_of(&server, approval), 200);
    }
    assert_eq!(archive(&workplace, "90d", FILE).status.code(), Some(0));
    let archived = fs::read_to_string(workplace.path(FILE)).expect("text");
    assert_eq!(archived.lines().count(), old.len());
}

#[test]
fn an_age_that_a_window_may_still_have_and_a_store_without_a_file_are_refused() {
    let workplace = Workplace::new();
    for (age, expected) in [("1d", "at least 2d"), ("soon", "at least 2d")] {
        let output = archive(&workplace, age, FILE);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let output = workplace.gate(&["archive", "--older-than", "90d", "--store", "memory"]).output();
    let said = String::from_utf8(output.expect("it runs").stderr).expect("text");
    assert!(said.contains("a store in memory has nothing to archive"), "{said}");
}
