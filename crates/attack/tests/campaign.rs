//! Whole campaigns against a small service in this process: one with a bug for each, one without.

mod encryption;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign_attack::{
    campaign::{self, Options},
    history,
    report::{Conclusion, Report, Verdict},
    safety::Limits,
    target::{self, Target},
};
use tokio_rustls::TlsAcceptor;

const SECRET: &str = "s3cret-bearer-token";

/// The defect of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    CheckThenAct,
    BurnsWhenRefused,
    AnswersWithoutEffect,
    OthersMayUse,
    GetUses,
    ForgetsExpiry,
    /// An edit is noticed before the use, and not during it.
    ExecutesEdit,
}

#[derive(Default)]
struct Card {
    used: bool,
    spoilt: bool,
    expired: bool,
    entries: u64,
    edits: u64,
    executed: u64,
}

type Cards = Arc<Mutex<BTreeMap<String, Card>>>;

fn start(bug: Bug) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let cards = Cards::default();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, cards) = (stream.unwrap(), Arc::clone(&cards));
            // A client that hangs up ends its own connection only.
            std::thread::spawn(move || serve(stream, &cards, bug).ok());
        }
    });
    address
}

fn serve(mut stream: TcpStream, cards: &Cards, bug: Bug) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length, mut owner) = (String::new(), 0, false);
    if reader.read_line(&mut line)? == 0 {
        return Ok(());
    }
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        owner |= header.contains(SECRET);
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = answer(method, path, owner, cards, bug);
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn answer(method: &str, path: &str, owner: bool, cards: &Cards, bug: Bug) -> (u16, String) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let with = |code: &str, change: &mut dyn FnMut(&mut Card)| {
        cards.lock().unwrap().get_mut(code).map(change).is_some()
    };
    let plain = |status: u16| (status, "{}".to_owned());
    match (method, parts.as_slice()) {
        ("POST", ["cards"]) => {
            let code = format!("c{}", COUNT.fetch_add(1, Ordering::Relaxed));
            cards.lock().unwrap().insert(code.clone(), Card::default());
            (201, format!("{{\"code\":\"{code}\"}}"))
        }
        ("GET", ["cards", code]) => {
            let mut used = false;
            with(code, &mut |card| used = card.used);
            (200, format!("{{\"used\":{used}}}"))
        }
        ("GET", ["cards", code, "entries"]) => {
            let (mut entries, mut executed) = (0, 0);
            with(code, &mut |card| (entries, executed) = (card.entries, card.executed));
            (200, format!("{{\"count\":{entries},\"edit\":{executed}}}"))
        }
        ("POST", ["cards", code, "edit"]) => {
            plain(if with(code, &mut |card| card.edits += 1) { 200 } else { 404 })
        }
        ("GET", ["cards", code, "link"]) => {
            with(code, &mut |card| card.used |= bug == Bug::GetUses);
            plain(200)
        }
        ("POST", ["cards", code, "spoil"]) => {
            plain(if with(code, &mut |card| card.spoilt = true) { 200 } else { 404 })
        }
        ("POST", ["cards", code, "mend"]) => {
            plain(if with(code, &mut |card| card.spoilt = false) { 200 } else { 404 })
        }
        ("POST", ["cards", code, "expire"]) => {
            plain(if with(code, &mut |card| card.expired = true) { 200 } else { 404 })
        }
        ("POST", ["cards", code, "use"]) => plain(redeem(code, owner, cards, bug)),
        _ => plain(404),
    }
}

fn redeem(code: &str, owner: bool, cards: &Cards, bug: Bug) -> u16 {
    let mut all = cards.lock().unwrap();
    let Some(card) = all.get_mut(code) else { return 404 };
    if !owner && bug != Bug::OthersMayUse {
        return 404;
    }
    if card.used || card.edits > 0 || (card.expired && bug != Bug::ForgetsExpiry) {
        return 409;
    }
    if card.spoilt {
        card.used |= bug == Bug::BurnsWhenRefused;
        return 412;
    }
    if bug == Bug::CheckThenAct {
        drop(all);
        std::thread::sleep(Duration::from_millis(3));
        let mut all = cards.lock().unwrap();
        let Some(card) = all.get_mut(code) else { return 404 };
        card.used = true;
        card.entries += 1;
        return 200;
    }
    card.used = true;
    card.entries += u64::from(bug != Bug::AnswersWithoutEffect);
    if bug == Bug::ExecutesEdit {
        drop(all);
        std::thread::sleep(Duration::from_millis(20));
        let mut all = cards.lock().unwrap();
        let Some(card) = all.get_mut(code) else { return 404 };
        card.executed = card.edits;
    }
    200
}

fn text(address: SocketAddr) -> String {
    format!(
        r#"about = "gift cards"
base_url = "http://{address}"
headers = {{ Authorization = "Bearer {SECRET}" }}
object = {{ noun = "card" }}
safe_links = ["/cards/{{code}}/link"]
[arrange]
request = "POST /cards"
capture = {{ code = "$.code" }}
[use]
request = "POST /cards/{{code}}/use"
json = {{ order = "{{unique}}", note = "{SECRET}" }}
conflict = [409]
[observe]
request = "GET /cards/{{code}}"
used = {{ "$.used" = true }}
[effects]
request = "GET /cards/{{code}}/entries"
count = "$.count"
payload = "$.edit"
[drift]
steps = [{{ request = "POST /cards/{{code}}/edit" }}, {{ request = "POST /cards/{{code}}/edit" }}]
[spoil]
request = "POST /cards/{{code}}/spoil"
[mend]
request = "POST /cards/{{code}}/mend"
[expire]
request = "POST /cards/{{code}}/expire"
[other_owner]
headers = {{ Authorization = "Bearer another-one" }}
"#
    )
}

fn target(address: SocketAddr) -> Target {
    target::parse(text(address).as_bytes(), Path::new(".")).unwrap()
}

fn attack(bug: Bug) -> Report {
    let limits =
        Limits { time: Duration::from_secs(30), patience: Duration::from_secs(5), ..Limits::default() };
    let options = Options { limits, races: 10, callers: 8, keep_history: true, ..Options::default() };
    campaign::attack(&target(start(bug)), &options, &mut |_| {}).unwrap()
}

fn violated(report: &Report) -> Vec<&str> {
    report.verdicts.iter().filter(|line| line.verdict == Verdict::Violated).map(|line| line.id).collect()
}

/// Attacks the service with this bug, which violates these properties and no other one.
#[track_caller]
fn violates(bug: Bug, expected: &[&str]) {
    let report = attack(bug);
    let mut found = violated(&report);
    match bug {
        // A link that uses the card leaves it without its effect or not, depending on what the bug skips.
        Bug::GetUses => found.retain(|id| *id != "L1"),
        // Between its check and its act a card may expire, too: whether that is met depends on timing.
        Bug::CheckThenAct => found.retain(|id| *id != "S5"),
        _ => {}
    }
    assert_eq!(found, expected, "{bug:?}\n{}", report.text());
}

#[test]
fn a_service_without_a_bug_violates_nothing() {
    violates(Bug::None, &[]);
}

#[test]
fn check_then_act_violates_s2_and_s3() {
    violates(Bug::CheckThenAct, &["S2", "S3"]);
}

#[test]
fn a_card_that_a_refusal_burns_violates_s1_l1_and_l3() {
    violates(Bug::BurnsWhenRefused, &["S1", "L1", "L3"]);
}

#[test]
fn an_answer_without_the_effect_violates_l1() {
    violates(Bug::AnswersWithoutEffect, &["L1"]);
}

#[test]
fn a_card_that_others_may_use_violates_s12() {
    violates(Bug::OthersMayUse, &["S12"]);
}

#[test]
fn a_get_that_uses_the_card_violates_s15() {
    violates(Bug::GetUses, &["S15"]);
}

#[test]
fn an_expiry_that_is_forgotten_violates_s5() {
    violates(Bug::ForgetsExpiry, &["S5"]);
}

#[test]
fn an_edit_that_is_executed_violates_s6() {
    violates(Bug::ExecutesEdit, &["S6"]);
}

#[test]
fn a_report_fits_a_terminal_shows_no_secret_and_is_judged_alike_from_its_history() {
    let report = attack(Bug::CheckThenAct);
    assert_eq!(report.conclusion(), Conclusion::Violated);
    let text = report.text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("caller 0") && text.contains("S2"), "{text}");
    for output in [&text, &report.html(), &report.json(), &report.history()] {
        assert!(!output.contains(SECRET), "{output}");
    }
    let events = history::read(&report.history()).unwrap();
    let again = Report::of_history(events).unwrap();
    assert_eq!(violated(&again), violated(&report));
}

/// Ends the encryption before a service that has none.
fn encrypted(behind: SocketAddr, tls: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                tokio::spawn(async move {
                    let mut client = tls.accept(client).await?;
                    let mut server = tokio::net::TcpStream::connect(behind).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
    });
    address
}

#[test]
fn an_encrypted_service_is_attacked_if_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    encryption::certificates(folder.path());
    let limits = Limits { time: Duration::from_secs(20), ..Limits::default() };
    let options = Options { limits, races: 10, callers: 8, ..Options::default() };
    for (own, trusted, is_trusted) in
        [("server", "authority", true), ("alone", "alone", true), ("server", "alone", false)]
    {
        let tls = encryption::acceptor(folder.path(), own, &["http/1.1"]);
        let address = encrypted(start(Bug::CheckThenAct), tls);
        let ca = format!("ca = \"{trusted}.crt\"\nbase_url = \"https");
        let text = text(address).replace("base_url = \"http", &ca);
        let target = target::parse(text.as_bytes(), folder.path()).unwrap();
        match campaign::attack(&target, &options, &mut |_| {}) {
            Ok(report) => assert!(is_trusted && violated(&report).contains(&"S2"), "{}", report.text()),
            Err(stop) => {
                let stop = stop.to_string();
                assert!(!is_trusted && stop.contains("certificate"), "{stop}");
            }
        }
    }
}

#[test]
fn check_and_attack_refuse_the_same_target_files() {
    let address = start(Bug::None);
    let cases = [
        ("conflict = [409]", "conflict = [409]\nsuccess = [201]", "[use]: the use of a fresh object did not"),
        ("\"$.used\" = true", "\"$.used\" = false", "[observe]: a fresh object is shown as used"),
        ("$.count", "$.counted", "[effects]: its answer shows nothing that can be read"),
        ("/link\"", "/{key}\"", "`/cards/{code}/{key}`: "),
        ("another-one", "{missing}", "`Bearer {missing}`: "),
        ("/spoil\"", "/spoil\"\ncapture = { x = \"$.x\" }", "[spoil]: POST /cards/"),
    ];
    for (right, wrong, expected) in cases {
        let text = text(address);
        assert!(text.contains(right), "{right}");
        let target = target::parse(text.replacen(right, wrong, 1).as_bytes(), Path::new(".")).unwrap();
        let of = |stop: countersign_attack::safety::Stop| {
            // The number of the object differs.
            stop.to_string().replace(|c: char| c.is_ascii_digit(), "")
        };
        let checked = of(campaign::check(&target, &Options::default()).unwrap_err());
        assert!(checked.contains(expected), "{wrong}: {checked}");
        let attacked = of(campaign::attack(&target, &Options::default(), &mut |_| {}).unwrap_err());
        assert_eq!(checked, attacked, "{wrong}");
    }
    let closed = target("127.0.0.1:1".parse().unwrap());
    assert!(campaign::attack(&closed, &Options::default(), &mut |_| {}).is_err());
}

#[test]
fn check_shows_what_each_role_captured() {
    let checked = campaign::check(&target(start(Bug::None)), &Options::default()).unwrap();
    assert!(
        checked.iter().any(|line| line.role == "arrange" && line.result.contains("code = ")),
        "{checked:?}"
    );
    assert!(checked.iter().any(|line| line.role == "use" && line.result.contains("got 200")), "{checked:?}");
    assert!(
        checked.iter().any(|line| line.role == "effects" && line.result.contains("read 1")),
        "{checked:?}"
    );
}
