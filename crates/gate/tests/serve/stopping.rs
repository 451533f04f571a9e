//! Ends: a gate that is asked to stop does, and nothing is lost of what it was doing.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    process::{SECRET, Server, Workplace, bearer, decide, eventually},
    promote::{promote, requested, shop, target},
};

#[test]
fn both_signals_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let workplace = Workplace::new();
        let server = workplace.serve(&["--store", "memory"]);
        let (exit, log) = server.stopped(signal);
        assert_eq!(exit, Some(0), "{log}");
        assert!(log.contains("it was asked to stop"), "{log}");
    }
}

#[test]
fn a_log_in_json_has_an_object_on_each_line() {
    let workplace = Workplace::new();
    let server = workplace.serve(&["--store", "memory", "--log", "json"]);
    let (_, log) = server.stopped(Signal::TERM);
    assert!(log.lines().count() > 0);
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(event["level"].is_string() && event["fields"]["message"].is_string(), "{line}");
    }
}

/// A deploy that is under way when the server stops: its command is ended, and the next server runs it again. Neither
/// run sees the server's secret.
#[test]
fn a_deploy_goes_on_with_the_next_server() {
    let workplace = Workplace::new();
    let begun = workplace.path("begun");
    assert!(Command::new("mkfifo").arg(&begun).status().expect("mkfifo").success());
    let script = "env >> environment; cat >> plans; if mkdir first; then echo > begun; sleep 3600; fi";
    let config = format!(
        "drain = \"0s\"\n[deployer]\ncommand = [\"/bin/sh\", \"-c\", '{script}']\ntimeout = \"1h\"\n"
    );
    let config = workplace.write("gate.toml", &config);
    let args = ["--store", "sqlite:gate.db", "--config", &config];
    let server = workplace.serve(&args);
    let shop = shop(&server);
    let approval = requested(&server, &shop);
    assert_eq!(decide(&workplace.link(&approval), "approve"), 303);
    assert_eq!(promote(&server, &shop, &approval, "key").0, 202);
    // Opening it waits until the command has.
    thread::spawn(move || fs::read(begun)).join().expect("not poisoned").expect("it is there");
    let (exit, log) = server.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");
    assert!(log.contains("the launch job is given back"), "{log}");

    let server = workplace.serve(&args);
    // The first lease is far from its end.
    eventually(|| (target(&server, &shop) == "healthy").then_some(()));
    let plans = fs::read_to_string(workplace.path("plans")).expect("text");
    let plans: Vec<&str> = plans.lines().collect();
    // The same plan, under a larger fencing number.
    assert_eq!((plans.len(), &*plans[0].replace("\"fence\":1", "\"fence\":2")), (2, plans[1]));
    let environment = fs::read_to_string(workplace.path("environment")).expect("text");
    assert!(environment.contains(&format!("COUNTERSIGN_APPROVAL_ID={approval}")));
    assert!(!environment.contains(SECRET), "{environment}");
}

/// A promote whose last byte is not sent yet.
struct HalfSent(TcpStream);

impl HalfSent {
    fn promote(server: &Server, shop: &str, approval: &str) -> Self {
        let address = server.url.strip_prefix("http://").expect("an address");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let body = json!({ "to": "production", "approval_id": approval }).to_string();
        let head = format!(
            "POST /api/v1/stacks/{shop}/promote HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            bearer(&[]),
            body.len()
        );
        write!(stream, "{head}{}", body.strip_suffix('}').expect("an object")).expect("it is taken");
        Self(stream)
    }

    /// The answer's first line.
    fn ended(mut self) -> String {
        self.0.write_all(b"}").expect("it is taken");
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).expect("text");
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_job_that_comes_up_while_a_server_stops_is_left_for_the_next_one() {
    let workplace = Workplace::new();
    let config =
        workplace.write("gate.toml", "drain = \"0s\"\n[deployer]\ncommand = [\"/usr/bin/touch\", \"ran\"]\n");
    let args = ["--store", "sqlite:gate.db", "--config", &config];
    let server = workplace.serve(&args);
    let shops: Vec<String> = (0..3).map(|_| shop(&server)).collect();
    let half_sent: Vec<HalfSent> = shops
        .iter()
        .map(|shop| {
            let approval = requested(&server, shop);
            assert_eq!(decide(&workplace.link(&approval), "approve"), 303);
            HalfSent::promote(&server, shop, &approval)
        })
        .collect();
    // Their heads have arrived, and the one that asks is counted, too.
    eventually(|| server.metrics().contains("\nhttp_requests_in_flight 4\n").then_some(()));
    server.signal(Signal::TERM);
    // It stops listening at the beginning of the shutdown.
    let address = server.url.strip_prefix("http://").expect("an address").to_owned();
    eventually(|| TcpStream::connect(&address).is_err().then_some(()));
    for promote in half_sent {
        // Running requests are still answered.
        let answer = promote.ended();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
    let (exit, log) = server.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");
    assert!(!workplace.path("ran").exists(), "{log}");
    let server = workplace.serve(&args);
    for shop in &shops {
        eventually(|| (target(&server, shop) == "healthy").then_some(()));
    }
    assert!(workplace.path("ran").exists());
}
