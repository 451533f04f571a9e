//! The commit: lock the team, load the records, judge in the order of the changes, consume, write the changes.
//!
//! A commit with nothing but a consume is the consume strategy alone: by default one statement without an explicit
//! transaction.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Done, Mode, Session, SqlError, Transaction,
    approvals::write_event,
    consume::{Consume, Swap},
    outbox::next_turn,
    preflight::{Needs, load, lock_team},
    rows::{Columns, approval_columns, unreadable, values},
};
use crate::{
    protocol::{self, Change, Digest, Fences, Guards, Refusal, Step, Target, Timestamp},
    store::{
        ApprovalRecord, AuditKind, Committed, Execution, Ids, PromotionRequest, Resource, Seal, Stack,
        StoreChecks, TenantFacts, TenantState, VaultEntry, preflight::Judgement,
    },
};

/// A commit, kept until it is run.
pub(super) struct Commit {
    pub(super) ask: PromotionRequest,
    pub(super) step: Step,
    pub(super) approval: Uuid,
    pub(super) digest: Digest,
    pub(super) target: Option<Target>,
    pub(super) fence: Option<u64>,
    pub(super) ops: Vec<Change>,
    pub(super) consume: Arc<Consume>,
    pub(super) ids: Arc<dyn Ids>,
    pub(super) preflight: Arc<StoreChecks>,
    pub(super) seal: Seal,
}

impl Transaction for Commit {
    type Output = Committed;

    fn mode(&self) -> Mode {
        let cas = self.consume.cas();
        if self.is_consume_alone().is_some() { cas.mode_alone() } else { cas.mode() }
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Committed>, SqlError> {
        if let Some(guards) = self.is_consume_alone() {
            let execution = self.execution(self.target, Vec::new());
            let exchanged = self.consume.exchange(session, self.swap(guards), &execution).await?;
            return Ok(match exchanged {
                Ok(_) => Done::Commit(Committed::Applied { target: None }),
                Err(refusal) => Done::Rollback(Committed::NotConsumed(refusal)),
            });
        }
        self.run_all(session).await
    }
}

impl Commit {
    /// The guards of a commit that only consumes.
    fn is_consume_alone(&self) -> Option<Guards> {
        match self.ops.as_slice() {
            [Change::Consume(protocol::Swap { guards, .. })] => Some(*guards),
            _ => None,
        }
    }

    fn commit(&self) -> protocol::Commit<'_> {
        let Self { approval, digest, target, fence, ops, .. } = self;
        protocol::Commit {
            approval: *approval,
            digest: *digest,
            target: *target,
            fence: *fence,
            uses_seen: 0,
            ops,
        }
    }

    fn swap(&self, guards: Guards) -> Swap {
        Swap { approval: self.approval, guards, digest: self.digest, fence: self.fence }
    }

    fn execution(&self, target: Option<Target>, vault_keys: Vec<String>) -> Execution {
        Execution::of(&self.ask, &self.ops, target, vault_keys)
    }

    async fn run_all<S: Session>(&self, session: &mut S) -> Result<Done<Committed>, SqlError> {
        let (ask, commit) = (&self.ask, self.commit());
        lock_team(session, ask.team, self.mode()).await?;
        let needs = Needs::of_commit(ask, &self.step, &self.ops, self.target.map(|target| target.id));
        let Some(mut tenant_state) = load(session, ask, needs).await? else {
            return Ok(Done::Rollback(Committed::Refused(Refusal::NOT_FOUND)));
        };
        let (now, latest, found) = self.read_approval(session).await?;
        let fences = Fences { held: self.fence, latest };
        let judgement = Judgement {
            preflight: &*self.preflight,
            facts: TenantFacts::new(&tenant_state, ask),
            step: &self.step,
            commit,
            standing: found.as_ref().map(|record| record.approval.state()),
            // The approval of another team gets no record here.
            approved: found.as_ref().filter(|record| record.approval.team == ask.team),
            seal: self.seal,
            fences,
            now,
        };
        // The exchange judges the consume again.
        let guards = match judgement.guards() {
            Ok(guards) => guards,
            Err(refused) => return Ok(Done::Rollback(refused)),
        };
        if guards.is_some() && found.is_none() {
            return Ok(Done::Rollback(Committed::NotConsumed(Refusal::APPROVAL_NOT_FOUND)));
        }
        // The approval of another team gets no event and no job here.
        let ours = found.filter(|record| record.approval.team == ask.team);
        let before = tenant_state.clone();
        let applied = tenant_state.apply(ask, commit, ours.as_ref(), &mut || self.ids.next());
        let mut at = now;
        if let Some(guards) = guards {
            let execution = self.execution(applied.target.or(self.target), applied.vault_keys.clone());
            match self.consume.exchange(session, self.swap(guards), &execution).await? {
                Ok(judged_at) => at = judged_at,
                Err(refusal) => return Ok(Done::Rollback(Committed::NotConsumed(refusal))),
            }
        }
        self.write(session, &before, &tenant_state).await?;
        if ours.is_some() {
            for _ in 0..applied.events {
                write_event(session, AuditKind::Executed, self.approval, at, &ask.requested_by).await?;
            }
            if applied.enqueued {
                self.enqueue(session, applied.target.or(self.target)).await?;
            }
        }
        Ok(Done::Commit(Committed::Applied { target: applied.target }))
    }

    async fn read_approval<S: Session>(
        &self,
        session: &mut S,
    ) -> Result<(Timestamp, u64, Option<ApprovalRecord>), SqlError> {
        const READ: &str = concat!(
            "SELECT clock.now, COALESCE(a.lease_fence, 0), ",
            approval_columns!(),
            " FROM (SELECT countersign_now() AS now) AS clock LEFT JOIN approvals AS a ON a.id = $1"
        );
        let rows = session.query(READ, &values![self.approval]).await?;
        let mut columns = Columns::of(rows.into_iter().next().ok_or_else(|| unreadable("a time"))?);
        let (now, fence) = (columns.take()?, columns.take()?);
        let found = if columns.is_null() { None } else { Some(columns.approval()?) };
        Ok((now, fence, found))
    }

    /// Writes down what has changed of the tenant state.
    async fn write<S: Session>(
        &self,
        session: &mut S,
        before: &TenantState,
        after: &TenantState,
    ) -> Result<(), SqlError> {
        // Entries of the target's environment are not overwritten: the first writer wins.
        const VAULT: &str = "INSERT INTO vault (team, env, key, value) VALUES ($1, $2, $3, $4) \
                             ON CONFLICT (team, env, key) DO NOTHING";
        let team = self.ask.team;
        for stack in after.stacks.iter().filter(|stack| !before.stacks.contains(stack)) {
            put_stack(session, team, stack).await?;
        }
        for twin in after.resources.iter().filter(|twin| !before.resources.contains(twin)) {
            put_resource(session, team, twin).await?;
        }
        for VaultEntry { env, key, value } in after.vault.entries() {
            if before.vault.value(env, key).is_none() {
                session.execute(VAULT, &values![team, env, key, value]).await?;
            }
        }
        Ok(())
    }

    /// Writes the launch job, unless there is one.
    async fn enqueue<S: Session>(&self, session: &mut S, target: Option<Target>) -> Result<(), SqlError> {
        const ENQUEUE: &str = concat!(
            "INSERT INTO jobs (approval, digest, target, team, turn) VALUES ($1, $2, $3, $4, ",
            next_turn!("jobs", "$4"),
            ") ON CONFLICT (approval) DO NOTHING"
        );
        let target = target.map(|target| target.id);
        session.execute(ENQUEUE, &values![self.approval, self.digest, target, self.ask.team]).await.map(drop)
    }
}

/// Writes a stack, or what can change of one.
pub(super) async fn put_stack<S: Session>(
    session: &mut S,
    team: Uuid,
    stack: &Stack,
) -> Result<(), SqlError> {
    const PUT: &str = "INSERT INTO stacks (id, team, slug, name, env, status, parent, root, services, env_vars, \
                       version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                       ON CONFLICT (id) DO UPDATE SET status = excluded.status, services = excluded.services, \
                       env_vars = excluded.env_vars, version = excluded.version WHERE stacks.team = excluded.team";
    let Stack { id, name, env, status, parent, root, services, env_vars, version } = stack;
    let parameters =
        values![*id, team, &stack.slug(), name, env, *status, *parent, *root, services, env_vars, *version];
    session.execute(PUT, &parameters).await.map(drop)
}

/// Writes a resource or a twin, or what can change of one.
pub(super) async fn put_resource<S: Session>(
    session: &mut S,
    team: Uuid,
    resource: &Resource,
) -> Result<(), SqlError> {
    const PUT: &str = "INSERT INTO resources (id, team, name, kind, env, root, status) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE \
                       SET status = excluded.status WHERE resources.team = excluded.team";
    let Resource { id, name, kind, env, root, status } = resource;
    session.execute(PUT, &values![*id, team, name, *kind, env, *root, *status]).await.map(drop)
}
