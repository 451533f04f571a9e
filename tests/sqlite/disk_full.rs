//! A full disk: a clear error, nothing half done, and a store that works again when there is room.

use countersign::{
    protocol::{Flow, Outcome, Refusal, Status},
    store::{AuditKind, Operations, StoreError, Tenants, sqlite::SqliteOptions},
};
use countersign_models::fixtures::block_on;

use crate::platform::{Platform, TEAM, environment};

#[test]
fn a_promote_on_a_full_disk_changes_nothing_and_goes_through_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = SqliteOptions { most_pages: Some(240), ..SqliteOptions::default() };
    let platform = Platform::at(&dir.path().join("gate.db"), options);
    let (flow, staging) = (Flow::atomic_commit(), environment("staging"));
    let put = |key: &str, value: &str| block_on(platform.store.put_vault(TEAM, &staging, key, value));
    // Its target gets a copy of them, for which no page that is there has room.
    let variables = |size| [("LARGE".to_owned(), Some("x".repeat(size)))].into();
    let patch = |size| block_on(platform.store.patch_env(TEAM, &platform.source.slug(), &variables(size)));
    patch(10_000).expect("there is room yet").expect("it is there");
    // The approval is bound to these variables.
    let ask = platform.approved();
    // Large values first, then small ones, until not even those find room.
    let mut keys = 0..;
    for size in [100_000, 3_000, 300, 30, 1] {
        let value = "x".repeat(size);
        loop {
            match put(&format!("key-{}", keys.next().expect("there are enough")), &value) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, StoreError::not_applied("any cause"));
                    break;
                }
            }
        }
    }
    // Others find the last corners of pages that are there; larger variables find none.
    assert_eq!(patch(50_000), Err(StoreError::not_applied("any cause")));
    let mut failed = false;
    for number in 0..200 {
        let mut other = ask.clone();
        other.payload.name = Some("x".repeat(1_000));
        other.key = Some(format!("{number}").into());
        failed = platform.requested(&other).is_err();
        if failed {
            break;
        }
    }
    assert!(failed, "there is no room for another approval");
    let refused = platform.promote(&flow, &ask).end;
    if let Outcome::Refused { refusal, .. } = &refused {
        assert_eq!(*refusal, Refusal::EXECUTE_FAILED);
        assert_eq!(platform.status(&ask), Status::Approved);
        let family =
            block_on(platform.store.family(TEAM, platform.source.id)).expect("reading needs no room");
        assert_eq!(family.len(), 1);
        let events = block_on(platform.store.audit(ask.approval)).expect("reading needs no room");
        assert!(events.iter().all(|event| event.kind != AuditKind::Executed));
    } else {
        panic!("it has found room: {refused:?}");
    }
    put("key-0", "").expect("what is smaller finds room");
    assert!(matches!(platform.promote(&flow, &ask).end, Outcome::Succeeded { .. }));
    assert_eq!(platform.status(&ask), Status::Executed);
}
