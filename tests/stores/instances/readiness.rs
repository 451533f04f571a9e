//! Readiness on PostgreSQL: a database that takes no writes, lacks a table, or is an older copy is not ready.

use std::sync::Arc;

use countersign::store::{Operations, StoreError, postgres::PostgresStore};
use countersign_testkit::{Cluster, Fsync};

use super::{admin, ids, options, own_cluster};
use crate::postgres::new_schema;

const NOT_READY: Result<(), &str> = Err("not ready");

async fn is_ready(store: &PostgresStore) -> Result<(), &'static str> {
    store.is_ready().await.map_err(|error| {
        assert_eq!(error, StoreError::not_applied("any cause"));
        "not ready"
    })
}

pub(super) async fn a_database_that_is_not_what_it_was_is_not_ready(_: Arc<Cluster>) {
    // Every connection to the database is closed, and its settings are changed.
    let cluster = own_cluster(Fsync::Off).await;
    let admin_of_none = admin(&cluster.url(), "public").await;
    let of_the_schema = "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = $1";
    let mut tables = vec![None];
    while let Some(table) = tables.pop() {
        let schema = new_schema();
        let store =
            PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
        assert_eq!(is_ready(&store).await, Ok(()));
        let Some(table) = table else {
            let rows = admin_of_none.query(of_the_schema, &[&schema]).await.expect("the server answers");
            tables.extend(rows.iter().map(|row| Some(row.get::<_, String>(0))));
            assert!(tables.len() > 10, "{tables:?}");
            let read_only = "ALTER DATABASE postgres SET default_transaction_read_only = on";
            let close = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'countersign'";
            let writable = "SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL";
            let run = async |sql: &str| admin_of_none.batch_execute(sql).await.expect("the server answers");
            run(read_only).await;
            run(close).await;
            assert_eq!(is_ready(&store).await, NOT_READY, "it is read-only");
            run(writable).await;
            run(close).await;
            assert_eq!(is_ready(&store).await, Ok(()));
            run(&format!("ALTER SCHEMA {schema} RENAME TO elsewhere_{schema}")).await;
            assert_eq!(is_ready(&store).await, NOT_READY, "it is gone");
            continue;
        };
        let drop = format!("DROP TABLE {schema}.{table} CASCADE");
        admin_of_none.batch_execute(&drop).await.expect("the server answers");
        assert_eq!(is_ready(&store).await, NOT_READY, "{table} is missing");
    }
}

pub(super) async fn instances_are_ready_together_and_an_older_copy_is_noticed_by_each(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let client = admin(&cluster.url(), &schema).await;
    let start =
        async || PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let run = async |sql: &str| client.batch_execute(sql).await.expect("the server answers");
    let (first, second) = (start().await, start().await);
    assert_eq!(is_ready(&first).await, Ok(()));
    run("CREATE TABLE earlier AS SELECT * FROM readiness").await;
    for _ in 0..3 {
        assert_eq!((is_ready(&first).await, is_ready(&second).await), (Ok(()), Ok(())));
    }
    run("DELETE FROM readiness; INSERT INTO readiness SELECT * FROM earlier").await;
    let third = start().await;
    for _ in 0..9 {
        // However often an instance that knows nothing of it writes.
        assert_eq!(is_ready(&third).await, Ok(()));
        assert_eq!((is_ready(&first).await, is_ready(&second).await), (NOT_READY, NOT_READY));
    }
}
