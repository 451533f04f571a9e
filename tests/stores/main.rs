//! The contract of every store with every strategy, a claim each, and every edge of the model on all of them.
//!
//! `cargo test --test stores --features sqlite,postgres,flow-files` prints for each store and strategy how many claims
//! there were, and how many edges of which flow were replayed. Without PostgreSQL its cases are ignored, each with the
//! reason; in CI they fail.

mod backend;
mod broken;
mod claims;
mod controls;
mod database;
mod instances;
mod memory;
mod postgres;
mod replay;
mod rows;
mod sqlite;
mod world;

use std::sync::Arc;

use countersign::{
    store::sql::Cas,
    strategy::{Actor, OneMutex, Packed, PointerSwap, Sharded, SlotInId, sync::Std},
};
use countersign_test_cluster::{Cluster, Failed, Fsync, may_be_skipped};
use libtest_mimic::{Arguments, Completion, Trial};

use crate::{
    backend::{Executor, Maker},
    memory::InMemory,
    postgres::InPostgres,
    sqlite::InSqlite,
    world::World,
};

/// PostgreSQL, or why there is none.
type Postgres = Result<Arc<Cluster>, String>;

fn main() {
    let arguments = Arguments::from_args();
    controls::keep_quiet_about_what_is_to_fail();
    let executor = Executor::named("claims");
    let mut trials = in_memory(&executor);
    for cas in sqlite::STRATEGIES {
        trials.extend(contract(&InSqlite(cas), &executor));
        trials.extend(replay::trials(&InSqlite(cas), &executor));
    }
    trials.extend(controls::trials(&InSqlite(Cas::ConditionalUpdate)));
    let postgres = start_postgres(&arguments);
    let on_postgres = on_postgres(&postgres, &executor);
    trials.extend(match &postgres {
        Ok(_) => on_postgres,
        Err(why) => on_postgres.iter().map(|trial| skipped(trial, why)).collect(),
    });
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(postgres);
    conclusion.exit();
}

fn in_memory(executor: &Executor) -> Vec<Trial> {
    [
        contract(&InMemory::<Sharded>::default(), executor),
        contract(&InMemory::<OneMutex>::default(), executor),
        contract(&InMemory::<Packed>::default(), executor),
        contract(&InMemory::<PointerSwap>::default(), executor),
        contract(&InMemory::<SlotInId<Std>>::default(), executor),
        contract(&InMemory::<Actor>::default(), executor),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every claim about the stores that this makes.
fn contract<M: Maker + Clone>(maker: &M, executor: &Executor) -> Vec<Trial> {
    let (store, strategy) = maker.names();
    let claims = claims::all::<M::Backend>();
    claims
        .into_iter()
        .map(|claim| {
            let (maker, executor) = (maker.clone(), executor.clone());
            Trial::test(format!("{store}::{strategy}::{}", claim.name), move || {
                executor.handle().block_on(async {
                    let world = World::new(maker.make().await).await;
                    (claim.run)(Arc::new(world)).await;
                });
                Ok(())
            })
        })
        .collect()
}

fn on_postgres(postgres: &Postgres, executor: &Executor) -> Vec<Trial> {
    let mut trials = instances::trials(postgres, executor);
    for cas in Cas::ALL {
        let maker = InPostgres::new(postgres.clone(), cas);
        trials.extend(contract(&maker, executor));
        trials.extend(replay::trials(&maker, executor));
    }
    trials.extend(controls::trials(&InPostgres::new(postgres.clone(), Cas::ConditionalUpdate)));
    trials
}

/// The same case, not put to the test.
fn skipped(trial: &Trial, why: &str) -> Trial {
    let why = why.to_owned();
    Trial::ignorable_test(trial.name(), move || Ok(Completion::ignored_with(why)))
}

/// One server for all cases. Nobody pulls the plug, so that it need not wait for the disk.
fn start_postgres(arguments: &Arguments) -> Postgres {
    if arguments.list {
        return Err("only listed".to_owned());
    }
    match Cluster::start(Fsync::Off) {
        Ok(cluster) => Ok(Arc::new(cluster)),
        Err(Failed::NotInstalled(missing)) => match may_be_skipped(&missing) {
            Ok(()) => Err(missing.to_string()),
            Err(why) => panic!("{why}"),
        },
        Err(failed) => panic!("{failed}"),
    }
}
