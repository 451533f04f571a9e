//! Links on their way: never in clear, never by way of a proxy of the environment, and made anew where they wait.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    sync::mpsc::{Receiver, channel},
    thread,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    process::{SECRET, Server, Workplace, agent, ask_as, bearer, decide, eventually},
    promote::{requested, shop},
};

const SIGNED: &str = "webhook_secret = \"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\"";

/// A receiver of webhooks on this machine, that answers with this status; what it was sent.
fn receiver(status: &'static str) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it has one").port();
    let (sender, received) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let request = read(&mut stream);
            let _ = stream.write_all(
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes(),
            );
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (port, received)
}

/// A request with a body of known length.
fn read(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = stream.read(&mut chunk).unwrap_or_default();
        request.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if length == 0 {
                return text;
            }
            continue;
        };
        let announced = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
        });
        if length == 0 || body.len() >= announced.unwrap_or_default() {
            return text;
        }
    }
}

fn link_in(request: &str) -> String {
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let event: Value = serde_json::from_str(body).expect("JSON");
    event["data"]["link"].as_str().expect("a link").to_owned()
}

fn webhook(workplace: &Workplace, port: u16, more: &str) -> String {
    let notifier = format!("[notifier]\nwebhook = \"http://127.0.0.1:{port}/hook\"\n{SIGNED}\n");
    workplace.write(
        "gate.toml",
        &format!("{more}{notifier}retry_after = \"20ms\"\nretry_at_most_after = \"20ms\"\n"),
    )
}

/// What became of links, by the counters.
fn notices(server: &Server, outcome: &str) -> u64 {
    let text = server.metrics();
    let series = format!("notices_total{{outcome=\"{outcome}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    value.map_or(0, |value| value.parse().expect("a number"))
}

#[test]
fn a_webhook_of_this_machine_goes_by_no_proxy_of_the_environment() {
    let workplace = Workplace::new();
    let ((port, received), (proxy, by_proxy)) = (receiver("204 No Content"), receiver("502 Bad Gateway"));
    let config = webhook(&workplace, port, "");
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", "memory", "--config", &config];
    let mut command = workplace.gate(&args);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, format!("http://127.0.0.1:{proxy}"));
    }
    for name in ["no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    let server = Server::start(command);
    requested(&server, &shop(&server));
    eventually(|| (notices(&server, "sent") == 1).then_some(()));
    assert!(link_in(&received.recv().expect("it came")).contains("/approve/"));
    assert!(by_proxy.try_recv().is_err());
}

#[test]
fn a_webhook_is_not_handed_on_to_where_its_receiver_says() {
    let workplace = Workplace::new();
    let (elsewhere, handed_on) = receiver("204 No Content");
    let redirect = format!("302 Found\r\nlocation: http://127.0.0.1:{elsewhere}/hook");
    let (port, received) = receiver(redirect.leak());
    let config = webhook(&workplace, port, "");
    let server = workplace.serve(&["--store", "memory", "--config", &config]);
    requested(&server, &shop(&server));
    eventually(|| (notices(&server, "failed") > 1).then_some(()));
    assert!(link_in(&received.recv().expect("it came")).contains("/approve/"));
    assert!(handed_on.try_recv().is_err());
    assert_eq!(notices(&server, "sent"), 0);
}

#[test]
fn a_mail_in_a_folder_is_its_owners_alone() {
    let workplace = Workplace::new();
    let server = workplace.serve(&["--store", "memory"]);
    let approval = requested(&server, &shop(&server));
    workplace.link(&approval);
    let mail = workplace.path("mail").join(format!("{approval}.eml"));
    assert_eq!(fs::metadata(mail).expect("it is there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn mail_in_clear_needs_an_explicit_word() {
    let workplace = Workplace::new();
    let checked = |url: &str| {
        let config = workplace.write("gate.toml", &format!("[notifier]\nsmtp = \"{url}\"\n"));
        let args = ["check", "--listen", "127.0.0.1:0", "--store", "memory", "--config", &config];
        let output = workplace.gate(&args).output().expect("it runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    for url in ["smtp://127.0.0.1:25", "smtp://127.0.0.1:25?tls=opportunistic"] {
        let (exit, said) = checked(url);
        assert_eq!(exit, Some(2), "{url}");
        assert!(said.contains("tls=none to send links in clear"), "{said}");
    }
    for url in ["smtp://127.0.0.1:25?tls=none", "smtp://127.0.0.1:25?tls=required", "smtps://127.0.0.1"] {
        assert_eq!(checked(url), (Some(0), String::new()), "{url}");
    }
}

/// A link that waits while the secret is replaced: the one that arrives is good.
#[test]
fn a_link_that_waits_is_made_anew_with_the_secret_of_the_time() {
    let workplace = Workplace::new();
    let (down, failed) = receiver("503 Service Unavailable");
    let config = webhook(&workplace, down, "");
    let args = ["--store", "sqlite:gate.db", "--config", &config];
    let server = workplace.serve(&args);
    requested(&server, &shop(&server));
    let dead = link_in(&failed.recv().expect("it came"));
    let (exit, log) = server.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");

    let (up, received) = receiver("204 No Content");
    webhook(&workplace, up, "");
    let mut command = workplace.gate(&[&["serve", "--listen", "127.0.0.1:0"], &args[..]].concat());
    command.env("COUNTERSIGN_SECRET", "another secret of 32 bytes, at least");
    let server = Server::start(command);
    let link = link_in(&received.recv().expect("it came"));
    assert_ne!(link.rsplit('/').next(), dead.rsplit('/').next());
    let page = agent().get(&link).call().expect("it answers");
    assert_eq!(page.status(), 200);
    eventually(|| (notices(&server, "sent") == 1).then_some(()));
}

#[test]
fn a_link_that_could_only_be_dead_is_not_sent() {
    let workplace = Workplace::new();
    let (down, failed) = receiver("503 Service Unavailable");
    let config = webhook(&workplace, down, "");
    let server = workplace.serve(&["--store", "memory", "--config", &config]);
    let approval = requested(&server, &shop(&server));
    failed.recv().expect("it is tried");
    let path = format!("/api/v1/admin/promotions/{approval}/reject");
    let (status, body) = ask_as(&server.url, &bearer(&["--admin"]), "POST", &path, None, None);
    assert_eq!(status, 200, "{body}");
    while failed.try_recv().is_ok() {}
    let another = requested(&server, &shop(&server));
    let (mut dead, mut good) = (0, 0);
    while good < 10 {
        let request = failed.recv().expect("it is tried");
        dead += usize::from(request.contains(&approval));
        good += usize::from(request.contains(&another));
    }
    // One may have been under way when it was rejected.
    assert!(dead < 2, "{dead} were sent after the rejection");
    assert_eq!(notices(&server, "sent"), 0);
}

#[test]
fn a_link_that_was_sent_before_a_rotation_of_the_secret_opens_and_decides_after_it() {
    const NEWER: &str = "the newer secret, of 32 bytes and more";
    let workplace = Workplace::new();
    let store = ["--store", "sqlite:gate.db"];
    let server = workplace.serve(&store);
    let asked = [requested(&server, &shop(&server)), requested(&server, &shop(&server))];
    let links = asked.each_ref().map(|approval| workplace.link(approval));
    assert_eq!(decide(&links[1], "approve"), 303);
    server.stopped(Signal::TERM);

    workplace.write("earlier", SECRET);
    let config = workplace.write("gate.toml", "earlier_secret_files = [\"earlier\"]\n");
    let args = ["serve", "--listen", "127.0.0.1:0", "--config", &config];
    let mut rotated = workplace.gate(&[&args, &store[..]].concat());
    rotated.env("COUNTERSIGN_SECRET", NEWER);
    let server = Server::start(rotated);
    let links = links.map(|link| {
        let (_, token) = link.rsplit_once('/').expect("a token");
        format!("{}/approve/{token}", server.url)
    });
    for (link, title) in [(&links[0], "Approve "), (&links[1], "values can no longer be compared")] {
        let mut page = agent().get(link).call().expect("it answers");
        let text = page.body_mut().read_to_string().expect("text");
        assert!(page.status() == 200 && text.contains(title), "{text}");
    }
    assert_eq!((decide(&links[0], "approve"), decide(&links[1], "revoke")), (303, 303));
    let status = |approval: &str| {
        let record = server.get(&format!("/api/v1/approvals/{approval}"));
        record["status"].as_str().expect("a status").to_owned()
    };
    assert_eq!(asked.each_ref().map(|approval| status(approval)), ["approved", "revoked"]);
    let decided = server.get(&format!("/api/v1/approvals/{}", asked[0]));
    assert_eq!(decided["decided_by"], "operator@localhost", "{decided}");
}
