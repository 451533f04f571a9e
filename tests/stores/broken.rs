//! Stores that are broken on purpose, in databases: the contract and the edge replay have to find each.

use std::sync::Arc;

use countersign::store::{
    StoreError,
    sql::{Cas, Consume, Dialect, Done, Engine, Mode, Row, Session, SqlError, SqlStore, Transaction, Value},
};
use countersign_models::fixtures::CountingIds;

/// The defect of a store.
#[derive(Clone, Copy)]
pub(crate) enum Mistake {
    /// Its UPDATE forgets the status in the WHERE clause.
    ForgetsTheStatus,
    /// Its UPDATE forgets the lease's number in the WHERE clause.
    ForgetsTheFence,
    /// The row count of the UPDATE is ignored: always a success.
    IgnoresTheCount,
    /// Jobs are leased regardless of other deploys for their targets.
    OverlapsDeploys,
}

impl Mistake {
    pub(crate) const ALL: [Self; 4] =
        [Self::ForgetsTheStatus, Self::ForgetsTheFence, Self::IgnoresTheCount, Self::OverlapsDeploys];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ForgetsTheStatus => "forgets_the_status",
            Self::ForgetsTheFence => "forgets_the_fence",
            Self::IgnoresTheCount => "ignores_the_count",
            Self::OverlapsDeploys => "overlaps_deploys",
        }
    }

    /// The built-in flow whose edges show it. None of those that take a lease consumes alone.
    pub(crate) fn shows_in(self) -> Option<&'static str> {
        match self {
            Self::ForgetsTheStatus | Self::IgnoresTheCount => Some("consume-last"),
            // The edges have one approval.
            Self::ForgetsTheFence | Self::OverlapsDeploys => None,
        }
    }

    /// The claims that do not hold because of it, among others. A group of changes is judged once more before its
    /// consume: those claims that are about groups need not notice.
    pub(crate) fn makes_false(self) -> &'static [&'static str] {
        match self {
            Self::ForgetsTheStatus => &[
                "a_lost_consume_changes_nothing",
                "case_4_a_stale_snapshot_of_an_executed_approval_is_409",
                "of_eight_bare_consumes_one_is_applied",
            ],
            Self::ForgetsTheFence => &["who_was_overtaken_cannot_consume"],
            Self::OverlapsDeploys => &["deploys_of_a_target_do_not_overlap"],
            Self::IgnoresTheCount => &[
                "a_consume_is_refused_in_the_order_of_the_rules",
                "a_guard_that_is_left_out_is_not_looked_at",
                "case_4_a_stale_snapshot_of_an_executed_approval_is_409",
                "of_eight_bare_consumes_one_is_applied",
            ],
        }
    }

    /// The same store, with this mistake in its conditional update.
    pub(crate) fn put_into<E: Engine>(self, store: SqlStore<E>) -> SqlStore<Through<E>> {
        let right = store.consume().statement("consume").expect("the conditional update has one");
        let of = |file| Consume::new(Cas::ConditionalUpdate, file).expect("it has all statements");
        let (consume, ignores) = match self {
            Self::ForgetsTheStatus => (of(include_str!("broken/forgets_the_status.sql")), None),
            Self::ForgetsTheFence => (of(include_str!("broken/forgets_the_fence.sql")), None),
            Self::IgnoresTheCount => (store.consume().clone(), Some(right)),
            Self::OverlapsDeploys => (store.consume().clone(), None),
        };
        let overlaps = matches!(self, Self::OverlapsDeploys);
        SqlStore::new(Through { store, ignores, overlaps }, Arc::new(CountingIds::default()), consume)
    }
}

/// Another store's engine, with defects inserted.
pub(crate) struct Through<E> {
    store: SqlStore<E>,
    /// The statement whose success is taken for granted.
    ignores: Option<&'static str>,
    /// Jobs are leased without a check of their targets.
    overlaps: bool,
}

impl<E: Engine> Engine for Through<E> {
    async fn perform<W: Transaction>(&self, work: W) -> Result<W::Output, StoreError> {
        self.store.engine().perform(Meddled { work, ignores: self.ignores, overlaps: self.overlaps }).await
    }
}

struct Meddled<W> {
    work: W,
    ignores: Option<&'static str>,
    /// Jobs are leased without a check of their targets.
    overlaps: bool,
}

impl<W: Transaction> Transaction for Meddled<W> {
    type Output = W::Output;

    fn mode(&self) -> Mode {
        self.work.mode()
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<W::Output>, SqlError> {
        self.work.run(&mut Meddling { session, ignores: self.ignores, overlaps: self.overlaps }).await
    }
}

struct Meddling<'a, S> {
    session: &'a mut S,
    ignores: Option<&'static str>,
    /// Jobs are leased without a check of their targets.
    overlaps: bool,
}

impl<S: Session> Session for Meddling<'_, S> {
    const DIALECT: Dialect = S::DIALECT;

    async fn query(&mut self, sql: &'static str, parameters: &[Value]) -> Result<Vec<Row>, SqlError> {
        const LEASE: &str = "UPDATE jobs SET state = 'leased', fence = fence + 1, \
            leased_until = countersign_now() + $1 WHERE seq = (SELECT seq FROM jobs WHERE state <> 'done' \
            AND (state = 'ready' OR leased_until <= countersign_now()) ORDER BY seq LIMIT 1) \
            RETURNING approval, digest, target, fence";
        if self.overlaps && sql.starts_with("UPDATE jobs AS j SET state = 'leased'") {
            return self.session.query(LEASE, parameters).await;
        }
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
