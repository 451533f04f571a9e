//! Limits of one address and of one token: what one caller takes, another still has.

use std::{net::SocketAddr, time::Duration};

use axum::{body::Body, http::Request};
use countersign_gate::http::{Settings, TrustedHeader, serve_probes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tower::ServiceExt;

use crate::{
    gate::{admin, dev},
    server::{Slow, rest},
};

/// From this address of this machine.
async fn connected(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("it is this machine's");
    socket.connect(to).await.expect("it listens")
}

const ASK: &[u8] = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

/// The status of the answer to a request on an open connection.
async fn status(stream: &mut TcpStream) -> String {
    // A connection that is shed may be reset while it is written to.
    let _ = stream.write_all(ASK).await;
    let mut head = [0; 12];
    let _ = stream.read_exact(&mut head).await;
    String::from_utf8_lossy(&head).into_owned()
}

#[tokio::test]
async fn connections_of_one_address_leave_room_for_another() {
    let slow =
        Slow::new(Settings { max_connections: 8, max_connections_per_address: 2, ..Settings::default() });
    let (address, _stop, _server) = slow.listen().await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connected("127.0.0.2", address).await;
        assert_eq!(status(&mut stream).await, "HTTP/1.1 200");
        held.push(stream);
    }
    let mut one_too_many = connected("127.0.0.2", address).await;
    assert!(rest(&mut one_too_many).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(status(&mut connected("127.0.0.3", address).await).await, "HTTP/1.1 200");
    drop(held);
    while status(&mut connected("127.0.0.2", address).await).await != "HTTP/1.1 200" {}
}

#[tokio::test]
async fn connections_of_a_trusted_proxy_are_not_one_callers() {
    let trusted_header = Some(TrustedHeader::Forwarded);
    let slow = Slow::new(Settings { max_connections_per_address: 1, trusted_header, ..Settings::default() });
    let (address, _stop, _server) = slow.listen().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = connected("127.0.0.2", address).await;
        assert_eq!(status(&mut stream).await, "HTTP/1.1 200");
        held.push(stream);
    }
}

/// Begins a promotion that goes on until its launch is let through, and hangs up.
async fn begun_and_left(slow: &Slow, name: &str) {
    let body = format!("{{\"to\": \"production\", \"name\": \"{name}\"}}");
    let approval = slow.approved_of(&body).await;
    let with_approval = body.replace('}', &format!(", \"approval_id\": \"{approval}\"}}"));
    slow.begin(slow.request(&with_approval, None)).await.abort();
}

#[tokio::test]
async fn requests_with_one_token_leave_room_for_another_also_when_they_go_on_without_their_callers() {
    let slow = Slow::new(Settings { max_requests_per_token: 2, ..Settings::default() });
    begun_and_left(&slow, "one").await;
    begun_and_left(&slow, "two").await;
    let asked = async |token: String| {
        let get = Request::get("/api/v1/approvals/unknown").header("authorization", token);
        let get = get.body(Body::empty()).expect("a request");
        slow.router().oneshot(get).await.expect("a router does not fail")
    };
    let refused = asked(dev()).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"1".parse().expect("text"))
    );
    assert_eq!(asked(admin()).await.status(), 400);
    slow.launch().await;
    while asked(dev()).await.status() == 429 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_of_one_address_leave_room_for_another() {
    let trusted_header = Some(TrustedHeader::XForwardedFor);
    let slow = Slow::new(Settings { max_requests_per_address: 1, trusted_header, ..Settings::default() });
    let approval = slow.approved().await;
    let mut held = slow.promote(approval, None);
    held.headers_mut().insert("x-forwarded-for", "2001:db8:0:1::1".parse().expect("a header"));
    let caller = slow.begin(held).await;
    let status = async |from: &str| {
        let get = Request::get("/livez").header("x-forwarded-for", from).body(Body::empty());
        slow.router().oneshot(get.expect("a request")).await.expect("a router does not fail").status()
    };
    assert_eq!(status("2001:db8:0:1::1").await, 429);
    assert_eq!(status("[2001:db8:0:1:ffff::2]:4711").await, 429, "one caller has all of a /64");
    assert_eq!(status("[2001:db8:0:2::1]:443").await, 200);
    assert_eq!(status("192.0.2.1:4711").await, 200);
    slow.launch().await;
    assert_eq!(caller.await.expect("it does not panic"), 202);
    assert_eq!(status("2001:db8:0:1::1").await, 200);
}

#[tokio::test]
async fn a_head_beyond_its_limit_is_refused_and_takes_no_more_room() {
    let slow = Slow::new(Settings { header_time: Duration::from_secs(60), ..Settings::default() });
    let (address, _stop, _server) = slow.listen().await;
    let mut within = TcpStream::connect(address).await.expect("it listens");
    let head = format!("GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(12 * 1024));
    within.write_all(head.as_bytes()).await.expect("it is read");
    let mut answer = [0; 12];
    within.read_exact(&mut answer).await.expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut beyond = TcpStream::connect(address).await.expect("it listens");
    let head = format!("GET /livez HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(20 * 1024));
    // It never ends: the answer comes before.
    let _ = beyond.write_all(head.as_bytes()).await;
    assert!(rest(&mut beyond).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn probes_on_their_own_address_answer_when_all_other_connections_are_taken() {
    let slow = Slow::new(Settings { max_connections: 1, probes_apart: true, ..Settings::default() });
    let (address, stop, server) = slow.listen().await;
    let (probes, stop_probes, probing) = probes_of(&slow).await;
    let mut taken = TcpStream::connect(address).await.expect("it listens");
    assert_eq!(status(&mut taken).await, "HTTP/1.1 404", "the probes are elsewhere");
    let probe = async |path: &str| {
        let mut stream = TcpStream::connect(probes).await.expect("it listens");
        let ask = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.expect("it is read");
        rest(&mut stream).await.chars().take(12).collect::<String>()
    };
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(probe(path).await, "HTTP/1.1 200", "{path}");
    }
    assert_eq!(probe("/api/v1/admin/promotions").await, "HTTP/1.1 404");
    drop(stop);
    drop(taken);
    server.await.expect("it does not panic");
    assert_eq!(probe("/readyz").await, "HTTP/1.1 503", "it is shutting down");
    drop(stop_probes);
    probing.await.expect("it does not panic");
}

async fn probes_of(slow: &Slow) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let app = slow.app.clone();
    let server = tokio::spawn(serve_probes(listener, app, async {
        let _ = stopped.await;
    }));
    (address, stop, server)
}
