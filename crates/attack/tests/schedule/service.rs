//! Small services on a pool of connections, and the requests that are sent to them.

use std::{
    convert::Infallible,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign_attack::{
    proxy::Proxy,
    schedule::{Requests, Schedule},
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::fake::Fake;

/// Statements of a request. Each carries the number of its request in a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Insertions into one table, or into a table for each request.
    Blind { statements: usize, shared: bool },
    /// Reads, then writes what it decided; each statement commits by itself and uses the next connection of the pool.
    ReadThenWriteAutocommit,
    /// In one transaction.
    ReadThenWrite,
    /// A conditional update in one transaction.
    ConditionalUpdate,
    /// A read that locks, in one transaction.
    ForUpdate,
    /// As `ReadThenWrite`, under a lock inside the service.
    MutexInService,
    /// As `MutexInService`; without the lock for the first objects.
    MutexLater,
    /// As `ConditionalUpdate`; the ledger is written after the response.
    LateInsert,
    /// As `ConditionalUpdate`; for every second object a worker's statement comes first, which no quiet phase has shown.
    AfterWorker,
    /// One insertion, after a pause in which no task of the whole process gets on.
    Starved,
}

/// The objects of the runs before the search, and of its first one.
const EARLY: [&str; 3] = ["x1", "x2", "x3"];
/// Longer than the patience with a service.
const STARVED: Duration = Duration::from_millis(150);

#[derive(Clone)]
pub(crate) struct Service {
    order: Order,
    pool: Arc<Mutex<Vec<Arc<Client>>>>,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Service {
    pub(crate) async fn start(order: Order, proxy: &Proxy, connections: usize) -> Self {
        let mut pool = Vec::new();
        for _ in 0..connections {
            let (client, connection) = tokio_postgres::connect(&proxy.url(), NoTls).await.unwrap();
            tokio::spawn(connection);
            pool.push(Arc::new(client));
        }
        Self { order, pool: Arc::new(Mutex::new(pool)), lock: Arc::default() }
    }

    fn take(&self) -> Arc<Client> {
        self.pool.lock().unwrap().remove(0)
    }

    fn release(&self, client: Arc<Client>) {
        self.pool.lock().unwrap().push(client);
    }

    /// On the next connection, as a pool does that hands one out for each statement.
    async fn autocommit(
        &self,
        tag: usize,
        code: &str,
        sql: &str,
    ) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
        let client = self.take();
        let rows = client.simple_query(&with_code(tag, code, sql)).await;
        self.release(client);
        rows
    }

    pub(crate) async fn redeem(self, tag: usize, code: String) -> Result<u16, tokio_postgres::Error> {
        match self.order {
            Order::Blind { statements, shared } => {
                for _ in 0..statements {
                    let table = if shared { "ledger".to_owned() } else { format!("log_{tag}") };
                    self.autocommit(tag, &code, &format!("INSERT INTO {table} (code) VALUES ('CODE')"))
                        .await?;
                }
                Ok(200)
            }
            Order::ReadThenWriteAutocommit => {
                let rows = self.autocommit(tag, &code, "SELECT state FROM cards WHERE code = 'CODE'").await?;
                if first_value(&rows) != Some("active") {
                    return Ok(409);
                }
                self.autocommit(tag, &code, "UPDATE cards SET state = 'redeemed' WHERE code = 'CODE'")
                    .await?;
                self.autocommit(tag, &code, "INSERT INTO ledger (code) VALUES ('CODE')").await?;
                Ok(200)
            }
            Order::Starved => {
                std::thread::sleep(STARVED);
                self.autocommit(tag, &code, "INSERT INTO ledger (code) VALUES ('CODE')").await?;
                Ok(200)
            }
            Order::MutexInService | Order::MutexLater => {
                let lock = Arc::clone(&self.lock);
                let is_early = self.order == Order::MutexLater && EARLY.contains(&code.as_str());
                let guard = if is_early { None } else { Some(lock.lock().await) };
                let client = self.take();
                let status = read_then_write(&client, tag, &code, "").await;
                self.release(client);
                drop(guard);
                status
            }
            Order::ReadThenWrite
            | Order::ForUpdate
            | Order::ConditionalUpdate
            | Order::LateInsert
            | Order::AfterWorker => {
                let client = self.take();
                let is_second = code.ends_with(['0', '2', '4', '6', '8']);
                if self.order == Order::AfterWorker && tag == 0 && is_second {
                    let beat = with_code(tag, &code, "INSERT INTO heartbeat (code) VALUES ('CODE')");
                    client.simple_query(&beat).await?;
                }
                let status = match self.order {
                    Order::ReadThenWrite => read_then_write(&client, tag, &code, "").await,
                    Order::ForUpdate => read_then_write(&client, tag, &code, " FOR UPDATE").await,
                    _ => conditional_update(&client, tag, &code, self.order != Order::LateInsert).await,
                };
                if self.order == Order::LateInsert && matches!(status, Ok(200)) {
                    tokio::spawn(async move {
                        let insert = with_code(tag, &code, "INSERT INTO ledger (code) VALUES ('CODE')");
                        client.simple_query(&insert).await.unwrap();
                        self.release(client);
                    });
                } else {
                    self.release(client);
                }
                status
            }
        }
    }
}

async fn read_then_write(
    client: &Client,
    tag: usize,
    code: &str,
    lock: &str,
) -> Result<u16, tokio_postgres::Error> {
    let run = async |sql: &str| client.simple_query(&with_code(tag, code, sql)).await;
    run("BEGIN").await?;
    let rows = run(&format!("SELECT state FROM cards WHERE code = 'CODE'{lock}")).await?;
    if first_value(&rows) != Some("active") {
        run("ROLLBACK").await?;
        return Ok(409);
    }
    run("UPDATE cards SET state = 'redeemed' WHERE code = 'CODE'").await?;
    run("INSERT INTO ledger (code) VALUES ('CODE')").await?;
    run("COMMIT").await?;
    Ok(200)
}

async fn conditional_update(
    client: &Client,
    tag: usize,
    code: &str,
    inserts: bool,
) -> Result<u16, tokio_postgres::Error> {
    let run = async |sql: &str| client.simple_query(&with_code(tag, code, sql)).await;
    run("BEGIN").await?;
    let changed = run("UPDATE cards SET state = 'redeemed' WHERE code = 'CODE' AND state = 'active'").await?;
    if !changed.iter().any(|message| matches!(message, SimpleQueryMessage::CommandComplete(1))) {
        run("ROLLBACK").await?;
        return Ok(409);
    }
    if inserts {
        run("INSERT INTO ledger (code) VALUES ('CODE')").await?;
    }
    run("COMMIT").await?;
    Ok(200)
}

fn with_code(tag: usize, code: &str, sql: &str) -> String {
    format!("/* {tag} */ {}", sql.replace("CODE", code))
}

fn first_value(rows: &[SimpleQueryMessage]) -> Option<&str> {
    rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

/// A worker of the service that writes without a request.
pub(crate) async fn beat(url: String) {
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    loop {
        for sql in ["BEGIN", "INSERT INTO heartbeat (code) VALUES ('b')", "COMMIT"] {
            client.simple_query(sql).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Redeems that race for one card of the fake, and what became of each schedule.
pub(crate) struct Redeems {
    pub(crate) fake: Fake,
    pub(crate) service: Service,
    pub(crate) count: usize,
    pub(crate) number: u32,
    pub(crate) schedules: Vec<Judged>,
}

/// A schedule as it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The requests, in the order in which their statements were released.
    pub(crate) order: Vec<usize>,
    pub(crate) payouts: usize,
    pub(crate) rank: (usize, usize, u64),
    /// Statements that were attributed to another request than their own.
    pub(crate) misattributed: usize,
    /// The most statements that the database worked on at a time.
    pub(crate) most_working: usize,
}

impl Requests for Redeems {
    type Response = u16;
    type Error = Infallible;

    fn count(&self) -> usize {
        self.count
    }

    async fn reset(&mut self) -> Result<(), Infallible> {
        // Another card for each schedule, as with a real service.
        self.number += 1;
        self.fake.reset(&format!("x{}", self.number));
        Ok(())
    }

    fn start(&mut self, request: usize) -> impl Future<Output = u16> + Send + 'static {
        let answer = self.service.clone().redeem(request, format!("x{}", self.number));
        async { answer.await.unwrap_or(500) }
    }

    async fn judge(&mut self, schedule: &Schedule<u16>) -> Result<ControlFlow<()>, Infallible> {
        let is_foreign = |request: usize, sql: &str| !sql.starts_with(&format!("/* {request} */"));
        self.schedules.push(Judged {
            order: schedule.steps.iter().map(|step| step.request).collect(),
            payouts: self.fake.payouts(),
            most_working: self.fake.most_working(),
            rank: schedule.rank(),
            misattributed: schedule
                .steps
                .iter()
                .flat_map(|step| step.statements.iter().map(|statement| (step.request, &statement.sql)))
                .filter(|(request, sql)| is_foreign(*request, sql))
                .count(),
        });
        Ok(ControlFlow::Continue(()))
    }
}
