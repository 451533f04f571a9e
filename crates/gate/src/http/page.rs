//! The approval's page: it shows what is asked for, and takes the decision, once.
//!
//! Looking changes nothing: mail scanners and browsers follow links on their own, and none of them may approve. The
//! token in the address is all that it takes to decide, so the address is kept from others: it is neither cached nor
//! passed on as a referrer, and the page works without any script.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::{
    App, Backend, Problem,
    approvals::decision,
    bodies::{Body, checked_text},
    decisions::LONGEST_REASON,
    extract::Segments,
    limits::{Limited, Settings},
    openapi::{DecisionRefusals, PageRefusals},
    problem::Code,
    promote::about,
    time::{for_people, rfc3339},
};
use crate::{
    difference::{Line, lines},
    instance::operators::same_mailbox,
    legible::legible_lines,
};
use countersign::{
    platform::Kind,
    protocol::{Refusal, Status, Timestamp, Validity},
    service::Deployer,
    store::{ApprovalRecord, Decision, Named, PersonalDecision, StoreError, Verdict},
};

const STYLE: &str = include_str!("../../templates/style.css");

/// No external content, no scripts, and only this style.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
});

/// A time for programs and for people.
struct Moment {
    machine: String,
    people: String,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self { machine: rfc3339(at), people: for_people(at) }
    }
}

#[derive(Template)]
#[template(path = "approval.html")]
struct ApprovalPage<'a> {
    /// In a heading.
    what: String,
    is_twin: bool,
    source: String,
    name: Option<&'a str>,
    copy_vault: bool,
    from: &'a str,
    to: &'a str,
    requested_by: &'a str,
    created_at: Moment,
    expires_at: Moment,
    /// The target is created.
    is_new: bool,
    changes: Vec<Line>,
}

#[derive(Template)]
#[template(path = "usable.html")]
struct UsablePage<'a> {
    what: String,
    from: &'a str,
    to: &'a str,
    requested_by: &'a str,
    approved_by: String,
    reason: Option<String>,
    approved_at: Moment,
    expires_at: Moment,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    title: &'a str,
    text: &'a str,
}

/// Shows the request. Changes nothing.
#[utoipa::path(
    get,
    path = "/approve/{token}",
    tag = "page",
    operation_id = "show_page",
    params(("token" = String, Path, description = "The secret of the approval's link")),
    responses((status = 200, body = String, content_type = "text/html", description = "A page"), PageRefusals),
)]
pub(super) async fn show_page<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    _: Limited,
    Segments(token): Segments<String>,
) -> Result<Html<String>, Problem> {
    let (record, _) = find(&app, &token).await?;
    // By this instance's clock, and only to be shown: the decision is judged by the store's.
    let is_open = record.approval.validity(app.now()) == Validity::Valid;
    if !matches!(record.approval.status, Status::Pending | Status::Approved) || !is_open {
        return Err(Problem::from(Refusal::APPROVAL_GONE).about(Some(about(&record, false))));
    }
    let source = source(&app, &record).await?;
    let binding = &record.binding;
    let what = match binding.kind {
        Kind::Stack => format!("promoting {source}"),
        Kind::ResourceTwin => format!("a twin of {source}"),
    };
    if record.approval.status == Status::Approved {
        let events = app.store().audit(record.approval.id).await?;
        let decision = decision(&events);
        return rendered(&UsablePage {
            what,
            from: binding.from.as_str(),
            to: binding.to.as_str(),
            requested_by: &record.approval.requested_by,
            approved_by: decision.map_or_else(String::new, |event| event.by.to_string()),
            reason: decision.and_then(|event| event.reason.as_deref()).map(str::to_owned),
            approved_at: record.decided_at.unwrap_or(record.created_at).into(),
            expires_at: record.approval.expires_at.into(),
        });
    }
    rendered(&ApprovalPage {
        what,
        is_twin: binding.kind == Kind::ResourceTwin,
        source,
        name: record.payload.name.as_deref(),
        copy_vault: record.payload.copy_vault,
        from: binding.from.as_str(),
        to: binding.to.as_str(),
        requested_by: &record.approval.requested_by,
        created_at: record.created_at.into(),
        expires_at: record.approval.expires_at.into(),
        is_new: record.bound.as_deref().is_some_and(|bound| bound.target.is_none()),
        changes: lines(&record),
    })
}

/// Approves or rejects.
#[utoipa::path(
    post,
    path = "/approve/{token}",
    tag = "page",
    params(("token" = String, Path, description = "The secret of the approval's link")),
    request_body(content = DecisionForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "Done; Location is the page that tells the result", headers(("Location" = String))),
        DecisionRefusals,
    ),
)]
pub(super) async fn decide<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    _: Limited,
    Segments(token): Segments<String>,
    request: Request,
) -> Result<Response, Problem> {
    if is_cross_site(request.headers(), app.settings()) {
        return Err(Problem::new(Code::CrossSite));
    }
    let headers = request.headers().clone();
    let (record, approver) = find(&app, &token).await?;
    let form = Body::take(request, &app, "application/x-www-form-urlencoded").await?;
    let (verdict, reason) = decision_of(form.bytes())?;
    if app.settings().forbid_self_approval && verdict == Verdict::Approve {
        refuse_requester(&app, &headers, &record)?;
    }
    let (mine, link) = (app.clone(), token.clone());
    let decided = app
        .detached(async move {
            let decision = match &approver {
                Some(by) => Decision::Person(PersonalDecision {
                    about: Named::Link(&link),
                    verdict,
                    by,
                    reason: reason.as_deref(),
                }),
                // A link of an older version, which was sent to all approvers.
                None => Decision::Operator { token: &link, verdict },
            };
            mine.store().decide(decision).await
        })
        .await??;
    match decided {
        Ok(record) => {
            let now = record.approval.status;
            let before = if now == Status::Revoked { Status::Approved } else { Status::Pending };
            app.metrics().transition(Some(before), now);
            // An approved promotion can be revoked on its own page.
            let page = if now == Status::Approved { "" } else { "/result" };
            let to = HeaderValue::try_from(format!("/approve/{token}{page}"));
            let to = to.map_err(|_| Problem::new(Code::Internal))?;
            Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response())
        }
        Err(refusal) => {
            let now = app.store().approval_by_token(&token).await.ok().flatten();
            let has_expired = record.approval.status == Status::Pending
                && now.as_ref().is_some_and(|now| now.approval.status == Status::Expired);
            if has_expired {
                app.metrics().transition(Some(Status::Pending), Status::Expired);
            }
            Err(Problem::from(refusal).about(now.map(|now| about(&now, false))))
        }
    }
}

/// The decision in a form, and its reason.
fn decision_of(form: &[u8]) -> Result<(Verdict, Option<String>), Problem> {
    let invalid =
        || Problem::invalid_body(&"expected decision=approve, reject or revoke, and no more than a reason");
    let (mut verdict, mut reason) = (None, None);
    for (name, value) in form_urlencoded::parse(form) {
        match (&*name, &*value) {
            ("decision", "approve") if verdict.is_none() => verdict = Some(Verdict::Approve),
            ("decision", "reject") if verdict.is_none() => verdict = Some(Verdict::Reject),
            ("decision", "revoke") if verdict.is_none() => verdict = Some(Verdict::Revoke),
            ("reason", text) if reason.is_none() => {
                reason = Some(text.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            _ => return Err(invalid()),
        }
    }
    let reason = reason.filter(|reason| !reason.is_empty());
    reason.as_ref().map_or(Ok(()), |reason| checked_text("reason", reason, LONGEST_REASON))?;
    Ok((verdict.ok_or_else(invalid)?, reason))
}

/// The form of the page.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct DecisionForm {
    /// `approve`, `reject`, or `revoke` for what was approved and not used.
    #[schema(pattern = "^(approve|reject|revoke)$")]
    decision: String,
    /// Why: at most 500 characters. It is kept in the audit, and shown.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// The decision. Changes nothing.
#[utoipa::path(
    get,
    path = "/approve/{token}/result",
    tag = "page",
    params(("token" = String, Path, description = "The secret of the approval's link")),
    responses((status = 200, body = String, content_type = "text/html", description = "A page"), PageRefusals),
)]
pub(super) async fn show_result<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    _: Limited,
    Segments(token): Segments<String>,
) -> Result<Html<String>, Problem> {
    let (record, _) = find(&app, &token).await?;
    let (title, mut text) = told(&record);
    let events = app.store().audit(record.approval.id).await?;
    if let Some(event) = decision(&events) {
        text.push_str(&format!(" Decided by {}.", event.by));
        if let Some(reason) = &event.reason {
            text.push_str(&format!(" Reason: {reason}"));
        }
    }
    rendered(&MessagePage { title, text: &text })
}

/// Status of an approval, for people.
fn told(record: &ApprovalRecord) -> (&'static str, String) {
    let approval = &record.approval;
    let (from, to) = (&record.binding.from, &record.binding.to);
    let at = record.decided_at.map_or_else(String::new, |at| format!(" on {}", for_people(at)));
    match approval.status {
        Status::Pending => ("Not decided", "This has not been approved or rejected yet.".to_owned()),
        Status::Approved => (
            "Approved",
            format!(
                "What was asked for, from {from} to {to}, was approved{at}. It can be launched once, until {}.",
                for_people(approval.expires_at)
            ),
        ),
        Status::Rejected => ("Rejected", format!("Nothing is launched. It was rejected{at}.")),
        Status::Expired => ("Expired", "No decision was made in time. Nothing is launched.".to_owned()),
        Status::Revoked => ("Revoked", format!("Nothing is launched. It was approved{at}, and taken back.")),
        Status::Executed => ("Launched", format!("It was approved, and launched into {to}{at}.")),
    }
}

/// The link's approval, and whose link it is. The link of a former approver is refused.
async fn find<B: Backend, D: Deployer + 'static>(
    app: &App<B, D>,
    token: &str,
) -> Result<(ApprovalRecord, Option<String>), Problem> {
    let record = app.store().approval_by_token(token).await?.ok_or(Refusal::NOT_FOUND)?;
    let approver = app.store().approver_of_link(token).await?;
    let (team, requester) = (record.approval.team, &record.approval.requested_by);
    if approver.as_ref().is_some_and(|by| !app.tenants().may_decide(team, requester, by)) {
        return Err(Problem::new(Code::NotAnApprover));
    }
    Ok((record, approver))
}

/// Name of the source, or its id if it has been deleted.
async fn source<B: Backend, D: Deployer + 'static>(
    app: &App<B, D>,
    record: &ApprovalRecord,
) -> Result<String, StoreError> {
    let (team, id) = (record.approval.team, record.payload.source);
    let name = match record.binding.kind {
        Kind::Stack => app.store().stack_by_id(team, id).await?.map(|stack| stack.name),
        Kind::ResourceTwin => app.store().resource(team, id).await?.map(|resource| resource.name),
    };
    Ok(name.unwrap_or_else(|| id.to_string()))
}

/// Refuses a caller whose session is the requester's. A caller without a session holds the link, which was never sent to
/// the requester.
fn refuse_requester<B: Backend, D: Deployer + 'static>(
    app: &App<B, D>,
    headers: &HeaderMap,
    record: &ApprovalRecord,
) -> Result<(), Problem> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let claims = app.sessions().claims(headers, app.now()).ok_or_else(|| Problem::new(Code::Unauthorized))?;
    let is_requester = claims.email.is_some_and(|email| same_mailbox(&email, &record.approval.requested_by));
    if is_requester { Err(Problem::new(Code::SelfApprovalForbidden)) } else { Ok(()) }
}

/// True if the browser reports that another site has sent this form.
///
/// This page itself is reported as `Origin: null`, because it sends no referrer; browsers without `Sec-Fetch-Site` are
/// trusted, because the form cannot be sent without the token.
fn is_cross_site(headers: &HeaderMap, settings: &Settings) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN).filter(|origin| *origin != "null") else { return false };
    let is_ours = settings.public_origin.as_deref() == Some(origin);
    let same_host = origin.split_once("://").map(|(_, host)| host) == text(header::HOST);
    !is_ours && !same_host
}

fn rendered(page: &impl Template) -> Result<Html<String>, Problem> {
    let page = page.render().map_err(|_| Problem::new(Code::Internal))?;
    Ok(Html(legible_lines(&page).into_owned()))
}

/// Around the page's routes: the headers that keep the address secret, and problems as pages for callers that accept HTML.
pub(super) async fn dressed(request: Request, next: Next) -> Response {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let reads_pages = accepts.is_some_and(|accept| accept.contains("text/html"));
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions().get::<Problem>().cloned()
        && reads_pages
        && let Ok(html) = rendered(&MessagePage { title: problem.title(), text: problem.detail() })
    {
        let mut page = (problem.status(), html).into_response();
        page.headers_mut().extend(problem.headers().into_iter().map(|(name, value)| (Some(name), value)));
        page.extensions_mut().insert(problem);
        response = page;
    }
    let headers = response.headers_mut();
    let fixed = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    headers.extend(fixed.map(|(name, value)| (Some(name), HeaderValue::from_static(value))));
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_sites_form_is_cross_site() {
        let judge = |sent: &[(&'static str, &'static str)]| {
            let headers = sent
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let public_origin = Some("https://gate.example".to_owned());
            is_cross_site(&headers, &Settings { public_origin, ..Settings::default() })
        };
        assert!(!judge(&[]), "curl says nothing");
        assert!(!judge(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(!judge(&[("sec-fetch-site", "none")]));
        assert!(judge(&[("sec-fetch-site", "cross-site")]));
        assert!(judge(&[("sec-fetch-site", "same-site")]));
        assert!(!judge(&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")]));
        assert!(!judge(&[("origin", "https://gate.example"), ("host", "10.0.0.1")]));
        assert!(judge(&[("origin", "https://evil.example"), ("host", "gate.example")]));
        assert!(judge(&[("origin", "https://evil.example")]));
    }
}
