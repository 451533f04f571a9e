//! The store in PostgreSQL, under test: a schema of its own for each, with a clock that is a table.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use countersign::{
    protocol::Timestamp,
    store::{
        postgres::{PostgresOptions, PostgresStore},
        sql::Cas,
    },
};
use countersign_contract::{Later, world::OPENS};
use countersign_models::fixtures::CountingIds;
use tokio_postgres::{Client, NoTls, Statement, types::ToSql};

use crate::{
    Postgres,
    broken::Mistake,
    database::{CLOCK, Database, DatabaseMaker, Dump, InDatabase, TABLES, reading},
};

/// Makes stores on a cluster.
#[derive(Clone)]
pub(crate) struct InPostgres {
    cluster: Postgres,
    cas: Cas,
}

/// The database without the store.
pub(crate) struct Admin {
    client: Client,
    reading: Statement,
    writing: Statement,
    moving: Statement,
}

/// A name that no schema of this process has yet.
pub(crate) fn new_schema() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl InPostgres {
    pub(crate) fn new(cluster: Postgres, cas: Cas) -> Self {
        Self { cluster, cas }
    }
}

impl DatabaseMaker for InPostgres {
    fn names(&self) -> (&'static str, &'static str) {
        ("postgres", self.cas.as_str())
    }

    fn make(&self, mistake: Option<Mistake>) -> Later<'_, InDatabase> {
        Box::pin(async move {
            let schema = new_schema();
            let options =
                PostgresOptions { schema: Some(schema.clone()), cas: self.cas, ..PostgresOptions::default() };
            let url = self.cluster.as_ref().expect("no case is run without it").url();
            let store = PostgresStore::connect(&url, Arc::new(CountingIds::default()), &options).await;
            let store = store.unwrap_or_else(|error| panic!("{error}"));
            let database = Arc::new(Admin::new(&url, &schema).await.expect("the server answers"));
            match mistake {
                None => InDatabase::new(store, database),
                Some(mistake) => InDatabase::new(mistake.put_into(store), database),
            }
        })
    }
}

impl Admin {
    async fn new(url: &str, schema: &str) -> Result<Self, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        // Rows are put back without the checks that guard what a store may write.
        let setup = format!(
            "SET search_path = {schema}; SET session_replication_role = replica; SET synchronous_commit = off;
            CREATE TABLE {CLOCK} (now_ms BIGINT NOT NULL);
            INSERT INTO {CLOCK} VALUES ({opens});
            CREATE OR REPLACE FUNCTION countersign_now() RETURNS BIGINT
                LANGUAGE sql VOLATILE AS 'SELECT now_ms FROM {CLOCK}';
            {writing}",
            opens = OPENS.0,
            writing = writing(),
        );
        client.batch_execute(&setup).await?;
        let arguments: Vec<_> = (1..=TABLES.len()).map(|number| format!("${number}")).collect();
        Ok(Self {
            reading: client.prepare(&reading()).await?,
            writing: client.prepare(&format!("SELECT write_rows({})", arguments.join(", "))).await?,
            moving: client.prepare(&format!("UPDATE {CLOCK} SET now_ms = $1")).await?,
            client,
        })
    }
}

/// A function that replaces the rows of those tables that its arguments have rows for.
fn writing() -> String {
    let arguments = vec!["TEXT"; TABLES.len()].join(", ");
    let mut sql =
        format!("CREATE FUNCTION write_rows({arguments}) RETURNS VOID LANGUAGE plpgsql AS $$ BEGIN\n");
    for (number, table) in TABLES.iter().enumerate() {
        let argument = number + 1;
        writeln!(
            sql,
            "IF ${argument} IS NOT NULL THEN DELETE FROM {table}; \
             INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, ${argument}::JSON); END IF;"
        )
        .expect("a string takes everything");
    }
    sql.push_str("END $$;");
    sql
}

impl Database for Admin {
    fn set_clock(&self, now: Timestamp) -> Later<'_, ()> {
        let now = i64::try_from(now.0).expect("a time in this millennium");
        Box::pin(async move {
            self.client.execute(&self.moving, &[&now]).await.expect("the server answers");
        })
    }

    fn read(&self) -> Later<'_, Dump> {
        Box::pin(async {
            let row = self.client.query_one(&self.reading, &[]).await.expect("the server answers");
            std::array::from_fn(|column| Arc::from(row.get::<_, &str>(column)))
        })
    }

    fn write(&self, tables: [Option<Arc<str>>; TABLES.len()]) -> Later<'_, ()> {
        Box::pin(async move {
            let texts: Vec<Option<&str>> = tables.iter().map(Option::as_deref).collect();
            let arguments: Vec<_> = texts.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
            self.client.execute(&self.writing, &arguments).await.expect("the server answers");
        })
    }
}
