//! Several instances that use one approval, with every strategy, and the clock that they are judged by.

use std::sync::Arc;

use countersign::{
    protocol::{Guards, Status},
    store::{
        Approvals, Committed,
        postgres::{OpenError, PostgresOptions, PostgresStore},
        sql::Cas,
    },
};
use countersign_contract::world::TEAM;
use countersign_testkit::{Cluster, Fsync, SqlPeek};
use tokio::sync::Barrier;
use tokio_postgres::Client;

use super::{admin, approved, ids, options, own_cluster, promote};
use crate::postgres::new_schema;

pub(super) async fn consumers_at_three_instances_share_one_execution(cluster: Arc<Cluster>) {
    for cas in Cas::ALL {
        let schema = new_schema();
        let options = PostgresOptions { cas, ..options(&schema) };
        let store = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
        let admin_of_it = admin(&cluster.url(), &schema).await;
        let mut instances = vec![Arc::new(store)];
        for _ in 0..2 {
            let another = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
            instances.push(Arc::new(another));
        }
        let ask = approved(&instances[0]).await;
        let start = Arc::new(Barrier::new(9));
        let consuming: Vec<_> = (0..9)
            .map(|number| {
                let (store, start) = (Arc::clone(&instances[number % 3]), Arc::clone(&start));
                let ask = ask.clone();
                tokio::spawn(async move {
                    start.wait().await;
                    promote(&store, &ask).await
                })
            })
            .collect();
        let mut won = 0;
        for consumed in consuming {
            won += usize::from(consumed.await.expect("no task panics"));
        }
        assert_eq!(won, 1, "{cas}");
        for (table, rows) in [("jobs", 1), ("audit", 3)] {
            let count = admin_of_it.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await;
            assert_eq!(count.expect("the server answers").get::<_, i64>(0), rows, "{cas}: {table}");
        }
    }
}

/// A rolling restart with another strategy: those that keep each other from a second use may meet, the others may not.
pub(super) async fn every_pair_of_strategies_executes_once_or_does_not_meet(cluster: Arc<Cluster>) {
    const ROUNDS: usize = 25;
    let (mut raced, mut refused) = (0, 0);
    for one in Cas::ALL {
        for other in Cas::ALL {
            let schema = new_schema();
            let with = |cas| PostgresOptions { cas, ..options(&schema) };
            let first = PostgresStore::connect(&cluster.url(), ids(), &with(one)).await.expect("it starts");
            let second = match PostgresStore::connect(&cluster.url(), ids(), &with(other)).await {
                Ok(second) => second,
                Err(error) => {
                    assert!(matches!(error, OpenError::OtherStrategy { own } if own == other), "{error}");
                    let option = other.as_str().replace('_', "-");
                    assert!(error.to_string().contains(&option), "{error}");
                    assert_ne!(one.locks_teams(), other.locks_teams(), "{one} and {other}");
                    refused += 1;
                    continue;
                }
            };
            let instances = [Arc::new(first), Arc::new(second)];
            for _ in 0..ROUNDS {
                let ask = approved(&instances[0]).await;
                let digest = instances[0].digest(&ask).await.expect("nothing fails");
                let start = Arc::new(Barrier::new(4));
                let consuming: Vec<_> = (0..4)
                    .map(|number| {
                        let (store, start) = (Arc::clone(&instances[number % 2]), Arc::clone(&start));
                        let ask = ask.clone();
                        tokio::spawn(async move {
                            start.wait().await;
                            store.consume_alone(&ask, digest, Guards::ALL).await
                        })
                    })
                    .collect();
                let mut won = 0;
                for consumed in consuming {
                    let consumed = consumed.await.expect("no task panics");
                    won += usize::from(consumed == Ok(Committed::Applied { target: None }));
                }
                assert_eq!(won, 1, "{one} and {other}");
            }
            raced += 1;
        }
    }
    assert_eq!((raced, refused), (26, 10), "serializable meets itself alone");
}

/// Waits until a session of the store's waits for a lock.
async fn waits_for_a_lock(client: &Client) {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'countersign' \
                           AND wait_event_type = 'Lock' AND query LIKE '%FROM teams%'";
    while client.query_one(WAITING, &[]).await.expect("the server answers").get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
}

/// The server's own clock, which no test has replaced: it is read when the team's lock is held, not when the transaction
/// began.
pub(super) async fn a_commit_that_waited_past_the_window_is_refused_by_the_servers_clock(_: Arc<Cluster>) {
    // Another case's session may wait for a lock as well.
    let cluster = own_cluster(Fsync::Off).await;
    for cas in Cas::ALL.into_iter().filter(|cas| cas.locks_teams()) {
        let schema = new_schema();
        let options = PostgresOptions { cas, ..options(&schema) };
        let store = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
        let store = Arc::new(store);
        let ask = approved(&store).await;
        let mut holder = admin(&cluster.url(), &schema).await;
        let lock = holder.transaction().await.expect("the server answers");
        lock.batch_execute("SELECT 1 FROM teams FOR UPDATE").await.expect("the server answers");
        let promoting = {
            let (store, ask) = (Arc::clone(&store), ask.clone());
            tokio::spawn(async move { promote(&store, &ask).await })
        };
        let client = admin(&cluster.url(), &schema).await;
        waits_for_a_lock(&client).await;
        // Later than the waiting transaction's beginning, and over when it goes on.
        let expire =
            "UPDATE approvals SET expires_at = floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT";
        client.batch_execute(expire).await.expect("the server answers");
        lock.rollback().await.expect("the server answers");
        assert!(!promoting.await.expect("no task panics"), "{cas}: it was executed after its window");
        let status = store.approval(TEAM, ask.approval).await.expect("nothing fails");
        assert_eq!(status.expect("it is there").approval.status, Status::Approved, "{cas}");
    }
}
