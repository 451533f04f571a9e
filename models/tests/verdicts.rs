//! Claims about the built-in flows: verdicts, lengths, counts, and the report of a truncated run.

use std::{ops::ControlFlow, sync::OnceLock};

use countersign::protocol::{Flow, Lease, Retry, Step, StepAction};
use countersign_models::{
    explorer::{CutOff, Explorable, Limits, explore},
    flows::{BUILT_IN, BuiltIn, Subject, without_keys},
    model::{Bounds, Model},
    properties::Property,
    verdict::{Report, Verdict, verify},
};
use countersign_testkit::slow;
use stateright::{Checker, Model as _};

/// Unique states and edges at the default bounds. A change of the model changes them, and has to say so here.
const COUNTS: [(&str, usize, usize); 10] = [
    ("consume-first", 104_107, 376_408),
    ("twin-consume-first", 85_785, 294_287),
    ("consume-last", 1_194_255, 6_201_901),
    ("atomic-commit", 25_574, 97_645),
    ("atomic-commit-lease", 55_832, 260_206),
    ("lease-unfenced", 152_603, 718_980),
    ("coupon-redeem", 35_167, 112_724),
    ("magic-link", 1_429, 4_541),
    ("oauth-code", 23_067, 72_384),
    ("payment-confirm", 12_366, 41_667),
];

/// The violated properties at the default bounds, each with the length of its shortest counterexample.
const BROKEN: [(&str, &[(Property, usize)]); 6] = {
    use Property::*;
    [
        ("consume-first", &[(S1, 5), (S5, 4), (S6, 9), (S7, 8), (S8, 3), (L1, 3), (L2, 7), (L3, 5)]),
        ("twin-consume-first", &[(S1, 5), (S5, 4), (S6, 7), (S7, 6), (S8, 3), (L1, 3), (L2, 6), (L3, 5)]),
        ("consume-last", &[(S5, 8), (S6, 9), (S7, 6), (S8, 7), (S11, 9), (L1, 7), (L2, 5)]),
        ("atomic-commit", &[]),
        ("atomic-commit-lease", &[]),
        ("lease-unfenced", &[(S2, 12), (S3, 14), (S5, 7), (S6, 9), (L2, 15)]),
    ]
};

fn built_in(name: &str) -> BuiltIn {
    BuiltIn::find(name).expect("a built-in flow")
}

fn run(flow: BuiltIn, bounds: Bounds, limits: Limits) -> Report {
    let subject = flow.subject();
    let model = Model::new(subject.flow, bounds);
    verify(&model, &subject.expectations, limits, &mut |_| ControlFlow::Continue(()))
}

/// One value for each flow in [`COUNTS`], with one thread and with two: a search is run once for all tests.
type Shared<T> = [[OnceLock<T>; 2]; COUNTS.len()];

fn once<T>(shared: &'static Shared<T>, name: &str, threads: usize, search: impl FnOnce() -> T) -> &'static T {
    let flow = COUNTS.iter().position(|(known, ..)| *known == name).expect("a built-in flow");
    shared[flow][threads - 1].get_or_init(search)
}

/// The report of our explorer at the default bounds.
fn report(name: &str, threads: usize) -> &'static Report {
    static REPORTS: Shared<Report> = [const { [const { OnceLock::new() }; 2] }; COUNTS.len()];
    let search = || run(built_in(name), Bounds::default(), Limits::default());
    once(&REPORTS, name, threads, || on_threads(threads, search))
}

/// The result of stateright's explorer at the default bounds.
struct Explored {
    states: usize,
    /// Titles of the properties with a counterexample or an example.
    discovered: Vec<&'static str>,
}

fn explored(name: &str, threads: usize) -> &'static Explored {
    static EXPLORED: Shared<Explored> = [const { [const { OnceLock::new() }; 2] }; COUNTS.len()];
    once(&EXPLORED, name, threads, || {
        let model = Model::new(built_in(name).subject().flow, Bounds::default());
        let checker = model.checker().threads(threads).spawn_bfs().join();
        assert!(checker.is_done());
        // Its first property is never discovered, so that it cannot have stopped early.
        assert!(checker.discovery("every state is visited").is_none());
        Explored {
            states: checker.unique_state_count(),
            discovered: checker.discoveries().into_keys().collect(),
        }
    })
}

fn broken(report: &Report) -> Vec<(Property, usize)> {
    let length = |verdict: &Verdict| match verdict {
        Verdict::Violated(run) => Some(run.actions.len()),
        Verdict::Holds | Verdict::DoesNotApply | Verdict::Unknown => None,
    };
    report.judgements.iter().filter_map(|one| Some((one.property, length(&one.verdict)?))).collect()
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    pool.install(work)
}

#[test]
fn the_orders_of_a_gate_break_exactly_what_is_published() {
    for (name, expected) in BROKEN.into_iter().filter(|(name, _)| !is_slow(name)) {
        assert_eq!(broken(report(name, 2)), expected, "{name}");
        assert!(expected.iter().all(|(_, length)| *length <= 16));
    }
}

#[test]
fn every_verdict_on_a_built_in_flow_is_expected() {
    for flow in BUILT_IN.iter().filter(|flow| !is_slow(flow.name)) {
        let report = report(flow.name, 2);
        assert!(report.is_expected(), "{}: {:?}", flow.name, report.judgements);
    }
}

#[test]
fn within_smaller_bounds_a_subset_is_broken() {
    for (name, expected) in BROKEN {
        let bounds = [(1, 0, 0), (1, 1, 1), (2, 0, 0), (2, 1, 1), (3, 0, 0), (3, 1, 0)];
        for (consumers, crashes, faults) in
            bounds.into_iter().filter(|(most, ..)| *most < 3 || !is_slow(name))
        {
            let report = run(built_in(name), Bounds { consumers, crashes, faults }, Limits::default());
            let smaller = broken(&report);
            let also_expected = |(property, length): &(Property, usize)| {
                expected.iter().any(|(known, shortest)| known == property && shortest <= length)
            };
            assert!(
                smaller.iter().all(also_expected),
                "{name} at {consumers}/{crashes}/{faults}: {smaller:?}"
            );
        }
    }
}

#[test]
fn one_consumer_cannot_break_one_target_per_env() {
    let bounds = Bounds { consumers: 1, ..Bounds::default() };
    let report = run(built_in("consume-last"), bounds, Limits::default());
    assert_eq!(report.of(Property::S11).verdict, Verdict::Holds);
    assert!(!report.of(Property::S11).exercised);
}

#[test]
fn both_explorers_count_the_same_states_with_one_thread_and_with_two() {
    assert_eq!(
        COUNTS.map(|(name, ..)| name).as_slice(),
        BUILT_IN.iter().map(|flow| flow.name).collect::<Vec<_>>()
    );
    for (name, states, edges) in COUNTS.into_iter().filter(|(name, ..)| !is_slow(name)) {
        for threads in 1..=2 {
            let report = report(name, threads);
            assert_eq!((report.states, report.edges), (states, edges), "{name}, ours, {threads} threads");
            assert_eq!(report.cut_off, None);
        }
        // One thread of stateright's takes half of the time of all of these: the slow tier has it.
        for threads in if slow() { 1..=2 } else { 2..=2 } {
            assert_eq!(explored(name, threads).states, states, "{name}, stateright's, {threads} threads");
        }
    }
}

/// Its model has more states than all others together. In the fast tier `countersign verify` alone explores it whole, in a
/// test of the command line.
fn is_slow(name: &str) -> bool {
    name == "consume-last" && !slow()
}

#[test]
fn stateright_finds_the_same_safety_properties_broken() {
    for (name, expected) in BROKEN.into_iter().filter(|(name, _)| !is_slow(name)) {
        let explored = explored(name, 2);
        for property in Property::MODELLED.iter().filter(|property| !property.is_inevitable()) {
            let is_broken = expected.iter().any(|(known, _)| known == property);
            assert_eq!(explored.discovered.contains(&property.title()), is_broken, "{name} {property}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for flow in BUILT_IN.iter().filter(|flow| !is_slow(flow.name)) {
        assert_eq!(report(flow.name, 1).judgements, report(flow.name, 2).judgements, "{}", flow.name);
    }
}

#[test]
fn a_run_that_was_cut_off_never_says_holds() {
    let none = Limits::default();
    let cases = [
        (Limits { max_states: 1_000, ..none }, CutOff::States),
        (Limits { max_depth: 6, ..none }, CutOff::Depth),
        (Limits { max_bytes: 100_000, ..none }, CutOff::Memory),
    ];
    for flow in ["consume-last", "atomic-commit", "coupon-redeem"] {
        for (limits, cut_off) in cases {
            let report = run(built_in(flow), Bounds::default(), limits);
            assert_eq!(report.cut_off, Some(cut_off), "{flow}");
            assert!(!report.is_expected());
            assert!(report.judgements.iter().all(|one| one.verdict != Verdict::Holds), "{flow}: {report:?}");
        }
    }
}

#[test]
fn a_stopped_search_reports_no_property_as_holding() {
    let subject = built_in("atomic-commit").subject();
    let model = Model::new(subject.flow, Bounds::default());
    let report = verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Break(()));
    assert_eq!(report.cut_off, Some(CutOff::Stopped));
    let is_known = |verdict: &Verdict| !matches!(verdict, Verdict::Unknown | Verdict::DoesNotApply);
    assert!(!report.judgements.iter().any(|one| is_known(&one.verdict)));
}

#[test]
fn a_depth_limit_at_the_farthest_state_cuts_nothing_off() {
    let flow = built_in("atomic-commit");
    let depth = report(flow.name, 2).depth;
    let at = |max_depth| run(flow, Bounds::default(), Limits { max_depth, ..Limits::default() }).cut_off;
    assert_eq!([at(depth - 1), at(depth + 1)], [Some(CutOff::Depth), None]);
}

#[test]
fn the_flows_that_the_library_ships_are_those_in_the_files() {
    for (name, shipped) in
        [("atomic-commit", Flow::atomic_commit()), ("atomic-commit-lease", Flow::atomic_commit_lease())]
    {
        assert_eq!(built_in(&format!("{name}-keyed")).subject().flow, shipped);
        assert_eq!(built_in(name).subject().flow, without_keys(&shipped).expect("a flow"));
    }
}

#[test]
fn without_its_keys_a_flow_keeps_the_end_of_its_lease() {
    let file = br#"
        [endpoint]
        retry = "key"
        [[step]]
        do = "recall"
        [[step]]
        do = "lease"
        until = "commit"
        [[step]]
        name = "commit"
        do = "consume"
        guards = ["status", "lease"]
        [[step]]
        do = "remember"
    "#;
    let flow = without_keys(&Subject::read(file).expect("a flow").flow).expect("two steps are left");
    assert_eq!(flow.endpoint().retry, Retry::None);
    let ends = |step: &Step| matches!(step.action, StepAction::Lease(Lease { until: Some(1), .. }));
    assert!(flow.steps().len() == 2 && ends(&flow.steps()[0]), "{flow:?}");
}

#[test]
fn packing_a_state_loses_nothing() {
    for flow in BUILT_IN {
        let model = Model::new(flow.subject().flow, Bounds { consumers: 2, crashes: 1, faults: 1 });
        let explored = explore(&model, Limits::default(), &mut |_| ControlFlow::Continue(()));
        for id in explored.ids() {
            let state = model.unpack(explored.packed(id));
            assert_eq!(&model.pack(&state), explored.packed(id));
            for (next, action) in model.moves(&state) {
                assert!(model.unpack(&model.pack(&next)) == next, "{}: {action:?} in {state:?}", flow.name);
            }
        }
    }
}
