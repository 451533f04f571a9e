//! SIGHUP: the configuration is read again. What can be replaced is, and the log names what needs a restart.

use std::{collections::BTreeSet, convert::Infallible, future::pending, sync::Arc};

use countersign_gate::{http::IdentityProvider, instance::system_clock::Secret};
use countersign_terminal::BadInput;
use tokio::signal::unix::{Signal, SignalKind};
use tracing::{error, info, warn};

use super::{config::Config, settings::Settings, signals, tenants::Tenants};
use crate::args::ServeArgs;

/// The keys whose values are replaced in a running server.
const REPLACED: [&str; 2] = ["operators", "tenant"];

/// What a running server has from its configuration.
pub(crate) struct Reload {
    args: Arc<ServeArgs>,
    hang_up: Signal,
    /// As it was at the start.
    config: Arc<Config>,
    secrets: Vec<Secret>,
    forbids_self_approval: bool,
    tenants: Arc<Tenants>,
    identity: Option<Arc<IdentityProvider>>,
}

impl Reload {
    pub(crate) fn begin(args: &ServeArgs, config: Config, settings: &Settings) -> Result<Self, BadInput> {
        Ok(Self {
            args: Arc::new(args.clone()),
            hang_up: signals(SignalKind::hangup())?,
            config: Arc::new(config),
            secrets: secrets(settings),
            forbids_self_approval: settings.http.forbid_self_approval,
            tenants: Arc::clone(&settings.tenants),
            identity: settings.identity.clone(),
        })
    }

    /// Reads the configuration again at each signal.
    pub(crate) async fn whenever_asked(&mut self) -> Infallible {
        while self.hang_up.recv().await.is_some() {
            self.read_again().await;
        }
        // No signal can come any more.
        pending().await
    }

    /// Applies all of a valid configuration that can be, and nothing of an invalid one.
    async fn read_again(&self) {
        let (args, identity) = (Arc::clone(&self.args), self.identity.clone());
        // The keys of the identity provider may come over the network.
        let read = tokio::task::spawn_blocking(move || {
            let config = Config::of(&args)?;
            let settings = Settings::of(&args, &config)?;
            if let Some(Err(error)) = identity.map(|identity| identity.refresh()) {
                warn!(%error, "the keys of the identity provider stay as they are");
            }
            Ok::<_, BadInput>((config, settings))
        });
        match read.await {
            Ok(Ok((config, settings))) => self.apply(&config, &settings),
            Ok(Err(problem)) => {
                let problem = problem.uncoloured();
                error!(%problem, "the configuration is not applied: it has an error");
            }
            Err(error) => error!(%error, "the configuration is not applied: reading it was interrupted"),
        }
    }

    fn apply(&self, config: &Config, settings: &Settings) {
        let mut operators = (**settings.tenants.operators.load()).clone();
        operators.forbid_self_approval = self.forbids_self_approval;
        settings.tenants.operators.store(Arc::new(operators));
        self.tenants.replace(&settings.tenants);
        info!("the configuration was read again: its operators and tenants apply from now on");
        let mut need_restart: BTreeSet<String> = self.config.changed_keys(config);
        need_restart.retain(|key| !REPLACED.contains(&key.as_str()));
        if secrets(settings) != self.secrets {
            need_restart.insert("the content of a secret file".to_owned());
        }
        if !need_restart.is_empty() {
            let settings = need_restart.into_iter().collect::<Vec<_>>().join(", ");
            warn!(%settings, "these settings have changed and need a restart");
        }
    }
}

fn secrets(settings: &Settings) -> Vec<Secret> {
    [&settings.secret].into_iter().chain(&settings.earlier_secrets).cloned().collect()
}
