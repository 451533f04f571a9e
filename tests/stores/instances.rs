//! Claims about PostgreSQL alone: several instances, a server that goes and comes back, and one that is slow.

mod archive;
mod lost_commit;
mod opening;
mod outages;
mod readiness;
mod schemas;
mod strategies;
mod tls;

use std::sync::Arc;

use countersign::{
    platform::{Binding, Kind},
    protocol::Digest,
    service::Driver,
    store::{
        Approvals, Decision, Ids, Payload, Plan, PromotionRequest, Team, Tenants, Verdict,
        postgres::{PostgresOptions, PostgresStore},
        sql::Cas,
    },
};
use countersign_contract::world::{TEAM, World, environment, flow, new_stack, succeeded};
use countersign_models::fixtures::{CountingIds, UseRequest, token_of};
use countersign_testkit::{Cluster, Fsync, SqlPeek};
use libtest_mimic::Trial;
use tokio_postgres::{Client, NoTls};

use crate::{Postgres, backend::Executor, database::DatabaseMaker, postgres::InPostgres};

/// All of them.
pub(crate) fn trials(postgres: &Postgres, executor: &Executor) -> Vec<Trial> {
    macro_rules! trials {
        ($($module:ident :: $name:ident),+ $(,)?) => {
            vec![$({
                let (postgres, executor) = (postgres.clone(), executor.clone());
                Trial::test(concat!("postgres::instances::", stringify!($name)), move || {
                    executor.block_on($module::$name(postgres?));
                    Ok(())
                })
            }),+]
        };
    }
    trials![
        schemas::instances_that_start_concurrently_create_the_tables_once,
        schemas::tables_of_the_first_schema_are_migrated_and_their_approval_can_be_used,
        schemas::a_newer_schema_is_refused,
        schemas::a_foreign_gap_in_the_migrations_is_refused,
        strategies::consumers_at_three_instances_share_one_execution,
        strategies::every_pair_of_strategies_executes_once_or_does_not_meet,
        strategies::a_commit_that_waited_past_the_window_is_refused_by_the_servers_clock,
        lost_commit::the_proxy_drops_the_answer_to_the_writes_commit_and_not_to_the_reads,
        lost_commit::a_readiness_check_whose_answer_is_lost_does_not_condemn_the_database,
        lost_commit::a_commit_whose_answer_is_lost_is_not_tried_again,
        outages::a_server_that_came_back_is_used_again,
        outages::a_server_that_is_killed_leaves_no_doubt_unsaid,
        outages::a_server_without_room_changes_nothing_until_it_has_some,
        outages::a_statement_that_takes_too_long_is_not_applied,
        outages::a_statement_of_a_session_that_is_ended_may_have_been_carried_out,
        outages::a_job_whose_row_is_locked_holds_up_no_other_job,
        outages::a_server_that_does_not_answer_is_given_up,
        outages::a_work_that_is_dropped_half_way_leaves_nothing,
        outages::more_callers_than_connections_wait_their_turn,
        schemas::a_name_of_a_schema_is_taken_as_it_is,
        readiness::a_database_that_is_not_what_it_was_is_not_ready,
        readiness::instances_are_ready_together_and_an_older_copy_is_noticed_by_each,
        tls::a_connection_is_encrypted_and_verified_as_sslmode_says,
        archive::what_is_archived_is_whole_and_is_deleted_once,
        opening::what_cannot_be_reached_is_said_so_without_the_password,
        opening::a_password_that_is_wrong_is_in_the_error_and_in_the_log,
        opening::text_that_the_server_does_not_take_is_not_applied,
        opening::without_a_wait_for_the_disk_it_works_the_same,
        opening::a_server_that_may_forget_commits_is_refused_where_that_is_not_allowed,
    ]
}

fn options(schema: &str) -> PostgresOptions {
    PostgresOptions { schema: Some(schema.to_owned()), ..PostgresOptions::default() }
}

fn ids() -> Arc<dyn Ids> {
    Arc::new(CountingIds::default())
}

async fn admin(url: &str, schema: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {schema}")).await.expect("the server answers");
    client
}

async fn world(cluster: Arc<Cluster>) -> World {
    let maker = InPostgres::new(Ok(cluster), Cas::ConditionalUpdate);
    World::new(Arc::new(maker.make(None).await)).await
}

async fn promote(store: &PostgresStore, ask: &UseRequest) -> bool {
    let digest = store.digest(ask).await.expect("nothing fails");
    promote_digest(store, ask, digest).await
}

async fn promote_digest(store: &PostgresStore, ask: &UseRequest, digest: Digest) -> bool {
    let deployer = countersign::service::InMemoryDeployer::default();
    succeeded(
        &Driver::new(&flow("atomic-commit"), store, &deployer)
            .expect("it is supported")
            .promote(ask.approval, ask, digest)
            .await,
    )
}

/// A team with a stack, and an approval to promote it.
async fn approved(store: &PostgresStore) -> UseRequest {
    store.put_team(TEAM, Team { plan: Plan::Pro, deployment_cap: 100 }).await.expect("nothing fails");
    let stack = store.create_stack(TEAM, new_stack("shop", "shop:1")).await;
    let stack = stack.expect("nothing fails").expect("there is room");
    let binding = Binding { kind: Kind::Stack, from: environment("staging"), to: environment("production") };
    let ask = PromotionRequest {
        team: TEAM,
        binding,
        requested_by: "dev@example.com".into(),
        payload: Payload { source: stack.id, name: None, copy_vault: false },
        key: None,
    };
    let approval = store.request_approval(&ask).await.expect("nothing fails").record.approval.id;
    let token = token_of(approval);
    let decision = Decision::Operator { token: &token, verdict: Verdict::Approve };
    store.decide(decision).await.expect("nothing fails").expect("it is pending");
    UseRequest::new(approval, ask)
}

/// Starts a separate cluster: the others must not be disturbed.
async fn own_cluster(fsync: Fsync) -> Arc<Cluster> {
    let started = tokio::task::spawn_blocking(move || Cluster::start(fsync)).await.expect("no task panics");
    Arc::new(started.expect("another one runs"))
}

async fn on(cluster: &Arc<Cluster>, work: fn(&Cluster) -> Result<(), countersign_testkit::Failed>) {
    let cluster = Arc::clone(cluster);
    let done = tokio::task::spawn_blocking(move || work(&cluster)).await.expect("no task panics");
    done.unwrap_or_else(|error| panic!("{error}"));
}
