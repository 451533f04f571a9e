//! PostgreSQL as a bed: a schema of its own on a server that is named, or on one that is started for the occasion.

use std::{collections::BTreeMap, path::PathBuf};

use countersign::store::{
    postgres::{PostgresEngine, PostgresOptions, PostgresStore, SynchronousCommit},
    sql::{Consume, SqlStore},
};
use countersign_testkit::{Cluster, Fsync, Installation};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::{
    bench_store::{BenchStore, Contender, FIRST},
    counters::{Ended, Try},
    counting::Counting,
    gate::{self, Template, id_of, template},
    pgbench::Pgbench,
    sqlite::failed,
};
use countersign_terminal::BadInput;
use countersign_terminal::Stopwatch;

/// A schema of its own, dropped afterwards.
const SCHEMA: &str = "countersign_bench";

pub(crate) struct Postgres {
    url: String,
    client: Client,
    template: Template,
    columns: Vec<String>,
    settings: BTreeMap<String, String>,
    pgbench: Option<PathBuf>,
    /// Ends with this, and its files with it.
    _cluster: Option<Cluster>,
}

impl Postgres {
    /// On this server; none: on one that is started now.
    pub(crate) async fn new(url: Option<&str>) -> Result<Self, BadInput> {
        let (url, cluster) = match url {
            Some(url) => (url.to_owned(), None),
            None => {
                let cluster = Cluster::start(Fsync::On).map_err(|error| {
                    let help = "install PostgreSQL, or name a server with --store postgres://…";
                    BadInput::plain(&format!("no PostgreSQL can be started: {error}"), help)
                })?;
                (cluster.url(), Some(cluster))
            }
        };
        let client = connected(&url).await?;
        let search = format!(
            "SET client_min_messages = warning; DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; \
             CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}"
        );
        client.batch_execute(&search).await.map_err(said)?;
        let store = store(&url, &Contender::default_one(), 1).await?;
        let template = template(&store).await.map_err(|error| failed("the template", &error))?;
        drop(store);
        const KEPT: &str = "CREATE TEMPORARY TABLE template AS SELECT * FROM approvals";
        client.batch_execute(KEPT).await.map_err(said)?;
        let columns = columns(&client).await.map_err(said)?;
        let settings = settings(&client).await.map_err(said)?;
        let pgbench = match &cluster {
            Some(cluster) => Some(cluster.program("pgbench")),
            None => Installation::find().ok().map(|found| found.program("pgbench")),
        };
        let pgbench = pgbench.filter(|program| program.is_file());
        Ok(Self { url, client, template, columns, settings, pgbench, _cluster: cluster })
    }

    /// Configuration of the server.
    pub(crate) fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// If it is installed.
    pub(crate) fn pgbench(&self) -> Option<Pgbench> {
        let program = self.pgbench.clone()?;
        Some(Pgbench { program, url: self.url.clone(), schema: SCHEMA })
    }

    /// Cost of converting a number into an id on the server, in microseconds: pgbench's statements include it.
    pub(crate) async fn id_cast_us(&self) -> Result<f64, BadInput> {
        const TIMES: i32 = 200_000;
        let took = async |what: &str| {
            let watch = Stopwatch::start();
            let count = format!("SELECT count({what}) FROM generate_series(1, {TIMES}) AS number");
            self.client.query_one(&count, &[]).await.map_err(said)?;
            Ok::<f64, BadInput>(watch.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES))
        };
        let (with, without) = (took("lpad(number::TEXT, 32, '0')::UUID").await?, took("number::TEXT").await?);
        Ok((with - without).max(0.0))
    }

    /// Consumes a number of approvals from the first one on, a batch in each statement, and notes what each statement took.
    pub(crate) async fn batches(&self, first: u32, batches: u32, rows: u32) -> Result<Vec<Try>, BadInput> {
        let client = connected(&self.url).await?;
        client.batch_execute(&format!("SET search_path = {SCHEMA}")).await.map_err(said)?;
        let statement = client.prepare(include_str!("batch.sql")).await.map_err(said)?;
        let digest: Vec<u8> =
            client.query_one("SELECT digest FROM approvals LIMIT 1", &[]).await.map_err(said)?.get(0);
        let digests = vec![digest; rows as usize];
        let mut tries = Vec::new();
        for batch in 0..batches {
            let first = first + batch * rows;
            let ids: Vec<Uuid> = (first..first + rows).map(id_of).collect();
            let watch = Stopwatch::start();
            let won = client.query(&statement, &[&"{}", &ids, &digests]).await.map_err(said)?;
            let took = watch.elapsed();
            let ended = if won.len() == ids.len() { Ended::Won } else { Ended::Lost };
            tries.push(Try { approval: first, client: 0, ended, took });
        }
        Ok(tries)
    }

    /// Leaves the server as it was.
    pub(crate) async fn leave(self) {
        // When the server was stopped, it is gone with it.
        self.client.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).await.ok();
    }
}

async fn connected(url: &str) -> Result<Client, BadInput> {
    let (client, link) = tokio_postgres::connect(url, NoTls).await.map_err(said)?;
    tokio::spawn(link);
    Ok(client)
}

fn said(error: tokio_postgres::Error) -> BadInput {
    let database = error.as_db_error().map(ToString::to_string);
    failed("PostgreSQL", &database.unwrap_or_else(|| error.to_string()))
}

async fn store(url: &str, entry: &Contender, clients: usize) -> Result<PostgresStore, BadInput> {
    let commit = if entry.durable { SynchronousCommit::AsConfigured } else { SynchronousCommit::Off };
    let options = PostgresOptions {
        schema: Some(SCHEMA.to_owned()),
        connections: clients.try_into().unwrap_or(PostgresOptions::default().connections),
        synchronous_commit: commit,
        cas: entry.cas,
        ..PostgresOptions::default()
    };
    PostgresStore::connect(url, gate::ids(), &options).await.map_err(|error| failed("PostgreSQL", &error))
}

async fn columns(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    const COLUMNS: &str = "SELECT attname::TEXT FROM pg_attribute \
                           WHERE attrelid = 'approvals'::REGCLASS AND attnum > 0 AND NOT attisdropped";
    Ok(client.query(COLUMNS, &[]).await?.iter().map(|row| row.get(0)).collect())
}

async fn settings(client: &Client) -> Result<BTreeMap<String, String>, tokio_postgres::Error> {
    const SETTINGS: &str = "SELECT name, setting || COALESCE(' × ' || unit, '') FROM pg_settings WHERE name IN \
                            ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', \
                            'shared_buffers', 'max_wal_size', 'commit_delay', 'checkpoint_timeout')";
    Ok(client.query(SETTINGS, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

impl BenchStore for Postgres {
    type Engine = PostgresEngine;

    const NAME: &'static str = "postgres";

    fn takes(_: &Contender) -> bool {
        true
    }

    async fn fill(&mut self, approvals: u32) -> Result<(), BadInput> {
        // The first write to a page after a checkpoint logs the whole page. A checkpoint now keeps the next one out of
        // the measurement. Without the permission it is skipped.
        self.client.batch_execute("CHECKPOINT").await.ok();
        let copied: Vec<&str> = self
            .columns
            .iter()
            .map(|column| match column.as_str() {
                "id" => "lpad(number::TEXT, 32, '0')::UUID",
                "token_hash" => "decode(lpad(number::TEXT, 64, '0'), 'hex')",
                other => other,
            })
            .collect();
        let last = FIRST + approvals.max(1) - 1;
        let fill = format!(
            "TRUNCATE approvals CASCADE; \
             INSERT INTO approvals ({}) SELECT {} FROM template, generate_series({FIRST}, {last}) AS number",
            self.columns.join(", "),
            copied.join(", "),
        );
        self.client.batch_execute(&fill).await.map_err(said)?;
        self.client.batch_execute("VACUUM ANALYZE approvals").await.map_err(said)
    }

    fn template(&self) -> &Template {
        &self.template
    }

    async fn open(
        &self,
        entry: &Contender,
        clients: usize,
    ) -> Result<SqlStore<Counting<PostgresEngine>>, BadInput> {
        let store = store(&self.url, entry, clients).await?;
        let consume = match entry.broken {
            Some(file) => Consume::new(entry.cas, file).map_err(|error| failed(entry.name, &error))?,
            None => store.consume().clone(),
        };
        Ok(SqlStore::new(Counting::new(store), gate::ids(), consume))
    }

    async fn executed(&mut self) -> Result<u64, BadInput> {
        const COUNT: &str = "SELECT count(*) FROM approvals WHERE status = 'executed'";
        let count: i64 = self.client.query_one(COUNT, &[]).await.map_err(said)?.get(0);
        Ok(count.unsigned_abs())
    }

    async fn log_position(&mut self) -> Result<u64, BadInput> {
        const POSITION: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::BIGINT";
        let position: i64 = self.client.query_one(POSITION, &[]).await.map_err(said)?.get(0);
        Ok(position.unsigned_abs())
    }

    fn durability(&self, entry: &Contender) -> (String, bool) {
        let setting = |name: &str| self.settings.get(name).map_or("unknown", String::as_str);
        let commit = if entry.durable { setting("synchronous_commit") } else { "off" };
        let fsync = setting("fsync");
        (format!("fsync={fsync}, synchronous_commit={commit}"), fsync == "on" && commit != "off")
    }
}
