//! Races over HTTP/2 against a server of hyper, behind a front that notes what arrives on the wire and in which reads. With
//! encryption the front ends it: what it reads together was encrypted together.

mod encryption;

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign_attack::{
    Clock,
    client::{self, Endpoint, Outcome, Protocol, Runner, Wire},
};
use hyper::{
    Response, StatusCode,
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

const CALLERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);

/// For each connection and read: how many requests it completed.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Vec<usize>>>>);

impl Seen {
    /// Whether all requests were completed by one read of one connection.
    fn in_one_packet(&self) -> Result<(), String> {
        let seen = self.0.lock().unwrap();
        let completing: Vec<&usize> = seen.iter().flatten().filter(|count| **count > 0).collect();
        match completing.as_slice() {
            [all] if **all == CALLERS => Ok(()),
            [] => Err("no request was complete".into()),
            several => Err(format!("{} connections, completing reads: {several:?}", seen.len())),
        }
    }
}

/// A server that allows this many streams on a connection and answers 200 to the first request and 409 to the others, and
/// the front before it.
async fn server(streams: u32) -> (SocketAddr, Seen) {
    server_behind(streams, None).await
}

async fn server_behind(streams: u32, tls: Option<TlsAcceptor>) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = listener.local_addr().unwrap();
    let used = Arc::new(Mutex::new(false));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let used = Arc::clone(&used);
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let used = Arc::clone(&used);
                async move {
                    let is_early = request.uri().path() == "/early";
                    let length = request
                        .headers()
                        .get("content-length")
                        .map_or(0, |value| value.to_str().unwrap().parse::<usize>().unwrap());
                    if !is_early {
                        let mut body = request.into_body();
                        let mut received = 0;
                        while let Some(frame) =
                            std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
                        {
                            received += frame.unwrap().into_data().map_or(0, |data| data.len());
                        }
                        assert_eq!(received, length);
                    }
                    let mut used = used.lock().unwrap();
                    let status = if *used { StatusCode::CONFLICT } else { StatusCode::OK };
                    *used = true;
                    let response = Response::builder().status(status).header("x-answer", "1");
                    Ok::<_, Infallible>(response.body("said".to_owned()).unwrap())
                }
            });
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (front.local_addr().unwrap(), Seen::default());
    let shared = seen.clone();
    tokio::spawn(async move {
        loop {
            let (client, _) = front.accept().await.unwrap();
            let connection = {
                let mut seen = shared.0.lock().unwrap();
                seen.push(Vec::new());
                seen.len() - 1
            };
            let (mut from_server, to_server) = TcpStream::connect(behind).await.unwrap().into_split();
            let (tls, shared) = (tls.clone(), shared.clone());
            tokio::spawn(async move {
                let client: Box<dyn Stream> = match tls {
                    Some(tls) => match tls.accept(client).await {
                        Ok(client) => Box::new(client),
                        Err(_) => return,
                    },
                    None => Box::new(client),
                };
                let (from_client, mut to_client) = tokio::io::split(client);
                tokio::spawn(pass(from_client, to_server, connection, shared));
                tokio::io::copy(&mut from_server, &mut to_client).await.ok();
            });
        }
    });
    (address, seen)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Passes on what the client sends, and counts the frames that end a request.
async fn pass(
    mut from: ReadHalf<Box<dyn Stream>>,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    connection: usize,
    seen: Seen,
) {
    const PREFACE: usize = 24;
    const HEAD: usize = 9;
    let (mut bytes, mut begin) = (Vec::new(), PREFACE);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..count]);
        let mut complete = 0;
        while let Some([high, middle, low, kind, flags]) = bytes.get(begin..begin + 5) {
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            if bytes.len() < begin + HEAD + length {
                break;
            }
            // HEADERS or DATA, with END_STREAM.
            complete += usize::from(*kind < 2 && flags & 1 == 1);
            begin += HEAD + length;
        }
        seen.0.lock().unwrap()[connection].push(complete);
        to.write_all(&buffer[..count]).await.unwrap();
    }
}

fn runners(address: SocketAddr) -> Vec<Runner> {
    requests(address, "/redeem", Some(b"order"))
}

fn requests(address: SocketAddr, path: &str, body: Option<&[u8]>) -> Vec<Runner> {
    let wire = Wire::new("POST", path, &address.to_string(), &[], body);
    vec![Runner::new(wire); CALLERS]
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn statuses(sent: &[client::Sent]) -> Vec<u16> {
    let mut statuses: Vec<u16> = sent
        .iter()
        .map(|sent| match &sent.outcome {
            Outcome::Answered(answer) => {
                assert_eq!(answer.body, b"said");
                assert!(answer.headers.contains(&("x-answer".into(), "1".into())));
                answer.status
            }
            other => panic!("{other:?}"),
        })
        .collect();
    statuses.sort_unstable();
    statuses
}

#[test]
fn the_last_frames_of_a_race_leave_in_one_packet() {
    run(async {
        for body in [Some(&b"order"[..]), Some(b"x"), None] {
            let (address, seen) = server(100).await;
            let runners = requests(address, "/redeem", body);
            let sent =
                client::race(Protocol::Http2, &address.into(), &runners, PATIENCE, Clock::start()).await;
            let mut expected = vec![409; CALLERS];
            expected[0] = 200;
            assert_eq!(statuses(&sent), expected);
            seen.in_one_packet().unwrap_or_else(|error| panic!("{body:?}: {error}"));
            let releases: Vec<u64> = sent.iter().map(|sent| sent.released_ns).collect();
            assert!(releases.iter().all(|release| *release == releases[0]), "{releases:?}");
        }
    });
}

#[test]
fn an_encrypted_race_leaves_in_one_packet() {
    let folder = tempfile::tempdir().unwrap();
    encryption::certificates(folder.path());
    run(async {
        for (offered, body) in [("h2", Some(&b"order"[..])), ("h2", None), ("http/1.1", None)] {
            let tls = encryption::acceptor(folder.path(), "server", &[offered]);
            let (address, seen) = server_behind(100, Some(tls)).await;
            let ca = folder.path().join("authority.crt");
            let endpoint = Endpoint::encrypted(address, "127.0.0.1", Some(&ca)).unwrap();
            assert_eq!(client::speaks_http2(&endpoint, PATIENCE).await, offered == "h2");
            if offered == "h2" {
                let runners = requests(address, "/redeem", body);
                let sent = client::race(Protocol::Http2, &endpoint, &runners, PATIENCE, Clock::start()).await;
                assert_eq!(statuses(&sent).iter().filter(|status| **status == 409).count(), CALLERS - 1);
                seen.in_one_packet().unwrap_or_else(|error| panic!("{body:?}: {error}"));
            }
        }
    });
}

/// What has happened before the release counts, and does not count as a race.
#[test]
fn an_answer_before_the_last_frame_is_kept() {
    run(async {
        let (address, _) = server(100).await;
        let runners = requests(address, "/early", Some(b"order"));
        let sent = client::race(Protocol::Http2, &address.into(), &runners, PATIENCE, Clock::start()).await;
        let answered = |sent: &&client::Sent| matches!(sent.outcome, Outcome::Answered(_));
        assert_eq!(sent.iter().filter(answered).count(), CALLERS, "{sent:?}");
    });
}

/// The broken variant: each request on a connection of its own.
#[test]
fn a_connection_for_each_request_is_noticed() {
    run(async {
        let (address, seen) = server(100).await;
        let sends = runners(address).into_iter().map(|runner| {
            tokio::spawn(async move {
                client::race(Protocol::Http2, &address.into(), &[runner], PATIENCE, Clock::start()).await
            })
        });
        for send in sends.collect::<Vec<_>>() {
            assert_eq!(send.await.unwrap().len(), 1);
        }
        let noticed = seen.in_one_packet().unwrap_err();
        assert!(noticed.starts_with(&format!("{CALLERS} connections")), "{noticed}");
    });
}

#[test]
fn more_requests_than_a_connection_allows_go_through_several() {
    run(async {
        let (address, seen) = server(5).await;
        let sent =
            client::race(Protocol::Http2, &address.into(), &runners(address), PATIENCE, Clock::start()).await;
        assert_eq!(statuses(&sent).len(), CALLERS);
        let completed: Vec<usize> =
            seen.0.lock().unwrap().iter().map(|reads| *reads.iter().max().unwrap()).collect();
        assert_eq!(completed, [5, 5, 5, 1]);
    });
}

#[test]
fn offsets_are_kept_over_http2() {
    run(async {
        let (address, _) = server(100).await;
        let mut runners = runners(address);
        runners.truncate(2);
        runners[0].offset_ns = 2_000_000;
        let sent = client::race(Protocol::Http2, &address.into(), &runners, PATIENCE, Clock::start()).await;
        assert!(sent[0].released_ns >= sent[1].released_ns + 1_900_000, "{sent:?}");
        assert_eq!(statuses(&sent), [200, 409]);
    });
}

#[test]
fn a_service_without_http2_is_recognized_and_a_hang_up_is_unknown() {
    run(async {
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let without = plain.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = plain.accept().await.unwrap();
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.ok();
            }
        });
        assert!(!client::speaks_http2(&without.into(), PATIENCE).await);
        let sent =
            client::race(Protocol::Http2, &without.into(), &runners(without), PATIENCE, Clock::start()).await;
        assert!(sent.iter().all(|sent| matches!(sent.outcome, Outcome::NotSent(_))), "{sent:?}");
        let (address, _) = server(100).await;
        assert!(client::speaks_http2(&address.into(), PATIENCE).await);
        let mut runners = runners(address);
        runners[0].hang_up = Some(Duration::ZERO);
        let sent = client::race(Protocol::Http2, &address.into(), &runners, PATIENCE, Clock::start()).await;
        assert!(matches!(sent[0].outcome, Outcome::Unknown(_)), "{sent:?}");
        assert_eq!(statuses(&sent[1..]).len(), CALLERS - 1);
    });
}
