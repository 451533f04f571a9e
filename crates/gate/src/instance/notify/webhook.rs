//! Links by webhook: a CloudEvent, signed as Standard Webhooks say.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use serde_json::json;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

use super::{NotSent, Notification};
use crate::authorities;
use countersign::store::Clock;

/// The type of the event for a requested approval.
pub const EVENT_TYPE: &str = "approval.created";

/// The time limit for the receiver's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Address of webhooks, and the key that signs them.
#[derive(Clone)]
pub struct Webhook {
    url: Arc<str>,
    key: Arc<standardwebhooks::Webhook>,
    agent: ureq::Agent,
    source: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// Why a webhook cannot be sent to where it was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidWebhook {
    /// Neither `https://…` nor, on this machine, `http://…`: the link in it is a secret.
    Url,
    /// The secret is not `whsec_` and 24 to 64 bytes in Base64.
    Secret,
}

impl fmt::Display for InvalidWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "expected https://…, or http://… on this machine: the link in it is a secret",
            Self::Secret => "expected whsec_ followed by 24 to 64 bytes in Base64",
        })
    }
}

impl std::error::Error for InvalidWebhook {}

impl Webhook {
    /// To this address, signed with this secret. `source` says in the event where it comes from.
    ///
    /// # Errors
    /// [`InvalidWebhook`], which repeats neither.
    pub fn new(url: &str, secret: &str, source: &str, clock: Arc<dyn Clock>) -> Result<Self, InvalidWebhook> {
        if !is_safe(url) {
            return Err(InvalidWebhook::Url);
        }
        let bytes = secret.strip_prefix("whsec_").ok_or(InvalidWebhook::Secret)?;
        let length =
            base64::Engine::decode(&base64::prelude::BASE64_STANDARD, bytes).map(|bytes| bytes.len());
        if !length.is_ok_and(|length| (24..=64).contains(&length)) {
            return Err(InvalidWebhook::Secret);
        }
        let key = standardwebhooks::Webhook::new(secret).map_err(|_| InvalidWebhook::Secret)?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .tls_config(authorities::trusted())
            // A proxy of the environment would be sent the link, and in clear where the receiver is on this machine.
            .proxy(None)
            // A link is not handed on to wherever the receiver says.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { url: url.into(), key: Arc::new(key), agent, source: source.into(), clock })
    }

    pub(super) async fn send(&self, notification: &Notification) -> Result<(), NotSent> {
        let body = self.event(notification);
        let id = notification.id();
        let at = i64::try_from(self.clock.now().0 / 1000).unwrap_or(i64::MAX);
        let signature = self
            .key
            .sign(&id, at, body.as_bytes())
            .map_err(|error| NotSent::because(&error, notification))?;
        let request = self
            .agent
            .post(&*self.url)
            .header("content-type", "application/cloudevents+json")
            .header(HEADER_WEBHOOK_ID, &id)
            .header(HEADER_WEBHOOK_TIMESTAMP, at.to_string())
            .header(HEADER_WEBHOOK_SIGNATURE, signature);
        let answered = tokio::task::spawn_blocking(move || request.send(body).map(|answer| answer.status()));
        match answered.await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(status)) => {
                Err(NotSent::because(&format_args!("the webhook was answered with {status}"), notification))
            }
            Ok(Err(error)) => Err(NotSent::because(&error, notification)),
            Err(_) => Err(NotSent::because(&"the webhook was interrupted", notification)),
        }
    }

    /// In the order of a CloudEvent's own description.
    fn event(&self, notification: &Notification) -> String {
        let content = &notification.content;
        let services: Vec<_> = content
            .services
            .iter()
            .map(|(name, image)| json!({ "name": name, "image_ref": image }))
            .collect();
        let changes: Vec<_> = content
            .changes
            .iter()
            .map(|line| json!({ "kind": line.kind, "name": line.name, "value": line.value, "change": line.change }))
            .collect();
        let event = json!({
            "specversion": "1.0",
            "id": notification.id(),
            "source": &*self.source,
            "type": EVENT_TYPE,
            "subject": notification.approval,
            "time": content.created_at,
            "datacontenttype": "application/json",
            "data": {
                "approval_id": notification.approval,
                "kind": content.kind,
                "source": content.source,
                "from_env": content.from,
                "to_env": content.to,
                "requested_by_email": content.requested_by,
                "services": services,
                "changes": changes,
                "expires_at": content.expires_at,
                "recipients": notification.recipients,
                "link": content.link,
            },
        });
        event.to_string()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("source", &self.source).finish_non_exhaustive()
    }
}

/// True if the link is protected in transit: HTTPS, or a loopback address.
fn is_safe(url: &str) -> bool {
    let Ok(url) = url.parse::<ureq::http::Uri>() else { return false };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => here,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::system_clock::SystemClock;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    #[test]
    fn a_link_is_sent_over_nothing_that_others_can_read() {
        let refused = |url, secret| Webhook::new(url, secret, "gate", Arc::new(SystemClock)).err();
        for url in
            ["https://example.com/hook", "http://localhost:1/", "http://127.0.0.1:9/x", "http://[::1]:9/x"]
        {
            assert_eq!(refused(url, SECRET), None, "{url}");
        }
        for url in ["http://example.com/hook", "ftp://localhost/", "https://", "hook", ""] {
            assert_eq!(refused(url, SECRET), Some(InvalidWebhook::Url), "{url}");
        }
        for secret in ["", "whsec_", "whsec_!", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_c2hvcnQ="] {
            assert_eq!(refused("https://example.com", secret), Some(InvalidWebhook::Secret), "{secret}");
        }
    }
}
