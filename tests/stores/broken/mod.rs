//! Stores that are broken on purpose, in databases: the contract and the edge replay have to find each.

use std::sync::Arc;

use countersign::store::{
    StoreError,
    sql::{Cas, Consume, Dialect, Done, Engine, Mode, Row, Session, SqlError, SqlStore, Value, Work},
};
use countersign_models::fixtures::CountingIds;

use crate::{
    backend::Maker,
    database::{Database, InDatabase},
};

/// What is wrong with a store.
#[derive(Clone, Copy)]
pub(crate) enum Mistake {
    /// Its UPDATE forgets the status in the WHERE clause.
    ForgetsTheStatus,
    /// How many rows its UPDATE has changed is not looked at: it is always taken for a success.
    IgnoresTheCount,
}

impl Mistake {
    pub(crate) const ALL: [Self; 2] = [Self::ForgetsTheStatus, Self::IgnoresTheCount];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ForgetsTheStatus => "forgets_the_status",
            Self::IgnoresTheCount => "ignores_the_count",
        }
    }
}

/// Makes what another one makes, with a mistake in the conditional update.
#[derive(Clone)]
pub(crate) struct Broken<M> {
    pub(crate) maker: M,
    pub(crate) mistake: Mistake,
}

impl<E: Engine, D: Database, M: Maker<Backend = InDatabase<E, D>>> Maker for Broken<M> {
    type Backend = InDatabase<Through<E>, D>;

    fn names(&self) -> (&'static str, &'static str) {
        (self.maker.names().0, self.mistake.name())
    }

    async fn make(&self) -> Self::Backend {
        let InDatabase { store, database } = self.maker.make().await;
        let right = store.consume().statement("consume").expect("the conditional update has one");
        let (consume, ignores) = match self.mistake {
            Mistake::ForgetsTheStatus => {
                let file = include_str!("forgets_the_status.sql");
                (Consume::new(Cas::ConditionalUpdate, file).expect("it has all statements"), None)
            }
            Mistake::IgnoresTheCount => (store.consume().clone(), Some(right)),
        };
        let ids = Arc::new(CountingIds::default());
        InDatabase { store: SqlStore::new(Through { store, ignores }, ids, consume), database }
    }
}

/// Another store's engine, with somebody in between.
pub(crate) struct Through<E> {
    store: SqlStore<E>,
    /// The statement whose success is taken for granted.
    ignores: Option<&'static str>,
}

impl<E: Engine> Engine for Through<E> {
    async fn perform<W: Work>(&self, work: W) -> Result<W::Output, StoreError> {
        self.store.engine().perform(Meddled { work, ignores: self.ignores }).await
    }
}

struct Meddled<W> {
    work: W,
    ignores: Option<&'static str>,
}

impl<W: Work> Work for Meddled<W> {
    type Output = W::Output;

    fn mode(&self) -> Mode {
        self.work.mode()
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<W::Output>, SqlError> {
        self.work.run(&mut Meddling { session, ignores: self.ignores }).await
    }
}

struct Meddling<'a, S> {
    session: &'a mut S,
    ignores: Option<&'static str>,
}

impl<S: Session> Session for Meddling<'_, S> {
    const DIALECT: Dialect = S::DIALECT;

    async fn query(&mut self, sql: &'static str, parameters: &[Value]) -> Result<Vec<Row>, SqlError> {
        let rows = self.session.query(sql, parameters).await?;
        if rows.is_empty() && self.ignores == Some(sql) {
            return self.session.query("SELECT countersign_now()", &[]).await;
        }
        Ok(rows)
    }

    async fn execute(&mut self, sql: &'static str, parameters: &[Value]) -> Result<u64, SqlError> {
        self.session.execute(sql, parameters).await
    }
}
