//! Approvals: requested, read, decided, listed, and the events about them.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Done, Mode, Session, SqlError, Transaction,
    outbox::next_turn,
    preflight::{Needs, digest_now, load, lock_team},
    rows::{Columns, approval_columns, first, unreadable, values},
};
use crate::{
    platform::Binding,
    protocol::{Approval, Digest, Refusal, Status, Timestamp},
    store::{
        APPROVAL_WINDOW_MS, ApprovalRecord, AuditEvent, AuditKind, Bound, Decider, Decision, Execution, Ids,
        Listed, Named, Page, PersonalDecision, Place, PromotionRequest, Query, Reading, Requested, Seal,
        Service, StoreChecks, Swept, TenantFacts, TokenHash, Way, decision::EXPIRY, digest_of,
        preflight::hopeless,
    },
};

/// Reads an approval, what would run, and the clock, in one statement.
pub(super) struct ReadApproval {
    pub(super) approval: Uuid,
    pub(super) ask: PromotionRequest,
}

impl Transaction for ReadApproval {
    /// `None` if the caller has no team, and so no stack that could run.
    type Output = Option<Reading>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        // Another team's approval is read all the same: whether it may be seen is for the rules to say.
        const READ: &str = concat!(
            "SELECT countersign_now(), s.services, COALESCE(a.lease_fence, 0), ",
            approval_columns!(),
            " FROM teams AS t LEFT JOIN stacks AS s ON s.id = $1 AND s.team = t.id \
             LEFT JOIN approvals AS a ON a.id = $2 WHERE t.id = $3"
        );
        let Self { approval, ask } = self;
        let parameters = values![ask.payload.source, *approval, ask.team];
        let Some(row) = session.query(READ, &parameters).await?.into_iter().next() else {
            return Ok(Done::Commit(None));
        };
        let mut columns = Columns::of(row);
        let (now, services) = (columns.take()?, columns.take::<Option<Arc<[Service]>>>()?);
        // A twin's source is a resource: it has no services.
        let fence = columns.take()?;
        let services = services.filter(|_| !ask.is_twin()).unwrap_or_else(|| Arc::from([]));
        let record = if columns.is_null() { None } else { Some(columns.approval()?) };
        let (approval, binding) = record.map(|record| (record.approval, record.binding)).unzip();
        let digest = digest_of(ask, &services);
        Ok(Done::Commit(Some(Reading { approval, binding, digest, fence, now })))
    }
}

/// Writes a pending approval with its event and its notice, unless it was asked for before under the same key.
pub(super) struct Request {
    pub(super) ask: PromotionRequest,
    pub(super) ids: Arc<dyn Ids>,
    pub(super) seal: Seal,
    pub(super) preflight: Arc<StoreChecks>,
    /// For a person's decision: how many undecided approvals the team may have.
    pub(super) most_pending: Option<usize>,
}

impl Transaction for Request {
    /// `None` for an unknown team.
    type Output = Option<Result<Requested, Refusal>>;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        let ask = &self.ask;
        if self.most_pending.is_some() {
            // Of two requests for the same one is first.
            lock_team(session, ask.team, self.mode()).await?;
        }
        if let Some(record) = self.asked_before(session).await? {
            return Ok(Done::Rollback(Some(Ok(Requested { record, created: false }))));
        }
        let needs = Needs { vault_refs: true, vault: ask.payload.copy_vault, ..Needs::default() };
        let Some(tenant_state) = load(session, ask, needs).await? else {
            return Ok(Done::Rollback(None));
        };
        let now = now(session).await?;
        let (digest, bound) = (digest_now(ask, &tenant_state), tenant_state.bound(ask, &self.seal));
        if let Some(most_pending) = self.most_pending {
            if let Some(record) = self.same(session, digest, &bound, now).await? {
                self.remember_key(session, record.approval.id).await?;
                return Ok(Done::Commit(Some(Ok(Requested { record, created: false }))));
            }
            if let Some(refusal) = hopeless(&*self.preflight, &TenantFacts::new(&tenant_state, ask)) {
                return Ok(Done::Rollback(Some(Err(refusal))));
            }
            if self.pending(session, now).await? >= most_pending {
                return Ok(Done::Rollback(Some(Err(Refusal::TOO_MANY_PENDING))));
            }
        }
        let record = ApprovalRecord {
            approval: Arc::new(Approval {
                id: self.ids.next(),
                team: ask.team,
                requested_by: ask.requested_by.clone(),
                digest,
                status: Status::Pending,
                expires_at: Timestamp(now.0.saturating_add(APPROVAL_WINDOW_MS)),
            }),
            binding: ask.binding.clone(),
            payload: ask.payload.clone(),
            services: tenant_state.services_to_approve(ask),
            bound: Some(Arc::new(bound)),
            created_at: now,
            decided_at: None,
        };
        if !self.insert(session, &record).await? {
            // Another request under this key was quicker, and is there now.
            return self
                .asked_before(session)
                .await?
                .map(|record| Done::Rollback(Some(Ok(Requested { record, created: false }))))
                .ok_or_else(|| SqlError::conflict("another request under the same key was rolled back"));
        }
        let id = record.approval.id;
        write_event(session, AuditKind::Requested, id, now, &ask.requested_by).await?;
        const NOTICE: &str = concat!(
            "INSERT INTO notices (approval, due_at, due_in, team, turn) VALUES ($1, $2, 0, $3, ",
            next_turn!("notices", "$3"),
            ")"
        );
        session.execute(NOTICE, &values![id, now, ask.team]).await?;
        Ok(Done::Commit(Some(Ok(Requested { record, created: true }))))
    }
}

impl Request {
    /// The oldest usable or undecided approval of the same.
    async fn same<S: Session>(
        &self,
        session: &mut S,
        digest: Digest,
        bound: &Bound,
        now: Timestamp,
    ) -> Result<Option<ApprovalRecord>, SqlError> {
        // The age is compared for the index's sake.
        const SAME: &str = concat!(
            "SELECT ",
            approval_columns!(),
            " FROM approvals AS a WHERE a.team = $1 AND a.created_at > $2 AND a.digest = $3 \
             AND a.status IN ('pending', 'approved') AND a.expires_at > $4 ORDER BY a.created_at, a.id"
        );
        let parameters = values![self.ask.team, oldest(now), digest, now];
        for row in session.query(SAME, &parameters).await? {
            let record = Columns::of(row).approval()?;
            if record.bound.as_deref() == Some(bound) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Number of the team's undecided approvals.
    async fn pending<S: Session>(&self, session: &mut S, now: Timestamp) -> Result<usize, SqlError> {
        const COUNT: &str = "SELECT count(*) FROM approvals WHERE team = $1 AND created_at > $2 \
                             AND status = 'pending' AND expires_at > $3";
        let rows = session.query(COUNT, &values![self.ask.team, oldest(now), now]).await?;
        Ok(first(rows)?.unwrap_or(0))
    }

    /// From now on the request's key is that of this approval, too.
    async fn remember_key<S: Session>(&self, session: &mut S, approval: Uuid) -> Result<(), SqlError> {
        const WRITE: &str = "INSERT INTO further_keys (team, key, approval) VALUES ($1, $2, $3) \
                             ON CONFLICT (team, key) DO NOTHING";
        let Some(key) = &self.ask.key else { return Ok(()) };
        session.execute(WRITE, &values![self.ask.team, key, approval]).await.map(drop)
    }

    async fn asked_before<S: Session>(&self, session: &mut S) -> Result<Option<ApprovalRecord>, SqlError> {
        const ASKED: &str = concat!(
            "SELECT ",
            approval_columns!(),
            " FROM approvals AS a WHERE a.team = $1 AND (a.request_key = $2 OR a.id = \
             (SELECT k.approval FROM further_keys AS k WHERE k.team = $1 AND k.key = $2))"
        );
        let Some(key) = &self.ask.key else { return Ok(None) };
        let rows = session.query(ASKED, &values![self.ask.team, key]).await?;
        rows.into_iter().next().map(|row| Columns::of(row).approval()).transpose()
    }

    /// False when there is one under the same key.
    async fn insert<S: Session>(&self, session: &mut S, record: &ApprovalRecord) -> Result<bool, SqlError> {
        const INSERT: &str = "INSERT INTO approvals (id, team, token_hash, requested_by, kind, from_env, to_env, \
                              source, target_name, copy_vault, digest, services, request_key, status, created_at, \
                              expires_at, bound) \
                              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
                              ON CONFLICT (team, request_key) DO NOTHING";
        let ApprovalRecord { approval, binding, payload, services, bound, created_at, .. } = record;
        let Approval { id, team, requested_by, digest, status, expires_at } = &**approval;
        let Binding { kind, from, to } = binding;
        let token = super::Value::Bytes(TokenHash::of(&self.ids.token(*id)).0.to_vec());
        let parameters = values![
            *id,
            *team,
            token,
            requested_by,
            *kind,
            from,
            to,
            payload.source,
            payload.name.as_deref(),
            payload.copy_vault,
            *digest,
            services,
            self.ask.key.as_deref(),
            *status,
            *created_at,
            *expires_at,
            bound.as_deref(),
        ];
        Ok(session.execute(INSERT, &parameters).await? == 1)
    }
}

/// Records a decision.
pub(super) struct Decide {
    decider: Decider,
    which: Pending,
    by: String,
    way: Option<Way>,
    reason: Option<String>,
}

/// The approval that is decided about.
enum Pending {
    WithToken(TokenHash),
    OfTeam { team: Uuid, id: Uuid },
}

impl From<Decision<'_>> for Decide {
    fn from(decision: Decision<'_>) -> Self {
        let which = match decision {
            Decision::Operator { token, .. }
            | Decision::Person(PersonalDecision { about: Named::Link(token), .. }) => {
                Pending::WithToken(TokenHash::of(token))
            }
            Decision::Person(PersonalDecision { about: Named::OfTeam { team, approval }, .. })
            | Decision::Administrator { team, approval, .. }
            | Decision::Policy { team, approval, .. } => Pending::OfTeam { team, id: approval },
        };
        let (way, reason) = decision.circumstances();
        let (by, reason) = (decision.by().to_owned(), reason.map(str::to_owned));
        Self { decider: decision.decider(), which, by, way, reason }
    }
}

impl Transaction for Decide {
    type Output = Result<ApprovalRecord, Refusal>;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const BY_TOKEN: &str = concat!(
            "SELECT countersign_now(), ",
            approval_columns!(),
            " FROM approvals AS a WHERE a.token_hash = $1 \
             OR a.id = (SELECT l.approval FROM links AS l WHERE l.token_hash = $1)"
        );
        const BY_ID: &str = concat!(
            "SELECT countersign_now(), ",
            approval_columns!(),
            " FROM approvals AS a WHERE a.id = $1 AND a.team = $2"
        );
        // The status is compared again, with all that it was judged by: of two that decide exactly one wins.
        const MOVE: &str = "UPDATE approvals SET status = $1, decided_at = $2, version = version + 1 \
                            WHERE id = $3 AND status = $4";
        let rows = match &self.which {
            Pending::WithToken(token) => {
                session.query(BY_TOKEN, &[super::Value::Bytes(token.0.to_vec())]).await?
            }
            Pending::OfTeam { team, id } => session.query(BY_ID, &values![*id, *team]).await?,
        };
        let Some(row) = rows.into_iter().next() else { return Ok(Done::Rollback(Err(Refusal::NOT_FOUND))) };
        let mut columns = Columns::of(row);
        let (now, mut record) = (columns.take::<Timestamp>()?, columns.approval()?);
        let status = record.approval.status;
        let id = record.approval.id;
        let next = match self.decider.judge(record.approval.state(), now) {
            Ok(next) => next,
            Err(refusal) if self.decider.is_late_rejection(status) => {
                self.write_late_rejection(session, id, now).await?;
                return Ok(Done::Commit(Err(refusal)));
            }
            Err(refusal) => return Ok(Done::Rollback(Err(refusal))),
        };
        if session.execute(MOVE, &values![next, now, id, status]).await? == 0 {
            return Ok(Done::Rollback(Err(self.decider.too_late())));
        }
        let Some(kind) = AuditKind::of(next) else { return Err(unreadable("a decision")) };
        write_decision(session, kind, id, now, &self.by, (self.way, self.reason.as_deref())).await?;
        Arc::make_mut(&mut record.approval).status = next;
        record.decided_at = Some(now);
        Ok(Done::Commit(if next == Status::Expired { Err(self.decider.too_late()) } else { Ok(record) }))
    }
}

impl Decide {
    /// Once for each person.
    async fn write_late_rejection<S: Session>(
        &self,
        session: &mut S,
        approval: Uuid,
        at: Timestamp,
    ) -> Result<(), SqlError> {
        const WRITTEN: &str = "SELECT 1 FROM audit WHERE approval = $1 AND kind = $2 AND actor = $3 LIMIT 1";
        let kind = AuditKind::RejectedLate;
        if session.query(WRITTEN, &values![approval, kind, &self.by]).await?.is_empty() {
            write_decision(session, kind, approval, at, &self.by, (self.way, self.reason.as_deref())).await?;
        }
        Ok(())
    }
}

/// Expires pending approvals whose window has passed.
pub(super) struct ExpireOverdue {
    pub(super) after: Timestamp,
    pub(super) most: usize,
}

impl Transaction for ExpireOverdue {
    type Output = Swept;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Swept>, SqlError> {
        const OVERDUE: &str = "SELECT id, created_at FROM approvals WHERE created_at > $1 AND status = 'pending' \
                               AND expires_at <= $2 ORDER BY created_at, id LIMIT $3";
        const EXPIRE: &str = "UPDATE approvals SET status = 'expired', decided_at = $1, version = version + 1 \
                              WHERE id = $2 AND status = 'pending'";
        let now = now(session).await?;
        let rows = session.query(OVERDUE, &values![self.after, now, self.most]).await?;
        let is_all = rows.len() < self.most;
        let (mut expired, mut until) = (0, self.after);
        for row in rows {
            let mut columns = Columns::of(row);
            let (id, created_at) = (columns.take::<Uuid>()?, columns.take::<Timestamp>()?);
            if session.execute(EXPIRE, &values![now, id]).await? == 1 {
                write_event(session, AuditKind::Expired, id, now, EXPIRY).await?;
                expired += 1;
            }
            // Others may have been asked for at the same time.
            until = Timestamp(created_at.0.saturating_sub(1));
        }
        let until = if is_all { oldest(now) } else { until.max(self.after) };
        Ok(Done::Commit(Swept { expired, until }))
    }
}

/// Writes that links are approvers' own.
pub(super) struct PutLinks {
    pub(super) approval: Uuid,
    pub(super) links: Vec<(TokenHash, String)>,
}

impl Transaction for PutLinks {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        const WRITE: &str = "INSERT INTO links (token_hash, approval, approver) VALUES ($1, $2, $3) \
                             ON CONFLICT (token_hash) DO NOTHING";
        for (token, approver) in &self.links {
            let token = super::Value::Bytes(token.0.to_vec());
            session.execute(WRITE, &values![token, self.approval, approver]).await?;
        }
        Ok(Done::Commit(()))
    }
}

/// The approver whose own link has a token.
pub(super) struct ApproverOfLink(pub(super) TokenHash);

impl Transaction for ApproverOfLink {
    type Output = Option<String>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const FIND: &str = "SELECT approver FROM links WHERE token_hash = $1";
        let rows = session.query(FIND, &[super::Value::Bytes(self.0.0.to_vec())]).await?;
        first(rows).map(Done::Commit)
    }
}

/// Writes a person's decision about an approval that is there: how it was made, and why.
async fn write_decision<S: Session>(
    session: &mut S,
    kind: AuditKind,
    approval: Uuid,
    at: Timestamp,
    by: &str,
    (way, reason): (Option<Way>, Option<&str>),
) -> Result<(), SqlError> {
    const WRITE: &str =
        "INSERT INTO audit (approval, kind, at, actor, way, reason) VALUES ($1, $2, $3, $4, $5, $6)";
    let way = way.map(Way::as_str);
    session.execute(WRITE, &values![approval, kind, at, by, way, reason]).await.map(drop)
}

/// Writes an event about an approval that is there.
pub(super) async fn write_event<S: Session>(
    session: &mut S,
    kind: AuditKind,
    approval: Uuid,
    at: Timestamp,
    by: &str,
) -> Result<(), SqlError> {
    const WRITE: &str = "INSERT INTO audit (approval, kind, at, actor) VALUES ($1, $2, $3, $4)";
    session.execute(WRITE, &values![approval, kind, at, by]).await.map(drop)
}

/// An approval that can still be decided or used was asked for after this.
fn oldest(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(APPROVAL_WINDOW_MS))
}

/// The time, as the database has it.
pub(super) async fn now<S: Session>(session: &mut S) -> Result<Timestamp, SqlError> {
    first(session.query("SELECT countersign_now()", &[]).await?)?.ok_or_else(|| unreadable("a time"))
}

/// Which approval is meant.
pub(super) enum Which {
    OfTeam { team: Uuid, id: Uuid },
    OfAnybody(Uuid),
    WithToken(TokenHash),
}

/// One approval as it stands.
pub(super) struct Find(pub(super) Which);

impl Transaction for Find {
    type Output = Option<ApprovalRecord>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        find(session, &self.0).await.map(Done::Commit)
    }
}

/// One approval as it stands.
pub(super) async fn find<S: Session>(
    session: &mut S,
    which: &Which,
) -> Result<Option<ApprovalRecord>, SqlError> {
    const OF_TEAM: &str =
        concat!("SELECT ", approval_columns!(), " FROM approvals AS a WHERE a.id = $1 AND a.team = $2");
    const OF_ANYBODY: &str = concat!("SELECT ", approval_columns!(), " FROM approvals AS a WHERE a.id = $1");
    const WITH_TOKEN: &str = concat!(
        "SELECT ",
        approval_columns!(),
        " FROM approvals AS a WHERE a.token_hash = $1 \
             OR a.id = (SELECT l.approval FROM links AS l WHERE l.token_hash = $1)"
    );
    let rows = match which {
        Which::OfTeam { team, id } => session.query(OF_TEAM, &values![*id, *team]).await?,
        Which::OfAnybody(id) => session.query(OF_ANYBODY, &values![*id]).await?,
        Which::WithToken(hash) => session.query(WITH_TOKEN, &[super::Value::Bytes(hash.0.to_vec())]).await?,
    };
    rows.into_iter().next().map(|row| Columns::of(row).approval()).transpose()
}

/// The promotion that consumed an approval.
pub(super) struct FindExecution {
    pub(super) team: Uuid,
    pub(super) approval: Uuid,
}

impl Transaction for FindExecution {
    type Output = Option<Execution>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const FIND: &str = "SELECT execution FROM approvals WHERE id = $1 AND team = $2";
        let rows = session.query(FIND, &values![self.approval, self.team]).await?;
        Ok(Done::Commit(first::<Option<Execution>>(rows)?.flatten()))
    }
}

/// A part of the list.
pub(super) struct List(pub(super) Query);

impl Transaction for List {
    type Output = Page;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Page>, SqlError> {
        macro_rules! page {
            ($filter:literal, $limit:literal) => {
                concat!(
                    "SELECT ",
                    approval_columns!(),
                    " FROM approvals AS a WHERE (a.created_at, a.id) < ($1, $2)",
                    $filter,
                    " ORDER BY a.created_at DESC, a.id DESC LIMIT ",
                    $limit
                )
            };
        }
        // Each reads one range of an index, from the position on.
        const OF_ALL: &str = page!("", "$3");
        const OF_STATUS: &str = page!(" AND a.status = $3", "$4");
        const OF_TEAM: &str = page!(" AND a.team = $3", "$4");
        const OF_TEAM_AND_STATUS: &str = page!(" AND a.team = $3 AND a.status = $4", "$5");
        let Query { team, status, after, .. } = self.0;
        let before = after.unwrap_or(Place { created_at: Timestamp(u64::MAX), id: Uuid::max() });
        let limit = self.0.limit();
        let mut wanted = values![before.created_at, before.id].to_vec();
        wanted.extend(team.map(Into::into));
        wanted.extend(status.map(Into::into));
        let page = match (team, status) {
            (None, None) => OF_ALL,
            (None, Some(_)) => OF_STATUS,
            (Some(_), None) => OF_TEAM,
            (Some(_), Some(_)) => OF_TEAM_AND_STATUS,
        };
        // One row more than the page, to see whether another page follows.
        wanted.push((limit + 1).into());
        let rows = session.query(page, &wanted).await?;
        let more = rows.len() > limit;
        let items = rows.into_iter().take(limit).map(listed).collect::<Result<Vec<_>, _>>()?;
        let place = |last: &Listed| Place { created_at: last.created_at, id: last.approval.id };
        let next = items.last().map(place).filter(|_| more);
        Ok(Done::Commit(Page { items, next }))
    }
}

fn listed(row: super::Row) -> Result<Listed, SqlError> {
    let ApprovalRecord { approval, binding, created_at, decided_at, .. } = Columns::of(row).approval()?;
    Ok(Listed { approval, binding, created_at, decided_at })
}

/// The events about an approval.
pub(super) struct Audit(pub(super) Uuid);

impl Transaction for Audit {
    type Output = Vec<AuditEvent>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const READ: &str = "SELECT e.kind, e.approval, e.at, e.actor, a.kind, a.from_env, a.to_env, \
                            a.requested_by, e.way, e.reason FROM audit AS e JOIN approvals AS a ON a.id = e.approval \
                            WHERE e.approval = $1 ORDER BY e.seq";
        let rows = session.query(READ, &values![self.0]).await?;
        let event = |row| {
            let mut columns = Columns::of(row);
            Ok(AuditEvent {
                kind: columns.take()?,
                approval: columns.take()?,
                at: columns.take()?,
                by: columns.take()?,
                binding: Binding { kind: columns.take()?, from: columns.take()?, to: columns.take()? },
                requested_by: columns.take()?,
                way: columns.take()?,
                reason: columns.take()?,
            })
        };
        rows.into_iter().map(event).collect::<Result<_, _>>().map(Done::Commit)
    }
}
