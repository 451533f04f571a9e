//! The search over interleavings, against a database in memory: exact counts, and policies that are wrong in one decision.

mod schedule {
    pub(crate) mod fake;
    pub(crate) mod held;
    pub(crate) mod service;
}
use schedule::{fake, held, service};

use std::time::Duration;

use countersign_attack::{
    proxy::Proxy,
    schedule::{
        Exploration, SearchSettings, explore_stalls, explore_with,
        policy::{Arrival, Causal, Policy, WhenBlocked},
    },
};
use fake::Fake;
use held::Held;
use service::{Judged, Order, Redeems, Service};

fn settings(reduce: bool) -> SearchSettings {
    SearchSettings {
        reduce,
        quiet_phase: Duration::ZERO,
        service_patience: Duration::from_millis(100),
        timeout: Duration::from_secs(2),
        ..SearchSettings::default()
    }
}

struct Found {
    exploration: Exploration,
    schedules: Vec<Judged>,
}

impl Found {
    fn double(&self) -> usize {
        self.schedules.iter().filter(|judged| judged.payouts > 1).count()
    }
}

fn search_with(order: Order, count: usize, settings: &SearchSettings, policy: &impl Policy) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (fake, address) = Fake::start().await;
        let mut proxy =
            Proxy::start(format!("postgres://app@{address}/shop").parse().unwrap()).await.unwrap();
        // One more than there are requests: connections change hands.
        let service = Service::start(order, &proxy, count + 1).await;
        let mut redeems = Redeems { fake, service, count, number: 0, schedules: Vec::new() };
        let exploration = explore_with(&mut proxy, &mut redeems, settings, policy).await.unwrap();
        Found { exploration, schedules: redeems.schedules }
    })
}

fn search_next_to_a_worker(order: Order, settings: &SearchSettings) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (fake, address) = Fake::start().await;
        let mut proxy =
            Proxy::start(format!("postgres://app@{address}/shop").parse().unwrap()).await.unwrap();
        let service = Service::start(order, &proxy, 3).await;
        tokio::spawn(service::beat(proxy.url()));
        let mut redeems = Redeems { fake, service, count: 2, number: 0, schedules: Vec::new() };
        let exploration = explore_with(&mut proxy, &mut redeems, settings, &Causal).await.unwrap();
        Found { exploration, schedules: redeems.schedules }
    })
}

/// The same search twice at the same time: it waits more than it computes.
fn search_twice(order: Order, reduce: [bool; 2]) -> [Found; 2] {
    std::thread::scope(|scope| {
        let searches = reduce.map(|reduce| scope.spawn(move || search(order, reduce)));
        searches.map(|search| search.join().expect("a search does not panic"))
    })
}

fn search(order: Order, reduce: bool) -> Found {
    search_with(order, 2, &settings(reduce), &Causal)
}

/// Invariants of every search, and the expected number of schedules.
fn is_true(found: &Found, expected: u64) -> Result<(), String> {
    let exploration = &found.exploration;
    let misattributed: usize = found.schedules.iter().map(|judged| judged.misattributed).sum();
    if misattributed > 0 {
        return Err(format!("misattributed: {misattributed} statements"));
    }
    if found.schedules.iter().any(|judged| judged.most_working > 1) {
        return Err("concurrent: several statements at a time".to_owned());
    }
    if !exploration.is_complete() {
        return Err(format!("not followed: {:?}", exploration.not_followed));
    }
    if exploration.explored != expected {
        return Err(format!("{} schedules instead of {expected}", exploration.explored));
    }
    Ok(())
}

fn assert_true(found: &Found, expected: u64) {
    is_true(found, expected).unwrap();
    assert!(found.exploration.is_every_interleaving());
}

#[test]
fn without_reduction_every_interleaving_is_explored_once() {
    for (statements, binomial) in [(1, 2), (2, 6), (3, 20)] {
        let found = search(Order::Blind { statements, shared: true }, false);
        assert_true(&found, binomial);
        let mut orders: Vec<_> = found.schedules.iter().map(|judged| &judged.order).collect();
        orders.sort();
        orders.dedup();
        assert_eq!(u64::try_from(orders.len()).unwrap(), binomial);
        assert_eq!(found.exploration.interleavings, Some(u128::from(binomial)));
    }
}

#[test]
fn three_requests_are_interleaved_too() {
    let order = Order::Blind { statements: 2, shared: true };
    assert_true(&search_with(order, 3, &settings(false), &Causal), 90);
}

#[test]
fn statements_of_different_tables_need_one_order_only() {
    let found = search(Order::Blind { statements: 3, shared: false }, true);
    assert_true(&found, 1);
    assert_eq!(found.exploration.interleavings, Some(20));
}

/// Both reads before both writes: 2 · 6 interleavings. Otherwise the second read is refused: 2 · 2.
#[test]
fn read_then_write_pays_twice_in_12_of_16_interleavings() {
    let all = search(Order::ReadThenWriteAutocommit, false);
    assert_true(&all, 16);
    assert_eq!(all.double(), 12);

    let reduced = search(Order::ReadThenWriteAutocommit, true);
    // The order of the two entries, in a table without a unique index, shows nowhere.
    assert_true(&reduced, 4);
    assert_eq!(reduced.exploration.interleavings, Some(16));
    assert_eq!(reduced.double(), 2);
    let shortest =
        reduced.schedules.iter().filter(|judged| judged.payouts > 1).map(|judged| judged.rank).min();
    assert_eq!(shortest.map(|(switches, statements, _)| (switches, statements)), Some((2, 6)));
}

/// The reduced search stands for exactly the interleavings that the other one runs, also where statements wait.
#[test]
fn what_the_reduction_leaves_out_is_counted_exactly() {
    for (order, reduced, all, double) in [
        (Order::ReadThenWrite, 6, 92, true),
        (Order::ConditionalUpdate, 4, 24, false),
        (Order::ForUpdate, 6, 36, false),
    ] {
        let [unreduced, found] = search_twice(order, [false, true]);
        println!(
            "{order:?}: {} of {:?}, redundant {}, blocked {}; double {}; unreduced {}, double {}, blocked {}",
            found.exploration.explored,
            found.exploration.interleavings,
            found.exploration.redundant,
            found.exploration.with_blocking,
            found.double(),
            unreduced.exploration.explored,
            unreduced.double(),
            unreduced.exploration.with_blocking
        );
        assert_true(&unreduced, all);
        assert_true(&found, reduced);
        assert_eq!(
            found.exploration.interleavings,
            Some(u128::from(unreduced.exploration.explored)),
            "{order:?}"
        );
        assert_eq!(found.double() > 0, double, "{order:?}");
        assert_eq!(unreduced.double() > 0, double, "{order:?}");
    }
}

#[test]
fn two_searches_explore_the_same_schedules() {
    for reduce in [false, true] {
        let [one, two] = search_twice(Order::ForUpdate, [reduce; 2]);
        assert_eq!(one.schedules, two.schedules);
    }
}

#[test]
fn a_lock_inside_the_service_is_followed_without_reduction() {
    let found = search(Order::MutexInService, true);
    // The second request starts before the first one does, or after each of its statements: 6 in either order.
    assert_true(&found, 12);
    assert_eq!(found.double(), 0);
    assert_eq!(found.exploration.not_reduced, Some("requests wait for each other inside the service"));
}

/// That requests wait for each other may show after the search has begun: it begins again.
#[test]
fn a_lock_that_the_service_takes_later_is_followed_too() {
    for found in search_twice(Order::MutexLater, [false, true]) {
        assert!(found.exploration.is_every_interleaving(), "{:?}", found.exploration.not_followed);
        assert_eq!(found.exploration.explored, 12);
    }
}

#[test]
fn a_busy_machine_is_not_taken_for_a_service_that_waits() {
    let found = search(Order::Starved, false);
    assert_true(&found, 2);
    assert_eq!(found.exploration.interleavings, Some(2));
}

#[test]
fn a_statement_after_the_response_belongs_to_its_request() {
    let found = search(Order::LateInsert, true);
    assert_true(&found, 4);
    assert_eq!(found.double(), 0);
}

#[test]
fn a_bound_on_preemptions_is_exact_and_said() {
    let bounded = SearchSettings { max_preemptions: Some(1), ..settings(true) };
    let found = search_with(Order::Blind { statements: 3, shared: true }, 2, &bounded, &Causal);
    // Sequential: 2. One preemption after 1 or 2 statements of either: 4.
    is_true(&found, 6).unwrap();
    assert!(found.exploration.is_complete() && !found.exploration.is_every_interleaving());
}

#[test]
fn a_bound_on_schedules_is_said() {
    let bounded = SearchSettings { max_schedules: 3, ..settings(false) };
    let found = search_with(Order::Blind { statements: 2, shared: true }, 2, &bounded, &Causal);
    assert_eq!(found.exploration.explored, 3);
    assert!(!found.exploration.is_complete());
    assert_eq!(found.exploration.interleavings, None);
}

/// Also where a worker's transactions begin as those of the requests do.
#[test]
fn a_use_is_held_before_every_statement_whatever_a_worker_sends_between() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (explored, before, payouts) = runtime.block_on(async {
        let (fake, address) = Fake::start().await;
        let mut proxy =
            Proxy::start(format!("postgres://app@{address}/shop").parse().unwrap()).await.unwrap();
        let service = Service::start(Order::AfterWorker, &proxy, 4).await;
        let redeems = Redeems { fake, service, count: 2, number: 0, schedules: Vec::new() };
        let mut held = Held { redeems, before: Vec::new() };
        let found = explore_stalls(&mut proxy, &mut held, Duration::ZERO, &settings(true)).await.unwrap();
        assert_eq!(found.not_followed, Vec::<String>::new());
        let payouts: Vec<_> = held.redeems.schedules.iter().map(|judged| judged.payouts).collect();
        (found.explored, held.before, payouts)
    });
    let mut places = before.clone();
    places.sort_unstable();
    assert_eq!(places, ["BEGIN", "COMMIT", "INSERT", "INSERT", "UPDATE"], "in the order {before:?}");
    assert_eq!((explored, payouts), (5, vec![1; 5]));
}

#[test]
fn background_statements_are_let_through() {
    let watched = SearchSettings { quiet_phase: Duration::from_millis(200), ..settings(true) };
    let found = search_next_to_a_worker(Order::ReadThenWrite, &watched);
    let exploration = &found.exploration;
    assert!(exploration.is_every_interleaving(), "{:?}", exploration.not_followed);
    assert_eq!((exploration.explored, exploration.interleavings), (6, Some(92)));
    assert_eq!(exploration.background, ["BEGIN", "COMMIT", "INSERT INTO heartbeat (code) VALUES (?)"]);
    assert!(found.schedules.iter().all(|judged| judged.misattributed == 0));
}

/// Policies that are wrong in one decision; the rest is [`Causal`]'s.
struct ReleasesTwo;
struct AttributesByConnection;
struct TakesBlockedForDone;
struct SkipsTheLast;

impl Policy for ReleasesTwo {
    fn released(&self, _chosen: usize, enabled: &[usize]) -> Vec<usize> {
        enabled.to_vec()
    }
    fn owner(&self, arrival: Arrival) -> usize {
        Causal.owner(arrival)
    }
    fn when_blocked(&self) -> WhenBlocked {
        Causal.when_blocked()
    }
    fn next_alternative(&self, untried: &[usize]) -> Option<usize> {
        Causal.next_alternative(untried)
    }
}

impl Policy for AttributesByConnection {
    fn released(&self, chosen: usize, enabled: &[usize]) -> Vec<usize> {
        Causal.released(chosen, enabled)
    }
    fn owner(&self, arrival: Arrival) -> usize {
        arrival.last_user.unwrap_or(arrival.running)
    }
    fn when_blocked(&self) -> WhenBlocked {
        Causal.when_blocked()
    }
    fn next_alternative(&self, untried: &[usize]) -> Option<usize> {
        Causal.next_alternative(untried)
    }
}

impl Policy for TakesBlockedForDone {
    fn released(&self, chosen: usize, enabled: &[usize]) -> Vec<usize> {
        Causal.released(chosen, enabled)
    }
    fn owner(&self, arrival: Arrival) -> usize {
        Causal.owner(arrival)
    }
    fn when_blocked(&self) -> WhenBlocked {
        WhenBlocked::CountsAsDone
    }
    fn next_alternative(&self, untried: &[usize]) -> Option<usize> {
        Causal.next_alternative(untried)
    }
}

impl Policy for SkipsTheLast {
    fn released(&self, chosen: usize, enabled: &[usize]) -> Vec<usize> {
        Causal.released(chosen, enabled)
    }
    fn owner(&self, arrival: Arrival) -> usize {
        Causal.owner(arrival)
    }
    fn when_blocked(&self) -> WhenBlocked {
        Causal.when_blocked()
    }
    fn next_alternative(&self, untried: &[usize]) -> Option<usize> {
        untried.split_last().and_then(|(_, others)| others.first().copied())
    }
}

/// Runs the check with a policy that is wrong, and returns what the check says.
fn complaint(order: Order, expected: u64, policy: &impl Policy) -> String {
    assert_true(&search_with(order, 2, &settings(false), &Causal), expected);
    let impatient = SearchSettings { timeout: Duration::from_millis(300), ..settings(false) };
    is_true(&search_with(order, 2, &impatient, policy), expected).unwrap_err()
}

#[test]
fn releasing_two_statements_together_is_noticed() {
    let said = complaint(Order::Blind { statements: 2, shared: true }, 6, &ReleasesTwo);
    assert!(said.contains("concurrent") || said.contains("misattributed"), "{said}");
}

#[test]
fn attribution_by_connection_is_noticed() {
    let said = complaint(Order::ReadThenWriteAutocommit, 16, &AttributesByConnection);
    assert!(said.contains("misattributed") || said.contains("not followed"), "{said}");
}

#[test]
fn taking_blocked_for_done_is_noticed() {
    let said = complaint(Order::ForUpdate, 36, &TakesBlockedForDone);
    assert!(said.contains("misattributed") || said.contains("not followed"), "{said}");
}

#[test]
fn skipping_the_last_alternative_is_noticed() {
    let said = complaint(Order::Blind { statements: 2, shared: true }, 6, &SkipsTheLast);
    assert!(said.contains("schedules instead of"), "{said}");
}
