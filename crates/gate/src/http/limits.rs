//! Limits of an instance, and the rate limit of one address.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};
use governor::{
    Quota, RateLimiter, middleware::NoOpMiddleware, nanos::Nanos, state::keyed::DashMapStateStore,
};

use super::{App, Backend, Problem};
use countersign::{protocol::Timestamp, service::Deployer, store::Clock};

/// Limits of an instance. The defaults suit the open internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest body, in bytes.
    pub max_body: usize,
    /// Time limit for receiving a body.
    pub body_time: Duration,
    /// Time limit for receiving a request's head, and for an idle connection.
    pub header_time: Duration,
    /// Time limit for a stalled response; then the connection is closed.
    pub write_time: Duration,
    /// Time limit of a request; then the answer is 503 with Retry-After.
    pub request_time: Duration,
    /// Number of concurrent connections; further ones get 503.
    pub max_connections: usize,
    /// Number of concurrent promotions and decisions, including those whose callers have hung up.
    pub max_under_way: usize,
    /// Maximum number of undecided approvals of a team.
    pub max_pending_approvals: usize,
    /// How long a running request holds its idempotency key.
    pub key_lease: Duration,
    /// Rate limit of the approval's page, for one address.
    pub page_requests_per_second: NonZeroU32,
    /// The last address in `X-Forwarded-For` is the caller's. Only behind a proxy that writes it.
    pub trust_forwarded_for: bool,
    /// The requester of a promotion may not approve it with a session.
    pub forbid_self_approval: bool,
    /// External origin of the approval's page, if it differs from the header `Host`: `https://gate.example`.
    pub public_origin: Option<String>,
    /// How long a shutdown waits for running requests.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body: 256 * 1024,
            body_time: Duration::from_secs(10),
            header_time: Duration::from_secs(10),
            write_time: Duration::from_secs(10),
            request_time: Duration::from_secs(30),
            max_connections: 4096,
            max_under_way: 1024,
            max_pending_approvals: 100,
            key_lease: Duration::from_secs(60),
            page_requests_per_second: NonZeroU32::new(10).unwrap_or(NonZeroU32::MIN),
            trust_forwarded_for: false,
            forbid_self_approval: false,
            public_origin: None,
            grace: Duration::from_secs(30),
        }
    }
}

/// A monotonic clock for the limiter. After the instance's clock is reset, it goes on: with the clock itself every
/// address would wait until the old time is reached again.
#[derive(Clone)]
struct Since {
    clock: Arc<dyn Clock>,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Clone, Copy)]
struct Counted {
    /// Last reading of the clock.
    last: Timestamp,
    elapsed_ms: u64,
}

impl Since {
    fn now_of(clock: Arc<dyn Clock>) -> Self {
        let counted = Counted { last: clock.now(), elapsed_ms: 0 };
        Self { clock, counted: Arc::new(Mutex::new(counted)) }
    }
}

impl governor::clock::Clock for Since {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        counted.elapsed_ms = counted.elapsed_ms.saturating_add(now.0.saturating_sub(counted.last.0));
        counted.last = now;
        // Saturates after half a millennium, and disables the limit.
        Nanos::from(counted.elapsed_ms.saturating_mul(1_000_000))
    }
}

/// Counts the requests of each address.
pub(super) struct Limiter {
    limiter: RateLimiter<IpAddr, DashMapStateStore<IpAddr>, Since, NoOpMiddleware<Nanos>>,
    clock: Since,
}

impl Limiter {
    /// The most addresses with a separate limit; further ones share one.
    const MOST: usize = 65_536;

    pub(super) fn new(per_second: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let clock = Since::now_of(clock);
        let quota = Quota::per_second(per_second);
        Self { limiter: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()), clock }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub(super) fn admit(&self, address: IpAddr) -> Result<(), Problem> {
        if self.limiter.len() > Self::MOST {
            self.limiter.retain_recent();
        }
        let is_crowded = self.limiter.len() > Self::MOST;
        let key = if is_crowded { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { network(address) };
        self.limiter.check_key(&key).map_err(|until| {
            let wait = until.wait_time_from(governor::clock::Clock::now(&self.clock));
            Problem::new("too_many_requests").retry_after_s(wait.as_secs() + 1)
        })
    }
}

/// The part of an address that identifies a caller: an IPv4 address, or an IPv6 /64 prefix.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The address that a request comes from.
fn address(headers: &HeaderMap, connection: Option<SocketAddr>, trust_forwarded_for: bool) -> IpAddr {
    let connection = connection.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |address| address.ip());
    if !trust_forwarded_for {
        return connection;
    }
    // The proxy has written the last one. Those before it are what the caller says.
    let last = headers.get_all("x-forwarded-for").iter().next_back();
    let last = last.and_then(|list| list.to_str().ok()).and_then(|list| list.rsplit(',').next());
    last.and_then(written_address).unwrap_or(connection)
}

/// An address as proxies write it: with a port or without, of the new kind in brackets or not.
fn written_address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

/// A request that its address may make.
pub(super) struct Limited;

impl<B: Backend, D: Deployer + 'static> FromRequestParts<App<B, D>> for Limited {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<B, D>) -> Result<Self, Problem> {
        let connection = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| *from);
        let trusts = app.settings().trust_forwarded_for;
        app.limiter().admit(address(&parts.headers, connection, trusts)).map(|()| Self)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_what_the_proxy_wrote_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "192.0.2.1, 192.0.2.2".parse().expect("a header"));
        let connection = "198.51.100.7:80".parse().ok();
        assert_eq!(address(&headers, connection, false).to_string(), "198.51.100.7");
        assert_eq!(address(&headers, connection, true).to_string(), "192.0.2.2");
        for (written, read) in [
            ("192.0.2.3:4711", "192.0.2.3"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::2]", "2001:db8::2"),
            ("192.0.2.1, [2001:db8::3]:443", "2001:db8::3"),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_static(written),
            )]);
            assert_eq!(address(&headers, connection, true).to_string(), read);
        }
        headers.append("x-forwarded-for", "nonsense".parse().expect("a header"));
        assert_eq!(address(&headers, connection, true).to_string(), "198.51.100.7");
    }

    #[test]
    fn a_clock_reset_locks_no_caller_out() {
        let clock = Arc::new(countersign_models::fixtures::HandClock::at(Timestamp(10_000_000)));
        let limiter = Limiter::new(NonZeroU32::MIN, clock.clone());
        let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert!(limiter.admit(address).is_ok() && limiter.admit(address).is_err());
        clock.set(Timestamp(10_000_000 - 60 * 60 * 1000));
        assert!(limiter.admit(address).is_err(), "no time has passed");
        clock.set(Timestamp(10_000_000 - 60 * 60 * 1000 + 1_000));
        assert!(limiter.admit(address).is_ok());
    }

    #[test]
    fn a_household_is_one_caller() {
        let same = |a: &str, b: &str| {
            network(a.parse().expect("an address")) == network(b.parse().expect("an address"))
        };
        assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2") && same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1") && !same("192.0.2.1", "192.0.2.2"));
    }
}
