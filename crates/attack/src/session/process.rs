//! The process of the service: started, killed, started again, and noticed when it has ended by itself.

use std::time::Duration;

use super::{Object, Session};
use crate::{
    history::{Action, Details, HARNESS, Kind},
    safety::Stop,
    service::Running,
};

impl Session<'_> {
    /// Starts the service, if the target file says how.
    pub(crate) async fn start_service(&mut self) -> Result<(), Stop> {
        let Some(service) = &self.target.service else { return Ok(()) };
        let (folder, authority) = (&self.target.folder, self.target.base_url.authority());
        let running =
            Running::start(service, folder, &self.endpoint, &authority, &self.values, &self.log, self.clock)
                .await;
        self.service = Some(running.map_err(|stop| self.hide(stop))?);
        Ok(())
    }

    /// Starts the service if it was killed here, or ended by itself: some do when their database cuts a connection.
    /// Returns how it ended by itself.
    pub(super) async fn ensure_running(&mut self) -> Result<Option<String>, Stop> {
        let ended = self.service.as_mut().and_then(Running::ended);
        if let Some(end) = &ended {
            self.ends.entry(self.was_cut).or_insert_with(|| (0, end.clone())).0 += 1;
            self.service = None;
        }
        if self.service.is_none() {
            self.start_service().await?;
        }
        Ok(ended)
    }

    /// True if the service has ended by itself, or does so now: a request without an answer is a sign of that.
    pub(super) async fn is_ending(&mut self) -> bool {
        const PATIENCE: Duration = Duration::from_millis(500);
        match &mut self.service {
            Some(service) => service.ends_within(PATIENCE).await,
            None => false,
        }
    }

    /// What the report says of a service that ended by itself.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        self.ends.iter().map(|(was_cut, (count, how))| {
            let when = if *was_cut { ", when a connection to its database was cut" } else { "" };
            let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
            format!("the service ended by itself {times}{when} ({how})")
        })
    }

    /// Kills the service that was started here, and records it.
    pub(crate) async fn kill(&mut self, object: &mut Object) -> Result<(), Stop> {
        self.budget.spend_kill()?;
        let invoked_ns = self.clock.now_ns();
        if let Some(mut service) = self.service.take() {
            service.kill().await;
        }
        self.record(object, HARNESS, Action::Crash, Kind::Ok, invoked_ns, Details::default());
        Ok(())
    }

    /// Starts the service again, and records it.
    pub(crate) async fn restart(&mut self, object: &mut Object) -> Result<(), Stop> {
        // A service that was not killed has lost a connection.
        self.was_cut |= self.service.is_some();
        self.revive(object).await?;
        self.record(object, HARNESS, Action::Restart, Kind::Ok, self.clock.now_ns(), Details::default());
        Ok(())
    }

    /// Starts the service again if it is dead, and records its end by itself.
    pub(super) async fn revive(&mut self, object: &mut Object) -> Result<(), Stop> {
        let invoked_ns = self.clock.now_ns();
        let Some(end) = self.ensure_running().await? else { return Ok(()) };
        let details = Details { error: Some(format!("it ended by itself ({end})")), ..Details::default() };
        self.record(object, HARNESS, Action::Crash, Kind::Ok, invoked_ns, details);
        Ok(())
    }
}
