//! Links by mail: content, recipients, and secrecy of the link.

use std::{fs, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use countersign::store::{Approvals, Decision, Ids, Notice, NoticeState, Operations, Service, Verdict};
use countersign_gate::instance::{
    Instance, Parts,
    notify::{Channel, Retries, Sender, Smtp},
    operators::{Operators, link_token},
    system_clock::{Secret, SecretIds},
    workers::WorkerSettings,
};
use countersign_testkit::{Break, Breaking, Seed};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use uuid::Uuid;

use crate::{
    log,
    platform::{OPERATOR, Platform, REQUESTER, TEAM, dry_run, operators, until},
};

fn parts(platform: &Platform, operators: Operators) -> Parts<countersign::store::MemoryStore> {
    Parts { operators: Arc::new(ArcSwap::from_pointee(operators)), ..platform.parts(dry_run(Duration::ZERO)) }
}

async fn mail(platform: &Platform, approval: Uuid) -> String {
    until(|| fs::read_to_string(platform.path(&format!("mail/{approval}.eml"))).ok()).await
}

#[tokio::test]
async fn each_approver_gets_a_mail_that_says_who_asks_for_what_with_a_link_of_their_own() {
    let platform = Platform::new();
    let instance = Instance::start(parts(&platform, operators(&[OPERATOR, REQUESTER])));
    let approval = platform.requested().await.approval;
    instance.wakeups.wake_notifier();
    let first = mail(&platform, approval).await;
    let second = until(|| fs::read_to_string(platform.path(&format!("mail/{approval}-2.eml"))).ok()).await;
    instance.stop().await;
    let record = platform.store.any_approval(approval).await.expect("it answers").expect("it is there");
    let until =
        jiff::Timestamp::from_millisecond(record.approval.expires_at.0.cast_signed()).expect("a time");
    for (mail, approver, id) in
        [(&first, OPERATOR, approval.to_string()), (&second, REQUESTER, format!("{approval}-2"))]
    {
        let token = link_token(&platform.ids.token(approval), approver);
        let link = format!("https://gate.example.com/approve/{token}");
        for part in [
            &format!("Message-ID: <approval-{id}@example.com>"),
            &format!("To: {approver}\r\n"),
            "Subject: Approve? stack staging -> production, asked by dev@example.com",
            "dev@example.com asks to promote a stack:",
            "service   web  shop:1",
            &until.to_string(),
            &format!("\r\n{link}\r\n"),
            &format!("<a href=\"{link}\""),
        ] {
            assert!(mail.contains(part), "{part:?} should be in\n{mail}");
        }
        let whose = platform.store.approver_of_link(&token).await.expect("it answers");
        assert_eq!(whose.as_deref(), Some(approver));
        let found = platform.store.approval_by_token(&token).await.expect("it answers");
        assert_eq!(found.map(|found| found.approval.id), Some(approval));
    }
    let shared = platform.ids.token(approval);
    assert!(!first.contains(&shared) && !second.contains(&shared), "each approver has a link of their own");
}

#[tokio::test]
async fn a_mail_names_the_variables_and_vault_keys_that_change_and_shows_no_value() {
    let platform = Platform::with_values();
    let instance = Instance::start(parts(&platform, operators(&[OPERATOR])));
    let approval = platform.requested().await.approval;
    let mail = mail(&platform, approval).await;
    instance.stop().await;
    let change = "changed: set to the value in staging";
    for (kind, name) in [("variable ", "MODE"), ("variable ", "DB"), ("vault key", "DB_PASSWORD")] {
        let (text, cell) =
            (format!("    {kind} {name}  ({change})\r\n"), format!("{name} <code></code> {change}"));
        let html = format!(">{}</th><td>{cell}</td>", kind.trim());
        assert!(mail.contains(&text) && mail.contains(&html), "{text}{html} should be in\n{mail}");
    }
    assert!(!mail.contains("hunter"), "{mail}");
}

#[tokio::test]
async fn characters_that_hide_or_reorder_text_are_marked_in_a_mail() {
    let platform = Platform::new();
    let image = Some("shop\u{202e}1:pohs".to_owned());
    let service = Service { name: "web".to_owned(), image_ref: image, port: None, expose: false };
    platform.store.seed_services(TEAM, platform.source, vec![service]);
    let instance = Instance::start(parts(&platform, operators(&[OPERATOR])));
    let approval = platform.requested().await.approval;
    instance.wakeups.wake_notifier();
    let mail = mail(&platform, approval).await;
    instance.stop().await;
    assert!(mail.contains("shop[U+202E]1:pohs") && !mail.contains('\u{202e}'), "{mail}");
}

#[tokio::test]
async fn a_link_is_sent_only_when_the_store_knows_it() {
    let platform = Platform::new();
    let store = Arc::new(Breaking::new(platform.store.clone()));
    store.break_next("put_links", Break::Fail, 1);
    let parts = platform.parts_on(store.clone(), dry_run(Duration::ZERO));
    let instance = Instance::start(parts);
    let approval = platform.requested().await.approval;
    instance.wakeups.wake_notifier();
    mail(&platform, approval).await;
    let link = link_token(&platform.ids.token(approval), OPERATOR);
    let whose = platform.store.approver_of_link(&link).await.expect("it answers");
    instance.stop().await;
    assert_eq!((store.left("put_links"), whose.as_deref()), (0, Some(OPERATOR)));
}

#[tokio::test]
async fn a_link_that_was_sent_is_not_sent_again_by_the_next_instance() {
    let platform = Platform::new();
    let approval = platform.requested().await.approval;
    let first = Instance::start(parts(&platform, operators(&[OPERATOR])));
    mail(&platform, approval).await;
    first.stop().await;
    fs::remove_file(platform.path(&format!("mail/{approval}.eml"))).expect("it is there");
    let other = platform.requested().await.approval;
    let next = Instance::start(parts(&platform, operators(&[OPERATOR])));
    mail(&platform, other).await;
    next.stop().await;
    assert!(!fs::exists(platform.path(&format!("mail/{approval}.eml"))).expect("the folder"));
}

#[tokio::test]
async fn the_requester_gets_no_link_where_self_approval_is_forbidden() {
    let platform = Platform::new();
    let operators = Operators { forbid_self_approval: true, ..operators(&[REQUESTER, OPERATOR]) };
    let instance = Instance::start(parts(&platform, operators));
    let approval = platform.requested().await.approval;
    let mail = mail(&platform, approval).await;
    instance.stop().await;
    assert!(mail.contains(&format!("To: {OPERATOR}\r\n")), "{mail}");
}

#[tokio::test]
async fn without_an_approver_no_link_is_sent() {
    let platform = Platform::new();
    let operators = Operators { forbid_self_approval: true, ..operators(&[REQUESTER]) };
    let instance = Instance::start(parts(&platform, operators));
    let approval = platform.requested().await.approval;
    until(|| log::of_this_thread().contains("the requester is the only operator").then_some(())).await;
    instance.stop().await;
    assert!(!fs::exists(platform.path(&format!("mail/{approval}.eml"))).expect("the folder"));
}

#[tokio::test]
async fn a_decided_approvals_link_is_not_sent_any_more() {
    let platform = Platform::new();
    let approval = platform.requested().await.approval;
    let token = &platform.ids.token(approval);
    let decided = platform.store.decide(Decision::Operator { token, verdict: Verdict::Reject }).await;
    decided.expect("it answers").expect("it is pending");
    let instance = Instance::start(parts(&platform, operators(&[OPERATOR])));
    let other = platform.requested().await.approval;
    mail(&platform, other).await;
    instance.stop().await;
    assert!(!fs::exists(platform.path(&format!("mail/{approval}.eml"))).expect("the folder"));
}

#[tokio::test]
async fn a_notice_that_was_not_settled_is_sent_again_as_the_same_mail() {
    let platform = Platform::new();
    let approval = platform.requested().await.approval;
    let taken = platform.store.lease_notice(0).await.expect("it answers");
    let Some(Notice { attempts: 0, .. }) = taken else { panic!("it is due: {taken:?}") };
    // The instance that leased it has crashed.
    let instance = Instance::start(parts(&platform, operators(&[OPERATOR])));
    mail(&platform, approval).await;
    instance.stop().await;
    let late = platform.store.settle_notice(&taken.expect("it is due"), NoticeState::Done).await;
    assert_eq!(late, Ok(false), "whoever comes back late settles nothing");
}

/// A mail server that quotes what it refuses, and takes the second one.
async fn server(listener: TcpListener, taken: mpsc::UnboundedSender<String>) {
    let mut first = true;
    while let Ok((stream, _)) = listener.accept().await {
        let mail = converse(stream, std::mem::take(&mut first)).await;
        let _ = taken.send(mail);
    }
}

async fn converse(stream: TcpStream, refuse: bool) -> String {
    let mut stream = BufReader::new(stream);
    let (mut line, mut mail, mut in_mail) = (String::new(), String::new(), false);
    stream.write_all(b"220 here\r\n").await.expect("it listens");
    loop {
        line.clear();
        if stream.read_line(&mut line).await.is_ok_and(|length| length == 0) {
            return mail;
        }
        let answer = match (line.trim_end(), in_mail) {
            (".", true) if refuse => {
                let quoted = mail.lines().find(|line| line.contains("/approve/")).unwrap_or_default();
                in_mail = false;
                format!("550 this looks like spam: {quoted}\r\n")
            }
            (".", true) => {
                in_mail = false;
                "250 taken\r\n".to_owned()
            }
            (_, true) => {
                mail.push_str(&line);
                continue;
            }
            ("DATA", _) => {
                in_mail = true;
                "354 go on\r\n".to_owned()
            }
            ("QUIT", _) => return mail,
            _ => "250 fine\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await.expect("it listens");
    }
}

#[tokio::test]
async fn a_refused_mail_is_tried_again_and_no_log_has_the_token_that_the_server_quotes() {
    let platform = Platform::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let (sender, mut taken) = mpsc::unbounded_channel();
    tokio::spawn(server(listener, sender));
    let from = Sender::parse("Gate <gate@example.com>").expect("an address");
    let smtp = Smtp::connect(&format!("smtp://{address}?tls=none"), from).expect("a server");
    let instance =
        Instance::start(Parts { channel: Channel::Smtp(smtp), ..parts(&platform, operators(&[OPERATOR])) });
    let approval = platform.requested().await.approval;
    until(|| log::of_this_thread().contains("the link was sent").then_some(())).await;
    instance.stop().await;
    let token = link_token(&platform.ids.token(approval), OPERATOR);
    let mails = [taken.recv().await.expect("the first"), taken.recv().await.expect("the second")];
    assert!(mails[0].contains(&token));
    assert_eq!(mails[0], mails[1]);
    let log = log::of_this_thread();
    assert!(log.contains("this looks like spam: https://gate.example.com/approve/…"), "{log}");
    assert!(!log.contains(&token), "{log}");
}

#[test]
fn a_mail_server_without_tls_has_to_be_asked_for_by_name() {
    let connect = |url: &str| {
        let from = Sender::parse("countersign@example.com").expect("an address");
        Smtp::connect(url, from).is_ok()
    };
    for url in [
        "smtps://mail.example.com",
        "smtp://mail.example.com?tls=required",
        "smtp://mail.example.com?tls=none",
    ] {
        assert!(connect(url), "{url}");
    }
    for url in [
        "smtp://mail.example.com",
        "smtp://mail.example.com?tls=opportunistic",
        "smtp://mail.example.com?x=tls=none",
    ] {
        assert!(!connect(url), "{url}");
    }
}

/// A mail server that takes each mail after this long; what it took.
async fn slow_server(listener: TcpListener, pause: Duration, taken: mpsc::UnboundedSender<String>) {
    while let Ok((stream, _)) = listener.accept().await {
        let taken = taken.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let _ = taken.send(converse(stream, false).await);
        });
    }
}

/// Several deliveries outlast a lease, and each has a whole one: the other notifier of the instance sends none again.
#[tokio::test]
async fn each_approver_gets_one_mail_though_all_deliveries_outlast_the_lease() {
    const LEASE: Duration = Duration::from_secs(2);
    let platform = Platform::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let (sender, mut taken) = mpsc::unbounded_channel();
    tokio::spawn(slow_server(listener, LEASE * 2 / 5, sender));
    let from = Sender::parse("Gate <gate@example.com>").expect("an address");
    let smtp = Smtp::connect(&format!("smtp://{address}?tls=none"), from).expect("a server");
    let parts =
        parts(&platform, operators(&[OPERATOR, REQUESTER, "third@example.com", "fourth@example.com"]));
    let retries = Retries { lease: LEASE, ..parts.retries };
    let workers = WorkerSettings { poll: Duration::from_millis(20), ..parts.workers };
    let instance = Instance::start(Parts { channel: Channel::Smtp(smtp), retries, workers, ..parts });
    platform.requested().await;
    until(|| log::of_this_thread().contains("the link was sent").then_some(())).await;
    instance.stop().await;
    let mut mails = 0;
    while taken.try_recv().is_ok() {
        mails += 1;
    }
    assert_eq!(mails, 4);
}

/// The secret was changed before the link was sent.
#[tokio::test]
async fn a_link_that_is_made_with_another_secret_is_good() {
    let platform = Platform::new();
    let approval = platform.requested().await.approval;
    let other = Arc::new(SecretIds::new(&Secret::new("another secret of 32 bytes, or so.")));
    let changed = Instance::start(Parts { ids: other.clone(), ..parts(&platform, operators(&[OPERATOR])) });
    let link = link_token(&other.token(approval), OPERATOR);
    assert!(mail(&platform, approval).await.contains(&link));
    changed.stop().await;
    let found = platform.store.approval_by_token(&link).await.expect("it answers");
    assert_eq!(found.map(|found| found.approval.id), Some(approval));
}
