//! The benefit of group commit: consumes by the store in SQLite compared with clients that commit alone, in one run.
//!
//! `cargo bench --bench group_commit`. All execute the store's own statement, with `synchronous=FULL`: the store, and
//! threads with a connection each, whose commits are one by one, in a write-ahead log like the store's or in SQLite's
//! default journal. Every approval is consumed by exactly one client, which is asserted.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::scope,
    time::{Duration, Instant},
};

use countersign::{
    platform::{Binding, Environment, Kind},
    protocol::{Digest, Guards},
    store::{
        Approvals, Committed, Decision, EnvVars, NewStack, Payload, Plan, PromotionRequest, Team, Tenants,
        Verdict,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use countersign_models::fixtures::{CountingIds, HandClock, UseRequest, block_on, token_of};
use countersign_testkit::SqlPeek;
use rusqlite::{Connection, TransactionBehavior, functions::FunctionFlags, params};
use uuid::Uuid;

const TEAM: Uuid = Uuid::from_u128(0xA);

/// SQLite's journal of a transaction.
struct Journal {
    name: &'static str,
    mode: &'static str,
}

const JOURNALS: [Journal; 2] = [
    Journal { name: "each commits alone, in a log as the store", mode: "WAL" },
    Journal { name: "each commits alone, with the default journal", mode: "DELETE" },
];

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (alone, together) = if is_test { (16, 64) } else { (2_000, 12_000) };
    println!(
        "{:<46} {:>8} {:>12} {:>10} {:>10} {:>10}",
        "", "clients", "consumes/s", "commits", "log", "rollback"
    );
    // The store's baseline: as many clients as in the goal.
    let mut eight = [0.0; 2];
    for clients in [1, 8, 32] {
        for (journal, eight) in JOURNALS.into_iter().zip(&mut eight) {
            let rate = rate_alone(clients, alone, journal.mode);
            if clients == 8 {
                *eight = rate;
            }
            println!("{:<46} {clients:>8} {rate:>12.0} {alone:>10}", journal.name);
        }
    }
    for clients in [1, 8, 32, 128] {
        let (rate, commits) = rate_of_store(clients, together);
        let [log, rollback] = eight.map(|theirs| rate / theirs);
        println!(
            "{:<46} {clients:>8} {rate:>12.0} {commits:>10} {log:>9.1}x {rollback:>9.1}x",
            "one writer, group commit"
        );
    }
    println!("ratios: to eight clients who each commit alone, in a log, and with SQLite's default journal");
}

/// Consumes a second when each client has a connection of its own and every consume is a transaction of its own.
fn rate_alone(clients: usize, approvals: usize, journal: &str) -> f64 {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = dir.path().join("gate.db");
    let (store, ask, digest, ids) = platform(&path, approvals);
    let statement = store.consume().statement("consume").expect("the strategy has it");
    let mut first = ask;
    first.approval = ids[0];
    let applied = block_on(store.consume_alone(&first, digest, Guards::ALL));
    assert!(matches!(applied, Ok(Committed::Applied { .. })));
    drop(store);
    // A property of the file; it can be changed while the file has no other connection.
    connect(&path).pragma_update(None, "journal_mode", journal).expect("nothing fails");
    // The size of the store's own.
    let document: String = connect(&path)
        .query_row("SELECT execution FROM approvals WHERE execution IS NOT NULL", [], |row| row.get(0))
        .expect("one is executed");
    let (next, won) = (AtomicUsize::new(1), AtomicUsize::new(1));
    let took = timed(|| {
        scope(|threads| {
            for _ in 0..clients {
                threads.spawn(|| {
                    let mut connection = connect(&path);
                    while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
                        let transaction = begun.expect("the others finish");
                        let mut update = transaction.prepare_cached(statement).expect("it is SQL");
                        let parameters = params![
                            "executed",
                            document,
                            id.as_bytes(),
                            "approved",
                            false,
                            false,
                            digest.0,
                            false,
                            0,
                            true
                        ];
                        let changed =
                            update.query_map(parameters, |_| Ok(())).expect("nothing fails").count();
                        drop(update);
                        transaction.commit().expect("nothing fails");
                        won.fetch_add(changed, Ordering::Relaxed);
                    }
                });
            }
        });
    });
    assert_eq!(won.into_inner(), approvals);
    approvals as f64 / took.as_secs_f64()
}

/// Consumes a second by the store, and how many commits they were.
fn rate_of_store(clients: usize, approvals: usize) -> (f64, u64) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (store, ask, digest, ids) = platform(&dir.path().join("gate.db"), approvals);
    let (next, won) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let before = store.engine().commits();
    let took = timed(|| {
        scope(|threads| {
            for _ in 0..clients {
                let mut ask = ask.clone();
                let (store, next, won, ids) = (&store, &next, &won, &ids);
                threads.spawn(move || {
                    while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                        ask.approval = *id;
                        let end = block_on(store.consume_alone(&ask, digest, Guards::ALL));
                        let applied = matches!(end.expect("nothing fails"), Committed::Applied { .. });
                        won.fetch_add(applied.into(), Ordering::Relaxed);
                    }
                });
            }
        });
    });
    assert_eq!(won.into_inner(), approvals);
    (approvals as f64 / took.as_secs_f64(), store.engine().commits() - before)
}

/// A store with this many approved approvals, and a request for each of them.
fn platform(path: &Path, approvals: usize) -> (SqliteStore, UseRequest, Digest, Vec<Uuid>) {
    let clock = Arc::new(HandClock::at(countersign::protocol::Timestamp(1_000)));
    let ids = Arc::new(CountingIds::default());
    let store = SqliteStore::open(path, clock, ids, SqliteOptions::default()).expect("a new file");
    let environment = |name| Environment::parse(name).expect("a legal name");
    let (ask, digest) = block_on(async {
        store.put_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 10 }).await.expect("nothing fails");
        let (name, env) = ("shop".to_owned(), environment("staging"));
        let stack = NewStack { name, env, parent: None, services: Vec::new(), env_vars: EnvVars::new() };
        let stack = store.create_stack(TEAM, stack).await.expect("nothing fails").expect("there is room");
        let (from, to) = (stack.env, environment("production"));
        let ask = PromotionRequest {
            team: TEAM,
            binding: Binding { kind: Kind::Stack, from, to },
            requested_by: "dev@example.com".into(),
            payload: Payload { source: stack.id, name: None, copy_vault: false },
            key: None,
        };
        let record = store.request_approval(&ask).await.expect("nothing fails").record;
        let token = token_of(record.approval.id);
        let decision = Decision::Operator { token: &token, verdict: Verdict::Approve };
        store.decide(decision).await.expect("nothing fails").expect("it is pending");
        (UseRequest::new(record.approval.id, ask), record.approval.digest)
    });
    // More copies, written concurrently.
    let raw = connect(path);
    raw.execute(
        "WITH RECURSIVE n (n) AS (VALUES (2) UNION ALL SELECT n + 1 FROM n WHERE n < ?1) \
         INSERT INTO approvals (id, team, token_hash, requested_by, kind, from_env, to_env, source, copy_vault, \
         digest, services, status, created_at, expires_at, decided_at) \
         SELECT randomblob(16), team, randomblob(32), requested_by, kind, from_env, to_env, source, copy_vault, \
         digest, services, status, created_at, expires_at, decided_at FROM n, approvals",
        [i64::try_from(approvals).expect("a small number")],
    )
    .expect("nothing fails");
    let mut ids = raw.prepare("SELECT id FROM approvals ORDER BY id").expect("it is SQL");
    let ids = ids.query_map([], |row| row.get::<_, [u8; 16]>(0)).expect("nothing fails");
    let ids: Vec<Uuid> = ids.map(|id| Uuid::from_bytes(id.expect("an id"))).collect();
    assert_eq!(ids.len(), approvals);
    (store, ask, digest, ids)
}

/// Settings of the store's own connections.
fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("it is there");
    connection.busy_timeout(Duration::from_secs(60)).expect("nothing fails");
    connection.pragma_update(None, "synchronous", "FULL").expect("nothing fails");
    connection.pragma_update(None, "foreign_keys", true).expect("nothing fails");
    connection
        .create_scalar_function("countersign_now", 0, FunctionFlags::SQLITE_UTF8, |_| Ok(1_000_i64))
        .expect("nothing fails");
    connection
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}
