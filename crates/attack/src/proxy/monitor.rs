//! The proxy's own connection to the database: which processes wait for which, and what the catalog says.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    scram::Exchange,
    statement::{SqlError, StatementResult},
    upstream::{Transport, Upstream},
    wire::{self, Fields},
};

const PROTOCOL_3: u32 = 3 << 16;
/// The connection's application name: tells the proxy's queries from the service's.
const APPLICATION: &str = "countersign";

/// A connection that sends simple queries.
pub struct Monitor {
    transport: Box<dyn Transport>,
    received: Vec<u8>,
}

/// Why the proxy's own connection does not work. Never contains a password.
#[derive(Debug)]
pub enum MonitorError {
    /// The connection failed.
    Io {
        /// The database.
        upstream: String,
        /// Why.
        error: io::Error,
    },
    /// The database refused.
    Sql(SqlError),
    /// The database requires an unsupported authentication.
    Authentication(&'static str),
    /// The database requires a password and the URL has none.
    NoPassword,
    /// The database did not prove that it knows the password, or sent what the protocol does not allow.
    Protocol(&'static str),
}

impl fmt::Display for MonitorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { upstream, error } => write!(f, "the database at {upstream}: {error}"),
            Self::Sql(error) => write!(f, "the database answered {error}"),
            Self::Authentication(kind) => {
                write!(f, "the database asks for {kind}, which is not supported (use scram-sha-256)")
            }
            Self::NoPassword => {
                f.write_str("the database asks for a password (add it to the upstream URL: USER:PASSWORD@)")
            }
            Self::Protocol(what) => write!(f, "unexpected answer of the database: {what}"),
        }
    }
}

impl std::error::Error for MonitorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Sql(_) | Self::Authentication(_) | Self::NoPassword | Self::Protocol(_) => None,
        }
    }
}

/// Space for one read.
const READ_BYTES: usize = 4 << 10;

/// What a simple query did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// Rows that its statements changed; `None` if none of them is one that changes rows.
    pub(crate) changed: Option<u64>,
}

/// A message that was received.
struct Received {
    kind: u8,
    body: Vec<u8>,
}

impl Monitor {
    pub(crate) async fn connect(upstream: &Upstream) -> Result<Self, MonitorError> {
        let failed = |error| MonitorError::Io { upstream: upstream.to_string(), error };
        let transport = upstream.connect().await.map_err(failed)?;
        let mut monitor = Self { transport, received: Vec::new() };
        let mut body = PROTOCOL_3.to_be_bytes().to_vec();
        let parameters = [
            ("user", upstream.user.as_str()),
            ("database", &upstream.database),
            ("application_name", APPLICATION),
        ];
        for (key, value) in parameters {
            body.extend([key.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
        }
        body.push(0);
        let mut message = Vec::new();
        wire::write_untyped(&mut message, &body);
        monitor.transport.write_all(&message).await.map_err(failed)?;
        monitor.authenticate(upstream.password.as_deref()).await?;
        loop {
            let message = monitor.receive().await?;
            match message.kind {
                b'Z' => return Ok(monitor),
                b'E' => return Err(sql_error(&message.body)),
                _ => {}
            }
        }
    }

    async fn authenticate(&mut self, password: Option<&str>) -> Result<(), MonitorError> {
        let mut nonce = [0; 18];
        let random = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut nonce));
        random.map_err(|_| MonitorError::Protocol("no random numbers for SCRAM in /dev/urandom"))?;
        let exchange = Exchange::new(nonce);
        let mut expected = None;
        let mut is_proved = true;
        loop {
            let message = self.receive().await?;
            if message.kind == b'E' {
                return Err(sql_error(&message.body));
            }
            let mut fields = Fields(&message.body);
            let text = |fields: Fields<'_>| String::from_utf8_lossy(fields.0).into_owned();
            match (message.kind, fields.u32()) {
                (b'R', Some(0)) if is_proved => return Ok(()),
                (b'R', Some(0)) => return Err(MonitorError::Protocol("no proof that it knows the password")),
                (b'R', Some(3)) => {
                    let password = password.ok_or(MonitorError::NoPassword)?;
                    self.send(b'p', &[password.as_bytes(), &[0]].concat()).await?;
                }
                (b'R', Some(5)) => return Err(MonitorError::Authentication("md5")),
                (b'R', Some(10)) => {
                    if password.is_none() {
                        return Err(MonitorError::NoPassword);
                    }
                    is_proved = false;
                    let first = exchange.first_message();
                    let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
                    self.send(b'p', &[b"SCRAM-SHA-256\0", &length[..], first.as_bytes()].concat()).await?;
                }
                (b'R', Some(11)) => {
                    let answer = exchange
                        .answer(&text(fields), password.unwrap_or_default())
                        .ok_or(MonitorError::Protocol("a malformed SCRAM challenge"))?;
                    self.send(b'p', answer.message.as_bytes()).await?;
                    expected = Some(answer.expected);
                }
                (b'R', Some(12)) => {
                    if expected.as_deref() != Some(text(fields).as_str()) {
                        return Err(MonitorError::Protocol("the server's SCRAM signature is wrong"));
                    }
                    is_proved = true;
                }
                (b'R', _) => return Err(MonitorError::Authentication("GSSAPI, SSPI or another method")),
                _ => {}
            }
        }
    }

    /// Sends one simple query and returns its rows.
    ///
    /// # Errors
    /// The database refuses the query, or the connection ended.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, MonitorError> {
        self.execute(sql).await.map(|done| done.rows)
    }

    /// As [`query`](Self::query), with the number of rows that were changed.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<Done, MonitorError> {
        self.send(b'Q', &[sql.as_bytes(), &[0]].concat()).await?;
        let mut done = Done::default();
        let mut failed = None;
        loop {
            let message = self.receive().await?;
            match message.kind {
                b'D' => {
                    done.rows.push(row(&message.body).ok_or(MonitorError::Protocol("a malformed row"))?);
                }
                b'C' => {
                    let tag = Fields(&message.body).string().unwrap_or_default();
                    if let Some(rows) = StatementResult::of(tag).changed() {
                        *done.changed.get_or_insert(0) += rows;
                    }
                }
                b'E' => failed = Some(sql_error(&message.body)),
                b'Z' => return failed.map_or(Ok(done), Err),
                _ => {}
            }
        }
    }

    /// The processes whose locks a process waits for.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn blocking(&mut self, backend: i32) -> Result<Vec<i32>, MonitorError> {
        let rows = self.query(&format!("SELECT pg_blocking_pids({backend})")).await?;
        let pids = rows.first().and_then(|row| row.first()).and_then(Option::as_deref).unwrap_or_default();
        let pids = pids.trim_matches(['{', '}']).split(',').filter(|pid| !pid.is_empty());
        pids.map(|pid| pid.parse().map_err(|_| MonitorError::Protocol("pg_blocking_pids returned no number")))
            .collect()
    }

    /// True if any of these processes is running.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn any_alive(&mut self, backends: &[i32]) -> Result<bool, MonitorError> {
        if backends.is_empty() {
            return Ok(false);
        }
        let list: Vec<_> = backends.iter().map(ToString::to_string).collect();
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE pid IN ({})", list.join(", "));
        Ok(!self.query(&sql).await?.is_empty())
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), MonitorError> {
        let mut message = Vec::new();
        wire::write_message(&mut message, kind, body);
        self.transport.write_all(&message).await.map_err(lost)
    }

    async fn receive(&mut self) -> Result<Received, MonitorError> {
        loop {
            let complete = wire::first_message(&self.received).map_err(lost)?;
            if let Some(message) = complete {
                let received = Received { kind: message.kind, body: message.body.to_vec() };
                let len = message.len;
                self.received.drain(..len);
                return Ok(received);
            }
            self.received.reserve(READ_BYTES);
            if self.transport.read_buf(&mut self.received).await.map_err(lost)? == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

fn lost(error: io::Error) -> MonitorError {
    MonitorError::Io { upstream: "the upstream URL".to_owned(), error }
}

fn sql_error(body: &[u8]) -> MonitorError {
    let (code, message) = wire::error_fields(body);
    MonitorError::Sql(SqlError { code, message })
}

fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let mut fields = Fields(body);
    let columns = fields.u16()?;
    (0..columns)
        .map(|_| match usize::try_from(fields.i32()?) {
            Ok(len) => Some(Some(String::from_utf8_lossy(fields.take(len)?).into_owned())),
            Err(_) => Some(None),
        })
        .collect()
}
