//! The suite on stores that are broken on purpose: it is not enough that something fails, the right claims have to.

use std::{collections::BTreeSet, sync::Arc};

use countersign_contract::Claim;
use libtest_mimic::{Failed, Trial};

use crate::{backend::Executor, broken::Mistake, database::DatabaseMaker, replay};

/// Name of the threads that run claims which must fail.
pub(crate) const THREAD: &str = "control";

/// Silences the panics of claims which must fail.
pub(crate) fn keep_quiet_about_what_is_to_fail() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some(THREAD) {
            loud(panic);
        }
    }));
}

/// The controls of the stores that this makes.
pub(crate) fn trials(maker: &Arc<dyn DatabaseMaker>) -> Vec<Trial> {
    let trial = |mistake: Mistake| {
        let ((store, _), name) = (maker.names(), mistake.name());
        let broken = || Broken { maker: Arc::clone(maker), mistake };
        let contract = broken();
        let by_contract =
            Trial::test(format!("{store}::{name}::is_caught_by_the_contract"), move || contract.contract());
        let by_edges = mistake.shows_in().map(|flow| {
            let edges = broken();
            Trial::test(format!("{store}::{name}::is_caught_by_edge_replay"), move || edges.edges(flow))
        });
        [Some(by_contract), by_edges].into_iter().flatten()
    };
    Mistake::ALL.into_iter().flat_map(trial).collect()
}

/// Stores with a mistake.
struct Broken {
    maker: Arc<dyn DatabaseMaker>,
    mistake: Mistake,
}

impl Broken {
    fn contract(&self) -> Result<(), Failed> {
        let executor = Executor::named(THREAD);
        let expected = self.mistake.makes_false();
        let claims = Claim::all().into_iter().filter(|claim| expected.contains(&claim.name()));
        let mut failed = BTreeSet::new();
        for claim in claims {
            let (maker, mistake) = (Arc::clone(&self.maker), self.mistake);
            let work = executor.spawn(async move {
                let backend = maker.make(Some(mistake)).await;
                claim.check(Arc::new(backend)).await;
            });
            if executor.block_on(work).is_err() {
                failed.insert(claim.name());
            }
        }
        self.say(format_args!("{} claims", failed.len()));
        match expected.iter().find(|claim| !failed.contains(*claim)) {
            None => Ok(()),
            Some(claim) => {
                Err(format!("{claim} holds, or is no claim; what does not hold: {failed:?}").into())
            }
        }
    }

    fn edges(&self, flow: &str) -> Result<(), Failed> {
        let executor = Executor::alone();
        let backend = executor.block_on(self.maker.make(Some(self.mistake)));
        match replay::every_edge(backend, flow, &executor) {
            Ok(replayed) => Err(format!("{} edges, and nothing was found", replayed.edges).into()),
            Err(divergence) => {
                let last = divergence.path.last().map(ToString::to_string).unwrap_or_default();
                self.say(format_args!("edge replay, at step {}: {last}", divergence.path.len()));
                // The consume differs from the model's.
                if last.contains("uses the approval") { Ok(()) } else { Err(divergence.to_string().into()) }
            }
        }
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        println!("{:>8} {:<20} is caught by {what}", self.maker.names().0, self.mistake.name());
    }
}
