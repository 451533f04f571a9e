//! Servers that an instance does not start on, and what it says about them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign::store::{
    Causes, Operations, StoreError, StoreErrorKind, Tenants,
    postgres::{OpenError, PostgresOptions, PostgresStore, SynchronousCommit},
};
use countersign_contract::world::{TEAM, new_stack};
use countersign_testkit::{Cluster, Fsync};
use tracing_subscriber::util::SubscriberInitExt;

use super::{admin, approved, ids, on, options, own_cluster, promote, world};
use crate::postgres::new_schema;

pub(super) async fn what_cannot_be_reached_is_said_so_without_the_password(cluster: Arc<Cluster>) {
    let quick = PostgresOptions { connect_timeout: Duration::from_millis(500), ..PostgresOptions::default() };
    let refused = async |url: &str| {
        let error = PostgresStore::connect(url, ids(), &quick).await.err().expect("there is nothing");
        for said in [error.to_string(), format!("{error:?}")] {
            assert!(!said.contains("s3cret"), "{said}");
        }
        error
    };
    assert!(matches!(refused("postgres://me:s3cret@[").await, OpenError::Url(_)));
    let unreachable = "postgres://me:s3cret@%2Fnowhere/db";
    assert!(matches!(refused(unreachable).await, OpenError::Server(_)));
    let tls = format!("{}&sslmode=verify-everything&password=s3cret", cluster.url());
    let error = refused(&tls).await;
    assert!(error.to_string().contains("sslmode=verify-everything"), "{error}");
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

pub(super) async fn a_password_that_is_wrong_is_in_the_error_and_in_the_log(_: Arc<Cluster>) {
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let store = PostgresStore::connect(&url, ids(), &PostgresOptions::default()).await;
            let store = store.expect("the password is right");
            client.batch_execute("ALTER ROLE keeper PASSWORD 'an0ther'").await.expect("the server answers");
            // A message that another thread is the first to log is off for this thread's log as well.
            store.is_ready().await.expect_err("it is wrong now");
            let _logged = tracing_subscriber::fmt().with_writer(move || writer.clone()).set_default();
            let opened = PostgresStore::connect(&url, ids(), &PostgresOptions::default()).await;
            (store.is_ready().await.expect_err("it is wrong now"), opened.err().expect("it is wrong now"))
        })
    });
    let (error, not_opened) = failed.await.expect("no task panics");
    let logged = String::from_utf8(log.0.lock().expect("no writer panics").clone()).expect("it is text");
    assert_eq!(error.kind(), StoreErrorKind::NotApplied);
    for said in [Causes(&error).to_string(), not_opened.to_string(), logged] {
        assert!(said.contains("password authentication failed for user \"keeper\""), "{said}");
        assert!(!said.contains("r1ght") && !said.contains("an0ther"), "{said}");
    }
}

pub(super) async fn text_that_the_server_does_not_take_is_not_applied(cluster: Arc<Cluster>) {
    let world = world(cluster).await;
    let stack = new_stack("nul \0", "image");
    assert_eq!(world.store().create_stack(TEAM, stack).await, Err(StoreError::not_applied("any cause")));
    assert_eq!(world.backend.stacks(TEAM).await.len(), 1);
}

pub(super) async fn without_a_wait_for_the_disk_it_works_the_same(cluster: Arc<Cluster>) {
    for synchronous_commit in [SynchronousCommit::On, SynchronousCommit::Off] {
        let options = PostgresOptions { synchronous_commit, ..options(&new_schema()) };
        let store = PostgresStore::connect(&cluster.url(), ids(), &options).await.expect("it starts");
        assert!(promote(&store, &approved(&store).await).await);
    }
}

pub(super) async fn a_server_that_may_forget_commits_is_refused_where_that_is_not_allowed(
    without_fsync: Arc<Cluster>,
) {
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
