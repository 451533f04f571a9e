//! One schedule again, by the order of its releases.

use super::{
    ExploreError, Requests, Schedule, SearchSettings,
    catalog::Catalog,
    independence::Footprint,
    policy::Causal,
    run::{Broken, Choice, Chooser, Enabled, Knowledge, Outcome, Run},
    search::{background, warm_up},
};
use crate::proxy::Proxy;

/// Releases the requests in a given order; a blocked one is left out.
struct InOrder<'o> {
    order: std::slice::Iter<'o, usize>,
    left_out: bool,
}

impl Chooser for InOrder<'_> {
    fn choose(&mut self, enabled: &[Enabled]) -> Result<Choice, String> {
        let is_enabled = |request: usize| enabled.iter().any(|enabled| enabled.request == request);
        for request in self.order.by_ref() {
            if is_enabled(*request) {
                return Ok(Choice::Release(*request));
            }
            self.left_out = true;
        }
        Ok(enabled.first().map_or(Choice::Abandon, |enabled| Choice::Release(enabled.request)))
    }

    fn executed(&mut self, _footprint: &Footprint) {}
}

/// Runs the requests with their statements in this order, and judges the schedule. Returns why the order could not be
/// kept, if so.
///
/// # Errors
/// [`ExploreError`]: the requests or the database failed.
pub async fn replay<R: Requests>(
    proxy: &mut Proxy,
    requests: &mut R,
    order: &[usize],
    settings: &SearchSettings,
) -> Result<Option<String>, ExploreError<R::Error>> {
    let monitor = proxy.monitor().await.map_err(ExploreError::Database)?;
    let catalog = Catalog::read(monitor).await.map_err(ExploreError::Database)?;
    let mut knowledge = Knowledge { catalog, ..Knowledge::default() };
    requests.reset().await.map_err(ExploreError::Requests)?;
    knowledge.background = background(proxy, settings.quiet_phase).await;
    warm_up(proxy, requests, settings, &Causal, &mut knowledge).await?;
    requests.reset().await.map_err(ExploreError::Requests)?;
    let mut chooser = InOrder { order: order.iter(), left_out: false };
    match Run::new(proxy, requests, settings, &Causal, &mut knowledge).follow(&mut chooser).await {
        Ok(Outcome::Followed(followed)) => {
            let (steps, responses) = (followed.steps, followed.responses);
            let schedule = Schedule { number: 1, steps, responses, interleavings: None };
            // The run is over.
            requests.judge(&schedule).await.map(drop).map_err(ExploreError::Requests)?;
            Ok(chooser
                .left_out
                .then(|| "a request had fewer statements, or waited where it did not".to_owned()))
        }
        Ok(Outcome::Abandoned) => Ok(Some("no request could go on".to_owned())),
        Err(Broken::NotFollowed { reason, .. }) => Ok(Some(reason)),
        Err(Broken::Database(error)) => Err(ExploreError::Database(error)),
    }
}
