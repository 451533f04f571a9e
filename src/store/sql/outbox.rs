//! The outbox: launch jobs, their leases with fencing numbers, and what a deploy's end settles.

use uuid::Uuid;

use super::{
    Dialect, Done, Mode, Session, SqlError, Transaction,
    approvals::{Which, find},
    preflight::{Needs, load, lock_team},
    rows::{Columns, values},
};
use crate::store::{ApprovalRecord, Lease, StackStatus, TenantState};

/// A statement that skips rows that a concurrent transaction has locked, where the database has concurrent writers.
macro_rules! passing_over_locked {
    ($begin:literal, $end:literal) => {
        [concat!($begin, $end), concat!($begin, " FOR UPDATE SKIP LOCKED", $end)]
    };
}
pub(super) use passing_over_locked;

/// The turn of a new row of `$table` for the team in parameter `$team`, as a subquery: it follows the team's last one, and
/// is not before that of what was served last.
macro_rules! next_turn {
    ($table:literal, $team:literal) => {
        concat!(
            "(SELECT COALESCE(max(t.turn), 0) FROM (SELECT max(turn) AS turn FROM ",
            $table,
            " WHERE fence > 0 UNION ALL SELECT 1 + max(turn) FROM ",
            $table,
            " WHERE team = ",
            $team,
            ") AS t)"
        )
    };
}
pub(super) use next_turn;

/// The one of the two that this database understands.
pub(super) fn in_dialect<S: Session>([sqlite, postgres]: [&'static str; 2]) -> &'static str {
    match S::DIALECT {
        Dialect::Sqlite => sqlite,
        Dialect::Postgres => postgres,
    }
}

/// A time span in milliseconds, capped so that adding it to the clock does not overflow the database's integers.
pub(super) fn span(ms: u64) -> u64 {
    const LONGEST_MS: u64 = 1 << 60;
    ms.min(LONGEST_MS)
}

/// Leases the job whose turn it is, of those that are not leased and whose target has no older job: the teams with jobs are
/// served in turns, each team's in the order of use.
///
/// The jobs of one target are numbered in the order of use: the transaction that adds a job writes the target first,
/// and so locks out other transactions until it has ended.
pub(super) struct LeaseJob {
    pub(super) lease_ms: u64,
}

impl Transaction for LeaseJob {
    type Output = Option<Lease>;

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const LEASE: [&str; 2] = passing_over_locked!(
            "UPDATE jobs AS j SET state = 'leased', leased_until = countersign_now() + $1, leased_for = $1, \
             fence = 1 + COALESCE((SELECT max(f.fence) FROM jobs AS f WHERE f.target = j.target), j.fence) \
             WHERE j.seq = (SELECT w.seq FROM jobs AS w \
             WHERE w.state <> 'done' AND (w.state = 'ready' OR w.leased_until <= countersign_now()) \
             AND NOT EXISTS (SELECT 1 FROM jobs AS e \
             WHERE e.target = w.target AND e.seq < w.seq AND e.state <> 'done') \
             ORDER BY w.turn, w.seq LIMIT 1",
            ") RETURNING approval, digest, target, fence"
        );
        let leased = session.query(in_dialect::<S>(LEASE), &values![span(self.lease_ms)]).await?;
        let lease = |row| {
            let mut columns = Columns::of(row);
            Ok(Lease {
                approval: columns.take()?,
                digest: columns.take()?,
                target: columns.take()?,
                fence: columns.take()?,
            })
        };
        leased.into_iter().next().map(lease).transpose().map(Done::Commit)
    }
}

/// Cuts leases that end later than their whole length from now, as after the clock was set back. A live worker renews its
/// own in time; the job of a dead one is ready after the length of a lease.
pub(super) struct CutLeases;

impl Transaction for CutLeases {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        // `state <> 'done'` is for the index.
        const CUT: &str = "UPDATE jobs SET leased_until = countersign_now() + leased_for \
                           WHERE state <> 'done' AND state = 'leased' \
                           AND leased_until > countersign_now() + leased_for";
        session.execute(CUT, &[]).await.map(|_| Done::Commit(()))
    }
}

/// Extends a lease that is still the latest.
pub(super) struct RenewLease {
    pub(super) lease: Lease,
    pub(super) lease_ms: u64,
}

impl Transaction for RenewLease {
    type Output = bool;

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<bool>, SqlError> {
        const RENEW: &str = "UPDATE jobs SET leased_until = countersign_now() + $1, leased_for = $1 \
                             WHERE approval = $2 AND fence = $3 AND state = 'leased'";
        let Lease { approval, fence, .. } = self.lease;
        let renewed = session.execute(RENEW, &values![span(self.lease_ms), approval, fence]).await?;
        Ok(Done::Commit(renewed == 1))
    }
}

/// A deploy has ended: its job is done, and its target no longer building.
pub(super) struct FinishJob {
    pub(super) lease: Lease,
    pub(super) ended: StackStatus,
}

impl Transaction for FinishJob {
    type Output = bool;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<bool>, SqlError> {
        const FINISH: &str =
            "UPDATE jobs SET state = 'done' WHERE approval = $1 AND fence = $2 AND state = 'leased'";
        const ANOTHER: &str = "SELECT 1 FROM jobs WHERE target = $1 AND state <> 'done' LIMIT 1";
        let Lease { approval, target, fence, .. } = self.lease;
        let Some(record) = find(session, &Which::OfAnybody(approval)).await? else {
            return Ok(Done::Rollback(false));
        };
        // The team before the job, as everywhere: the opposite order may deadlock.
        lock_team(session, record.approval.team, self.mode()).await?;
        if session.execute(FINISH, &values![approval, fence]).await? == 0 {
            return Ok(Done::Rollback(false));
        }
        // Otherwise the target is what a later use has made of it, and that one's deploy is still to come.
        if session.query(ANOTHER, &values![target]).await?.is_empty() {
            settle(session, &record, target, self.ended).await?;
        }
        Ok(Done::Commit(true))
    }
}

/// A deploy that no job was written for has ended.
pub(super) struct Settle {
    pub(super) approval: Uuid,
    pub(super) target: Option<Uuid>,
    pub(super) ended: StackStatus,
}

impl Transaction for Settle {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        if let Some(record) = find(session, &Which::OfAnybody(self.approval)).await? {
            lock_team(session, record.approval.team, self.mode()).await?;
            settle(session, &record, self.target, self.ended).await?;
        }
        Ok(Done::Commit(()))
    }
}

/// The target, or else the first one of what was asked for, is no longer building.
async fn settle<S: Session>(
    session: &mut S,
    record: &ApprovalRecord,
    target: Option<Uuid>,
    ended: StackStatus,
) -> Result<(), SqlError> {
    const STACK: &str = "UPDATE stacks SET status = $1 WHERE id = $2";
    const TWIN: &str = "UPDATE resources SET status = $1 WHERE id = $2";
    let asked = TenantState::asked(record);
    let needs = Needs { also: target, ..Needs::default() };
    let Some(mut tenant_state) = load(session, &asked, needs).await? else { return Ok(()) };
    if let Some(settled) = tenant_state.settle(&asked, target, ended) {
        let sql = if asked.is_twin() { TWIN } else { STACK };
        session.execute(sql, &values![ended, settled]).await?;
    }
    Ok(())
}
