//! Our stores as consumers: one approval's consume, or the whole commit of `atomic-commit`, through the store's contract.

use std::{collections::BTreeMap, sync::Arc};

use countersign::{
    platform::{Binding, Environment, Kind as About},
    protocol::{Change, Commit, Digest, Flow, Guards, Step},
    store::{
        Approvals, Committed, Decision, NewStack, Payload, Plan, PromotionRequest, Service, StoreError,
        StoreErrorKind, Team, Tenants, Verdict,
        sql::{Engine, SqlStore},
    },
};
use countersign_models::fixtures::{CountingIds, token_of};
use uuid::Uuid;

use super::{
    counters::Ended,
    counting::{Counting, Counts},
    load::Consumer,
};

/// The approval of this number has an id with the number's decimal digits: pgbench knows only numbers, and the same
/// digits are an id's when they are filled up with zeros.
pub(crate) fn id_of(number: u32) -> Uuid {
    let mut rest = number;
    let mut id = 0_u128;
    for place in 0..10 {
        id |= u128::from(rest % 10) << (4 * place);
        rest /= 10;
    }
    Uuid::from_u128(id)
}

/// The request of all clients, and the approval that all others are copies of.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) approval: Uuid,
    ask: PromotionRequest,
    digest: Digest,
}

const TEAM: Uuid = Uuid::from_u128(0xbe7c);

/// A team with a stack in staging and an approval to promote it, as people would ask for one.
pub(crate) async fn template<E: Engine>(store: &SqlStore<E>) -> Result<Template, StoreError> {
    let env =
        |name: &str| Environment::parse(name).map_err(|_| StoreError::not_applied("the template is refused"));
    let (from, to) = (env("staging")?, env("production")?);
    store.put_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 1_000_000 }).await?;
    let service = |name: &str| Service {
        name: name.to_owned(),
        image_ref: Some(format!("registry.example.com/{name}@sha256:{:064}", 7)),
        port: Some(8080),
        expose: name == "web",
    };
    let variables = [("LOG_LEVEL", "info"), ("REGION", "eu-central-1")];
    let stack = NewStack {
        name: "shop".to_owned(),
        env: from.clone(),
        parent: None,
        services: ["web", "worker"].map(service).to_vec(),
        env_vars: BTreeMap::from(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))),
    };
    let stack = store
        .create_stack(TEAM, stack)
        .await?
        .map_err(|_| StoreError::not_applied("the template is refused"))?;
    let ask = PromotionRequest {
        team: TEAM,
        binding: Binding { kind: About::Stack, from, to },
        requested_by: "dev@example.com".into(),
        payload: Payload { source: stack.id, name: None, copy_vault: false },
        key: None,
    };
    let record = store.request_approval(&ask).await?.record;
    let approval = record.approval.id;
    let decision = Decision::Operator { token: &token_of(approval), verdict: Verdict::Approve };
    store.decide(decision).await?.map_err(|_| StoreError::not_applied("the template is refused"))?;
    Ok(Template { approval, ask, digest: record.approval.digest })
}

/// Ids that may be guessed.
pub(crate) fn ids() -> Arc<CountingIds> {
    Arc::default()
}

/// The operation on an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Only a consume.
    Consume,
    /// All that `atomic-commit` does in its one transaction: consume, target, vault, event, launch job.
    Commit,
}

/// A store that consumes approvals for its clients.
pub(crate) struct Gate<E> {
    store: SqlStore<Counting<E>>,
    template: Template,
    step: Step,
    ops: Vec<Change>,
}

impl<E: Engine> Gate<E> {
    pub(crate) fn new(store: SqlStore<Counting<E>>, template: Template, act: Act) -> Self {
        let flow = Flow::atomic_commit();
        let whole = [
            Change::consume(Guards::ALL),
            Change::WriteTarget { trust_look: false },
            Change::WriteVault,
            Change::Audit,
            Change::Enqueue { act: 0 },
        ];
        let ops = match act {
            Act::Consume => whole[..1].to_vec(),
            Act::Commit => whole.to_vec(),
        };
        let step = flow.steps().last().cloned().unwrap_or_else(|| unreachable!("it has a commit"));
        Self { store, template, step, ops }
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        self.store.engine().counts()
    }
}

impl<E: Engine> Consumer for Gate<E> {
    async fn consume(&self, _: usize, approval: u32) -> Ended {
        let Template { ask, digest, .. } = &self.template;
        let commit = Commit {
            approval: id_of(approval),
            digest: *digest,
            target: None,
            fence: None,
            uses_seen: 0,
            ops: &self.ops,
        };
        match self.store.commit(ask, &self.step, commit).await {
            Ok(Committed::Applied { .. }) => Ended::Won,
            Ok(Committed::NotConsumed(_)) => Ended::Lost,
            Ok(Committed::Refused(_)) => Ended::Failed,
            Err(error) => match error.kind() {
                StoreErrorKind::NotApplied => Ended::Failed,
                StoreErrorKind::Unknown => Ended::Unknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approvals_id_has_the_digits_of_its_number() {
        assert_eq!(id_of(0), Uuid::nil());
        assert_eq!(id_of(1_234_567).simple().to_string(), format!("{:032}", 1_234_567));
        assert_eq!(id_of(u32::MAX).simple().to_string(), format!("{:032}", u32::MAX));
    }
}
