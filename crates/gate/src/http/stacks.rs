//! Stacks and vaults: deployed, looked at, and changed.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::{
    App, Backend, Problem,
    bodies::{
        Body, ImageBody, LONGEST_IMAGE, StackBody, VaultBody, checked_text, checked_value, checked_variables,
        is_key,
    },
    break_glass::Reason,
    environment,
    extract::{Segments, is_slug},
    openapi::{CreateRefusals, ReadRefusals, WriteRefusals},
    session::Session,
    views::{FamilyView, OkView, ServiceAnswer, ServiceView, StackView},
};
use countersign::{
    protocol::Refusal,
    service::Deployer,
    store::{NewStack, Stack},
};

/// Deploys a stack that is not a copy of another one.
#[utoipa::path(
    post,
    path = "/api/v1/stacks",
    tag = "stacks",
    params(("Break-Glass" = Option<String>, Header, max_length = 500, description = "An administrator's reason to change a protected environment directly")),
    request_body = StackBody,
    responses((status = 201, body = StackView, description = "Deployed"), CreateRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn create<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    reason: Reason,
    body: Body,
) -> Result<Response, Problem> {
    let asked: StackBody = body.parse()?;
    let services = asked.services()?;
    let env = environment::named(&asked.env)?;
    reason.admit(&app, &session, &env, format!("stack {} created", asked.name)).await?;
    let stack = NewStack { name: asked.name, env, parent: None, services, env_vars: asked.env_vars };
    let stack = app.store().create_stack(session.team, stack).await??;
    Ok((StatusCode::CREATED, Json(StackView::from(&stack))).into_response())
}

/// A stack.
#[utoipa::path(
    get,
    path = "/api/v1/stacks/{slug}",
    tag = "stacks",
    params(("slug" = String, Path)),
    responses((status = 200, body = StackView, description = "The stack"), ReadRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn show<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments(slug): Segments<String>,
) -> Result<Json<StackView>, Problem> {
    Ok(Json(StackView::from(&find(&app, session.team, &slug).await?)))
}

/// The stacks that a stack was promoted from or to.
#[utoipa::path(
    get,
    path = "/api/v1/stacks/{slug}/family",
    tag = "stacks",
    params(("slug" = String, Path)),
    responses((status = 200, body = FamilyView, description = "The stacks, oldest first"), ReadRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn family<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments(slug): Segments<String>,
) -> Result<Json<FamilyView>, Problem> {
    let root = find(&app, session.team, &slug).await?.root;
    let members = app.store().family(session.team, root).await?;
    Ok(Json(FamilyView::new(root, &members)))
}

/// A new build of one service.
#[utoipa::path(
    patch,
    path = "/api/v1/stacks/{slug}/services/{name}",
    tag = "stacks",
    params(("slug" = String, Path), ("name" = String, Path), ("Break-Glass" = Option<String>, Header, max_length = 500, description = "An administrator's reason to change a protected environment directly")),
    request_body = ImageBody,
    responses((status = 200, body = ServiceAnswer, description = "The service"), WriteRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn put_image<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments((slug, name)): Segments<(String, String)>,
    reason: Reason,
    body: Body,
) -> Result<Json<ServiceAnswer>, Problem> {
    let stack = find(&app, session.team, &slug).await?;
    if !stack.services.iter().any(|service| service.name == name) {
        return Err(Refusal::NOT_FOUND.into());
    }
    let ImageBody { image_ref } = body.parse()?;
    checked_text("image_ref", &image_ref, LONGEST_IMAGE)?;
    reason.admit(&app, &session, &stack.env, format!("image of {name} in {slug}")).await?;
    let stack = app.store().put_image(session.team, &slug, &name, &image_ref).await?;
    let stack = stack.ok_or(Refusal::NOT_FOUND)?;
    let service = stack.services.iter().find(|service| service.name == name).ok_or(Refusal::NOT_FOUND)?;
    Ok(Json(ServiceView::new(service, stack.status).into()))
}

/// Sets variables, and removes those whose value is null.
#[utoipa::path(
    patch,
    path = "/api/v1/stacks/{slug}/env",
    tag = "stacks",
    params(("slug" = String, Path), ("Break-Glass" = Option<String>, Header, max_length = 500, description = "An administrator's reason to change a protected environment directly")),
    request_body = BTreeMap<String, Option<String>>,
    responses((status = 200, body = OkView, description = "Done"), WriteRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn patch_env<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments(slug): Segments<String>,
    reason: Reason,
    body: Body,
) -> Result<Json<OkView>, Problem> {
    let stack = find(&app, session.team, &slug).await?;
    let changes: BTreeMap<String, Option<String>> = body.parse()?;
    checked_variables(changes.iter().map(|(name, value)| (name, value.as_ref())))?;
    let names: Vec<&str> = changes.keys().map(String::as_str).collect();
    reason.admit(&app, &session, &stack.env, format!("variables {} of {slug}", names.join(", "))).await?;
    app.store().patch_env(session.team, &slug, &changes).await?.ok_or(Refusal::NOT_FOUND)?;
    Ok(Json(OkView { ok: true }))
}

/// Sets a vault key.
#[utoipa::path(
    put,
    path = "/api/v1/vault/{env}/{key}",
    tag = "stacks",
    params(("env" = String, Path), ("key" = String, Path, description = "1 to 128 of [A-Za-z0-9_.-]"), ("Break-Glass" = Option<String>, Header, max_length = 500, description = "An administrator's reason to change a protected environment directly")),
    request_body = VaultBody,
    responses((status = 204, description = "Done"), WriteRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn put_vault<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments((env, key)): Segments<(String, String)>,
    reason: Reason,
    body: Body,
) -> Result<StatusCode, Problem> {
    if !is_key(&key) {
        return Err(Refusal::NOT_FOUND.into());
    }
    let VaultBody { value } = body.parse()?;
    checked_value("value", &value)?;
    let env = environment::named(&env)?;
    reason.admit(&app, &session, &env, format!("vault key {key}")).await?;
    app.store().put_vault(session.team, &env, &key, &value).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find<B: Backend, D: Deployer + 'static>(
    app: &App<B, D>,
    team: Uuid,
    slug: &str,
) -> Result<Stack, Problem> {
    let stack = if is_slug(slug) { app.store().stack(team, slug).await? } else { None };
    stack.ok_or_else(|| Refusal::NOT_FOUND.into())
}
