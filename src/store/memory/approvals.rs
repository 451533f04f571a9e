//! Approvals: requested, read, decided.

use std::{
    cmp::Reverse,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use super::{MemoryStore, TeamState, locked, operations::NoticeRow};
use crate::{
    protocol::{Approval, Refusal, Standing, Status, Timestamp},
    store::{
        APPROVAL_WINDOW_MS, ApprovalRecord, Ask, AuditKind, Decision, Listed, Page, Place, Query, Reading,
        StoreError, TokenHash,
    },
    strategy::{Record, Strategy},
};

impl<S: Strategy> MemoryStore<S> {
    /// The record with the status that it has now.
    pub(super) fn as_it_stands(&self, record: &ApprovalRecord) -> ApprovalRecord {
        let mut record = record.clone();
        if let Some(Record { standing, changed_at }) = self.standings.read(record.approval.id) {
            record.approval.status = standing.status;
            record.decided_at = (standing.status != Status::Pending).then_some(changed_at);
        }
        record
    }

    /// What the rules look at, as it stands now.
    fn approval_now(&self, record: &ApprovalRecord) -> Approval {
        let status = self.standings.read(record.approval.id).map(|record| record.standing.status);
        Approval { status: status.unwrap_or(record.approval.status), ..record.approval.clone() }
    }

    pub(super) fn reading(&self, ask: &Ask) -> Result<Reading, StoreError> {
        let id = ask.request.approval;
        // A caller without a team has nothing that could run, and finds nothing.
        let team = self.team(ask.request.team).ok_or(StoreError::NotApplied)?;
        // Another team's approval is read all the same: whether it may be seen is for the rules to say.
        let owner = self.team_of_approval(id);
        let of_another = owner.as_ref().is_some_and(|owner| !Arc::ptr_eq(owner, &team));
        let look = |owner: Arc<Mutex<TeamState>>| {
            locked(&owner).approvals.get(&id).map(|record| self.approval_now(record))
        };
        let foreign = owner.filter(|_| of_another).and_then(look);
        let mut team = locked(&team);
        if team.estate.is_out(&Refusal::LOOKUP_FAILED) {
            return Err(StoreError::NotApplied);
        }
        let approval = foreign.or_else(|| team.approvals.get(&id).map(|record| self.approval_now(record)));
        Ok(Reading { approval, digest: team.digest(ask), now: self.clock.now() })
    }

    pub(super) fn page(&self, query: &Query) -> Page {
        let teams: Vec<_> = match query.team {
            Some(team) => self.team(team).into_iter().collect(),
            None => self.teams.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect(),
        };
        let mut found: Vec<(Place, Listed)> = Vec::new();
        for team in teams {
            for record in locked(&team).approvals.values().map(|record| self.as_it_stands(record)) {
                let ApprovalRecord { approval, created_at, decided_at, .. } = record;
                if query.status.is_none_or(|status| status == approval.status) {
                    let place = Place { created_at, id: approval.id };
                    found.push((place, Listed { approval, created_at, decided_at }));
                }
            }
        }
        found.sort_by_key(|(place, _)| Reverse(*place));
        let total = found.len();
        let mut rest = found.into_iter().filter(|(place, _)| query.after.is_none_or(|after| *place < after));
        let page: Vec<_> = rest.by_ref().take(query.limit()).collect();
        let next = page.last().map(|(place, _)| *place).filter(|_| rest.next().is_some());
        Page { items: page.into_iter().map(|(_, listed)| listed).collect(), total, next }
    }

    pub(super) fn request_now(&self, ask: &Ask) -> Result<ApprovalRecord, StoreError> {
        let team = self.team(ask.request.team).ok_or(StoreError::NotApplied)?;
        let mut team = locked(&team);
        let asked_before = ask.key.as_ref().and_then(|key| team.asked_under.get(key));
        if let Some(record) = asked_before.and_then(|id| team.approvals.get(id)) {
            return Ok(self.as_it_stands(record));
        }
        let now = self.clock.now();
        let standing = Standing {
            status: Status::Pending,
            expires_at: Timestamp(now.0.saturating_add(APPROVAL_WINDOW_MS)),
            digest: team.digest(ask),
        };
        let id = self.standings.insert(self.ids.next(), Record { standing, changed_at: now });
        let record = ApprovalRecord {
            approval: Approval {
                id,
                team: ask.request.team,
                requested_by: ask.by.clone(),
                binding: ask.binding().clone(),
                digest: standing.digest,
                status: standing.status,
                expires_at: standing.expires_at,
            },
            payload: ask.payload.clone(),
            services: team.estate.services_to_approve(ask),
            created_at: now,
            decided_at: None,
        };
        team.approvals.insert(id, Arc::new(record.clone()));
        team.record(AuditKind::Requested, id, now, &ask.by);
        team.notices.insert(id, NoticeRow::new(now));
        if let Some(key) = &ask.key {
            team.asked_under.insert(key.clone(), id);
        }
        drop(team);
        let token = TokenHash::of(&self.ids.token(id));
        // Only from now on can it be found.
        let mut directory = locked(&self.directory);
        directory.team_of.insert(id, ask.request.team);
        directory.by_token.insert(token, id);
        directory.notices.push(id);
        Ok(record)
    }

    pub(super) fn id_of_token(&self, token: &str) -> Option<Uuid> {
        locked(&self.directory).by_token.get(&TokenHash::of(token)).copied()
    }

    pub(super) fn decide_now(&self, decision: Decision<'_>) -> Result<ApprovalRecord, Refusal> {
        let (id, owned_by) = match decision {
            Decision::Operator { token, .. } => (self.id_of_token(token), None),
            Decision::Administrator { team, approval, .. } | Decision::Policy { team, approval, .. } => {
                (Some(approval), Some(team))
            }
        };
        let id = id.ok_or(Refusal::NOT_FOUND)?;
        let owner = locked(&self.directory).team_of.get(&id).copied().ok_or(Refusal::NOT_FOUND)?;
        if owned_by.is_some_and(|team| team != owner) {
            return Err(Refusal::NOT_FOUND);
        }
        let team = self.team(owner).ok_or(Refusal::NOT_FOUND)?;
        let mut team = locked(&team);
        let now = self.clock.now();
        let decider = decision.decider();
        let judge = |standing: Standing| decider.judge(standing, now);
        let status = self.standings.update(id, now, judge).ok_or(Refusal::NOT_FOUND)??;
        if let Some(kind) = AuditKind::of(status) {
            team.record(kind, id, now, &decision.by().into());
        }
        let record =
            team.approvals.get(&id).map(|record| self.as_it_stands(record)).ok_or(Refusal::NOT_FOUND)?;
        if status == Status::Expired { Err(decider.too_late()) } else { Ok(record) }
    }
}
