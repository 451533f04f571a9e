//! The start of an instance: tables, migrations, and their schema.

use std::sync::Arc;

use countersign::{
    platform::{Binding, Kind},
    protocol::{Digest, Guards},
    store::{
        Committed, Leased, Leases, Operations, Payload, PromotionRequest,
        postgres::{OpenError, PostgresStore},
        sql::SchemaError,
    },
};
use countersign_contract::world::{TEAM, environment};
use countersign_models::fixtures::UseRequest;
use countersign_testkit::{Cluster, SqlPeek};
use tokio::sync::Barrier;
use uuid::Uuid;

use super::{admin, approved, ids, options, promote};
use crate::postgres::new_schema;

pub(super) async fn instances_that_start_concurrently_create_the_tables_once(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let start = Arc::new(Barrier::new(8));
    let starting: Vec<_> = (0..8)
        .map(|_| {
            let (start, url, options) = (Arc::clone(&start), cluster.url(), options(&schema));
            tokio::spawn(async move {
                start.wait().await;
                let store = PostgresStore::connect(&url, ids(), &options).await.expect("it starts");
                store.is_ready().await.expect("it is ready");
            })
        })
        .collect();
    for started in starting {
        started.await.expect("no task panics");
    }
    let newest = newest_version(&cluster, &schema).await;
    let row = admin(&cluster.url(), &schema).await.query_one("SELECT count(*) FROM migrations", &[]).await;
    assert_eq!(row.expect("the server answers").get::<_, i64>(0), newest);
}

pub(super) async fn tables_of_the_first_schema_are_migrated_and_their_approval_can_be_used(
    cluster: Arc<Cluster>,
) {
    const FIRST: &str = include_str!("../../../src/store/postgres/migrations/0001_initial.sql");
    const ROWS: &str = "INSERT INTO migrations VALUES (1, 'initial', 0);
        INSERT INTO teams VALUES ('00000000-0000-0000-0000-00000000000A', 'pro', 10);
        INSERT INTO approvals (id, team, token_hash, requested_by, kind, from_env, to_env, source, copy_vault,
            digest, services, status, created_at, expires_at, decided_at)
        VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-00000000000A',
            decode(repeat('00', 32), 'hex'), 'dev@example.com', 'stack', 'staging', 'production',
            '00000000-0000-0000-0000-000000000000', FALSE, decode(repeat('00', 32), 'hex'), '[]', 'approved', 0,
            9000000000000, 1)";
    let schema = new_schema();
    let client = admin(&cluster.url(), &schema).await;
    let made = client.batch_execute(&format!("CREATE SCHEMA {schema}; {FIRST} {ROWS}")).await;
    made.expect("the server answers");
    let store = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let binding = Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
    let ask = PromotionRequest {
        team: TEAM,
        binding,
        requested_by: "dev@example.com".into(),
        payload: Payload { source: Uuid::nil(), name: None, copy_vault: false },
        key: None,
    };
    let ask = UseRequest::new(Uuid::from_u128(1), ask);
    assert_eq!(store.lease_approval(ask.team, ask.approval).await, Ok(Leased::Taken { fence: 1 }));
    let consumed = store.consume_alone(&ask, Digest([0; 32]), Guards::ALL).await;
    assert_eq!(consumed, Ok(Committed::Applied { target: None }));
}

pub(super) async fn a_newer_schema_is_refused(cluster: Arc<Cluster>) {
    let schema = new_schema();
    PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let newest = newest_version(&cluster, &schema).await;
    let found = newest + 2;
    let newer =
        format!("INSERT INTO migrations VALUES ({}, 'later', 0), ({found}, 'much later', 0)", newest + 1);
    admin(&cluster.url(), &schema).await.batch_execute(&newer).await.expect("the server answers");
    let refused = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.err();
    let error = refused.expect("it is newer");
    let refused = matches!(error, OpenError::Schema(SchemaError::Newer { found: it, .. }) if it == found);
    assert!(refused, "{error}");
    assert!(error.to_string().contains(&format!("schema version {found}")), "{error}");
}

/// The version of the last migration, which is not the first one.
async fn newest_version(cluster: &Cluster, schema: &str) -> i64 {
    let row = admin(&cluster.url(), schema).await.query_one("SELECT max(version) FROM migrations", &[]).await;
    let newest = row.expect("the server answers").get(0);
    assert!(newest > 1, "{newest}");
    newest
}

pub(super) async fn a_foreign_gap_in_the_migrations_is_refused(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let client = admin(&cluster.url(), &schema).await;
    let foreign = format!("CREATE SCHEMA {schema}; CREATE TABLE migrations (id TEXT)");
    client.batch_execute(&foreign).await.expect("the server answers");
    let refused = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.err();
    assert!(matches!(refused, Some(OpenError::Server(_))), "{refused:?}");
}

pub(super) async fn a_name_of_a_schema_is_taken_as_it_is(cluster: Arc<Cluster>) {
    let schema = format!("{} \"of\" ours; --", new_schema());
    let store = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    assert!(promote(&store, &approved(&store).await).await);
    let client = admin(&cluster.url(), "public").await;
    let found = client.query_one("SELECT count(*) FROM pg_namespace WHERE nspname = $1", &[&schema]).await;
    assert_eq!(found.expect("the server answers").get::<_, i64>(0), 1);
}
