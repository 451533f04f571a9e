//! Speed of exploration: the cost of driving the real core, and the gain of a second thread.
//!
//! `cargo bench --bench exploration` measures each alone; before that it prints the ratios and counts that a shared
//! machine can be asked for: rounds of both sides take turns in one run, and the best round of each counts.

mod flattened;

use std::{
    hint::black_box,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use countersign::{
    protocol::{Flow, Object},
    store::memory::strategy::Sharded,
};
use countersign_models::{
    explorer::{Explored, Limits, explore},
    flows::{BuiltIn, without_keys},
    model::{Action, Bounds, Model},
    replay::replay,
    world::{Packed, State},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flattened::Flattened;
use stateright::{Checker, Property};

const BOUNDS: Bounds = Bounds { consumers: 4, crashes: 1, faults: 1 };
const ROUNDS: usize = 7;

/// The real core with the one property that the flattened model has, too.
struct RealCore(Model);

impl stateright::Model for RealCore {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.0.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        stateright::Model::actions(&self.0, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        stateright::Model::next_state(&self.0, state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every state is visited", |_, _| true)]
    }
}

/// What was flattened by hand: without keys, and without an owner, for whom a stranger would make one attempt more.
fn atomic_commit() -> Flow {
    let flow = without_keys(&Flow::atomic_commit()).expect("a flow");
    let object = Object { owner: false, ..flow.object().clone() };
    Flow::new(object, flow.decision(), flow.endpoint(), flow.steps().to_vec()).expect("a flow")
}

fn real_core() -> RealCore {
    RealCore(Model::new(atomic_commit(), BOUNDS))
}

/// Unique states, by stateright on one thread.
fn count<M>(model: M) -> usize
where
    M: stateright::Model<
            State: Clone + PartialEq + std::hash::Hash + Send + Sync + 'static,
            Action: Clone + PartialEq,
        > + Send
        + Sync
        + 'static,
{
    stateright::Model::checker(model).spawn_bfs().join().unique_state_count()
}

fn ours(model: &Model, pool: &rayon::ThreadPool) -> Explored<Packed> {
    pool.install(|| explore(model, Limits::default(), &mut |_| ControlFlow::Continue(())))
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started")
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

/// The best of some rounds of each, in turns.
fn in_turns<T, U>(mut one: impl FnMut() -> T, mut other: impl FnMut() -> U) -> (f64, f64) {
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        best = (best.0.min(timed(&mut one)), best.1.min(timed(&mut other)));
    }
    (best.0.as_secs_f64(), best.1.as_secs_f64())
}

fn ratios(_: &mut Criterion) {
    let states = count(real_core());
    assert_eq!(states, count(Flattened::new(BOUNDS)), "both have the same graph");
    println!("\natomic-commit without keys and owner, 4 consumers, 1 crash, 1 fault: {states} unique states");

    let (real, flattened) = in_turns(|| count(real_core()), || count(Flattened::new(BOUNDS)));
    println!("real core / flattened by hand, states a second, stateright, 1 thread: {:.2}", flattened / real);

    let model = Model::new(atomic_commit(), BOUNDS);
    let alone = pool(1);
    let (our, stateright) = in_turns(|| ours(&model, &alone), || count(real_core()));
    println!(
        "exact explorer (judging every property, keeping every edge) / stateright (neither), 1 thread: {:.2}",
        stateright / our
    );

    let large = Model::new(
        BuiltIn::find("consume-last").expect("it is built in").subject().flow,
        Bounds { consumers: 3, crashes: 2, faults: 2 },
    );
    let both = pool(2);
    let (one, two) = in_turns(|| ours(&large, &alone), || ours(&large, &both));
    let explored = ours(&large, &both);
    let states = explored.states();
    println!("consume-last, 3 consumers, 2 crashes, 2 faults: {states} unique states");
    println!("2 threads / 1 thread, states a second, exact explorer: {:.2}", one / two);
    println!("unique states a second, exact explorer, 2 threads: {:.0}", states as f64 / two);
    println!("bytes a state, edges included: {}", explored.bytes() / states);

    let bounds = Bounds { consumers: 2, crashes: 1, faults: 1 };
    let replayed = Model::of_callers(large.flow().clone(), bounds);
    let edges = replay::<Sharded>(&replayed).expect("the store does what the model says").edges;
    let (store, _) = in_turns(|| replay::<Sharded>(&replayed).is_ok(), || ());
    println!(
        "edges replayed on the store in memory: {edges}, a second, 1 thread: {:.0}\n",
        edges as f64 / store
    );
}

fn exploration(criterion: &mut Criterion) {
    let model = Model::new(atomic_commit(), BOUNDS);
    let mut group = criterion.benchmark_group("explore/atomic-commit-4");
    group.throughput(Throughput::Elements(count(real_core()) as u64)).sample_size(10);
    group.bench_function("stateright/real-core", |bencher| bencher.iter(|| count(real_core())));
    group.bench_function("stateright/flattened", |bencher| bencher.iter(|| count(Flattened::new(BOUNDS))));
    for threads in [1, 2] {
        let pool = pool(threads);
        group.bench_function(format!("exact/threads-{threads}"), |bencher| {
            bencher.iter(|| ours(&model, &pool));
        });
    }
    group.finish();
}

criterion_group!(benches, ratios, exploration);
criterion_main!(benches);
