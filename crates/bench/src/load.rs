//! Asks a consumer for approvals, in one of the scenarios, and notes what each try came to and how long it took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    counters::{Ended, Tries, Try},
    document::Scenario,
};
use countersign_terminal::Stopwatch;

/// A consumer of approvals, which are known by their number.
pub(crate) trait Consumer: Send + Sync + 'static {
    /// This client wants this one.
    fn consume(&self, client: usize, approval: u32) -> impl Future<Output = Ended> + Send;
}

/// Set when the run was interrupted.
pub(crate) type Stop = Arc<AtomicBool>;

/// The load: what is requested, and at which rate.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) scenario: Scenario,
    pub(crate) clients: usize,
    /// Time limit; it also ends when the approvals are used up.
    pub(crate) time: Duration,
    /// The first approval, and how many there are.
    pub(crate) approvals: (u32, u32),
    /// Number of requests per second, at a fixed rate.
    pub(crate) rate: f64,
    pub(crate) stop: Stop,
}

impl Load {
    fn is_over(&self, watch: Stopwatch) -> bool {
        watch.elapsed() >= self.time || self.stop.load(Ordering::Relaxed)
    }

    pub(crate) async fn run<C: Consumer>(&self, consumer: &Arc<C>) -> Tries {
        match self.scenario {
            Scenario::Distinct => self.distinct(consumer).await,
            Scenario::Hot => self.hot(consumer).await,
            Scenario::Arrivals => self.arrivals(consumer).await,
        }
    }

    async fn distinct<C: Consumer>(&self, consumer: &Arc<C>) -> Tries {
        let watch = Stopwatch::start();
        let mut clients = JoinSet::new();
        let (first, count) = self.approvals;
        let each = count / self.clients.max(1) as u32;
        for client in 0..self.clients {
            let (load, consumer) = (self.clone(), Arc::clone(consumer));
            let own = first + client as u32 * each..first + (client as u32 + 1) * each;
            clients.spawn(async move {
                let mut tries = Vec::new();
                for approval in own {
                    if load.is_over(watch) {
                        break;
                    }
                    tries.push(one(&*consumer, client, approval, watch.elapsed(), watch).await);
                }
                tries
            });
        }
        finish(clients, watch).await
    }

    async fn hot<C: Consumer>(&self, consumer: &Arc<C>) -> Tries {
        let watch = Stopwatch::start();
        let mut all = Vec::new();
        let mut order: Vec<usize> = (0..self.clients).collect();
        let mut draw = Draw(1);
        let (first, count) = self.approvals;
        for approval in first..first + count {
            if self.is_over(watch) {
                break;
            }
            // They are all asked at the same time, but on one thread there is a first one: another one each round.
            draw.shuffle(&mut order);
            let begun = watch.elapsed();
            let mut clients = JoinSet::new();
            for &client in &order {
                let consumer = Arc::clone(consumer);
                clients.spawn(async move { vec![one(&*consumer, client, approval, begun, watch).await] });
            }
            all.extend(finish(clients, watch).await.all);
        }
        Tries { all, wall: watch.elapsed() }
    }

    /// No coordinated omission: the latency of a try counts from the time when it was due.
    async fn arrivals<C: Consumer>(&self, consumer: &Arc<C>) -> Tries {
        /// Maximum wait for the answers, as a multiple of the arrivals' duration.
        const PATIENCE: u32 = 2;
        let watch = Stopwatch::start();
        let (first, count) = self.approvals;
        let interval = Duration::from_secs_f64(1.0 / self.rate.max(0.001));
        let due = Arc::new(Semaphore::new(0));
        let offered = ((self.time.as_secs_f64() * self.rate) as u32).clamp(1, count);
        let next = Arc::new(AtomicU32::new(0));
        let pace = {
            let (due, load) = (Arc::clone(&due), self.clone());
            // A thread, because the runtime's own timer is no finer than a millisecond.
            thread::spawn(move || {
                for number in 0..offered {
                    thread::sleep((interval * number).saturating_sub(watch.elapsed()));
                    if load.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    due.add_permits(1);
                }
                // So that every client sees that there is nothing left.
                due.add_permits(load.clients);
            })
        };
        let mut clients = JoinSet::new();
        for client in 0..self.clients {
            let (load, consumer) = (self.clone(), Arc::clone(consumer));
            let (due, next) = (Arc::clone(&due), Arc::clone(&next));
            clients.spawn(async move {
                let mut tries = Vec::new();
                while let Ok(permit) = due.acquire().await {
                    permit.forget();
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let stopped = load.stop.load(Ordering::Relaxed);
                    if number >= offered || stopped || watch.elapsed() >= load.time * PATIENCE {
                        break;
                    }
                    tries.push(one(&*consumer, client, first + number, interval * number, watch).await);
                }
                tries
            });
        }
        let tries = finish(clients, watch).await;
        // Its thread has nothing left to do, and cannot have failed.
        pace.join().ok();
        tries
    }
}

async fn one<C: Consumer>(
    consumer: &C,
    client: usize,
    approval: u32,
    due: Duration,
    watch: Stopwatch,
) -> Try {
    let ended = consumer.consume(client, approval).await;
    Try { approval, client, ended, took: watch.elapsed().saturating_sub(due) }
}

async fn finish(mut clients: JoinSet<Vec<Try>>, watch: Stopwatch) -> Tries {
    let mut all = Vec::new();
    while let Some(tries) = clients.join_next().await {
        match tries {
            Ok(tries) => all.extend(tries),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    Tries { all, wall: watch.elapsed() }
}

/// Numbers that look random and are the same each time.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            order.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Lets the first one win, or, when it is broken, every one that reads before the first write.
    #[derive(Default)]
    struct Table {
        executed: Mutex<std::collections::BTreeSet<u32>>,
        check_then_act: bool,
    }

    impl Consumer for Table {
        async fn consume(&self, _: usize, approval: u32) -> Ended {
            if self.check_then_act {
                let taken = self.executed.lock().expect("no task panics").contains(&approval);
                tokio::task::yield_now().await;
                self.executed.lock().expect("no task panics").insert(approval);
                return if taken { Ended::Lost } else { Ended::Won };
            }
            match self.executed.lock().expect("no task panics").insert(approval) {
                true => Ended::Won,
                false => Ended::Lost,
            }
        }
    }

    fn run(scenario: Scenario, table: Table) -> (Tries, u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let table = Arc::new(table);
        let (time, stop) = (Duration::from_secs(60), Stop::default());
        let load = Load { scenario, clients: 4, time, approvals: (10, 400), rate: 100_000.0, stop };
        let tries = runtime.block_on(load.run(&table));
        let executed = table.executed.lock().expect("no task panics").len() as u64;
        (tries, executed)
    }

    #[test]
    fn each_approval_is_asked_for_by_one_client_or_by_all() {
        for (scenario, tried) in
            [(Scenario::Distinct, 400), (Scenario::Hot, 1_600), (Scenario::Arrivals, 400)]
        {
            let (tries, executed) = run(scenario, Table::default());
            assert_eq!((tries.all.len(), executed), (tried, 400), "{scenario:?}");
            assert!(tries.judge(executed).is_exactly_one_winner(), "{scenario:?}");
        }
    }

    #[test]
    fn check_then_act_is_found_wrong_on_one_approval_and_not_on_distinct_ones() {
        let broken = || Table { check_then_act: true, ..Table::default() };
        let (tries, executed) = run(Scenario::Hot, broken());
        assert!(tries.judge(executed).won_again > 0);
        let (tries, executed) = run(Scenario::Distinct, broken());
        assert!(tries.judge(executed).is_exactly_one_winner(), "nobody meets anybody there");
    }

    #[test]
    fn no_client_is_always_first() {
        let (tries, _) = run(Scenario::Hot, Table::default());
        let share = tries.win_share(4);
        assert!(share.iter().all(|share| (0.15..0.35).contains(share)), "{share:?}");
    }

    /// Takes ten milliseconds for each.
    struct Slow;

    impl Consumer for Slow {
        async fn consume(&self, _: usize, _: u32) -> Ended {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ended::Won
        }
    }

    #[test]
    fn what_waits_because_others_were_slow_is_counted_as_slow() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (time, stop) = (Duration::from_secs(60), Stop::default());
        // All of them are due immediately, and there is one client.
        let load =
            Load { scenario: Scenario::Arrivals, clients: 1, time, approvals: (0, 20), rate: 1e6, stop };
        let tries = runtime.block_on(load.run(&Arc::new(Slow)));
        let slowest = tries.all.iter().map(|one| one.took).max().expect("twenty of them");
        assert!(
            slowest >= Duration::from_millis(190),
            "the last one has waited for all the others: {slowest:?}"
        );
    }
}
