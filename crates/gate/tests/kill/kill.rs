//! Durability under `kill -9`: real instances are killed at random moments, and every property is judged from the
//! outside.
//!
//! `COUNTERSIGN_KILLS=2000` kills more often. The control is the same test with the order of the merged fix: it has to lose
//! something.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use countersign::protocol::Timestamp;
use countersign_models::{
    history::{self, judge::Tally},
    properties::Property,
};

use countersign_testkit::Cluster;
use libtest_mimic::{Failed, Trial};

use crate::{
    client::{Clients, now_ns, pause},
    fences,
    instance::{Instance, SECRET, Service},
    life::{Life, Twist},
    sink,
    stores::Database,
};

pub(crate) const TEAM: &str = "0a0a0a0a-0000-4000-8000-000000000001";
const STRANGERS: &str = "0b0b0b0b-0000-4000-8000-000000000002";
/// Clients' lives that go on at the same time.
const AT_ONCE: usize = 4;
/// A worker that died holds its job for no longer.
const LEASE_MS: u64 = 1_000;

/// The configuration of every instance.
pub(crate) fn config(mail: &Path, sink: &Path) -> String {
    let (mail, sink) = (mail.display(), sink.display());
    format!(
        r#"
log = "json"

[deployer]
command = ["sh", "{sink}"]

[notifier]
folder = "{mail}"
lease = "{LEASE_MS}ms"

[workers]
lease = "{LEASE_MS}ms"
poll = "50ms"

[http]
page_requests_per_second = 100000
body_time = "750ms"
request_time = "{LEASE_MS}ms"
key_lease = "{LEASE_MS}ms"

[postgres]
statement_timeout = "800ms"

[sqlite]
busy_timeout = "800ms"

[[tenant]]
team = "{TEAM}"
plan = "pro"
deployment_cap = 1000000
"#
    )
}

pub(crate) fn now() -> Timestamp {
    Timestamp(now_ns() / 1_000_000)
}

/// One run.
pub(crate) struct Campaign {
    pub(crate) service: Service,
    pub(crate) clients: Clients,
    instances: Arc<Vec<Instance>>,
    pub(crate) bearer: String,
    pub(crate) administrator: String,
    pub(crate) stranger: String,
    /// The slug of a stack that is the stranger's.
    pub(crate) stack_of_stranger: String,
    database: Database,
}

/// Result of a run.
struct Outcome {
    lives: usize,
    kills: u64,
    pauses: u64,
    /// For each broken property, how, and a history that shows it.
    broken: BTreeMap<&'static str, String>,
    exercised: BTreeSet<&'static str>,
}

/// Random enough to strike anywhere, and the same for the same seed as far as the machine goes along.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// The requested number of kills, or this default.
pub(crate) fn kills_wanted(otherwise: u64) -> u64 {
    let asked = std::env::var("COUNTERSIGN_KILLS").ok();
    asked.map_or(otherwise, |kills| kills.parse().expect("COUNTERSIGN_KILLS is a number"))
}

impl Campaign {
    fn new(home: &Path, database: Database, instances: usize, flow: &'static str) -> Self {
        let service = Service::new(home, database.url(home), flow);
        let instances: Vec<_> = (0..instances).map(|number| Instance::start(&service, number)).collect();
        let instances = Arc::new(instances);
        let mut campaign = Self {
            clients: Clients::new(Arc::clone(&instances)),
            instances,
            bearer: Service::token(TEAM, "dev@example.com", false),
            administrator: Service::token(TEAM, "admin@example.com", true),
            stranger: Service::token(STRANGERS, "stranger@example.com", false),
            stack_of_stranger: String::new(),
            service,
            database,
        };
        campaign.stack_of_stranger = campaign.stack(&campaign.stranger, "elsewhere", &serde_json::json!({}));
        campaign
    }

    pub(crate) fn expire_soon(&self, id: &str) -> Timestamp {
        let end = Timestamp(now().0 + 20);
        self.database.expire_at(&self.service.home, id, end);
        end
    }

    /// By the store's clock the lease of its job, if it has one, is over.
    pub(crate) fn end_lease(&self, id: &str) {
        self.database.end_lease(&self.service.home, id);
    }

    /// Those of these secrets that an answer, a log or the database shows.
    fn exposed<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut by_length: BTreeMap<usize, BTreeSet<&[u8]>> = BTreeMap::new();
        for secret in secrets {
            by_length.entry(secret.len()).or_default().insert(secret.as_bytes());
        }
        let heard = self.clients.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let places = [&*heard, &self.service.logs(), &self.database.dump(&self.service.home)];
        let mut found = BTreeSet::new();
        for (length, secrets) in &by_length {
            for place in places {
                found.extend(place.windows(*length).filter_map(|window| secrets.get(window)));
            }
        }
        found.into_iter().map(|secret| std::str::from_utf8(secret).expect("it was text")).collect()
    }

    /// The secrets that every request or every instance uses.
    fn shared_secrets(&self) -> [&str; 4] {
        [SECRET, &self.bearer, &self.administrator, &self.stranger]
    }

    /// Kills until it was often enough.
    fn kill(&self, wanted: u64, seed: u64) {
        let mut dice = Dice(seed);
        let several = self.instances.len() > 1;
        while self.service.kills.load(Ordering::SeqCst) < wanted {
            pause(dice.below(250));
            let victim = &self.instances[dice.below(self.instances.len() as u64) as usize];
            if several && dice.below(10) == 0 {
                // The instance is paused beyond its lease.
                victim.pause(&self.service, 2 * LEASE_MS);
            } else {
                victim.kill(&self.service);
                pause(dice.below(50));
                victim.restart(&self.service);
            }
        }
    }

    fn run(&self, wanted: u64) -> Outcome {
        let seed = now().0;
        println!("killing {wanted} times, by seed {seed}");
        // The first generation is not disturbed: a lost answer excuses much.
        let first = Twist::ALL.len();
        let lives: Mutex<Vec<Life>> = Mutex::new((0..first).map(|number| self.live(number)).collect());
        let (over, next) = (AtomicBool::new(false), AtomicUsize::new(first));
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        let life = self.live(next.fetch_add(1, Ordering::SeqCst));
                        lives.lock().unwrap_or_else(PoisonError::into_inner).push(life);
                    }
                });
            }
            let killer = scope.spawn(|| self.kill(wanted, seed));
            let killed = killer.join();
            over.store(true, Ordering::SeqCst);
            killed.expect("the killer does not panic");
        });
        let lives = lives.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.judge(lives)
    }

    /// Waits until all work has ended, without further kills, and judges the lives.
    fn judge(&self, lives: Vec<Life>) -> Outcome {
        let rested = |life: &Life| {
            (0..400).any(|_| {
                self.is_at_rest(life) || {
                    pause(50);
                    false
                }
            })
        };
        // The wait for lives that never come to rest is bounded in total.
        let mut patience = 5;
        for life in &lives {
            if patience > 0 && !rested(life) {
                patience -= 1;
            }
        }
        let launches = sink::launches(&self.service.home.join("sink"));
        let fences = fences::logged(&String::from_utf8_lossy(&self.service.logs()));
        let mut outcome = Outcome {
            lives: lives.len(),
            kills: self.service.kills.load(Ordering::SeqCst),
            pauses: self.service.pauses.load(Ordering::SeqCst),
            broken: BTreeMap::new(),
            exercised: BTreeSet::new(),
        };
        let mut tally = Tally::default();
        let tokens: Vec<String> = lives.iter().map(|life| life.token.clone()).collect();
        for life in lives {
            let launched = launches.get(&life.id);
            let fenced = fences.get(&life.id);
            let id = life.id.clone();
            let (trials, facts) = self.histories(life, launched, fenced);
            for trial in &trials {
                tally.add(trial);
            }
            for (property, is_broken) in facts {
                outcome.exercised.insert(property.id());
                if is_broken {
                    outcome.broken.entry(property.id()).or_insert_with(|| id.clone());
                }
            }
        }
        let secrets = tokens.iter().map(String::as_str).chain(self.shared_secrets());
        outcome.exercised.insert(Property::S16.id());
        if let Some(secret) = self.exposed(secrets).first() {
            outcome.broken.insert(Property::S16.id(), (*secret).to_owned());
        }
        for judged in tally.judged() {
            if judged.exercised > 0 {
                outcome.exercised.insert(judged.id);
            }
            if let Some((trial, how)) = &judged.shortest {
                outcome.broken.insert(judged.id, format!("{how}\n{}", history::write(&trial.events())));
            }
        }
        let Outcome { lives, kills, pauses, broken, .. } = &outcome;
        println!("{lives} approvals, {kills} kills, {pauses} pauses; broken: {:?}", broken.keys());
        outcome
    }
}

/// The flow promises neither a second approver nor a burnt attempt. S23 is judged in `overlap.rs`, where deploys of one target
/// may overlap.
const ELSEWHERE: [Property; 4] = [Property::S18, Property::S19, Property::S21, Property::S23];

/// Asserts that no property was violated, and none is vacuous except those listed.
fn nothing_is_lost(outcome: &Outcome, wanted: u64, need_not: &[Property]) {
    assert!(outcome.broken.is_empty(), "{:#?}", outcome.broken);
    assert!(outcome.kills >= wanted, "{} of {wanted} kills", outcome.kills);
    let idle: Vec<_> = Property::ALL
        .iter()
        .filter(|one| {
            !ELSEWHERE.contains(one) && !need_not.contains(one) && !outcome.exercised.contains(one.id())
        })
        .map(|one| one.id())
        .collect();
    assert!(idle.is_empty(), "never put to the test: {idle:?}");
}

fn nothing_is_lost_on_sqlite() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let campaign = Campaign::new(home.path(), Database::Sqlite, 1, "atomic-commit");
    let wanted = kills_wanted(120);
    // The only instance is killed so often that hardly a worker of it outlives its lease; of three, some do.
    nothing_is_lost(&campaign.run(wanted), wanted, &[Property::S14]);
    Ok(())
}

fn nothing_is_lost_on_postgresql(cluster: &Arc<Cluster>) -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let database = Database::Postgres { cluster: Arc::clone(cluster), name: "killed" };
    database.create();
    let campaign = Campaign::new(home.path(), database, 3, "atomic-commit");
    let wanted = kills_wanted(100);
    nothing_is_lost(&campaign.run(wanted), wanted, &[]);
    Ok(())
}

/// Asserts that lives with this twist, on a store that was broken like this, violate these properties and no other.
fn is_caught(twist: Twist, breaks: fn(&Database, &Path), expected: &[Property]) -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let campaign = Campaign::new(home.path(), Database::Sqlite, 1, "atomic-commit");
    breaks(&campaign.database, &campaign.service.home);
    let of_a_kind = Twist::ALL.len();
    let first = Twist::ALL.iter().position(|one| *one == twist).expect("it is one of them");
    let outcome = campaign.judge((0..3).map(|more| campaign.live(first + more * of_a_kind)).collect());
    let broken: Vec<_> = outcome.broken.keys().copied().collect();
    let expected: Vec<_> = expected.iter().map(|property| property.id()).collect();
    assert_eq!(broken, expected, "{:#?}", outcome.broken);
    Ok(())
}

/// A store that reverts the fence of each job's lease right after granting it.
fn a_store_that_forgets_its_fences_is_caught() -> Result<(), Failed> {
    is_caught(Twist::LeaseEnds, Database::forget_fences, &[Property::S14])
}

/// The revocation is answered as done, and then used: S9 is violated as well.
fn a_store_that_forgets_revocations_is_caught() -> Result<(), Failed> {
    is_caught(Twist::Revoked, Database::forget_revocations, &[Property::S20, Property::S9])
}

fn a_store_that_forgets_versions_is_caught() -> Result<(), Failed> {
    is_caught(Twist::Overtaken, Database::forget_versions, &[Property::S22])
}

/// What is planted in an answer, a log and the database, one after the other, is found each time.
fn secrets_are_found_where_they_must_not_be() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let campaign = Campaign::new(home.path(), Database::Sqlite, 1, "atomic-commit");
    let life = campaign.live(0);
    let planted = |what: &str| format!("{what}-{}", life.token);
    let (answer, log, row) = (planted("answer"), planted("log"), planted("row"));
    let secrets = [answer.as_str(), &log, &row, &life.token];
    assert_eq!(campaign.exposed(secrets.into_iter().chain(campaign.shared_secrets())), [""; 0]);
    let heard = |text: &str| {
        let mut heard = campaign.clients.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(text.as_bytes());
    };
    heard(&answer);
    assert_eq!(campaign.exposed([answer.as_str(), &log, &row]), [answer.as_str()]);
    std::fs::write(home.path().join("logs/planted.log"), &log)?;
    assert_eq!(campaign.exposed([log.as_str(), &row]), [log.as_str()]);
    campaign.database.keep(home.path(), &row);
    assert_eq!(campaign.exposed([row.as_str()]), [row.as_str()]);
    heard(SECRET);
    assert!(campaign.judge(vec![life]).broken.contains_key(Property::S16.id()));
    Ok(())
}

fn the_merged_fix_loses_something() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let campaign = Campaign::new(home.path(), Database::Sqlite, 1, "consume-last");
    let outcome = campaign.run(kills_wanted(60));
    assert!(!outcome.broken.is_empty(), "the control has to be caught");
    Ok(())
}

/// The claims that need no database server.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("logs_of_workers_are_read_as_they_are_meant", || {
            fences::are_read_as_they_are_meant();
            Ok(())
        }),
        Trial::test("a_store_that_forgets_its_fences_is_caught", a_store_that_forgets_its_fences_is_caught),
        Trial::test("a_store_that_forgets_revocations_is_caught", a_store_that_forgets_revocations_is_caught),
        Trial::test("a_store_that_forgets_versions_is_caught", a_store_that_forgets_versions_is_caught),
        Trial::test("secrets_are_found_where_they_must_not_be", secrets_are_found_where_they_must_not_be),
        Trial::test("nothing_is_lost_on_sqlite_however_often_it_is_killed", nothing_is_lost_on_sqlite),
        Trial::test(
            "the_order_of_the_merged_fix_loses_something_when_it_is_killed",
            the_merged_fix_loses_something,
        ),
    ]
}

/// Tests that need PostgreSQL.
pub(crate) fn on_postgresql(cluster: &Arc<Cluster>) -> Vec<Trial> {
    let cluster = Arc::clone(cluster);
    vec![Trial::test("nothing_is_lost_when_three_instances_on_one_postgresql_are_killed", move || {
        nothing_is_lost_on_postgresql(&cluster)
    })]
}
