//! One deploy, from looking whether it has ended before to writing down how it has ended.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::watch;
use tracing::{error, warn};

use super::{DeployMethod, Plan, command::NotStarted};
use crate::http::Metrics;
use countersign::{
    service::Launch,
    store::{Clock, DeployLog, Operations, StackStatus, Store, StoreError},
};

/// Result of a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// `None` after a signal.
    pub(super) exit_code: Option<i32>,
    /// The end of its output.
    pub(super) output: String,
    /// It was ended because it was given up.
    pub(super) is_given_up: bool,
}

/// Cancellation of a running deploy.
#[derive(Clone, Debug)]
pub(super) struct Cancelled(pub(super) watch::Receiver<bool>);

impl Cancelled {
    pub(super) fn is_so(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it has to.
    pub(super) async fn wait(&mut self) {
        // A dropped sender cancels, too: no caller waits for this deploy.
        let _ = self.0.wait_for(|cancelled| *cancelled).await;
    }
}

/// A deploy, with all that it needs.
pub(super) struct Run<S> {
    pub(super) store: Arc<S>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) method: Arc<DeployMethod>,
    pub(super) launch: Launch,
    pub(super) cancelled: Cancelled,
    pub(super) metrics: Metrics,
}

/// The longest pause between two attempts to start a command.
const LONGEST_BEFORE_ANOTHER_START: Duration = Duration::from_secs(10);

/// The pause between two looks whether a running deploy was given up.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// Number of attempts to record the end of a deploy that was cancelled.
const ATTEMPTS: u32 = 8;

impl<S: Store + Operations> Run<S> {
    /// Result of the deploy; `None` if it was cancelled and has to be run again.
    pub(super) async fn until_ended(mut self) -> Option<StackStatus> {
        let launch = self.launch;
        let approval = launch.approval;
        if launch.key.is_some()
            && let Some(ended) = own_end(&self.ended_before().await?)
        {
            return Some(ended);
        }
        let store = Arc::clone(&self.store);
        let Some(record) = self.until_answered(|| store.any_approval(approval)).await? else {
            error!(%approval, "a deploy of an approval that does not exist is not run");
            return Some(StackStatus::Failed);
        };
        let plan = Plan::of(launch, &record);
        let ended = match self.until_started(&plan).await? {
            Ok(ended) => ended,
            Err(given_up) => return Some(given_up),
        };
        let Ended { exit_code, output, is_given_up } = ended;
        let status = status(exit_code);
        // One that was given up was counted then.
        if !is_given_up {
            self.metrics.deploy(if status == StackStatus::Healthy { "healthy" } else { "failed" });
        }
        let log = DeployLog { approval, ended_at: self.clock.now(), exit_code, output };
        // Before it is reported: after a crash the next holder of the job must find the result.
        self.insist(|| self.store.log_deploy(log.clone())).await;
        if launch.key.is_none() {
            // There is no job to finish.
            self.insist(|| self.store.settle(approval, launch.target, status)).await;
        }
        Some(status)
    }

    /// Starts it, again and again while it cannot be started, and runs it to its end. What was not started was not launched:
    /// the approval is used, and its deploy is owed until an operator gives up on it.
    async fn until_started(&mut self, plan: &Plan) -> Option<Result<Ended, StackStatus>> {
        let approval = self.launch.approval;
        let mut pause = Pause::up_to(LONGEST_BEFORE_ANOTHER_START);
        let mut waiting = None;
        loop {
            let given_up = given_up(Arc::clone(&self.store), self.launch);
            let run = match &*self.method {
                DeployMethod::DryRun(dry_run) => {
                    self.metrics.launched();
                    Ok(dry_run.run(&mut self.cancelled, given_up).await)
                }
                DeployMethod::Command(command) => {
                    command.run(plan, &mut self.cancelled, given_up, &self.metrics).await
                }
            };
            match run {
                Ok(ended) => return ended.map(Ok),
                Err(NotStarted(error)) => {
                    warn!(%approval, %error, again_in = ?pause.0, "the deploy command could not be started");
                    self.metrics.deploy("not_started");
                    waiting.get_or_insert_with(|| self.metrics.deploy_waits());
                }
            }
            tokio::select! {
                () = pause.wait() => {}
                () = self.cancelled.wait() => return None,
            }
            if self.launch.key.is_some()
                && let Some(given_up) = own_end(&self.ended_before().await?)
            {
                return Some(Err(given_up));
            }
        }
    }

    /// Results of earlier deploys under this key, on any instance.
    async fn ended_before(&mut self) -> Option<Vec<DeployLog>> {
        let (store, approval) = (Arc::clone(&self.store), self.launch.approval);
        self.until_answered(|| store.deploy_logs(approval)).await
    }

    /// Asks the store until it answers; `None` when the deploy was cancelled before.
    async fn until_answered<T, F>(&mut self, ask: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = Pause::default();
        loop {
            if self.cancelled.is_so() {
                return None;
            }
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(error) => warn!(approval = %self.launch.approval, %error, "a deploy waits for the store"),
            }
            tokio::select! {
                () = pause.wait() => {}
                () = self.cancelled.wait() => {}
            }
        }
    }

    /// Asks the store until it has done it. The worker ends this when its lease is about to run out.
    async fn insist<F>(&self, act: impl Fn() -> F)
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut pause = Pause::default();
        let mut attempts = ATTEMPTS;
        while attempts > 0 {
            match act().await {
                Ok(()) => return,
                Err(error) => warn!(%error, "the end of a deploy could not be written down yet"),
            }
            attempts -= u32::from(self.cancelled.is_so());
            pause.wait().await;
        }
        error!("the end of a deploy could not be written down");
    }
}

/// Returns once an administrator has given the deploy up. Without a key there may be other deploys for its approval, whose ends
/// look the same.
async fn given_up<S: Operations>(store: Arc<S>, launch: Launch) {
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let has_end = async || store.deploy_logs(launch.approval).await.is_ok_and(|logs| !logs.is_empty());
        if launch.key.is_some() && has_end().await {
            return;
        }
    }
}

/// The end of a deploy in the store's log. The exit code of its command decides, also where it was given up meanwhile.
pub(crate) fn own_end(logs: &[DeployLog]) -> Option<StackStatus> {
    let exit_code = logs.iter().rev().find_map(|log| log.exit_code);
    logs.last().map(|_| status(exit_code))
}

/// A healthy deploy exits with 0.
fn status(exit_code: Option<i32>) -> StackStatus {
    if exit_code == Some(0) { StackStatus::Healthy } else { StackStatus::Failed }
}

/// The next one, and the longest: each is twice as long as the one before it.
struct Pause(Duration, Duration);

impl Default for Pause {
    fn default() -> Self {
        Self::up_to(Duration::from_secs(2))
    }
}

impl Pause {
    fn up_to(longest: Duration) -> Self {
        Self(Duration::from_millis(50), longest)
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(self.1);
    }
}

#[cfg(test)]
mod tests {
    use countersign::protocol::Timestamp;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_exit_code_decides_also_where_the_deploy_was_given_up_meanwhile() {
        let end = |exit_codes: &[Option<i32>]| {
            let log = |exit_code: &Option<i32>| {
                let (approval, output) = (Uuid::nil(), String::new());
                DeployLog { approval, ended_at: Timestamp(0), exit_code: *exit_code, output }
            };
            own_end(&exit_codes.iter().map(log).collect::<Vec<_>>())
        };
        let (healthy, failed) = (Some(StackStatus::Healthy), Some(StackStatus::Failed));
        for (exit_codes, expected) in [
            (&[][..], None),
            (&[Some(0)], healthy),
            (&[Some(3)], failed),
            (&[None], failed),
            (&[None, None], failed),
            (&[None, Some(0)], healthy),
            (&[Some(0), None], healthy),
        ] {
            assert_eq!(end(exit_codes), expected, "{exit_codes:?}");
        }
    }
}
