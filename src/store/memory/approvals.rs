//! Approvals: requested, read, decided.

use std::{cmp::Reverse, sync::Arc};

use uuid::Uuid;

use super::{ApprovalEntry, MemoryStore, TeamState, no_such_team, operations::NoticeRow};
use crate::{
    platform::{Binding, TenantFacts},
    protocol::{
        Approval, ApprovalState, Event as ProtocolEvent, Refusal, Status, Timestamp, Validity, transition,
    },
    store::memory::strategy::{Record, Strategy},
    store::{
        APPROVAL_WINDOW_MS, ApprovalRecord, AuditEvent, AuditKind, Bound, Clock as _, Decision, Listed,
        Named, Page, PersonalDecision, Place, PromotionRequest, Query, Reading, Requested, StoreError, Swept,
        TokenHash, decision::EXPIRY, preflight,
    },
};

/// The row with this status; copied if the status differs.
fn set_status(approval: &mut Arc<Approval>, status: Status) {
    if approval.status != status {
        Arc::make_mut(approval).status = status;
    }
}

impl<S: Strategy> MemoryStore<S> {
    /// The record with the status that it has now.
    pub(super) fn as_it_stands(&self, entry: &ApprovalEntry) -> ApprovalRecord {
        let standing = self.standings.read(entry.record.approval.id);
        let standing = standing.map(|Record { standing, changed_at }| (standing.status, changed_at));
        let mut record = entry.record.clone();
        if let Some((status, _)) = standing {
            set_status(&mut record.approval, status);
        }
        let decided = standing.filter(|(status, _)| *status != Status::Pending);
        ApprovalRecord { decided_at: decided.map(|(_, changed_at)| changed_at), ..record }
    }

    /// The record of one of the team's approvals, as it stands now.
    pub(super) fn record(&self, team: &TeamState, id: Uuid) -> Option<ApprovalRecord> {
        team.approvals.get(&id).map(|entry| self.as_it_stands(entry))
    }

    /// The approval with its current status, what it is for, and its latest fencing number.
    fn approval_now(&self, team: &TeamState, id: Uuid) -> Option<(Arc<Approval>, Binding, u64)> {
        let entry = team.approvals.get(&id)?;
        let mut approval = Arc::clone(&entry.record.approval);
        if let Some(record) = self.standings.read(id) {
            set_status(&mut approval, record.standing.status);
        }
        Some((approval, entry.record.binding.clone(), entry.fence()))
    }

    pub(super) fn reading(&self, id: Uuid, ask: &PromotionRequest) -> Result<Reading, StoreError> {
        let teams = self.teams();
        // A caller without a team has no stack that could run.
        let tenant = teams.get(&ask.team).ok_or_else(no_such_team)?;
        let mut team = tenant.state();
        let mut approval = self.approval_now(&team, id);
        if approval.is_none() {
            // Another team's approval is read all the same: whether it may be seen is for the rules to say. No two
            // teams' locks are held together.
            drop(team);
            let foreign = self.owner(id).and_then(|owner| self.approval_now(&owner.state(), id));
            team = tenant.state();
            approval = foreign;
        }
        let (digest, now) = (team.digest(ask), self.clock.now());
        Ok(match approval {
            Some((row, binding, fence)) => {
                Reading { approval: Some(row), binding: Some(binding), digest, fence, now }
            }
            None => Reading { approval: None, binding: None, digest, fence: 0, now },
        })
    }

    pub(super) fn page(&self, query: &Query) -> Page {
        let teams: Vec<_> = match query.team {
            Some(team) => self.teams().get(&team).cloned().into_iter().collect(),
            None => self.teams().values().cloned().collect(),
        };
        let mut found: Vec<(Place, Listed)> = Vec::new();
        for team in teams {
            let team = team.state();
            for record in team.approvals.values().map(|entry| self.as_it_stands(entry)) {
                let ApprovalRecord { approval, binding, created_at, decided_at, .. } = record;
                if query.status.is_none_or(|status| status == approval.status) {
                    let place = Place { created_at, id: approval.id };
                    found.push((place, Listed { approval, binding, created_at, decided_at }));
                }
            }
        }
        found.sort_by_key(|(place, _)| Reverse(*place));
        let mut rest = found.into_iter().filter(|(place, _)| query.after.is_none_or(|after| *place < after));
        let page: Vec<_> = rest.by_ref().take(query.limit()).collect();
        let next = page.last().map(|(place, _)| *place).filter(|_| rest.next().is_some());
        Page { items: page.into_iter().map(|(_, listed)| listed).collect(), next }
    }

    /// Asks for an approval; with a number of undecided ones that the team may have, for a person's decision.
    pub(super) fn request_now(
        &self,
        ask: &PromotionRequest,
        most_pending: Option<usize>,
    ) -> Result<Result<Requested, Refusal>, StoreError> {
        let owner = self.teams().get(&ask.team).cloned().ok_or_else(no_such_team)?;
        let mut team = owner.state();
        let asked_before = ask.key.as_ref().and_then(|key| team.by_idempotency_key.get(key).copied());
        if let Some(record) = asked_before.and_then(|id| self.record(&team, id)) {
            return Ok(Ok(Requested { record, created: false }));
        }
        let now = self.clock.now();
        let bound = Arc::new(team.tenant_state.bound(ask, &self.seal));
        if let Some(most_pending) = most_pending {
            match self.same_or_refused(&team, ask, &bound, most_pending, now) {
                Ok(None) => {}
                Ok(Some(record)) => {
                    if let Some(key) = &ask.key {
                        team.by_idempotency_key.insert(key.clone(), record.approval.id);
                    }
                    return Ok(Ok(Requested { record, created: false }));
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let standing = ApprovalState {
            status: Status::Pending,
            expires_at: Timestamp(now.0.saturating_add(APPROVAL_WINDOW_MS)),
            digest: team.digest(ask),
        };
        let id = self.standings.insert(self.ids.next(), Record { standing, changed_at: now });
        let record = ApprovalRecord {
            approval: Arc::new(Approval {
                id,
                team: ask.team,
                requested_by: ask.requested_by.clone(),
                digest: standing.digest,
                status: standing.status,
                expires_at: standing.expires_at,
            }),
            binding: ask.binding.clone(),
            payload: ask.payload.clone(),
            services: team.tenant_state.services_to_approve(ask),
            bound: Some(bound),
            created_at: now,
            decided_at: None,
        };
        let token = TokenHash::of(&self.ids.token(id));
        // The approval becomes visible only when this team's lock is released.
        let notice = NoticeRow::new(self.lease_clock.now(), self.directory.lock().file(id, &owner, token));
        let mut entry = ApprovalEntry::new(record.clone(), notice);
        entry.write_event(&mut team.events, AuditKind::Requested, now, Some(Arc::clone(&ask.requested_by)));
        team.approvals.insert(id, Box::new(entry));
        if let Some(key) = &ask.key {
            team.by_idempotency_key.insert(key.clone(), id);
        }
        Ok(Ok(Requested { record, created: true }))
    }

    /// The oldest usable or undecided approval of the same; or why another one is refused.
    fn same_or_refused(
        &self,
        team: &TeamState,
        ask: &PromotionRequest,
        bound: &Bound,
        most_pending: usize,
        now: Timestamp,
    ) -> Result<Option<ApprovalRecord>, Refusal> {
        let digest = team.digest(ask);
        let all = team.approvals.values().map(|entry| self.as_it_stands(entry));
        let open: Vec<ApprovalRecord> = all
            .filter(|record| {
                matches!(record.approval.status, Status::Pending | Status::Approved)
                    && record.approval.validity(now) == Validity::Valid
            })
            .collect();
        let pending = open.iter().filter(|record| record.approval.status == Status::Pending).count();
        let is_same = |record: &ApprovalRecord| {
            record.approval.digest == digest && record.bound.as_deref() == Some(bound)
        };
        let same =
            open.into_iter().filter(is_same).min_by_key(|record| (record.created_at, record.approval.id));
        if same.is_some() {
            return Ok(same);
        }
        match preflight::hopeless(&*self.preflight, &TenantFacts::new(&team.tenant_state, ask)) {
            Some(refusal) => Err(refusal),
            None if pending >= most_pending => Err(Refusal::TOO_MANY_PENDING),
            None => Ok(None),
        }
    }

    pub(super) fn id_of_token(&self, token: &str) -> Option<Uuid> {
        self.directory.lock().by_token.get(&TokenHash::of(token)).copied()
    }

    pub(super) fn decide_now(&self, decision: Decision<'_>) -> Result<ApprovalRecord, Refusal> {
        let (id, owned_by) = match decision {
            Decision::Operator { token, .. }
            | Decision::Person(PersonalDecision { about: Named::Link(token), .. }) => {
                (self.id_of_token(token), None)
            }
            Decision::Person(PersonalDecision { about: Named::OfTeam { team, approval }, .. })
            | Decision::Administrator { team, approval, .. }
            | Decision::Policy { team, approval, .. } => (Some(approval), Some(team)),
        };
        let id = id.ok_or(Refusal::NOT_FOUND)?;
        let owner = self.owner(id).ok_or(Refusal::NOT_FOUND)?;
        if owned_by.is_some_and(|team| team != owner.id) {
            return Err(Refusal::NOT_FOUND);
        }
        let mut team = owner.state();
        let now = self.clock.now();
        let decider = decision.decider();
        let judge = |standing: ApprovalState| decider.judge(standing, now);
        let judged = self.standings.update(id, now, judge).ok_or(Refusal::NOT_FOUND)?;
        let status = self.standings.read(id).map(|record| record.standing.status);
        let kind = match &judged {
            Ok(status) => AuditKind::of(*status),
            Err(_) => {
                let is_late = status.is_some_and(|status| decider.is_late_rejection(status));
                let is_new = || {
                    let same = |event: AuditEvent| {
                        event.kind == AuditKind::RejectedLate && &*event.by == decision.by()
                    };
                    !team.audit(id).into_iter().any(same)
                };
                (is_late && is_new()).then_some(AuditKind::RejectedLate)
            }
        };
        if let Some(kind) = kind {
            let TeamState { approvals, events, .. } = &mut *team;
            if let Some(entry) = approvals.get_mut(&id) {
                let by = decision.account().map(Arc::from);
                entry.write_decision(events, kind, now, by, decision.circumstances());
            }
        }
        let status = judged?;
        let record = self.record(&team, id).ok_or(Refusal::NOT_FOUND)?;
        if status == Status::Expired { Err(decider.too_late()) } else { Ok(record) }
    }

    /// Expires pending approvals whose window has passed, at most this many, of those that were asked for after this time.
    pub(super) fn expire_now(&self, after: Timestamp, most: usize) -> Swept {
        let teams: Vec<_> = self.teams().values().cloned().collect();
        let mut expired = 0;
        let now = self.clock.now();
        for team in teams {
            let mut team = team.state();
            let TeamState { approvals, events, .. } = &mut *team;
            for entry in approvals.values_mut().filter(|entry| after < entry.record.created_at) {
                if expired == most {
                    return Swept { expired, until: after };
                }
                let judge = |standing: ApprovalState| {
                    let window = standing.validity(now);
                    transition(standing.status, ProtocolEvent::Expire, window)
                        .map_err(|_| Refusal::NOT_PENDING)
                };
                let judged = self.standings.update(entry.record.approval.id, now, judge);
                if matches!(judged, Some(Ok(_))) {
                    expired += 1;
                    entry.write_event(events, AuditKind::Expired, now, Some(EXPIRY.into()));
                }
            }
        }
        Swept { expired, until: Timestamp(now.0.saturating_sub(APPROVAL_WINDOW_MS)) }
    }
}
