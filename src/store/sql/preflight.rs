//! Loads what one ask is about into an [`TenantState`], which judges it: one statement for team and family, and what is seldom
//! needed only when it is.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Dialect, Done, Mode, Row, Session, SqlError, Transaction,
    rows::{Columns, first, resource_columns, stack_columns, values},
};
use crate::{
    protocol::{Change, Digest, Refusal, Step},
    store::{
        PromotionRequest, StoreChecks, Team, TenantFacts, TenantState, VaultEntry, digest_of,
        preflight::first_refusal,
    },
};

/// Records that a judgement needs in addition to the family.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// The number of stacks, compared with the limit.
    pub(super) room: bool,
    /// The target may be created although one exists: a look that found none is trusted.
    pub(super) room_for_another: bool,
    /// The values of vault references.
    pub(super) vault_refs: bool,
    /// The vault itself, of both environments.
    pub(super) vault: bool,
    /// A stack or twin that is meant by its id.
    pub(super) also: Option<Uuid>,
}

impl Needs {
    /// To judge these refusals.
    pub(super) fn of_refusals<'a>(refusals: impl Iterator<Item = &'a Refusal>) -> Self {
        refusals.fold(Self::default(), |needs, refusal| Self {
            room: needs.room || *refusal == Refusal::DEPLOYMENT_LIMIT_REACHED,
            vault_refs: needs.vault_refs || *refusal == Refusal::VAULT_REF_FAILED,
            ..needs
        })
    }

    /// To make these changes, in a step that may refuse.
    pub(super) fn of_commit(
        ask: &PromotionRequest,
        step: &Step,
        ops: &[Change],
        target: Option<Uuid>,
    ) -> Self {
        let needs = Self { also: target, ..Self::of_refusals(step.refusals()) };
        ops.iter().fold(needs, |needs, op| match op {
            Change::WriteTarget { trust_look } => Self {
                room: true,
                // For the approval's binding.
                vault_refs: true,
                vault: needs.vault || ask.payload.copy_vault,
                room_for_another: needs.room_for_another || (*trust_look && target.is_none()),
                ..needs
            },
            Change::WriteVault => Self { vault: needs.vault || ask.payload.copy_vault, ..needs },
            Change::Consume(_)
            | Change::Audit
            | Change::Enqueue { .. }
            | Change::Row { .. }
            | Change::Remember => needs,
        })
    }
}

/// Blocks other commits of the team until the transaction ends. In SQLite the writer is alone; a serializable
/// transaction detects conflicts by itself.
pub(super) async fn lock_team<S: Session>(session: &mut S, team: Uuid, mode: Mode) -> Result<(), SqlError> {
    // Not FOR UPDATE, which would block inserts of rows that refer to the team.
    const LOCK: &str = "SELECT 1 FROM teams WHERE id = $1 FOR NO KEY UPDATE";
    match (S::DIALECT, mode) {
        (Dialect::Postgres, Mode::Write) => session.query(LOCK, &values![team]).await.map(drop),
        (Dialect::Postgres, Mode::Read | Mode::OneRead | Mode::OneStatement | Mode::Serializable)
        | (Dialect::Sqlite, _) => Ok(()),
    }
}

/// The records of the request; `None` for an unknown team.
///
/// The lock is a separate statement: a query that waited for the lock would still see the older snapshot.
pub(super) async fn load<S: Session>(
    session: &mut S,
    ask: &PromotionRequest,
    needs: Needs,
) -> Result<Option<TenantState>, SqlError> {
    let sql = if ask.is_twin() { TWINS } else { STACKS };
    let (team, binding) = (ask.team, &ask.binding);
    let parameters = values![ask.payload.source, team, needs.also, &binding.to];
    let rows = session.query(sql, &parameters).await?;
    let Some(mut tenant_state) = tenant_state_of(rows, ask.is_twin())? else { return Ok(None) };
    let creates = needs.room_for_another || tenant_state.target(ask).is_none();
    if needs.room && creates && !ask.is_twin() {
        tenant_state.other_stacks =
            count_stacks(session, team).await?.saturating_sub(tenant_state.stacks.len());
    }
    if needs.vault || (needs.vault_refs && tenant_state.speaks_of_vault()) {
        let rows = session.query(VAULT, &values![team, &binding.from, &binding.to]).await?;
        let entry = |row| -> Result<VaultEntry, SqlError> {
            let mut columns = Columns::of(row);
            Ok(VaultEntry { env: columns.take()?, key: columns.take()?, value: columns.take()? })
        };
        tenant_state.vault = rows.into_iter().map(entry).collect::<Result<_, _>>()?;
    }
    Ok(Some(tenant_state))
}

/// Number of stacks of a team.
pub(super) async fn count_stacks<S: Session>(session: &mut S, team: Uuid) -> Result<usize, SqlError> {
    let rows = session.query("SELECT count(*) FROM stacks WHERE team = $1", &values![team]).await?;
    Ok(first(rows)?.unwrap_or(0))
}

/// The team of these rows, with the members of the family.
fn tenant_state_of(rows: Vec<Row>, twins: bool) -> Result<Option<TenantState>, SqlError> {
    let mut tenant_state = None;
    for row in rows {
        let mut columns = Columns::of(row);
        let team = Team { plan: columns.take()?, deployment_cap: columns.take()? };
        let tenant_state = tenant_state.get_or_insert_with(|| TenantState::new(team));
        if columns.is_null() {
            continue;
        }
        let _seq: i64 = columns.take()?;
        if twins {
            tenant_state.resources.push(columns.resource()?);
        } else {
            tenant_state.stacks.push(columns.stack()?);
        }
    }
    Ok(tenant_state)
}

/// The team with the source, the target given by id, and the source's family in the environment.
macro_rules! family {
    ($table:literal, $columns:ident) => {
        concat!(
            "WITH found AS (SELECT seq, ",
            $columns!(),
            " FROM ",
            $table,
            " WHERE id = $1 AND team = $2 UNION SELECT seq, ",
            $columns!(),
            " FROM ",
            $table,
            " WHERE id = $3 AND team = $2 UNION SELECT seq, ",
            $columns!(),
            " FROM ",
            $table,
            " WHERE team = $2 AND env = $4 AND root = (SELECT root FROM ",
            $table,
            " WHERE id = $1 AND team = $2)) SELECT teams.plan, teams.deployment_cap, found.* \
             FROM teams LEFT JOIN found ON TRUE WHERE teams.id = $2 ORDER BY found.seq"
        )
    };
}
const STACKS: &str = family!("stacks", stack_columns);
const TWINS: &str = family!("resources", resource_columns);
const VAULT: &str = "SELECT env, key, value FROM vault WHERE team = $1 AND env IN ($2, $3)";

/// The digest of the request with the source's current services.
pub(super) fn digest_now(ask: &PromotionRequest, tenant_state: &TenantState) -> Digest {
    digest_of(ask, tenant_state.source_services(ask))
}

/// Judges a step's refusals on what there is.
pub(super) struct Check {
    pub(super) ask: PromotionRequest,
    pub(super) step: Step,
    pub(super) preflight: Arc<StoreChecks>,
}

impl Transaction for Check {
    type Output = Result<Digest, Refusal>;

    fn mode(&self) -> Mode {
        let Needs { room, vault_refs, .. } = Needs::of_refusals(self.step.refusals());
        if room || vault_refs { Mode::Read } else { Mode::OneRead }
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        let Self { ask, step, preflight } = self;
        let needs = Needs::of_refusals(step.refusals());
        let Some(tenant_state) = load(session, ask, needs).await? else {
            return Ok(Done::Commit(Err(Refusal::NOT_FOUND)));
        };
        Ok(Done::Commit(match first_refusal(&**preflight, &TenantFacts::new(&tenant_state, ask), step) {
            Some(refusal) => Err(refusal),
            None => Ok(digest_now(ask, &tenant_state)),
        }))
    }
}

/// Looks for the target.
pub(super) struct FindTarget {
    pub(super) ask: PromotionRequest,
}

impl Transaction for FindTarget {
    type Output = Result<Option<Uuid>, Refusal>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        let tenant_state = load(session, &self.ask, Needs::default()).await?;
        Ok(Done::Commit(
            tenant_state.map(|tenant_state| tenant_state.target(&self.ask)).ok_or(Refusal::NOT_FOUND),
        ))
    }
}
