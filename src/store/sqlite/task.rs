//! A work on its way through a queue: whatever its answer's type is, a thread can run it and have it answered.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
};

use tokio::sync::oneshot;

use super::{connection::Timed, session::SqliteSession};
use crate::store::{
    StoreError,
    sql::{Done, SqlError, Work},
};

/// What a work has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Changes that are to be kept.
    Changes,
    /// Nothing that may be kept.
    Nothing,
}

/// A work that somebody waits for.
pub(super) trait Task: Send {
    /// Runs it on this connection. Its answer is kept back.
    fn run(&mut self, on: &mut Timed) -> Left;

    /// Answers it, now that the transaction has been committed or has failed.
    fn answer(self: Box<Self>, transaction: Result<(), StoreError>);
}

/// A work, whoever waits for it, and in between its answer.
pub(super) struct Waiting<W: Work> {
    work: W,
    result: Result<Done<W::Output>, StoreError>,
    answer: oneshot::Sender<Result<W::Output, StoreError>>,
}

impl<W: Work> Waiting<W> {
    pub(super) fn new(work: W, answer: oneshot::Sender<Result<W::Output, StoreError>>) -> Self {
        Self { work, result: Err(StoreError::not_applied("the work was never run")), answer }
    }
}

impl<W: Work> Task for Waiting<W> {
    fn run(&mut self, on: &mut Timed) -> Left {
        on.at_this_moment();
        // A panic in a work is that work's failure and nobody else's: what it has written is undone.
        let run = || at_once(&self.work, &mut SqliteSession(&mut on.connection));
        self.result = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(StoreError::not_applied("the work panicked")));
        if matches!(self.result, Ok(Done::Keep(_))) { Left::Changes } else { Left::Nothing }
    }

    fn answer(self: Box<Self>, transaction: Result<(), StoreError>) {
        let answer = match (self.result, transaction) {
            (Ok(Done::Keep(output) | Done::Undo(output)), Ok(())) => Ok(output),
            (Ok(Done::Keep(_)), Err(error)) => Err(error),
            // Whatever has become of the others: this one has changed nothing.
            (Ok(Done::Undo(_)), Err(error)) => Err(error.into_not_applied()),
            (Err(error), _) => Err(error),
        };
        // Whoever no longer waits does not want to know.
        drop(self.answer.send(answer));
    }
}

fn at_once<W: Work>(work: &W, session: &mut SqliteSession<'_>) -> Result<Done<W::Output>, StoreError> {
    match pin!(work.run(session)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(done)) => Ok(done),
        Poll::Ready(Err(SqlError::Failed(error))) => Err(error),
        // The connection has the database for itself: to try again would change nothing.
        Poll::Ready(Err(SqlError::Conflict(error))) => Err(error),
        Poll::Pending => Err(StoreError::not_applied("a work waits for something that is not the database")),
    }
}
