//! What the platform itself asks for, in memory: links to be sent, idempotency keys, what deploys have printed.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Directory, Filed, MemoryStore, TeamState, Tenant, locked,
    queue::{Place, Row, Turn},
};
use crate::{
    protocol::{Digest, Status, Timestamp},
    store::{ApprovalRecord, Claim, DeployLog, Notice, NoticeState, Operations, StoreError, TokenHash},
    strategy::Strategy,
};

/// A link to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoticeRow {
    /// Not before this time.
    due: Timestamp,
    fence: u64,
    attempts: u32,
    place: Place,
}

impl Row for NoticeRow {
    fn place(&mut self) -> &mut Place {
        &mut self.place
    }

    fn turn(&self, now: Timestamp) -> Turn {
        if self.due <= now { Turn::Now } else { Turn::NotBefore(self.due) }
    }
}

impl Directory {
    /// Files a new approval, with the notice that its link has to be sent.
    pub(super) fn file(&mut self, id: Uuid, owner: Arc<Tenant>, token: TokenHash, now: Timestamp) {
        let notice = NoticeRow { due: now, fence: 0, attempts: 0, place: self.notices.add(id) };
        self.filed.insert(id, Filed { owner, notice: Some(notice), job: None });
        self.by_token.insert(token, id);
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
        Ok(self.with_owner(id, |team| self.record(team, id)).flatten())
    }

    async fn lease_notice(&self, until: Timestamp) -> Result<Option<Notice>, StoreError> {
        let Some((id, owner, attempts, fence)) = self.next_notice(until) else { return Ok(None) };
        let record = self.record(&owner.state(), id);
        Ok(record.map(|record| Notice { record, attempts, fence }))
    }

    async fn settle_notice(&self, notice: &Notice, state: NoticeState) -> Result<bool, StoreError> {
        let id = notice.record.approval.id;
        let mut directory = locked(&self.directory);
        let Directory { filed, notices, .. } = &mut *directory;
        let row = filed.get_mut(&id).map(|filed| &mut filed.notice);
        let Some(row) = row.filter(|row| row.is_some_and(|row| row.fence == notice.fence)) else {
            return Ok(false);
        };
        match (state, row.as_mut()) {
            (NoticeState::Due(at), Some(row)) => {
                row.due = at;
                notices.moved(id, &mut row.place, at);
            }
            (NoticeState::Due(_), None) | (NoticeState::Done, _) => *row = None,
        }
        Ok(true)
    }

    async fn claim_key(
        &self,
        team: Uuid,
        key: &str,
        request: Digest,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        let claim = |team: &mut TeamState| {
            let now = self.clock.now();
            let claimed = KeyState { request, until: Some(until) };
            let state = team.keys.entry(key.to_owned()).or_insert(KeyState { until: None, ..claimed });
            let in_flight = state.until.is_some_and(|until| now < until);
            if state.request != request {
                Claim::OtherRequest
            } else if in_flight {
                Claim::InFlight
            } else {
                *state = claimed;
                Claim::Granted
            }
        };
        self.with_team(team, claim).ok_or(StoreError::NotApplied)
    }

    async fn release_key(&self, team: Uuid, key: &str, keep: bool) -> Result<(), StoreError> {
        let release = |team: &mut TeamState| {
            if !keep {
                team.keys.remove(key);
            } else if let Some(state) = team.keys.get_mut(key) {
                state.until = None;
            }
        };
        self.with_team(team, release).ok_or(StoreError::NotApplied)
    }

    async fn log_deploy(&self, log: DeployLog) -> Result<(), StoreError> {
        let approval = log.approval;
        let write = |team: &mut TeamState| team.deploy_logs.entry(approval).or_default().push(log);
        self.with_owner(approval, write).ok_or(StoreError::NotApplied)
    }

    async fn deploy_logs(&self, approval: Uuid) -> Result<Vec<DeployLog>, StoreError> {
        let logs = |team: &mut TeamState| team.deploy_logs.get(&approval).cloned();
        Ok(self.with_owner(approval, logs).flatten().unwrap_or_default())
    }

    async fn is_ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl<S: Strategy> MemoryStore<S> {
    /// The oldest notice that is due and whose approval is still pending, leased.
    fn next_notice(&self, until: Timestamp) -> Option<(Uuid, Arc<Tenant>, u32, u64)> {
        let mut directory = locked(&self.directory);
        let Directory { filed, notices, .. } = &mut *directory;
        loop {
            let id = notices.next(filed, |filed| filed.notice.as_mut(), self.clock.now())?;
            let Filed { owner, notice, .. } = filed.get_mut(&id)?;
            let pending = self.standings.read(id).is_some_and(|record| {
                // Nobody is waiting for a link to what is decided.
                record.standing.status == Status::Pending
            });
            let Some(row) = notice.as_mut().filter(|_| pending) else {
                *notice = None;
                continue;
            };
            row.fence += 1;
            row.attempts += 1;
            row.due = until;
            notices.put_off(id, &mut row.place, until);
            return Some((id, Arc::clone(owner), row.attempts - 1, row.fence));
        }
    }
}
