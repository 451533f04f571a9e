//! Learns the order of a use's steps from its statements.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Options, close, open, runtime, unless_interrupted};
use crate::{
    clock::Clock,
    learn::{Learnt, Promised, UseTrace, flow_file},
    proxy::{Proxy, Recorded},
    safety::Stop,
    schedule::catalog::Catalog,
    session::{Session, Variant},
    sql,
    target::Target,
    template,
};

/// Time after the answer during which statements still belong to the use.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// Maps the statements of one use to a flow file.
///
/// # Errors
/// A role is missing, the service cannot be used, or its statements show no use.
pub fn learn(target: &Target, options: &Options) -> Result<Learnt, Stop> {
    runtime()?.block_on(async {
        let opened = open(target, options, Clock::start());
        let (mut session, proxy) = unless_interrupted(options, opened).await?;
        let learnt = match proxy {
            Some(mut proxy) => unless_interrupted(options, record(&mut session, &mut proxy)).await,
            None => Err(Stop::BadInput("needs the roles `[service]` and `[database]`".into())),
        };
        close(session).await;
        learnt
    })
}

async fn record(session: &mut Session<'_>, proxy: &mut Proxy) -> Result<Learnt, Stop> {
    // The first use may prepare statements and open connections.
    let mut object = session.arrange(true).await?;
    session.use_once(&mut object, 0, Variant::default()).await?;
    let mut object = session.arrange(true).await?;
    proxy.record();
    tokio::time::sleep(AFTERWARDS).await;
    let background: BTreeSet<String> = proxy.take_recording().iter().flat_map(fingerprints).collect();
    proxy.record();
    session.use_once(&mut object, 0, Variant::default()).await?;
    tokio::time::sleep(AFTERWARDS).await;
    let mut recorded = proxy.take_recording();
    recorded.retain(|unit| !fingerprints(unit).iter().all(|text| background.contains(text)));
    let failed = |error: &dyn std::fmt::Display| Stop::BadInput(format!("[database]: {error}"));
    let monitor = proxy.monitor().await.map_err(|error| failed(&error))?;
    let catalog = Catalog::read(monitor).await.map_err(|error| failed(&error))?;
    let captures: BTreeMap<String, String> =
        object.values.iter().map(|(name, value)| (name.clone(), template::plain(value))).collect();
    let target = session.target;
    let promised = Promised::from(target);
    let trace = UseTrace {
        recorded: &recorded,
        captures: &captures,
        catalog: &catalog,
        about: target.about.as_deref().unwrap_or_default(),
        method: &target.usage.request.method,
        promised: &promised,
    };
    let mut learnt = flow_file(trace).map_err(|error| Stop::BadInput(error.to_string()))?;
    learnt.toml = session.secrets.redact(&learnt.toml);
    Ok(learnt)
}

fn fingerprints(unit: &Recorded) -> Vec<String> {
    unit.statements.iter().map(|statement| sql::fingerprint(&statement.sql)).collect()
}
