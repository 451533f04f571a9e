//! `countersign-gate serve`: from settings to a running gate, until a signal stops it; and `check`, its dry run.

mod check;
pub(crate) mod config;
mod descriptors;
pub(crate) mod folders;
pub(crate) mod gate;
mod leases;
mod logging;
pub(crate) mod open;
mod reload;
pub(crate) mod secrets;
pub(crate) mod settings;
mod tenants;
mod users;
pub(crate) mod values;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use countersign_gate::{
    http::Metrics,
    instance::{
        deploy::DeployMethod,
        system_clock::{Secret, SecretIds},
    },
};
use tokio::{
    net::{TcpListener, lookup_host},
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info};

use self::{config::Config, reload::Reload, settings::Settings, values::Listen};
use crate::args::ServeArgs;
use countersign_terminal::{BadInput, Exit, print_error, print_line};

/// Time limit for flushing the log.
const TIME_TO_FLUSH: Duration = Duration::from_secs(1);

/// Time limit for work that blocks a thread.
const TIME_TO_END: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &ServeArgs) -> Result<Exit, BadInput> {
    secrets::hide_process();
    let config = Config::of(args)?;
    let mut settings = Settings::of(args, &config)?;
    let runtime = runtime()?;
    let exit = runtime.block_on(async {
        warn_of_dangers(&settings).await?;
        let ids = Arc::new(SecretIds::new(&settings.secret));
        let log = logging::begin(settings.log)?;
        let store = open::open(&settings.store, ids.clone()).await?;
        let listeners = Listeners::open(&settings).await?;
        descriptors::reserve(&mut settings)?;
        let mut signals = Signals::begin()?;
        let mut reload = Reload::begin(args, config, &settings)?;
        let mut gate = store.open_gate(settings, ids, listeners, Metrics::with_log(log.lost()))?;
        print_line!("listening on http://{}", gate.address);
        if let Some(probes) = gate.probes {
            print_line!("probes on http://{probes}");
        }
        let exit = tokio::select! {
            () = signals.wait() => {
                info!("it was asked to stop");
                gate.close().await;
                Exit::Expected
            }
            () = gate.failed() => {
                // It cannot work without its listener: the process supervisor starts another one.
                error!("the server has ended without being asked to");
                Exit::Unexpected
            }
            never = reload.whenever_asked() => match never {},
        };
        log.flush_within(TIME_TO_FLUSH);
        Ok(exit)
    });
    // Dropped, it would wait for a configuration that is still being read.
    runtime.shutdown_timeout(TIME_TO_END);
    exit
}

pub(crate) fn check(args: &ServeArgs) -> Result<Exit, BadInput> {
    let settings = Settings::gather(args)?;
    runtime()?.block_on(async {
        warn_of_dangers(&settings).await?;
        check::check(settings).await?;
        Ok(Exit::Expected)
    })
}

/// The async runtime.
pub(crate) fn runtime() -> Result<Runtime, BadInput> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        BadInput::plain(&format!("the threads could not be started: {error}"), "are there too many already?")
    })
}

/// The bound addresses.
pub(crate) struct Listeners {
    pub(crate) api: TcpListener,
    /// Of probes and metrics, if they have their own.
    pub(crate) probes: Option<TcpListener>,
}

impl Listeners {
    pub(crate) async fn open(settings: &Settings) -> Result<Self, BadInput> {
        let probes = match &settings.probe_listen {
            Some(probes) => Some(listen(probes).await?),
            None => None,
        };
        Ok(Self { api: listen(&settings.listen).await?, probes })
    }
}

async fn listen(listen: &Listen) -> Result<TcpListener, BadInput> {
    TcpListener::bind(&listen.0).await.map_err(|error| not_there(listen, &error))
}

async fn resolved(listen: &Listen) -> Result<Vec<SocketAddr>, BadInput> {
    lookup_host(&listen.0).await.map(Iterator::collect).map_err(|error| not_there(listen, &error))
}

fn not_there(Listen(listen): &Listen, error: &std::io::Error) -> BadInput {
    BadInput::plain(
        &format!("cannot listen on {listen}: {error}"),
        "expected an address of this machine and a free port, as in `--listen 127.0.0.1:0`",
    )
}

/// Warns of dangerous settings and refuses the most dangerous ones, before anything is created or contacted.
async fn warn_of_dangers(settings: &Settings) -> Result<(), BadInput> {
    let is_here_only = resolved(&settings.listen).await?.iter().all(|address| address.ip().is_loopback());
    warn(settings, is_here_only)
}

/// Warns of dangerous settings, and refuses the most dangerous ones.
fn warn(settings: &Settings, is_here_only: bool) -> Result<(), BadInput> {
    let name = &settings.order.name;
    if !settings.order.is_safe {
        print_error!(
            "WARNING: {name} is not the order to use. It is here to be attacked: approvals may be burned, launched \
             twice, or never. `countersign verify {name}` says how. Never let it near a real deployment."
        );
    }
    let has_https = settings.public_url.as_ref().is_some_and(values::PublicUrl::is_https);
    if !is_here_only && !has_https {
        print_error!(
            "WARNING: {} can be reached from other machines without TLS: tokens and links can be read on the way. \
             Put a TLS proxy in front, and set its address with --public-url https://…",
            settings.listen.0
        );
    }
    if has_https && matches!(settings.method, DeployMethod::DryRun(_)) {
        print_error!(
            "WARNING: every deploy is a dry run, which runs nothing: there is no [deployer] with a `command`"
        );
    }
    if has_https && settings.notifier.remote().is_none() {
        print_error!(
            "WARNING: links are sent to no approver, but written to a folder: [notifier] has neither `smtp` nor `webhook`"
        );
    }
    let secrets = [&settings.secret].into_iter().chain(&settings.earlier_secrets);
    let length = secrets.map(|secret| secret.as_bytes().len()).min().unwrap_or_default();
    let wanted = Secret::RECOMMENDED_BYTES;
    if length >= wanted {
        if settings.secret_is_exposed && (!is_here_only || has_https) {
            return Err(BadInput::plain(
                "the secret is in an option or in the environment, where commands and other users may read it",
                "write it to a file that only the server's user can read, and set COUNTERSIGN_SECRET_FILE, --secret-file \
                 or systemd's LoadCredential=countersign-secret:FILE",
            ));
        }
        return Ok(());
    }
    if is_here_only && !has_https {
        print_error!(
            "WARNING: the secret has {length} bytes, and can be guessed. For more than trying it out take {wanted}."
        );
        return Ok(());
    }
    Err(BadInput::plain(
        &format!(
            "the secret has {length} bytes, expected at least {wanted} where others can reach the server"
        ),
        "write one to a file, (umask 077; head -c 32 /dev/urandom | base64 > secret), and set --secret-file secret",
    ))
}

/// The signals that ask it to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

fn signals(kind: SignalKind) -> Result<Signal, BadInput> {
    signal(kind).map_err(|error| {
        BadInput::plain(&format!("signals cannot be waited for: {error}"), "is this a Unix system?")
    })
}

impl Signals {
    pub(crate) fn begin() -> Result<Self, BadInput> {
        Ok(Self {
            terminate: signals(SignalKind::terminate())?,
            interrupt: signals(SignalKind::interrupt())?,
        })
    }

    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
