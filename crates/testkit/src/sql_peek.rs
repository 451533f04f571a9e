//! Reads the content of a store in a database, bypassing the contract.

use std::future::Future;

use countersign::{
    platform::Environment,
    protocol::{Change, Commit, Consume, Digest, Guards, Step, StepAction, Timestamp},
    store::{
        Approvals, Committed, Job, JobState, PromotionRequest, Resource, Stack, StoreError, Tenants,
        digest_of,
        sql::{Done, Engine, Mode, Row, Session, SqlError, SqlStore, Transaction, Value},
    },
};
use countersign_models::fixtures::UseRequest;
use uuid::Uuid;

/// Readings of a store in a database, and the consume by itself.
pub trait SqlPeek {
    /// A team's stacks, oldest first.
    fn stacks(&self, team: Uuid) -> impl Future<Output = Result<Vec<Stack>, StoreError>> + Send;
    /// A team's resources, oldest first.
    fn resources(&self, team: Uuid) -> impl Future<Output = Result<Vec<Resource>, StoreError>> + Send;
    /// The value of a vault key.
    fn vault(
        &self,
        team: Uuid,
        env: &Environment,
        key: &str,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
    /// The launch job of an approval.
    fn job(&self, team: Uuid, approval: Uuid)
    -> impl Future<Output = Result<Option<Job>, StoreError>> + Send;
    /// Digest of the payload that `ask` would launch now.
    fn digest(&self, ask: &PromotionRequest) -> impl Future<Output = Result<Digest, StoreError>> + Send;
    /// The consume of an approval and nothing else.
    fn consume_alone(
        &self,
        ask: &UseRequest,
        digest: Digest,
        guards: Guards,
    ) -> impl Future<Output = Result<Committed, StoreError>> + Send;
}

/// One statement, and its rows.
struct Query {
    sql: &'static str,
    parameters: Vec<Value>,
}

impl Transaction for Query {
    type Output = Vec<Row>;

    fn mode(&self) -> Mode {
        Mode::OneRead
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<Self::Output>, SqlError> {
        session.query(self.sql, &self.parameters).await.map(Done::Commit)
    }
}

impl<E: Engine> SqlPeek for SqlStore<E> {
    async fn stacks(&self, team: Uuid) -> Result<Vec<Stack>, StoreError> {
        const IDS: &str = "SELECT id FROM stacks WHERE team = $1 ORDER BY seq";
        let rows = self.engine().perform(Query { sql: IDS, parameters: vec![Value::Id(team)] }).await?;
        let mut stacks = Vec::with_capacity(rows.len());
        for id in rows.iter().map(|row| id(&row[0])) {
            stacks.extend(self.stack_by_id(team, id).await?);
        }
        Ok(stacks)
    }

    async fn resources(&self, team: Uuid) -> Result<Vec<Resource>, StoreError> {
        const IDS: &str = "SELECT id FROM resources WHERE team = $1 ORDER BY seq";
        let rows = self.engine().perform(Query { sql: IDS, parameters: vec![Value::Id(team)] }).await?;
        let mut resources = Vec::with_capacity(rows.len());
        for id in rows.iter().map(|row| id(&row[0])) {
            resources.extend(self.resource(team, id).await?);
        }
        Ok(resources)
    }

    async fn vault(&self, team: Uuid, env: &Environment, key: &str) -> Result<Option<String>, StoreError> {
        const FIND: &str = "SELECT value FROM vault WHERE team = $1 AND env = $2 AND key = $3";
        let text = |text: &str| Value::Text(text.to_owned());
        let parameters = vec![Value::Id(team), text(env.as_str()), text(key)];
        let rows = self.engine().perform(Query { sql: FIND, parameters }).await?;
        Ok(rows.into_iter().next().map(|row| self::text(&row[0]).to_owned()))
    }

    async fn job(&self, team: Uuid, approval: Uuid) -> Result<Option<Job>, StoreError> {
        const FIND: &str = "SELECT j.digest, j.target, j.state, j.fence, j.leased_until FROM jobs AS j \
                            JOIN approvals AS a ON a.id = j.approval WHERE j.approval = $1 AND a.team = $2";
        let parameters = vec![Value::Id(approval), Value::Id(team)];
        let rows = self.engine().perform(Query { sql: FIND, parameters }).await?;
        Ok(rows.into_iter().next().map(|row| {
            let Value::Bytes(digest) = &row[0] else { panic!("a digest, not {:?}", row[0]) };
            Job {
                approval,
                digest: Digest(digest.as_slice().try_into().expect("32 bytes")),
                target: (row[1] != Value::Null).then(|| id(&row[1])),
                state: match text(&row[2]) {
                    "ready" => JobState::Ready,
                    "leased" => {
                        JobState::Leased { fence: number(&row[3]), until: Timestamp(number(&row[4])) }
                    }
                    _ => JobState::Done,
                },
            }
        }))
    }

    async fn digest(&self, ask: &PromotionRequest) -> Result<Digest, StoreError> {
        let source = self.stack_by_id(ask.team, ask.payload.source).await?;
        Ok(digest_of(ask, source.as_ref().map(|source| &*source.services).unwrap_or_default()))
    }

    async fn consume_alone(
        &self,
        ask: &UseRequest,
        digest: Digest,
        guards: Guards,
    ) -> Result<Committed, StoreError> {
        let step = Step::from(StepAction::Consume(Consume::new(guards)));
        let (approval, ops) = (ask.approval, &[Change::consume(guards)]);
        self.commit(ask, &step, Commit { approval, digest, target: None, fence: None, uses_seen: 0, ops })
            .await
    }
}

fn id(value: &Value) -> Uuid {
    match value {
        Value::Id(id) => *id,
        Value::Bytes(bytes) => Uuid::from_slice(bytes).expect("16 bytes"),
        other => panic!("an id, not {other:?}"),
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        other => panic!("a text, not {other:?}"),
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Int(number) => u64::try_from(*number).expect("nothing negative"),
        other => panic!("a number, not {other:?}"),
    }
}
