//! The notifier: loops that take notices from the outbox, send each operator their link, and try again what failed.
//!
//! Delivery is at least once: after a crash between sending and recording it, the link is sent again under the same
//! Message-ID or webhook id. A retry leaves out the approvers that this process has reached. The link and its token are in
//! the notification and nowhere else: in no log and in no error.

mod mail;
mod notification;
mod webhook;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
pub use mail::{Folder, NoSuchServer, Sender, Smtp, is_address};
pub use notification::Notification;
use tracing::{info, warn};
use uuid::Uuid;
pub use webhook::{EVENT_TYPE, InvalidWebhook, Webhook};

use super::{
    health::{Health, Pulse},
    idle::Idle,
    operators::{Operators, link_token},
    stop::{Phase, Stop},
    supervisor::Supervised,
    wakeups::Wakeups,
    workers::LONGEST_LOOK,
};
use crate::http::Metrics;
use countersign::{
    protocol::Timestamp,
    store::{Ids, Notice, NoticeState, Operations, StoreError, TokenHash},
};

/// Which way a link takes.
#[derive(Clone, Debug)]
pub enum Channel {
    /// A file for each mail.
    Folder(Folder),
    /// Mail.
    Smtp(Smtp),
    /// A signed webhook.
    Webhook(Webhook),
}

impl Channel {
    async fn send(&self, notification: &Notification) -> Result<(), NotSent> {
        match self {
            Self::Folder(folder) => folder.send(notification).await,
            Self::Smtp(smtp) => smtp.send(notification).await,
            Self::Webhook(webhook) => webhook.send(notification).await,
        }
    }
}

/// Why a notification was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent(String);

impl NotSent {
    /// The reason, without secrets of the notification: a mail server may quote a refused mail.
    fn because(reason: &impl fmt::Display, notification: &Notification) -> Self {
        Self(notification.without_token(&reason.to_string()))
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotSent {}

/// Retries of failed notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// After the first failure; twice as long after each one that follows.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
    /// Time until another instance retries a notification whose sender crashed. Each recipient's delivery has a whole one,
    /// which has to be longer than any delivery takes, or the notification is sent twice.
    pub lease: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            lease: Duration::from_secs(60),
        }
    }
}

impl Retries {
    /// The shortest lease for mails and webhooks: a delivery ends in it, and the store has time to answer.
    pub const SHORTEST_LEASE: Duration = PATIENCE.saturating_add(Duration::from_secs(10));

    fn pause(&self, attempts: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempts).and_then(|factor| self.first.checked_mul(factor));
        doubled.unwrap_or(self.longest).min(self.longest)
    }
}

/// The approvers that this process has reached, and the end of the window, for each approval whose notice is to be tried
/// again.
#[derive(Debug, Default)]
pub struct Reached(Mutex<BTreeMap<Uuid, (Timestamp, BTreeSet<String>)>>);

impl Reached {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Uuid, (Timestamp, BTreeSet<String>)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has(&self, approval: Uuid, approver: &str) -> bool {
        self.with(|all| all.get(&approval).is_some_and(|(_, reached)| reached.contains(approver)))
    }

    fn add(&self, approval: Uuid, expires_at: Timestamp, approver: String) {
        self.with(|all| all.entry(approval).or_insert((expires_at, BTreeSet::new())).1.insert(approver));
    }

    /// Also drops what a decision has made obsolete: its notices never come back.
    fn forget(&self, approval: Uuid, now: Timestamp) {
        self.with(|all| all.retain(|id, (expires_at, _)| *id != approval && *expires_at > now));
    }
}

/// A notifier, with all that it works with.
pub struct Notifier<S> {
    /// The store of the notices.
    pub store: Arc<S>,
    /// The source of the tokens.
    pub ids: Arc<dyn Ids>,
    /// The recipients.
    pub operators: Arc<ArcSwap<Operators>>,
    /// Channel for links.
    pub channel: Arc<Channel>,
    /// Base URL of the approval's page: `https://gate.example.com`.
    pub public_url: Arc<str>,
    /// Retries after failures.
    pub retries: Retries,
    /// The approvers that a retry leaves out.
    pub reached: Arc<Reached>,
    /// The longest pause between two looks for a notice of another instance.
    pub poll: Duration,
    /// Wakes it.
    pub wakeups: Arc<Wakeups>,
    /// Its health report.
    pub health: Arc<Health>,
    /// The counters.
    pub metrics: Metrics,
    /// Ends it.
    pub stop: Stop,
}

impl<S> Clone for Notifier<S> {
    fn clone(&self) -> Self {
        let Self {
            store,
            ids,
            operators,
            channel,
            public_url,
            retries,
            reached,
            poll,
            wakeups,
            health,
            metrics,
            stop,
        } = self;
        Self {
            store: Arc::clone(store),
            ids: Arc::clone(ids),
            operators: Arc::clone(operators),
            channel: Arc::clone(channel),
            public_url: Arc::clone(public_url),
            retries: *retries,
            reached: Arc::clone(reached),
            poll: *poll,
            wakeups: Arc::clone(wakeups),
            health: Arc::clone(health),
            metrics: metrics.clone(),
            stop: stop.clone(),
        }
    }
}

/// Number of concurrent notifications: one slow mail server must not delay every link.
const AT_A_TIME: usize = 2;

/// Time limit of one recipient's notification.
pub const PATIENCE: Duration = Duration::from_secs(30);

impl<S: Operations + 'static> Notifier<S> {
    /// Runs as many notifiers as may send concurrently, until the last one ends.
    pub fn run_all(self) -> impl Future<Output = ()> + Send {
        let supervised = Supervised {
            kind: "notifier",
            count: AT_A_TIME,
            patience: self.poll * 2 + LONGEST_LOOK,
            health: Arc::clone(&self.health),
            stop: self.stop.clone(),
        };
        supervised.run(move |pulse| self.clone().run(pulse))
    }

    /// A delivery that has begun is completed on shutdown: it is short, and is not repeated then.
    async fn run(self, pulse: Pulse) {
        let mut idle = Idle::up_to(self.poll);
        while !self.stop.reached(Phase::Draining) {
            match self.store.lease_notice(in_ms(self.retries.lease)).await {
                Ok(Some(notice)) => {
                    pulse.looked(true);
                    idle.reset();
                    self.deal_with(&notice).await;
                    pulse.looked(false);
                }
                Ok(None) => {
                    pulse.looked(false);
                    idle.wait(&self.wakeups.notices, &self.stop).await;
                }
                Err(error) => {
                    warn!(%error, "no notice could be taken");
                    idle.wait(&self.wakeups.notices, &self.stop).await;
                }
            }
        }
    }

    async fn deal_with(&self, notice: &Notice) {
        let approval = notice.record.approval.id;
        let state = match self.try_to_send(notice).await {
            Ok(recipients) => {
                self.metrics.notice("sent");
                info!(%approval, recipients, "the link was sent");
                NoticeState::Done
            }
            Err(Trouble::TooLate) => {
                self.metrics.notice("too_late");
                info!(%approval, "the link is not sent any more: the approval's window has passed");
                NoticeState::Done
            }
            Err(trouble) => {
                self.metrics.notice("failed");
                let pause = self.retries.pause(notice.attempts);
                warn!(%approval, %trouble, attempts = notice.attempts + 1, again_in = ?pause, "the link was not sent");
                NoticeState::Due { after_ms: in_ms(pause) }
            }
        };
        match self.store.settle_notice(notice, state).await {
            Ok(true) if state == NoticeState::Done => self.reached.forget(approval, notice.now),
            Ok(true) => {}
            Ok(false) => warn!(%approval, "another notifier has the notice: the link may be sent twice"),
            Err(error) => warn!(%approval, %error, "the link may be sent twice"),
        }
    }

    /// To how many it was sent.
    async fn try_to_send(&self, notice: &Notice) -> Result<usize, Trouble> {
        let approval = &notice.record.approval;
        if approval.expires_at <= notice.now {
            return Err(Trouble::TooLate);
        }
        let recipients = self.operators.load().recipients(approval.team, &approval.requested_by);
        if recipients.is_empty() {
            return Err(Trouble::NoRecipient);
        }
        let (count, token) = (recipients.len(), self.ids.token(approval.id));
        let links: Vec<_> =
            recipients.into_iter().map(|approver| (link_token(&token, &approver), approver)).collect();
        // No link is sent that the store does not know.
        let known: Vec<_> =
            links.iter().map(|(link, approver)| (TokenHash::of(link), approver.clone())).collect();
        self.store.put_links(approval.id, &known).await.map_err(Trouble::Store)?;
        let mut missing = 0;
        // The first delivery has the lease with which the notice was taken.
        let mut needs_renewal = false;
        for (place, (link, approver)) in links.into_iter().enumerate() {
            if self.reached.has(approval.id, &approver) {
                continue;
            }
            // Each further delivery may take its full time limit.
            if missing > 0 && self.stop.reached(Phase::Draining) {
                missing += 1;
                continue;
            }
            if needs_renewal {
                self.renew(notice).await?;
            }
            needs_renewal = true;
            let notification =
                Notification::new(&notice.record, (place, approver.clone()), &self.public_url, link);
            match within(PATIENCE, self.channel.send(&notification)).await {
                Ok(()) => self.reached.add(approval.id, approval.expires_at, approver),
                Err(error) => {
                    missing += 1;
                    warn!(approval = %approval.id, %approver, %error, "an approver was not reached");
                }
            }
        }
        if missing == 0 { Ok(count) } else { Err(Trouble::NotReached { missing, count }) }
    }

    /// The lease begins anew.
    async fn renew(&self, notice: &Notice) -> Result<(), Trouble> {
        let renewed = NoticeState::Due { after_ms: in_ms(self.retries.lease) };
        let holds = self.store.settle_notice(notice, renewed).await.map_err(Trouble::Store)?;
        if holds { Ok(()) } else { Err(Trouble::LeaseLost) }
    }
}

async fn within(patience: Duration, sent: impl Future<Output = Result<(), NotSent>>) -> Result<(), NotSent> {
    let in_time = tokio::time::timeout(patience, sent).await;
    in_time.unwrap_or_else(|_| Err(NotSent("it took too long".to_owned())))
}

/// Why a notice is not done.
enum Trouble {
    /// The approval's window has passed.
    TooLate,
    /// The requester is the only operator.
    NoRecipient,
    /// The store does not say whether the link is good.
    Store(StoreError),
    /// Another notifier has the notice.
    LeaseLost,
    /// A retry may reach the others.
    NotReached { missing: usize, count: usize },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate => f.write_str("the approval's window has passed"),
            Self::NoRecipient => f.write_str("the requester is the only operator"),
            Self::Store(error) => error.fmt(f),
            Self::LeaseLost => f.write_str("another notifier has the notice"),
            Self::NotReached { missing, count } => {
                write!(f, "{missing} of {count} approvers were not reached")
            }
        }
    }
}

fn in_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retries = Retries { longest: Duration::from_secs(5), ..Retries::default() };
        let pauses: Vec<u64> = [0, 1, 2, 3, 31, 32, 1000].map(|n| retries.pause(n).as_secs()).into();
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5, 5]);
    }
}
