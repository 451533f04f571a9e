//! `countersign attack` and its commands against a service in this process that forgets to check, and bad input.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-attack"));
    command.args(args).current_dir(folder).env("NO_COLOR", "1").output().expect("the binary was built")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

type Cards = Arc<Mutex<BTreeMap<String, u64>>>;

/// A service of gift cards, each of which can be redeemed as often as one likes.
fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let cards = Cards::default();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, cards) = (stream.expect("a connection"), Arc::clone(&cards));
            std::thread::spawn(move || answer(stream, &cards).ok());
        }
    });
    address
}

fn answer(mut stream: TcpStream, cards: &Cards) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let mut words = line.split(['/', ' ']).filter(|word| !word.is_empty());
    let (status, body) = {
        let mut cards = cards.lock().expect("no thread has panicked");
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("POST"), Some("cards"), Some("HTTP"), _) => {
                let code = format!("card-{}", cards.len());
                cards.insert(code.clone(), 0);
                (201, serde_json::json!({"code": code}))
            }
            (Some("POST"), Some("cards"), Some(code), Some("redeem")) if cards.contains_key(code) => {
                *cards.entry(code.to_owned()).or_default() += 1;
                (200, serde_json::json!({}))
            }
            (Some("GET"), Some("cards"), Some(code), _) if cards.contains_key(code) => {
                (200, serde_json::json!({"credits": cards[code]}))
            }
            _ => (400, serde_json::json!({})),
        }
    };
    let body = body.to_string();
    write!(stream, "HTTP/1.1 {status} \r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A folder with the target file of this service.
fn folder(address: SocketAddr) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let target = format!(
        r#"
about = "gift cards"
base_url = "http://{address}"
[arrange]
steps = [{{ request = "POST /cards", capture = {{ code = "$.code" }} }}]
[use]
request = "POST /cards/{{code}}/redeem"
[effects]
request = "GET /cards/{{code}}"
count = "$.credits"
"#
    );
    fs::write(folder.path().join("shop.toml"), target).expect("a file");
    folder
}

#[test]
fn check_prints_what_each_role_did_and_what_is_testable() {
    let folder = folder(service());
    let output = run(folder.path(), &["check", "shop.toml"]);
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}{}", text(&output.stderr));
    for line in [
        "races     HTTP/1.1, released by their last byte",
        "arrange   code = \"card-0\"",
        "use       POST /cards/card-0/redeem, got 200",
        "effects   GET /cards/card-0, got 200, read 1",
        "  ✓ S2  testable",
        "  – S1  the role `observe` is missing",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
}

#[test]
fn ctrl_c_ends_a_campaign_with_what_it_has_found() {
    let folder = folder(service());
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-attack"));
    command.args(["shop.toml", "--races", "1000000", "--time", "1h", "--history", "all.ndjson"]);
    command.current_dir(folder.path()).env("NO_COLOR", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("the binary was built");
    let told = BufReader::new(running.stderr.take().expect("it is piped"));
    // Read to its end, so that nothing blocks.
    let mut lines = told.lines().map(|line| line.expect("text"));
    lines.find(|line| line.starts_with("races")).expect("the races begin");
    let interrupt = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
    assert!(interrupt.expect("it runs").success());
    drop(lines.collect::<Vec<_>>());
    let output = running.wait_with_output().expect("it ends");
    let said = text(&output.stdout);
    assert_eq!(code(&output), 130, "{said}");
    assert!(said.contains("cut off: it was interrupted"), "{said}");
    assert!(said.contains("✗ S2") || said.contains("✓ S2"), "the first use is judged: {said}");
    assert!(folder.path().join("all.ndjson").exists());
}

#[test]
fn a_violation_is_reported_judged_again_and_replayed() {
    let folder = folder(service());
    let args = ["shop.toml", "--races", "3", "--callers", "4", "--history", "all.ndjson"];
    let output = run(folder.path(), &[&args[..], &["--format", "json"]].concat());
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["version"], &report["protocol"]), (&Value::from(1), &Value::from("http1")));
    let violated = |report: &Value| {
        let lines = report["verdicts"].as_array().expect("a list").clone();
        lines.iter().any(|line| line["id"] == "S2" && line["verdict"] == "violated")
    };
    assert!(violated(&report), "{report}");

    let judged = run(folder.path(), &["judge", "all.ndjson", "--format", "json"]);
    assert_eq!(code(&judged), 1);
    assert!(violated(&serde_json::from_slice(&judged.stdout).expect("JSON")));

    let failure = fs::read_dir(folder.path().join("failures")).expect("a folder").next();
    let failure = failure.expect("a violation leaves a file").expect("it can be read").path();
    let failure = failure.to_str().expect("text");
    let again = run(folder.path(), &["replay", failure]);
    assert_eq!(code(&again), 1, "{}{}", text(&again.stdout), text(&again.stderr));
    assert!(text(&again.stdout).contains("✗ S2"), "{}", text(&again.stdout));
}

#[test]
fn init_writes_a_target_file_that_check_reads() {
    let folder = folder(service());
    let curl = "curl -X POST http://127.0.0.1:1/redeem -d code=x";
    let output = run(folder.path(), &["init", "--curl", curl]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    fs::write(folder.path().join("new.toml"), &output.stdout).expect("a file");
    let check = run(folder.path(), &["check", "new.toml"]);
    assert_eq!(code(&check), 2, "nothing listens there");
    let said = text(&check.stderr);
    assert!(said.contains("127.0.0.1") || said.contains("arrange"), "{said}");
}

#[test]
fn bad_input_is_reported_with_its_place_and_exit_code_2() {
    let folder = folder(service());
    let cases: [(&str, &str, &[&str], &str); 3] = [
        ("bad.toml", "base_url = 7\n", &["bad.toml"], "bad.toml:1:1: found no table `[use]`"),
        ("all.ndjson", "{}\n", &["judge", "all.ndjson"], "all.ndjson:1: "),
        ("failure.json", "[]", &["replay", "failure.json"], "failure.json"),
    ];
    for (name, content, args, expected) in cases {
        fs::write(folder.path().join(name), content).expect("a file");
        let output = run(folder.path(), args);
        let said = text(&output.stderr);
        assert_eq!(code(&output), 2, "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    let elsewhere = fs::read_to_string(folder.path().join("shop.toml")).expect("it is there");
    let elsewhere = elsewhere.replace("127.0.0.1", "192.0.2.1");
    fs::write(folder.path().join("elsewhere.toml"), elsewhere).expect("a file");
    let output = run(folder.path(), &["elsewhere.toml"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("--i-own-this-service 192.0.2.1"), "{}", text(&output.stderr));
}
