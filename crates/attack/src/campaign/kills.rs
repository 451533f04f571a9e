//! Level 3: the service is killed while it works, and started again.

use std::time::Duration;

use super::{Gathered, median};
use crate::{
    client::{self, Protocol, Runner},
    history::Action,
    safety::Stop,
    session::{Object, Session, Variant},
};

/// Kills the service at moments that are spread over the duration of a use.
pub(super) async fn under_load(session: &mut Session<'_>, gathered: &mut Gathered) -> Result<(), Stop> {
    const KILLS: u32 = 6;
    let latency = Duration::from_micros(median(&gathered.races.latencies_us).max(500));
    for number in 0..KILLS {
        let mut object = session.arrange(true).await?;
        let keyed = Variant { key: session.target.usage.key_header.as_ref().map(|_| 1), stranger: false };
        let wire = session.use_wire(&object, keyed)?;
        session.budget.spend(1)?;
        let (endpoint, clock, patience) = (session.endpoint(), session.clock, session.budget.patience());
        let runner = Runner::new(wire.clone());
        let task = tokio::spawn(async move {
            client::race(Protocol::Http1, &endpoint, &[runner], patience, clock).await
        });
        tokio::time::sleep(latency.mul_f64(f64::from(number) * 1.2 / f64::from(KILLS))).await;
        session.kill(&mut object).await?;
        let sent = task.await.map_err(|error| Stop::CutOff(error.to_string()))?;
        for sent in &sent {
            let operation = session.operation(&object, 0, &wire, keyed, sent);
            object.trial.operations.push(operation);
        }
        session.restart(&mut object).await?;
        aftermath(session, gathered, &mut object, keyed).await?;
    }
    Ok(())
}

/// After a crash: the state, the retry under the same key or a fresh attempt, and the state again.
pub(super) async fn aftermath(
    session: &mut Session<'_>,
    gathered: &mut Gathered,
    object: &mut Object,
    variant: Variant,
) -> Result<(), Stop> {
    session.settle(object).await?;
    if variant.key.is_none() {
        // The state after the crash is judged without the attempt that follows.
        gathered.add(object);
    }
    session.use_once(object, 1, variant).await?;
    session.settle(object).await?;
    if object.may_have_met_a_lease(variant) {
        // A lock or a lease of the service that died may hold it up: that is no bug unless it lasts.
        tokio::time::sleep(session.lease_is_over()).await;
        session.use_once(object, 2, variant).await?;
        session.settle(object).await?;
    }
    session.read(object, &[Action::Observe]).await?;
    gathered.add(object);
    Ok(())
}
