//! What harnesses look at and change behind the contract's back, as they can with the store in memory.

use std::sync::PoisonError;

use uuid::Uuid;

use super::{
    Done, Engine, Mode, Session, SqlError, SqlStore, Work,
    commit::put_stack,
    preflight::{Needs, Outages, digest_now, load},
    rows::{Columns, first, resource_columns, stack_columns, values},
    tenants::by_id,
};
use crate::{
    protocol::{Commit, Digest, Do, Environment, Guards, How, Op, Refusal, Step, Timestamp},
    store::{Ask, Committed, Job, JobState, Resource, Service, Stack, Store, StoreError},
};

impl<E: Engine> SqlStore<E> {
    /// From now on this part of the platform fails for the team, with this refusal, wherever a step lists it.
    pub fn begin_outage(&self, team: Uuid, refusal: Refusal) {
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        outages.entry(team).or_default().insert(refusal);
    }

    /// It works again.
    pub fn end_outage(&self, team: Uuid, refusal: &Refusal) {
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outages) = outages.get_mut(&team) {
            outages.remove(refusal);
        }
    }

    /// What fails for the team at the moment.
    pub(super) fn outages_of(&self, team: Uuid) -> Outages {
        let outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        outages.get(&team).cloned().unwrap_or_default()
    }

    /// The consume of an approval and nothing else. For benchmarks.
    ///
    /// # Errors
    /// The store's.
    pub async fn consume_alone(
        &self,
        ask: &Ask,
        digest: Digest,
        guards: Guards,
    ) -> Result<Committed, StoreError> {
        let step = Step::from(Do::Consume { guards, how: How::AtOnce });
        let ops = &[Op::Consume { guards }];
        self.commit(
            ask,
            &step,
            Commit { approval: ask.request.approval, digest, target: None, fence: None, ops },
        )
        .await
    }

    /// A team's stacks, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn stacks(&self, team: Uuid) -> Result<Vec<Stack>, StoreError> {
        self.engine().perform(Stacks { team }).await
    }

    /// A team's resources, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn resources(&self, team: Uuid) -> Result<Vec<Resource>, StoreError> {
        self.engine().perform(Resources { team }).await
    }

    /// Makes a stack, and with it those that came from it, a member of another one's family; false when one of the
    /// two is not there.
    ///
    /// # Errors
    /// The store's.
    pub async fn adopt_stack(&self, team: Uuid, stack: Uuid, parent: Uuid) -> Result<bool, StoreError> {
        self.engine().perform(Adopt { team, stack, parent }).await
    }

    /// Sets the services of a stack: a new build of it. False when there is none.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_services(
        &self,
        team: Uuid,
        stack: Uuid,
        services: Vec<Service>,
    ) -> Result<bool, StoreError> {
        self.engine().perform(PutServices { team, stack, services }).await
    }

    /// The value of a vault key.
    ///
    /// # Errors
    /// The store's.
    pub async fn vault(
        &self,
        team: Uuid,
        env: &Environment,
        key: &str,
    ) -> Result<Option<String>, StoreError> {
        self.engine().perform(Vault { team, env: env.clone(), key: key.to_owned() }).await
    }

    /// The launch job of an approval.
    ///
    /// # Errors
    /// The store's.
    pub async fn job(&self, team: Uuid, approval: Uuid) -> Result<Option<Job>, StoreError> {
        self.engine().perform(FindJob { team, approval }).await
    }

    /// What `ask` would launch now; none when there is no such team.
    ///
    /// # Errors
    /// The store's.
    pub async fn digest(&self, ask: &Ask) -> Result<Option<Digest>, StoreError> {
        self.engine().perform(WouldLaunch { ask: ask.clone() }).await
    }
}

struct Stacks {
    team: Uuid,
}

impl Work for Stacks {
    type Output = Vec<Stack>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const ALL: &str = concat!("SELECT ", stack_columns!(), " FROM stacks WHERE team = $1 ORDER BY seq");
        let rows = session.query(ALL, &values![self.team]).await?;
        rows.into_iter().map(|row| Columns::of(row).stack()).collect::<Result<_, _>>().map(Done::Keep)
    }
}

struct Resources {
    team: Uuid,
}

impl Work for Resources {
    type Output = Vec<Resource>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const ALL: &str =
            concat!("SELECT ", resource_columns!(), " FROM resources WHERE team = $1 ORDER BY seq");
        let rows = session.query(ALL, &values![self.team]).await?;
        rows.into_iter().map(|row| Columns::of(row).resource()).collect::<Result<_, _>>().map(Done::Keep)
    }
}

struct Adopt {
    team: Uuid,
    stack: Uuid,
    parent: Uuid,
}

impl Work for Adopt {
    type Output = bool;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<bool>, SqlError> {
        const PARENT: &str = "UPDATE stacks SET parent = $1 WHERE id = $2 AND team = $3 AND EXISTS \
                              (SELECT 1 FROM stacks AS p WHERE p.id = $1 AND p.team = $3)";
        const ROOT: &str = "UPDATE stacks SET root = (SELECT p.root FROM stacks AS p WHERE p.id = $1) \
                            WHERE (id = $2 OR root = $2) AND team = $3";
        let parameters = values![self.parent, self.stack, self.team];
        if session.execute(PARENT, &parameters).await? == 0 {
            return Ok(Done::Undo(false));
        }
        session.execute(ROOT, &parameters).await?;
        Ok(Done::Keep(true))
    }
}

struct PutServices {
    team: Uuid,
    stack: Uuid,
    services: Vec<Service>,
}

impl Work for PutServices {
    type Output = bool;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<bool>, SqlError> {
        let Some(stack) = by_id(session, self.team, self.stack).await? else {
            return Ok(Done::Undo(false));
        };
        let stack = Stack { services: self.services.as_slice().into(), ..stack };
        put_stack(session, self.team, &stack).await?;
        Ok(Done::Keep(true))
    }
}

struct Vault {
    team: Uuid,
    env: Environment,
    key: String,
}

impl Work for Vault {
    type Output = Option<String>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const FIND: &str = "SELECT value FROM vault WHERE team = $1 AND env = $2 AND key = $3";
        first(session.query(FIND, &values![self.team, &self.env, &self.key]).await?).map(Done::Keep)
    }
}

struct FindJob {
    team: Uuid,
    approval: Uuid,
}

impl Work for FindJob {
    type Output = Option<Job>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        const FIND: &str = "SELECT j.approval, j.digest, j.target, j.state, j.fence, j.leased_until FROM jobs AS j \
                            JOIN approvals AS a ON a.id = j.approval WHERE j.approval = $1 AND a.team = $2";
        let rows = session.query(FIND, &values![self.approval, self.team]).await?;
        let job = |row| {
            let mut columns = Columns::of(row);
            let (approval, digest, target) = (columns.take()?, columns.take()?, columns.take()?);
            let (state, fence, until) =
                (columns.take::<String>()?, columns.take()?, columns.take::<Timestamp>()?);
            let state = match state.as_str() {
                "ready" => JobState::Ready,
                "leased" => JobState::Leased { fence, until },
                _ => JobState::Done,
            };
            Ok(Job { approval, digest, target, state })
        };
        rows.into_iter().next().map(job).transpose().map(Done::Keep)
    }
}

struct WouldLaunch {
    ask: Ask,
}

impl Work for WouldLaunch {
    type Output = Option<Digest>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        let estate = load(session, &self.ask, Needs::default(), &Outages::new()).await?;
        Ok(Done::Keep(estate.map(|estate| digest_now(&self.ask, &estate))))
    }
}
