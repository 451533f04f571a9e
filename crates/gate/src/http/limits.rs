//! How much an instance, an address and a token may ask for at a time.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use forwarded_header_value::{ForwardedStanza, Identifier};
use governor::{
    Quota, RateLimiter, middleware::NoOpMiddleware, nanos::Nanos, state::keyed::DashMapStateStore,
};
use sha2::{Digest, Sha256};

use super::{App, Backend, Problem, problem::Code};
use countersign::{
    service::Deployer,
    store::{Clock, MonotonicClock},
};

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
    /// Number of open connections from one address, where no header is trusted; further ones get 503.
    pub max_connections_per_address: usize,
    /// Number of concurrent requests from one address; further ones get 429.
    pub max_requests_per_address: usize,
    /// Number of concurrent requests with one bearer token; further ones get 429.
    pub max_requests_per_token: usize,
    /// The header whose last address is the caller's. Only behind a proxy that writes it.
    pub trusted_header: Option<TrustedHeader>,
    /// Liveness, readiness and counters are left to [`serve_probes`](super::serve_probes).
    pub probes_apart: bool,
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
            max_connections_per_address: 512,
            max_requests_per_address: 256,
            max_requests_per_token: 128,
            trusted_header: None,
            probes_apart: false,
            forbid_self_approval: false,
            public_origin: None,
            grace: Duration::from_secs(30),
        }
    }
}

/// A header in which a proxy names the address of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`, of RFC 7239.
    Forwarded,
}

/// The number of things that each key holds, and may hold.
#[derive(Debug)]
pub(super) struct Shares<K> {
    most: usize,
    held: Mutex<BTreeMap<K, usize>>,
}

/// One of the things that a key holds, until this is dropped.
#[derive(Debug)]
pub(super) struct Share<K: Ord> {
    of: Arc<Shares<K>>,
    key: K,
}

impl<K: Copy + Ord> Shares<K> {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// One more for this key; `None` if it has all that it may have.
    pub(super) fn take(self: &Arc<Self>, key: K) -> Option<Share<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(key).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { of: Arc::clone(self), key })
    }
}

impl<K: Ord> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.of.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

/// The concurrent requests of each address and of each bearer token.
pub(super) struct Concurrent {
    by_address: Arc<Shares<IpAddr>>,
    by_token: Arc<Shares<[u8; 32]>>,
}

/// A request's shares. Work that goes on after its caller hangs up holds on to them.
#[derive(Debug)]
pub(super) struct RequestShares {
    _address: Share<IpAddr>,
    _token: Option<Share<[u8; 32]>>,
}

tokio::task_local! {
    static SHARES: Arc<RequestShares>;
}

impl Concurrent {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            by_address: Shares::new(settings.max_requests_per_address),
            by_token: Shares::new(settings.max_requests_per_token),
        }
    }

    fn begin(&self, address: IpAddr, headers: &HeaderMap) -> Option<RequestShares> {
        let token = headers.get(header::AUTHORIZATION);
        let token = token.map(|token| Sha256::digest(token.as_bytes()).into());
        Some(RequestShares {
            _address: self.by_address.take(network(address))?,
            _token: token.map(|token| self.by_token.take(token).ok_or(())).transpose().ok()?,
        })
    }
}

/// The shares of the request that is being answered.
pub(super) fn current_shares() -> Option<Arc<RequestShares>> {
    SHARES.try_with(Arc::clone).ok()
}

/// Refuses requests of an address or with a token that has as many as it may have.
pub(super) async fn concurrent<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| *from);
    let address = address(request.headers(), connection, app.settings().trusted_header);
    match app.concurrent().begin(address, request.headers()) {
        Some(shares) => SHARES.scope(Arc::new(shares), next.run(request)).await,
        None => Problem::new(Code::TooManyRequests).into_response(),
    }
}

/// The limiter's clock. It never goes back: otherwise every address would wait until the old time is reached again.
#[derive(Clone)]
struct Since(Arc<MonotonicClock>);

impl governor::clock::Clock for Since {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        // Saturates after half a millennium, and disables the limit.
        Nanos::from(self.0.now().0.saturating_mul(1_000_000))
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
        let clock = Since(Arc::new(MonotonicClock::of(clock)));
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
            Problem::new(Code::TooManyRequests).retry_after_s(wait.as_secs() + 1)
        })
    }
}

/// The part of an address that identifies a caller: an IPv4 address, or an IPv6 /64 prefix.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The address that a request comes from.
fn address(headers: &HeaderMap, connection: Option<SocketAddr>, trusted: Option<TrustedHeader>) -> IpAddr {
    let connection = connection.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |address| address.ip());
    let Some(trusted) = trusted else { return connection };
    let name = match trusted {
        TrustedHeader::XForwardedFor => "x-forwarded-for",
        TrustedHeader::Forwarded => "forwarded",
    };
    // The proxy has written the last one. Those before it are what the caller says.
    let last = headers.get_all(name).iter().next_back();
    let last = last.and_then(|list| list.to_str().ok()).and_then(|list| list.rsplit(',').next());
    let named = last.and_then(|last| match trusted {
        TrustedHeader::XForwardedFor => last.parse::<Identifier>().ok()?.ip(),
        TrustedHeader::Forwarded => last.parse::<ForwardedStanza>().ok()?.forwarded_for_ip(),
    });
    named.unwrap_or(connection)
}

/// A request that its address may make.
pub(super) struct Limited;

impl<B: Backend, D: Deployer + 'static> FromRequestParts<App<B, D>> for Limited {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<B, D>) -> Result<Self, Problem> {
        let connection = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| *from);
        let trusted = app.settings().trusted_header;
        app.limiter().admit(address(&parts.headers, connection, trusted)).map(|()| Self)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use countersign::protocol::Timestamp;

    #[test]
    fn only_what_the_proxy_wrote_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "192.0.2.1, 192.0.2.2".parse().expect("a header"));
        headers.append("forwarded", "for=192.0.2.9".parse().expect("a header"));
        let connection = "198.51.100.7:80".parse().ok();
        let x_forwarded_for = Some(TrustedHeader::XForwardedFor);
        assert_eq!(address(&headers, connection, None).to_string(), "198.51.100.7");
        assert_eq!(address(&headers, connection, x_forwarded_for).to_string(), "192.0.2.2");
        headers.append("x-forwarded-for", "nonsense".parse().expect("a header"));
        assert_eq!(address(&headers, connection, x_forwarded_for).to_string(), "198.51.100.7");
    }

    #[test]
    fn addresses_are_read_in_all_the_forms_that_proxies_write() {
        let connection = "198.51.100.7:80".parse().ok();
        let (x_forwarded_for, forwarded) = (TrustedHeader::XForwardedFor, TrustedHeader::Forwarded);
        for (trusted, written, read) in [
            (x_forwarded_for, "192.0.2.3", "192.0.2.3"),
            (x_forwarded_for, "192.0.2.3:4711", "192.0.2.3"),
            (x_forwarded_for, "2001:db8::1", "2001:db8::1"),
            (x_forwarded_for, "[2001:db8::2]", "2001:db8::2"),
            (x_forwarded_for, "192.0.2.1, [2001:db8::3]:443", "2001:db8::3"),
            (x_forwarded_for, "nonsense, 192.0.2.4", "192.0.2.4"),
            (forwarded, "for=192.0.2.3;proto=https", "192.0.2.3"),
            (forwarded, "For=\"192.0.2.3:4711\"; by=203.0.113.43", "192.0.2.3"),
            (forwarded, "for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            (forwarded, "for=\"\"evil, for=192.0.2.1, for=\"[2001:db8::3]\"", "2001:db8::3"),
            (forwarded, "for=192.0.2.1, for=unknown", "198.51.100.7"),
            (forwarded, "for=192.0.2.1, for=_hidden", "198.51.100.7"),
            (forwarded, "for=192.0.2.1,", "198.51.100.7"),
        ] {
            let name = match trusted {
                TrustedHeader::XForwardedFor => "x-forwarded-for",
                TrustedHeader::Forwarded => "forwarded",
            };
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_str(written).expect("a header"),
            )]);
            assert_eq!(address(&headers, connection, Some(trusted)).to_string(), read, "{written}");
        }
    }

    #[test]
    fn a_share_is_free_again_when_it_is_dropped_and_nothing_of_it_is_left() {
        let shares = Shares::new(2);
        let first = shares.take("one").expect("it is free");
        let second = shares.take("one");
        assert!(second.is_some() && shares.take("one").is_none() && shares.take("two").is_some());
        drop(first);
        assert!(shares.take("one").is_some());
        drop(second);
        assert!(shares.held.lock().expect("not poisoned").is_empty());
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
