//! An HTTP client with control over single bytes: requests are held back at their last byte and released together.
//!
//! Over HTTP/1.1 every request has a connection of its own, which is accepted and warm before the release. Over HTTP/2 they
//! share one. A connection is closed with a reset, so that thousands of races do not exhaust the ports of this machine.

mod one_packet;
mod transport;

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::timeout,
};

pub use one_packet::is_spoken as speaks_http2;
pub use transport::Endpoint;
use transport::Transport;

use crate::clock::Clock;

/// A request, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// `POST /redeem`: what it is called in a report.
    pub line: String,
    authority: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Protocol of the requests of a race.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1, each on a connection of its own.
    #[default]
    Http1,
    /// HTTP/2, with the last frames of all of them in one write.
    Http2,
}

impl Wire {
    /// A request of this method.
    pub fn new(
        method: &str,
        path: &str,
        authority: &str,
        headers: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Self {
        let mut headers = headers.to_vec();
        let has_length = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if !has_length && (body.is_some() || matches!(method, "POST" | "PUT" | "PATCH")) {
            headers.push(("Content-Length".into(), body.map_or(0, <[u8]>::len).to_string()));
        }
        let (line, body) = (format!("{method} {path}"), body.unwrap_or_default().to_vec());
        Self { line, authority: authority.to_owned(), headers, body }
    }

    /// The bytes of HTTP/1.1.
    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} HTTP/1.1\r\nHost: {}\r\n", self.line, self.authority);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Answered(Answer),
    /// Not sent: the connection was refused.
    NotSent(String),
    /// Sent without a complete answer: timeout, reset, or the client hung up.
    Unknown(String),
}

/// A request that is over, with its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When its last byte was released.
    pub released_ns: u64,
    /// When its outcome was known.
    pub completed_ns: u64,
    /// Outcome.
    pub outcome: Outcome,
}

/// One request of a race.
#[derive(Clone, Debug)]
pub struct Runner {
    /// The request.
    pub wire: Wire,
    /// Delay of its release after the first runner.
    pub offset_ns: u64,
    /// The client closes the connection this long after the release, without reading the answer.
    pub hang_up: Option<Duration>,
}

impl Runner {
    /// A runner that is released with the first one and waits for its answer.
    pub fn new(wire: Wire) -> Self {
        Self { wire, offset_ns: 0, hang_up: None }
    }
}

/// The longest answer that is kept.
const MAX_ANSWER: usize = 4 << 20;

/// Sends one request, and waits for its answer.
pub async fn send(endpoint: &Endpoint, wire: &Wire, patience: Duration, clock: Clock) -> Sent {
    let runner = [Runner::new(wire.clone())];
    let mut sent = race(Protocol::Http1, endpoint, &runner, patience, clock).await;
    sent.pop().unwrap_or_else(|| unreachable!("a race of one has one result"))
}

/// Sends each request when the one before it has succeeded. The outcome is that of the last one that was sent.
pub(crate) async fn send_in_turn(
    endpoint: &Endpoint,
    wires: &[Wire],
    patience: Duration,
    clock: Clock,
) -> Sent {
    let released_ns = clock.now_ns();
    let nothing = Outcome::NotSent("there is no request".to_owned());
    let mut last = Sent { released_ns, completed_ns: released_ns, outcome: nothing };
    for (index, wire) in wires.iter().enumerate() {
        let sent = send(endpoint, wire, patience, clock).await;
        let begin = if index == 0 { sent.released_ns } else { last.released_ns };
        last = Sent { released_ns: begin, ..sent };
        if !matches!(&last.outcome, Outcome::Answered(answer) if answer.status < 400) {
            break;
        }
    }
    last
}

/// Releases the last bytes of all requests at their offsets, from one loop.
pub async fn race(
    protocol: Protocol,
    endpoint: &Endpoint,
    runners: &[Runner],
    patience: Duration,
    clock: Clock,
) -> Vec<Sent> {
    if protocol == Protocol::Http2 {
        return one_packet::race(endpoint, runners, patience, clock).await;
    }
    let mut held = Vec::with_capacity(runners.len());
    for runner in runners {
        let connected = timeout(patience, hold(endpoint, &runner.wire.bytes())).await;
        held.push(connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
    }
    let mut order: Vec<usize> = (0..runners.len()).collect();
    order.sort_by_key(|index| runners[*index].offset_ns);
    let start_ns = clock.now_ns();
    let mut released = vec![start_ns; runners.len()];
    for index in order {
        let runner = &runners[index];
        if runner.offset_ns > 0 {
            clock.spin_until(start_ns.saturating_add(runner.offset_ns));
        }
        if let Ok((transport, last)) = &held[index] {
            released[index] = clock.now_ns();
            match transport.tcp().try_write(last) {
                Ok(count) if count == last.len() => {}
                Ok(_) => held[index] = Err(io::ErrorKind::WriteZero.into()),
                Err(error) => held[index] = Err(error),
            }
        }
    }
    let mut tasks = Vec::with_capacity(runners.len());
    for ((runner, stream), released_ns) in runners.iter().zip(held).zip(released) {
        let head_only = runner.wire.line.starts_with("HEAD ");
        let hang_up = runner.hang_up;
        tasks.push(tokio::spawn(async move {
            let outcome = match (stream, hang_up) {
                (Err(error), _) => Outcome::NotSent(error.to_string()),
                (Ok((stream, _)), Some(after)) => {
                    tokio::time::sleep(after).await;
                    drop(stream);
                    Outcome::Unknown("the client hung up".into())
                }
                (Ok((stream, _)), None) => match timeout(patience, receive(stream, head_only)).await {
                    Ok(Ok(answer)) => Outcome::Answered(answer),
                    Ok(Err(error)) => Outcome::Unknown(error.to_string()),
                    Err(_) => Outcome::Unknown(format!("no answer within {} ms", patience.as_millis())),
                },
            };
            Sent { released_ns, completed_ns: clock.now_ns(), outcome }
        }));
    }
    all_sent(tasks, start_ns, clock).await
}

/// The results of the tasks, in their order. A task that panicked has an unknown outcome.
async fn all_sent(tasks: Vec<JoinHandle<Sent>>, start_ns: u64, clock: Clock) -> Vec<Sent> {
    let mut sent = Vec::with_capacity(tasks.len());
    for task in tasks {
        sent.push(task.await.unwrap_or_else(|error| Sent {
            released_ns: start_ns,
            completed_ns: clock.now_ns(),
            outcome: Outcome::Unknown(error.to_string()),
        }));
    }
    sent
}

/// Connects, and sends all but the last byte, which is returned as it goes over the wire.
async fn hold(endpoint: &Endpoint, bytes: &[u8]) -> io::Result<(Transport, Vec<u8>)> {
    let mut transport = endpoint.connect(Protocol::Http1).await?;
    let (last, all_but_last) = bytes.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    transport.write_all(all_but_last).await?;
    transport.flush().await?;
    let last = transport.sealed(&[*last]).await?;
    transport.tcp().writable().await?;
    Ok((transport, last))
}

async fn receive(mut stream: Transport, head_only: bool) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some((mut answer, length)) = head(&bytes)? {
            if (100..200).contains(&answer.status) && answer.status != 101 {
                bytes.drain(..length);
                continue;
            }
            let rest = bytes.split_off(length);
            if !head_only && answer.status != 204 && answer.status != 304 {
                answer.body = body(&mut stream, &answer, rest).await?;
            }
            return Ok(answer);
        }
        if more(&mut stream, &mut bytes).await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed before an answer",
            ));
        }
    }
}

async fn more(stream: &mut Transport, bytes: &mut Vec<u8>) -> io::Result<usize> {
    if bytes.len() > MAX_ANSWER {
        return Err(io::Error::other(format!("the answer is longer than {MAX_ANSWER} bytes")));
    }
    stream.read_buf(bytes).await
}

/// The head of an answer and its length, once it is complete.
fn head(bytes: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let headers = response
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    Ok(Some((Answer { status: response.code.unwrap_or(0), headers, body: Vec::new() }, length)))
}

async fn body(stream: &mut Transport, answer: &Answer, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let header = |name: &str| {
        answer
            .headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    if header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
        return chunks(stream, bytes).await;
    }
    let length: Option<usize> = header("content-length").and_then(|value| value.trim().parse().ok());
    while length.is_none_or(|length| bytes.len() < length) {
        if more(stream, &mut bytes).await? == 0 {
            if length.is_some() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off"));
            }
            break;
        }
    }
    bytes.truncate(length.unwrap_or(bytes.len()));
    Ok(bytes)
}

async fn chunks(stream: &mut Transport, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let parsed = httparse::parse_chunk_size(&bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the size of a chunk is malformed"))?;
        if let httparse::Status::Complete((start, size)) = parsed {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size == 0 {
                return Ok(body);
            }
            let end = start.saturating_add(size);
            if end > MAX_ANSWER {
                return Err(io::Error::other(format!("the answer is longer than {MAX_ANSWER} bytes")));
            }
            if bytes.len() >= end + 2 {
                body.extend_from_slice(&bytes[start..end]);
                bytes.drain(..end + 2);
                continue;
            }
        }
        if more(stream, &mut bytes).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off"));
        }
    }
}
