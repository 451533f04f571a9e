//! Files: opened again, opened twice, and those that are not ours to open.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::scope,
};

use countersign::{
    protocol::{Digest, Flow, Guards, Refusal, Status, Timestamp},
    store::{
        Approvals, Committed, Leased, Leases, Operations, StoreError, Tenants,
        sql::{Cas, SchemaError},
        sqlite::{OpenError, SqliteOptions, SqliteStore},
    },
};
use countersign_models::fixtures::{CountingIds, HandClock, UseRequest, block_on};
use countersign_testkit::SqlPeek;
use rusqlite::Connection;
use uuid::Uuid;

use crate::platform::{OPENS, Platform, TEAM, open};

#[test]
fn everything_is_there_when_the_file_is_opened_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gate.db");
    let platform = Platform::at(&path, SqliteOptions::default());
    let (used, unused) = (platform.approved(), platform.approved());
    platform.promote(&Flow::atomic_commit(), &used);
    let Platform { store, clock, source, .. } = platform;
    let look = |store: &SqliteStore| {
        block_on(async {
            let id = used.approval;
            (
                (store.approval(TEAM, id).await, store.execution(TEAM, id).await, store.audit(id).await),
                (store.job(TEAM, id).await, store.family(TEAM, source.id).await),
                store.approval(TEAM, unused.approval).await,
            )
        })
    };
    let before = look(&store);
    drop(store);
    let store = open(&path, &clock, SqliteOptions::default()).expect("it is there");
    assert_eq!(look(&store), before);
    let statuses = [&used, &unused].map(|ask| {
        let record = block_on(store.any_approval(ask.approval)).expect("nothing fails");
        record.expect("it is there").approval.status
    });
    assert_eq!(statuses, [Status::Executed, Status::Approved]);
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gate.db");
    let Platform { store, clock, .. } = Platform::at(&path, SqliteOptions::default());
    drop(store);
    let raw = Connection::open(&path).expect("it is there");
    let newest = raw.query_row("SELECT max(version) FROM migrations", [], |row| row.get(0));
    let known: i64 = newest.expect("it has been migrated");
    raw.execute("INSERT INTO migrations VALUES (?1, 'tomorrow', 0)", [known + 1]).expect("nothing fails");
    drop(raw);
    let refused = open(&path, &clock, SqliteOptions::default()).err();
    let Some(OpenError::Schema(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(why, SchemaError::Newer { found: known + 1, known });
}

#[test]
fn a_file_that_the_first_schema_made_is_migrated_and_its_approval_can_be_used() {
    const FIRST: &str = include_str!("../../src/store/sqlite/migrations/0001_initial.sql");
    const ROWS: &str = "PRAGMA application_id = 0x4353474E;
        INSERT INTO migrations VALUES (1, 'initial', 0);
        INSERT INTO teams VALUES (x'0000000000000000000000000000000A', 'pro', 10);
        INSERT INTO approvals (id, team, token_hash, requested_by, kind, from_env, to_env, source, copy_vault,
            digest, services, status, created_at, expires_at, decided_at)
        VALUES (x'00000000000000000000000000000001', x'0000000000000000000000000000000A', zeroblob(32),
            'dev@example.com', 'stack', 'staging', 'production', zeroblob(16), 0,
            zeroblob(32), '[]', 'approved', 0, 100000, 1)";
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gate.db");
    let raw = Connection::open(&path).expect("a new one");
    raw.execute_batch(FIRST).and_then(|()| raw.execute_batch(ROWS)).expect("as it was");
    drop(raw);
    let clock = Arc::new(HandClock::at(OPENS));
    let platform = Platform::on(open(&path, &clock, SqliteOptions::default()).expect("it is ours"), clock);
    let ask = UseRequest::new(Uuid::from_u128(1), platform.ask());
    assert_eq!(block_on(platform.store.lease_approval(TEAM, ask.approval)), Ok(Leased::Taken { fence: 1 }));
    let guards = Guards::ALL;
    let consumed = block_on(platform.store.consume_alone(&ask, Digest([0; 32]), guards));
    assert_eq!(consumed, Ok(Committed::Applied { target: None }));
    assert_eq!(platform.status(&ask), Status::Executed);
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(HandClock::at(OPENS));
    let theirs = dir.path().join("theirs.db");
    let raw = Connection::open(&theirs).expect("a new one");
    // The names are ours, and the tables are not.
    let tables = "CREATE TABLE approvals (a); CREATE TABLE teams (id); CREATE TABLE consumptions (id);
        CREATE TABLE migrations (version INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, applied_at INTEGER NOT NULL);
        INSERT INTO migrations VALUES (1, 'initial', 0)";
    raw.execute_batch(tables).expect("nothing fails");
    drop(raw);
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "not a database, and longer than a page's header would be".repeat(10))
        .expect("written");
    let nowhere = dir.path().join("nowhere").join("gate.db");
    let before = std::fs::read(&theirs).expect("it is there");
    let why = |path| open(path, &clock, SqliteOptions::default()).err();
    assert!(matches!(why(&theirs), Some(OpenError::NotOurs)));
    assert_eq!(std::fs::read(&theirs).expect("it is there"), before);
    for (path, words) in [(&text, "not a database"), (&nowhere, "unable to open")] {
        let why = why(path).expect("an error").to_string();
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn a_strategy_that_means_nothing_here_is_refused() {
    for cas in [Cas::Serializable, Cas::AdvisoryLock] {
        let clock = Arc::new(HandClock::at(OPENS));
        let ids = Arc::new(CountingIds::default());
        let options = SqliteOptions { cas, ..SqliteOptions::default() };
        let refused = SqliteStore::open(SqliteStore::IN_MEMORY, clock, ids, options).err();
        assert!(matches!(refused, Some(OpenError::NoSuchStrategy(other)) if other == cas), "{refused:?}");
    }
}

#[test]
fn concurrent_opens_of_a_new_file_all_succeed() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().expect("a folder");
        let path = &dir.path().join("gate.db");
        scope(|threads| {
            for _ in 0..4 {
                threads.spawn(move || {
                    let clock = Arc::new(HandClock::at(OPENS));
                    let store =
                        open(path, &clock, SqliteOptions::default()).expect("one waits for the other");
                    block_on(store.is_ready()).expect("nothing fails");
                });
            }
        });
    }
}

#[test]
fn of_two_stores_on_one_file_one_consumes_an_approval() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gate.db");
    let first = Platform::at(&path, SqliteOptions::default());
    let second = open(&path, &first.clock, SqliteOptions::default()).expect("it is there");
    for _ in 0..20 {
        let ask = &first.approved();
        let digest = block_on(first.store.digest(ask)).expect("nothing fails");
        let won: usize = scope(|threads| {
            let consumers = [&first.store, &second, &first.store, &second].map(|store| {
                threads.spawn(move || {
                    let guards = Guards::ALL;
                    let end = block_on(store.consume_alone(ask, digest, guards)).expect("nothing fails");
                    usize::from(matches!(end, Committed::Applied { .. }))
                })
            });
            consumers.into_iter().map(|consumer| consumer.join().expect("no panic")).sum()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn two_stores_on_one_file_lose_nothing() {
    const ASKS: u16 = 200;
    let dir = tempfile::tempdir().expect("a folder");
    let (path, log) = (dir.path().join("gate.db"), dir.path().join("gate.db-wal"));
    let first = Platform::at(&path, SqliteOptions::default());
    let second = open(&path, &first.clock, SqliteOptions::default()).expect("it is there");
    let asks: Vec<_> = (0..ASKS).map(|_| first.approved()).collect();
    let digest = block_on(first.store.digest(&asks[0])).expect("nothing fails");
    let next = AtomicUsize::new(0);
    scope(|threads| {
        for store in [&first.store, &second, &first.store, &second] {
            let (asks, next) = (&asks, &next);
            threads.spawn(move || {
                while let Some(ask) = asks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let end = block_on(store.consume_alone(ask, digest, Guards::ALL));
                    assert_eq!(end, Ok(Committed::Applied { target: None }));
                }
            });
        }
    });
    // Simulates a loss of power now: only the files remain.
    let (cut, cut_log) = (dir.path().join("cut.db"), dir.path().join("cut.db-wal"));
    std::fs::copy(&path, cut).and_then(|_| std::fs::copy(&log, cut_log)).expect("copied");
    let raw = Connection::open(dir.path().join("cut.db")).expect("it is there");
    let damage: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it answers");
    let executed = "SELECT count(*) FROM approvals WHERE status = 'executed'";
    let executed: i64 = raw.query_one(executed, [], |row| row.get(0)).expect("it can be read");
    assert_eq!((damage.as_str(), executed), ("ok", ASKS.into()));
}

#[test]
fn expiry_is_judged_by_the_clock_of_the_store() {
    let platform = Platform::in_memory();
    let ask = platform.approved();
    let digest = block_on(platform.store.digest(&ask)).expect("nothing fails");
    platform.clock.set(Timestamp(u64::MAX));
    let guards = Guards::ALL;
    let end = block_on(platform.store.consume_alone(&ask, digest, guards)).expect("nothing fails");
    let refused = Committed::NotConsumed(Refusal::APPROVAL_EXPIRED);
    assert_eq!((end, platform.status(&ask)), (refused, Status::Approved));
}

#[cfg(unix)]
#[test]
fn a_new_file_and_its_log_are_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gate.db");
    let platform = Platform::at(&path, SqliteOptions::default());
    platform.approved();
    let mut modes = Vec::new();
    for entry in std::fs::read_dir(dir.path()).expect("it is there") {
        let entry = entry.expect("it can be read");
        let mode = entry.metadata().expect("it is there").permissions().mode() & 0o777;
        modes.push((entry.file_name(), mode));
    }
    assert!(modes.len() >= 2 && modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

/// Files of earlier versions may be open to others.
#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_becomes_its_owners_alone() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gate.db");
    let first = Platform::at(&path, SqliteOptions::default());
    let files = ["gate.db", "gate.db-wal", "gate.db-shm"].map(|name| dir.path().join(name));
    for (file, mode) in files.iter().zip([0o644, 0o666, 0o640]) {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("it is there");
    }
    assert_eq!(SqliteStore::open_to_others(&path), files);
    let second = open(&path, &first.clock, SqliteOptions::default()).expect("it is there");
    let modes = files.each_ref().map(|file| fs::metadata(file).expect("it is there").permissions().mode());
    assert_eq!(modes.map(|mode| mode & 0o777), [0o600; 3]);
    assert_eq!(SqliteStore::open_to_others(&path), Vec::<std::path::PathBuf>::new());
    block_on(second.is_ready()).expect("it is open");
    let theirs = dir.path().join("theirs.db");
    Connection::open(&theirs).and_then(|raw| raw.execute_batch("CREATE TABLE a (a)")).expect("a new one");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o644)).expect("it is there");
    assert!(open(&theirs, &first.clock, SqliteOptions::default()).is_err());
    let mode = fs::metadata(&theirs).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "another program's stays as it is");
}

/// A clock that panics on demand.
struct Breakable {
    clock: HandClock,
    panics: AtomicUsize,
}

impl countersign::store::Clock for Breakable {
    fn now(&self) -> Timestamp {
        let left = self.panics.load(Ordering::SeqCst);
        if left > 0 {
            self.panics.store(left - 1, Ordering::SeqCst);
            panic!("injected: the clock");
        }
        self.clock.now()
    }
}

#[test]
fn a_panic_in_a_thread_of_the_store_fails_one_call_and_no_later_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(Breakable { clock: HandClock::at(OPENS), panics: AtomicUsize::new(0) });
    let ids = Arc::new(CountingIds::default());
    let options = SqliteOptions { readers: 1, ..SqliteOptions::default() };
    let store = SqliteStore::open(dir.path().join("gate.db"), clock.clone(), ids, options).expect("a file");
    for _ in 0..3 {
        clock.panics.store(1, Ordering::SeqCst);
        let unknown = StoreError::unknown("any cause");
        assert_eq!(block_on(store.is_ready()), Err(unknown), "what it had begun may have happened");
        assert_eq!(block_on(store.is_ready()), Ok(()));
        clock.panics.store(1, Ordering::SeqCst);
        assert_eq!(block_on(store.stack(TEAM, "any")), Err(StoreError::not_applied("any cause")));
        assert_eq!(block_on(store.stack(TEAM, "any")), Ok(None));
    }
}
