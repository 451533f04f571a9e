//! The store in PostgreSQL, shared by several instances: connecting, and the options.
//!
//! The URL's `sslmode`, `sslrootcert`, `sslcert` and `sslkey` mean what they mean to libpq. Without `verify-full` a connection
//! may be encrypted and lead to another server.

mod connection;
mod engine;
mod migrate;
mod pool;
mod session;
mod tls;
mod value;
mod watchdog;

use std::{
    fmt, io,
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use tokio_postgres::Error as ServerError;

pub use engine::PostgresEngine;

use self::{
    migrate::{migrate, pending},
    pool::{Connections, Pool},
    tls::Server,
    watchdog::Watchdog,
};
use super::{
    Causes, Ids,
    sql::{Cas, Consume, MissingStatement, SchemaError, SqlStore},
};

/// A store in PostgreSQL.
pub type PostgresStore = SqlStore<PostgresEngine>;

/// Durability of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SynchronousCommit {
    /// The server's configuration; on by default.
    #[default]
    AsConfigured,
    /// A commit waits for the disk.
    On,
    /// A commit does not wait. **Not single-use after a crash**: the server may lose the last commits, and an executed
    /// approval is approved again.
    Off,
}

/// Options of a store in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The schema of the tables, created if necessary; by default the first of the server's search path.
    pub schema: Option<String>,
    /// Maximum number of connections.
    pub connections: NonZeroUsize,
    /// Time limit for getting a connection.
    pub connect_timeout: Duration,
    /// Time limit of a statement, enforced by the server. An unresponsive server is given up a few seconds later.
    pub statement_timeout: Duration,
    /// Durability of a commit.
    pub synchronous_commit: SynchronousCommit,
    /// Refuses a server that may lose commits in a crash.
    pub refuse_volatile: bool,
    /// Strategy of the consume.
    pub cas: Cas,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(16).expect("not zero");
        Self {
            schema: None,
            connections: CONNECTIONS,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            synchronous_commit: SynchronousCommit::default(),
            refuse_volatile: false,
            cas: Cas::ConditionalUpdate,
        }
    }
}

/// Reason for a failed connection.
#[derive(Debug)]
pub enum OpenError {
    /// The URL is not a PostgreSQL URL.
    Url(ServerError),
    /// The server cannot be reached, rejects the login, or rejects a statement.
    Server(ServerError),
    /// The server does not answer in time.
    TimedOut,
    /// What the URL says about encryption is wrong, or a file that it names is.
    Tls(String),
    /// The server is older than PostgreSQL 12.
    TooOld(String),
    /// The role may not do this.
    MayNot(&'static str),
    /// Its tables are not those that this version knows.
    Schema(SchemaError),
    /// With these settings it may forget commits in a crash, and a used approval is usable again.
    Volatile(String),
    /// Other instances use the database by a strategy that this one's does not keep apart from.
    OtherStrategy {
        /// This instance's.
        own: Cas,
    },
    /// A consume's file lacks a statement.
    Statement(MissingStatement),
    /// No thread could be started.
    Thread(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "not a PostgreSQL URL: {}", Causes(error)),
            Self::Server(error) => write!(f, "PostgreSQL: {}", Causes(error)),
            Self::Tls(why) => write!(f, "PostgreSQL over TLS: {why}"),
            Self::MayNot(what) => write!(f, "PostgreSQL: the role may not {what}"),
            Self::TimedOut => f.write_str("PostgreSQL does not answer in time"),
            Self::TooOld(version) => {
                write!(f, "PostgreSQL {version} is too old (version 12 or later is required)")
            }
            Self::Schema(error) => error.fmt(f),
            Self::Volatile(settings) => write!(
                f,
                "the server has {settings}: after a crash it may have forgotten that an approval was used (switch it on, or \
                 allow it with `allow_data_loss = true` in [postgres])"
            ),
            Self::OtherStrategy { own } => {
                let others =
                    if own.locks_teams() { "serializable" } else { "another strategy than serializable" };
                let own = own.as_str().replace('_', "-");
                write!(
                    f,
                    "the database is used with {others}, and this instance has {own}: together they could create two \
                     targets (use the same strategy; to change it, stop every instance and run: \
                     DELETE FROM shared_settings WHERE name = 'means')"
                )
            }
            Self::Statement(missing) => missing.fmt(f),
            Self::Thread(error) => write!(f, "no thread can be started: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl SqlStore<PostgresEngine> {
    /// Connects to the server, and migrates its tables; several instances may do so concurrently. The server's clock
    /// decides expiry.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn connect(url: &str, ids: Arc<dyn Ids>, options: &PostgresOptions) -> Result<Self, OpenError> {
        let consume = match options.cas {
            Cas::ConditionalUpdate => include_str!("postgres/consume/conditional_update.sql"),
            Cas::VersionColumn => include_str!("postgres/consume/version_column.sql"),
            Cas::ForUpdate => include_str!("postgres/consume/for_update.sql"),
            Cas::Serializable => include_str!("postgres/consume/serializable.sql"),
            Cas::AdvisoryLock => include_str!("postgres/consume/advisory_lock.sql"),
            Cas::ConsumptionRow => include_str!("postgres/consume/consumption_row.sql"),
        };
        let consume = Consume::new(options.cas, consume).map_err(OpenError::Statement)?;
        let server = server(url, options)?;
        migrate(&server, options).await?;
        // The server's limit is shorter, so that its reply rules out a change.
        let patience = options.statement_timeout + Duration::from_secs(2);
        let watchdog = Watchdog::start(patience).map_err(OpenError::Thread)?;
        let connections =
            Connections { server, setup: setup(options), watchdog, opened: AtomicU32::default() };
        let pool = Pool::new(connections, options.connections, options.connect_timeout);
        let pool = pool.unwrap_or_else(|error| unreachable!("the runtime is named: {error}"));
        Ok(Self::new(PostgresEngine::new(pool), ids, consume))
    }

    /// Number of migrations that [`connect`](Self::connect) would apply; `None` if it would create the tables. Changes
    /// nothing.
    ///
    /// # Errors
    /// [`OpenError`], in the cases where connecting fails too.
    pub async fn pending_migrations(
        url: &str,
        options: &PostgresOptions,
    ) -> Result<Option<usize>, OpenError> {
        pending(&server(url, options)?, options).await
    }
}

fn server(url: &str, options: &PostgresOptions) -> Result<Server, OpenError> {
    Server::parse(url, |config| {
        config.connect_timeout(options.connect_timeout);
        if config.get_application_name().is_none() {
            config.application_name("countersign");
        }
    })
}

/// The settings of every new connection.
fn setup(options: &PostgresOptions) -> String {
    let timeout_ms = options.statement_timeout.as_millis();
    let mut setup = format!(
        "SET default_transaction_isolation = 'read committed'; \
         SET statement_timeout = {timeout_ms}; \
         SET idle_in_transaction_session_timeout = {timeout_ms}; \
         SET client_min_messages = warning; \
         SET jit = off;"
    );
    if let Some(schema) = &options.schema {
        setup.push_str(&format!("SET search_path = {};", quoted(schema)));
    }
    match options.synchronous_commit {
        SynchronousCommit::AsConfigured => {}
        SynchronousCommit::On => setup.push_str("SET synchronous_commit = on;"),
        SynchronousCommit::Off => setup.push_str("SET synchronous_commit = off;"),
    }
    setup
}

/// A name as it stands in a statement.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
