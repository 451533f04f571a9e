//! Concurrent calls: of those with the same aim exactly one succeeds, and intermediate states are invisible.

use std::sync::Arc;

use countersign::{
    protocol::{Digest, Guards, Outcome, Refusal, Status},
    store::{
        Approvals, AuditKind, Claim, Committed, Operations, Outbox, PromotionRequest, StackStatus, Tenants,
        Verdict,
    },
};
use tokio::sync::Barrier;

use super::outbox::executed_into;
use crate::world::{TEAM, World, environment, flow, later, new_stack, succeeded};

pub(super) const EIGHT: usize = 8;
/// Each race is run so often.
pub(super) const ROUNDS: u64 = 5;

/// Runs this many tasks concurrently; each receives its number.
pub(super) async fn concurrently<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    world: &Arc<World>,
    count: usize,
    work: impl Fn(Arc<World>, usize) -> F,
) -> Vec<T> {
    let start = Arc::new(Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let (start, work) = (Arc::clone(&start), work(Arc::clone(world), number));
            tokio::spawn(async move {
                start.wait().await;
                work.await
            })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no task panics"));
    }
    results
}

/// Number of results equal to `wanted`.
fn count<T: PartialEq>(results: &[T], wanted: &T) -> usize {
    results.iter().filter(|result| *result == wanted).count()
}

pub(super) async fn of_eight_consumers_one_executes_and_the_others_get_409(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let ask = world.approved().await;
        let ends = concurrently(world, EIGHT, |world, _| {
            let ask = ask.clone();
            async move { world.promote(&flow("atomic-commit"), &ask).await }
        })
        .await;
        assert_eq!(ends.iter().filter(|end| succeeded(end)).count(), 1, "{ends:?}");
        let told_409 =
            |end: &&Outcome| matches!(end, Outcome::Refused { refusal, .. } if refusal.status() == 409);
        assert_eq!(ends.iter().filter(told_409).count(), EIGHT - 1, "{ends:?}");
        let events = world.events(&ask).await;
        assert_eq!(events, [AuditKind::Requested, AuditKind::Approved, AuditKind::Executed]);
        assert_eq!(world.targets().await.len(), 1);
    }
}

pub(super) async fn of_eight_bare_consumes_one_is_applied(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let ask = world.approved().await;
        let digest = world.source_digest(&ask).await;
        let consumed = concurrently(world, EIGHT, |world, _| {
            let ask = ask.clone();
            async move { world.consume(&ask, Guards::ALL, digest).await }
        })
        .await;
        assert_eq!(count(&consumed, &Ok(Committed::Applied { target: None })), 1, "{consumed:?}");
        let lost = Ok(Committed::NotConsumed(Refusal::APPROVAL_ALREADY_EXECUTED));
        assert_eq!(count(&consumed, &lost), EIGHT - 1, "{consumed:?}");
    }
}

pub(super) async fn of_concurrent_decisions_one_wins(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let ask = world.pending(world.ask()).await;
        let id = ask.approval;
        let decided = concurrently(world, EIGHT, |world, number| async move {
            match number % 3 {
                0 => world.operator(id, Verdict::Approve).await,
                1 => world.operator(id, Verdict::Reject).await,
                _ => world.administrator(TEAM, id).await,
            }
        })
        .await;
        let winners: Vec<_> = decided.iter().filter_map(|decided| decided.as_ref().ok()).collect();
        let [winner] = winners.as_slice() else { panic!("{decided:?}") };
        let record = world.record(&ask).await;
        assert_eq!(record, **winner);
        let kind = match record.approval.status {
            Status::Approved => AuditKind::Approved,
            Status::Rejected => AuditKind::Rejected,
            other => panic!("nobody has made it {other}"),
        };
        assert_eq!(world.events(&ask).await, [AuditKind::Requested, kind]);
    }
}

pub(super) async fn consumers_and_a_rejection_agree(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let ask = world.pending(world.ask()).await;
        let executed = concurrently(world, EIGHT, |world, number| {
            let ask = ask.clone();
            async move {
                let id = ask.approval;
                match number {
                    0 => world.operator(id, Verdict::Approve).await.map_or(0, |_| 0),
                    1 => world.administrator(TEAM, id).await.map_or(0, |_| 0),
                    _ => usize::from(succeeded(&world.promote(&flow("atomic-commit"), &ask).await)),
                }
            }
        })
        .await;
        let executed: usize = executed.into_iter().sum();
        match world.status(&ask).await {
            Status::Rejected | Status::Approved => assert_eq!(executed, 0),
            Status::Executed => assert_eq!(executed, 1),
            other => panic!("nobody has made it {other}"),
        }
    }
}

pub(super) async fn consumers_of_different_approvals_share_one_target(world: &Arc<World>) {
    let mut asks = Vec::new();
    for _ in 0..EIGHT {
        asks.push(world.approved().await);
    }
    let ends = concurrently(world, EIGHT, |world, number| {
        let ask = asks[number].clone();
        async move { world.promote(&flow("atomic-commit"), &ask).await }
    })
    .await;
    let created =
        |end: &&Outcome| matches!(end, Outcome::Succeeded { target: Some(target), .. } if target.created);
    assert!(ends.iter().all(succeeded), "{ends:?}");
    assert_eq!(ends.iter().filter(created).count(), 1);
    assert_eq!(world.targets().await.len(), 1);
}

pub(super) async fn two_creators_do_not_pass_the_cap(world: &Arc<World>) {
    let there = world.backend.stacks(TEAM).await.len();
    world.set_cap(there + 3).await;
    let created = concurrently(world, EIGHT, |world, number| async move {
        let stack = new_stack(&format!("stack {number}"), "image");
        world.store().create_stack(TEAM, stack).await.expect("nothing fails").map(|_| ())
    })
    .await;
    assert_eq!(count(&created, &Ok(())), 3, "{created:?}");
    assert_eq!(count(&created, &Err(Refusal::DEPLOYMENT_LIMIT_REACHED)), EIGHT - 3);
    assert_eq!(world.backend.stacks(TEAM).await.len(), there + 3);
}

pub(super) async fn a_promotion_and_a_creator_do_not_pass_the_cap(world: &Arc<World>) {
    for round in 0..ROUNDS {
        let there = world.backend.stacks(TEAM).await.len();
        let mut ask = world.ask();
        ask.binding.to = environment(&format!("production-{round}"));
        let ask = world.approve(ask).await;
        world.set_cap(there + 1).await;
        let done = concurrently(world, 4, |world, number| {
            let ask = ask.clone();
            async move {
                if number % 2 == 0 {
                    succeeded(&world.promote(&flow("atomic-commit"), &ask).await)
                } else {
                    let stack = new_stack(&format!("stack {round} {number}"), "image");
                    world.store().create_stack(TEAM, stack).await.expect("nothing fails").is_ok()
                }
            }
        })
        .await;
        assert_eq!(count(&done, &true), 1, "{done:?}");
        assert_eq!(world.backend.stacks(TEAM).await.len(), there + 1);
    }
}

pub(super) async fn a_job_is_leased_by_one_of_eight(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let mut executed = Vec::new();
        for name in ["production", "qa", "canary"] {
            executed.push(executed_into(world, environment(name)).await.approval);
        }
        let leased = concurrently(world, EIGHT, |world, _| async move {
            world.store().lease_job(1_000).await.expect("nothing fails")
        })
        .await;
        let mut held: Vec<_> = leased.into_iter().flatten().collect();
        held.sort_by_key(|lease| lease.approval);
        executed.sort();
        assert_eq!(held.iter().map(|lease| lease.approval).collect::<Vec<_>>(), executed);
        for lease in &held {
            let finished = concurrently(world, 2, |world, _| {
                let lease = lease.clone();
                async move { world.store().finish_job(&lease, StackStatus::Healthy).await }
            })
            .await;
            assert_eq!((count(&finished, &Ok(true)), count(&finished, &Ok(false))), (1, 1));
        }
    }
}

pub(super) async fn a_notice_is_leased_by_one_of_eight(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let asked = world.requested(&world.ask()).await;
        let leased = concurrently(world, EIGHT, |world, _| async move {
            world.store().lease_notice(100).await.expect("nothing fails")
        })
        .await;
        let leased: Vec<_> = leased.into_iter().flatten().collect();
        assert_eq!(leased.len(), 1, "{leased:?}");
        assert_eq!(leased[0].record, asked);
    }
}

pub(super) async fn one_of_eight_gets_a_key(world: &Arc<World>) {
    for round in 0..ROUNDS {
        let claims = concurrently(world, EIGHT, |world, _| async move {
            let key = format!("key {round}");
            world.store().claim_key(TEAM, &key, Digest([1; 32]), 100).await.expect("nothing fails")
        })
        .await;
        assert_eq!(count(&claims, &Claim::Granted { until: later(100) }), 1, "{claims:?}");
        assert_eq!(count(&claims, &Claim::InFlight), EIGHT - 1);
    }
}

pub(super) async fn one_request_under_a_key_is_one_approval(world: &Arc<World>) {
    for round in 0..ROUNDS {
        let ask = PromotionRequest { key: Some(format!("key {round}").into()), ..world.ask() };
        let asked = concurrently(world, EIGHT, |world, _| {
            let ask = ask.clone();
            async move { world.store().request_approval(&ask).await.expect("nothing fails") }
        })
        .await;
        assert_eq!(asked.iter().filter(|requested| requested.created).count(), 1, "{asked:?}");
        let records: Vec<_> = asked.into_iter().map(|requested| requested.record).collect();
        assert_eq!(count(&records, &records[0]), EIGHT, "{records:?}");
        let id = records[0].approval.id;
        assert_eq!(world.events(&world.ask_with(id)).await, [AuditKind::Requested]);
    }
}

pub(super) async fn a_reader_never_sees_half_a_commit(world: &Arc<World>) {
    for _ in 0..ROUNDS {
        let ask = world.approved().await;
        let seen = concurrently(world, 4, |world, number| {
            let ask = ask.clone();
            async move {
                let id = ask.approval;
                if number == 0 {
                    assert!(succeeded(&world.promote(&flow("atomic-commit"), &ask).await));
                    return 0;
                }
                // Once one part is visible, the others are visible to every later read.
                let mut looks = 0;
                loop {
                    looks += 1;
                    let first = match number {
                        1 => world.backend.job(TEAM, id).await.is_some(),
                        2 => world.events(&ask).await.contains(&AuditKind::Executed),
                        _ => world.status(&ask).await == Status::Executed,
                    };
                    if first {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                assert_eq!(world.status(&ask).await, Status::Executed);
                assert!(world.events(&ask).await.contains(&AuditKind::Executed));
                assert!(world.backend.job(TEAM, id).await.is_some());
                let execution = world.store().execution(TEAM, id).await.expect("nothing fails");
                let target = execution.expect("it is executed").target.expect("it wrote one").id;
                assert!(world.targets().await.iter().any(|stack| stack.id == target));
                looks
            }
        })
        .await;
        assert_eq!(seen.len(), 4);
    }
}
