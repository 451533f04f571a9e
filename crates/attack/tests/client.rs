//! The client against answers of every form, sent by a server in this process.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use countersign_attack::{
    Clock,
    client::{self, Outcome, Protocol, Runner, Wire},
};

/// A server that answers every connection with these bytes, then closes it.
fn server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut buffer = [0; 512];
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                        _ => return,
                    }
                }
                stream.write_all(answer).unwrap();
            });
        }
    });
    address
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn get(address: SocketAddr) -> Outcome {
    let wire = Wire::new("GET", "/", &address.to_string(), &[], None);
    run(client::send(&address.into(), &wire, Duration::from_secs(2), Clock::start())).outcome
}

fn body(outcome: &Outcome) -> (u16, String) {
    match outcome {
        Outcome::Answered(answer) => (answer.status, String::from_utf8_lossy(&answer.body).into_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bodies_of_every_length_are_read() {
    let cases: [(&[u8], u16, &str); 6] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloXXX", 200, "hello"),
        (
            b"HTTP/1.1 409 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            409,
            "abcde",
        ),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx", 201, "x"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, ""),
    ];
    for (answer, status, text) in cases {
        assert_eq!(body(&get(server(answer))), (status, text.to_owned()));
    }
}

#[test]
fn answers_that_are_cut_off_or_malformed_are_unknown() {
    let cases: [&[u8]; 5] = [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"no HTTP at all\r\n\r\n",
    ];
    for answer in cases {
        assert!(matches!(get(server(answer)), Outcome::Unknown(_)), "{answer:?}");
    }
}

#[test]
fn a_refused_connection_did_not_happen_and_a_hang_up_may_have() {
    assert!(matches!(get("127.0.0.1:1".parse().unwrap()), Outcome::NotSent(_)));
    let address = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let wire = Wire::new("POST", "/", &address.to_string(), &[], None);
    let runner = Runner { hang_up: Some(Duration::ZERO), ..Runner::new(wire) };
    let sent = run(client::race(
        Protocol::Http1,
        &address.into(),
        &[runner],
        Duration::from_secs(2),
        Clock::start(),
    ));
    assert!(matches!(sent[0].outcome, Outcome::Unknown(_)));
}

#[test]
fn offsets_are_kept() {
    let address = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let wire = Wire::new("POST", "/", &address.to_string(), &[], None);
    let second = Runner { offset_ns: 2_000_000, ..Runner::new(wire.clone()) };
    let sent = run(client::race(
        Protocol::Http1,
        &address.into(),
        &[second, Runner::new(wire)],
        Duration::from_secs(2),
        Clock::start(),
    ));
    assert!(sent[0].released_ns >= sent[1].released_ns + 1_900_000, "{sent:?}");
}
