//! Approvals as their team sees them: how one stands, what it has led to, and what happened to it.

use axum::{Json, extract::State};
use serde::Deserialize;

use super::{
    App, Backend, Problem,
    extract::{Parameters, Segments},
    openapi::ApprovalRefusals,
    promote::action,
    session::Session,
    time::rfc3339,
    views::{ApprovalView, AuditView, DeployView, EventView, ListedView, OutcomeView, status_name},
};
use crate::instance::deploy::own_end;
use countersign::{
    platform::Kind,
    protocol::{Refusal, Request, Status},
    service::Deployer,
    store::{ApprovalRecord, AuditEvent, AuditKind, Listed, StoreError},
};

/// An approval, with the outcome of the promote that used it.
#[utoipa::path(
    get,
    path = "/api/v1/approvals/{id}",
    tag = "approvals",
    operation_id = "show_approval",
    params(("id" = String, Path)),
    responses((status = 200, body = ApprovalView, description = "The approval"), ApprovalRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn show_approval<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments(id): Segments<String>,
) -> Result<Json<ApprovalView>, Problem> {
    let record = find(&app, &session, &id).await?;
    let events = app.store().audit(record.approval.id).await?;
    let approved = events.iter().find(|event| event.kind == AuditKind::Approved);
    let decision = decision(&events);
    let outcome = outcome(&app, &record).await?;
    let since = |status| record.decided_at.filter(|_| record.approval.status == status).map(rfc3339);
    let listed = Listed {
        approval: record.approval.clone(),
        binding: record.binding.clone(),
        created_at: record.created_at,
        decided_at: record.decided_at,
    };
    Ok(Json(ApprovalView {
        ok: true,
        approval: ListedView::from(&listed),
        approved_at: approved.map(|event| rfc3339(event.at)),
        executed_at: since(Status::Executed),
        rejected_at: since(Status::Rejected),
        revoked_at: since(Status::Revoked),
        decided_by: decision.map(|event| event.by.to_string()),
        reason: decision.and_then(|event| event.reason.as_deref()).map(str::to_owned),
        outcome,
    }))
}

/// The latest decision in an approval's events.
pub(super) fn decision(events: &[AuditEvent]) -> Option<&AuditEvent> {
    let is_decision = |event: &&AuditEvent| match event.kind {
        AuditKind::Approved | AuditKind::Rejected | AuditKind::Revoked => true,
        AuditKind::Requested | AuditKind::Expired | AuditKind::Executed | AuditKind::RejectedLate => false,
    };
    events.iter().rev().find(is_decision)
}

/// Which approval's events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    approval_id: Option<String>,
}

/// Events of an approval.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "approvals",
    params(("approval_id" = String, Query)),
    responses((status = 200, body = AuditView, description = "The events, the oldest first"), ApprovalRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn audit<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<Json<AuditView>, Problem> {
    let record = find(&app, &session, query.approval_id.as_deref().unwrap_or_default()).await?;
    let events = app.store().audit(record.approval.id).await?;
    Ok(Json(AuditView { ok: true, items: events.iter().map(EventView::from).collect() }))
}

/// The team's approval of this id. Another team's is not there.
async fn find<B: Backend, D: Deployer + 'static>(
    app: &App<B, D>,
    session: &Session,
    id: &str,
) -> Result<ApprovalRecord, Problem> {
    let id = Request::parse_approval_id(id)?;
    let record = app.store().approval(session.team, id).await?;
    record.ok_or_else(|| Refusal::APPROVAL_NOT_FOUND.into())
}

async fn outcome<B: Backend, D: Deployer + 'static>(
    app: &App<B, D>,
    record: &ApprovalRecord,
) -> Result<Option<OutcomeView>, StoreError> {
    let (team, approval) = (record.approval.team, record.approval.id);
    let store = app.store();
    let Some(execution) = store.execution(team, approval).await? else { return Ok(None) };
    let source_id = execution.payload.source;
    let target = execution.target.map(|target| target.id);
    let (source, status) = match record.binding.kind {
        Kind::Stack => {
            let source = store.stack_by_id(team, source_id).await?.map(|stack| stack.slug());
            let target = match target {
                Some(target) => store.stack_by_id(team, target).await?,
                None => None,
            };
            (source, target.map(|target| target.status))
        }
        Kind::ResourceTwin => {
            let target = match target {
                Some(target) => store.resource(team, target).await?,
                None => None,
            };
            (Some(source_id.to_string()), target.map(|target| target.status))
        }
    };
    let of_kind = |kind| target.filter(|_| record.binding.kind == kind);
    let logs = store.deploy_logs(approval).await?;
    // The target may be another deploy's by now.
    let own = own_end(&logs);
    Ok(Some(OutcomeView {
        action: action(execution.target),
        stack_id: of_kind(Kind::Stack),
        id: of_kind(Kind::ResourceTwin),
        env: record.binding.to.to_string(),
        parent_id: source_id,
        source,
        vault_keys_copied: execution.vault_keys,
        status: own.or(status).map(status_name),
        deploys: logs
            .iter()
            .map(|log| DeployView { ended_at: rfc3339(log.ended_at), exit_code: log.exit_code })
            .collect(),
    }))
}
