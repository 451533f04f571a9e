//! The proxy between a service and its PostgreSQL: relays every byte, and holds statements until they are released.
//!
//! It listens on loopback only and refuses encryption on the service's side; upstream it connects to a TCP port or a Unix
//! socket. Authentication is relayed, so that the service uses its own user and password. The unit that is held is
//! everything up to a Sync (or a Flush that waits for a result), or one simple query. Prepared statements, pipelining, COPY,
//! LISTEN and cancel requests pass through.

mod connection;
mod decode;
mod monitor;
mod scram;
mod statement;
mod tls;
mod upstream;
mod wire;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::AbortHandle,
};

pub(crate) use monitor::Done;
pub use monitor::{Monitor, MonitorError};
pub use statement::{Answer, Parameter, SqlError, Statement, StatementResult, TransactionStatus};
pub use upstream::{InvalidUpstream, Upstream};

/// The treatment of units that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Relayed.
    Open,
    /// Relayed and reported.
    Record,
    /// Reported, and relayed on release; answers are reported, and relayed on delivery.
    Hold,
}

/// Reports of a connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// A unit waits to be released, or was relayed (when recording).
    Arrived {
        connection: u64,
        statements: Vec<Statement>,
    },
    /// The answer to the oldest unreported unit of the connection; it waits to be delivered, or was relayed.
    Answered {
        connection: u64,
        answer: Answer,
    },
    Closed {
        connection: u64,
    },
}

/// Orders to a connection.
#[derive(Clone, Copy, Debug)]
enum Command {
    /// Relay the held unit.
    Release,
    /// Relay the held answer.
    Deliver,
    /// Relay all that is held.
    Open,
    /// End both sides.
    Cut,
}

/// The part of a connection that the proxy keeps.
struct Entry {
    commands: UnboundedSender<Command>,
    backend: Option<i32>,
}

struct Shared {
    upstream: Upstream,
    mode: Mutex<Mode>,
    events: UnboundedSender<Event>,
    entries: Mutex<BTreeMap<u64, Entry>>,
    next: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn mode(&self) -> Mode {
        *lock(&self.mode)
    }

    /// Reports an event, if anything listens.
    fn report(&self, event: Event) {
        if self.mode() != Mode::Open {
            // The receiver lives as long as the proxy.
            self.events.send(event).ok();
        }
    }
}

/// A statement that was recorded while the proxy was open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The proxy's number of the connection.
    pub connection: u64,
    /// The statements; several where the client pipelines.
    pub statements: Vec<Statement>,
    /// The database's answer; `None` if it had not arrived.
    pub answer: Option<Answer>,
}

/// A proxy that runs; dropping it ends its connections.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    events: UnboundedReceiver<Event>,
    monitor: Option<Monitor>,
    accept: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1. Needs a tokio runtime.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn start(upstream: Upstream) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, events) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            upstream,
            mode: Mutex::new(Mode::Open),
            events: sender,
            entries: Mutex::new(BTreeMap::new()),
            next: AtomicU64::new(1),
        });
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, address, events, monitor: None, accept })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The database's URL for the service: upstream's, with the proxy's address. It contains upstream's password.
    pub fn url(&self) -> String {
        self.shared.upstream.url_at(self.address)
    }

    /// The proxy's own connection to the database, which it makes when first asked.
    ///
    /// # Errors
    /// The database cannot be reached, or refuses the user of the upstream URL.
    pub async fn monitor(&mut self) -> Result<&mut Monitor, MonitorError> {
        let monitor = match self.monitor.take() {
            Some(monitor) => monitor,
            None => Monitor::connect(&self.shared.upstream).await?,
        };
        Ok(self.monitor.insert(monitor))
    }

    /// Starts to record the statements that pass.
    pub fn record(&mut self) {
        self.set_mode(Mode::Record);
        while self.events.try_recv().is_ok() {}
    }

    /// Ends the recording and returns it, in the order of arrival.
    pub fn take_recording(&mut self) -> Vec<Recorded> {
        let mut recorded: Vec<Recorded> = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Arrived { connection, statements } => {
                    recorded.push(Recorded { connection, statements, answer: None });
                }
                Event::Answered { connection, answer } => {
                    let unanswered = recorded
                        .iter_mut()
                        .find(|entry| entry.connection == connection && entry.answer.is_none());
                    if let Some(entry) = unanswered {
                        entry.answer = Some(answer);
                    }
                }
                Event::Closed { .. } => {}
            }
        }
        self.set_mode(Mode::Open);
        recorded
    }

    /// Holds every unit that arrives from now on.
    pub(crate) fn hold(&mut self) {
        while self.events.try_recv().is_ok() {}
        self.set_mode(Mode::Hold);
    }

    /// Relays all that is held, and everything from now on.
    pub(crate) fn open(&mut self) {
        self.set_mode(Mode::Open);
        for entry in lock(&self.shared.entries).values() {
            entry.commands.send(Command::Open).ok();
        }
        while self.events.try_recv().is_ok() {}
    }

    pub(crate) async fn next_event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    pub(crate) fn release(&self, connection: u64) {
        self.tell(connection, Command::Release);
    }

    pub(crate) fn deliver(&self, connection: u64) {
        self.tell(connection, Command::Deliver);
    }

    /// Ends both sides of a connection.
    pub(crate) fn cut(&self, connection: u64) {
        self.tell(connection, Command::Cut);
    }

    /// Ends both sides of every connection.
    pub(crate) fn cut_all(&self) {
        for entry in lock(&self.shared.entries).values() {
            entry.commands.send(Command::Cut).ok();
        }
    }

    /// The process in the database that serves a connection.
    pub(crate) fn backend(&self, connection: u64) -> Option<i32> {
        lock(&self.shared.entries).get(&connection)?.backend
    }

    /// The processes in the database that serve the connections.
    pub(crate) fn backends(&self) -> Vec<i32> {
        lock(&self.shared.entries).values().filter_map(|entry| entry.backend).collect()
    }

    fn set_mode(&self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
    }

    fn tell(&self, connection: u64, command: Command) {
        if let Some(entry) = lock(&self.shared.entries).get(&connection) {
            // A connection that has ended has reported so.
            entry.commands.send(command).ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
        self.cut_all();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // A failure to accept concerns the connection that was to come, not the listener.
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        stream.set_nodelay(true).ok();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let id = shared.next.fetch_add(1, Ordering::Relaxed);
            let (commands, received) = mpsc::unbounded_channel();
            lock(&shared.entries).insert(id, Entry { commands, backend: None });
            // The client sees that its connection ended; there is nothing to add.
            connection::serve(id, stream, received, &shared).await.ok();
            lock(&shared.entries).remove(&id);
            shared.report(Event::Closed { connection: id });
        });
    }
}
