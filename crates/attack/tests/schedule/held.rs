//! Redeems of which the first is held before one of its statements.

use std::{convert::Infallible, ops::ControlFlow};

use countersign_attack::schedule::{Requests, Schedule, StallableRequests, Step};

use crate::service::Redeems;

pub(crate) struct Held {
    pub(crate) redeems: Redeems,
    /// The statements before which the first redeem was held, without their values.
    pub(crate) before: Vec<String>,
}

impl Requests for Held {
    type Response = u16;
    type Error = Infallible;

    fn count(&self) -> usize {
        self.redeems.count()
    }

    async fn reset(&mut self) -> Result<(), Infallible> {
        self.redeems.reset().await
    }

    fn start(&mut self, request: usize) -> impl Future<Output = u16> + Send + 'static {
        self.redeems.start(request)
    }

    async fn judge(&mut self, schedule: &Schedule<u16>) -> Result<ControlFlow<()>, Infallible> {
        let since = usize::try_from(schedule.number).unwrap();
        let held = schedule.steps.iter().skip(since).find(|step| step.request == 0).unwrap();
        let verb = held.statements[0].sql.split(' ').nth(3).unwrap();
        self.before.push(verb.to_owned());
        self.redeems.judge(schedule).await
    }
}

impl StallableRequests for Held {
    fn is_refused(&self, response: &u16) -> bool {
        *response == 409
    }

    async fn change(&mut self, _steps: &[Step], _connection: u64) -> Option<Result<(), Infallible>> {
        None
    }
}
