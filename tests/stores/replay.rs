//! Every edge of the model's graph, for each built-in flow, done by the driver on a store in a database.

use std::{ops::ControlFlow, sync::Arc};

use countersign::service::supports;
use countersign_contract::world::flow;
use countersign_models::{
    explorer::{Limits, explore},
    flows::{BUILT_IN, KEYED},
    model::{Bounds, Model},
    replay::{Divergence, Replayed, replay_on},
};
use libtest_mimic::{Failed, Trial};

use crate::{
    backend::Executor,
    database::{DatabaseMaker, InDatabase, OnRig},
};

/// A replay for each of the built-in flows.
pub(crate) fn trials(maker: &Arc<dyn DatabaseMaker>) -> Vec<Trial> {
    let trial = |name: &'static str| {
        let maker = Arc::clone(maker);
        let (store, strategy) = maker.names();
        Trial::test(format!("{store}::{strategy}::edges_of::{name}"), move || {
            let explored = explore(&model(name), Limits::default(), &mut |_| ControlFlow::Continue(()));
            let all = Replayed { states: explored.states(), edges: explored.edges() };
            let executor = Executor::alone();
            let backend = executor.block_on(maker.make(None));
            let replayed =
                every_edge(backend, name, &executor).map_err(|divergence| divergence.to_string())?;
            if replayed != all {
                return Err(Failed::from(format!("{replayed:?} of {all:?}")));
            }
            println!("{store:>8} {strategy:<20} {name:<20} {} of {} edges, 100 %", replayed.edges, all.edges);
            Ok(())
        })
    };
    BUILT_IN
        .iter()
        .chain(KEYED)
        .filter(|flow| supports(&flow.subject().flow).is_ok())
        .map(|flow| trial(flow.name))
        .collect()
}

/// Their models have more edges than those of all others together.
pub(crate) fn is_large(trial: &str) -> bool {
    ["consume-last", "atomic-commit-keyed", "atomic-commit-lease-keyed"]
        .iter()
        .any(|name| trial.ends_with(&format!("::{name}")))
}

/// A caller who repeats its request makes two attempts.
fn model(name: &str) -> Model {
    let flow = flow(name);
    let consumers = if flow.recalls() { 1 } else { 2 };
    Model::of_callers_who_retry(flow, Bounds { consumers, crashes: 1, faults: 1 })
}

/// Replays this flow on an empty store.
pub(crate) fn every_edge(
    backend: InDatabase,
    name: &str,
    executor: &Executor,
) -> Result<Replayed, Box<Divergence>> {
    replay_on(&model(name), &mut OnRig::new(backend, executor.clone()), |_, _| {})
}
