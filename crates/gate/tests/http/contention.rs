//! Many who want the same approval, on an instance where one plans at a time.

use countersign::store::{AuditKind, Leased, Leases};
use countersign_gate::http::Flows;
use tokio::time::{Duration, timeout};

use crate::gate::{Gate, TEAM};

const CALLERS: usize = 3;

#[tokio::test(start_paused = true)]
async fn who_finds_the_lease_taken_waits_and_one_of_them_wins_when_it_is_given_back() {
    let gate = Gate::with(|parts| parts.flows = Flows::atomic_commit_lease());
    let approval = gate.approved().await;
    // Another instance.
    let Leased::Taken { fence } = gate.store.lease_approval(TEAM, approval).await.expect("nothing fails")
    else {
        panic!("nobody else wants it");
    };
    let promote = || gate.send(gate.promote(Some(approval)));
    let callers = async { tokio::join!(promote(), promote(), promote()) };
    tokio::pin!(callers);
    let early = timeout(Duration::from_secs(5), &mut callers).await;
    assert!(early.is_err(), "nobody is answered while another one has the lease");
    assert_eq!(gate.count(AuditKind::Executed), 0);

    gate.store.release_approval(TEAM, approval, fence).await.expect("nothing fails");
    let (one, two, three) = callers.await;
    let answers = [one, two, three];
    let won = answers.iter().filter(|answer| answer.status == 202).count();
    let used = ("approval_not_approved".to_owned(), true);
    let lost = answers
        .iter()
        .filter(|answer| answer.status == 409)
        .all(|answer| (answer.problem().1, answer.json()["consumed"] == true) == used);
    assert_eq!((won, lost), (1, true), "{answers:?}");
    assert_eq!(gate.count(AuditKind::Executed), 1);
    let next = gate.store.lease_approval(TEAM, approval).await.expect("nothing fails");
    let all = fence + 1 + CALLERS as u64;
    assert_eq!(next, Leased::Taken { fence: all }, "each had it once, and gave it back");
}
