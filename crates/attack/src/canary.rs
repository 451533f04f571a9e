//! The built-in service with a check-then-act window: what a campaign would have found.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    client::{self, Protocol, Runner, Wire},
    clock::Clock,
};

/// Defect of the canary: the order of its check and act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The check and the act are this far apart.
    Open(Duration),
    /// The check and the act are one.
    Closed,
}

/// History of one object of the canary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    used: bool,
    /// Number of uses.
    pub uses: usize,
    /// When each request was complete.
    pub arrivals_ns: Vec<u64>,
}

/// A running canary.
#[derive(Debug)]
pub struct Canary {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    rule: Arc<Rule>,
}

/// Response of the canary to a request.
#[derive(Debug)]
struct Rule {
    window: Window,
    jitter: Duration,
    clock: Clock,
    requests: AtomicU64,
    cells: Mutex<BTreeMap<String, Cell>>,
}

/// Result of a campaign against the canary.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Calibration {
    /// The smallest window that the campaign finds with 99 %, in microseconds. `None`: none of those that were tried.
    pub window_us: Option<u64>,
    /// The largest window that was tried, in microseconds.
    pub largest_us: u64,
    /// Number of races behind the statement.
    pub races: usize,
    /// The callers of each.
    pub callers: usize,
    /// Time between the first and the last request of a race at the canary, median, in microseconds.
    pub spread_us: u64,
    /// A canary without a window was reported as broken: the method is at fault.
    pub false_alarm: bool,
}

impl Canary {
    /// Starts a canary, which speaks HTTP/1.1 and HTTP/2, on a free port. Each request waits up to `jitter` before it checks.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(window: Window, jitter: Duration, clock: Clock) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (requests, cells) = (AtomicU64::new(0), Mutex::default());
        let rule = Arc::new(Rule { window, jitter, clock, requests, cells });
        let (stopped, shared) = (Arc::clone(&stop), Arc::clone(&rule));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), rule) = (stream, Arc::clone(&shared)) else { continue };
                std::thread::spawn(move || drop(serve(stream, &rule)));
            }
        });
        Ok(Self { address, stop, rule })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Races `callers` uses of a fresh object.
    pub async fn race(&self, protocol: Protocol, callers: usize, clock: Clock) -> Cell {
        let object = crate::clock::unique();
        let wire = Wire::new("POST", &format!("/{object}"), &self.address.to_string(), &[], None);
        let runners = vec![Runner::new(wire); callers];
        client::race(protocol, &self.address.into(), &runners, Duration::from_secs(10), clock).await;
        let cells = self.rule.cells.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cells.get(&object).cloned().unwrap_or_default()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

/// A number from 0 to 1 that looks random.
fn fraction(count: u64) -> f64 {
    let mixed = count.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

impl Rule {
    /// Uses the object, and returns the status of the answer.
    fn status(&self, object: &str, arrived_ns: u64) -> u16 {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.jitter.mul_f64(fraction(count)));
        let update = |change: &mut dyn FnMut(&mut Cell)| {
            let mut cells = self.cells.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            change(cells.entry(object.to_owned()).or_default());
        };
        let mut free = false;
        update(&mut |cell| {
            cell.arrivals_ns.push(arrived_ns);
            free = !cell.used;
            if self.window == Window::Closed && free {
                cell.used = true;
                cell.uses += 1;
            }
        });
        if let (Window::Open(width), true) = (self.window, free) {
            // A sleep is longer than asked for by some 60 µs, which matters for short windows only.
            if width < Duration::from_micros(200) {
                let width_ns = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX);
                self.clock.spin_until(self.clock.now_ns() + width_ns);
            } else {
                std::thread::sleep(width);
            }
            update(&mut |cell| {
                cell.used = true;
                cell.uses += 1;
            });
        }
        if free { 200 } else { 409 }
    }
}

fn object(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

fn serve(mut stream: TcpStream, rule: &Arc<Rule>) -> std::io::Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    let mut begin = [0; PREFACE.len()];
    if stream.peek(&mut begin)? == begin.len() && begin == PREFACE {
        stream.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(serve_http2(stream, rule));
    }
    let mut buffer = [0; 1024];
    while !bytes.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..count]);
    }
    let arrived_ns = rule.clock.now_ns();
    let line = String::from_utf8_lossy(&bytes);
    let status = rule.status(&object(line.split(' ').nth(1).unwrap_or_default()), arrived_ns);
    write!(stream, "HTTP/1.1 {status} \r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

async fn serve_http2(stream: TcpStream, rule: &Arc<Rule>) -> std::io::Result<()> {
    let other = std::io::Error::other;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let mut connection = h2::server::handshake(stream).await.map_err(other)?;
    while let Some(accepted) = connection.accept().await {
        let ((request, mut respond), rule) = (accepted.map_err(other)?, Arc::clone(rule));
        tokio::spawn(async move {
            let object = object(request.uri().path());
            let mut body = request.into_body();
            while let Some(part) = body.data().await {
                part?;
            }
            let arrived_ns = rule.clock.now_ns();
            let status = tokio::task::spawn_blocking(move || rule.status(&object, arrived_ns)).await;
            let response = http::Response::builder().status(status.unwrap_or(500)).body(());
            respond.send_response(response.unwrap_or_default(), true).map(drop)
        });
    }
    Ok(())
}

/// The windows that are tried, in microseconds.
pub const WINDOWS_US: &[u64] = &[20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// Runs races against canaries of growing windows, until one would be found by `races` races with 99 %.
///
/// # Errors
/// No port is free for the canary.
pub async fn calibrate(
    races: usize,
    callers: usize,
    jitter: Duration,
    protocol: Protocol,
    clock: Clock,
) -> std::io::Result<Calibration> {
    const TRIES: usize = 20;
    let closed = Canary::start(Window::Closed, jitter, clock)?;
    let mut spreads = Vec::new();
    let mut false_alarm = false;
    for _ in 0..TRIES {
        let cell = closed.race(protocol, callers, clock).await;
        false_alarm |= cell.uses != 1;
        let (first, last) = (cell.arrivals_ns.iter().min(), cell.arrivals_ns.iter().max());
        spreads.extend(first.zip(last).map(|(first, last)| (last - first) / 1_000));
    }
    spreads.sort_unstable();
    let mut calibration = Calibration {
        window_us: None,
        largest_us: *WINDOWS_US.last().unwrap_or(&0),
        races,
        callers,
        spread_us: spreads.get(spreads.len() / 2).copied().unwrap_or(0),
        false_alarm,
    };
    for window_us in WINDOWS_US {
        let canary = Canary::start(Window::Open(Duration::from_micros(*window_us)), jitter, clock)?;
        let mut found = 0;
        for _ in 0..TRIES {
            found += usize::from(canary.race(protocol, callers, clock).await.uses > 1);
        }
        if found_with(lower_bound(found, TRIES), races) >= 0.99 {
            calibration.window_us = Some(*window_us);
            break;
        }
    }
    Ok(calibration)
}

/// The chance that at least one of `races` finds what one finds with chance `each`.
fn found_with(each: f64, races: usize) -> f64 {
    1.0 - (1.0 - each).powf(races as f64)
}

/// The lower end of the 95 % interval (Wilson) of a share.
fn lower_bound(found: usize, tries: usize) -> f64 {
    const Z: f64 = 1.96;
    let (found, tries) = (found as f64, tries as f64);
    let share = found / tries;
    let middle = share + Z * Z / (2.0 * tries);
    let margin = Z * (share * (1.0 - share) / tries + Z * Z / (4.0 * tries * tries)).sqrt();
    ((middle - margin) / (1.0 + Z * Z / tries)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_canary_with_a_window_is_found_and_one_without_is_not() {
        let clock = Clock::start();
        run(async {
            for protocol in [Protocol::Http1, Protocol::Http2] {
                let window = Window::Open(Duration::from_millis(20));
                let open = Canary::start(window, Duration::ZERO, clock).unwrap();
                assert!(open.race(protocol, 8, clock).await.uses > 1);
                let closed = Canary::start(Window::Closed, Duration::ZERO, clock).unwrap();
                for _ in 0..20 {
                    assert_eq!(closed.race(protocol, 8, clock).await.uses, 1);
                }
            }
        });
    }

    #[test]
    fn one_race_is_less_certain_than_many() {
        assert!(lower_bound(20, 20) > 0.8 && lower_bound(20, 20) < 1.0);
        assert!(lower_bound(0, 20) < 0.01);
        assert!(found_with(0.5, 1) < 0.99 && found_with(0.5, 10) > 0.99);
    }

    #[test]
    fn a_campaign_whose_requests_do_not_overlap_finds_no_window() {
        let clock = Clock::start();
        let calibration = run(calibrate(50, 1, Duration::ZERO, Protocol::Http1, clock)).unwrap();
        assert_eq!(calibration.window_us, None);
        assert!(!calibration.false_alarm);
    }
}
