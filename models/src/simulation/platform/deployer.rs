//! The deployer that they see: deploys run until an action ends them, and one key is one deploy.

use std::{future::poll_fn, task::Poll};

use countersign::{
    protocol::Effect,
    service::{Deployer, Launch},
    store::StackStatus,
};

use super::{At, Deploy, Platform, Who, WorkerStep};
use crate::{
    model::Actor,
    simulation::{CallOutcome, Mutant},
};

impl Deployer for Platform {
    async fn launch(&self, launch: &Launch) {
        let outcome = self.pass(At::Elsewhere).await;
        let keyed = launch.key.is_some();
        match launch.key {
            Some(_) => {
                self.say(|| (Actor::Target, "launches the deploy under its key".to_owned(), "ok".to_owned()));
            }
            None => self.name(&Effect::Launch { act: 0, digest: launch.digest, target: None }, None),
        }
        let key = launch.key.filter(|_| self.mutant != Some(Mutant::LaunchWithoutKey));
        let mut control = self.control();
        self.step_recorder.approval(Some(launch.approval));
        if key.is_some() && outcome == CallOutcome::AppliedTwice {
            // The second one is the same deploy.
            self.step_recorder.outcome(outcome);
        }
        let same = |deploy: &Deploy| key.is_some() && deploy.launch.key == key;
        if control.deploys.iter().any(same) {
            // Running or ended: the same deploy, without a new launch.
            self.step_recorder.launched_again(*launch);
            return;
        }
        self.step_recorder.worker(keyed.then_some(WorkerStep::Launched));
        self.step_recorder.launched();
        let (who, instance) = self.step_gate.turn();
        control.deploys.push(Deploy { launch: Launch { key, ..*launch }, who, instance, ended: None });
    }

    async fn outcome(&self, launch: &Launch, _patience_ms: u64) -> Option<StackStatus> {
        if self.mutant == Some(Mutant::DoneWhenLaunched) {
            return Some(StackStatus::Healthy);
        }
        let ended = poll_fn(|_| {
            let control = self.control();
            let mine = |deploy: &&Deploy| {
                deploy.launch.approval == launch.approval && matches!(deploy.who, Who::Worker { .. })
            };
            let ended = control.deploys.iter().find(mine).and_then(|deploy| deploy.ended);
            if ended.is_some() {
                return Poll::Ready(ended);
            }
            match self.step_gate.take_permit() {
                // The patience is at its end.
                Some(_) => Poll::Ready(None),
                None => {
                    self.step_gate.wait(At::Deploy);
                    Poll::Pending
                }
            }
        })
        .await;
        if ended.is_none() {
            self.say(|| (Actor::Target, "waits for the deploy".to_owned(), "it runs".to_owned()));
        }
        ended
    }
}
