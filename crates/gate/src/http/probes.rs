//! Liveness, readiness, counters and OpenAPI description of an instance.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{App, Backend, Problem, openapi::ProbeRefusals, views::OkView};
use crate::instance::health::{Health, Unwell};
use countersign::{service::Deployer, store::Causes};

/// The process answers.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "probes",
    responses((status = 200, body = OkView, description = "Alive"), ProbeRefusals),
)]
pub(super) async fn livez() -> Json<OkView> {
    Json(OkView { ok: true })
}

/// Ready: the store takes writes and has not been replaced, every loop looks for work, and no shutdown has begun.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "probes",
    responses(
        (status = 200, body = OkView, description = "Ready"),
        ProbeRefusals,
        (status = 503, body = super::problem::ProblemBody<'static>, content_type = "application/problem+json",
            description = "Not ready (`not_ready`)", headers(("Retry-After" = String))),
    ),
)]
pub(super) async fn readyz<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
) -> Result<Json<OkView>, Problem> {
    if app.is_shutting_down() {
        return Err(Problem::not_ready("The server is shutting down."));
    }
    if let Some(unwell) = app.health().and_then(Health::unwell) {
        tracing::warn!(%unwell, "not ready");
        return Err(Problem::not_ready(match unwell {
            Unwell::Missing { .. } => "A worker or a notifier has ended, and is being started again.",
            Unwell::Stalled { .. } => "Workers or notifiers have not looked for work for too long.",
        }));
    }
    if let Err(error) = app.store().is_ready().await {
        tracing::warn!(error = %Causes(&error), "not ready");
        return Err(Problem::not_ready(if error.is_replaced() {
            "This is not the store that was opened: it was restored or replaced. Restart the instance to go on with it."
        } else {
            "The store does not answer, or takes no writes."
        }));
    }
    Ok(Json(OkView { ok: true }))
}

/// The counters, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "probes",
    responses(
        (status = 200, body = String, content_type = "application/openmetrics-text", description = "The counters"),
        ProbeRefusals,
    ),
)]
pub(super) async fn metrics<B: Backend, D: Deployer + 'static>(State(app): State<App<B, D>>) -> Response {
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let backlog = app.store().backlog().await;
    if let Err(error) = &backlog {
        tracing::warn!(%error, "the backlog is not known");
    }
    let text = app.metrics().text_with(backlog.ok());
    ([(header::CONTENT_TYPE, HeaderValue::from_static(KIND))], text).into_response()
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "probes",
    responses(
        (status = 200, body = Object, content_type = "application/json", description = "The description"),
        ProbeRefusals,
    ),
)]
pub(super) async fn openapi<B: Backend, D: Deployer + 'static>(State(app): State<App<B, D>>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], app.description()).into_response()
}
