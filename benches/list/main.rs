//! The list of a team's approvals, among a thousand and among a million: a page costs the same.
//!
//! `cargo bench --bench list`, in SQLite and, where it is installed, in PostgreSQL. Every thousandth approval is pending: the
//! list of the pending ones must not look at the others. With `--test` it is a thousand and fifty thousand, and the run fails
//! if a page of the larger one takes more than four times as long, or if that is not noticed without the list's index.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    protocol::Status,
    store::{
        Approvals, Place, Plan, Query, Team, Tenants,
        postgres::{PostgresOptions, PostgresStore},
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use countersign_models::fixtures::{CountingIds, HandClock};
use countersign_testkit::{Cluster, Failed, Fsync};
use tokio_postgres::NoTls;
use uuid::Uuid;

const TEAM: Uuid = Uuid::from_u128(0xA);
const FEW: u64 = 1_000;
/// More often than that a page of the larger list may not take as long as one of the smaller.
const MOST: f64 = 4.0;

/// A list that is asked for.
#[derive(Clone, Copy)]
struct Asked {
    name: &'static str,
    status: Option<Status>,
    /// From the middle on.
    from_the_middle: bool,
}

const ASKED: [Asked; 3] = [
    Asked { name: "first page", status: None, from_the_middle: false },
    Asked { name: "page in the middle", status: None, from_the_middle: true },
    Asked { name: "first page of the pending", status: Some(Status::Pending), from_the_middle: false },
];

#[tokio::main]
async fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let many = if is_test { 50_000 } else { 1_000_000 };
    println!("{:<12} {:<28} {:>12} {:>12} {:>8}", "", "", FEW, many, "ratio");
    let folder = tempfile::tempdir().expect("a folder");
    let [few, large] = [FEW, many].map(|approvals| folder.path().join(format!("{approvals}.db")));
    let few = in_sqlite(&few, FEW).await;
    let large_store = in_sqlite(&large, many).await;
    let ratios = compare("sqlite", &few, FEW, &large_store, many).await;
    if is_test {
        assert!(ratios.iter().all(|ratio| *ratio < MOST), "{ratios:?}");
        drop(large_store);
        let database = rusqlite::Connection::open(&large).expect("it is there");
        database.execute_batch("DROP INDEX approvals_of_status").expect("it is there");
        drop(database);
        let large_store = open_sqlite(&large);
        let ratios = compare("without index", &few, FEW, &large_store, many).await;
        assert!(ratios.iter().any(|ratio| *ratio > MOST), "a scan has to be noticed: {ratios:?}");
    }
    match Cluster::start(Fsync::Off) {
        Ok(cluster) => {
            let few = in_postgres(&cluster, "few", FEW).await;
            let large = in_postgres(&cluster, "many", many).await;
            let ratios = compare("postgresql", &few, FEW, &large, many).await;
            assert!(!is_test || ratios.iter().all(|ratio| *ratio < MOST), "{ratios:?}");
        }
        Err(Failed::NotInstalled(missing)) => println!("not in PostgreSQL: {missing}"),
        Err(failed) => panic!("{failed}"),
    }
}

/// How many times as long each list takes in the larger store.
async fn compare(
    name: &str,
    few: &impl Approvals,
    approvals_of_few: u64,
    many: &impl Approvals,
    approvals_of_many: u64,
) -> Vec<f64> {
    let mut ratios = Vec::new();
    for asked in ASKED {
        let (one, other) =
            (median(few, asked, approvals_of_few).await, median(many, asked, approvals_of_many).await);
        let ratio = other.as_secs_f64() / one.as_secs_f64();
        println!("{name:<12} {:<28} {one:>12.1?} {other:>12.1?} {ratio:>8.2}", asked.name);
        ratios.push(ratio);
    }
    ratios
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
async fn median(store: &impl Approvals, asked: Asked, approvals: u64) -> Duration {
    const RUNS: usize = 101;
    let middle = Place { created_at: countersign::protocol::Timestamp(approvals / 2), id: Uuid::max() };
    let after = asked.from_the_middle.then_some(middle);
    let query = Query { team: Some(TEAM), status: asked.status, limit: None, after };
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let page = store.list_approvals(&query).await.expect("it answers");
        took.push(begun.elapsed());
        assert!(!page.items.is_empty() && page.items.iter().all(|item| item.approval.team == TEAM));
    }
    took.sort_unstable();
    took[RUNS / 2]
}

async fn in_sqlite(path: &std::path::Path, approvals: u64) -> SqliteStore {
    let store = open_sqlite(path);
    store.put_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 1 }).await.expect("it answers");
    drop(store);
    let database = rusqlite::Connection::open(path).expect("it is there");
    // A value of 16 bytes that starts with the number, and the hash of a token that ends with it.
    const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
        INSERT INTO approvals (id, team, token_hash, requested_by, kind, from_env, to_env, source, copy_vault, digest, \
        services, status, created_at, expires_at, decided_at) \
        SELECT CAST(printf('%016d', i) AS BLOB), ?2, CAST(printf('%032d', i) AS BLOB), 'dev@example.com', 'stack', \
        'staging', 'production', ?2, 0, zeroblob(32), '[]', iif(i % 1000 = 0, 'pending', 'rejected'), i, i + 86400000, \
        iif(i % 1000 = 0, NULL, i) FROM n";
    database
        .execute(FILL, (i64::try_from(approvals).expect("it fits"), TEAM.as_bytes().as_slice()))
        .expect("the schema is known");
    database.execute_batch("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)").expect("it answers");
    open_sqlite(path)
}

fn open_sqlite(path: &std::path::Path) -> SqliteStore {
    let clock = Arc::new(HandClock::at(countersign::protocol::Timestamp(0)));
    let ids = Arc::new(CountingIds::default());
    SqliteStore::open(path, clock, ids, SqliteOptions::default()).expect("it can be opened")
}

async fn in_postgres(cluster: &Cluster, schema: &str, approvals: u64) -> PostgresStore {
    let options = PostgresOptions {
        schema: Some(schema.to_owned()),
        refuse_volatile: false,
        ..PostgresOptions::default()
    };
    let (client, connection) = tokio_postgres::connect(&cluster.url(), NoTls).await.expect("it answers");
    tokio::spawn(connection);
    client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await.expect("it answers");
    let store = PostgresStore::connect(&cluster.url(), Arc::new(CountingIds::default()), &options).await;
    let store = store.expect("it can be opened");
    store.put_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 1 }).await.expect("it answers");
    let fill = format!(
        "INSERT INTO {schema}.approvals (id, team, token_hash, requested_by, kind, from_env, to_env, source, copy_vault, \
         digest, services, status, created_at, expires_at, decided_at) \
         SELECT lpad(to_hex(i), 32, '0')::uuid, '{TEAM}', decode(lpad(to_hex(i), 64, '0'), 'hex'), 'dev@example.com', \
         'stack', 'staging', 'production', '{TEAM}', false, decode(repeat('00', 32), 'hex'), '[]', \
         CASE WHEN i % 1000 = 0 THEN 'pending' ELSE 'rejected' END, i, i + 86400000, \
         CASE WHEN i % 1000 = 0 THEN NULL ELSE i END FROM generate_series(1, {approvals}) AS i"
    );
    client.batch_execute(&fill).await.expect("the schema is known");
    client.batch_execute(&format!("ANALYZE {schema}.approvals")).await.expect("it answers");
    store
}
