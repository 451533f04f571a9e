//! The platform's own operations, in memory: notifications, idempotency keys, the output of deploys.

use std::sync::Arc;

use uuid::Uuid;

use super::{Directory, MemoryStore, TeamState, Tenant, after, no_such_team, queue::Place};
use crate::{
    protocol::{Digest, Refusal, Status, Timestamp},
    store::memory::strategy::Strategy,
    store::{
        ApprovalRecord, AuditEvent, Backlog, Claim, Clock as _, DeployLog, JobState, Notice, NoticeState,
        Operations, Owed, PromotionRequest, Requested, StoreError, Swept, TokenHash,
    },
};

/// A link to be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NoticeRow {
    /// Not before this time.
    due: Timestamp,
    fence: u64,
    attempts: u32,
    place: Place,
}

impl NoticeRow {
    pub(super) fn new(now: Timestamp, place: Place) -> Self {
        Self { due: now, fence: 0, attempts: 0, place }
    }
}

impl Directory {
    /// Files a new approval. The place of the notice that its link has to be sent.
    pub(super) fn file(&mut self, id: Uuid, owner: &Arc<Tenant>, token: TokenHash) -> Place {
        self.owners.insert(id, Arc::clone(owner));
        self.by_token.insert(token, id);
        self.notices.add(id, owner.id)
    }
}

/// An idempotency key that is in use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct KeyState {
    request: Digest,
    /// End of the worker's claim; `None` once finished: the outcome is then replayed.
    until: Option<Timestamp>,
}

impl<S: Strategy> Operations for MemoryStore<S> {
    async fn request_decision(
        &self,
        ask: &PromotionRequest,
        most_pending: usize,
    ) -> Result<Result<Requested, Refusal>, StoreError> {
        self.request_now(ask, Some(most_pending))
    }

    async fn audit(&self, approval: Uuid) -> Result<Vec<AuditEvent>, StoreError> {
        Ok(self.with_owner(approval, |team| team.audit(approval)).unwrap_or_default())
    }

    async fn approval_by_token(&self, token: &str) -> Result<Option<ApprovalRecord>, StoreError> {
        match self.id_of_token(token) {
            Some(id) => self.any_approval(id).await,
            None => Ok(None),
        }
    }

    async fn put_links(&self, approval: Uuid, links: &[(TokenHash, String)]) -> Result<(), StoreError> {
        let mut directory = self.directory.lock();
        for (token, approver) in links {
            directory.by_token.insert(*token, approval);
            directory.approvers.insert(*token, approver.as_str().into());
        }
        Ok(())
    }

    async fn approver_of_link(&self, token: &str) -> Result<Option<String>, StoreError> {
        let approver = self.directory.lock().approvers.get(&TokenHash::of(token)).cloned();
        Ok(approver.map(|approver| approver.as_ref().to_owned()))
    }

    async fn expire_overdue(&self, after: Timestamp, most: usize) -> Result<Swept, StoreError> {
        Ok(self.expire_now(after, most))
    }

    async fn any_approval(&self, id: Uuid) -> Result<Option<ApprovalRecord>, StoreError> {
        Ok(self.with_owner(id, |team| self.record(team, id)).flatten())
    }

    async fn lease_notice(&self, lease_ms: u64) -> Result<Option<Notice>, StoreError> {
        Ok(self.next_notice(lease_ms))
    }

    async fn settle_notice(&self, notice: &Notice, state: NoticeState) -> Result<bool, StoreError> {
        let id = notice.record.approval.id;
        let settle = |team: &mut TeamState| {
            let Some(entry) = team.approvals.get_mut(&id) else { return false };
            let Some(row) = entry.notice.as_mut().filter(|row| row.fence == notice.fence) else {
                return false;
            };
            match state {
                NoticeState::Due { after_ms } => {
                    let at = after(self.lease_clock.now(), after_ms);
                    row.due = at;
                    if row.place.is_after(at) {
                        self.directory.lock().notices.file(id, &mut row.place, at);
                    }
                }
                NoticeState::Done => entry.notice = None,
            }
            true
        };
        Ok(self.with_owner(id, settle).unwrap_or(false))
    }

    async fn claim_key(
        &self,
        team: Uuid,
        key: &str,
        request: Digest,
        lease_ms: u64,
    ) -> Result<Claim, StoreError> {
        let claim = |team: &mut TeamState| {
            let now = self.lease_clock.now();
            let until = after(now, lease_ms);
            let claimed = KeyState { request, until: Some(until) };
            let state = team.keys.entry(key.to_owned()).or_insert(KeyState { until: None, ..claimed });
            let in_flight = state.until.is_some_and(|until| now < until);
            if state.request != request {
                Claim::OtherRequest
            } else if in_flight {
                Claim::InFlight
            } else {
                *state = claimed;
                Claim::Granted { until }
            }
        };
        self.with_team(team, claim).ok_or_else(no_such_team)
    }

    async fn release_key(
        &self,
        team: Uuid,
        key: &str,
        until: Timestamp,
        keep: bool,
    ) -> Result<(), StoreError> {
        let release = |team: &mut TeamState| {
            let claimed = team.keys.get_mut(key).filter(|state| state.until == Some(until));
            match claimed {
                Some(state) if keep => state.until = None,
                Some(_) => {
                    team.keys.remove(key);
                }
                None => {}
            }
        };
        self.with_team(team, release).ok_or_else(no_such_team)
    }

    async fn log_deploy(&self, log: DeployLog) -> Result<(), StoreError> {
        let approval = log.approval;
        let write = |team: &mut TeamState| team.deploy_logs.entry(approval).or_default().push(log);
        self.with_owner(approval, write).ok_or_else(|| StoreError::not_applied("no such approval"))
    }

    async fn deploy_logs(&self, approval: Uuid) -> Result<Vec<DeployLog>, StoreError> {
        let logs = |team: &mut TeamState| team.deploy_logs.get(&approval).cloned();
        Ok(self.with_owner(approval, logs).flatten().unwrap_or_default())
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        Ok(self.backlog_now())
    }

    async fn is_ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl<S: Strategy> MemoryStore<S> {
    fn backlog_now(&self) -> Backlog {
        let teams: Vec<_> = self.teams().values().cloned().collect();
        let mut backlog = Backlog::default();
        let now = self.clock.now();
        let add = |owed: &mut Owed, since: Timestamp| {
            owed.count += 1;
            owed.oldest_ms = owed.oldest_ms.max(now.0.saturating_sub(since.0));
        };
        for team in teams {
            let team = team.state();
            for entry in team.approvals.values() {
                let is_owed = entry.job.as_ref().is_some_and(|row| row.job.state != JobState::Done);
                if !is_owed && entry.notice.is_none() {
                    continue;
                }
                let record = self.as_it_stands(entry);
                if is_owed {
                    add(&mut backlog.jobs, record.decided_at.unwrap_or(record.created_at));
                }
                if entry.notice.is_some() && record.approval.status == Status::Pending {
                    add(&mut backlog.notices, record.created_at);
                }
            }
        }
        backlog
    }

    /// The oldest notice that is due and whose approval is still pending, leased.
    fn next_notice(&self, lease_ms: u64) -> Option<Notice> {
        loop {
            let (ticket, owner) = self.next_in(|directory| &mut directory.notices)?;
            let id = ticket.id;
            let mut team = owner.state();
            let now = self.lease_clock.now();
            let Some(entry) = team.approvals.get_mut(&id) else { continue };
            if !entry.notice.is_some_and(|row| ticket.is_for(row.place)) {
                continue;
            }
            let record = self.as_it_stands(entry);
            let is_pending = record.approval.status == Status::Pending;
            let Some(row) = entry.notice.as_mut().filter(|_| is_pending) else {
                // A decided approval needs no link.
                entry.notice = None;
                continue;
            };
            if now < row.due {
                self.directory.lock().notices.file(id, &mut row.place, row.due);
                continue;
            }
            row.fence += 1;
            row.attempts += 1;
            let until = after(now, lease_ms);
            row.due = until;
            let mut directory = self.directory.lock();
            directory.notices.serve(ticket);
            directory.notices.file(id, &mut row.place, until);
            return Some(Notice {
                record,
                attempts: row.attempts - 1,
                fence: row.fence,
                now: self.clock.now(),
            });
        }
    }
}
