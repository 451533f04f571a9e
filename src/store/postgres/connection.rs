//! One connection with its prepared statements, driven by the task that awaits the reply.
//!
//! The task that sends a statement also reads and writes the socket. A separate task for each connection would mean two
//! task switches for each statement, which cost more than the statement's own work on either side.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;
use tokio_postgres::{
    Client, Error, Row, Statement,
    error::{DbError, Severity, SqlState},
    types::ToSql,
};

use super::{tls::Server, watchdog::Watchdog};
use crate::store::{Causes, StoreError, sql::Value};

/// The reading and writing half of a connection. It resolves when the connection is closed.
pub(super) type IoDriver = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Why a statement has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused the statement, with this code: it was certainly not carried out.
    Refused(SqlState, StoreError),
    /// The connection is closed: the statement may have been carried out.
    Broken(StoreError),
    /// The answer did not come in time and the connection is given up: the statement may have been carried out.
    Late,
}

/// A connection.
pub(super) struct Connection {
    client: Client,
    /// `None` once the connection is known to be closed.
    driver: Option<IoDriver>,
    prepared: BTreeMap<&'static str, Statement>,
    watchdog: Arc<Watchdog>,
    number: u32,
    /// When it was last seen to be alive.
    pub(super) seen_at: Instant,
}

impl Connection {
    /// Connects, and runs the setup statements. The watchdog limits the wait for replies.
    pub(super) async fn connect(
        server: &Server,
        setup: &str,
        watchdog: Arc<Watchdog>,
        number: u32,
    ) -> Result<Self, Error> {
        let (client, driver) = server.connect().await?;
        let mut connection = Self {
            client,
            driver: Some(driver),
            prepared: BTreeMap::new(),
            watchdog,
            number,
            seen_at: Instant::now(),
        };
        let Self { client, driver, .. } = &mut connection;
        driven(driver, client.batch_execute(setup)).await?;
        Ok(connection)
    }

    /// False if the server is known to have closed the connection.
    pub(super) fn is_open(&mut self) -> bool {
        self.turn();
        self.driver.is_some()
    }

    /// Reads and writes what can be read and written without waiting.
    fn turn(&mut self) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            self.driver = None;
        }
    }

    /// Number of the connection in its pool.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Asks the server whether it is there.
    pub(super) async fn answers(&mut self) -> bool {
        self.run("").await.is_ok()
    }

    /// Carries out statements without parameters.
    pub(super) async fn run(&mut self, statements: &str) -> Result<(), Failure> {
        let Self { client, driver, watchdog, .. } = self;
        let done = in_time(watchdog, driver, client.batch_execute(statements)).await;
        self.noted(done)
    }

    /// Sends statements without awaiting the reply. The next statement on this connection runs after them.
    pub(super) fn post(&mut self, statements: &str) {
        let mut nobody = Context::from_waker(Waker::noop());
        let posted = pin!(self.client.batch_execute(statements)).poll(&mut nobody);
        match posted {
            Poll::Ready(Err(_)) => self.driver = None,
            Poll::Ready(Ok(())) | Poll::Pending => self.turn(),
        }
    }

    /// Carries out a statement, and returns its rows.
    pub(super) async fn query(
        &mut self,
        begin: Option<&str>,
        statement: &Statement,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Failure> {
        let parameters = bound(parameters);
        let Self { client, driver, watchdog, .. } = self;
        let rows = async { client.query(statement, &parameters).await };
        let done = in_time(watchdog, driver, after(client, begin, rows)).await;
        self.noted(done)
    }

    /// Carries out a statement, and returns how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        begin: Option<&str>,
        statement: &Statement,
        parameters: &[Value],
    ) -> Result<u64, Failure> {
        let parameters = bound(parameters);
        let Self { client, driver, watchdog, .. } = self;
        let changed = async { client.execute(statement, &parameters).await };
        let done = in_time(watchdog, driver, after(client, begin, changed)).await;
        self.noted(done)
    }

    /// The statement as prepared on this connection. Preparing changes nothing, and needs no transaction.
    pub(super) async fn prepare(&mut self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let Self { client, driver, watchdog, .. } = self;
        let done = in_time(watchdog, driver, client.prepare(sql)).await;
        let statement = self.noted(done)?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }

    fn noted<T>(&mut self, done: Result<T, Option<Error>>) -> Result<T, Failure> {
        let failure = match done {
            Ok(value) => return Ok(value),
            Err(None) => Failure::Late,
            Err(Some(error)) => {
                report("a statement failed", &error);
                // A fatal error ends the session; it does not say whether before or after the statement was done.
                let fatal = |refusal: &DbError| {
                    matches!(refusal.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
                };
                match error
                    .as_db_error()
                    .filter(|refusal| !fatal(refusal))
                    .map(|refusal| refusal.code().clone())
                {
                    Some(code) => Failure::Refused(code, StoreError::not_applied(error)),
                    None => Failure::Broken(StoreError::unknown(error)),
                }
            }
        };
        if matches!(failure, Failure::Broken(_) | Failure::Late) {
            self.driver = None;
        }
        Err(failure)
    }
}

/// Logs an error of the driver or the server. Of a server's error only code and message: its detail may name values.
pub(super) fn report(what: &str, error: &Error) {
    match error.as_db_error() {
        Some(refusal) => tracing::warn!(code = refusal.code().code(), "{what}: {}", refusal.message()),
        None => tracing::warn!("{what}: {}", Causes(error)),
    }
}

/// The parameters as the client wants them.
fn bound(parameters: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Sends `begin`, if there is one, and the statement right behind it, without waiting in between.
async fn after<T>(
    client: &Client,
    begin: Option<&str>,
    statement: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Some(begin) = begin else { return statement.await };
    let mut begin = pin!(client.batch_execute(begin));
    let mut statement = pin!(statement);
    let mut begun = None;
    poll_fn(|context| {
        if begun.is_none() {
            match begin.as_mut().poll(context) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => begun = Some(()),
                Poll::Pending => {}
            }
        }
        // The statement's reply follows that of `begin`.
        statement.as_mut().poll(context)
    })
    .await
}

/// As [`driven`], but no error means that it took too long.
async fn in_time<T>(
    watchdog: &Watchdog,
    driver: &mut Option<IoDriver>,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Option<Error>> {
    match watchdog.in_time(driven(driver, asked)).await {
        Some(done) => done.map_err(Some),
        None => Err(None),
    }
}

/// Lets the connection read and write for as long as this answer is waited for.
pub(super) async fn driven<T>(driver: &mut Option<IoDriver>, asked: impl Future<Output = T>) -> T {
    let mut asked = pin!(asked);
    poll_fn(|context| {
        if let Poll::Ready(answer) = asked.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
            // Pending replies resolve with an error.
            *driver = None;
        }
        asked.as_mut().poll(context)
    })
    .await
}
