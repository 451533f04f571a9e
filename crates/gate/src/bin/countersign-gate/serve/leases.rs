//! Leases: each has to be long enough for what it protects.

use std::{ops::Range, time::Duration};

use countersign_gate::instance::{deploy::DeployMethod, workers::WorkerSettings};
use countersign_terminal::BadInput;
use humantime::format_duration;

use super::{
    config::Config,
    settings::StoreSettings,
    values::{Pause, StoreAddress, Text},
};

/// The lease of this setting. One that is too short for what it protects is refused, with what it needs.
pub(super) fn lease(
    config: &Config,
    place: Range<usize>,
    lease: Duration,
    shortest: Duration,
    why: &str,
) -> Result<Duration, BadInput> {
    if lease >= shortest {
        return Ok(lease);
    }
    let found = format!("a lease of {}", format_duration(lease));
    Err(config.problem(place, &found, &format!("at least {}: {why}", format_duration(shortest))))
}

/// A worker renews its lease after a tenth of it, and has to hear of that before the last tenth.
pub(super) fn worker_lease(
    config: &Config,
    store: &StoreSettings,
    method: &DeployMethod,
) -> Result<Duration, BadInput> {
    let (statement, name) = match store.address {
        StoreAddress::Postgres(_) => (store.postgres.statement_timeout, "postgres.statement_timeout"),
        StoreAddress::Sqlite(_) => (store.busy_timeout, "sqlite.busy_timeout"),
        StoreAddress::Memory => (Duration::ZERO, ""),
    };
    let why = match store.address {
        StoreAddress::Memory => "a worker has to renew it in time".to_owned(),
        StoreAddress::Postgres(_) | StoreAddress::Sqlite(_) => {
            let takes = format_duration(statement);
            format!("80% of it are for a renewal, which may take {name} ({takes})")
        }
    };
    let shortest = WorkerSettings::shortest_lease(statement);
    match &config.file.workers.lease {
        None => Ok(shortest.max(match method {
            DeployMethod::Command(command) => WorkerSettings::lease_for(command.timeout),
            DeployMethod::DryRun(dry_run) => WorkerSettings::lease_for(dry_run.duration),
        })),
        Some(asked) => {
            let Text(Pause(wanted)) = asked.get_ref();
            lease(config, asked.span(), *wanted, shortest, &why)
        }
    }
}
