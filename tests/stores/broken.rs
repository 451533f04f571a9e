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
    /// Jobs are leased in the order in which they were written, whichever team's they are.
    StarvesTeams,
    /// Leases go by their ends alone, also after the clock was set back.
    BelievesTheClock,
}

impl Mistake {
    pub(crate) const ALL: [Self; 6] = [
        Self::ForgetsTheStatus,
        Self::ForgetsTheFence,
        Self::IgnoresTheCount,
        Self::OverlapsDeploys,
        Self::StarvesTeams,
        Self::BelievesTheClock,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ForgetsTheStatus => "forgets_the_status",
            Self::ForgetsTheFence => "forgets_the_fence",
            Self::IgnoresTheCount => "ignores_the_count",
            Self::OverlapsDeploys => "overlaps_deploys",
            Self::StarvesTeams => "starves_teams",
            Self::BelievesTheClock => "believes_the_clock",
        }
    }

    /// The built-in flow whose edges show it. None of those that take a lease consumes alone.
    pub(crate) fn shows_in(self) -> Option<&'static str> {
        match self {
            Self::ForgetsTheStatus | Self::IgnoresTheCount => Some("consume-last"),
            // The edges have one approval.
            Self::ForgetsTheFence | Self::OverlapsDeploys | Self::StarvesTeams | Self::BelievesTheClock => {
                None
            }
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
            Self::StarvesTeams => &["jobs_of_teams_are_leased_in_turns"],
            Self::BelievesTheClock => {
                &["after_a_clock_reset_a_dead_workers_job_is_ready_in_the_time_of_a_lease"]
            }
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
            Self::OverlapsDeploys | Self::StarvesTeams | Self::BelievesTheClock => {
                (store.consume().clone(), None)
            }
        };
        SqlStore::new(Through { store, ignores, mistake: self }, Arc::new(CountingIds::default()), consume)
    }
}

/// Another store's engine, with defects inserted.
pub(crate) struct Through<E> {
    store: SqlStore<E>,
    /// The statement whose success is taken for granted.
    ignores: Option<&'static str>,
    mistake: Mistake,
}

impl<E: Engine> Engine for Through<E> {
    async fn perform<W: Transaction>(&self, work: W) -> Result<W::Output, StoreError> {
        self.store.engine().perform(Meddled { work, ignores: self.ignores, mistake: self.mistake }).await
    }
}

struct Meddled<W> {
    work: W,
    ignores: Option<&'static str>,
    mistake: Mistake,
}

impl<W: Transaction> Transaction for Meddled<W> {
    type Output = W::Output;

    fn mode(&self) -> Mode {
        self.work.mode()
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<W::Output>, SqlError> {
        self.work.run(&mut Meddling { session, ignores: self.ignores, mistake: self.mistake }).await
    }
}

struct Meddling<'a, S> {
    session: &'a mut S,
    ignores: Option<&'static str>,
    mistake: Mistake,
}

impl<S: Session> Session for Meddling<'_, S> {
    const DIALECT: Dialect = S::DIALECT;

    async fn query(&mut self, sql: &'static str, parameters: &[Value]) -> Result<Vec<Row>, SqlError> {
        const LEASE: &str = "UPDATE jobs SET state = 'leased', fence = fence + 1, \
            leased_until = countersign_now() + $1 WHERE seq = (SELECT seq FROM jobs WHERE state <> 'done' \
            AND (state = 'ready' OR leased_until <= countersign_now()) ORDER BY seq LIMIT 1) \
            RETURNING approval, digest, target, fence";
        const IN_ORDER: &str = "UPDATE jobs SET state = 'leased', fence = fence + 1, \
            leased_until = countersign_now() + $1 WHERE seq = (SELECT w.seq FROM jobs AS w WHERE w.state <> 'done' \
            AND (w.state = 'ready' OR w.leased_until <= countersign_now()) AND NOT EXISTS (SELECT 1 FROM jobs AS e \
            WHERE e.target = w.target AND e.seq < w.seq AND e.state <> 'done') ORDER BY w.seq LIMIT 1) \
            RETURNING approval, digest, target, fence";
        if sql.starts_with("UPDATE jobs AS j SET state = 'leased'") {
            match self.mistake {
                Mistake::OverlapsDeploys => return self.session.query(LEASE, parameters).await,
                Mistake::StarvesTeams => return self.session.query(IN_ORDER, parameters).await,
                _ => {}
            }
        }
        let rows = self.session.query(sql, parameters).await?;
        if rows.is_empty() && self.ignores == Some(sql) {
            return self.session.query("SELECT countersign_now()", &[]).await;
        }
        Ok(rows)
    }

    async fn execute(&mut self, sql: &'static str, parameters: &[Value]) -> Result<u64, SqlError> {
        const CUT: &str = "UPDATE jobs SET leased_until = countersign_now() + leased_for";
        if matches!(self.mistake, Mistake::BelievesTheClock) && sql.starts_with(CUT) {
            return Ok(0);
        }
        self.session.execute(sql, parameters).await
    }
}
