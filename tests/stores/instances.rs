//! What PostgreSQL alone has to show: several instances, a server that goes and comes back, and one that is slow.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use countersign::{
    protocol::{Binding, Digest, Guards, Kind, Outcome, Refusal, Request, Status},
    service::Driver,
    store::{
        Ask, AuditKind, Causes, Committed, Decision, Ids, Leased, Operations, Payload, Plan, Store,
        StoreError, StoreErrorKind, Team, Tenants, Verdict,
        postgres::{OpenError, PostgresOptions, PostgresStore, SynchronousCommit},
        sql::{Cas, SchemaError},
    },
};
use countersign_models::fixtures::{CountingIds, token_of};
use countersign_testkit::{Cluster, Fsync, SqlPeek};
use libtest_mimic::Trial;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Barrier,
};
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
        every_pair_of_strategies_executes_once_or_does_not_meet,
        a_commit_that_waited_past_the_window_is_refused_by_the_servers_clock,
        a_commit_whose_answer_is_lost_is_not_tried_again,
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
        a_server_that_may_forget_commits_is_refused_where_that_is_not_allowed,
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
    assert_eq!(row.expect("the server answers").get::<_, i64>(0), 3);
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
    let newer = "INSERT INTO migrations VALUES (4, 'later', 0), (5, 'much later', 0)";
    admin(&cluster.url(), &schema).await.batch_execute(newer).await.expect("the server answers");
    let refused = PostgresStore::connect(&cluster.url(), ids(), &options(&schema)).await.err();
    let error = refused.expect("it is newer");
    assert!(matches!(error, OpenError::Schema(SchemaError::Newer { found: 5, .. })), "{error}");
    assert!(error.to_string().contains("schema version 5"), "{error}");
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

/// A rolling restart with another strategy: those that keep each other from a second use may meet, the others may not.
async fn every_pair_of_strategies_executes_once_or_does_not_meet(cluster: Arc<Cluster>) {
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
                    assert!(error.to_string().contains(other.as_str()), "{error}");
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
                    let consumed = consumed.await.expect("nobody panics");
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
async fn a_commit_that_waited_past_the_window_is_refused_by_the_servers_clock(_: Arc<Cluster>) {
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
        assert!(!promoting.await.expect("nobody panics"), "{cas}: it was executed after its window");
        let status = store.approval(TEAM, ask.request.approval).await.expect("nothing fails");
        assert_eq!(status.expect("it is there").approval.status, Status::Approved, "{cas}");
    }
}

/// Between a store and its server: passes on everything but the answer to the first COMMIT after it was told to.
struct Proxy {
    folder: tempfile::TempDir,
    drops: Arc<AtomicBool>,
    commits: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(cluster: &Cluster) -> Self {
        const SOCKET: &str = ".s.PGSQL.5432";
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let server = std::fs::read_dir(cluster.socket_directory()).expect("it is there");
        let is_socket = |name: &str| name.starts_with(".s.PGSQL.") && !name.ends_with(".lock");
        let server = server
            .map(|entry| entry.expect("it can be read").path())
            .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_socket))
            .expect("the server listens");
        let (drops, commits) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (dropping, counting) = (Arc::clone(&drops), Arc::clone(&commits));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.expect("the server listens");
                tokio::spawn(pass_on(client, server, Arc::clone(&dropping), Arc::clone(&counting)));
            }
        });
        Self { folder, drops, commits }
    }

    fn url(&self, cluster: &Cluster) -> String {
        let user = cluster.user();
        format!("postgresql://{user}@/postgres?host={}", self.folder.path().display())
    }
}

async fn pass_on(
    mut client: UnixStream,
    mut server: UnixStream,
    drops: Arc<AtomicBool>,
    commits: Arc<AtomicUsize>,
) {
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut reads = false;
    loop {
        tokio::select! {
            length = client.read(&mut asked) => {
                let Ok(length @ 1..) = length else { return };
                let has = |word: &[u8]| asked[..length].windows(word.len()).any(|bytes| bytes == word);
                if has(b"BEGIN") {
                    reads = has(b"READ ONLY");
                }
                // Nothing waits for the answer to a COMMIT that keeps nothing.
                let commit = has(b"COMMIT") && !reads;
                commits.fetch_add(commit.into(), Ordering::SeqCst);
                server.write_all(&asked[..length]).await.expect("the server reads");
                if commit && drops.swap(false, Ordering::SeqCst) {
                    // It has answered, so that it has committed; and nothing comes back.
                    let answer = server.read(&mut answered).await.expect("the server answers");
                    assert!(answer > 0);
                    return;
                }
            }
            length = server.read(&mut answered) => {
                let Ok(length @ 1..) = length else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn a_commit_whose_answer_is_lost_is_not_tried_again(cluster: Arc<Cluster>) {
    let proxy = Proxy::start(&cluster);
    for cas in Cas::ALL {
        let schema = new_schema();
        let options = PostgresOptions { cas, ..options(&schema) };
        let store = PostgresStore::connect(&proxy.url(&cluster), ids(), &options).await.expect("it starts");
        let ask = approved(&store).await;
        let before = proxy.commits.load(Ordering::SeqCst);
        proxy.drops.store(true, Ordering::SeqCst);
        // Two statements in a transaction: what is asked for, and its event.
        let digest = store.digest(&ask).await.expect("nothing fails");
        let deployer = countersign::service::InMemoryDeployer::default();
        let flow = flow("atomic-commit");
        let outcome = Driver::new(&flow, &store, &deployer).promote(&ask, digest).await;
        assert!(!proxy.drops.load(Ordering::SeqCst), "{cas}: an answer was dropped");
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{cas}: {outcome:?}");
        assert_eq!(proxy.commits.load(Ordering::SeqCst) - before, 1, "{cas}: it was committed once");
        let events = store.audit(ask.request.approval).await.expect("nothing fails");
        let executed = events.iter().filter(|event| event.kind == AuditKind::Executed).count();
        assert_eq!(executed, 1, "{cas}");
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

async fn a_server_that_may_forget_commits_is_refused_where_that_is_not_allowed(without_fsync: Arc<Cluster>) {
    let opened = async |cluster: &Cluster, synchronous_commit| {
        let options = PostgresOptions { refuse_volatile: true, synchronous_commit, ..options(&new_schema()) };
        let opened = PostgresStore::connect(&cluster.url(), ids(), &options).await.map(drop);
        let looked = PostgresStore::pending_migrations(&cluster.url(), &options).await.map(drop);
        assert_eq!(opened.is_ok(), looked.is_ok(), "a dry run says the same");
        opened.map_err(|error| error.to_string())
    };
    let refused = opened(&without_fsync, SynchronousCommit::On).await.expect_err("it may forget commits");
    assert!(refused.contains("fsync = off") && refused.contains("allow_data_loss"), "{refused}");
    let safe = own_cluster(Fsync::On).await;
    assert_eq!(opened(&safe, SynchronousCommit::AsConfigured).await, Ok(()));
    let refused = opened(&safe, SynchronousCommit::Off).await.expect_err("it may forget commits");
    assert!(refused.contains("synchronous_commit = off"), "{refused}");
    let client = admin(&safe.url(), "public").await;
    client.batch_execute("ALTER DATABASE postgres SET synchronous_commit = off").await.expect("it answers");
    let refused = opened(&safe, SynchronousCommit::AsConfigured).await.expect_err("it may forget commits");
    assert!(refused.contains("synchronous_commit = off"), "{refused}");
}
