//! Commits: judged in their order, by the store's clock, and then all of it happens or nothing.

use countersign::{
    platform::Kind,
    protocol::{
        Act, Atomicity, Change, Checks, Commit, Consume, Digest, Flow, Guards, Member, Refusal, Status, Step,
        StepAction, Target, Via, Write, WriteTarget,
    },
    store::{
        APPROVAL_WINDOW_MS, Approvals, AuditKind, Committed, JobState, NewResource, ResourceKind,
        StackStatus, StoreError, Tenants,
    },
};

use countersign_models::fixtures::UseRequest;

use crate::world::{OPENS, TEAM, UNKNOWN, World, environment, flow, later, refused, succeeded};

const WRONG: Digest = Digest([9; 32]);
const APPLIED: Result<Committed, StoreError> = Ok(Committed::Applied { target: None });

fn not_consumed(refusal: Refusal) -> Result<Committed, StoreError> {
    Ok(Committed::NotConsumed(refusal))
}

async fn digest(world: &World, ask: &UseRequest) -> Digest {
    world.record(ask).await.approval.digest
}

/// One write of the target, alone.
async fn write_target(world: &World, ask: &UseRequest, trust_look: bool, target: Option<Target>) -> Target {
    let how = if trust_look { Atomicity::ReadThenWrite } else { Atomicity::Atomic };
    let step = Step::from(StepAction::Write(Write { atomicity: how, ..Write::new(WriteTarget::Target) }));
    let ops = [Change::WriteTarget { trust_look }];
    let digest = world.source_digest(ask).await;
    let commit = Commit { approval: ask.approval, digest, target, fence: None, uses_seen: 0, ops: &ops };
    match world.store().commit(ask, &step, commit).await {
        Ok(Committed::Applied { target: Some(target) }) => target,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn a_consume_is_refused_in_the_order_of_the_rules(world: &World) {
    let unknown = world.ask_with(UNKNOWN);
    let consumed = world.consume(&unknown, Guards::ALL, WRONG).await;
    assert_eq!(consumed, not_consumed(Refusal::APPROVAL_NOT_FOUND));
    let (open, late, used) = (world.approved().await, world.approved().await, world.approved().await);
    let pending = world.pending(world.ask()).await;
    let consumed = world.consume(&open, Guards::ALL, WRONG).await;
    assert_eq!(consumed, not_consumed(Refusal::APPROVAL_PAYLOAD_MISMATCH));
    let right = digest(world, &used).await;
    assert_eq!(world.consume(&used, Guards::ALL, right).await, APPLIED);
    world.backend.set_clock(later(APPROVAL_WINDOW_MS)).await;
    let consumed = world.consume(&late, Guards::ALL, WRONG).await;
    assert_eq!(consumed, not_consumed(Refusal::APPROVAL_EXPIRED));
    for (ask, status) in [(&used, Status::Executed), (&pending, Status::Pending)] {
        let consumed = world.consume(ask, Guards::ALL, WRONG).await;
        assert_eq!(consumed, not_consumed(Refusal::APPROVAL_ALREADY_EXECUTED));
        assert_eq!(world.status(ask).await, status);
    }
}

pub(super) async fn a_guard_that_is_left_out_is_not_looked_at(world: &World) {
    let ask = world.approved().await;
    let right = digest(world, &ask).await;
    let without_digest = Guards { digest: false, ..Guards::ALL };
    assert_eq!(world.consume(&ask, without_digest, WRONG).await, APPLIED);
    let without_status = Guards { status: false, ..Guards::ALL };
    assert_eq!(world.consume(&ask, without_status, right).await, APPLIED, "an unconditional update");
    let consumed = world.consume(&ask, without_status, WRONG).await;
    assert_eq!(consumed, not_consumed(Refusal::APPROVAL_PAYLOAD_MISMATCH));
    let pending = world.pending(world.ask()).await;
    assert_eq!(world.consume(&pending, Guards::default(), WRONG).await, APPLIED);
    assert_eq!(world.status(&pending).await, Status::Executed);
    let late = world.approved().await;
    world.backend.set_clock(later(APPROVAL_WINDOW_MS)).await;
    let consumed = world.consume(&late, without_status, right).await;
    assert_eq!(consumed, not_consumed(Refusal::APPROVAL_EXPIRED));
    let without_expiry = Guards { expiry: false, ..Guards::ALL };
    assert_eq!(world.consume(&late, without_expiry, right).await, APPLIED);
}

pub(super) async fn a_lost_consume_changes_nothing(world: &World) {
    let ask = world.approved().await;
    let right = digest(world, &ask).await;
    assert_eq!(world.consume(&ask, Guards::ALL, right).await, APPLIED);
    let before = world.backend.everything().await;
    world.backend.set_clock(later(7)).await;
    let consumed = world.consume(&ask, Guards::ALL, right).await;
    assert_eq!(consumed, not_consumed(Refusal::APPROVAL_ALREADY_EXECUTED));
    let end = world.promote(&flow("atomic-commit"), &ask).await;
    assert_eq!(refused(end), Refusal::APPROVAL_NOT_APPROVED);
    assert_eq!(world.backend.everything().await, before);
}

pub(super) async fn the_stores_own_clock_decides_expiry(world: &World) {
    let (first, second) = (world.approved().await, world.approved().await);
    let ends = world.record(&first).await.approval.expires_at;
    let right = digest(world, &first).await;
    world.backend.set_clock(later(APPROVAL_WINDOW_MS - 1)).await;
    let reading = world.store().read_approval(first.approval, &first).await.expect("nothing fails");
    assert_eq!(reading.now, later(APPROVAL_WINDOW_MS - 1));
    assert_eq!(world.consume(&first, Guards::ALL, right).await, APPLIED);
    assert_eq!(world.record(&first).await.decided_at, Some(later(APPROVAL_WINDOW_MS - 1)));
    // Validated before its end, consumed after it.
    let flow = flow("atomic-commit");
    let promotion = world.drive_to(&flow, &second, flow.steps().len() - 1).await;
    world.backend.set_clock(ends).await;
    let end = world.finish(promotion, &second).await;
    assert_eq!(refused(end), Refusal::APPROVAL_EXPIRED);
    assert_eq!(world.status(&second).await, Status::Approved);
}

pub(super) async fn a_refused_member_leaves_no_trace(world: &World) {
    let ask = world.approved().await;
    world.store().put_vault(TEAM, &environment("staging"), "KEY", "value").await.expect("nothing fails");
    world.set_cap(1).await;
    let before = world.backend.everything().await;
    let flow = flow("atomic-commit");
    // The consume stands before the write that refuses, and the write before those that would follow.
    assert_eq!(refused(world.promote(&flow, &ask).await), Refusal::DEPLOYMENT_LIMIT_REACHED);
    assert_eq!(world.backend.everything().await, before);
    assert_eq!(world.backend.job(TEAM, ask.approval).await, None);
    assert_eq!(world.store().execution(TEAM, ask.approval).await, Ok(None));
    world.set_cap(2).await;
    assert!(succeeded(&world.promote(&flow, &ask).await), "it can be asked for again");
}

pub(super) async fn a_group_refuses_in_the_order_of_its_members(world: &World) {
    let limit = Member::Write(Write {
        refusals: vec![Refusal::DEPLOYMENT_LIMIT_REACHED],
        ..Write::new(WriteTarget::Target)
    });
    let consume = Member::Consume(Consume::new(Guards::ALL));
    let ask = world.pending(world.ask()).await;
    world.backend.begin_outage(TEAM, &Refusal::DEPLOYMENT_LIMIT_REACHED);
    for (members, refusal) in [
        (vec![limit.clone(), consume.clone()], Refusal::DEPLOYMENT_LIMIT_REACHED),
        (vec![consume, limit], Refusal::APPROVAL_ALREADY_EXECUTED),
    ] {
        let validate = StepAction::Validate { checks: Checks::default(), accept_own: false };
        let flow = Flow::of_steps(vec![validate.into(), StepAction::Atomic(members).into()]).expect("a flow");
        assert_eq!(refused(world.promote(&flow, &ask).await), refusal);
    }
}

pub(super) async fn a_commit_writes_all_of_it(world: &World) {
    let mut ask = world.ask();
    ask.payload.name = Some("shop live".to_owned());
    let ask = world.approve(ask).await;
    world.backend.set_clock(later(5)).await;
    assert!(succeeded(&world.promote(&flow("atomic-commit"), &ask).await));
    let record = world.record(&ask).await;
    assert_eq!((record.approval.status, record.decided_at), (Status::Executed, Some(later(5))));
    let targets = world.targets().await;
    let [target] = targets.as_slice() else { panic!("{targets:?}") };
    assert_eq!((&*target.name, target.status), ("shop live", StackStatus::Building));
    assert_eq!((target.parent, target.root), (Some(world.source.id), world.source.id));
    assert_eq!((&target.services, &target.env_vars), (&world.source.services, &world.source.env_vars));
    let job = world.backend.job(TEAM, ask.approval).await.expect("there is a job");
    assert_eq!(
        (job.digest, job.target, job.state),
        (record.approval.digest, Some(target.id), JobState::Ready)
    );
    assert_eq!(world.events(&ask).await, [AuditKind::Requested, AuditKind::Approved, AuditKind::Executed]);
}

pub(super) async fn a_target_that_is_there_is_updated_and_its_own_variables_win(world: &World) {
    let flow = flow("atomic-commit");
    let patch = async |slug: &str, pairs: &[(&str, &str)]| {
        let changes = pairs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
        let patched = world.store().patch_env(TEAM, slug, &changes.collect()).await;
        assert!(patched.expect("nothing fails").is_some());
    };
    patch(&world.source.slug(), &[("A", "source"), ("B", "source")]).await;
    assert!(succeeded(&world.promote(&flow, &world.approved().await).await));
    let target = world.targets().await.remove(0);
    assert_eq!(target.env_vars["A"], "source");
    patch(&target.slug(), &[("A", "target"), ("C", "target")]).await;
    world.store().put_image(TEAM, &world.source.slug(), "web", "shop:2").await.expect("nothing fails");
    // A full tier allows it too: no target is created.
    world.set_cap(2).await;
    let ask = world.approved().await;
    assert!(succeeded(&world.promote(&flow, &ask).await));
    let targets = world.targets().await;
    let [updated] = targets.as_slice() else { panic!("{targets:?}") };
    assert_eq!((updated.id, &updated.name), (target.id, &target.name));
    assert_eq!(updated.services[0].image_ref.as_deref(), Some("shop:2"));
    let variables: Vec<_> = updated.env_vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(variables, [("A", "target"), ("B", "source"), ("C", "target")]);
    let execution = world.store().execution(TEAM, ask.approval).await.expect("nothing fails");
    let written = execution.expect("it is executed").target;
    assert_eq!(written, Some(Target { id: target.id, created: false }));
}

pub(super) async fn a_write_that_trusts_its_look_creates_a_second_target(world: &World) {
    let ask = world.approved().await;
    let first = write_target(world, &ask, true, None).await;
    let second = write_target(world, &ask, true, None).await;
    assert!(first.created && second.created && first.id != second.id);
    assert_eq!(write_target(world, &ask, true, Some(second)).await, second, "its own");
    // A look and write in one transaction finds the first.
    let found = write_target(world, &ask, false, None).await;
    assert_eq!(found, Target { id: first.id, created: false });
    assert_eq!(world.targets().await.len(), 2);
}

pub(super) async fn a_second_job_changes_nothing(world: &World) {
    let ask = world.approved().await;
    let enqueue = async |digest| {
        let commit = Commit {
            approval: ask.approval,
            digest,
            target: None,
            fence: None,
            uses_seen: 0,
            ops: &[Change::Enqueue { act: 0 }],
        };
        let committed =
            world.store().commit(&ask, &Step::from(StepAction::Act(Act::new(Via::Outbox))), commit).await;
        assert_eq!(committed, APPLIED);
        world.backend.job(TEAM, ask.approval).await.expect("there is a job")
    };
    let first = enqueue(Digest([1; 32])).await;
    assert_eq!((first.digest, first.target, first.state), (Digest([1; 32]), None, JobState::Ready));
    assert_eq!(enqueue(WRONG).await, first);
}

pub(super) async fn vault_keys_are_copied_and_none_is_overwritten(world: &World) {
    let (staging, production) = (environment("staging"), environment("production"));
    for (env, key, value) in [
        (&staging, "OLD", "staging"),
        (&production, "OLD", "production"),
        (&staging, "NEW", "staging"),
        (&environment("qa"), "OTHER", "qa"),
    ] {
        world.store().put_vault(TEAM, env, key, value).await.expect("nothing fails");
    }
    let flow = flow("atomic-commit");
    assert!(succeeded(&world.promote(&flow, &world.approved().await).await));
    assert_eq!(world.backend.vault(TEAM, &production, "NEW").await, None, "nobody asked for it");
    let mut ask = world.ask();
    ask.payload.copy_vault = true;
    let ask = world.approve(ask).await;
    assert!(succeeded(&world.promote(&flow, &ask).await));
    let vault = async |key: &str| world.backend.vault(TEAM, &production, key).await;
    assert_eq!(vault("OLD").await.as_deref(), Some("production"));
    assert_eq!(vault("NEW").await.as_deref(), Some("staging"));
    assert_eq!(vault("OTHER").await, None);
    let execution = world.store().execution(TEAM, ask.approval).await.expect("nothing fails");
    assert_eq!(execution.expect("it is executed").vault_keys, ["NEW"]);
}

pub(super) async fn a_twin_is_created_once(world: &World) {
    let new =
        NewResource { name: "db".to_owned(), kind: ResourceKind::Postgres, env: environment("staging") };
    let database = world.store().create_resource(TEAM, new).await.expect("nothing fails");
    let twin = async || {
        let mut ask = world.ask();
        ask.binding.kind = Kind::ResourceTwin;
        ask.payload.source = database.id;
        world.approve(ask).await
    };
    let flow = flow("twin-consume-first");
    assert!(succeeded(&world.promote(&flow, &twin().await).await));
    let resources = world.backend.resources(TEAM).await;
    let [original, copy] = resources.as_slice() else { panic!("{resources:?}") };
    assert_eq!(original, &database);
    assert_eq!((copy.root, copy.kind, &copy.env), (database.id, database.kind, &environment("production")));
    assert_eq!(copy.status, StackStatus::Building);
    assert_eq!(refused(world.promote(&flow, &twin().await).await), Refusal::TWIN_EXISTS);
    assert_eq!(world.backend.resources(TEAM).await.len(), 2);
    assert_eq!(world.store().resource(TEAM, copy.id).await, Ok(Some(copy.clone())));
    assert_eq!(world.record(&world.approved().await).await.created_at, OPENS);
}
