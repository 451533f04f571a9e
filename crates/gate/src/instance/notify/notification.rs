//! The message to an approver: the request, its deadline, and the link.

use std::fmt;

use askama::Template;
use uuid::Uuid;

use crate::{
    difference::{Line, lines},
    legible::legible,
};
use countersign::{
    platform::Kind,
    protocol::Timestamp,
    store::{ApprovalRecord, Service},
};

/// One approval's notification. It has the link's secret in it: it is not printed.
#[derive(Clone)]
pub struct Notification {
    /// The approval.
    pub approval: Uuid,
    /// Time of the request.
    pub created_at: Timestamp,
    /// The recipients.
    pub recipients: Vec<String>,
    /// The content.
    pub(super) content: Content,
    /// Its place among the approval's notifications: each approver gets one.
    pub(super) place: usize,
    token: String,
}

/// The content of a notification, without line ends, so that a requester's text cannot add lines.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) link: String,
    pub(super) kind: &'static str,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) source: Uuid,
    pub(super) requested_by: String,
    pub(super) created_at: String,
    pub(super) expires_at: String,
    /// Name and image of each.
    pub(super) services: Vec<(String, String)>,
    /// The changes.
    pub(super) changes: Vec<Line>,
}

#[derive(Template)]
#[template(
    ext = "txt",
    source = "\
{{ content.requested_by }} asks to promote a {{ content.kind }}:

    from      {{ content.from }}
    to        {{ content.to }}
    source    {{ content.source }}
{%- for line in content.changes %}
    {{ \"{:<9}\"|format(line.kind) }} {{ line.name }}{% if !line.value.is_empty() %}  {{ line.value }}{% endif %}{% if !line.change.is_empty() %}  ({{ line.change }}){% endif %}
{%- endfor %}
    asked     {{ content.created_at }}
    until     {{ content.expires_at }}

Review it, and approve or reject it here:

{{ content.link }}

The link is your own: a decision made with it is made in your name. Do not
forward it. Opening it changes nothing. If you do not recognise this request, reject
it. What you have approved you can revoke there until it is used.
"
)]
struct Text<'a> {
    content: &'a Content,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "\
<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><title>Approval</title></head>
<body style=\"font-family: sans-serif; line-height: 1.5\">
<p><strong>{{ content.requested_by }}</strong> asks to promote a {{ content.kind }}:</p>
<table>
<tr><th align=\"left\" scope=\"row\">from</th><td>{{ content.from }}</td></tr>
<tr><th align=\"left\" scope=\"row\">to</th><td>{{ content.to }}</td></tr>
<tr><th align=\"left\" scope=\"row\">source</th><td>{{ content.source }}</td></tr>
{%- for line in content.changes %}
<tr><th align=\"left\" scope=\"row\">{{ line.kind }}</th><td>{{ line.name }} <code>{{ line.value }}</code> {{ line.change }}</td></tr>
{%- endfor %}
<tr><th align=\"left\" scope=\"row\">asked</th><td>{{ content.created_at }}</td></tr>
<tr><th align=\"left\" scope=\"row\">until</th><td>{{ content.expires_at }}</td></tr>
</table>
<p><a href=\"{{ content.link }}\" rel=\"noreferrer\">Review it, and approve or reject it</a></p>
<p>The link is your own: a decision made with it is made in your name, so do not forward it. Opening it changes
nothing. If you do not recognise this request, reject it. What you have approved you can revoke there until it is used.</p>
</body>
</html>
"
)]
struct Html<'a> {
    content: &'a Content,
}

impl Notification {
    /// About this approval, whose link has this token.
    pub fn new(
        record: &ApprovalRecord,
        (place, recipient): (usize, String),
        public_url: &str,
        token: String,
    ) -> Self {
        let approval = &record.approval;
        let named = |service: &Service| {
            let image = service.image_ref.as_deref().unwrap_or("(no image)");
            (one_line(&service.name), one_line(image))
        };
        let content = Content {
            link: format!("{}/approve/{token}", public_url.trim_end_matches('/')),
            kind: match record.binding.kind {
                Kind::Stack => "stack",
                Kind::ResourceTwin => "resource's twin",
            },
            from: record.binding.from.to_string(),
            to: record.binding.to.to_string(),
            source: record.payload.source,
            requested_by: one_line(&approval.requested_by),
            created_at: rfc_3339(record.created_at),
            expires_at: rfc_3339(approval.expires_at),
            services: record.services.iter().map(named).collect(),
            changes: lines(record).into_iter().map(one_line_each).collect(),
        };
        let recipients = vec![recipient];
        Self { approval: approval.id, created_at: record.created_at, recipients, content, place, token }
    }

    /// The unique id: the approval's for the first notification.
    pub(super) fn id(&self) -> String {
        match self.place {
            0 => self.approval.to_string(),
            place => format!("{}-{}", self.approval, place + 1),
        }
    }

    /// In a line.
    pub(super) fn subject(&self) -> String {
        let Content { kind, from, to, requested_by, .. } = &self.content;
        format!("Approve? {kind} {from} -> {to}, asked by {requested_by}")
    }

    pub(super) fn text(&self) -> String {
        rendered(&Text { content: &self.content })
    }

    pub(super) fn html(&self) -> String {
        rendered(&Html { content: &self.content })
    }

    /// A text that may quote the notification, with the secret removed.
    pub(super) fn without_token(&self, text: &str) -> String {
        text.replace(&self.token, "…")
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification").field("approval", &self.approval).finish_non_exhaustive()
    }
}

fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_else(|_| unreachable!("a text can always be written to"))
}

fn one_line_each(line: Line) -> Line {
    let Line { kind, name, value, change } = line;
    Line { kind, name: one_line(&name), value: one_line(&value), change: one_line(&change) }
}

fn one_line(text: &str) -> String {
    legible(text).into_owned()
}

fn rfc_3339(at: Timestamp) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(jiff::Timestamp::MAX).to_string()
}
