//! Requests that wait: for a lock of the database, or for each other inside the service.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{GRACE, InFlight, LONGEST_PAUSE, Run, State, Stop, not_followed};
use crate::{
    proxy::Event,
    schedule::{
        Requests,
        policy::{Policy, WhenBlocked},
    },
};

impl<R: Requests, P: Policy> Run<'_, R, P> {
    pub(super) async fn check_blocked(&mut self, request: usize, in_flight: InFlight) -> Result<(), Stop> {
        if self.is_blocked(in_flight.connection).await? {
            self.states[request] = match self.policy.when_blocked() {
                WhenBlocked::Waits => State::Blocked { in_flight, is_answered: false },
                WhenBlocked::CountsAsDone => State::Done,
            };
        }
        Ok(())
    }

    /// True if the connection waits for a lock of another connection of the service.
    pub(super) async fn is_blocked(&mut self, connection: u64) -> Result<bool, Stop> {
        let backend = self
            .proxy
            .backend(connection)
            .ok_or_else(|| not_followed("a connection without a process id"))?;
        let service = self.proxy.backends();
        let blocking = self.proxy.monitor().await?.blocking(backend).await?;
        Ok(blocking.iter().any(|pid| service.contains(pid)))
    }

    /// A request that neither has a running statement nor responds.
    pub(super) fn check_service(&mut self, request: usize, quiet: Duration) -> Result<(), Stop> {
        if self.ambiguous.as_ref().is_some_and(|(_, _, since)| Instant::now() - *since >= GRACE) {
            return self.assign_ambiguous(Some(request));
        }
        let others_live = self
            .states
            .iter()
            .enumerate()
            .any(|(other, state)| other != request && !matches!(state, State::Done | State::NotStarted));
        if quiet >= self.settings.service_patience && others_live && self.responses[request].is_none() {
            self.states[request] = State::WaitsInService;
            self.knowledge.service_waits = true;
        }
        Ok(())
    }

    /// Releases requests whose statement no longer waits, one at a time.
    pub(super) async fn wake(&mut self) -> Result<(), Stop> {
        let mut request = 0;
        while request < self.states.len() {
            match self.still_blocked(request).await? {
                Some(in_flight) => {
                    self.states[request] = State::Running(None);
                    self.proxy.deliver(in_flight.connection);
                    self.settle(request).await?;
                    // Its rest may have released others.
                    request = 0;
                }
                None => request += 1,
            }
        }
        Ok(())
    }

    /// The statement that a request waited for, if it has been answered by now.
    pub(super) async fn still_blocked(&mut self, request: usize) -> Result<Option<InFlight>, Stop> {
        let began = Instant::now();
        loop {
            let State::Blocked { in_flight, is_answered } = self.states[request] else { return Ok(None) };
            if is_answered {
                return Ok(Some(in_flight));
            }
            if self.is_blocked(in_flight.connection).await? {
                // The answer may have arrived in the meantime.
                self.listen(Duration::ZERO).await?;
                if !matches!(self.states[request], State::Blocked { is_answered: true, .. }) {
                    return Ok(None);
                }
            } else {
                self.listen(self.settings.blocked_after).await?;
            }
            if Instant::now() - began > self.settings.timeout {
                return Err(not_followed("a statement waits for no lock, and is not answered either"));
            }
        }
    }

    /// No request can be released: a deadlock that the database resolves, or a wait inside the service.
    pub(super) async fn until_someone_goes_on(&mut self) -> Result<(), Stop> {
        let began = Instant::now();
        loop {
            self.listen(LONGEST_PAUSE).await?;
            self.wake().await?;
            let all_done = self.states.iter().all(|state| matches!(state, State::Done));
            if all_done || self.states.iter().any(|state| matches!(state, State::Held { .. })) {
                return Ok(());
            }
            if Instant::now() - began > self.settings.timeout {
                let waits = "all requests wait, for each other or inside the service";
                return Err(not_followed(format!("{waits}, for {:?}", self.settings.timeout)));
            }
        }
    }

    /// Takes in events while no request runs; returns after the first, or after this time.
    pub(super) async fn listen(&mut self, time: Duration) -> Result<(), Stop> {
        tokio::select! {
            biased;
            event = self.proxy.next_event() => match event {
                Some(Event::Arrived { connection, statements }) => {
                    if self.passes(connection, &statements) {
                        return Ok(());
                    }
                    let owner = self.only_waiting()?;
                    self.hold(owner, connection, statements)
                }
                other => self.event(0, other),
            },
            Some(ended) = self.tasks.join_next() => self.responded(ended),
            () = sleep(time) => Ok(()),
        }
    }
}
