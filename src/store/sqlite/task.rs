//! A transaction in a queue, with its type erased: a thread runs it and sends its result.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
};

use tokio::sync::oneshot;

use super::{connection::Timed, session::SqliteSession};
use crate::store::{
    StoreError,
    sql::{Done, SqlError, Transaction},
};

/// Effect of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Changes that are to be kept.
    Changes,
    /// Nothing to commit.
    Nothing,
}

/// A transaction with a waiting caller.
pub(super) trait Task: Send {
    /// Runs it on this connection. Its answer is kept back.
    fn run(&mut self, on: &mut Timed) -> Left;

    /// Answers it, now that the transaction has been committed or has failed.
    fn answer(self: Box<Self>, transaction: Result<(), StoreError>);
}

/// A transaction, its waiting caller, and its result in between.
pub(super) struct Waiting<W: Transaction> {
    work: W,
    result: Result<Done<W::Output>, StoreError>,
    answer: oneshot::Sender<Result<W::Output, StoreError>>,
}

impl<W: Transaction> Waiting<W> {
    pub(super) fn new(work: W, answer: oneshot::Sender<Result<W::Output, StoreError>>) -> Self {
        Self { work, result: Err(StoreError::not_applied("the work was never run")), answer }
    }
}

impl<W: Transaction> Task for Waiting<W> {
    fn run(&mut self, on: &mut Timed) -> Left {
        on.at_this_moment();
        // A panic fails only its own transaction, whose writes are rolled back.
        let run = || run_ready(&self.work, &mut SqliteSession(&mut on.connection));
        self.result = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(StoreError::not_applied("the work panicked")));
        if matches!(self.result, Ok(Done::Commit(_))) { Left::Changes } else { Left::Nothing }
    }

    fn answer(self: Box<Self>, transaction: Result<(), StoreError>) {
        let answer = match (self.result, transaction) {
            (Ok(Done::Commit(output) | Done::Rollback(output)), Ok(())) => Ok(output),
            (Ok(Done::Commit(_)), Err(error)) => Err(error),
            // A failed commit of the batch does not matter here: this transaction has changed nothing.
            (Ok(Done::Rollback(_)), Err(error)) => Err(error.into_not_applied()),
            (Err(error), _) => Err(error),
        };
        // The caller may no longer be waiting.
        drop(self.answer.send(answer));
    }
}

fn run_ready<W: Transaction>(
    work: &W,
    session: &mut SqliteSession<'_>,
) -> Result<Done<W::Output>, StoreError> {
    match pin!(work.run(session)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(done)) => Ok(done),
        Poll::Ready(Err(SqlError::Failed(error))) => Err(error),
        // The connection has the database for itself: a retry would not help.
        Poll::Ready(Err(SqlError::Conflict(error))) => Err(error),
        Poll::Pending => Err(StoreError::not_applied("a work waits for something that is not the database")),
    }
}
