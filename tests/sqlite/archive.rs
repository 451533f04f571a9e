//! The archive: what is old and over is read whole and deleted, and nothing else is.

use std::collections::BTreeSet;

use countersign::{
    protocol::{Flow, Timestamp},
    store::{
        Approvals, Decision, DeployLog, Operations, Outbox, StackStatus, Verdict, sqlite::SqliteOptions,
    },
};
use countersign_models::fixtures::{UseRequest, block_on, token_of};
use rusqlite::Connection;
use serde_json::Value;
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn on_day(platform: &Platform, day: u64) {
    platform.clock.set(Timestamp(OPENS.0 + day * DAY_MS));
}

fn archivable(platform: &Platform) -> Vec<(Uuid, Value)> {
    let read = block_on(platform.store.archivable(90 * DAY_MS, 100)).expect("nothing fails");
    read.iter().map(|archived| (archived.id, archived.line().parse().expect("JSON"))).collect()
}

fn ids(platform: &Platform) -> Vec<Uuid> {
    archivable(platform).into_iter().map(|(id, _)| id).collect()
}

fn use_up(platform: &Platform) -> UseRequest {
    let ask = platform.approved();
    platform.promote(&Flow::atomic_commit(), &ask);
    ask
}

fn deploy(platform: &Platform) -> u64 {
    let lease = block_on(platform.store.lease_job(1_000)).expect("nothing fails").expect("a job");
    let log =
        DeployLog { approval: lease.approval, ended_at: OPENS, exit_code: Some(0), output: "done".into() };
    block_on(platform.store.log_deploy(log)).expect("nothing fails");
    assert_eq!(block_on(platform.store.finish_job(&lease, StackStatus::Healthy)), Ok(true));
    lease.fence
}

#[test]
fn what_is_old_and_over_is_archived_whole_and_what_is_needed_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gate.db");
    let platform = Platform::at(&path, SqliteOptions::default());
    let first = use_up(&platform);
    assert_eq!(deploy(&platform), 1);
    on_day(&platform, 1);
    let latest = use_up(&platform);
    assert_eq!(deploy(&platform), 2);
    let rejected = platform.requested(&platform.ask()).expect("nothing fails").approval.id;
    let decision = Decision::Operator { token: &token_of(rejected), verdict: Verdict::Reject };
    block_on(platform.store.decide(decision)).expect("nothing fails").expect("it is pending");
    on_day(&platform, 2);
    let waiting = platform.requested(&platform.ask()).expect("nothing fails").approval.id;

    on_day(&platform, 90);
    assert!(ids(&platform).is_empty(), "none is older than 90 days");
    on_day(&platform, 91);
    assert_eq!(ids(&platform), [first.approval], "the later ones are a day younger");
    on_day(&platform, 95);
    let undeployed = use_up(&platform);
    on_day(&platform, 200);
    let old = archivable(&platform);
    let expected = [first.approval, rejected, waiting];
    assert_eq!(old.len(), expected.len(), "fences go on from the latest that was deployed: {old:?}");
    for id in expected {
        assert!(old.iter().any(|(archived, _)| *archived == id), "{id}");
    }
    assert!(old.iter().all(|(id, _)| *id != undeployed.approval), "its deploy is owed");

    let (_, line) = old.iter().find(|(id, _)| *id == first.approval).expect("it is there");
    let raw = Connection::open(&path).expect("it is there");
    let columns = |table: &str| -> BTreeSet<String> {
        let mut names = raw.prepare("SELECT name FROM pragma_table_info(?1)").expect("it can be read");
        names
            .query_map([table], |row| row.get(0))
            .expect("it can be read")
            .map(|name| name.expect("text"))
            .collect()
    };
    let keys =
        |row: &Value| -> BTreeSet<String> { row.as_object().expect("an object").keys().cloned().collect() };
    let mut whole = columns("approvals");
    whole.remove("token_hash");
    // Every table whose rows belong to an approval: without one of them it could not be deleted, or would leave rows behind.
    let children = "SELECT DISTINCT m.name FROM sqlite_schema AS m JOIN pragma_foreign_key_list(m.name) AS f \
                    ON f.\"table\" = 'approvals'";
    let mut children = raw.prepare(children).expect("it can be read");
    for child in children.query_map([], |row| row.get::<_, String>(0)).expect("it can be read") {
        let child = child.expect("text");
        for row in line[&child].as_array().unwrap_or_else(|| panic!("{child} is not in the archive")) {
            assert_eq!(keys(row), columns(&child), "{child}");
        }
        whole.insert(child);
    }
    assert_eq!(keys(line), whole);
    assert_eq!(line["status"], "executed");
    assert_eq!(line["id"], first.approval.to_string());
    let kinds: Vec<_> =
        line["audit"].as_array().expect("a list").iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["promote.approval_requested", "promote.approved", "promote.executed"]);
    assert_eq!(line["deploy_logs"][0]["output"], "done");

    for archived in block_on(platform.store.archivable(90 * DAY_MS, 100)).expect("nothing fails") {
        for _ in 0..2 {
            // After a crash in between it is deleted again.
            assert_eq!(block_on(platform.store.delete_archived(&archived)), Ok(true));
        }
        assert_eq!(block_on(platform.store.approval(TEAM, archived.id)), Ok(None));
        assert_eq!(block_on(platform.store.audit(archived.id)), Ok(vec![]));
    }
    assert!(ids(&platform).is_empty());
    assert_eq!(deploy(&platform), 3, "fences go on where they were");
    assert_eq!(ids(&platform), [latest.approval]);
    let damage: i64 = raw
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
        .expect("it can be read");
    assert_eq!(damage, 0);
}

#[test]
fn the_latest_of_a_target_stays_however_old_it_is() {
    let platform = Platform::in_memory();
    use_up(&platform);
    assert_eq!(deploy(&platform), 1);
    on_day(&platform, 1_000);
    assert!(ids(&platform).is_empty());
    use_up(&platform);
    assert_eq!(deploy(&platform), 2);
    assert_eq!(ids(&platform).len(), 1);
}

#[test]
fn what_is_written_after_it_was_read_is_not_lost() {
    let platform = Platform::in_memory();
    platform.requested(&platform.ask()).expect("nothing fails");
    on_day(&platform, 100);
    let read = block_on(platform.store.archivable(90 * DAY_MS, 100)).expect("nothing fails");
    let approval = read[0].id;
    let log = DeployLog { approval, ended_at: OPENS, exit_code: None, output: "late".into() };
    block_on(platform.store.log_deploy(log)).expect("nothing fails");
    assert_eq!(block_on(platform.store.delete_archived(&read[0])), Ok(false));
    let again = block_on(platform.store.archivable(90 * DAY_MS, 100)).expect("nothing fails");
    assert!(again[0].line().contains("late"), "{}", again[0].line());
    assert_eq!(block_on(platform.store.delete_archived(&again[0])), Ok(true));
}
