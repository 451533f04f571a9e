//! The contract of every store with every strategy, a claim each, and every edge of the model on all of them.
//!
//! `cargo test --workspace --test stores` prints for each store and strategy how many claims
//! there were, and how many edges of which flow were replayed. Without PostgreSQL its cases are ignored, each with the
//! reason; in CI they fail.

mod backend;
mod broken;
mod controls;
mod database;
mod instances;
mod memory;
mod postgres;
mod replay;
mod rows;
mod sqlite;

use std::sync::Arc;

use countersign::{
    protocol::Timestamp,
    store::memory::strategy::{Actor, OneMutex, Packed, PointerSwap, Sharded, SlotInId, sync::Std},
    store::{sql::Cas, sqlite::SqliteStore},
};
use countersign_contract::{AnyAttemptStore, Backend, Claim, ItemBackend, ItemClaim, Later};
use countersign_models::fixtures::token_of;
use countersign_testkit::{Cluster, Failed, Fsync, SLOW_TIER, may_be_skipped, slow, unless};
use libtest_mimic::{Arguments, Trial};
use uuid::Uuid;

use crate::{
    backend::{Executor, Maker},
    database::DatabaseMaker,
    memory::InMemory,
    postgres::InPostgres,
    sqlite::InSqlite,
};

/// PostgreSQL, or the reason why it is missing.
type Postgres = Result<Arc<Cluster>, String>;

fn main() {
    let arguments = Arguments::from_args();
    controls::keep_quiet_about_what_is_to_fail();
    let executor = Executor::named("claims");
    let mut trials = in_memory(&executor);
    let in_sqlite = SqliteStore::STRATEGIES.map(|cas| Arc::new(InSqlite(cas)) as Arc<dyn DatabaseMaker>);
    trials.extend(in_databases(&in_sqlite, &executor));
    let postgres = start_postgres(&arguments);
    let on_postgres = on_postgres(&postgres, &executor);
    let why_not = postgres.as_ref().err().map(String::as_str);
    trials.extend(on_postgres.into_iter().map(|trial| unless(why_not, trial)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(postgres);
    conclusion.exit();
}

fn in_memory(executor: &Executor) -> Vec<Trial> {
    let makers: [Arc<dyn Maker>; 6] = [
        Arc::new(InMemory::<Sharded>::default()),
        Arc::new(InMemory::<OneMutex>::default()),
        Arc::new(InMemory::<Packed>::default()),
        Arc::new(InMemory::<PointerSwap>::default()),
        Arc::new(InMemory::<SlotInId<Std>>::default()),
        Arc::new(InMemory::<Actor>::default()),
    ];
    makers.iter().flat_map(|maker| contract(maker, executor)).collect()
}

fn on_postgres(postgres: &Postgres, executor: &Executor) -> Vec<Trial> {
    let maker = |cas| Arc::new(InPostgres::new(postgres.clone(), cas)) as Arc<dyn DatabaseMaker>;
    let mut trials = instances::trials(postgres, executor);
    trials.extend(in_databases(&Cas::ALL.map(maker), executor));
    trials
}

/// The contract and the edges of each, and the controls of the first one. The fast tier replays the edges on the first one
/// alone.
fn in_databases(makers: &[Arc<dyn DatabaseMaker>], executor: &Executor) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (index, maker) in makers.iter().enumerate() {
        let of_any_store: Arc<dyn Maker> = Arc::new(Arc::clone(maker));
        trials.extend(contract(&of_any_store, executor));
        let is_run = |edges: &Trial| slow() || (index == 0 && !replay::is_large(edges.name()));
        let edges = replay::trials(maker).into_iter();
        trials.extend(edges.map(|one| unless((!is_run(&one)).then_some(SLOW_TIER), one)));
    }
    trials.extend(makers.first().into_iter().flat_map(controls::trials));
    trials
}

/// Every claim about the stores that this makes.
fn contract(maker: &Arc<dyn Maker>, executor: &Executor) -> Vec<Trial> {
    let (store, strategy) = maker.names();
    let trial = |claim: Claim| {
        let (maker, executor) = (Arc::clone(maker), executor.clone());
        Trial::test(format!("{store}::{strategy}::{}", claim.name()), move || {
            executor.block_on(async {
                claim.check(maker.make().await).await;
            });
            Ok(())
        })
    };
    let items = |claim: ItemClaim| {
        let (maker, executor) = (Arc::clone(maker), executor.clone());
        Trial::test(format!("{store}::{strategy}::items::{}", claim.name()), move || {
            executor.block_on(async { claim.check(Arc::new(Items(maker.make().await))).await });
            Ok(())
        })
    };
    let trials: Vec<_> =
        Claim::all().into_iter().map(trial).chain(ItemClaim::all().into_iter().map(items)).collect();
    println!("{store:>8} {strategy:<20} {} claims", trials.len());
    trials
}

/// A store of the platform that keeps items.
struct Items(Arc<dyn Backend>);

impl ItemBackend for Items {
    fn store(&self) -> &AnyAttemptStore {
        self.0.store().attempts()
    }

    fn set_clock(&self, now: Timestamp) -> Later<'_, ()> {
        self.0.set_clock(now)
    }

    fn token(&self, approval: Uuid) -> String {
        token_of(approval)
    }
}

/// One server for all cases. It need not survive a loss of power, so it does not wait for the disk.
fn start_postgres(arguments: &Arguments) -> Postgres {
    if arguments.list {
        return Err("only listed".to_owned());
    }
    if !slow() {
        return Err(SLOW_TIER.to_owned());
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
