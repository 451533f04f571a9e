//! The leases of approvals: which attempt may run now.

use uuid::Uuid;

use super::{
    Done, Mode, Session, SqlError, Transaction,
    rows::{Columns, values},
};
use crate::{
    protocol::{Timestamp, lease},
    store::{APPROVAL_LEASE_MS, Leased},
};

/// Acquires an approval's lease if it is free.
pub(super) struct LeaseApproval {
    pub(super) team: Uuid,
    pub(super) approval: Uuid,
}

impl Transaction for LeaseApproval {
    type Output = Leased;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Leased>, SqlError> {
        const READ: &str =
            "SELECT lease_fence, lease_until, countersign_now() FROM approvals WHERE id = $1 AND team = $2";
        // The version goes along, for a consume that goes by it: what it has judged has changed.
        const TAKE: &str = "UPDATE approvals SET lease_fence = $1, lease_until = $2, version = version + 1 \
                            WHERE id = $3 AND lease_fence = $4 AND lease_until = $5";
        let rows = session.query(READ, &values![self.approval, self.team]).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(Done::Rollback(Leased::Absent)) };
        let mut columns = Columns::of(row);
        let (latest, until, now): (u64, Timestamp, Timestamp) =
            (columns.take()?, columns.take()?, columns.take()?);
        let fence = match lease(latest, believable(until, now), now) {
            Ok(fence) => fence,
            Err(until) => return Ok(Done::Rollback(Leased::Held { until })),
        };
        let ends = Timestamp(now.0.saturating_add(APPROVAL_LEASE_MS));
        match session.execute(TAKE, &values![fence, ends, self.approval, latest, until]).await? {
            // A concurrent attempt was faster.
            0 => Err(SqlError::conflict("another attempt took the lease")),
            _ => Ok(Done::Commit(Leased::Taken { fence })),
        }
    }
}

/// The end of a lease, or the past for one that ends later than a whole lease from now: the clock was set back.
fn believable(until: Timestamp, now: Timestamp) -> Timestamp {
    if until.0 > now.0.saturating_add(APPROVAL_LEASE_MS) { Timestamp(0) } else { until }
}

/// Gives an approval's lease back, if it is still the latest.
pub(super) struct ReleaseApproval {
    pub(super) team: Uuid,
    pub(super) approval: Uuid,
    pub(super) fence: u64,
}

impl Transaction for ReleaseApproval {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        const RELEASE: &str =
            "UPDATE approvals SET lease_until = 0 WHERE id = $1 AND team = $2 AND lease_fence = $3";
        session
            .execute(RELEASE, &values![self.approval, self.team, self.fence])
            .await
            .map(|_| Done::Commit(()))
    }
}
