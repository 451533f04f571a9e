//! Races over HTTP/2: the last frames of all requests leave in one write, on one connection.
//!
//! Everything but the last byte of each request's body has reached the service before. A request without a body leaves
//! whole: a service may begin with it when it has the head. Where the service allows fewer concurrent streams than there are
//! requests, the rest goes through more connections, one write each.

use std::{
    io::{self, Write as _},
    os::fd::AsFd as _,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason, SendStream,
    client::{Connection, ResponseFuture, SendRequest},
};
use tokio::time::timeout;

use super::{
    Answer, Endpoint, MAX_ANSWER, Outcome, Protocol, Runner, Sent, Wire, all_sent,
    transport::{Cork, Transport},
};
use crate::clock::Clock;

/// True if the service answers the preface of HTTP/2, without an upgrade; with encryption, if it agrees to it by ALPN.
pub async fn is_spoken(endpoint: &Endpoint, patience: Duration) -> bool {
    timeout(patience, Held::connect(endpoint)).await.is_ok_and(|connected| connected.is_ok())
}

/// As [`race`](super::race), over HTTP/2.
pub(super) async fn race(
    endpoint: &Endpoint,
    runners: &[Runner],
    patience: Duration,
    clock: Clock,
) -> Vec<Sent> {
    let mut connections = Vec::new();
    let mut held = 0;
    let failure = loop {
        match timeout(patience, Held::open(endpoint, &runners[held..])).await {
            Ok(Ok(connection)) => {
                held += connection.requests.len();
                connections.push(connection);
                if held == runners.len() {
                    break None;
                }
            }
            Ok(Err(error)) => break Some(error.to_string()),
            Err(_) => break Some(format!("not ready within {} ms", patience.as_millis())),
        }
    };
    if let Some(error) = failure {
        let now_ns = clock.now_ns();
        let outcome = Outcome::NotSent(error);
        return vec![Sent { released_ns: now_ns, completed_ns: now_ns, outcome }; runners.len()];
    }
    release(connections, runners, patience, clock).await
}

async fn release(
    mut connections: Vec<Held>,
    runners: &[Runner],
    patience: Duration,
    clock: Clock,
) -> Vec<Sent> {
    let mut offsets: Vec<u64> = runners.iter().map(|runner| runner.offset_ns).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let start_ns = clock.now_ns();
    let mut released = vec![start_ns; runners.len()];
    for offset_ns in offsets {
        let mut first = 0;
        let mut packets = Vec::new();
        for connection in &mut connections {
            let of_connection = &runners[first..first + connection.requests.len()];
            let due: Vec<usize> = (0..of_connection.len())
                .filter(|index| of_connection[*index].offset_ns == offset_ns)
                .collect();
            packets.push((connection.last_frames(&due).await, due));
            first += connection.requests.len();
        }
        if offset_ns > 0 {
            clock.spin_until(start_ns.saturating_add(offset_ns));
        }
        let mut first = 0;
        for (connection, (packet, due)) in connections.iter_mut().zip(packets) {
            let now_ns = clock.now_ns();
            due.iter().for_each(|index| released[first + index] = now_ns);
            first += connection.requests.len();
            let failed = match packet.map(|packet| connection.beside.write_all(&packet)) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => Outcome::Unknown(error.to_string()),
                Err(error) => Outcome::NotSent(error.to_string()),
            };
            due.into_iter().for_each(|index| connection.requests[index].failed = Some(failed.clone()));
        }
    }
    let mut tasks = Vec::with_capacity(runners.len());
    let mut order = runners.iter().zip(released);
    for Held { connection, requests, .. } in connections {
        tokio::spawn(connection);
        for (request, (runner, released_ns)) in requests.into_iter().zip(&mut order) {
            let hang_up = runner.hang_up;
            tasks.push(tokio::spawn(async move {
                let is_early = request.is_early;
                let outcome = ended(request, hang_up, patience).await;
                let completed_ns = if is_early { released_ns } else { clock.now_ns() };
                Sent { released_ns, completed_ns, outcome }
            }));
        }
    }
    all_sent(tasks, start_ns, clock).await
}

async fn ended(request: Request, hang_up: Option<Duration>, patience: Duration) -> Outcome {
    let response = match (request.failed, request.response) {
        (None, Some(response)) => response,
        (failed, _) => return failed.unwrap_or_else(|| Outcome::NotSent("it was not released".into())),
    };
    if let Some(after) = hang_up {
        tokio::time::sleep(after).await;
        // Resets the stream.
        drop((response, request.rest));
        return Outcome::Unknown("the client hung up".into());
    }
    match timeout(patience, answer(response)).await {
        Ok(Ok(outcome)) => outcome,
        // The service says that it has not begun with it.
        Ok(Err(error)) if error.reason() == Some(Reason::REFUSED_STREAM) => {
            Outcome::NotSent(error.to_string())
        }
        Ok(Err(error)) => Outcome::Unknown(error.to_string()),
        Err(_) => Outcome::Unknown(format!("no answer within {} ms", patience.as_millis())),
    }
}

async fn answer(response: ResponseFuture) -> Result<Outcome, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
        if body.len() > MAX_ANSWER {
            return Ok(Outcome::Unknown(format!("the answer is longer than {MAX_ANSWER} bytes")));
        }
    }
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = head.headers.iter().map(header).collect();
    Ok(Outcome::Answered(Answer { status: head.status.as_u16(), headers, body }))
}

/// A connection with requests of which the last byte is missing.
struct Held {
    connection: Connection<Transport>,
    client: SendRequest<Bytes>,
    requests: Vec<Request>,
    pings: PingPong,
    cork: Cork,
    /// The stream of the connection, to write to while that is corked.
    beside: std::net::TcpStream,
}

#[derive(Default)]
struct Request {
    /// The whole request, which has no body.
    head: Option<http::Request<()>>,
    /// The last byte of the body.
    rest: Option<(SendStream<Bytes>, Bytes)>,
    response: Option<ResponseFuture>,
    /// Its last frame was not sent, or may not have been.
    failed: Option<Outcome>,
    /// Answered before its last frame was sent.
    is_early: bool,
}

impl Held {
    /// Connects, and waits for the settings of the service.
    async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        let transport = endpoint.connect(Protocol::Http2).await?;
        let beside = std::net::TcpStream::from(transport.tcp().as_fd().try_clone_to_owned()?);
        let cork = transport.cork();
        let (client, mut connection) = h2::client::handshake(transport).await.map_err(io::Error::other)?;
        let pings = connection.ping_pong().ok_or_else(|| io::Error::other("a connection without pings"))?;
        let mut held = Self { connection, client, requests: Vec::new(), pings, cork, beside };
        held.round_trip().await?;
        Ok(held)
    }

    /// As many of the requests as the service allows, up to their last byte.
    async fn open(endpoint: &Endpoint, runners: &[Runner]) -> io::Result<Self> {
        let mut held = Self::connect(endpoint).await?;
        let most = held.connection.max_concurrent_send_streams().max(1);
        for runner in runners.iter().take(most) {
            let (head, body) = request(endpoint, &runner.wire)?;
            if body.is_empty() {
                held.requests.push(Request { head: Some(head), ..Request::default() });
                continue;
            }
            let ready = std::future::poll_fn(|context| held.client.poll_ready(context));
            drive(&mut held.connection, ready).await?.map_err(io::Error::other)?;
            let (response, mut stream) = held.client.send_request(head, false).map_err(io::Error::other)?;
            let mut body = Bytes::from(body);
            let last = body.split_off(body.len() - 1);
            if !body.is_empty() {
                stream.send_data(body, false).map_err(io::Error::other)?;
            }
            let (rest, response) = (Some((stream, last)), Some(response));
            held.requests.push(Request { rest, response, ..Request::default() });
        }
        held.round_trip().await?;
        Ok(held)
    }

    /// Afterwards the service has received what was sent before.
    async fn round_trip(&mut self) -> io::Result<()> {
        // A ping overtakes what is not written yet.
        drive(&mut self.connection, std::future::ready(())).await?;
        drive(&mut self.connection, self.pings.ping(Ping::opaque())).await?.map_err(io::Error::other)?;
        Ok(())
    }

    /// The last frames of these requests, which are not written yet.
    async fn last_frames(&mut self, due: &[usize]) -> io::Result<Vec<u8>> {
        self.cork.close();
        let mut queued = 0;
        for index in due {
            let request = &mut self.requests[*index];
            if let Some(head) = request.head.take() {
                match self.client.send_request(head, true) {
                    Ok((response, _)) => request.response = Some(response),
                    Err(error) => request.failed = Some(Outcome::NotSent(error.to_string())),
                }
            } else if let Some((stream, last)) = &mut request.rest {
                // The stream is closed if the service has answered without waiting for the rest.
                request.is_early = stream.send_data(std::mem::take(last), true).is_err();
            }
            queued += usize::from(request.failed.is_none() && !request.is_early);
        }
        let driven = drive(&mut self.connection, std::future::ready(())).await;
        let kept = self.cork.open();
        driven?;
        let held_back = queued.saturating_sub(last_frames(&kept.plain));
        if held_back > 0 {
            // They would follow on their own, when the service asks for more.
            let message =
                format!("the flow control of the service holds {held_back} of {queued} requests back");
            return Err(io::Error::other(message));
        }
        Ok(kept.sealed)
    }
}

/// Lets the connection work until the future is ready.
async fn drive<T>(connection: &mut Connection<Transport>, future: impl Future<Output = T>) -> io::Result<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(context) {
            let error = ended.err().map_or_else(|| "it was closed".to_owned(), |error| error.to_string());
            return Poll::Ready(Err(io::Error::other(error)));
        }
        future.as_mut().poll(context).map(Ok)
    })
    .await
}

/// Number of last frames of a request in these bytes.
fn last_frames(mut bytes: &[u8]) -> usize {
    const HEAD: usize = 9;
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    let mut count = 0;
    while let [high, middle, low, kind, flags, ..] = bytes {
        count += usize::from(matches!(*kind, DATA | HEADERS) && flags & END_STREAM != 0);
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        bytes = bytes.get(HEAD + length..).unwrap_or_default();
    }
    count
}

/// The request in the words of HTTP/2, and its body.
fn request(endpoint: &Endpoint, wire: &Wire) -> io::Result<(http::Request<()>, Vec<u8>)> {
    /// They speak of the connection, which HTTP/2 does by frames.
    const OF_THE_CONNECTION: [&str; 6] =
        ["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    let (method, path) = wire.line.split_once(' ').unwrap_or(("GET", "/"));
    let uri = format!("{}://{}{path}", endpoint.scheme(), wire.authority);
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in &wire.headers {
        let name = name.to_ascii_lowercase();
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            request = request.header(name, value);
        }
    }
    let request = request.body(()).map_err(io::Error::other)?;
    Ok((request, wire.body.clone()))
}
