//! Resources: provisioned and looked at. Their twins are a promote's ([`promote`](super::promote)).

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{
    App, Backend, Problem,
    bodies::{Body, LONGEST_NAME, ResourceBody, checked_text},
    break_glass::Reason,
    environment,
    extract::{Segments, id},
    openapi::{CreateRefusals, ReadRefusals},
    session::Session,
    views::ResourceView,
};
use countersign::{protocol::Refusal, service::Deployer, store::NewResource};

/// Provisions a resource that is not a twin.
#[utoipa::path(
    post,
    path = "/api/v1/resources",
    tag = "resources",
    params(("Break-Glass" = Option<String>, Header, max_length = 500, description = "An administrator's reason to change a protected environment directly")),
    request_body = ResourceBody,
    responses((status = 201, body = ResourceView, description = "Provisioned"), CreateRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn provision<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    reason: Reason,
    body: Body,
) -> Result<Response, Problem> {
    let asked: ResourceBody = body.parse()?;
    checked_text("name", &asked.name, LONGEST_NAME)?;
    let env = environment::named(&asked.env)?;
    reason.admit(&app, &session, &env, format!("resource {} provisioned", asked.name)).await?;
    let resource = NewResource { name: asked.name, kind: asked.r#type.into(), env };
    let resource = app.store().create_resource(session.team, resource).await?;
    Ok((StatusCode::CREATED, Json(ResourceView::from(&resource))).into_response())
}

/// A resource.
#[utoipa::path(
    get,
    path = "/api/v1/resources/{id}",
    tag = "resources",
    operation_id = "show_resource",
    params(("id" = String, Path)),
    responses((status = 200, body = ResourceView, description = "The resource"), ReadRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn show_resource<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments(asked): Segments<String>,
) -> Result<Json<ResourceView>, Problem> {
    let resource = match id(&asked) {
        Some(id) => app.store().resource(session.team, id).await?,
        None => None,
    };
    Ok(Json(ResourceView::from(&resource.ok_or(Refusal::NOT_FOUND)?)))
}
