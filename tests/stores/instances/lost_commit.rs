//! A COMMIT whose answer is lost: a proxy between a store and its server drops that answer, and nothing else.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use countersign::{
    protocol::Outcome,
    service::Driver,
    store::{
        AuditKind, Operations, StoreError,
        postgres::{PostgresOptions, PostgresStore},
        sql::Cas,
    },
};
use countersign_contract::world::flow;
use countersign_testkit::{Cluster, SqlPeek};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::{approved, ids, options};
use crate::postgres::new_schema;

/// Forwards every message but the answer to the first COMMIT of a writing transaction after `drops` was set.
struct Proxy {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    drops: AtomicBool,
    /// The COMMITs of writing transactions that the proxy has forwarded.
    commits: AtomicUsize,
}

impl Proxy {
    fn start(cluster: &Cluster) -> Self {
        const SOCKET: &str = ".s.PGSQL.5432";
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let server = socket_in(cluster.socket_directory());
        let shared = Arc::<Shared>::default();
        let of_connections = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.expect("the server listens");
                let shared = Arc::clone(&of_connections);
                // Either side may close a connection; the store reports what that means for its caller.
                tokio::spawn(async move { forward(client, server, &shared).await.ok() });
            }
        });
        Self { folder, shared }
    }

    fn url(&self, cluster: &Cluster) -> String {
        let user = cluster.user();
        format!("postgresql://{user}@/postgres?host={}", self.folder.path().display())
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    let is_socket = |name: &str| name.starts_with(".s.PGSQL.") && !name.ends_with(".lock");
    std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_socket))
        .expect("the server listens")
}

async fn forward(mut client: UnixStream, mut server: UnixStream, shared: &Shared) -> io::Result<()> {
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut conversation = Conversation::default();
    loop {
        tokio::select! {
            read = client.read_buf(&mut asked) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(message) = conversation.request(&mut asked, shared) {
                    server.write_all(&message).await?;
                }
            }
            read = server.read_buf(&mut answered) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(message) = take_message(&mut answered, 1) {
                    match conversation.answer(&message) {
                        Answer::Forwarded => client.write_all(&message).await?,
                        Answer::Withheld => {}
                        Answer::Lost => return Ok(()),
                    }
                }
            }
        }
    }
}

/// Unanswered requests of one connection.
#[derive(Default)]
struct Conversation {
    has_started: bool,
    /// The transaction under way was begun with READ ONLY.
    reads_only: bool,
    /// Requests that the server answers with one ReadyForQuery each, and has not yet.
    unanswered: usize,
    /// Number of these before the lost answer, and that answer itself.
    until_lost: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Forwarded,
    /// Part of the lost answer.
    Withheld,
    /// The end of the lost answer: the server has committed.
    Lost,
}

impl Conversation {
    /// The client's next whole message.
    fn request(&mut self, asked: &mut Vec<u8>, shared: &Shared) -> Option<Vec<u8>> {
        let type_bytes = usize::from(self.has_started);
        let message = take_message(asked, type_bytes)?;
        let is_startup = !std::mem::replace(&mut self.has_started, true);
        if is_startup || matches!(message[0], b'Q' | b'S') {
            self.unanswered += 1;
        }
        if is_startup || message[0] != b'Q' {
            return Some(message);
        }
        let statement = &message[5..];
        if statement.starts_with(b"BEGIN") {
            self.reads_only = statement.windows(9).any(|bytes| bytes == b"READ ONLY");
        }
        // The store does not wait for the answer to the COMMIT of a transaction that has only read.
        if statement == b"COMMIT\0" && !self.reads_only {
            shared.commits.fetch_add(1, Ordering::SeqCst);
            if shared.drops.swap(false, Ordering::SeqCst) {
                self.until_lost = Some(self.unanswered);
            }
        }
        Some(message)
    }

    fn answer(&mut self, message: &[u8]) -> Answer {
        let is_lost = self.until_lost == Some(1);
        if message[0] == b'Z' {
            self.unanswered -= 1;
            self.until_lost = self.until_lost.map(|answers| answers - 1);
        }
        match (is_lost, self.until_lost) {
            (true, Some(0)) => Answer::Lost,
            (true, _) => Answer::Withheld,
            (false, _) => Answer::Forwarded,
        }
    }
}

/// Takes a whole message of the protocol: its type (but for the first one, which has none), its length, its body.
fn take_message(bytes: &mut Vec<u8>, type_bytes: usize) -> Option<Vec<u8>> {
    let length = bytes.get(type_bytes..type_bytes + 4)?.try_into().expect("four bytes");
    let end = type_bytes + usize::try_from(u32::from_be_bytes(length)).expect("a length");
    (bytes.len() >= end).then(|| bytes.drain(..end).collect())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a length");
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// Messages between a read and a write may arrive in one packet.
pub(super) async fn the_proxy_drops_the_answer_to_the_writes_commit_and_not_to_the_reads(_: Arc<Cluster>) {
    let shared = Shared::default();
    shared.drops.store(true, Ordering::SeqCst);
    let mut conversation = Conversation { has_started: true, ..Conversation::default() };
    let mut packet = [
        message(b'Q', b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY\0"),
        message(b'Q', b"COMMIT\0"),
        message(b'Q', b"BEGIN\0"),
        message(b'Q', b"COMMIT\0"),
    ]
    .concat();
    // A message that is not whole yet waits for its rest.
    let rest = packet.split_off(packet.len() - 1);
    while conversation.request(&mut packet, &shared).is_some() {}
    assert!(shared.drops.load(Ordering::SeqCst));
    packet.extend(rest);
    while conversation.request(&mut packet, &shared).is_some() {}
    assert_eq!(shared.commits.load(Ordering::SeqCst), 1);
    let mut answers = [(); 4].map(|()| [message(b'C', b"DONE\0"), message(b'Z', b"I")]).concat().concat();
    let mut seen = Vec::new();
    while let Some(answer) = take_message(&mut answers, 1) {
        seen.push(conversation.answer(&answer));
    }
    let (lost, forwarded) = (seen.split_off(6), seen);
    assert!(forwarded.iter().all(|answer| *answer == Answer::Forwarded), "{forwarded:?}");
    assert_eq!(lost, [Answer::Withheld, Answer::Lost]);
}

pub(super) async fn a_commit_whose_answer_is_lost_is_not_tried_again(cluster: Arc<Cluster>) {
    let proxy = Proxy::start(&cluster);
    for cas in Cas::ALL {
        let schema = new_schema();
        let options = PostgresOptions { cas, ..options(&schema) };
        let store = PostgresStore::connect(&proxy.url(&cluster), ids(), &options).await.expect("it starts");
        let ask = approved(&store).await;
        let digest = store.digest(&ask).await.expect("nothing fails");
        let before = proxy.shared.commits.load(Ordering::SeqCst);
        proxy.shared.drops.store(true, Ordering::SeqCst);
        let deployer = countersign::service::InMemoryDeployer::default();
        let flow = flow("atomic-commit");
        let outcome = Driver::new(&flow, &store, &deployer)
            .expect("it is supported")
            .promote(ask.approval, &ask, digest)
            .await;
        assert!(!proxy.shared.drops.load(Ordering::SeqCst), "{cas}: no answer was dropped");
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{cas}: {outcome:?}");
        assert_eq!(proxy.shared.commits.load(Ordering::SeqCst) - before, 1, "{cas}: it was committed once");
        let events = store.audit(ask.approval).await.expect("nothing fails");
        let executed = events.iter().filter(|event| event.kind == AuditKind::Executed).count();
        assert_eq!(executed, 1, "{cas}");
    }
}

/// The outcome of the check's write is unknown then. The next one finds either row.
pub(super) async fn a_readiness_check_whose_answer_is_lost_does_not_condemn_the_database(
    cluster: Arc<Cluster>,
) {
    let proxy = Proxy::start(&cluster);
    let options = options(&new_schema());
    let store = PostgresStore::connect(&proxy.url(&cluster), ids(), &options).await.expect("it starts");
    for _ in 0..2 {
        proxy.shared.drops.store(true, Ordering::SeqCst);
        assert_eq!(store.is_ready().await, Err(StoreError::unknown("any cause")));
        assert_eq!(store.is_ready().await, Ok(()));
    }
}
