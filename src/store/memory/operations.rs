//! What the platform itself asks for, in memory: links to be sent, idempotency keys, what deploys have printed.

use uuid::Uuid;

use super::{MemoryStore, locked};
use crate::{
    protocol::{Digest, Status, Timestamp},
    store::{ApprovalRecord, Claim, DeployLog, Notice, NoticeState, Operations, StoreError},
    strategy::Strategy,
};

/// A link to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoticeRow {
    state: NoticeState,
    fence: u64,
    attempts: u32,
}

impl NoticeRow {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { state: NoticeState::Due(now), fence: 0, attempts: 0 }
    }
}

/// An idempotency key that is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyState {
    request: Digest,
    /// Until when somebody works on it; none: it is over, and the outcome is to be repeated.
    until: Option<Timestamp>,
}

impl<S: Strategy> Operations for MemoryStore<S> {
    async fn approval_by_token(&self, token: &str) -> Result<Option<ApprovalRecord>, StoreError> {
        match self.id_of_token(token) {
            Some(id) => self.any_approval(id).await,
            None => Ok(None),
        }
    }

    async fn any_approval(&self, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        let Some(team) = self.team_of_approval(id) else { return Ok(None) };
        let team = locked(&team);
        Ok(team.approvals.get(&id).map(|record| self.as_it_stands(record)))
    }

    async fn lease_notice(&self, until: Timestamp) -> Result<Option<Notice>, StoreError> {
        let waiting = locked(&self.directory).notices.clone();
        for id in waiting {
            let Some(team) = self.team_of_approval(id) else { continue };
            let mut team = locked(&team);
            let Some(record) = team.approvals.get(&id).map(|record| self.as_it_stands(record)) else {
                continue;
            };
            let now = self.clock.now();
            let Some(row) = team.notices.get_mut(&id) else { continue };
            match row.state {
                NoticeState::Due(_) if record.approval.status != Status::Pending => {
                    row.state = NoticeState::Done;
                }
                NoticeState::Due(at) if at <= now => {
                    row.fence += 1;
                    row.attempts += 1;
                    row.state = NoticeState::Due(until);
                    let (attempts, fence) = (row.attempts - 1, row.fence);
                    return Ok(Some(Notice { record, attempts, fence }));
                }
                NoticeState::Due(_) => continue,
                NoticeState::Done => {}
            }
            drop(team);
            locked(&self.directory).notices.retain(|other| *other != id);
        }
        Ok(None)
    }

    async fn settle_notice(&self, notice: &Notice, state: NoticeState) -> Result<bool, StoreError> {
        let id = notice.record.approval.id;
        let Some(team) = self.team_of_approval(id) else { return Ok(false) };
        let mut team = locked(&team);
        Ok(match team.notices.get_mut(&id) {
            Some(row) if row.fence == notice.fence && row.state != NoticeState::Done => {
                row.state = state;
                true
            }
            _ => false,
        })
    }

    async fn claim_key(
        &self,
        team: Uuid,
        key: &str,
        request: Digest,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        let team = self.team(team).ok_or(StoreError::NotApplied)?;
        let mut team = locked(&team);
        let now = self.clock.now();
        let claimed = KeyState { request, until: Some(until) };
        let state = team.keys.entry(key.to_owned()).or_insert(KeyState { until: None, ..claimed });
        let in_flight = state.until.is_some_and(|until| now < until);
        Ok(if state.request != request {
            Claim::OtherRequest
        } else if in_flight {
            Claim::InFlight
        } else {
            *state = claimed;
            Claim::Granted
        })
    }

    async fn release_key(&self, team: Uuid, key: &str, keep: bool) -> Result<(), StoreError> {
        let team = self.team(team).ok_or(StoreError::NotApplied)?;
        let mut team = locked(&team);
        if !keep {
            team.keys.remove(key);
        } else if let Some(state) = team.keys.get_mut(key) {
            state.until = None;
        }
        Ok(())
    }

    async fn log_deploy(&self, log: DeployLog) -> Result<(), StoreError> {
        let team = self.team_of_approval(log.approval).ok_or(StoreError::NotApplied)?;
        locked(&team).deploy_logs.push(log);
        Ok(())
    }

    async fn deploy_logs(&self, approval: Uuid) -> Result<Vec<DeployLog>, StoreError> {
        let Some(team) = self.team_of_approval(approval) else { return Ok(Vec::new()) };
        let team = locked(&team);
        Ok(team.deploy_logs.iter().filter(|log| log.approval == approval).cloned().collect())
    }

    async fn is_ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
