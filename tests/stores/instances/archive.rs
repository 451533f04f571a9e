//! The archive on PostgreSQL: what is read is whole, and is deleted by one of several that run at the same time.

use std::{collections::BTreeSet, sync::Arc};

use countersign::store::{Approvals, Outbox, StackStatus, postgres::PostgresStore};
use countersign_contract::world::TEAM;
use countersign_testkit::Cluster;

use super::{admin, approved, ids, options, promote};
use crate::postgres::new_schema;

pub(super) async fn what_is_archived_is_whole_and_is_deleted_once(cluster: Arc<Cluster>) {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let schema = new_schema();
    let store = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let store = Arc::new(store);
    let client = admin(&cluster.url(), &schema).await;
    let unused = approved(&store).await;
    let used = approved(&store).await;
    assert!(promote(&store, &used).await);
    let lease = store.lease_job(60_000).await.expect("nothing fails").expect("a job");
    assert!(store.finish_job(&lease, StackStatus::Healthy).await.expect("nothing fails"));
    assert_eq!(store.archivable(90 * DAY_MS, 10).await, Ok(vec![]), "they are young");
    let age =
        "UPDATE approvals SET created_at = created_at - 8640000000, expires_at = expires_at - 8640000000";
    client.batch_execute(age).await.expect("the server answers");
    let old = store.archivable(90 * DAY_MS, 10).await.expect("nothing fails");
    assert_eq!(old.iter().map(|archived| archived.id).collect::<Vec<_>>(), [unused.approval]);
    let line: serde_json::Value = old[0].line().parse().expect("JSON");
    let columns = "SELECT column_name::TEXT FROM information_schema.columns \
                   WHERE table_name = 'approvals' AND table_schema = $1 AND column_name <> 'token_hash'";
    let columns = client.query(columns, &[&schema]).await.expect("the server answers");
    let mut whole: BTreeSet<String> = columns.iter().map(|row| row.get(0)).collect();
    let children = "SELECT c.relname::TEXT FROM pg_constraint AS f JOIN pg_class AS c ON c.oid = f.conrelid \
                    WHERE f.contype = 'f' AND f.confrelid = to_regclass('approvals')";
    whole.extend(client.query(children, &[]).await.expect("the server answers").iter().map(|row| row.get(0)));
    assert_eq!(line.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>(), whole);
    assert_eq!((&line["status"], line["audit"].as_array().map(Vec::len)), (&"approved".into(), Some(2)));

    let deleting: Vec<_> = (0..4)
        .map(|_| {
            let (store, archived) = (Arc::clone(&store), old[0].clone());
            tokio::spawn(async move { store.delete_archived(&archived).await })
        })
        .collect();
    for deleted in deleting {
        assert_eq!(deleted.await.expect("no panic"), Ok(true));
    }
    assert_eq!(store.approval(TEAM, unused.approval).await, Ok(None));
    assert!(store.approval(TEAM, used.approval).await.expect("nothing fails").is_some());
}
