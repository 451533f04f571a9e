//! The platform's own operations: notifications, idempotency keys, the output of deploys.

use uuid::Uuid;

use super::{
    Done, Mode, Session, SqlError, Transaction,
    approvals::{Which, find},
    outbox::{in_dialect, passing_over_locked, span},
    rows::{Columns, first, values},
};
use crate::{
    protocol::{Digest, Status, Timestamp},
    store::{Backlog, Claim, DeployLog, Notice, NoticeState, Owed},
};

/// Leases the notice whose turn it is, of those that are due.
pub(super) struct LeaseNotice {
    pub(super) lease_ms: u64,
}

impl Transaction for LeaseNotice {
    type Output = Option<Notice>;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const LEASE: [&str; 2] = passing_over_locked!(
            "UPDATE notices SET due_at = countersign_now() + $1, due_in = $1, fence = fence + 1, attempts = attempts + 1 \
             WHERE seq = (SELECT seq FROM notices WHERE state <> 'done' \
             AND (due_at <= countersign_now() OR due_at > countersign_now() + due_in) ORDER BY turn, seq LIMIT 1",
            ") RETURNING approval, attempts, fence, countersign_now()"
        );
        const DONE: &str = "UPDATE notices SET state = 'done' WHERE approval = $1";
        loop {
            let leased = session.query(in_dialect::<S>(LEASE), &values![span(self.lease_ms)]).await?;
            let Some(row) = leased.into_iter().next() else { return Ok(Done::Commit(None)) };
            let mut columns = Columns::of(row);
            let (approval, attempts) = (columns.take()?, columns.take::<u32>()?);
            let (fence, now) = (columns.take()?, columns.take()?);
            if let Some(record) = find(session, &Which::OfAnybody(approval)).await?
                && record.approval.status == Status::Pending
            {
                let attempts = attempts.saturating_sub(1);
                return Ok(Done::Commit(Some(Notice { record, attempts, fence, now })));
            }
            // A decided approval needs no link.
            session.execute(DONE, &values![approval]).await?;
        }
    }
}

/// A notice was sent, or has to be tried again.
pub(super) struct SettleNotice {
    pub(super) approval: Uuid,
    pub(super) fence: u64,
    pub(super) state: NoticeState,
}

impl Transaction for SettleNotice {
    type Output = bool;

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<bool>, SqlError> {
        const AGAIN: &str = "UPDATE notices SET due_at = countersign_now() + $1, due_in = $1 WHERE approval = $2 AND fence = $3 AND state <> 'done'";
        const DONE: &str =
            "UPDATE notices SET state = 'done' WHERE approval = $1 AND fence = $2 AND state <> 'done'";
        let Self { approval, fence, .. } = *self;
        let settled = match self.state {
            NoticeState::Due { after_ms } => {
                session.execute(AGAIN, &values![span(after_ms), approval, fence]).await?
            }
            NoticeState::Done => session.execute(DONE, &values![approval, fence]).await?,
        };
        Ok(Done::Commit(settled == 1))
    }
}

/// Claims an idempotency key.
pub(super) struct ClaimKey {
    pub(super) team: Uuid,
    pub(super) key: String,
    pub(super) request: Digest,
    pub(super) lease_ms: u64,
}

impl Transaction for ClaimKey {
    type Output = Claim;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Claim>, SqlError> {
        const CLAIM: &str = "INSERT INTO idempotency_keys AS k (team, key, request, claimed_until, claimed_for) \
                             VALUES ($1, $2, $3, countersign_now() + $4, $4) ON CONFLICT (team, key) \
                             DO UPDATE SET claimed_until = excluded.claimed_until, claimed_for = excluded.claimed_for \
                             WHERE k.request = excluded.request \
                             AND (k.claimed_until IS NULL OR k.claimed_until <= countersign_now() \
                             OR k.claimed_until > countersign_now() + k.claimed_for) \
                             RETURNING claimed_until";
        const HOLDER: &str = "SELECT request FROM idempotency_keys WHERE team = $1 AND key = $2";
        let Self { team, key, request, lease_ms } = self;
        let claimed = session.query(CLAIM, &values![*team, key, *request, span(*lease_ms)]).await?;
        if let Some(until) = first(claimed)? {
            return Ok(Done::Commit(Claim::Granted { until }));
        }
        match first::<Digest>(session.query(HOLDER, &values![*team, key]).await?)? {
            Some(holder) if holder == *request => Ok(Done::Rollback(Claim::InFlight)),
            Some(_) => Ok(Done::Rollback(Claim::OtherRequest)),
            // Released in between: it is free now.
            None => Err(SqlError::conflict("the key was released in between")),
        }
    }
}

/// The work under an idempotency key is over.
pub(super) struct ReleaseKey {
    pub(super) team: Uuid,
    pub(super) key: String,
    pub(super) until: Timestamp,
    pub(super) keep: bool,
}

impl Transaction for ReleaseKey {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        const KEEP: &str = "UPDATE idempotency_keys SET claimed_until = NULL \
                            WHERE team = $1 AND key = $2 AND claimed_until = $3";
        const FORGET: &str =
            "DELETE FROM idempotency_keys WHERE team = $1 AND key = $2 AND claimed_until = $3";
        let sql = if self.keep { KEEP } else { FORGET };
        session.execute(sql, &values![self.team, &self.key, self.until]).await?;
        Ok(Done::Commit(()))
    }
}

/// The work that is owed.
pub(super) struct ReadBacklog;

impl Transaction for ReadBacklog {
    type Output = Backlog;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Backlog>, SqlError> {
        const READ: &str = "SELECT countersign_now(), j.owed, j.since, n.owed, n.since FROM \
             (SELECT count(*) AS owed, min(a.decided_at) AS since FROM jobs AS j \
             JOIN approvals AS a ON a.id = j.approval WHERE j.state <> 'done') AS j, \
             (SELECT count(*) AS owed, min(a.created_at) AS since FROM notices AS n \
             JOIN approvals AS a ON a.id = n.approval WHERE n.state <> 'done' AND a.status = 'pending') AS n";
        let Some(row) = session.query(READ, &[]).await?.into_iter().next() else {
            return Ok(Done::Commit(Backlog::default()));
        };
        let mut columns = Columns::of(row);
        let now: Timestamp = columns.take()?;
        let mut owed = || {
            let (count, since): (u64, Option<Timestamp>) = (columns.take()?, columns.take()?);
            let oldest_ms = since.map_or(0, |since| now.0.saturating_sub(since.0));
            Ok::<_, SqlError>(Owed { count, oldest_ms })
        };
        Ok(Done::Commit(Backlog { jobs: owed()?, notices: owed()? }))
    }
}

/// Writes down how a deploy ended.
pub(super) struct LogDeploy(pub(super) DeployLog);

impl Transaction for LogDeploy {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        const WRITE: &str =
            "INSERT INTO deploy_logs (approval, ended_at, exit_code, output) VALUES ($1, $2, $3, $4)";
        let DeployLog { approval, ended_at, exit_code, output } = &self.0;
        session.execute(WRITE, &values![*approval, *ended_at, exit_code.map(i64::from), output]).await?;
        Ok(Done::Commit(()))
    }
}

/// Results of the deploys for an approval.
pub(super) struct DeployLogs(pub(super) Uuid);

impl Transaction for DeployLogs {
    type Output = Vec<DeployLog>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const READ: &str = "SELECT approval, ended_at, exit_code, output FROM deploy_logs WHERE approval = $1 \
                            ORDER BY seq";
        let rows = session.query(READ, &values![self.0]).await?;
        let log = |row| {
            let mut columns = Columns::of(row);
            Ok(DeployLog {
                approval: columns.take()?,
                ended_at: columns.take()?,
                exit_code: columns.take()?,
                output: columns.take()?,
            })
        };
        rows.into_iter().map(log).collect::<Result<_, _>>().map(Done::Commit)
    }
}
