//! Runs transactions on PostgreSQL: each in a transaction, again after a collision, and on another connection when the server
//! has closed the first one.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    connection::Connection,
    pool::Pool,
    session::{Ended, PgSession},
};
use crate::store::{
    StoreError, StoreErrorKind,
    sql::{Done, Engine, SqlError, Transaction},
};

/// Retries of a transaction after collisions. Under the strategies that let transactions collide, the unluckiest of 32 on one
/// row needs a few dozen.
const MOST_COLLISIONS: u32 = 200;

/// Retries of a transaction after dead connections.
const MOST_CONNECTIONS: u32 = 3;

/// Runs transactions on PostgreSQL.
pub struct PostgresEngine {
    pool: Pool,
}

impl PostgresEngine {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

/// Result of one attempt.
enum Attempt<T> {
    Done(T),
    /// Not done, for this reason.
    Not(Ended),
}

impl Engine for PostgresEngine {
    async fn perform<W: Transaction>(&self, work: W) -> Result<W::Output, StoreError> {
        let mut last = None;
        for _ in 0..MOST_CONNECTIONS {
            let mut borrowed = self.pool.borrow().await?;
            let mut collisions = 0;
            let ended = loop {
                match attempt(borrowed.connection(), &work).await {
                    Attempt::Done(output) => {
                        borrowed.release();
                        return Ok(output);
                    }
                    Attempt::Not(Ended::Conflict(_)) if collisions < MOST_COLLISIONS => {
                        collisions += 1;
                        step_aside(collisions, borrowed.connection().number()).await;
                    }
                    Attempt::Not(ended) => break ended,
                }
            };
            match ended {
                Ended::Done => unreachable!("an attempt that ended well has its output"),
                Ended::Conflict(error) | Ended::Failed(error) => {
                    borrowed.release();
                    return Err(error);
                }
                Ended::Unknown(error) => {
                    self.pool.forget_idle();
                    return Err(error);
                }
                Ended::Disconnected(error) => {
                    self.pool.forget_idle();
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| StoreError::not_applied("no connection was tried")))
    }
}

async fn attempt<W: Transaction>(connection: &mut Connection, work: &W) -> Attempt<W::Output> {
    let mut session = PgSession::new(connection, work.mode());
    match work.run(&mut session).await {
        Ok(Done::Commit(output)) => match session.commit().await {
            Ended::Done => Attempt::Done(output),
            ended => Attempt::Not(ended),
        },
        Ok(Done::Rollback(output)) => match session.rollback().await {
            Ended::Done => Attempt::Done(output),
            ended => Attempt::Not(ended),
        },
        // The session knows better than the transaction why it could not go on, if it was the session's doing.
        Err(error) => match (session.rollback().await, error) {
            (Ended::Done, SqlError::Conflict(error)) => Attempt::Not(Ended::Conflict(error)),
            (Ended::Done, SqlError::Failed(error)) => Attempt::Not(match error.kind() {
                StoreErrorKind::NotApplied => Ended::Failed(error),
                StoreErrorKind::Unknown => Ended::Unknown(error),
            }),
            (ended, _) => Attempt::Not(ended),
        },
    }
}

/// Backs off. The delay differs between connections, so that transactions that collided do not collide again in step.
async fn step_aside(collisions: u32, number: u32) {
    const AT_ONCE: u32 = 2;
    const LONGEST_MS: u32 = 32;
    if collisions <= AT_ONCE {
        tokio::task::yield_now().await;
        return;
    }
    let most = (1 << (collisions - AT_ONCE).min(8)).min(LONGEST_MS);
    sleep(Duration::from_millis((1 + number.wrapping_add(collisions.wrapping_mul(7)) % most).into())).await;
}
