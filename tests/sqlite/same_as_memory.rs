//! Differential test: the store in memory and this one receive the same calls and must return the same results.
//!
//! The rules are written once; this test compares the statements' WHERE clauses with them.

mod acts;
mod world;

use std::sync::Arc;

use countersign::store::{
    MemoryStore,
    sql::{Cas, Consume},
    sqlite::{SqliteOptions, SqliteStore},
};
use countersign_models::fixtures::{CountingIds, HandClock, block_on, run_ready};
use countersign_testkit::slow;
use proptest::{
    collection::vec,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};

use self::{
    acts::{Act, act},
    world::World,
};
use crate::platform::OPENS;

/// Asks both stores the same, with this strategy in SQLite, and says where their answers differ.
fn compare(cas: Cas, statements: Option<&'static str>, cases: u32) -> Result<(), TestError<Vec<Act>>> {
    // Finding a broken statement needs no shrinking.
    let max_shrink_iters = if statements.is_some() { 0 } else { 4_000 };
    let config = Config { cases, max_shrink_iters, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, proptest::test_runner::TestRng::deterministic_rng(Default::default()))
        .run(&vec(act(), 1..60), |acts| {
            let memory_clock = Arc::new(HandClock::at(OPENS));
            let memory = MemoryStore::new(memory_clock.clone(), Arc::new(CountingIds::default()));
            let mut memory: World<MemoryStore> = World::new(memory, memory_clock);
            let clock = Arc::new(HandClock::at(OPENS));
            let ids = Arc::new(CountingIds::default());
            let options = SqliteOptions { cas, ..SqliteOptions::default() };
            let store = match statements.map(|file| Consume::new(cas, file).expect("it has its statement")) {
                Some(broken) => {
                    SqliteStore::open_with(SqliteStore::IN_MEMORY, clock.clone(), ids, options, broken)
                }
                None => SqliteStore::open(SqliteStore::IN_MEMORY, clock.clone(), ids, options),
            };
            let mut sqlite = World::new(store.expect("it can be opened"), clock);
            run_ready(memory.begin());
            block_on(sqlite.begin());
            for (number, act) in acts.iter().enumerate() {
                let (expected, found) = (run_ready(memory.take(act)), block_on(sqlite.take(act)));
                if expected != found {
                    let why = format!("{number}: {act:?}\nin memory: {expected}\nin SQLite: {found}");
                    return Err(TestCaseError::fail(why));
                }
            }
            Ok(())
        })
}

fn gives_the_answers_of_the_store_in_memory(cas: Cas) {
    let cases = if slow() { 300 } else { 50 };
    if let Err(error) = compare(cas, None, cases) {
        panic!("{cas}: {error}");
    }
}

#[test]
fn a_conditional_update_gives_the_answers_of_the_store_in_memory() {
    gives_the_answers_of_the_store_in_memory(Cas::ConditionalUpdate);
}

#[test]
fn a_version_column_gives_the_answers_of_the_store_in_memory() {
    gives_the_answers_of_the_store_in_memory(Cas::VersionColumn);
}

#[test]
fn a_row_lock_gives_the_answers_of_the_store_in_memory() {
    gives_the_answers_of_the_store_in_memory(Cas::ForUpdate);
}

#[test]
fn a_consumption_row_gives_the_answers_of_the_store_in_memory() {
    gives_the_answers_of_the_store_in_memory(Cas::ConsumptionRow);
}

/// The conditional update, wrong in one way.
macro_rules! wrong {
    ($status:literal, $window:literal, $digest:literal, $execution:literal) => {
        concat!(
            "-- name: consume\nUPDATE approvals SET status = $1, decided_at = countersign_now(), execution = ",
            $execution,
            " WHERE id = $3 AND ",
            $status,
            " AND ",
            $window,
            " AND ",
            $digest,
            " AND (lease_fence = $9 OR $10) RETURNING decided_at"
        )
    };
}

#[test]
fn a_clause_that_differs_from_the_rule_is_noticed() {
    const KEPT: [&str; 3] = [
        wrong!(
            "($4 <> '' OR $5)",
            "(expires_at > countersign_now() OR $6)",
            "(digest = $7 OR $8)",
            "COALESCE(execution, $2)"
        ),
        wrong!(
            "(status = $4 OR $5)",
            "(expires_at > 0 OR $6)",
            "(digest = $7 OR $8)",
            "COALESCE(execution, $2)"
        ),
        wrong!(
            "(status = $4 OR $5)",
            "(expires_at >= countersign_now() OR $6)",
            "(digest = $7 OR $8)",
            "COALESCE(execution, $2)"
        ),
    ];
    const MORE: [&str; 3] = [
        wrong!(
            "(status = $4 OR $5)",
            "(expires_at > countersign_now() OR $6)",
            "(digest <> $7 OR $8 OR TRUE)",
            "COALESCE(execution, $2)"
        ),
        wrong!(
            "(status = $4 OR $5 AND FALSE)",
            "(expires_at > countersign_now() OR $6)",
            "(digest = $7 OR $8)",
            "COALESCE(execution, $2)"
        ),
        wrong!("(status = $4 OR $5)", "(expires_at > countersign_now() OR $6)", "(digest = $7 OR $8)", "$2"),
    ];
    for (number, wrong) in KEPT.into_iter().chain(MORE).enumerate() {
        let found = compare(Cas::ConditionalUpdate, Some(wrong), 2_000);
        assert!(matches!(found, Err(TestError::Fail(..))), "nobody has noticed {number}: {wrong}");
    }
}
