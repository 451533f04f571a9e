//! Deploys of one target, seen from where they take effect: S23, under kills, commands that cannot be started, and a log
//! whose disk is full.
//!
//! The target's command keeps the largest fence that it has seen, as the documentation asks for, and writes down when a
//! deploy begins and ends. A command whose instance was killed may still run; it is refused by its fence.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use crate::{
    client::{Answer, Body, Call, Clients, pause},
    instance::{Instance, Service},
    kill::{Dice, TEAM, kills_wanted, now},
    life::link,
    stores::Database,
};

/// An event at the target: a deploy of this approval began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Begin(String),
    End(String),
}

/// Violations in a history of approvals that were used in this order.
fn judge(history: &[Event], used: &[String]) -> Vec<String> {
    let order: BTreeMap<&str, usize> = used.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let mut broken = Vec::new();
    let mut ended = vec![false; used.len()];
    let mut latest = 0;
    for event in history {
        let (Event::Begin(id) | Event::End(id)) = event;
        let at = order[id.as_str()];
        if at < latest {
            broken.push(format!("S23: {event:?}, after a later one had begun"));
        }
        match event {
            Event::Begin(_) => {
                if ended[..at].iter().any(|ended| !ended) {
                    broken.push(format!("S23: {event:?}, before an earlier one had ended"));
                }
                latest = latest.max(at);
            }
            Event::End(_) => ended[at] = true,
        }
    }
    let lost = used.iter().zip(ended).filter(|(_, ended)| !ended);
    broken.extend(lost.map(|(id, _)| format!("L1: {id} was used and its deploy never ended")));
    broken
}

fn read(home: &Path) -> Vec<Event> {
    let history = fs::read_to_string(home.join("history")).unwrap_or_default();
    let event = |line: &str| match line.split_once(' ').expect("two words") {
        ("begin", id) => Event::Begin(id.to_owned()),
        ("end", id) => Event::End(id.to_owned()),
        other => panic!("{other:?} is no event"),
    };
    history.lines().map(event).collect()
}

/// The target's command. One that comes with an old fence changes nothing.
fn script(home: &Path) -> String {
    let home = home.display();
    format!(
        r#"#!/bin/sh
cd "{home}" || exit 1
document=$(cat)
case "$document" in *'}}') ;; *) exit 1 ;; esac
exec 9>lock
flock 9
seen=$(cat seen 2>/dev/null || echo 0)
[ "$COUNTERSIGN_FENCE" -gt "$seen" ] || exit 1
echo "$COUNTERSIGN_FENCE" > seen
echo "begin $COUNTERSIGN_APPROVAL_ID" >> history
flock -u 9
sleep 0.1
flock 9
[ "$(cat seen)" = "$COUNTERSIGN_FENCE" ] || exit 1
echo "end $COUNTERSIGN_APPROVAL_ID" >> history
"#
    )
}

struct Target {
    service: Service,
    instances: Arc<Vec<Instance>>,
    clients: Clients,
    bearer: String,
}

impl Target {
    fn new(home: &Path, database: &Database, instances: usize) -> Self {
        let service = Service::new(home, database.url(home), "atomic-commit");
        for number in 0..instances {
            symlink("/dev/full", home.join(format!("logs/instance-{number}.log"))).expect("a link");
        }
        Self::install(home);
        let config = crate::kill::config(&home.join("mail"), &home.join("sink.sh"));
        let command = format!("command = [\"{}\"]", home.join("deploy").display());
        let config: String = config
            .lines()
            .map(|line| if line.starts_with("command = ") { command.as_str() } else { line })
            .flat_map(|line| [line, "\n"])
            .collect();
        fs::write(home.join("countersign.toml"), config).expect("a file");
        let instances: Vec<_> = (0..instances).map(|number| Instance::start(&service, number)).collect();
        let instances = Arc::new(instances);
        let clients = Clients::new(Arc::clone(&instances));
        Self { clients, instances, bearer: Service::token(TEAM, "dev@example.com", false), service }
    }

    /// Puts the command where it belongs, whole at any moment.
    fn install(home: &Path) {
        let half = home.join("deploy.half");
        fs::write(&half, script(home)).expect("a file");
        fs::set_permissions(&half, fs::Permissions::from_mode(0o755)).expect("it is there");
        fs::rename(half, home.join("deploy")).expect("it is there");
    }

    fn post(&self, path: &str, key: Option<&str>, body: &serde_json::Value) -> Answer {
        let bearer = Some(self.bearer.as_str());
        self.clients.until_answered(Call { method: "POST", path, bearer, key, body: Body::Json(body) })
    }

    /// Uses this many approvals for one target, one after the other, as fast as it goes.
    fn use_approvals(&self, approvals: usize) -> Vec<String> {
        let services = json!([{"name": "web", "image_ref": "shop:1", "port": 80, "expose": true}]);
        let stack = json!({"name": "shop", "env": "development", "services": services});
        let slug = self.post("/api/v1/stacks", None, &stack).text("slug");
        let path = format!("/api/v1/stacks/{slug}/promote");
        let mut used = Vec::new();
        for number in 0..approvals {
            let asked = self.post(&path, Some(&format!("ask-{number}")), &json!({"to": "production"}));
            let id = asked.text("approval_id");
            let page = format!("/approve/{}", link(&self.service.home.join("mail"), &id));
            let body = Body::Form("decision=approve");
            let form = Call { method: "POST", path: &page, bearer: None, key: None, body };
            assert!(matches!(self.clients.until_answered(form).status, 303 | 410));
            let wish = json!({"to": "production", "approval_id": id});
            let answer = self.post(&path, Some(&format!("use-{number}")), &wish);
            assert!(answer.is_success(), "{}", answer.body);
            used.push(id);
        }
        used
    }

    /// Kills instances, and takes the command away for a while, until told to stop.
    fn disturb(&self, over: &AtomicBool, wanted: u64) {
        let mut dice = Dice(now().0);
        let home = &self.service.home;
        while !over.load(Ordering::SeqCst) || self.service.kills.load(Ordering::SeqCst) < wanted {
            pause(dice.below(200));
            if dice.below(4) == 0 {
                fs::remove_file(home.join("deploy")).expect("it is there");
                pause(dice.below(300));
                Self::install(home);
            } else {
                let below = u64::try_from(self.instances.len()).expect("few");
                let victim = &self.instances[usize::try_from(dice.below(below)).expect("few")];
                victim.kill(&self.service);
                victim.restart(&self.service);
            }
        }
    }

    /// Returns the violations, and the number of approvals used.
    fn run(&self, approvals: usize, kills: u64) -> Vec<String> {
        let over = AtomicBool::new(false);
        let used = thread::scope(|scope| {
            let disturbing = scope.spawn(|| self.disturb(&over, kills));
            let used = self.use_approvals(approvals);
            over.store(true, Ordering::SeqCst);
            disturbing.join().expect("it does not panic");
            used
        });
        // Time for pending work to finish.
        let home = &self.service.home;
        let ends = || read(home).iter().filter(|event| matches!(event, Event::End(_))).count();
        for _ in 0..1_200 {
            let last = used.last().map(|id| Event::End(id.clone()));
            if read(home).last() == last.as_ref() {
                break;
            }
            pause(50);
        }
        let broken = judge(&read(home), &used);
        let kills = self.service.kills.load(Ordering::SeqCst);
        println!("{} uses of one target, {kills} kills, {} ends; broken: {broken:?}", used.len(), ends());
        broken
    }
}

fn on(database: &Database, instances: usize) -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    database.create();
    let target = Target::new(home.path(), database, instances);
    let broken = target.run(40, kills_wanted(60));
    if broken.is_empty() { Ok(()) } else { Err(format!("{broken:#?}").into()) }
}

/// Uses approvals on a store that was broken like this. The properties that are found to be violated.
fn found(breaks: impl FnOnce(&Database, &Path)) -> BTreeSet<String> {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let target = Target::new(home.path(), &Database::Sqlite, 1);
    breaks(&Database::Sqlite, home.path());
    let property = |broken: String| broken.split(':').next().unwrap_or_default().to_owned();
    target.run(10, 0).into_iter().map(property).collect()
}

/// Jobs that do not know their target are not kept apart.
fn a_store_that_forgets_targets_is_caught() {
    assert!(found(Database::forget_targets).contains("S23"), "deploys that overlap have to be found");
}

/// An approval whose job is done before its time is never launched.
fn a_store_that_loses_jobs_is_caught() {
    assert!(found(Database::lose_jobs).contains("L1"), "lost launches have to be found");
}

/// Histories of which it is known what they say.
fn histories_are_judged_as_they_are_meant() {
    let begin = |id: &str| Event::Begin(id.to_owned());
    let end = |id: &str| Event::End(id.to_owned());
    let used = ["a".to_owned(), "b".to_owned()];
    let properties = |history: &[Event]| -> Vec<String> {
        judge(history, &used).iter().map(|broken| broken[..2].to_owned()).collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(properties(&[begin("a"), end("a"), begin("b"), end("b")]), none);
    assert_eq!(properties(&[begin("a"), begin("a"), end("a"), begin("b"), end("b")]), none, "begun again");
    assert_eq!(properties(&[begin("a"), begin("b"), end("b"), end("a")]), ["S2", "S2"], "overlapping");
    assert_eq!(
        properties(&[begin("b"), end("b"), begin("a"), end("a")]),
        ["S2", "S2", "S2"],
        "in another order"
    );
    assert_eq!(properties(&[begin("a"), end("a")]), ["L1"], "lost");
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("histories_are_judged_as_they_are_meant", || {
            histories_are_judged_as_they_are_meant();
            Ok(())
        }),
        Trial::test("deploys_of_a_target_do_not_overlap_on_sqlite", || on(&Database::Sqlite, 1)),
        Trial::test("a_store_that_forgets_targets_is_caught", || {
            a_store_that_forgets_targets_is_caught();
            Ok(())
        }),
        Trial::test("a_store_that_loses_jobs_is_caught", || {
            a_store_that_loses_jobs_is_caught();
            Ok(())
        }),
    ]
}

/// Tests that need PostgreSQL.
pub(crate) fn on_postgresql(cluster: &Arc<countersign_testkit::Cluster>) -> Vec<Trial> {
    let cluster = Arc::clone(cluster);
    vec![Trial::test("deploys_of_a_target_do_not_overlap_on_postgresql", move || {
        on(&Database::Postgres { cluster, name: "overlap" }, 3)
    })]
}
