//! Probes and metrics on an address of their own.

use std::fs;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Workplace, agent, bearer, eventually};

#[test]
fn probes_and_metrics_move_to_their_own_address_and_have_descriptors_there() {
    let workplace = Workplace::new();
    let config = workplace.write("gate.toml", "probe_listen = \"127.0.0.1:0\"\n");
    let mut server = workplace.serve(&["--store", "memory", "--config", &config]);
    let second = server.line();
    let probes = second.strip_prefix("probes on ").expect("the address of the probes").to_owned();
    let bearer = bearer(&[]);
    let status = |url: &str, path: &str| {
        let request = agent().get(format!("{url}{path}")).header("authorization", format!("Bearer {bearer}"));
        request.call().expect("an answer").status().as_u16()
    };
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!((status(&server.url, path), status(&probes, path)), (404, 200), "{path}");
    }
    for (path, answer) in [("/openapi.json", 200), ("/api/v1/admin/promotions", 403)] {
        assert_eq!((status(&server.url, path), status(&probes, path)), (answer, 404), "{path}");
    }
    let (exit, log) = server.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");
    // 64 in any case, 8 for each of 4 workers, 16 for the database, 64 for the probes.
    assert!(log.contains("reserved=176"), "{log}");
}

#[test]
fn an_older_copy_under_an_instance_that_was_never_probed_is_not_ready_and_the_log_says_why() {
    let workplace = Workplace::new();
    let server = workplace.serve(&["--store", "sqlite:gate.db"]);
    let database = Connection::open(workplace.path("gate.db")).expect("it is there");
    let count = || database.query_one("SELECT count(*) FROM readiness", [], |row| row.get::<_, u32>(0));
    eventually(|| (count().expect("it answers") == 1).then_some(()));
    // As in a copy from before the start of this instance.
    database.execute("DELETE FROM readiness", []).expect("it answers");
    assert_eq!(server.ask("GET", "/readyz", None, None).0, 503);
    let (exit, log) = server.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");
    assert!(log.contains("it is another one, or an older copy"), "{log}");
}

/// After a restore the instance has to be restarted, which no other trouble of the store needs.
#[test]
fn a_replaced_store_is_named_as_such() {
    let workplace = Workplace::new();
    let server = workplace.serve(&["--store", "sqlite:gate.db"]);
    let ready = || {
        let mut answer = agent().get(format!("{}/readyz", server.url)).call().expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        (answer.status().as_u16(), text.parse::<Value>().expect("JSON")["detail"].to_string())
    };
    assert_eq!(ready().0, 200);
    fs::rename(workplace.path("gate.db"), workplace.path("moved.db")).expect("it is there");
    let (status, detail) = ready();
    assert!(status == 503 && detail.contains("not the store that was opened"), "{status} {detail}");
    let (_, log) = server.stopped(Signal::TERM);
    assert!(log.contains("gate.db is gone"), "{log}");
}
