//! Hostile conditions: a full disk, ten thousand connections, clients that never finish, a database outage.
//!
//! Each time the answer is defined, no panic occurs, no change is partial, and the service recovers completely.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use countersign_testkit::Cluster;
use libtest_mimic::{Failed, Trial};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::{
    client::{Answer, Body, Call, Clients, pause},
    instance::{Instance, Service},
    kill::TEAM,
    stores::Database,
};

/// One instance and its client.
struct House {
    service: Service,
    clients: Clients,
    bearer: String,
    instances: Arc<Vec<Instance>>,
}

impl House {
    fn new(home: &Path, store: String) -> Self {
        let service = Service::new(home, store, "atomic-commit");
        let instances = Arc::new(vec![Instance::start(&service, 0)]);
        let clients = Clients::new(Arc::clone(&instances));
        Self { service, clients, bearer: Service::token(TEAM, "dev@example.com", false), instances }
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> Option<Answer> {
        let bearer = Some(self.bearer.as_str());
        self.clients.once(Call { method: "POST", path, bearer, key: None, body: Body::Json(body) })
    }

    fn stack(&self) -> Answer {
        let services = json!([{"name": "web", "image_ref": "shop:1"}]);
        let body = json!({"name": "shop", "env": "development", "services": services});
        self.post("/api/v1/stacks", &body).expect("it answers")
    }

    fn get(&self, path: &str) -> Option<Answer> {
        let bearer = Some(self.bearer.as_str());
        self.clients.once(Call { method: "GET", path, bearer, key: None, body: Body::None })
    }

    /// An approval that was given, and the path to use it by.
    fn approved(&self) -> (String, String) {
        let path = format!("/api/v1/stacks/{}/promote", self.stack().text("slug"));
        let asked = self.post(&path, &json!({"to": "production"})).expect("it answers");
        assert_eq!(asked.status, 202, "{}", asked.body);
        let id = asked.text("approval_id");
        let link = format!("/approve/{}", crate::life::link(&self.service.home.join("mail"), &id));
        let call = Call {
            method: "POST",
            path: &link,
            bearer: None,
            key: None,
            body: Body::Form("decision=approve"),
        };
        assert_eq!(self.clients.until_answered(call).status, 303);
        (id, path)
    }

    fn promote(&self, path: &str, approval: &str) -> Option<Answer> {
        self.post(path, &json!({"to": "production", "approval_id": approval}))
    }

    fn status(&self, approval: &str) -> String {
        self.get(&format!("/api/v1/approvals/{approval}")).expect("it answers").text("status")
    }

    /// Alive, without a panic.
    fn is_well(&self) {
        assert_eq!(self.get("/livez").expect("it answers").status, 200);
        assert_eq!(self.get("/readyz").expect("it answers").status, 200);
        let logs = String::from_utf8_lossy(&self.service.logs()).into_owned();
        assert!(!logs.contains("panicked"), "{logs}");
    }
}

/// A clear answer that says that nothing is lost.
fn is_unavailable(answer: &Answer) -> bool {
    answer.status == 503 && answer.json()["retryable"] == true && !answer.text("code").is_empty()
}

/// A small disk for one test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` without the permission to mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).status().ok();
    }
}

fn a_full_disk_changes_nothing() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount() else {
        assert!(std::env::var_os("CI").is_none(), "in CI a small disk has to be mounted");
        println!("skipped: nobody may mount a small disk here");
        return Ok(());
    };
    let house = House::new(home.path(), format!("sqlite:{}", disk.0.path().join("gate.db").display()));
    let (approval, path) = house.approved();
    let filler = disk.0.path().join("filler");
    let mut file = std::fs::File::create(&filler)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    // Uses up the free space within the existing pages first.
    let large = json!({"value": "x".repeat(60_000)});
    let administrator = Service::token(TEAM, "admin@example.com", true);
    let put = |number: usize| {
        let (bearer, path) =
            (Some(administrator.as_str()), format!("/api/v1/vault/development/FILL_{number}"));
        let call = Call { method: "PUT", path: &path, bearer, key: None, body: Body::Json(&large) };
        house.clients.once(call).expect("it answers")
    };
    let refused = (0..100).map(put).find(|answer| answer.status != 204).expect("the disk is full");
    assert!(is_unavailable(&refused), "{} {}", refused.status, refused.body);
    let refused =
        (0..100).find_map(|_| house.promote(&path, &approval).filter(|answer| answer.status >= 400));
    let refused = refused.expect("the disk is full");
    assert!(is_unavailable(&refused), "{} {}", refused.status, refused.body);
    assert_eq!(house.status(&approval), "approved", "a full disk burns no approval");
    drop(file);
    std::fs::remove_file(filler)?;
    let done = house.promote(&path, &approval).expect("it answers");
    assert_eq!(done.status, 202, "{}", done.body);
    assert_eq!(house.status(&approval), "executed");
    house.is_well();
    Ok(())
}

/// The machine's limit minus a reserve for the process's other files.
fn files_that_may_be_open() -> usize {
    const OTHERS: u64 = 500;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Children have the limit that they were started with, and the server has one of its own on connections.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    raised.expect("a process may have what it is allowed");
    maximum.map_or(usize::MAX, |most| usize::try_from(most.saturating_sub(OTHERS)).unwrap_or(usize::MAX))
}

fn ten_thousand_connections_do_not_end_it() -> Result<(), Failed> {
    const WANTED: usize = 10_000;
    let home = tempfile::tempdir()?;
    let house = House::new(home.path(), Database::Sqlite.url(home.path()));
    let address = house.instances[0].address();
    let wanted = WANTED.min(files_that_may_be_open());
    let mut open = Vec::new();
    while open.len() < wanted {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5));
        open.push(stream.map_err(|error| format!("after {} connections: {error}", open.len()))?);
    }
    println!("{} connections were open at once", open.len());
    if open.len() < WANTED {
        assert!(std::env::var_os("CI").is_none(), "in CI there may be as many open files (ulimit -Hn)");
    }
    // New clients are served, get a 503, or are disconnected: they never wait for ever.
    if let Some(answer) = house.get("/livez") {
        assert!(matches!(answer.status, 200 | 503), "{}", answer.status);
    }
    drop(open);
    let served = || house.get("/livez").is_some_and(|answer| answer.status == 200);
    let again = (0..500).any(|_| {
        served() || {
            pause(20);
            false
        }
    });
    assert!(again, "afterwards everybody is served again");
    house.is_well();
    let (approval, path) = house.approved();
    assert_eq!(house.promote(&path, &approval).expect("it answers").status, 202);
    Ok(())
}

/// Sends this, and then nothing, until the other side has had enough.
fn left_alone(house: &House, sent: &str) -> String {
    let mut stream = TcpStream::connect(house.instances[0].address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
    stream.write_all(sent.as_bytes()).expect("it can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it ends within half a minute");
    answer
}

fn a_client_that_never_finishes_is_let_go() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let house = House::new(home.path(), Database::Sqlite.url(home.path()));
    let answer = left_alone(&house, "GET /livez HTTP/1.1\r\nhost: gate\r\nx-slow: ");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let head = "POST /api/v1/stacks HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n";
    let bearer = format!("authorization: Bearer {}\r\n", house.bearer);
    let answer = left_alone(&house, &format!("{head}{bearer}content-length: 100\r\n\r\n{{"));
    assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{answer}");
    house.is_well();
    Ok(())
}

fn postgresql_may_stop_and_start(cluster: &Arc<Cluster>) -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let database = Database::Postgres { cluster: Arc::clone(cluster), name: "stopped" };
    database.create();
    let house = House::new(home.path(), database.url(home.path()));
    let (approval, path) = house.approved();
    for crash in [false, true] {
        if crash { cluster.kill() } else { cluster.stop() }.map_err(|error| error.to_string())?;
        let refused = house.promote(&path, &approval).expect("it answers");
        assert!(is_unavailable(&refused), "{} {}", refused.status, refused.body);
        assert_eq!(house.get("/readyz").expect("it answers").status, 503);
        assert_eq!(house.get("/livez").expect("it answers").status, 200);
        cluster.start_again().map_err(|error| error.to_string())?;
        let ready = (0..500).any(|_| {
            house.get("/readyz").is_some_and(|answer| answer.status == 200) || {
                pause(20);
                false
            }
        });
        assert!(ready, "it finds its database again");
        assert_eq!(house.status(&approval), "approved", "an outage burns no approval");
    }
    let done = house.promote(&path, &approval).expect("it answers");
    assert_eq!(done.status, 202, "{}", done.body);
    house.is_well();
    Ok(())
}

/// The claims that need no database server.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_full_disk_changes_nothing", a_full_disk_changes_nothing),
        Trial::test("ten_thousand_connections_do_not_end_it", ten_thousand_connections_do_not_end_it),
        Trial::test("a_client_that_never_finishes_is_let_go", a_client_that_never_finishes_is_let_go),
    ]
}

/// Tests that need PostgreSQL.
pub(crate) fn on_postgresql(cluster: &Arc<Cluster>) -> Vec<Trial> {
    let cluster = Arc::clone(cluster);
    vec![Trial::test("postgresql_may_stop_and_start", move || postgresql_may_stop_and_start(&cluster))]
}
