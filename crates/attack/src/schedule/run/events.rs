//! Attribution of events to requests, and their effects.

use tokio::time::Instant;

use super::{Footprint, Run, State, Stop, not_followed};
use crate::{
    proxy::{Answer, Event, Statement, TransactionStatus},
    schedule::{
        Requests,
        policy::{Arrival, Policy},
    },
    sql,
};

impl<R: Requests, P: Policy> Run<'_, R, P> {
    /// Attributes the ambiguous arrival: to this request, or to the only one that waits in the service.
    pub(super) fn assign_ambiguous(&mut self, owner: Option<usize>) -> Result<(), Stop> {
        let Some((connection, statements, _)) = self.ambiguous.take() else { return Ok(()) };
        let owner = match owner {
            Some(owner) => owner,
            None => self.only_waiting()?,
        };
        self.hold(owner, connection, statements)
    }

    pub(super) fn only_waiting(&self) -> Result<usize, Stop> {
        let mut waiting =
            (0..self.states.len()).filter(|request| matches!(self.states[*request], State::WaitsInService));
        match (waiting.next(), waiting.next()) {
            (Some(only), None) => Ok(only),
            _ => {
                Err(not_followed("a statement arrived that belongs to none, or to several, of the requests"))
            }
        }
    }

    pub(super) fn hold(
        &mut self,
        request: usize,
        connection: u64,
        statements: Vec<Statement>,
    ) -> Result<(), Stop> {
        match self.states[request] {
            State::Running(None) | State::WaitsInService | State::Done | State::NotStarted => {
                self.knowledge.saw_late |= self.responses[request].is_some();
                let prelude = self
                    .connections
                    .get_mut(&connection)
                    .map(|known| std::mem::take(&mut known.prelude))
                    .unwrap_or_default();
                for (statements, answer) in prelude {
                    let step = self.push(request, connection, statements, Footprint::default());
                    self.steps[step].answered_at = Some(step);
                    self.steps[step].answer = Some(answer);
                }
                self.states[request] = State::Held { connection, statements };
                Ok(())
            }
            State::Running(Some(_)) | State::Held { .. } | State::Blocked { .. } => {
                let first = statements.first().map(ToString::to_string).unwrap_or_default();
                Err(not_followed(format!(
                    "a statement arrived while the last one of request {} was not answered: {first}",
                    request + 1
                )))
            }
        }
    }

    pub(super) fn event(&mut self, running: usize, event: Option<Event>) -> Result<(), Stop> {
        match event {
            None => Err(not_followed("the proxy has ended")),
            Some(Event::Arrived { connection, statements }) => self.arrived(running, connection, statements),
            Some(Event::Answered { connection, answer }) => {
                self.answered(connection, answer);
                Ok(())
            }
            Some(Event::Closed { connection }) => {
                self.connections.remove(&connection);
                for state in &mut self.states {
                    match state {
                        State::Running(Some(in_flight)) | State::Blocked { in_flight, .. }
                            if in_flight.connection == connection =>
                        {
                            *state = State::Running(None);
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
        }
    }

    /// Lets a background statement through.
    pub(super) fn passes(&mut self, connection: u64, statements: &[Statement]) -> bool {
        let known = self.connections.entry(connection).or_default();
        let background = &self.knowledge.background;
        let is_background =
            statements.iter().all(|statement| background.contains(&sql::fingerprint(&statement.sql)));
        let belongs_to_request = known.is_open && !known.is_background && known.prelude.is_empty();
        let passes = known.is_background || (is_background && !belongs_to_request);
        if passes {
            known.passing = Some(statements.to_vec());
            self.proxy.release(connection);
        }
        passes
    }

    pub(super) fn arrived(
        &mut self,
        running: usize,
        connection: u64,
        statements: Vec<Statement>,
    ) -> Result<(), Stop> {
        if self.passes(connection, &statements) {
            return Ok(());
        }
        let known = self.connections.entry(connection).or_default();
        let someone_waits = self.states.iter().any(|state| matches!(state, State::WaitsInService));
        if !someone_waits {
            let owner = self.policy.owner(Arrival { running, last_user: known.last_user });
            return self.hold(owner, connection, statements);
        }
        match known.last_user.filter(|_| known.is_open) {
            Some(owner) => {
                self.hold(owner, connection, statements)?;
                // The other one is of the other request.
                if owner == running {
                    self.assign_ambiguous(None)
                } else {
                    self.assign_ambiguous(Some(running))
                }
            }
            // The running request has said its last.
            None if self.responses[running].is_some() => {
                let owner = self.only_waiting()?;
                self.hold(owner, connection, statements)
            }
            None if self.ambiguous.is_some() => Err(not_followed(
                "two statements arrived together, and either could belong to either request",
            )),
            None => {
                self.ambiguous = Some((connection, statements, Instant::now()));
                Ok(())
            }
        }
    }

    pub(super) fn answered(&mut self, connection: u64, answer: Answer) {
        let known = self.connections.entry(connection).or_default();
        if let Some(status) = answer.transaction {
            known.is_open = status != TransactionStatus::Idle;
        }
        if let Some(statements) = known.passing.take() {
            let catalog = &self.knowledge.catalog;
            let footprint = known.transaction.executed(&statements, catalog, answer.transaction);
            if footprint.is_local() && known.is_open && !known.is_background {
                known.prelude.push((statements, answer));
            } else {
                known.is_background = known.is_open;
                known.prelude.clear();
            }
            self.proxy.deliver(connection);
            return;
        }
        for request in 0..self.states.len() {
            let (in_flight, is_blocked) = match &mut self.states[request] {
                State::Running(Some(in_flight)) if in_flight.connection == connection => (*in_flight, false),
                State::Blocked { in_flight, is_answered } if in_flight.connection == connection => {
                    *is_answered = true;
                    (*in_flight, true)
                }
                _ => continue,
            };
            let step = &mut self.steps[in_flight.step];
            let catalog = &self.knowledge.catalog;
            let executed = known.transaction.executed(&step.statements, catalog, answer.transaction);
            self.footprints[self.current].join(executed);
            step.answer = Some(answer);
            step.answered_at = Some(self.current);
            if is_blocked {
                self.unblocked_by[request] = Some(self.current);
            } else {
                self.states[request] = State::Running(None);
                self.proxy.deliver(connection);
            }
            return;
        }
        // The request counts as done.
        self.proxy.deliver(connection);
    }

    pub(super) fn responded(
        &mut self,
        ended: Result<(usize, R::Response), tokio::task::JoinError>,
    ) -> Result<(), Stop> {
        let (request, response) =
            ended.map_err(|error| not_followed(format!("the task of a request ended: {error}")))?;
        self.responses[request] = Some(response);
        match &self.states[request] {
            State::Held { .. } if self.states.iter().any(|state| matches!(state, State::WaitsInService)) => {
                // So the statement was the other one's.
                let held = std::mem::replace(&mut self.states[request], State::Done);
                let State::Held { connection, statements } = held else { return Ok(()) };
                let owner = self.only_waiting()?;
                self.hold(owner, connection, statements)
            }
            // It does not wait for its last statement.
            State::Held { .. } | State::Blocked { .. } => {
                self.knowledge.saw_late = true;
                Ok(())
            }
            State::WaitsInService => {
                self.states[request] = State::Done;
                Ok(())
            }
            State::NotStarted | State::Running(_) | State::Done => Ok(()),
        }
    }
}
