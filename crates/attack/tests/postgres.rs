//! The proxy, the search, the crash points and `learn` with a real PostgreSQL.

mod postgres {
    pub(crate) mod passes;
    pub(crate) mod roles;
    pub(crate) mod shop;
}

use std::time::Duration;

use countersign_attack::{
    learn::{Promised, UseTrace, flow_file},
    proxy::Proxy,
    schedule::{Exploration, Fault, Requests, SearchSettings, catalog::Catalog, explore, explore_crashes},
};
use countersign_testkit::{Cluster, Failed, Fsync, Installation, may_be_skipped, unless};
use libtest_mimic::{Arguments, Trial};
use postgres::{
    passes, roles,
    shop::{Order, Redeems},
};

/// Receives the database's URL.
type Test = fn(&str);

fn main() {
    let mut arguments = Arguments::from_args();
    // They share the tables.
    arguments.test_threads = Some(1);
    let missing = Installation::find().err();
    if let Some(missing) = &missing
        && let Err(error) = may_be_skipped(missing)
    {
        eprintln!("{error}");
        std::process::exit(1);
    }
    let tests: Vec<(&str, Test)> = vec![
        ("what_passes_through_is_what_it_is_without_the_proxy", passes::unchanged),
        ("copy_passes_in_both_directions", passes::copy),
        ("notifications_pass", passes::notifications),
        ("a_cancel_request_reaches_its_statement", passes::cancel),
        ("scram_passes_through_and_the_monitor_speaks_it", passes::scram),
        ("parameters_and_answers_are_recorded", passes::recorded),
        ("encryption_upstream_is_verified_if_asked_for", passes::encrypted),
        ("what_a_pooler_forgets_is_not_recorded_as_known", passes::forgotten),
        ("a_change_of_no_row_is_bad_input", roles::changes_no_row),
        ("read_then_write_pays_twice", |url| redeems_twice(url, Order::ReadThenWrite, true)),
        ("a_conditional_update_pays_once", |url| redeems_twice(url, Order::ConditionalUpdate, false)),
        ("a_locking_read_pays_once", |url| redeems_twice(url, Order::ForUpdate, false)),
        ("serializable_transactions_pay_once", |url| redeems_twice(url, Order::Serializable, false)),
        ("a_unique_row_pays_once", |url| redeems_twice(url, Order::UniqueRow, false)),
        ("without_a_transaction_a_crash_loses_the_payout", crashes_lose),
        ("in_a_transaction_no_crash_loses_the_payout", crashes_keep),
        ("learn_maps_each_order_to_its_flow", learns),
    ];
    let why_not = missing.map(|missing| missing.to_string());
    let cluster = if why_not.is_some() { None } else { Some(start()) };
    let url = cluster.as_ref().map(Cluster::url).unwrap_or_default();
    let trials = tests.into_iter().map(|(name, test)| {
        let url = url.clone();
        let trial = Trial::test(name, move || {
            test(&url);
            Ok(())
        });
        unless(why_not.as_deref(), trial)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(cluster);
    conclusion.exit();
}

fn start() -> Cluster {
    match Cluster::start(Fsync::Off) {
        Ok(cluster) => cluster,
        Err(Failed::NotInstalled(missing)) => panic!("{missing}"),
        Err(error) => panic!("{error}"),
    }
}

/// Runs on one thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) async fn proxy(url: &str) -> Proxy {
    Proxy::start(url.parse().unwrap()).await.unwrap()
}

fn settings(reduce: bool) -> SearchSettings {
    SearchSettings { reduce, quiet_phase: Duration::from_millis(50), ..SearchSettings::default() }
}

async fn search(url: &str, order: Order, reduce: bool) -> (Exploration, Redeems) {
    let mut proxy = proxy(url).await;
    let mut redeems = Redeems::new(order, &proxy, url).await;
    let exploration = explore(&mut proxy, &mut redeems, &settings(reduce)).await.unwrap();
    let count = f64::from(u32::try_from(exploration.explored + exploration.redundant).unwrap_or(u32::MAX));
    println!(
        "{order:?}: {} schedules of {:?} interleavings ({} redundant, {} with blocking, {} repeated), {} pay twice, {:.1} ms a schedule",
        exploration.explored,
        exploration.interleavings,
        exploration.redundant,
        exploration.with_blocking,
        exploration.repeated,
        redeems.doubles.len(),
        exploration.elapsed.as_secs_f64() * 1000.0 / count,
    );
    assert!(exploration.is_every_interleaving(), "{:?}", exploration.not_followed);
    (exploration, redeems)
}

fn redeems_twice(url: &str, order: Order, twice: bool) {
    block_on(async {
        let (all, unreduced) = search(url, order, false).await;
        let (reduced, redeems) = search(url, order, true).await;
        assert_eq!(reduced.interleavings, Some(u128::from(all.explored)));
        assert!(reduced.explored < all.explored);
        assert_eq!(!redeems.doubles.is_empty(), twice);
        assert_eq!(!unreduced.doubles.is_empty(), twice);
        println!("{}", redeems.shortest.join("\n"));
    });
}

async fn crashes(url: &str, order: Order) -> (u64, Vec<String>) {
    let mut proxy = proxy(url).await;
    let mut redeems = Redeems::new(order, &proxy, url).await;
    let exploration =
        explore_crashes(&mut proxy, &mut redeems, &[Fault::Kill, Fault::Cut], &settings(true)).await.unwrap();
    assert!(exploration.is_complete(), "{:?}", exploration.not_followed);
    let statements = u64::try_from(exploration.statements).unwrap();
    assert_eq!(exploration.explored, statements * 4);
    (statements, redeems.crashes)
}

fn crashes_lose(url: &str) {
    let (statements, lost) = block_on(crashes(url, Order::WithoutTransaction));
    assert_eq!(statements, 3);
    let update =
        "UPDATE cards SET state = 'redeemed' WHERE code = $1 AND state = 'active' AND expires_at > now()";
    let insert = "INSERT INTO ledger (code, amount) VALUES ($1, $2)";
    let expected = ["Kill", "Cut"]
        .into_iter()
        .flat_map(|fault| [format!("{fault} Before {insert}"), format!("{fault} After {update}")]);
    assert_eq!(lost, expected.collect::<Vec<_>>());
}

fn crashes_keep(url: &str) {
    let (statements, lost) = block_on(crashes(url, Order::ConditionalUpdate));
    assert_eq!((statements, lost), (5, Vec::new()));
}

fn learns(url: &str) {
    let learn = |order| {
        block_on(async {
            let mut proxy = proxy(url).await;
            let mut redeems = Redeems::new(order, &proxy, url).await;
            let catalog = Catalog::read(proxy.monitor().await.unwrap()).await.unwrap();
            redeems.reset().await.unwrap();
            proxy.record();
            assert_eq!(redeems.start(0).await, Some(200));
            let recorded = proxy.take_recording();
            let captures = redeems.captures();
            let trace = UseTrace {
                recorded: &recorded,
                captures: &captures,
                catalog: &catalog,
                about: "gift cards",
                method: "POST",
                promised: &Promised::default(),
            };
            let learnt = flow_file(trace).unwrap();
            assert!(!learnt.toml.contains(&redeems.code), "a captured value is shown: {}", learnt.toml);
            assert!(learnt.toml.contains("noun = \"card\""));
            println!("{order:?}\n{}", learnt.toml);
            learnt.toml
        })
    };
    let file = learn(Order::ReadThenWrite);
    assert!(file.contains("guards = [\"status\"]\nhow = \"read-then-write\""), "{file}");
    let file = learn(Order::ConditionalUpdate);
    assert!(file.contains("{ do = \"consume\", guards = [\"status\", \"expiry\"] },"), "{file}");
    assert!(file.contains("{ do = \"act\", name = \"ledger\", via = \"row\" },"), "{file}");
    assert!(file.contains("{ do = \"audit\" },"), "{file}");
    let file = learn(Order::ForUpdate);
    assert!(file.contains("# The row was locked when it was read."), "{file}");
    // The locking read compares the expiry.
    assert!(file.contains("{ do = \"consume\", guards = [\"status\", \"expiry\"] },"), "{file}");
    let file = learn(Order::UniqueRow);
    assert!(file.contains("# A unique row for each object."), "{file}");
    let file = learn(Order::WithoutTransaction);
    assert!(!file.contains("atomic"), "{file}");
}
