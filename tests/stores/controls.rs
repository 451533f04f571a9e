//! The suite on stores that are broken on purpose: it is not enough that something fails, the right claims have to.

use std::{collections::BTreeSet, sync::Arc};

use countersign::store::sql::Engine;
use libtest_mimic::{Failed, Trial};

use crate::{
    backend::{Executor, Maker},
    broken::{Broken, Mistake},
    claims,
    database::{Database, InDatabase},
    replay,
    world::World,
};

/// What every mistake in a consume makes false.
const ALWAYS: [&str; 4] = [
    "a_consume_is_refused_in_the_order_of_the_rules",
    "case_4_a_stale_snapshot_of_an_approval_that_somebody_else_executed_is_409",
    "of_eight_bare_consumes_one_is_applied",
    "of_eight_consumers_one_executes_and_the_others_are_told_409",
];

/// What the threads are called that run claims which are to fail.
pub(crate) const THREAD: &str = "control";

/// What is to fail need not say so.
pub(crate) fn keep_quiet_about_what_is_to_fail() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(THREAD) {
            loud(panic);
        }
    }));
}

/// The controls of the stores that this makes.
pub(crate) fn trials<E, D, M>(maker: &M) -> Vec<Trial>
where
    E: Engine,
    D: Database,
    M: Maker<Backend = InDatabase<E, D>> + Clone,
{
    let trial = |mistake: Mistake| {
        let broken = Broken { maker: maker.clone(), mistake };
        let (store, name) = broken.names();
        let replayed = broken.clone();
        [
            Trial::test(format!("{store}::{name}::is_caught_by_the_contract"), move || contract(&broken)),
            Trial::test(format!("{store}::{name}::is_caught_by_edge_replay"), move || edges(&replayed)),
        ]
    };
    Mistake::ALL.into_iter().flat_map(trial).collect()
}

fn contract<M: Maker + Clone>(broken: &M) -> Result<(), Failed> {
    let executor = Executor::named(THREAD);
    let (store, name) = broken.names();
    let mut failed = BTreeSet::new();
    for claim in claims::all::<M::Backend>() {
        let maker = broken.clone();
        let work = executor.handle().spawn(async move {
            let world = World::new(maker.make().await).await;
            (claim.run)(Arc::new(world)).await;
        });
        if executor.handle().block_on(work).is_err() {
            failed.insert(claim.name);
        }
    }
    println!("{store:>8} {name:<20} is caught by {} claims", failed.len());
    match ALWAYS.iter().find(|claim| !failed.contains(*claim)) {
        None => Ok(()),
        Some(claim) => Err(format!("{claim} holds; what does not: {failed:?}").into()),
    }
}

fn edges<E, D, M>(broken: &M) -> Result<(), Failed>
where
    E: Engine,
    D: Database,
    M: Maker<Backend = InDatabase<E, D>>,
{
    let (store, name) = broken.names();
    match replay::every_edge(broken, "atomic-commit", &Executor::named(THREAD)) {
        Ok(replayed) => Err(format!("{} edges, and nothing was found", replayed.edges).into()),
        Err(divergence) => {
            let last = divergence.path.last().expect("an action");
            println!(
                "{store:>8} {name:<20} is caught by edge replay at step {}: {last}",
                divergence.path.len()
            );
            // It is a consume that was let through.
            if divergence.to_string().contains("commit") {
                Ok(())
            } else {
                Err(divergence.to_string().into())
            }
        }
    }
}
