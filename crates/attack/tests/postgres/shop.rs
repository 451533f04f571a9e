//! A shop on PostgreSQL: cards, a ledger, and redeems in several orders, on a pool that sends parameters.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign_attack::{
    proxy::Proxy,
    schedule::{CrashRun, CrashableRequests, Requests, Schedule},
};
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Error, NoTls, error::SqlState};

pub(crate) const TABLES: &str = "
    CREATE TABLE cards (code text PRIMARY KEY, amount integer NOT NULL, state text NOT NULL, expires_at timestamptz NOT NULL);
    CREATE TABLE ledger (id bigserial PRIMARY KEY, code text NOT NULL, amount integer NOT NULL);
    CREATE TABLE payouts (code text PRIMARY KEY, amount integer NOT NULL);
    CREATE TABLE events (id bigserial PRIMARY KEY, code text NOT NULL, kind text NOT NULL)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Reads the card, then marks it without comparing.
    ReadThenWrite,
    /// Marks it if it is active.
    ConditionalUpdate,
    /// Locks it when it reads it.
    ForUpdate,
    /// Reads the card, then marks it, in a serializable transaction that is repeated when it fails.
    Serializable,
    /// A unique row.
    UniqueRow,
    /// Marks it, then writes the ledger, without a transaction.
    WithoutTransaction,
}

/// The service: a pool behind the proxy.
#[derive(Clone)]
pub(crate) struct Service {
    order: Order,
    pool: Arc<Mutex<Vec<Client>>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Service {
    pub(crate) async fn start(order: Order, url: &str) -> Self {
        let service = Self { order, pool: Arc::default(), connections: Arc::default() };
        service.connect(url).await;
        service
    }

    async fn connect(&self, url: &str) {
        for _ in 0..3 {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            let task = tokio::spawn(async move {
                connection.await.ok();
            });
            self.connections.lock().unwrap().push(task.abort_handle());
            self.pool.lock().unwrap().push(client);
        }
    }

    /// As `kill -9` does: nothing is said to the database.
    fn kill(&self) {
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
        self.pool.lock().unwrap().clear();
    }

    pub(crate) async fn redeem(self, code: String) -> Result<u16, Error> {
        let client = {
            let mut pool = self.pool.lock().unwrap();
            // A connection that has ended is of no use.
            pool.retain(|client| !client.is_closed());
            pool.remove(0)
        };
        let status = match self.order {
            Order::WithoutTransaction => self.redeem_on(&client, &code).await,
            _ => {
                let isolation =
                    if self.order == Order::Serializable { " ISOLATION LEVEL SERIALIZABLE" } else { "" };
                loop {
                    client.batch_execute(&format!("BEGIN{isolation}")).await?;
                    let status = match self.redeem_on(&client, &code).await {
                        Ok(200) => client.batch_execute("COMMIT").await.map(|()| 200),
                        status => client.batch_execute("ROLLBACK").await.and(status),
                    };
                    if !matches!(&status, Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE))
                    {
                        break status;
                    }
                }
            }
        };
        self.pool.lock().unwrap().push(client);
        match status {
            // A unique violation.
            Err(error) if error.code().is_some_and(|code| code.code() == "23505") => Ok(409),
            status => status,
        }
    }

    async fn redeem_on(&self, client: &Client, code: &String) -> Result<u16, Error> {
        let changed = match self.order {
            Order::ReadThenWrite | Order::ForUpdate | Order::Serializable => {
                let lock = if self.order == Order::ForUpdate { " FOR UPDATE" } else { "" };
                let read =
                    format!("SELECT amount, state FROM cards WHERE code = $1 AND expires_at > now(){lock}");
                let card = client.query_one(&read, &[code]).await?;
                if card.get::<_, &str>(1) != "active" {
                    return Ok(409);
                }
                client.execute("UPDATE cards SET state = 'redeemed' WHERE code = $1", &[code]).await?
            }
            Order::ConditionalUpdate | Order::WithoutTransaction => {
                let update = "UPDATE cards SET state = 'redeemed' WHERE code = $1 AND state = 'active' AND expires_at > now()";
                client.execute(update, &[code]).await?
            }
            Order::UniqueRow => {
                client.query_one("SELECT amount FROM cards WHERE code = $1", &[code]).await?;
                client.execute("INSERT INTO payouts (code, amount) VALUES ($1, $2)", &[code, &10i32]).await?
            }
        };
        if changed == 0 {
            return Ok(409);
        }
        client.execute("INSERT INTO ledger (code, amount) VALUES ($1, $2)", &[code, &10i32]).await?;
        client.execute("INSERT INTO events (code, kind) VALUES ($1, 'redeemed')", &[code]).await?;
        Ok(200)
    }
}

/// Redeems of one card, which is made anew for each schedule.
pub(crate) struct Redeems {
    /// Not through the proxy.
    pub(crate) direct: Client,
    pub(crate) service: Service,
    pub(crate) url: String,
    pub(crate) code: String,
    number: u32,
    pub(crate) doubles: Vec<(usize, usize, u64)>,
    pub(crate) shortest: Vec<String>,
    pub(crate) crashes: Vec<String>,
    pub(crate) is_dead: bool,
}

impl Redeems {
    pub(crate) async fn new(order: Order, proxy: &Proxy, direct: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(direct, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
            .batch_execute(&format!("DROP TABLE IF EXISTS cards, ledger, payouts, events; {TABLES}"))
            .await
            .unwrap();
        Self {
            direct: client,
            service: Service::start(order, &proxy.url()).await,
            url: proxy.url(),
            code: String::new(),
            number: 0,
            doubles: Vec::new(),
            shortest: Vec::new(),
            crashes: Vec::new(),
            is_dead: false,
        }
    }

    /// Payouts, and whether the card counts as used.
    async fn effects(&self) -> Result<(i64, bool), Error> {
        let row = self
            .direct
            .query_one(
                "SELECT (SELECT count(*) FROM ledger WHERE code = $1), state = 'redeemed' FROM cards WHERE code = $1",
                &[&self.code],
            )
            .await?;
        Ok((row.get(0), row.get(1)))
    }

    pub(crate) fn captures(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("code".to_owned(), self.code.clone())])
    }
}

impl Requests for Redeems {
    type Response = Option<u16>;
    type Error = Error;

    fn count(&self) -> usize {
        2
    }

    async fn reset(&mut self) -> Result<(), Error> {
        self.number += 1;
        self.code = format!("GIFT-{}", self.number);
        let insert = "INSERT INTO cards VALUES ($1, 10, 'active', now() + interval '1 hour')";
        self.direct.execute(insert, &[&self.code]).await.map(|_| ())
    }

    fn start(&mut self, _request: usize) -> impl Future<Output = Option<u16>> + Send + 'static {
        let redeem = self.service.clone().redeem(self.code.clone());
        async {
            // A service that was killed does not answer.
            tokio::time::timeout(Duration::from_secs(5), redeem).await.ok()?.ok()
        }
    }

    async fn judge(&mut self, schedule: &Schedule<Option<u16>>) -> Result<ControlFlow<()>, Error> {
        let (payouts, _) = self.effects().await?;
        let successes = schedule.responses.iter().filter(|response| **response == Some(200)).count();
        assert_eq!(i64::try_from(successes).ok(), Some(payouts), "{schedule:?}");
        if payouts > 1 {
            if self.doubles.iter().all(|rank| schedule.rank() < *rank) {
                let lines = schedule.steps.iter().map(|step| {
                    let answer = step.answer.as_ref().map(ToString::to_string).unwrap_or_default();
                    format!("{}: {} → {answer}", step.request + 1, step.statements[0])
                });
                self.shortest = lines.collect();
            }
            self.doubles.push(schedule.rank());
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl CrashableRequests for Redeems {
    async fn kill(&mut self) -> Result<(), Error> {
        self.service.kill();
        self.is_dead = true;
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.is_dead) {
            self.service.connect(&self.url).await;
        } else {
            let missing = self.service.pool.lock().unwrap().len() < 2;
            if missing {
                self.service.connect(&self.url).await;
            }
        }
        Ok(())
    }

    async fn judge_crash(&mut self, run: &CrashRun<Option<u16>>) -> Result<ControlFlow<()>, Error> {
        let (payouts, is_used) = self.effects().await?;
        if is_used != (payouts == 1) {
            let last = run.steps.last().map(|step| step.statements[0].sql.clone()).unwrap_or_default();
            self.crashes.push(format!("{:?} {:?} {}", run.point.fault, run.point.moment, last));
        }
        Ok(ControlFlow::Continue(()))
    }
}
