//! A server that stops, is killed, is slow, has no room, or does not answer, and callers that give up.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use countersign::{
    protocol::{Digest, Guards, Outcome, Refusal, Status, Timestamp},
    service::{Driver, InMemoryDeployer},
    store::{
        Approvals, Committed, Operations, Outbox, Plan, StoreError, StoreErrorKind, Team, Tenants,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use countersign_contract::world::{TEAM, flow, new_stack, succeeded};
use countersign_testkit::{Cluster, Fsync, SqlPeek};
use tokio::sync::Barrier;
use tokio_postgres::Client;

use super::{admin, approved, ids, on, options, own_cluster, promote, promote_digest, world};
use crate::postgres::new_schema;

pub(super) async fn a_server_that_came_back_is_used_again(_: Arc<Cluster>) {
    let cluster = own_cluster(Fsync::On).await;
    let world = world(Arc::clone(&cluster)).await;
    let ask = world.approved().await;
    let digest = world.record(&ask).await.approval.digest;
    for stop in [Cluster::stop, Cluster::kill] {
        // Its connections are open and idle.
        on(&cluster, stop).await;
        assert_eq!(world.store().is_ready().await, Err(StoreError::not_applied("any cause")));
        assert_eq!(world.consume(&ask, Guards::ALL, digest).await, Err(StoreError::not_applied("any cause")));
        on(&cluster, Cluster::start_again).await;
        assert_eq!(world.store().is_ready().await, Ok(()));
        // Restarted while the store was idle.
        on(&cluster, stop).await;
        on(&cluster, Cluster::start_again).await;
        let wrong = world.consume(&ask, Guards::ALL, Digest([9; 32])).await;
        assert_eq!(wrong, Ok(Committed::NotConsumed(Refusal::APPROVAL_PAYLOAD_MISMATCH)));
        assert!(succeeded(&world.promote(&flow("atomic-commit"), &world.approved().await).await));
    }
    assert_eq!(world.consume(&ask, Guards::ALL, digest).await, Ok(Committed::Applied { target: None }));
}

pub(super) async fn a_server_that_is_killed_leaves_no_doubt_unsaid(_: Arc<Cluster>) {
    const CONSUMERS: usize = 8;
    let cluster = own_cluster(Fsync::On).await;
    let world = Arc::new(world(Arc::clone(&cluster)).await);
    let mut asks = Vec::new();
    for _ in 0..400 {
        asks.push(world.approved().await);
    }
    let digest = world.record(&asks[0]).await.approval.digest;
    let asks = Arc::new(asks);
    let begun = Arc::new(Barrier::new(CONSUMERS + 1));
    let consuming: Vec<_> = (0..CONSUMERS)
        .map(|consumer| {
            let (world, asks, begun) = (Arc::clone(&world), Arc::clone(&asks), Arc::clone(&begun));
            tokio::spawn(async move {
                let mut told = Vec::new();
                for (number, ask) in
                    asks.iter().enumerate().filter(|(number, _)| number % CONSUMERS == consumer)
                {
                    if number / CONSUMERS == 5 {
                        begun.wait().await;
                    }
                    told.push((number, world.consume(ask, Guards::ALL, digest).await));
                }
                told
            })
        })
        .collect();
    begun.wait().await;
    on(&cluster, Cluster::kill).await;
    let mut told = Vec::new();
    for consumed in consuming {
        told.extend(consumed.await.expect("no task panics"));
    }
    on(&cluster, Cluster::start_again).await;
    let mut unknown = 0;
    for (number, told) in told {
        let status = world.status(&asks[number]).await;
        match told {
            Ok(Committed::Applied { .. }) => assert_eq!(status, Status::Executed, "number {number}"),
            Err(error) if error.kind() == StoreErrorKind::Unknown => unknown += 1,
            Err(_) => assert_eq!(status, Status::Approved, "number {number}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        unknown <= CONSUMERS,
        "each consumer had one statement under way at most, {unknown} are in doubt"
    );
}

pub(super) async fn a_statement_that_takes_too_long_is_not_applied(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let patient = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let ask = approved(&patient).await;
    let digest = patient.digest(&ask).await.expect("nothing fails");
    // Only statements that wait for the lock below run with the short timeout.
    let impatient = PostgresOptions { statement_timeout: Duration::from_millis(200), ..options(&schema) };
    let impatient = PostgresStore::connect(&cluster.url(), ids(), &impatient).await.expect("it starts");
    let mut client = admin(&cluster.url(), &schema).await;
    let lock = client.transaction().await.expect("the server answers");
    lock.batch_execute("LOCK TABLE approvals").await.expect("the server answers");
    assert_eq!(patient.stack(TEAM, "unlocked").await, Ok(None), "what needs no lock does not wait");
    assert_eq!(impatient.request_approval(&ask).await, Err(StoreError::not_applied("any cause")));
    assert!(!promote_digest(&impatient, &ask, digest).await);
    lock.rollback().await.expect("the server answers");
    assert!(promote(&patient, &ask).await, "and nothing is left of it");
}

/// Triggers answer as the server does when it cannot extend a file: at a statement, or at the COMMIT.
pub(super) async fn a_server_without_room_changes_nothing_until_it_has_some(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let store = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let client = admin(&cluster.url(), &schema).await;
    let run = async |sql: &str| client.batch_execute(sql).await.expect("the server answers");
    run("CREATE FUNCTION no_room() RETURNS TRIGGER LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$")
    .await;
    let (flow, deployer) = (flow("atomic-commit"), InMemoryDeployer::default());
    for table in ["approvals", "stacks", "audit", "jobs"] {
        for (kind, when) in [("", ""), ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED")] {
            let ask = approved(&store).await;
            let digest = store.digest(&ask).await.expect("nothing fails");
            let before = store.stacks(TEAM).await.expect("nothing fails");
            run(&format!(
                "CREATE {kind} TRIGGER no_room AFTER INSERT OR UPDATE ON {table} {when} FOR EACH ROW \
                 EXECUTE FUNCTION no_room()"
            ))
            .await;
            let driver = Driver::new(&flow, &store, &deployer).expect("it is supported");
            let outcome = driver.promote(ask.approval, &ask, digest).await;
            let refused =
                matches!(&outcome, Outcome::Refused { refusal, .. } if *refusal == Refusal::EXECUTE_FAILED);
            assert!(refused, "{table} {when}: {outcome:?}");
            let approval = ask.approval;
            let record = store.approval(TEAM, approval).await.expect("nothing fails").expect("it is there");
            assert_eq!(record.approval.status, Status::Approved, "{table} {when}");
            assert_eq!(store.job(TEAM, approval).await.expect("nothing fails"), None, "{table} {when}");
            assert_eq!(store.stacks(TEAM).await.expect("nothing fails"), before, "{table} {when}");
            run(&format!("DROP TRIGGER no_room ON {table}")).await;
            assert!(promote(&store, &ask).await, "{table} {when}: there is room again");
        }
    }
}

/// A session that the server ends says nothing about its statement: it may have been carried out before.
pub(super) async fn a_statement_of_a_session_that_is_ended_may_have_been_carried_out(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let store = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let one_statement = || store.release_key(TEAM, "key", Timestamp(0), true);
    assert_eq!(one_statement().await, Ok(()), "and it is prepared");
    let mut client = admin(&cluster.url(), &schema).await;
    let ending = admin(&cluster.url(), &schema).await;
    let lock = client.transaction().await.expect("the server answers");
    lock.batch_execute("LOCK TABLE idempotency_keys").await.expect("the server answers");
    let end = async {
        const WAITING: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_class ON pg_class.oid = relation \
             WHERE relname = 'idempotency_keys' AND relnamespace = current_schema()::REGNAMESPACE AND NOT granted";
        while ending.query(WAITING, &[]).await.expect("the server answers").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let (released, ()) = tokio::join!(one_statement(), end);
    assert_eq!(released, Err(StoreError::unknown("any cause")));
}

/// As when another instance hangs in the transaction that settles the job.
pub(super) async fn a_job_whose_row_is_locked_holds_up_no_other_job(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let store = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let (first, second) = (approved(&store).await, approved(&store).await);
    assert!(promote(&store, &first).await && promote(&store, &second).await);
    let mut client = admin(&cluster.url(), &schema).await;
    let lock = client.transaction().await.expect("the server answers");
    let row = "SELECT seq FROM jobs WHERE approval = $1 FOR UPDATE";
    lock.query_one(row, &[&first.approval]).await.expect("it is there");
    let leased = async || store.lease_job(1_000_000).await.expect("it answers").map(|lease| lease.approval);
    assert_eq!(leased().await, Some(second.approval));
    lock.rollback().await.expect("the server answers");
    assert_eq!(leased().await, Some(first.approval));
}

/// Sends a signal to the server's processes that work for our stores.
async fn signal(client: &Client, signal: &str) {
    let ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'countersign'";
    let pids = client.query(ours, &[]).await.expect("the server answers");
    for pid in pids {
        let mut kill = std::process::Command::new("kill");
        kill.arg(signal).arg(pid.get::<_, i32>(0).to_string());
        assert!(kill.status().expect("there is a kill").success());
    }
}

pub(super) async fn a_server_that_does_not_answer_is_given_up(_: Arc<Cluster>) {
    let cluster = own_cluster(Fsync::Off).await;
    let schema = new_schema();
    let patient = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let ask = approved(&patient).await;
    drop(patient);
    let options = PostgresOptions { statement_timeout: Duration::from_secs(1), ..options(&schema) };
    let store = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
    let client = admin(&cluster.url(), &schema).await;
    let one_statement = || store.release_key(TEAM, "key", Timestamp(0), true);
    assert_eq!(one_statement().await, Ok(()), "and it is prepared");
    signal(&client, "-STOP").await;
    // One statement by itself may have been carried out; one in a transaction that was not committed has not been.
    assert_eq!(one_statement().await, Err(StoreError::unknown("any cause")));
    signal(&client, "-CONT").await;
    assert!(promote(&store, &ask).await, "on another connection");
    signal(&client, "-STOP").await;
    assert_eq!(store.request_approval(&ask).await, Err(StoreError::not_applied("any cause")));
    signal(&client, "-CONT").await;
    assert_eq!(store.is_ready().await, Ok(()));
}

pub(super) async fn a_work_that_is_dropped_half_way_leaves_nothing(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let one = NonZeroUsize::MIN;
    let options = PostgresOptions { connections: one, ..options(&schema) };
    let store = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
    let ask = approved(&store).await;
    for polls in 1..40 {
        let mut promoting = Box::pin(promote(&store, &ask));
        let done = tokio::time::timeout(Duration::from_secs(5), async {
            for _ in 0..polls {
                let polled =
                    std::future::poll_fn(|context| std::task::Poll::Ready(promoting.as_mut().poll(context)));
                if polled.await.is_ready() {
                    return true;
                }
                tokio::task::yield_now().await;
            }
            false
        });
        let done = done.await.expect("the call has ended");
        drop(promoting);
        // The one connection is free again, and the interrupted work is over: applied or not.
        let status = store.approval(TEAM, ask.approval).await.expect("nothing fails");
        let status = status.expect("it is there").approval.status;
        let job = store.job(TEAM, ask.approval).await.expect("nothing fails").is_some();
        assert_eq!(status == Status::Executed, job, "all or nothing");
        if done || status == Status::Executed {
            return;
        }
    }
    assert!(promote(&store, &ask).await);
}

pub(super) async fn more_callers_than_connections_wait_their_turn(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let two = NonZeroUsize::MIN.saturating_add(1);
    let options = PostgresOptions { connections: two, ..options(&schema) };
    let store = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
    let store = Arc::new(store);
    store.put_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 1_000 }).await.expect("nothing fails");
    let creating: Vec<_> = (0..64)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store.create_stack(TEAM, new_stack(&format!("stack {number}"), "image")).await
            })
        })
        .collect();
    for created in creating {
        created.await.expect("no task panics").expect("nothing fails").expect("there is room");
    }
    let opened = admin(&cluster.url(), &schema).await;
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'countersign' \
                AND query LIKE '%stacks%' AND state = 'active'";
    assert_eq!(opened.query_one(ours, &[]).await.expect("the server answers").get::<_, i64>(0), 0);
    assert_eq!(store.stacks(TEAM).await.expect("nothing fails").len(), 64);
}
