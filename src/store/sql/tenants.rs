//! Teams, stacks, resources and vaults: their setup, and the inspection of their state.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::{
    Done, Mode, Session, SqlError, Transaction,
    commit::{put_resource, put_stack},
    preflight::{count_stacks, lock_team},
    rows::{Columns, resource_columns, stack_columns, values},
};
use crate::{
    platform::Environment,
    protocol::Refusal,
    store::{
        BreakGlass, GlassBroken, Ids, NewResource, NewStack, Query, Resource, Service, Stack, StackStatus,
        Team, TenantState,
    },
};

/// Adds a team, or changes what it pays for.
pub(super) struct PutTeam {
    pub(super) id: Uuid,
    pub(super) team: Team,
}

impl Transaction for PutTeam {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        const PUT: &str = "INSERT INTO teams (id, plan, deployment_cap) VALUES ($1, $2, $3) ON CONFLICT (id) \
                           DO UPDATE SET plan = excluded.plan, deployment_cap = excluded.deployment_cap";
        let Team { plan, deployment_cap } = self.team;
        session.execute(PUT, &values![self.id, plan, deployment_cap]).await?;
        Ok(Done::Commit(()))
    }
}

/// Deploys a stack, under the cap.
pub(super) struct CreateStack {
    pub(super) team: Uuid,
    pub(super) stack: NewStack,
    pub(super) ids: Arc<dyn Ids>,
    /// The commits' transaction mode: counting must be safe from them.
    pub(super) mode: Mode,
}

impl Transaction for CreateStack {
    /// `None` for an unknown team.
    type Output = Option<Result<Stack, Refusal>>;

    fn mode(&self) -> Mode {
        self.mode
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        let id = self.ids.next();
        lock_team(session, self.team, self.mode).await?;
        let Some(team) = find_team(session, self.team).await? else { return Ok(Done::Rollback(None)) };
        let other_stacks = count_stacks(session, self.team).await?;
        if (TenantState { other_stacks, ..TenantState::new(team) }).has_no_room() {
            return Ok(Done::Rollback(Some(Err(Refusal::DEPLOYMENT_LIMIT_REACHED))));
        }
        let root = match self.stack.parent {
            Some(parent) => match by_id(session, self.team, parent).await? {
                Some(parent) => parent.root,
                None => return Ok(Done::Rollback(Some(Err(Refusal::NOT_FOUND)))),
            },
            None => id,
        };
        let stack = self.stack.clone().deployed(id, root);
        put_stack(session, self.team, &stack).await?;
        Ok(Done::Commit(Some(Ok(stack))))
    }
}

async fn find_team<S: Session>(session: &mut S, id: Uuid) -> Result<Option<Team>, SqlError> {
    const FIND: &str = "SELECT plan, deployment_cap FROM teams WHERE id = $1";
    let Some(row) = session.query(FIND, &values![id]).await?.into_iter().next() else { return Ok(None) };
    let mut columns = Columns::of(row);
    Ok(Some(Team { plan: columns.take()?, deployment_cap: columns.take()? }))
}

/// The stack of a slug, or of an id.
pub(super) struct FindStack {
    pub(super) team: Uuid,
    pub(super) by: StackName,
}

/// Key for finding a stack.
pub(super) enum StackName {
    Slug(String),
    Id(Uuid),
}

impl Transaction for FindStack {
    type Output = Option<Stack>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        match &self.by {
            StackName::Slug(slug) => by_slug(session, self.team, slug).await.map(Done::Commit),
            StackName::Id(id) => by_id(session, self.team, *id).await.map(Done::Commit),
        }
    }
}

async fn by_id<S: Session>(session: &mut S, team: Uuid, id: Uuid) -> Result<Option<Stack>, SqlError> {
    const FIND: &str = concat!("SELECT ", stack_columns!(), " FROM stacks WHERE team = $1 AND id = $2");
    let rows = session.query(FIND, &values![team, id]).await?;
    rows.into_iter().next().map(|row| Columns::of(row).stack()).transpose()
}

async fn by_slug<S: Session>(session: &mut S, team: Uuid, slug: &str) -> Result<Option<Stack>, SqlError> {
    const FIND: &str = concat!("SELECT ", stack_columns!(), " FROM stacks WHERE team = $1 AND slug = $2");
    let rows = session.query(FIND, &values![team, slug]).await?;
    rows.into_iter().next().map(|row| Columns::of(row).stack()).transpose()
}

/// The stacks of a family.
pub(super) struct Family {
    pub(super) team: Uuid,
    pub(super) root: Uuid,
}

impl Transaction for Family {
    type Output = Vec<Stack>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const FIND: &str =
            concat!("SELECT ", stack_columns!(), " FROM stacks WHERE team = $1 AND root = $2 ORDER BY seq");
        let rows = session.query(FIND, &values![self.team, self.root]).await?;
        rows.into_iter().map(|row| Columns::of(row).stack()).collect::<Result<_, _>>().map(Done::Commit)
    }
}

/// A change to a stack.
pub(super) enum Change {
    /// One service has a new image.
    Image { service: String, image_ref: String },
    /// Variables are set and removed.
    Variables(BTreeMap<String, Option<String>>),
}

/// Changes a stack.
pub(super) struct ChangeStack {
    pub(super) team: Uuid,
    pub(super) slug: String,
    pub(super) change: Change,
}

impl Transaction for ChangeStack {
    type Output = Option<Stack>;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        // A commit that reads and writes the same stack must not be in between.
        lock_team(session, self.team, self.mode()).await?;
        let Some(mut stack) = by_slug(session, self.team, &self.slug).await? else {
            return Ok(Done::Rollback(None));
        };
        match &self.change {
            Change::Image { service, image_ref } => {
                let mut services = stack.services.to_vec();
                let Some(service) = services.iter_mut().find(|other| other.name == *service) else {
                    return Ok(Done::Rollback(None));
                };
                service.image_ref = Some(image_ref.clone());
                stack.services = services.into();
            }
            Change::Variables(changes) => {
                for (name, value) in changes {
                    match value {
                        Some(value) => stack.env_vars.insert(name.clone(), value.clone()),
                        None => stack.env_vars.remove(name),
                    };
                }
            }
        }
        stack.version += 1;
        put_stack(session, self.team, &stack).await?;
        Ok(Done::Commit(Some(stack)))
    }
}

/// A new build of a whole stack.
pub(super) struct PutServices {
    pub(super) team: Uuid,
    pub(super) stack: Uuid,
    pub(super) services: Vec<Service>,
}

impl Transaction for PutServices {
    type Output = bool;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<bool>, SqlError> {
        // A commit that reads and writes the same stack must not be in between.
        lock_team(session, self.team, self.mode()).await?;
        let Some(mut stack) = by_id(session, self.team, self.stack).await? else {
            return Ok(Done::Rollback(false));
        };
        stack.services = self.services.as_slice().into();
        stack.version += 1;
        put_stack(session, self.team, &stack).await?;
        Ok(Done::Commit(true))
    }
}

/// Sets a vault key.
pub(super) struct PutVault {
    pub(super) team: Uuid,
    pub(super) env: Environment,
    pub(super) key: String,
    pub(super) value: String,
}

impl Transaction for PutVault {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        const PUT: &str = "INSERT INTO vault (team, env, key, value) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (team, env, key) DO UPDATE SET value = excluded.value";
        let Self { team, env, key, value } = self;
        session.execute(PUT, &values![*team, env, key, value]).await?;
        Ok(Done::Commit(()))
    }
}

/// Writes down that an administrator is about to change a protected environment.
pub(super) struct WriteGlassBroken {
    pub(super) team: Uuid,
    pub(super) what: BreakGlass,
}

impl Transaction for WriteGlassBroken {
    type Output = ();

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<()>, SqlError> {
        const WRITE: &str = "INSERT INTO glass_broken (team, at, env, change, actor, reason) \
                             VALUES ($1, countersign_now(), $2, $3, $4, $5)";
        let BreakGlass { env, change, by, reason } = &self.what;
        session.execute(WRITE, &values![self.team, env, change, by, reason]).await?;
        Ok(Done::Commit(()))
    }
}

/// The latest direct changes of a team's protected environments.
pub(super) struct FindGlassBroken(pub(super) Uuid);

impl Transaction for FindGlassBroken {
    type Output = Vec<GlassBroken>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const FIND: &str = "SELECT at, env, change, actor, reason FROM glass_broken WHERE team = $1 \
                            ORDER BY seq DESC LIMIT $2";
        let rows = session.query(FIND, &values![self.0, Query::MAX_LIMIT]).await?;
        let event = |row| {
            let mut columns = Columns::of(row);
            let (at, env, change) = (columns.take()?, columns.take()?, columns.take()?);
            let (by, reason) = (columns.take()?, columns.take()?);
            Ok(GlassBroken { at, what: BreakGlass { env, change, by, reason } })
        };
        rows.into_iter().map(event).collect::<Result<_, _>>().map(Done::Commit)
    }
}

/// Provisions a resource that is not a twin.
pub(super) struct CreateResource {
    pub(super) team: Uuid,
    pub(super) resource: NewResource,
    pub(super) ids: Arc<dyn Ids>,
}

impl Transaction for CreateResource {
    type Output = Resource;

    fn mode(&self) -> Mode {
        Mode::OneStatement
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Resource>, SqlError> {
        let id = self.ids.next();
        let NewResource { name, kind, env } = self.resource.clone();
        let resource = Resource { id, name, kind, env, root: id, status: StackStatus::Healthy };
        put_resource(session, self.team, &resource).await?;
        Ok(Done::Commit(resource))
    }
}

/// The resource of an id.
pub(super) struct FindResource {
    pub(super) team: Uuid,
    pub(super) id: Uuid,
}

impl Transaction for FindResource {
    type Output = Option<Resource>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const FIND: &str =
            concat!("SELECT ", resource_columns!(), " FROM resources WHERE id = $1 AND team = $2");
        let rows = session.query(FIND, &values![self.id, self.team]).await?;
        let resource = rows.into_iter().next().map(|row| Columns::of(row).resource()).transpose()?;
        Ok(Done::Commit(resource))
    }
}
