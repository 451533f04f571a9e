//! A gate that runs: an instance, and the HTTP surface in front of it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use countersign_gate::{
    http::{self, App, Backend, Metrics},
    instance::{
        Instance, Parts,
        system_clock::{SecretIds, SystemClock},
    },
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::{Listeners, settings::Settings};
use countersign_terminal::BadInput;

/// A running gate, until it is closed.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    /// Address of the probes, if they have their own.
    pub(crate) probes: Option<SocketAddr>,
    shutdown: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Gate {
    /// Opens it on this store, behind these listeners.
    pub(crate) fn open<S: Backend>(
        settings: Settings,
        store: Arc<S>,
        ids: Arc<SecretIds>,
        listeners: Listeners,
        metrics: Metrics,
    ) -> Result<Self, BadInput> {
        let bound = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| {
                BadInput::plain(&format!("it is not known where it listens: {error}"), "try another --listen")
            })
        };
        let address = bound(&listeners.api)?;
        let probes = listeners.probes.as_ref().map(bound).transpose()?;
        let public_url = settings.public_url.map_or_else(|| reached_at(address), |url| url.0);
        let clock = Arc::new(SystemClock);
        let instance = Instance::start(Parts {
            store: Arc::clone(&store),
            clock: clock.clone(),
            ids: ids.clone(),
            method: settings.method,
            retries: settings.notifier.retries,
            channel: settings.notifier.channel(&public_url)?,
            operators: Arc::clone(&settings.tenants.operators),
            public_url,
            workers: settings.workers,
            drain: settings.drain,
            metrics: metrics.clone(),
        });
        let app = App::new(http::Parts {
            store,
            deployer: Arc::clone(&instance.deployer),
            flows: settings.order.flows,
            clock,
            ids,
            secret: settings.secret.as_bytes().to_vec(),
            earlier_secrets: settings
                .earlier_secrets
                .iter()
                .map(|secret| secret.as_bytes().to_vec())
                .collect(),
            identity: settings.identity.clone(),
            tenants: settings.tenants,
            settings: settings.http,
            metrics,
        });
        app.wake_with(Arc::clone(&instance.wakeups));
        app.ready_with(Arc::clone(&instance.health));
        if let Some(identity) = settings.identity {
            tokio::spawn(identity.keep_fresh());
        }
        let (shutdown, asked) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            // The probes answer until all else has ended.
            let (ended, all_else) = oneshot::channel::<()>();
            let probing = listeners.probes.map(|listener| {
                tokio::spawn(http::serve_probes(listener, app.clone(), async {
                    drop(all_else.await);
                }))
            });
            let asked_to_stop = async {
                // A dropped sender is a reason to stop, too.
                drop(asked.await);
                // Before waiting for requests, so that no deploy begins that would be stopped immediately.
                instance.begin_to_stop();
            };
            http::serve(listeners.api, app, asked_to_stop).await;
            instance.stop().await;
            drop(ended);
            if let Some(probing) = probing {
                let _ = probing.await;
            }
        });
        Ok(Self { address, probes, shutdown, running })
    }

    /// Ends when it no longer serves, which it does only when it panicked.
    pub(crate) async fn failed(&mut self) {
        let _ = (&mut self.running).await;
    }

    /// Stops accepting requests, finishes or releases running work, and ends.
    pub(crate) async fn close(self) {
        let _ = self.shutdown.send(());
        let _ = self.running.await;
    }
}

/// The address under which this machine reaches it.
fn reached_at(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("http://localhost:{port}"),
        IpAddr::V6(ip) => format!("http://[{ip}]:{port}"),
        IpAddr::V4(ip) => format!("http://{ip}:{port}"),
    }
}
