//! Connections: accepted, limited, timed, and ended well on a shutdown.

use std::{io, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutWriter;
use tower::ServiceExt;

use super::{
    App, Backend,
    limits::{Settings, Share, Shares, network},
    probe_router, router,
};
use countersign::service::Deployer;

/// The answer on a connection beyond the limit.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n";

/// Pause after the process has run out of file descriptors.
const REST: Duration = Duration::from_millis(50);

/// The most bytes of a connection that are held: a head that does not end within them is refused with 431. The heads of all
/// connections together take at most [`Settings::max_connections`] times as many.
const MAX_HEAD: usize = 16 * 1024;

/// Concurrent connections for probes.
const PROBES: usize = 64;

/// The connections that may be open.
struct Places {
    all: Arc<Semaphore>,
    /// `None` behind a proxy, whose connections are all from its own address.
    by_address: Option<Arc<Shares<IpAddr>>>,
}

/// A connection's place, until this is dropped.
struct Place {
    _one: OwnedSemaphorePermit,
    _of_address: Option<Share<IpAddr>>,
}

impl Places {
    fn take(&self, from: IpAddr) -> Option<Place> {
        let of_address = match &self.by_address {
            Some(shares) => Some(shares.take(network(from))?),
            None => None,
        };
        Some(Place { _one: Arc::clone(&self.all).try_acquire_owned().ok()?, _of_address: of_address })
    }
}

/// Serves until `shutdown` comes; then takes no more connections, and waits for what is under way, but no longer than
/// the grace period.
///
/// A promote that is still under way after that is lost as in a crash: half of one does not exist.
pub async fn serve<B: Backend, D: Deployer + 'static>(
    listener: TcpListener,
    app: App<B, D>,
    shutdown: impl Future<Output = ()>,
) {
    let settings = app.settings();
    let by_address =
        settings.trusted_header.is_none().then(|| Shares::new(settings.max_connections_per_address));
    let places = Places { all: Arc::new(Semaphore::new(settings.max_connections)), by_address };
    let connections = accept(listener, router(app.clone()), &app, &places, shutdown).await;
    app.begin_shutdown();
    let under_way = async {
        connections.shutdown().await;
        app.all_done().await;
    };
    if tokio::time::timeout(app.settings().grace, under_way).await.is_err() {
        tracing::warn!("something was still under way after the grace period");
    }
}

/// Serves liveness, readiness and counters alone until `shutdown` comes. Callers of [`serve`] take none of its connections.
pub async fn serve_probes<B: Backend, D: Deployer + 'static>(
    listener: TcpListener,
    app: App<B, D>,
    shutdown: impl Future<Output = ()>,
) {
    let places = Places { all: Arc::new(Semaphore::new(PROBES)), by_address: None };
    accept(listener, probe_router(app.clone()), &app, &places, shutdown).await;
}

/// Accepts connections until `shutdown` comes; those that are still open then.
async fn accept<B: Backend, D: Deployer + 'static>(
    listener: TcpListener,
    router: Router,
    app: &App<B, D>,
    places: &Places,
    shutdown: impl Future<Output = ()>,
) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    let Settings { header_time, write_time, .. } = *app.settings();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_the_callers(&error) {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(REST).await;
                }
                continue;
            }
        };
        let Some(place) = places.take(from.ip()) else {
            app.metrics().shed();
            // Not awaited: a client that is slow to read gets no answer.
            let _ = stream.try_write(TOO_MANY);
            continue;
        };
        let counted = app.metrics().connection();
        // Responses are small: they are sent without delay.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(from));
            router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_time)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(timed(stream, write_time)), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // The end of a connection only matters to its caller.
            let _ = connection.await;
            drop((place, counted));
        });
    }
    connections
}

/// A connection that ends when its client reads nothing for `write_time`, so that a client cannot hold a slot by not
/// reading.
fn timed(stream: TcpStream, write_time: Duration) -> Pin<Box<TimeoutWriter<TcpStream>>> {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(write_time));
    Box::pin(stream)
}

/// True if a connection was closed before it was accepted.
fn is_the_callers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_a_caller_have_one_share_of_the_connections() {
        let places = Places { all: Arc::new(Semaphore::new(8)), by_address: Some(Shares::new(1)) };
        let take = |from: &str| places.take(from.parse().expect("an address"));
        let first = take("2001:db8:0:1::1");
        assert!(first.is_some() && take("2001:db8:0:1:ffff::2").is_none());
        assert!(take("2001:db8:0:2::1").is_some() && take("192.0.2.1").is_some());
        drop(first);
        assert!(take("2001:db8:0:1:ffff::2").is_some());
    }
}
