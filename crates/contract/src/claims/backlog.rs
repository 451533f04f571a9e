//! The work that is owed is counted, with the age of the oldest.

use countersign::store::{Backlog, NoticeState, Operations, Outbox, Owed, StackStatus, Verdict};

use super::outbox::executed;
use crate::world::{World, later};

pub(super) async fn the_backlog_is_what_is_owed_and_since_when(world: &World) {
    let backlog = async || world.store().backlog().await.expect("nothing fails");
    assert_eq!(backlog().await, Backlog::default());
    let ask = world.ask();
    world.requested(&ask).await;
    world.backend.set_clock(later(100)).await;
    let second = world.requested(&ask).await.approval.id;
    world.backend.set_clock(later(1_000)).await;
    let notices = Owed { count: 2, oldest_ms: 1_000 };
    assert_eq!(backlog().await, Backlog { notices, ..Backlog::default() });
    // A link that was sent is not owed, nor that of an approval that was decided.
    let notice = world.store().lease_notice(5_000).await.expect("nothing fails").expect("the first");
    assert_eq!(backlog().await.notices, notices, "it is being sent");
    assert_eq!(world.store().settle_notice(&notice, NoticeState::Done).await, Ok(true));
    assert_eq!(backlog().await.notices, Owed { count: 1, oldest_ms: 900 });
    world.operator(second, Verdict::Reject).await.expect("it is pending");
    assert_eq!(backlog().await.notices, Owed::default());
    // A job is owed from the use of its approval until its deploy has ended.
    executed(world).await;
    executed(world).await;
    world.backend.set_clock(later(1_500)).await;
    let jobs = Owed { count: 2, oldest_ms: 500 };
    assert_eq!(backlog().await, Backlog { jobs, ..Backlog::default() });
    let lease = world.store().lease_job(5_000).await.expect("nothing fails").expect("the first");
    assert_eq!(backlog().await.jobs, jobs, "it runs");
    assert_eq!(world.store().finish_job(&lease, StackStatus::Failed).await, Ok(true));
    assert_eq!(backlog().await.jobs, Owed { count: 1, oldest_ms: 500 });
}
