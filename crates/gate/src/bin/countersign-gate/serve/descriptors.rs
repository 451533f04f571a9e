//! File descriptors: the soft limit is raised as far as it is needed, and connections leave enough for workers and the store.

use countersign_terminal::{BadInput, print_error};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::info;

use super::settings::Settings;

/// File descriptors in any case: log, listener, the store's files, mail and webhooks.
const FIXED: u64 = 64;

/// File descriptors for running a command: three pipes, and those of the runtime.
const PER_WORKER: u64 = 8;

/// File descriptors for connections to the probes, where they have their own address.
const PROBES: u64 = 64;

/// The fewest connections that make a server.
const FEWEST: u64 = 16;

/// Caps the connections where there are not enough descriptors for all. A stranger who opens as many as the server takes
/// must not keep a deploy from being started.
pub(crate) fn reserve(settings: &mut Settings) -> Result<(), BadInput> {
    let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let reserved = FIXED
        .saturating_add(many(settings.workers.count).saturating_mul(PER_WORKER))
        .saturating_add(many(settings.store.postgres.connections.get()))
        .saturating_add(if settings.probe_listen.is_some() { PROBES } else { 0 });
    let wanted = many(settings.http.max_connections);
    let limit = raised_to(wanted.saturating_add(reserved));
    let left = limit.saturating_sub(reserved);
    if left < FEWEST {
        return Err(BadInput::plain(
            &format!("{limit} file descriptors are not enough: {reserved} are for workers and the store"),
            "raise the limit (`ulimit -n`, LimitNOFILE), or set fewer workers or database connections",
        ));
    }
    if left < wanted {
        print_error!(
            "WARNING: at most {left} connections instead of {wanted}: the limit is {limit} file descriptors, of which \
             {reserved} are for workers and the store. Raise it (`ulimit -n`, LimitNOFILE), or set http.max_connections"
        );
        settings.http.max_connections = usize::try_from(left).unwrap_or(usize::MAX);
    }
    info!(connections = settings.http.max_connections, limit, reserved, "file descriptors");
    Ok(())
}

/// The soft limit, raised towards the required number as far as the hard one allows.
fn raised_to(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let now = current.unwrap_or(u64::MAX);
    let raised = wanted.min(maximum.unwrap_or(u64::MAX));
    if raised <= now || setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_err() {
        return now;
    }
    raised
}
