//! Prints the time between the first and the last of 32 requests at a server on loopback: released by their last byte,
//! over HTTP/2 in one packet, and sent one after the other. A server with a thread for each connection notices a request when the
//! thread runs, one with a loop when the loop reads it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign_attack::{
    Clock,
    canary::{Canary, Window},
    client::{self, Protocol, Runner, Wire},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CALLERS: usize = 32;
const ROUNDS: usize = 50;

fn summary(name: &str, mut spreads_us: Vec<u64>) {
    spreads_us.sort_unstable();
    let ms = |us: u64| us as f64 / 1_000.0;
    println!(
        "{name}: median {:.2} ms (min {:.2}, max {:.2}, n = {})",
        ms(spreads_us[spreads_us.len() / 2]),
        ms(spreads_us[0]),
        ms(spreads_us[spreads_us.len() - 1]),
        spreads_us.len()
    );
}

fn spread_us(arrivals_ns: &[u64]) -> u64 {
    let (first, last) = (arrivals_ns.iter().min(), arrivals_ns.iter().max());
    first.zip(last).map_or(0, |(first, last)| (last - first) / 1_000)
}

/// A server that reads all of its connections in one loop, and notes when it has read a request.
struct Loop {
    address: SocketAddr,
    arrivals_ns: Arc<Mutex<Vec<u64>>>,
}

impl Loop {
    fn start(clock: Clock) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (address, arrivals_ns) = (listener.local_addr()?, Arc::<Mutex<Vec<u64>>>::default());
        let noted = Arc::clone(&arrivals_ns);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(accept_all(listener, noted, clock)));
        Ok(Self { address, arrivals_ns })
    }
}

async fn accept_all(
    listener: std::net::TcpListener,
    arrivals_ns: Arc<Mutex<Vec<u64>>>,
    clock: Clock,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, Arc::clone(&arrivals_ns), clock));
    }
}

async fn answer(mut stream: TcpStream, arrivals_ns: Arc<Mutex<Vec<u64>>>, clock: Clock) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    arrivals_ns.lock().expect("no holder panics").push(clock.now_ns());
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
}

fn main() {
    let clock = Clock::start();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        let canary = Canary::start(Window::Closed, Duration::ZERO, clock).expect("a port is free");
        for (protocol, name) in [
            (Protocol::Http1, "32 requests, last byte together"),
            (Protocol::Http2, "32 requests, HTTP/2 in one packet"),
        ] {
            let mut together = Vec::new();
            for _ in 0..ROUNDS {
                together.push(spread_us(&canary.race(protocol, CALLERS, clock).await.arrivals_ns));
            }
            summary(name, together);
        }
        let one_loop = Loop::start(clock).expect("a port is free");
        let mut in_one_loop = Vec::new();
        for _ in 0..ROUNDS {
            let (address, authority) = (one_loop.address, one_loop.address.to_string());
            let wire = Wire::new("POST", "/together", &authority, &[], None);
            let runners = vec![Runner::new(wire); CALLERS];
            client::race(Protocol::Http1, &address.into(), &runners, Duration::from_secs(10), clock).await;
            let arrivals_ns = std::mem::take(&mut *one_loop.arrivals_ns.lock().expect("no holder panics"));
            assert_eq!(arrivals_ns.len(), CALLERS, "every request has been read");
            in_one_loop.push(spread_us(&arrivals_ns));
        }
        summary("32 requests, last byte together, read in one loop", in_one_loop);
        let mut one_by_one = Vec::new();
        for _ in 0..ROUNDS {
            let mut sends = Vec::new();
            let (address, authority) = (canary.address(), canary.address().to_string());
            let start_ns = clock.now_ns();
            for _ in 0..CALLERS {
                let wire = Wire::new("POST", "/sequential", &authority, &[], None);
                sends.push(tokio::spawn(async move {
                    client::send(&address.into(), &wire, Duration::from_secs(10), clock).await
                }));
            }
            let mut last_ns = start_ns;
            let mut first_ns = u64::MAX;
            for send in sends {
                let sent = send.await.expect("a send does not panic");
                first_ns = first_ns.min(sent.released_ns);
                last_ns = last_ns.max(sent.released_ns);
            }
            one_by_one.push((last_ns - first_ns) / 1_000);
        }
        summary("32 requests, connect and send (at the client)", one_by_one);
    });
}
