//! `archive` next to a server that runs: old approvals are lines of JSON, and gone; the others are served on.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    process::{Command, Output},
    thread,
    time::Duration,
};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    disk::watched,
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

/// Makes copies of the only approval, so that there are 2 to the power of this.
fn multiply(workplace: &Workplace, power: usize) {
    const DOUBLE: &str = "CREATE TEMP TABLE more AS SELECT * FROM approvals;
        UPDATE more SET id = randomblob(16), token_hash = randomblob(32), request_key = NULL;
        INSERT INTO approvals SELECT * FROM more;
        DROP TABLE more";
    let database = Connection::open(workplace.path("gate.db")).expect("it is there");
    (0..power).for_each(|_| database.execute_batch(DOUBLE).expect("the schema is known"));
}

/// Ids of the approvals in the store.
fn stored(workplace: &Workplace) -> BTreeSet<String> {
    let database = Connection::open(workplace.path("gate.db")).expect("it is there");
    let mut ids = database.prepare("SELECT lower(hex(id)) FROM approvals").expect("the schema is known");
    let ids = ids.query_map([], |row| row.get(0)).expect("it can be read");
    ids.map(|id| id.expect("text")).collect()
}

/// Ids of the approvals in an archive, and the number of lines that are cut off.
fn archived(workplace: &Workplace) -> (BTreeSet<String>, usize) {
    let (mut ids, mut cut) = (BTreeSet::new(), 0);
    for line in fs::read_to_string(workplace.path(FILE)).expect("text").lines() {
        match line.parse::<Value>() {
            Ok(line) => drop(ids.insert(line["id"].as_str().expect("an id").replace('-', ""))),
            Err(_) => cut += 1,
        }
    }
    (ids, cut)
}

#[test]
fn an_archive_that_is_killed_has_all_that_was_deleted_and_is_continued() {
    let workplace = Workplace::new();
    let server = workplace.serve(&STORE);
    rejected(&workplace, &server);
    server.stopped(Signal::TERM);
    multiply(&workplace, 7);
    age_by_100_days(&workplace, 128);
    let all = stored(&workplace);
    let args = [&["archive", "--older-than", "90d", "--output", FILE], &STORE[..]].concat();
    let mut command = watched(&workplace, workplace.gate(&args));
    // Of the second batch, which is written by then.
    command.env("DISK_OF", format!("/{FILE}")).env("DISK_KILL_AT", "2");
    assert_eq!(command.output().expect("it runs").status.signal(), Some(Signal::KILL.as_raw()));
    // As after a loss of power: of what was not synced there is a part of a line.
    let lines = fs::read(workplace.path(FILE)).expect("it was made");
    let synced: usize = lines.split_inclusive(|byte| *byte == b'\n').take(64).map(<[u8]>::len).sum();
    fs::write(workplace.path(FILE), &lines[..synced + 100]).expect("it is the test's");
    let ((written, cut), left) = (archived(&workplace), stored(&workplace));
    assert_eq!((cut, left.len()), (1, 64), "the first batch was deleted");
    assert!(all.difference(&left).all(|id| written.contains(id)), "what was deleted is in the archive");
    // The next line does not continue the one that was cut off.
    assert_eq!(archive(&workplace, "90d", FILE).status.code(), Some(0));
    assert_eq!((archived(&workplace), stored(&workplace).len()), ((all, 1), 0));
}

#[test]
fn nothing_is_deleted_before_it_is_on_the_disk() {
    let workplace = Workplace::new();
    let server = workplace.serve(&STORE);
    let old = rejected(&workplace, &server);
    age_by_100_days(&workplace, 1);
    fs::create_dir(workplace.path("archives")).expect("a folder");
    workplace.write("fail", "");
    let args = [&["archive", "--older-than", "90d"], &STORE[..]].concat();
    let to_file = [&args[..], &["--output", "archives/a.ndjson"]].concat();
    // The lines, the entry of the new file in its folder, and the lines again, by the shell's redirection.
    for (args, redirected, fails) in
        [(&to_file, None, "a.ndjson"), (&to_file, None, "archives"), (&args, Some("b.ndjson"), "b.ndjson")]
    {
        let mut command = watched(&workplace, workplace.gate(args));
        command.env("DISK_OF", format!("/{fails}"));
        if let Some(file) = redirected {
            command.stdout(fs::File::create(workplace.path(file)).expect("a file"));
        }
        let output = command.output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{fails}: {said}");
        assert!(said.contains("the archive cannot be written"), "{fails}: {said}");
        assert_eq!(status_of(&server, &old), 200, "{fails}");
    }
    fs::remove_file(workplace.path("fail")).expect("it is there");
    let output = workplace.gate(&args).output().expect("it runs");
    assert_eq!(String::from_utf8(output.stdout).expect("text").lines().count(), 1, "into a pipe");
    assert_eq!(status_of(&server, &old), 404);
}

/// Without a reader the lines would be lost, and their approvals deleted.
#[test]
fn an_archive_into_a_fifo_waits_for_its_reader() {
    let workplace = Workplace::new();
    let server = workplace.serve(&STORE);
    let old = rejected(&workplace, &server);
    age_by_100_days(&workplace, 1);
    let fifo = workplace.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let args = [&["archive", "--older-than", "90d", "--output", "fifo"], &STORE[..]].concat();
    let mut archiving = workplace.gate(&args).spawn().expect("it runs");
    // It waits for ever. An archive that does not has ended by then; on a slow machine it may go unnoticed.
    for _ in 0..50 {
        assert_eq!(archiving.try_wait().expect("it runs"), None, "it ends without a reader");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(status_of(&server, &old), 200);
    let lines = fs::read_to_string(fifo).expect("text");
    assert_eq!(archiving.wait().expect("it ends").code(), Some(0));
    assert_eq!((lines.lines().count(), status_of(&server, &old)), (1, 404), "{lines}");
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
