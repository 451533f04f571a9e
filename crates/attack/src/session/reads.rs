//! The reads of a session: the state of an object, by requests, SQL or the sink.

use std::time::Duration;

use serde_json::Value;

use super::{Object, Session, answer};
use crate::{
    history::{Action, Details, HARNESS, Kind},
    proxy::{Done, Monitor, Upstream},
    safety::Stop,
    target::{Counter, Observe},
    template::{self, Escape},
};

/// The time for something to come. Each wait in vain halves it, until one is not in vain.
#[derive(Clone, Copy, Default)]
pub(super) struct Patience {
    in_vain: u32,
}

impl Patience {
    fn time(self) -> Duration {
        Duration::from_secs(2) / (1 << self.in_vain.min(5))
    }

    fn end(&mut self, in_vain: bool) {
        self.in_vain = if in_vain { self.in_vain + 1 } else { 0 };
    }
}

/// A change by SQL waits no longer for a row: the statement that has locked it may be held here.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '500ms'";
pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";

impl Session<'_> {
    /// Reads the roles that show the state of an object, in an order that an effect without a use cannot hide in.
    pub(crate) async fn read(&mut self, object: &mut Object, roles: &[Action]) -> Result<(), Stop> {
        for role in roles {
            let target = self.target;
            match role {
                Action::Observe => self.read_condition(object, *role, target.observe.as_ref()).await?,
                Action::Settled => self.read_condition(object, *role, target.settled.as_ref()).await?,
                Action::Effects => self.read_value(object, *role, target.effects.as_ref(), true).await?,
                Action::Audit => self.read_value(object, *role, target.audit.as_ref(), true).await?,
                Action::Targets => self.read_value(object, *role, target.targets.as_ref(), true).await?,
                Action::Trace => self.read_value(object, *role, target.trace.as_ref(), false).await?,
                Action::Payload => self.read_value(object, *role, target.payload.as_ref(), false).await?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn read_condition(
        &mut self,
        object: &mut Object,
        f: Action,
        role: Option<&Observe>,
    ) -> Result<(), Stop> {
        let Some(role) = role else { return Ok(()) };
        let wire = self.wire(&role.request, &object.values, &Vec::new())?;
        let sent = self.send(&wire).await?;
        let mut details = Details { request: Some(wire.line), ..Details::default() };
        let mut kind = Kind::Info;
        if let Some(answer) = answer(&sent) {
            details.status = Some(answer.status);
            let by_status = role.when_status.contains(&answer.status);
            if by_status || (200..300).contains(&answer.status) {
                let holds =
                    |(path, value): &(_, Value)| template::select(path, &answer.body).as_ref() == Some(value);
                let by_body = !role.when.is_empty() && role.when.iter().all(holds);
                details.read = Some(Value::Bool(by_status || by_body));
                kind = Kind::Ok;
            }
        }
        self.record(object, HARNESS, f, kind, sent.released_ns, details);
        Ok(())
    }

    async fn read_value(
        &mut self,
        object: &mut Object,
        f: Action,
        role: Option<&Counter>,
        count: bool,
    ) -> Result<(), Stop> {
        let Some(role) = role else { return Ok(()) };
        let invoked_ns = self.clock.now_ns();
        let mut details = Details::default();
        let read = match role {
            Counter::Sink => {
                let word = object.values.get("sink_object").map(template::plain).unwrap_or_default();
                self.sink.as_ref().map(|sink| Value::from(sink.count(&word)))
            }
            Counter::Sql(text) => {
                let sql = self.fill(text, &object.values, Escape::Sql)?;
                let rows = self.sql(&sql).await?.rows;
                let first = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
                first.map(|text| text.parse::<u64>().map_or(Value::String(text), Value::from))
            }
            Counter::Request { request, path } => {
                let wire = self.wire(request, &object.values, &Vec::new())?;
                let sent = self.send(&wire).await?;
                details.request = Some(wire.line);
                let answer = answer(&sent);
                details.status = answer.map(|answer| answer.status);
                let readable = answer.filter(|answer| (200..300).contains(&answer.status));
                readable.and_then(|answer| match path {
                    Some(path) => template::select(path, &answer.body),
                    None => Some(serde_json::from_slice(&answer.body).unwrap_or_else(|_| {
                        Value::String(String::from_utf8_lossy(&answer.body).into_owned())
                    })),
                })
            }
        };
        details.read = match read {
            Some(Value::Array(items)) if count => Some(Value::from(items.len())),
            Some(value) if count && value.as_u64().is_none() => None,
            other => other,
        };
        let kind = if details.read.is_some() { Kind::Ok } else { Kind::Info };
        self.record(object, HARNESS, f, kind, invoked_ns, details);
        Ok(())
    }

    /// Waits for the effect of an object that is used, and reads its whole state.
    pub(crate) async fn settle(&mut self, object: &mut Object) -> Result<(), Stop> {
        let began = self.clock.elapsed();
        let mut has_waited = [false; 4];
        loop {
            let before = object.trial.operations.len();
            self.read(
                object,
                &[Action::Effects, Action::Observe, Action::Audit, Action::Targets, Action::Settled],
            )
            .await?;
            let reads = &object.trial.operations[before..];
            let read =
                |f: Action| reads.iter().find(|read| read.f == f).and_then(|read| read.details.read.clone());
            let succeeded = object.trial.operations.iter().any(|o| o.f == Action::Use && o.kind == Kind::Ok);
            let used = succeeded || read(Action::Observe) == Some(Value::Bool(true));
            // Changes between two of these reads make them contradict each other.
            let unaudited = self.target.promise.uses == 1
                && match (read(Action::Audit), read(Action::Observe)) {
                    (Some(events), Some(used)) => {
                        events.as_u64() != Some(u64::from(used == Value::Bool(true)))
                    }
                    _ => false,
                };
            let has_target = read(Action::Targets).is_some_and(|count| count.as_u64() != Some(0));
            let waits_for = [
                used && read(Action::Effects) == Some(Value::from(0)),
                (used || has_target) && read(Action::Settled) == Some(Value::Bool(false)),
                unaudited,
                reads.iter().any(|read| read.kind != Kind::Ok),
            ];
            let elapsed = self.clock.elapsed() - began;
            let mut waits = false;
            for (at, waits_for) in waits_for.into_iter().enumerate() {
                waits |= waits_for && elapsed < self.patience[at].time();
                has_waited[at] |= waits_for;
            }
            if !waits {
                for (at, patience) in self.patience.iter_mut().enumerate().filter(|(at, _)| has_waited[*at]) {
                    patience.end(waits_for[at]);
                }
                return Ok(());
            }
            let may_be_dead = waits_for[3];
            object.trial.operations.truncate(before);
            if may_be_dead {
                self.revive(object).await?;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn sql(&mut self, sql: &str) -> Result<Done, Stop> {
        let bad = |error: String| Stop::BadInput(format!("`{sql}`: {error}"));
        let mut monitor = match self.monitor.take() {
            Some(monitor) => monitor,
            None => {
                let Some(url) = self.upstream()? else {
                    return Err(Stop::BadInput("`sql` needs the role `[database]`".into()));
                };
                let upstream: Upstream =
                    url.parse().map_err(|error| Stop::BadInput(format!("[database]: {error}")))?;
                let mut monitor =
                    Monitor::connect(&upstream).await.map_err(|error| bad(error.to_string()))?;
                monitor.query(LOCK_TIMEOUT).await.map_err(|error| bad(error.to_string()))?;
                monitor
            }
        };
        let done = monitor.execute(sql).await.map_err(|error| bad(error.to_string()));
        self.monitor = Some(monitor);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_in_vain_shortens_the_next_one_and_any_other_restores_it() {
        let mut patience = Patience::default();
        let mut times = Vec::new();
        for in_vain in [true, true, true, true, true, true, true, false] {
            times.push(patience.time().as_micros());
            patience.end(in_vain);
        }
        assert_eq!(times, [2_000_000, 1_000_000, 500_000, 250_000, 125_000, 62_500, 62_500, 62_500]);
        assert_eq!(patience.time(), Duration::from_secs(2));
    }
}
