//! A process that is killed: what it has acknowledged is there, and everything else happened as a whole or not at all.

use std::{
    collections::BTreeSet,
    env,
    fs::{copy, read, write},
    io::{BufRead, BufReader, Write, stdout},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread::scope,
};

use countersign::{
    protocol::{Flow, Outcome, Status},
    store::{Approvals, AuditKind, Operations, sqlite::SqliteOptions},
};
use countersign_models::{
    fixtures::{HandClock, block_on},
    outages::Outages,
};
use countersign_testkit::SqlPeek;
use rusqlite::Connection;
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM, open};

/// The file of the process that is to be killed.
const FILE: &str = "COUNTERSIGN_TEST_FILE";

/// Executes one approval after another, and reports each acknowledged one, until the process is killed.
fn execute_until_killed(path: &Path) {
    let clock = Arc::new(HandClock::at(OPENS));
    let store = open(path, &clock, SqliteOptions::default()).expect("it can be opened");
    // The threads promote to one target: their approvals are not bound to its version.
    let platform = &Platform::on(store.with_checks(Arc::new(Outages::default())), clock);
    let flow = &Flow::atomic_commit();
    scope(|threads| {
        for thread in 0..4 {
            threads.spawn(move || {
                loop {
                    // A request like another thread's would be given that one's approval.
                    let mut ask = platform.ask();
                    ask.payload.name = Some(format!("shop-{thread}"));
                    let ask = platform.approve(ask);
                    let end = platform.promote(flow, &ask).end;
                    assert!(matches!(end, Outcome::Succeeded { .. }), "{end:?}");
                    let mut out = stdout().lock();
                    writeln!(out, "\nexecuted {}", ask.approval).expect("the test reads");
                    out.flush().expect("the test reads");
                }
            });
        }
    });
}

/// The approvals that a process reported as executed before it was killed, after `after` of them.
fn acknowledged(path: &Path, after: usize) -> BTreeSet<Uuid> {
    let mut child = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "crash::a_killed_process_loses_nothing_that_it_has_acknowledged", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut told = BTreeSet::new();
    let note = |told: &mut BTreeSet<Uuid>, line: String| {
        let id = line.strip_prefix("executed ").and_then(|id| Uuid::try_parse(id).ok());
        told.extend(id);
    };
    while told.len() < after {
        note(&mut told, lines.next().expect("it goes on until it is killed").expect("text"));
    }
    child.kill().expect("it runs");
    child.wait().expect("it is over");
    for line in lines.map_while(Result::ok) {
        note(&mut told, line);
    }
    told
}

/// All approvals that the file says are executed. For each, and for no other, there is everything that goes with it.
fn executed(path: &Path) -> BTreeSet<Uuid> {
    let clock = Arc::new(HandClock::at(OPENS));
    let store = open(path, &clock, SqliteOptions::default()).expect("it is there");
    let raw = Connection::open(path).expect("it is there");
    let damage: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it answers");
    assert_eq!(damage, "ok");
    let mut ids = raw.prepare("SELECT id FROM approvals").expect("the table is there");
    let ids = ids.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("it can be read");
    let ids: Vec<Uuid> = ids.map(|id| Uuid::from_slice(&id.expect("an id")).expect("an id")).collect();
    let mut executed = BTreeSet::new();
    for id in ids {
        block_on(async {
            let record = store.approval(TEAM, id).await.expect("nothing fails").expect("it is there");
            let is_executed = record.approval.status == Status::Executed;
            let execution = store.execution(TEAM, id).await.expect("nothing fails");
            let job = store.job(TEAM, id).await.expect("nothing fails");
            let events = store.audit(id).await.expect("nothing fails");
            let events = events.iter().filter(|event| event.kind == AuditKind::Executed).count();
            assert_eq!(
                (execution.is_some(), job.is_some(), events == 1),
                (is_executed, is_executed, is_executed)
            );
            assert!(events < 2);
            if let Some(execution) = execution {
                let target = execution.target.expect("it wrote one").id;
                let stacks = store.stacks(TEAM).await.expect("nothing fails");
                assert!(stacks.iter().any(|stack| stack.id == target));
                executed.insert(id);
            }
        });
    }
    executed
}

#[test]
fn a_killed_process_loses_nothing_that_it_has_acknowledged() {
    if let Some(path) = env::var_os(FILE) {
        return execute_until_killed(Path::new(&path));
    }
    for after in [1, 2, 5, 9, 14, 20] {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("gate.db");
        let told = acknowledged(&path, after);
        let found = executed(&path);
        assert!(told.is_subset(&found), "{told:?} were acknowledged, {found:?} are there");
    }
}

#[test]
fn a_log_that_is_cut_anywhere_has_whole_commits_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gate.db");
    let told = acknowledged(&path, 12);
    let log = read(dir.path().join("gate.db-wal")).expect("nobody has emptied it");
    let mut counts = BTreeSet::new();
    for part in 1..=40 {
        let (cut, cut_log) = (dir.path().join("cut.db"), dir.path().join("cut.db-wal"));
        copy(&path, &cut).expect("copied");
        // A power loss after this part of the log had reached the disk.
        write(&cut_log, log.get(..log.len() * part / 40).unwrap_or_default()).expect("written");
        let has_schema = Connection::open(&cut)
            .and_then(|raw| raw.table_exists(None, "approvals"))
            .expect("what is left can be read");
        if has_schema {
            counts.insert(executed(&cut).len());
        }
        for name in ["cut.db", "cut.db-wal", "cut.db-shm"] {
            // The last to close it may have taken them away.
            drop(std::fs::remove_file(dir.path().join(name)));
        }
    }
    assert!(counts.len() > 2, "some of it is lost with the rest of the log: {counts:?}");
    assert!(counts.last().is_some_and(|most| *most >= told.len()), "with all of it nothing is");
}
