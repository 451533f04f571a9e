//! What PostgreSQL alone has to show: several instances, a server that goes and comes back, and one that is slow.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign::{
    protocol::{Binding, Digest, Guards, Kind, Refusal, Request, Status},
    service::Driver,
    store::{
        Ask, Causes, Committed, Decision, Ids, Leased, Operations, Payload, Plan, Store, StoreError,
        StoreErrorKind, Team, Tenants, Verdict,
        postgres::{OpenError, PostgresOptions, PostgresStore, SynchronousCommit},
        sql::{Cas, SchemaError},
    },
};
use countersign_models::fixtures::{CountingIds, token_of};
use countersign_testkit::{Cluster, Fsync, SqlPeek};
use libtest_mimic::Trial;
use tokio::sync::Barrier;
use tokio_postgres::{Client, NoTls};
use tracing_subscriber::util::SubscriberInitExt;
use uuid::Uuid;

use crate::{
    Postgres,
    backend::Executor,
    database::DatabaseMaker,
    postgres::{InPostgres, new_schema},
    world::{TEAM, World, environment, flow, new_stack, succeeded},
};

/// All of them.
pub(crate) fn trials(postgres: &Postgres, executor: &Executor) -> Vec<Trial> {
    macro_rules! trials {
        ($($name:ident),+ $(,)?) => {
            vec![$({
                let (postgres, executor) = (postgres.clone(), executor.clone());
                Trial::test(concat!("postgres::instances::", stringify!($name)), move || {
                    executor.block_on($name(postgres?));
                    Ok(())
                })
            }),+]
        };
    }
    trials![
        instances_that_start_at_once_make_the_tables_once,
        tables_of_the_first_schema_are_migrated_and_their_approval_can_be_used,
        a_newer_schema_is_refused,
        a_foreign_gap_in_the_migrations_is_refused,
        consumers_at_three_instances_share_one_execution,
        a_server_that_came_back_is_used_again,
        a_server_that_is_killed_leaves_no_doubt_unsaid,
        a_statement_that_takes_too_long_is_not_applied,
        a_server_that_does_not_answer_is_given_up,
        a_work_that_is_dropped_half_way_leaves_nothing,
        more_callers_than_connections_wait_their_turn,
        a_name_of_a_schema_is_taken_as_it_is,
        what_cannot_be_reached_is_said_so_without_the_password,
        a_password_that_is_wrong_is_in_the_error_and_in_the_log,
        text_that_the_server_does_not_take_is_not_applied,
        without_a_wait_for_the_disk_it_works_the_same,
    ]
}

fn options(schema: &str) -> PostgresOptions {
    PostgresOptions { schema: Some(schema.to_owned()), ..PostgresOptions::default() }
}

fn ids() -> Arc<dyn Ids> {
    Arc::new(CountingIds::default())
}

async fn admin(url: &str, schema: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {schema}")).await.expect("the server answers");
    client
}

async fn world(cluster: Arc<Cluster>) -> World {
    let maker = InPostgres::new(Ok(cluster), Cas::ConditionalUpdate);
    World::new(Arc::new(maker.make(None).await)).await
}

async fn instances_that_start_at_once_make_the_tables_once(cluster: Arc<Cluster>) {
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
        started.await.expect("nobody panics");
    }
    let row = admin(&cluster.url(), &schema).await.query_one("SELECT count(*) FROM migrations", &[]).await;
    assert_eq!(row.expect("the server answers").get::<_, i64>(0), 2);
}

async fn tables_of_the_first_schema_are_migrated_and_their_approval_can_be_used(cluster: Arc<Cluster>) {
    const FIRST: &str = include_str!("../../src/store/postgres/migrations/0001_initial.sql");
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
    let ask = Ask {
        request: Request { approval: Uuid::from_u128(1), team: TEAM, binding },
        by: "dev@example.com".into(),
        payload: Payload { source: Uuid::nil(), name: None, copy_vault: false },
        key: None,
    };
    assert_eq!(store.lease_approval(&ask).await, Ok(Leased::Taken { fence: 1 }));
    let consumed = store.consume_alone(&ask, Digest([0; 32]), Guards::ALL).await;
    assert_eq!(consumed, Ok(Committed::Applied { target: None }));
}

async fn a_newer_schema_is_refused(cluster: Arc<Cluster>) {
    let schema = new_schema();
    PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let newer = "INSERT INTO migrations VALUES (3, 'later', 0), (4, 'much later', 0)";
    admin(&cluster.url(), &schema).await.batch_execute(newer).await.expect("the server answers");
    let refused = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.err();
    let error = refused.expect("it is newer");
    assert!(matches!(error, OpenError::Schema(SchemaError::Newer { found: 4, .. })), "{error}");
    assert!(error.to_string().contains("schema version 4"), "{error}");
}

async fn a_foreign_gap_in_the_migrations_is_refused(cluster: Arc<Cluster>) {
    let schema = new_schema();
    let client = admin(&cluster.url(), &schema).await;
    let foreign = format!("CREATE SCHEMA {schema}; CREATE TABLE migrations (id TEXT)");
    client.batch_execute(&foreign).await.expect("the server answers");
    let refused = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.err();
    assert!(matches!(refused, Some(OpenError::Server(_))), "{refused:?}");
}

async fn consumers_at_three_instances_share_one_execution(cluster: Arc<Cluster>) {
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
            won += usize::from(consumed.await.expect("nobody panics"));
        }
        assert_eq!(won, 1, "{cas}");
        for (table, rows) in [("jobs", 1), ("audit", 3)] {
            let count = admin_of_it.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await;
            assert_eq!(count.expect("the server answers").get::<_, i64>(0), rows, "{cas}: {table}");
        }
    }
}

async fn promote(store: &PostgresStore, ask: &Ask) -> bool {
    let digest = store.digest(ask).await.expect("nothing fails");
    promote_digest(store, ask, digest).await
}

async fn promote_digest(store: &PostgresStore, ask: &Ask, digest: Digest) -> bool {
    let deployer = countersign::service::InMemoryDeployer::default();
    succeeded(&Driver::new(&flow("atomic-commit"), store, &deployer).promote(ask, digest).await)
}

/// A team with a stack, and an approval to promote it.
async fn approved(store: &PostgresStore) -> Ask {
    store.put_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 100 }).await.expect("nothing fails");
    let stack = store.create_stack(TEAM, new_stack("shop", "shop:1")).await;
    let stack = stack.expect("nothing fails").expect("there is room");
    let binding = Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
    let mut ask = Ask {
        request: Request { approval: Uuid::nil(), team: TEAM, binding },
        by: "dev@example.com".into(),
        payload: Payload { source: stack.id, name: None, copy_vault: false },
        key: None,
    };
    ask.request.approval = store.request_approval(&ask).await.expect("nothing fails").record.approval.id;
    let token = token_of(ask.request.approval);
    let decision = Decision::Operator { token: &token, verdict: Verdict::Approve };
    store.decide(decision).await.expect("nothing fails").expect("it is pending");
    ask
}

/// Makes a cluster of one's own: the others must not be disturbed.
async fn own_cluster(fsync: Fsync) -> Arc<Cluster> {
    let started = tokio::task::spawn_blocking(move || Cluster::start(fsync)).await.expect("nobody panics");
    Arc::new(started.expect("another one runs"))
}

async fn on(cluster: &Arc<Cluster>, work: fn(&Cluster) -> Result<(), countersign_testkit::Failed>) {
    let cluster = Arc::clone(cluster);
    let done = tokio::task::spawn_blocking(move || work(&cluster)).await.expect("nobody panics");
    done.unwrap_or_else(|error| panic!("{error}"));
}

async fn a_server_that_came_back_is_used_again(_: Arc<Cluster>) {
    let cluster = own_cluster(Fsync::On).await;
    let world = world(Arc::clone(&cluster)).await;
    let ask = world.approved().await;
    let digest = world.record(&ask).await.approval.digest;
    for stop in [Cluster::stop, Cluster::kill] {
        // Its connections are open, and nobody uses them.
        on(&cluster, stop).await;
        assert_eq!(world.store().is_ready().await, Err(StoreError::not_applied("any cause")));
        assert_eq!(world.consume(&ask, Guards::ALL, digest).await, Err(StoreError::not_applied("any cause")));
        on(&cluster, Cluster::start_again).await;
        assert_eq!(world.store().is_ready().await, Ok(()));
        // Stopped and started again while nobody looked.
        on(&cluster, stop).await;
        on(&cluster, Cluster::start_again).await;
        let wrong = world.consume(&ask, Guards::ALL, Digest([9; 32])).await;
        assert_eq!(wrong, Ok(Committed::NotConsumed(Refusal::APPROVAL_PAYLOAD_MISMATCH)));
        assert!(succeeded(&world.promote(&flow("atomic-commit"), &world.approved().await).await));
    }
    assert_eq!(world.consume(&ask, Guards::ALL, digest).await, Ok(Committed::Applied { target: None }));
}

async fn a_server_that_is_killed_leaves_no_doubt_unsaid(_: Arc<Cluster>) {
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
        told.extend(consumed.await.expect("nobody panics"));
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

async fn a_statement_that_takes_too_long_is_not_applied(cluster: Arc<Cluster>) {
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

async fn a_server_that_does_not_answer_is_given_up(_: Arc<Cluster>) {
    let cluster = own_cluster(Fsync::Off).await;
    let schema = new_schema();
    let patient = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    let ask = approved(&patient).await;
    drop(patient);
    let options = PostgresOptions { statement_timeout: Duration::from_secs(1), ..options(&schema) };
    let store = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
    let client = admin(&cluster.url(), &schema).await;
    assert_eq!(store.is_ready().await, Ok(()), "and its statement is prepared");
    signal(&client, "-STOP").await;
    // One statement by itself may have been carried out; one in a transaction that was not committed has not been.
    assert_eq!(store.is_ready().await, Err(StoreError::unknown("any cause")));
    signal(&client, "-CONT").await;
    assert!(promote(&store, &ask).await, "on another connection");
    signal(&client, "-STOP").await;
    assert_eq!(store.request_approval(&ask).await, Err(StoreError::not_applied("any cause")));
    signal(&client, "-CONT").await;
    assert_eq!(store.is_ready().await, Ok(()));
}

async fn a_work_that_is_dropped_half_way_leaves_nothing(cluster: Arc<Cluster>) {
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
        let done = done.await.expect("nobody waits for anything");
        drop(promoting);
        // The one connection is there again, and whatever was under way is over: it happened, or it did not.
        let status = store.approval(TEAM, ask.request.approval).await.expect("nothing fails");
        let status = status.expect("it is there").approval.status;
        let job = store.job(TEAM, ask.request.approval).await.expect("nothing fails").is_some();
        assert_eq!(status == Status::Executed, job, "all or nothing");
        if done || status == Status::Executed {
            return;
        }
    }
    assert!(promote(&store, &ask).await);
}

async fn more_callers_than_connections_wait_their_turn(cluster: Arc<Cluster>) {
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
        created.await.expect("nobody panics").expect("nothing fails").expect("there is room");
    }
    let opened = admin(&cluster.url(), &schema).await;
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'countersign' \
                AND query LIKE '%stacks%' AND state = 'active'";
    assert_eq!(opened.query_one(ours, &[]).await.expect("the server answers").get::<_, i64>(0), 0);
    assert_eq!(store.stacks(TEAM).await.expect("nothing fails").len(), 64);
}

async fn a_name_of_a_schema_is_taken_as_it_is(cluster: Arc<Cluster>) {
    let schema = format!("{} \"of\" ours; --", new_schema());
    let store = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.expect("it starts");
    assert!(promote(&store, &approved(&store).await).await);
    let client = admin(&cluster.url(), "public").await;
    let found = client.query_one("SELECT count(*) FROM pg_namespace WHERE nspname = $1", &[&schema]).await;
    assert_eq!(found.expect("the server answers").get::<_, i64>(0), 1);
}

async fn what_cannot_be_reached_is_said_so_without_the_password(cluster: Arc<Cluster>) {
    let quick = PostgresOptions { connect_timeout: Duration::from_millis(500), ..PostgresOptions::default() };
    let refused = async |url: &str| {
        let error = PostgresStore::connect(url, ids(), &quick).await.err().expect("there is nothing");
        for said in [error.to_string(), format!("{error:?}")] {
            assert!(!said.contains("s3cret"), "{said}");
        }
        error
    };
    assert!(matches!(refused("postgres://me:s3cret@[").await, OpenError::Url(_)));
    let nobody = "postgres://me:s3cret@%2Fnowhere/db";
    assert!(matches!(refused(nobody).await, OpenError::Server(_)));
    let tls = format!("{}&sslmode=require&password=s3cret", cluster.url());
    let error = refused(&tls).await;
    assert!(error.to_string().contains("TLS"), "{error}");
}

/// The lines that were logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn a_password_that_is_wrong_is_in_the_error_and_in_the_log(_: Arc<Cluster>) {
    let cluster = own_cluster(Fsync::On).await;
    let client = admin(&cluster.url(), "public").await;
    let file: String = client.query_one("SHOW hba_file", &[]).await.expect("the server answers").get(0);
    let rules = "(VALUES ('local all keeper scram-sha-256'), ('local all all trust'))";
    let setup = format!(
        "SET password_encryption = 'scram-sha-256'; CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'r1ght'; \
         COPY {rules} TO '{file}'"
    );
    client.batch_execute(&setup).await.expect("the server answers");
    // The rules are read when the server starts.
    on(&cluster, Cluster::stop).await;
    on(&cluster, Cluster::start_again).await;
    let client = admin(&cluster.url(), "public").await;
    let url = format!("postgresql://keeper:r1ght@/postgres?host={}", cluster.socket_directory().display());
    let log = Log::default();
    let writer = log.clone();
    // On a thread of its own, whose log is its own.
    let failed = tokio::task::spawn_blocking(move || {
        let _logged = tracing_subscriber::fmt().with_writer(move || writer.clone()).set_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let store = PostgresStore::connect(&url, ids(), &PostgresOptions::default()).await;
            let store = store.expect("the password is right");
            client.batch_execute("ALTER ROLE keeper PASSWORD 'an0ther'").await.expect("the server answers");
            let opened = PostgresStore::connect(&url, ids(), &PostgresOptions::default()).await;
            (store.is_ready().await.expect_err("it is wrong now"), opened.err().expect("it is wrong now"))
        })
    });
    let (error, not_opened) = failed.await.expect("nobody panics");
    let logged = String::from_utf8(log.0.lock().expect("no writer panics").clone()).expect("it is text");
    assert_eq!(error.kind(), StoreErrorKind::NotApplied);
    for said in [Causes(&error).to_string(), not_opened.to_string(), logged] {
        assert!(said.contains("password authentication failed for user \"keeper\""), "{said}");
        assert!(!said.contains("r1ght") && !said.contains("an0ther"), "{said}");
    }
}

async fn text_that_the_server_does_not_take_is_not_applied(cluster: Arc<Cluster>) {
    let world = world(cluster).await;
    let stack = new_stack("nul \0", "image");
    assert_eq!(world.store().create_stack(TEAM, stack).await, Err(StoreError::not_applied("any cause")));
    assert_eq!(world.backend.stacks(TEAM).await.len(), 1);
}

async fn without_a_wait_for_the_disk_it_works_the_same(cluster: Arc<Cluster>) {
    for synchronous_commit in [SynchronousCommit::On, SynchronousCommit::Off] {
        let options = PostgresOptions { synchronous_commit, ..options(&new_schema()) };
        let store = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
        assert!(promote(&store, &approved(&store).await).await);
    }
}
