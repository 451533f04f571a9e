//! Decisions with a session: an approver approves, rejects or revokes; an administrator rejects or revokes.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    App, Backend, Problem,
    bodies::{Body, checked_text},
    extract::Segments,
    openapi::PersonRefusals,
    problem::Code,
    promote::about,
    session::Session,
    time::rfc3339,
    views::DecidedView,
};
use crate::instance::operators::same_mailbox;
use countersign::{
    protocol::{Refusal, Request, Status},
    service::Deployer,
    store::{Decision, Named, PersonalDecision, Verdict},
};

/// The longest reason, in characters.
pub(super) const LONGEST_REASON: usize = 500;

/// A decision.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionBody {
    /// Why. It is kept in the audit, and shown.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

macro_rules! decisions {
    ($($(#[doc = $doc:literal])+ $name:ident $path:literal $verdict:ident;)+) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            post,
            path = $path,
            tag = "approvals",
            params(("id" = String, Path)),
            request_body = DecisionBody,
            responses((status = 200, body = DecidedView, description = "Decided"), PersonRefusals),
            security(("bearer" = [])),
        )]
        pub(super) async fn $name<B: Backend, D: Deployer + 'static>(
            State(app): State<App<B, D>>,
            session: Session,
            Segments(id): Segments<String>,
            body: Body,
        ) -> Result<Json<DecidedView>, Problem> {
            decide(app, session, &id, Verdict::$verdict, body).await
        }
    )+};
}

decisions! {
    /// Approves a pending approval, as one of its approvers.
    approve "/api/v1/approvals/{id}/approve" Approve;
    /// Rejects a pending approval, as one of its approvers or as an administrator.
    reject_with_session "/api/v1/approvals/{id}/reject" Reject;
    /// Takes an approval back that was not used, as one of its approvers or as an administrator.
    revoke "/api/v1/approvals/{id}/revoke" Revoke;
}

/// The reason that a decision's body gives.
pub(super) fn reason_of(body: Option<DecisionBody>) -> Result<Option<String>, Problem> {
    let reason = body.and_then(|body| body.reason);
    reason.as_ref().map_or(Ok(()), |reason| checked_text("reason", reason, LONGEST_REASON))?;
    Ok(reason)
}

async fn decide<B: Backend, D: Deployer + 'static>(
    app: App<B, D>,
    session: Session,
    id: &str,
    verdict: Verdict,
    body: Body,
) -> Result<Json<DecidedView>, Problem> {
    let (team, approval) = (session.team, Request::parse_approval_id(id)?);
    let record = app.store().approval(team, approval).await?.ok_or(Refusal::APPROVAL_NOT_FOUND)?;
    let by = session.person()?.to_owned();
    let requester = &record.approval.requested_by;
    if app.settings().forbid_self_approval && verdict == Verdict::Approve && same_mailbox(&by, requester) {
        return Err(Problem::new(Code::SelfApprovalForbidden));
    }
    let is_administrator = session.admin && verdict != Verdict::Approve;
    if !is_administrator && !app.tenants().may_decide(team, requester, &by) {
        return Err(Problem::new(Code::NotAnApprover));
    }
    let reason = reason_of(Some(body.parse()?))?;
    let mine = app.clone();
    let work = async move {
        let about = Named::OfTeam { team, approval };
        let decision = PersonalDecision { about, verdict, by: &by, reason: reason.as_deref() };
        mine.store().decide(Decision::Person(decision)).await
    };
    let before = record.approval.status;
    match app.detached(work).await?? {
        Ok(record) => {
            let status = record.approval.status;
            app.metrics().transition(Some(before), status);
            let expires_at = rfc3339(record.approval.expires_at);
            Ok(Json(DecidedView { ok: true, id: approval, status: status.to_string(), expires_at }))
        }
        Err(refusal) => {
            let now = app.store().approval(team, approval).await.ok().flatten();
            let status = now.as_ref().map(|now| now.approval.status);
            if (before, status) == (Status::Pending, Some(Status::Expired)) {
                app.metrics().transition(Some(before), Status::Expired);
            }
            Err(Problem::from(refusal).about(now.map(|now| about(&now, false))))
        }
    }
}
